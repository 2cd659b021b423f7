//! Every backend behind the watch cache: reads agree with the store, watches with its history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use verbatim::api::bytes::Shape;
use verbatim::storage::cacher::{
    Cacher, CacherOptions, Freshness, JsonCodec, ListQuery, RevisionCheck, Scope,
    WINDOW_EVENTS_MAX, Watch, WatchQuery, WatchStart,
};
use verbatim::storage::{Error, Range, Revision, Storage, WatchMessage};

const PREFIX: &str = "/registry/cached/";
const PATIENCE: Duration = Duration::from_secs(30);
const WRITERS: u64 = 4;
const WRITES_PER_WRITER: usize = 150;

/// Runs all checks on an empty store.
pub(crate) async fn check_cached(store: Arc<dyn Storage>) {
    let cacher = start(&store);
    assert!(cacher.wait_ready(PATIENCE).await, "the cache fills");
    reads_follow_writes(&store, &cacher).await;
    histories_agree(&store, &cacher).await;
    revisions_agree(&store, &cacher).await;
    // The store answers until the cache's watch runs; nothing after that.
    let store_reads = cacher.stats().store_reads.get();
    assert!(store_reads <= 1, "{store_reads} reads from the store");
    let second = start(&store);
    assert!(second.wait_ready(PATIENCE).await, "the cache fills again");
    assert_eq!(
        listed(&second, Freshness::Latest).await,
        listed(&cacher, Freshness::Latest).await
    );
}

fn start(store: &Arc<dyn Storage>) -> Arc<Cacher> {
    let options = CacherOptions {
        prefix: PREFIX.into(),
        codec: Arc::new(JsonCodec::new(PREFIX, Shape::default())),
        check: RevisionCheck::new(store.clone()),
        window_events_max: WINDOW_EVENTS_MAX,
    };
    Cacher::start(store.clone(), options)
}

fn value(writer: u64, write: usize) -> Bytes {
    Bytes::from(format!(
        r#"{{"kind":"A","apiVersion":"v1","metadata":{{"name":"x"}},"data":"{writer}-{write}"}}"#
    ))
}

/// A fresh read sees every write that was answered, here and elsewhere in the store.
async fn reads_follow_writes(store: &Arc<dyn Storage>, cacher: &Cacher) {
    let key = format!("{PREFIX}n/fresh");
    let mut revision = store
        .create(&key, value(0, 0), None)
        .await
        .expect("creates");
    for write in 1..20 {
        revision = store
            .update(&key, value(0, write), revision, None)
            .await
            .expect("updates");
        let elsewhere = format!("/registry/elsewhere/{write}");
        let later = store
            .create(&elsewhere, value(0, 0), None)
            .await
            .expect("creates");
        let got = cacher.get(&key, Freshness::Latest).await.expect("reads");
        assert_eq!(got.object.expect("exists").revision(), revision);
        assert!(got.revision >= later, "{} < {later}", got.revision);
        let got = cacher
            .get(&key, Freshness::AtLeast(later))
            .await
            .expect("waits");
        assert!(got.revision >= later);
    }
    store.delete(&key, revision).await.expect("deletes");
    let got = cacher.get(&key, Freshness::Latest).await.expect("reads");
    assert!(got.object.is_none());
}

async fn watch(cacher: &Cacher, start: WatchStart) -> Watch {
    let query = WatchQuery {
        scope: Scope::All,
        filter: None,
        start,
        initial_events_end: false,
        bookmarks: false,
        deadline: None,
    };
    cacher.watch(query).await.expect("watches")
}

async fn write_randomly(store: Arc<dyn Storage>, writer: u64) -> Revision {
    let mut rng = StdRng::seed_from_u64(writer);
    let mut last = 0;
    for write in 0..WRITES_PER_WRITER {
        let key = format!("{PREFIX}n{}/{}", writer % 2, rng.random_range(0..8));
        let current = store.get(&key).await.expect("reads").kv;
        let done = match current {
            None => store.create(&key, value(writer, write), None).await,
            Some(kv) if rng.random_ratio(1, 4) => store.delete(&key, kv.mod_revision).await,
            Some(kv) => {
                let value = value(writer, write);
                store.update(&key, value, kv.mod_revision, None).await
            }
        };
        match done {
            Ok(revision) => last = revision,
            Err(Error::KeyExists { .. } | Error::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    last
}

/// Watchers of the cache and of the store see the same history, from wherever they start.
async fn histories_agree(store: &Arc<dyn Storage>, cacher: &Arc<Cacher>) {
    let start = store.current_revision().await.expect("answers");
    let _ = cacher
        .get(PREFIX, Freshness::Latest)
        .await
        .expect("catches up");
    let mut early = watch(cacher, WatchStart::After(start)).await;
    let mut raw = store.watch(PREFIX, start).await.expect("watches");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_randomly(store.clone(), writer)))
        .collect();
    let mut last = 0;
    for writer in writers {
        last = last.max(writer.await.expect("writes"));
    }
    let mut late = watch(cacher, WatchStart::After(start)).await;
    let mut wanted: Vec<(Revision, &str, String)> = Vec::new();
    while wanted.last().is_none_or(|(revision, ..)| *revision < last) {
        let message = tokio::time::timeout(PATIENCE, raw.recv()).await;
        match message.expect("in time").expect("goes on") {
            WatchMessage::Events(events) => wanted.extend(events.into_iter().map(|event| {
                let kind = match (event.value.is_some(), event.created) {
                    (false, _) => "DELETED",
                    (true, true) => "ADDED",
                    (true, false) => "MODIFIED",
                };
                (event.revision, kind, event.key)
            })),
            WatchMessage::Progress(_) => {}
            WatchMessage::Failed(error) => panic!("{error}"),
        }
    }
    for watch in [&mut early, &mut late] {
        for wanted in &wanted {
            let event = tokio::time::timeout(PATIENCE, watch.recv()).await;
            let event = event.expect("in time").expect("goes on");
            let frame = event.frame().expect("an object's event");
            let seen = (
                frame.revision(),
                frame.event().as_str(),
                frame.object().key(),
            );
            assert_eq!(seen, (wanted.0, wanted.1, wanted.2.as_str()));
        }
    }
}

type Contents = BTreeMap<String, Revision>;

async fn listed(cacher: &Cacher, freshness: Freshness) -> Contents {
    let query = ListQuery {
        namespace: "",
        start: None,
        limit: 0,
        freshness,
        filter: None,
    };
    let answer = cacher.list(query).await.expect("lists");
    let items = answer.items.iter();
    items
        .map(|item| (item.key().to_string(), item.revision()))
        .collect()
}

/// Every revision reads the same from the cache and from the store.
async fn revisions_agree(store: &Arc<dyn Storage>, cacher: &Cacher) {
    let now = store.current_revision().await.expect("answers");
    assert!(!listed(cacher, Freshness::Latest).await.is_empty());
    for revision in (now - 200..=now).step_by(7) {
        let range = Range {
            prefix: PREFIX.into(),
            revision,
            ..Range::default()
        };
        let stored = store.list(range).await.expect("lists").kvs.into_iter();
        let stored: Contents = stored.map(|kv| (kv.key, kv.mod_revision)).collect();
        let ours = listed(cacher, Freshness::Exact(revision)).await;
        assert_eq!(ours, stored, "at {revision}");
    }
}
