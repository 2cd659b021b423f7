//! WATCH of `auditevents`: events as they are recorded, bookmarks, and errors inside the stream.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use rand::Rng as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::options::ListOptions;
use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::request::negotiate::{Encoding, Negotiated, TransformKind};
use crate::request::{ApiResponse, Body, ByteStream, RequestContext};
use crate::search::api::item::Item;
use crate::search::api::render::{Include, negotiated, object};
use crate::search::api::selection::Selection;
use crate::search::api::{DEFAULT_LIMIT, EventsApi, GROUP, VERSION, status_of};
use crate::search::document;
use crate::search::fields::Fields;
use crate::search::hub::{Recorded, Watcher};
use crate::search::index::{Direction, PAGE_EVENTS_MAX};
use crate::search::query::{self, Matcher};

/// How often a watch that wants bookmarks gets one.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// Events that are looked at before the client gets what was found.
const EVENTS_PER_TURN: usize = 256;

impl EventsApi {
    /// Begins behind `resourceVersion`. Without one the newest events come first, at most a page of
    /// them: `limit`, 500 where it says nothing, 10,000 with `sendInitialEvents`.
    pub(super) async fn watch(&self, ctx: &RequestContext) -> Result<ApiResponse, Status> {
        let negotiated = negotiated(ctx)?;
        if negotiated.encoding != Encoding::Json {
            return Err(Status::not_acceptable(
                "only the following media types are accepted: application/json;stream=watch",
            ));
        }
        let options = ListOptions::from_query(ctx.query(), true)?;
        let mut selection = Selection::of(ctx, &options)?;
        // A watch begins with the newest events, whatever a list would show first.
        selection.direction = Direction::NewestFirst;
        let frames = Frames {
            filter: Filter::new(&selection)?,
            negotiated,
            include: Include::of(ctx)?,
            has_columns: false,
        };
        let start = Start::of(&options)?;
        let from = match start {
            Start::Behind(version) => {
                // What the client saw may be ahead of what was read here.
                self.version().await;
                version
            }
            Start::Now | Start::State(_) => self.version().await,
        };
        let watcher = self.hub.watch(from);
        let watcher = watcher.map_err(|e| Status::too_many_requests(e.to_string(), 1))?;
        let mut stream = Stream {
            watcher,
            frames,
            selection,
            ready: VecDeque::new(),
            ends_at: Instant::now() + self.timeout(ctx, &options),
            bookmark_at: options
                .allow_watch_bookmarks
                .then(|| Instant::now() + BOOKMARK_INTERVAL),
            shutdown: self.limits.shutdown.clone(),
            is_over: false,
        };
        if let Start::State(limit) = start {
            let limit = match usize::try_from(options.limit) {
                Ok(0) | Err(_) => limit,
                Ok(asked) => asked.min(PAGE_EVENTS_MAX),
            };
            let state = self.page(&stream.selection, limit, None).await?;
            let oldest_first = state.items.iter().rev();
            for item in oldest_first {
                let frame = stream.frames.item("ADDED", item);
                stream.ready.push_back(frame);
            }
            if options.send_initial_events == Some(true) && options.allow_watch_bookmarks {
                stream.ready.push_back(bookmark(from, true));
            }
        }
        let mut response = ApiResponse::new(StatusCode::OK, "application/json", Bytes::new());
        response.body = Body::Stream(stream.into_bytes());
        Ok(response)
    }

    /// `timeoutSeconds`, else a random time in [min, 2·min) so that watches do not end together.
    fn timeout(&self, ctx: &RequestContext, options: &ListOptions) -> Duration {
        let seconds = options.timeout_seconds.and_then(|s| u64::try_from(s).ok());
        if let Some(seconds) = seconds.filter(|s| *s > 0) {
            return Duration::from_secs(seconds);
        }
        let timeout = ctx.query_value("timeout");
        let timeout = timeout
            .as_deref()
            .and_then(|text| crate::base::duration::parse(text).ok().flatten());
        if let Some(timeout) = timeout.filter(|t| !t.is_zero()) {
            return timeout;
        }
        let least = self.limits.min_timeout;
        least.mul_f64(rand::rng().random_range(1.0..2.0))
    }
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With what is recorded from now on.
    Now,
    /// With the newest events, at most so many.
    State(usize),
    /// Behind a version.
    Behind(u64),
}

impl Start {
    fn of(options: &ListOptions) -> Result<Self, Status> {
        let text = options.resource_version.as_str();
        let version: u64 = match text {
            "" => 0,
            text => text
                .parse()
                .map_err(|_| Status::bad_request(format!("invalid resource version: {text:?}")))?,
        };
        Ok(match (options.send_initial_events, version) {
            (Some(true), _) => Start::State(PAGE_EVENTS_MAX),
            (Some(false), 0) => Start::Now,
            (None, 0) => Start::State(DEFAULT_LIMIT),
            (_, version) => Start::Behind(version),
        })
    }
}

/// Which events go to the client.
struct Filter {
    fields: Fields,
    matcher: Matcher,
}

impl Filter {
    fn new(selection: &Selection) -> Result<Self, Status> {
        let fields = Fields::new();
        let query = query::parse(&selection.query).map_err(|e| status_of(e.into()))?;
        let matcher = query.matcher(&fields).map_err(|e| status_of(e.into()))?;
        Ok(Filter { fields, matcher })
    }

    fn takes(&self, selection: &Selection, event: &Recorded) -> bool {
        let Ok(prepared) = document::prepare(&self.fields, &event.event) else {
            return false;
        };
        if !self.matcher.matches(&prepared.document) {
            return false;
        }
        let item = Item {
            resource_version: event.sequence,
            event: event.event.clone(),
        };
        let shown = item.shown();
        let here = selection.namespace.as_deref();
        let in_window = shown.time().is_none_or(|t| t >= selection.window.from);
        in_window && here.is_none_or(|n| n == shown.namespace()) && selection.selects(&shown)
    }
}

/// Makes the bytes of each event.
struct Frames {
    filter: Filter,
    negotiated: Negotiated,
    include: Include,
    has_columns: bool,
}

impl Frames {
    fn item(&mut self, event: &str, item: &Item) -> Bytes {
        let Some(transform) = self.negotiated.transform else {
            let mut out = Vec::with_capacity(item.event.len() + 512);
            out.extend_from_slice(format!("{{\"type\":\"{event}\",\"object\":").as_bytes());
            item.push(&mut out);
            out.extend_from_slice(b"}\n");
            return out.into();
        };
        let is_first = transform.kind == TransformKind::Table && !self.has_columns;
        self.has_columns |= is_first;
        frame(
            event,
            &object(item, self.negotiated, self.include, is_first),
        )
    }
}

fn frame(event: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": event, "object": object}).to_string();
    text.push('\n');
    text.into()
}

fn bookmark(version: u64, ends_initial_events: bool) -> Bytes {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if ends_initial_events {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({
        "kind": "AuditEvent",
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": metadata,
    });
    frame("BOOKMARK", &object)
}

/// One watch.
struct Stream {
    watcher: Watcher,
    frames: Frames,
    selection: Selection,
    ready: VecDeque<Bytes>,
    ends_at: Instant,
    bookmark_at: Option<Instant>,
    shutdown: CancellationToken,
    is_over: bool,
}

impl Stream {
    fn into_bytes(self) -> ByteStream {
        Box::pin(futures::stream::unfold(self, |mut stream| async move {
            let chunk = stream.next().await?;
            Some((Ok(chunk.into()), stream))
        }))
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.ready.is_empty() {
                let chunk: Vec<Bytes> = self.ready.drain(..).collect();
                return Some(chunk.concat().into());
            }
            if self.is_over {
                return None;
            }
            let now = Instant::now();
            if now >= self.ends_at {
                return None;
            }
            if self.bookmark_at.is_some_and(|at| at <= now) {
                self.bookmark_at = Some(now + BOOKMARK_INTERVAL);
                return Some(bookmark(self.watcher.taken(), false));
            }
            match self.watcher.take(EVENTS_PER_TURN) {
                Ok(events) if events.is_empty() => {
                    let wake_at = self.bookmark_at.unwrap_or(self.ends_at).min(self.ends_at);
                    tokio::select! {
                        () = self.watcher.changed() => {}
                        () = tokio::time::sleep_until(wake_at) => {}
                        () = self.shutdown.cancelled() => return None,
                    }
                }
                Ok(events) => self.add(&events),
                Err(error) => {
                    let status = Status::expired(format!("too old resource version: {error}"));
                    self.ready.push_back(frame("ERROR", &status.to_json()));
                    self.is_over = true;
                }
            }
        }
    }

    fn add(&mut self, events: &[std::sync::Arc<Recorded>]) {
        for event in events {
            if !self.frames.filter.takes(&self.selection, event) {
                continue;
            }
            let item = Item {
                resource_version: event.sequence,
                event: event.event.clone(),
            };
            let frame = self.frames.item("ADDED", &item);
            self.ready.push_back(frame);
        }
    }
}
