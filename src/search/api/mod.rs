//! `auditevents` and `auditsummaries` of group `audit.verbatim.dev`: the record as Kubernetes
//! resources.
//!
//! Virtual: nothing is stored, every answer is a search. Requests come through the whole filter
//! chain, so who may `list auditevents` in a namespace sees the events of that namespace, and who may
//! in all namespaces sees everything (kubernetes/kubernetes#61766).
//!
//! Files: `selection` what a request selects · `item` one event as an object · `render` pages and
//! tables · `watch` the stream.
//!
//! # Decisions
//! - A list's resourceVersion is the place in the log up to which it shows everything; a watch from
//!   there goes on without loss. Items carry the version of their own time, which is never later.
//! - An answer that may lack events (a day is being built anew, the index could not take in all of the
//!   log) says so in `Warning` headers, which kubectl and the hand tools show.
//! - A list without `limit` is the newest 500 events with a continue token, not everything there is.

pub mod item;
pub mod render;
pub mod selection;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::api::names::{GroupKind, GroupResource};
use crate::api::options::ListOptions;
use crate::api::status::Status;
use crate::audit::Recorder;
use crate::base::tree::Value;
use crate::request::negotiate;
use crate::request::{ApiRequest, ApiResponse, RequestContext};
use crate::search::index::PAGE_EVENTS_MAX;
use crate::search::summary::{self, SpecError};
use crate::search::{Hit, Hub, Index, Search, SearchError, Window};

use item::Item;
use render::{Include, List, object};
pub use render::{negotiated, value_response};
use selection::Selection;

/// API group.
pub const GROUP: &str = "audit.verbatim.dev";
/// Version of the group.
pub const VERSION: &str = "v1alpha1";
/// Events per page when the request does not say.
const DEFAULT_LIMIT: usize = 500;
/// Searches for one page of a selection that the index answers only in part.
const ROUNDS_MAX: usize = 100;
/// Summaries that run at once; others wait.
const SUMMARIES_MAX: usize = 2;

/// How watches end.
#[derive(Clone, Debug)]
pub struct WatchLimits {
    /// Least time after which a watch without `timeoutSeconds` ends.
    pub min_timeout: Duration,
    /// When the server stops.
    pub shutdown: CancellationToken,
}

impl Default for WatchLimits {
    fn default() -> Self {
        WatchLimits {
            min_timeout: Duration::from_secs(1800),
            shutdown: CancellationToken::new(),
        }
    }
}

/// Answers requests for `auditevents` and `auditsummaries`.
pub struct EventsApi {
    index: Arc<Index>,
    hub: Arc<Hub>,
    recorder: Arc<Recorder>,
    limits: WatchLimits,
    summaries: tokio::sync::Semaphore,
}

impl EventsApi {
    /// Over an index, the hub on the same log, and the recorder that feeds the log.
    pub fn new(
        index: Arc<Index>,
        hub: Arc<Hub>,
        recorder: Arc<Recorder>,
        limits: WatchLimits,
    ) -> Self {
        EventsApi {
            index,
            hub,
            recorder,
            limits,
            summaries: tokio::sync::Semaphore::new(SUMMARIES_MAX),
        }
    }

    /// Answers one request that has passed the filter chain.
    pub async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
        let ctx = &mut request.ctx;
        let answer = match ctx.info.verb.as_str() {
            "list" => self.list(ctx).await,
            "watch" => self.watch(ctx).await,
            "get" => {
                let gaps = self.gaps();
                let answer = self.get(ctx).await;
                if answer.is_err() {
                    gaps.warn(ctx);
                }
                answer
            }
            _ => Err(Status::method_not_allowed()),
        };
        answer.unwrap_or_else(|status| negotiate::status_response(ctx, &status))
    }

    /// What may be missing in an answer that begins now.
    pub fn gaps(&self) -> Gaps<'_> {
        Gaps {
            rebuilding: self.index.rebuilding(),
            index: &self.index,
        }
    }

    /// Fills in the status of an AuditSummary.
    pub async fn summarize(&self, ctx: &RequestContext, summary: &mut Value) -> Result<(), Status> {
        let spec = summary::Spec::parse(&summary["spec"]).map_err(|error| match error {
            SpecError::Query(error) => Status::bad_request(error.to_string()),
            SpecError::Invalid(errors) => {
                let kind = summary["kind"].as_str().unwrap_or_default();
                let kind = GroupKind::new(GROUP, kind.to_string());
                Status::invalid(&kind, "", &errors)
            }
        })?;
        let _turn = self.summaries.acquire().await;
        self.recorder.flush().await;
        let counted = summary::count(&self.index, &spec, scope(ctx)).await;
        summary["status"] = counted.map_err(status_of)?;
        Ok(())
    }

    /// Events of one audit ID that this request may see, newest first.
    pub async fn of_audit_id(&self, ctx: &RequestContext, id: &str) -> Result<Vec<Hit>, Status> {
        self.recorder.flush().await;
        let found = self.index.by_audit_id(id, scope(ctx)).await;
        found.map_err(status_of)
    }

    /// Events of a time that match a query and that this request may see, newest first.
    pub async fn within(
        &self,
        ctx: &RequestContext,
        query: String,
        window: Window,
        limit: usize,
    ) -> Result<Vec<Hit>, Status> {
        let search = Search {
            query,
            window,
            limit,
            after: None,
            namespace: scope(ctx).map(str::to_string),
        };
        Ok(self.index.search(search).await.map_err(status_of)?.hits)
    }

    /// The newest events that match a query.
    pub async fn newest(
        &self,
        ctx: &RequestContext,
        query: String,
        limit: usize,
    ) -> Result<Vec<Hit>, Status> {
        self.recorder.flush().await;
        let search = Search {
            query,
            window: Window::all(),
            limit,
            after: None,
            namespace: scope(ctx).map(str::to_string),
        };
        Ok(self.index.search(search).await.map_err(status_of)?.hits)
    }

    async fn list(&self, ctx: &mut RequestContext) -> Result<ApiResponse, Status> {
        let negotiated = negotiated(ctx)?;
        let include = Include::of(ctx)?;
        let options = ListOptions::from_query(ctx.query(), false)?;
        let selection = Selection::of(ctx, &options)?;
        let limit = match usize::try_from(options.limit) {
            Ok(0) | Err(_) => DEFAULT_LIMIT,
            Ok(limit) => limit.min(PAGE_EVENTS_MAX),
        };
        let from = Token::parse(&options.continue_token)?;
        let page = self.page(&selection, limit, from).await?;
        warn_of_gaps(ctx, &page.rebuilding, page.is_behind);
        let list = List {
            items: &page.items,
            resource_version: page.version,
            next: page.next.map(|after| {
                let version = page.version;
                Token { after, version }.to_string()
            }),
        };
        Ok(list.response(negotiated, include))
    }

    /// Up to `limit` selected events, newest first.
    async fn page(
        &self,
        selection: &Selection,
        limit: usize,
        from: Option<Token>,
    ) -> Result<Selected, Status> {
        let version = match &from {
            Some(token) => token.version,
            None => self.version().await,
        };
        let mut items: Vec<Item> = Vec::new();
        let mut next = from.map(|t| t.after);
        let (mut rebuilding, mut is_behind) = (Vec::new(), false);
        for _ in 0..ROUNDS_MAX {
            let search = Search {
                query: selection.query.clone(),
                window: selection.window,
                limit: limit - items.len(),
                after: next,
                namespace: selection.namespace.clone(),
            };
            let page = self.index.search_in(search, selection.direction).await;
            let page = page.map_err(status_of)?;
            next = page.next;
            rebuilding = page.rebuilding;
            is_behind |= page.is_behind;
            let found = page.hits.iter().map(Item::of);
            items.extend(found.filter(|i| selection.selects(&i.shown())));
            if next.is_none() || items.len() >= limit {
                break;
            }
        }
        // What came in while this was searched is what a watch from `version` begins with.
        let later = self.hub.since(version);
        items.retain(|item| !later.iter().any(|l| l.event == item.event));
        Ok(Selected {
            items,
            version,
            next,
            rebuilding,
            is_behind,
        })
    }

    /// The place in the log up to which everything can be found now. In batch mode what was
    /// recorded before this request must be written first.
    async fn version(&self) -> u64 {
        self.recorder.flush().await;
        self.hub.catch_up().await.max(1)
    }

    async fn get(&self, ctx: &RequestContext) -> Result<ApiResponse, Status> {
        let negotiated = negotiated(ctx)?;
        let include = Include::of(ctx)?;
        let name = ctx.info.name.as_str();
        let hits = match name.rsplit_once('-') {
            Some((id, _)) => self.of_audit_id(ctx, id).await?,
            None => Vec::new(),
        };
        let mut items = hits.iter().map(Item::of);
        let item = items.find(|item| item.shown().name() == name);
        let item = item.ok_or_else(|| {
            let resource = GroupResource::new(GROUP, ctx.info.resource.clone());
            Status::not_found(&resource, name)
        })?;
        Ok(value_response(
            &object(&item, negotiated, include, true),
            negotiated,
        ))
    }
}

/// What may be missing in an answer, see [`EventsApi::gaps`].
pub struct Gaps<'a> {
    rebuilding: Vec<chrono::NaiveDate>,
    index: &'a Index,
}

impl Gaps<'_> {
    /// Tells the client, once the answer is complete.
    pub fn warn(self, ctx: &mut RequestContext) {
        warn_of_gaps(ctx, &self.rebuilding, self.index.is_behind());
    }
}

fn warn_of_gaps(ctx: &mut RequestContext, rebuilding: &[chrono::NaiveDate], is_behind: bool) {
    for day in rebuilding {
        ctx.warn(format!(
            "the index of {day} is being built anew from the log: events may be missing"
        ));
    }
    if is_behind {
        ctx.warn(
            "the search index could not take in all of the log: the newest events may be missing",
        );
    }
}

/// A page of selected events.
struct Selected {
    items: Vec<Item>,
    version: u64,
    next: Option<u64>,
    /// Days of which events may be missing.
    rebuilding: Vec<chrono::NaiveDate>,
    /// The newest events may be missing.
    is_behind: bool,
}

/// A continue token: where the next page begins, and the version of the first.
#[derive(Clone, Copy, Debug)]
struct Token {
    after: u64,
    version: u64,
}

impl Token {
    fn parse(text: &str) -> Result<Option<Self>, Status> {
        if text.is_empty() {
            return Ok(None);
        }
        let parts = text.split_once('.').and_then(|(after, version)| {
            Some(Token {
                after: u64::from_str_radix(after, 16).ok()?,
                version: u64::from_str_radix(version, 16).ok()?,
            })
        });
        let unknown = "continue: this is not a token that the server gave out";
        parts.map(Some).ok_or_else(|| Status::bad_request(unknown))
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}.{:x}", self.after, self.version)
    }
}

fn scope(ctx: &RequestContext) -> Option<&str> {
    Some(ctx.info.namespace.as_str()).filter(|n| !n.is_empty())
}

fn status_of(error: SearchError) -> Status {
    match error {
        SearchError::Query(error) => Status::bad_request(error.to_string()),
        other => {
            tracing::error!(error = %other, source = ?std::error::Error::source(&other), "a search failed");
            Status::internal("the index of the record cannot be searched")
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;
    use crate::audit::metrics::Metrics;
    use crate::base::tree::json;
    use crate::request::{Body, RequestInfo};
    use crate::search::IndexOptions;

    async fn ask(dir: &std::path::Path, uri: &str, accept: &'static str) -> (u16, Value) {
        let log = dir.join("audit.log");
        let index = Index::open(&dir.join("index"), &log, IndexOptions::default()).expect("opens");
        let hub = Hub::new(&log, &crate::telemetry::Metrics::new(&[]));
        let recorder = Recorder::new(None, Vec::new(), Metrics::new());
        let api = EventsApi::new(index, hub, recorder, WatchLimits::default());
        let mut headers = HeaderMap::new();
        headers.insert("accept", accept.parse().expect("a header"));
        let uri: Uri = uri.parse().expect("a URI");
        let mut ctx = RequestContext::new(Method::GET, uri, headers, None);
        let query = ctx.uri.query().unwrap_or("").to_string();
        ctx.info = RequestInfo::parse(&ctx.method, ctx.uri.path(), &query).expect("a path");
        let mut request = ApiRequest::new(ctx, axum::body::Body::empty());
        let response = api.handle(&mut request).await;
        let Body::Segments(body) = response.body else {
            panic!("a whole body");
        };
        let tree = serde_json::from_slice(&body.concat()).expect("JSON");
        (response.status.as_u16(), tree)
    }

    fn log_of_three() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        let line = |n: u32, ns: &str| {
            format!(
                "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"a-{n}\",\"stage\":\"ResponseComplete\",\"verb\":\"get\",\"user\":{{\"username\":\"u{n}\"}},\"objectRef\":{{\"resource\":\"pods\",\"namespace\":\"{ns}\"}},\"requestReceivedTimestamp\":\"2026-01-01T00:00:0{n}.000000Z\",\"stageTimestamp\":\"2026-01-01T00:00:0{n}.000000Z\"}}\n"
            )
        };
        let text = line(1, "x") + &line(2, "y") + &line(3, "x");
        std::fs::write(dir.path().join("audit.log"), text).expect("writes");
        dir
    }

    #[tokio::test]
    async fn lists_pages_and_tables() {
        const BASE: &str = "/apis/audit.verbatim.dev/v1alpha1";
        for (path, accept, code, check) in [
            (
                "/auditevents?limit=2",
                "application/json",
                200,
                json!(["u3", "u2"]),
            ),
            ("/namespaces/x/auditevents", "", 200, json!(["u3", "u1"])),
            (
                "/auditevents?fieldSelector=user%3Du2",
                "",
                200,
                json!(["u2"]),
            ),
            (
                "/namespaces/x/auditevents?fieldSelector=user%3Du2",
                "",
                200,
                json!([]),
            ),
            (
                "/auditevents?query=user:u1%20OR%20user:u2",
                "",
                200,
                json!(["u2", "u1"]),
            ),
            (
                "/auditevents?to=2026-01-01T00:00:02Z",
                "",
                200,
                json!(["u1"]),
            ),
            (
                "/auditevents?sort=oldest&limit=2",
                "",
                200,
                json!(["u1", "u2"]),
            ),
            ("/auditevents?sort=up", "", 400, Value::Null),
            ("/auditevents?query=usr:x", "", 400, Value::Null),
            ("/auditevents?continue=zz", "", 400, Value::Null),
        ] {
            let dir = log_of_three();
            let (got, tree) = ask(dir.path(), &format!("{BASE}{path}"), accept).await;
            assert_eq!(got, code, "{path}: {tree}");
            if code == 200 {
                let users: Value = tree["items"]
                    .as_array()
                    .expect("items")
                    .iter()
                    .map(|i| i["user"]["username"].clone())
                    .collect();
                assert_eq!(users, check, "{path}");
            }
        }
        let dir = log_of_three();
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let (_, tree) = ask(dir.path(), &format!("{BASE}/auditevents"), table).await;
        assert_eq!(tree["kind"], "Table");
        assert_eq!(tree["rows"][0]["cells"][1], "u3");
    }

    #[tokio::test]
    async fn gets_one() {
        const BASE: &str = "/apis/audit.verbatim.dev/v1alpha1/namespaces";
        for (path, code) in [
            ("x/auditevents/a-1-responsecomplete", 200),
            ("y/auditevents/a-1-responsecomplete", 404),
            ("x/auditevents/a-1-panic", 404),
        ] {
            let dir = log_of_three();
            let (got, tree) = ask(dir.path(), &format!("{BASE}/{path}"), "").await;
            assert_eq!(got, code, "{path}: {tree}");
        }
    }
}
