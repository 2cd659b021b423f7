//! Tests of the watch cache over a store in memory.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::api::bytes::Shape;
use crate::api::resource::SelectableField;
use crate::storage::Storage;

mod fake;
mod reads;
mod validators;
mod watches;

use fake::FakeStore;

const PREFIX: &str = "/registry/pods/";
const PATIENCE: Duration = Duration::from_secs(20);

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// A pod in stored form.
fn pod(app: &str, phase: &str) -> String {
    format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"labels":{{"app":"{app}"}}}},"status":{{"phase":"{phase}"}}}}"#
    )
}

fn shape() -> Shape {
    Shape::new(&[SelectableField {
        label: "status.phase".into(),
        path: "status.phase".into(),
        default: "".into(),
    }])
}

fn start_with(store: &Arc<FakeStore>, window_events_max: usize) -> Arc<Cacher> {
    let storage: Arc<dyn Storage> = store.clone();
    let options = CacherOptions {
        prefix: PREFIX.into(),
        codec: Arc::new(JsonCodec::new(PREFIX, shape())),
        check: RevisionCheck::new(storage.clone()),
        window_events_max,
    };
    Cacher::start(storage, options)
}

async fn start(store: &Arc<FakeStore>) -> Arc<Cacher> {
    let cacher = start_with(store, WINDOW_EVENTS_MAX);
    assert!(cacher.wait_ready(PATIENCE).await, "the cache fills");
    cacher
}

fn query(start: WatchStart) -> WatchQuery {
    WatchQuery {
        scope: Scope::All,
        filter: None,
        start,
        initial_events_end: false,
        bookmarks: false,
        deadline: None,
    }
}

fn everything(freshness: Freshness) -> ListQuery<'static> {
    ListQuery {
        namespace: "",
        start: None,
        limit: 0,
        freshness,
        filter: None,
    }
}

async fn next(watch: &mut Watch) -> Option<WatchEvent> {
    tokio::time::timeout(PATIENCE, watch.recv())
        .await
        .expect("an event comes in time")
}

/// `ADDED ns/name@revision`.
fn show(event: Option<WatchEvent>) -> String {
    match event {
        None => "end".into(),
        Some(WatchEvent::Failed(error)) => format!("FAILED {error}"),
        Some(WatchEvent::Bookmark {
            revision,
            initial_events_end,
        }) => format!("BOOKMARK {revision} {initial_events_end}"),
        Some(event) => {
            let frame = event.frame().expect("an object's event");
            let object = frame.object();
            let text = std::str::from_utf8(frame.bytes()).expect("UTF-8");
            let parsed: crate::base::tree::Value = serde_json::from_str(text).expect("JSON");
            assert!(text.ends_with("}}\n"), "one line: {text}");
            assert_eq!(parsed["type"], frame.event().as_str());
            assert_eq!(
                parsed["object"]["metadata"]["resourceVersion"],
                frame.revision().to_string()
            );
            assert_eq!(
                object.label("app"),
                parsed["object"]["metadata"]["labels"]["app"].as_str()
            );
            format!(
                "{} {}@{}",
                frame.event().as_str(),
                object.relative_key(),
                frame.revision()
            )
        }
    }
}

async fn expect(watch: &mut Watch, wanted: &[&str]) {
    for wanted in wanted {
        assert_eq!(show(next(watch).await), *wanted);
    }
}
