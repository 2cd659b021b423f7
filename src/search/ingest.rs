//! Ingest: audit events of other API servers, as they send or as their logs are followed.
//!
//! Answers `POST /audit` and `POST /audit/CLUSTER` with an `audit.k8s.io/v1` EventList: what
//! kube-apiserver's audit webhook sends, and `verbatim import`. Who may is RBAC's to say, by the path
//! (`nonResourceURLs: ["/audit/prod"]`, verb `post`). [`super::tail`] hands in the lines of logs.
//!
//! # Invariants
//! - An answer of 200 means that every event is in the log, on disk, or was there before.
//! - What the server's own log would not show is redacted before an event is kept.
//! - An event that comes again (a delivery that is retried, a log that is read again) is kept once.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, Semaphore};

use crate::api::status::Status;
use crate::audit::redact::Redactor;
use crate::audit::{EventBytes, Recorder, Sink, Stage};
use crate::base::tree::json;
use crate::request::negotiate::status_response;
use crate::request::{ApiRequest, ApiResponse, RequestInfo};
use crate::search::days::InTime;
use crate::search::document::{self, Prepared};
use crate::search::event::with_cluster;
use crate::search::fields::Fields;
use crate::search::import::events_of;
use crate::search::{Index, SearchError};

/// Where event lists are posted; a cluster's name may follow.
pub const LISTS_PATH: &str = "/audit";
/// Largest body. kube-apiserver sends up to 10 MiB, or 400 events of any size.
pub const LIST_BYTES_MAX: usize = 64 << 20;
/// Lists that are read at once; others wait, so that bodies do not fill the memory.
const LISTS_MAX: usize = 8;
/// Longest name of a cluster.
const CLUSTER_NAME_MAX: usize = 253;
/// Events that are remembered because the index may not have committed them yet.
const RECENT_MAX: usize = 400_000;
/// Bad events that an answer lists; all are counted.
const BAD_MAX: usize = 1_000;

/// What became of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// Events that are new.
    pub events: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Events older than what the index keeps; they are not taken.
    #[serde(default)]
    pub too_old: u64,
    /// Items that are no events.
    #[serde(default)]
    pub bad: Vec<BadItem>,
}

/// An item that is no event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadItem {
    /// Place in the list, from zero.
    pub index: usize,
    /// What is wrong.
    pub reason: String,
}

/// Why events were not taken. The sender tries again.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The log cannot be written.
    #[error("the log of received events cannot be written")]
    Log,
    /// The log cannot be brought to the disk.
    #[error("the log of received events cannot be synced")]
    Sync(#[source] std::io::Error),
    /// Whether the events are there already cannot be found out.
    #[error("the index cannot be asked for duplicates")]
    Index(#[source] SearchError),
}

/// Takes events of others.
pub struct Ingest {
    sink: Arc<dyn Sink>,
    /// The file behind the sink.
    log: PathBuf,
    index: Arc<Index>,
    /// Has the rules of redaction.
    recorder: Arc<Recorder>,
    fields: Fields,
    recent: Mutex<Recent>,
    slots: Semaphore,
    /// Set once the index has caught up with what was received before the start.
    caught_up: OnceCell<()>,
}

#[derive(Default)]
struct Recent {
    identities: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    fn add(&mut self, identity: u64) {
        if self.identities.insert(identity) {
            self.order.push_back(identity);
        }
        if self.order.len() > RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.identities.remove(&oldest);
        }
    }
}

/// An event on its way into the log.
struct Arrived {
    line: Vec<u8>,
    prepared: Prepared,
}

impl Ingest {
    /// Over the sink that writes the file `log`, which the index follows.
    pub fn new(
        sink: Arc<dyn Sink>,
        log: PathBuf,
        index: Arc<Index>,
        recorder: Arc<Recorder>,
    ) -> Arc<Self> {
        Arc::new(Ingest {
            sink,
            log,
            index,
            recorder,
            fields: Fields::new(),
            recent: Mutex::default(),
            slots: Semaphore::new(LISTS_MAX),
            caught_up: OnceCell::new(),
        })
    }

    /// Whether a request is for this.
    pub fn serves(&self, info: &RequestInfo) -> bool {
        !info.is_resource && cluster_of(&info.path).is_some()
    }

    /// Answers one request that has passed the filter chain.
    pub async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
        match self.receive(request).await {
            Ok(received) => {
                let answer = json!({
                    "kind": "EventListReceipt",
                    "apiVersion": "audit.verbatim.dev/v1alpha1",
                    "received": received,
                });
                ApiResponse::new(StatusCode::OK, "application/json", answer.to_string())
            }
            Err(status) => status_response(&mut request.ctx, &status),
        }
    }

    async fn receive(&self, request: &mut ApiRequest) -> Result<Received, Status> {
        if request.ctx.method != Method::POST {
            return Err(Status::method_not_allowed());
        }
        let cluster = cluster_of(&request.ctx.info.path).unwrap_or_default();
        let cluster = check_cluster(cluster).map_err(Status::bad_request)?;
        let cluster = cluster.map(str::to_string);
        let closed = |_| Status::service_unavailable("the server is going down");
        let _slot = self.slots.acquire().await.map_err(closed)?;
        let body = read(request).await?;
        let mut items = Vec::new();
        events_of(&body, &mut |item| {
            items.push(item.map(<[u8]>::to_vec));
            true
        });
        // What is no JSON at all is the sender's mistake, not an event's.
        if let [Err(reason)] = &items[..] {
            return Err(Status::bad_request(format!(
                "the body is no list of audit events: {reason}"
            )));
        }
        self.take(cluster.as_deref(), items).await.map_err(|error| {
            tracing::error!(%error, source = ?std::error::Error::source(&error), "received audit events were refused");
            Status::service_unavailable("the events cannot be kept now")
        })
    }

    /// Takes events, each one line of JSON without its break, in their order. After an error those
    /// that were written are known, and the others are new when they come again.
    pub async fn take(
        &self,
        cluster: Option<&str>,
        items: Vec<Result<Vec<u8>, String>>,
    ) -> Result<Received, IngestError> {
        let mut received = Received::default();
        let mut arrived = Vec::with_capacity(items.len());
        let redactor = self.recorder.redactor();
        for (index, item) in items.into_iter().enumerate() {
            match item.and_then(|line| self.arrived(cluster, redactor.as_deref(), line)) {
                Ok(event) if self.index.takes(event.prepared.day) == InTime::TooOld => {
                    received.too_old += 1;
                }
                Ok(event) => arrived.push(event),
                Err(reason) if received.bad.len() < BAD_MAX => {
                    received.bad.push(BadItem { index, reason });
                }
                Err(_) => {}
            }
        }
        let new = self.without_known(arrived, &mut received).await?;
        if new.is_empty() {
            return Ok(received);
        }
        self.write(new, &mut received).await?;
        let log = self.log.clone();
        let synced = tokio::task::spawn_blocking(move || std::fs::File::open(log)?.sync_data());
        match synced.await {
            Ok(Ok(())) => Ok(received),
            Ok(Err(error)) => Err(IngestError::Sync(error)),
            Err(_) => Err(IngestError::Log),
        }
    }

    fn arrived(
        &self,
        cluster: Option<&str>,
        redactor: Option<&Redactor>,
        mut line: Vec<u8>,
    ) -> Result<Arrived, String> {
        if let Some(redactor) = redactor {
            let text = std::str::from_utf8(&line).map_err(|_| "is not UTF-8".to_string())?;
            let shown = match redactor.event(text) {
                Cow::Owned(shown) => Some(shown.into_bytes()),
                Cow::Borrowed(_) => None,
            };
            line = shown.unwrap_or(line);
        }
        let marked = cluster.and_then(|c| with_cluster(&line, c));
        let line = marked.unwrap_or(line);
        let prepared = document::prepare(&self.fields, &line).map_err(|e| e.to_string())?;
        match self.index.takes(prepared.day) {
            InTime::Future => Err("is of a time that has not come yet".into()),
            InTime::Yes | InTime::TooOld => Ok(Arrived { line, prepared }),
        }
    }

    async fn without_known(
        &self,
        arrived: Vec<Arrived>,
        received: &mut Received,
    ) -> Result<Vec<Arrived>, IngestError> {
        self.caught_up
            .get_or_init(|| async { self.index.flush().await })
            .await;
        let (arrived, known) = self.index.known(arrived, |a| &a.prepared).await;
        let known = known.map_err(IngestError::Index)?;
        let mut seen = HashSet::new();
        let recent = self.recent.lock();
        let new = arrived.into_iter().zip(known).filter_map(|(event, known)| {
            let identity = event.prepared.identity;
            if known || recent.identities.contains(&identity) || !seen.insert(identity) {
                received.duplicates += 1;
                return None;
            }
            Some(event)
        });
        Ok(new.collect())
    }

    async fn write(&self, new: Vec<Arrived>, received: &mut Received) -> Result<(), IngestError> {
        let mut receipts = Vec::with_capacity(new.len());
        for Arrived { mut line, prepared } in new {
            line.push(b'\n');
            let event = EventBytes::from_line(line, Stage::ResponseComplete);
            receipts.push((prepared.identity, self.sink.accept(&Arc::new(event))));
        }
        let mut outcome = Ok(());
        for (identity, receipt) in receipts {
            match receipt.settle().await {
                Ok(()) => {
                    received.events += 1;
                    self.recent.lock().add(identity);
                }
                Err(_) => outcome = Err(IngestError::Log),
            }
        }
        outcome
    }
}

/// The cluster that a path names; empty for none, `None` for another path.
fn cluster_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(LISTS_PATH)?;
    if rest.is_empty() {
        return Some("");
    }
    rest.strip_prefix('/').filter(|name| !name.contains('/'))
}

/// Whether a text can be the name of a cluster; none is good, too.
pub fn check_cluster(name: &str) -> Result<Option<&str>, String> {
    let is_good = name.len() <= CLUSTER_NAME_MAX
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    match is_good {
        true => Ok(Some(name).filter(|n| !n.is_empty())),
        false => Err(format!(
            "{name:?} is no name for a cluster: write letters, digits, '.', '-' and '_'"
        )),
    }
}

async fn read(request: &mut ApiRequest) -> Result<Bytes, Status> {
    let mut body = std::mem::take(&mut request.body);
    let mut parts: Vec<Bytes> = Vec::new();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Status::bad_request("the request body could not be read"))?;
        if let Ok(data) = frame.into_data() {
            size += data.len();
            if size > LIST_BYTES_MAX {
                return Err(Status::too_large(format!("limit is {LIST_BYTES_MAX}")));
            }
            parts.push(data);
        }
    }
    Ok(match parts.len() {
        1 => parts.remove(0),
        _ => Bytes::from(parts.concat()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::metrics::Metrics;
    use crate::audit::sink::log::{LogOptions, LogSink};
    use crate::search::{IndexOptions, Search, Source};

    fn line(id: &str) -> Result<Vec<u8>, String> {
        Ok(format!(
            r#"{{"auditID":"{id}","stage":"ResponseComplete","stageTimestamp":"2026-01-01T00:00:00.000001Z"}}"#
        )
        .into_bytes())
    }

    fn open(dir: &std::path::Path) -> (Arc<Ingest>, Arc<Index>) {
        open_with(dir, Recorder::new(None, Vec::new(), Metrics::new()))
    }

    fn open_with(dir: &std::path::Path, recorder: Arc<Recorder>) -> (Arc<Ingest>, Arc<Index>) {
        let log = dir.join("audit.log");
        let options = LogOptions {
            path: log.clone(),
            ..LogOptions::default()
        };
        let sink = LogSink::open(&options, Metrics::new()).expect("opens");
        let source = Source {
            name: "log".into(),
            path: log.clone(),
            cluster: None,
            may_repeat: true,
        };
        let index = Index::follow(&dir.join("index"), vec![source], IndexOptions::default());
        let index = index.expect("opens");
        (Ingest::new(sink, log, index.clone(), recorder), index)
    }

    #[tokio::test]
    async fn thread_19_what_others_send_is_redacted_as_our_own() {
        use crate::audit::recorder::Group;
        use crate::audit::redact::{Action, DefaultSet, Rules};
        use crate::audit::sampling::Sampler;
        let rules = Rules::of(&DefaultSet::ALL, Action::Mask);
        let group = Group {
            name: "log".into(),
            policy: None,
            redactor: Some(Arc::new(Redactor::new(rules, b"a key of the test's own"))),
            routes: Vec::new(),
        };
        let recorder = Recorder::with_groups(vec![group], Sampler::random(), Metrics::new());
        let dir = tempfile::tempdir().expect("a directory");
        let (ingest, index) = open_with(dir.path(), recorder);
        let line = r#"{"auditID":"a","stage":"ResponseComplete","stageTimestamp":"2026-01-01T00:00:00.000001Z","objectRef":{"resource":"secrets","apiVersion":"v1"},"requestObject":{"data":{"p":"aHVudGVyMg=="}},"z":1.0}"#;
        let items = vec![Ok(line.as_bytes().to_vec())];
        let received = ingest.take(Some("prod"), items).await.expect("is taken");
        assert_eq!(received.events, 1);
        assert_eq!(count(&index, "cluster:prod").await, 1);
        let kept = std::fs::read_to_string(dir.path().join("audit.log")).expect("the log");
        let expected = line.replace("aHVudGVyMg==", "redacted");
        let expected = expected.trim_end_matches('}');
        assert!(kept.starts_with(expected), "{kept}");
    }

    async fn count(index: &Index, query: &str) -> usize {
        let search = Search {
            query: query.into(),
            limit: 100,
            ..Search::default()
        };
        index.search(search).await.expect("searches").hits.len()
    }

    #[tokio::test]
    async fn retried_deliveries_are_kept_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let (ingest, index) = open(dir.path());
        let items = || vec![line("a"), line("b"), line("a"), Err("is no event".into())];
        let first = ingest.take(Some("prod"), items()).await.expect("is taken");
        assert_eq!((first.events, first.duplicates, first.bad.len()), (2, 1, 1));
        let again = ingest.take(Some("prod"), items()).await.expect("is taken");
        assert_eq!((again.events, again.duplicates), (0, 3));
        assert_eq!(count(&index, "cluster:prod").await, 2);
        drop((ingest, index));
        // Another process: nothing is remembered, the index knows.
        let (ingest, index) = open(dir.path());
        let later = ingest.take(Some("prod"), items()).await.expect("is taken");
        assert_eq!((later.events, later.duplicates), (0, 3));
        assert_eq!(count(&index, "").await, 2);
        let log = std::fs::read_to_string(dir.path().join("audit.log")).expect("reads");
        assert_eq!(log.lines().count(), 2);
    }

    #[tokio::test]
    async fn what_would_not_be_found_is_not_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let (ingest, _index) = open(dir.path());
        let later = Ok(String::from_utf8(line("a").expect("a line"))
            .expect("text")
            .replace("2026-01-01", "2999-01-01")
            .into_bytes());
        let received = ingest.take(None, vec![later]).await.expect("is answered");
        assert_eq!(received.events, 0);
        assert_eq!(received.bad[0].reason, "is of a time that has not come yet");
    }

    #[test]
    fn paths_and_names() {
        for (path, cluster) in [
            ("/audit", Some("")),
            ("/audit/prod", Some("prod")),
            ("/audit/prod/x", None),
            ("/audits", None),
        ] {
            assert_eq!(cluster_of(path), cluster, "{path}");
        }
        assert_eq!(check_cluster(""), Ok(None));
        assert_eq!(check_cluster("eu-1.prod"), Ok(Some("eu-1.prod")));
        assert!(check_cluster("a b").is_err());
    }
}
