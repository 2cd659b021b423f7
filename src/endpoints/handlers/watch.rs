//! WATCH: frames as the cache shares them, bookmarks, and errors inside the stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, StatusCode};
use rand::Rng as _;

use crate::api::options::ListOptions;
use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::base::websocket::Opcode;
use crate::endpoints::handlers::get::needs_conversion;
use crate::endpoints::handlers::select;
use crate::endpoints::{Endpoints, render, websocket};
use crate::registry::printers::IncludeObject;
use crate::registry::read::{invalid_version, parse_revision};
use crate::registry::{Registry, Target, WatchOptions, list_status};
use crate::request::negotiate::{self, Encoding, Negotiated, TransformKind};
use crate::request::{ApiRequest, ApiResponse, Body, ByteStream, Slices};
use crate::storage::Error;
use crate::storage::cacher::{EventType, FRAME_TAIL, Freshness, Watch, WatchEvent, WatchStart};

/// Answers a watch.
pub async fn watch(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let ctx = &mut request.ctx;
    let negotiated = negotiate_stream(ctx, target)?;
    let options = ListOptions::from_query(ctx.uri.query().unwrap_or(""), true)?;
    let selection = select::selection(target, &options)?;
    let start = watch_start(&options)?;
    let timeout = watch_timeout(endpoints, &options, ctx.query_value("timeout").as_deref());
    let watch_options = WatchOptions {
        initial_events_end: options.allow_watch_bookmarks && sends_state(&options),
        bookmarks: options.allow_watch_bookmarks,
        deadline: Some(tokio::time::Instant::now() + timeout),
    };
    let began = ctx.stages.begin("cache/watch");
    let started = endpoints
        .registry
        .watch(target, start, selection, watch_options)
        .await;
    match &started {
        Ok(_) => ctx.stages.end("cache/watch", began, "ok", ""),
        Err(error) => {
            let because = format!("store/{}", error.because());
            ctx.stages
                .end("cache/watch", began, "error", because.clone());
            ctx.audit.because = Some(because.into());
        }
    }
    let include = render::include_object(ctx)?;
    let framer = Framer {
        registry: endpoints.registry.clone(),
        target: target.clone(),
        negotiated,
        include,
        first_row: true,
        convert: needs_conversion(target),
    };
    let stream: ByteStream = match started {
        Ok(watch) => Box::pin(Frames { watch, framer }),
        Err(Error::Compacted { compact_revision }) => {
            one_frame(expired(&options, compact_revision))
        }
        Err(error) => return Err(list_status(&error, &target.resource)),
    };
    if websocket::is_websocket(&request.ctx) {
        // A message of its own says goodbye; other streams end in the filter `watch-termination`.
        let end = endpoints.shutdown.child_token().cancelled_owned();
        let stream = Box::pin(stream.take_until(end));
        return over_websocket(request, negotiated.encoding, stream);
    }
    let mut response = ApiResponse::new(StatusCode::OK, "application/json", Bytes::new());
    if negotiated.encoding == Encoding::Protobuf {
        let value = HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch");
        response.headers.insert("content-type", value);
    }
    response.body = Body::Stream(stream);
    Ok(response)
}

/// Sends each event as a message: JSON as text, protobuf as bytes.
fn over_websocket(
    request: &mut ApiRequest,
    encoding: Encoding,
    stream: ByteStream,
) -> Result<ApiResponse, Status> {
    let offered: Vec<String> = websocket::protocols(&request.ctx)
        .map(str::to_string)
        .collect();
    // Watches know no subprotocol; a client that offers one gets it back, as from Go's library.
    let protocol = match offered.as_slice() {
        [] => None,
        [one] => Some(one.as_str()),
        _ => return Err(Status::bad_request("websocket: bad protocol")),
    };
    match encoding {
        Encoding::Protobuf => {
            websocket::send_stream(request, protocol, stream, Opcode::Binary, split_lengths)
        }
        _ => websocket::send_stream(request, protocol, stream, Opcode::Text, split_lines),
    }
}

/// The lines of a chunk, which is whole lines.
fn split_lines(chunk: Bytes) -> Vec<Bytes> {
    let mut lines = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', &chunk) {
        lines.push(chunk.slice(start..=end));
        start = end + 1;
    }
    if start < chunk.len() {
        lines.push(chunk.slice(start..));
    }
    lines
}

/// The frames of a chunk, without the four bytes of length before each.
fn split_lengths(mut chunk: Bytes) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while let Some(length) = chunk.first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let end = chunk.len().min(length.saturating_add(4));
        frames.push(chunk.slice(4..end));
        chunk = chunk.slice(end..);
    }
    frames
}

/// Streams are JSON or protobuf; YAML cannot be streamed.
fn negotiate_stream(
    ctx: &crate::request::RequestContext,
    target: &Target,
) -> Result<Negotiated, Status> {
    let negotiated = negotiate::negotiate(ctx, render::encodings(target), true)?;
    if negotiated.encoding == Encoding::Yaml {
        let mut list = vec!["application/json;stream=watch"];
        if !target.resource.custom {
            list.push("application/vnd.kubernetes.protobuf;stream=watch");
        }
        return Err(Status::not_acceptable(format!(
            "only the following media types are accepted: {}",
            list.join(", ")
        )));
    }
    Ok(negotiated)
}

/// Whether the watch begins with the state there is: asked for, or by default of the version.
fn sends_state(options: &ListOptions) -> bool {
    let from_now = matches!(options.resource_version.as_str(), "" | "0");
    options.send_initial_events.unwrap_or(from_now)
}

/// Where the watch starts (contract/verbs.md §8).
fn watch_start(options: &ListOptions) -> Result<WatchStart, Status> {
    let text = options.resource_version.as_str();
    let revision = if text.is_empty() {
        None
    } else {
        let parsed = parse_revision(text);
        Some(parsed.ok_or_else(|| Status::failure(500, "", invalid_version(text)))?)
    };
    Ok(match (options.send_initial_events, revision) {
        (Some(true), None) => WatchStart::State(Freshness::Latest),
        (Some(true), Some(0)) => WatchStart::State(Freshness::Any),
        (Some(true), Some(n)) => WatchStart::State(Freshness::AtLeast(n)),
        (Some(false), None | Some(0)) => WatchStart::Now,
        (None, None) => WatchStart::State(Freshness::Latest),
        (None, Some(0)) => WatchStart::State(Freshness::Any),
        (_, Some(n)) => WatchStart::After(n),
    })
}

/// `timeoutSeconds`, else a random time in [min, 2·min) so that watches do not end together.
fn watch_timeout(endpoints: &Endpoints, options: &ListOptions, timeout: Option<&str>) -> Duration {
    if let Some(seconds) = options
        .timeout_seconds
        .and_then(|s| u64::try_from(s).ok())
        .filter(|s| *s > 0)
    {
        return Duration::from_secs(seconds);
    }
    let parsed = timeout.and_then(|text| crate::base::duration::parse(text).ok().flatten());
    if let Some(timeout) = parsed.filter(|t| !t.is_zero()) {
        return timeout;
    }
    let least = endpoints.min_request_timeout;
    least.mul_f64(rand::rng().random_range(1.0..2.0))
}

/// The error of a start that has left the window.
fn expired(options: &ListOptions, oldest: u64) -> Status {
    let asked = &options.resource_version;
    Status::expired(format!("too old resource version: {asked} ({oldest})"))
}

fn error_frame(status: &Status) -> Bytes {
    let mut frame = serde_json::to_vec(&json!({"type": "ERROR", "object": status.to_json()}))
        .unwrap_or_default();
    frame.push(b'\n');
    Bytes::from(frame)
}

fn one_frame(status: Status) -> crate::request::ByteStream {
    Box::pin(futures::stream::once(async move {
        Ok(error_frame(&status).into())
    }))
}

/// Makes the bytes of each event.
struct Framer {
    registry: std::sync::Arc<Registry>,
    target: Target,
    negotiated: Negotiated,
    include: IncludeObject,
    first_row: bool,
    convert: bool,
}

/// Frames gathered into one chunk, so that a burst costs one write.
const FRAMES_PER_CHUNK: usize = 64;

/// What a watcher is sent.
struct Frames {
    watch: Watch,
    framer: Framer,
}

impl futures::Stream for Frames {
    type Item = std::io::Result<Slices>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Frames { watch, framer } = &mut *self;
        let Some(event) = std::task::ready!(watch.poll_recv(cx)) else {
            return Poll::Ready(None);
        };
        let mut chunk = Slices::from(framer.frame(event));
        for _ in 1..FRAMES_PER_CHUNK {
            let Some(event) = watch.try_recv() else { break };
            chunk.push(framer.frame(event));
        }
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl Framer {
    fn frame(&mut self, event: WatchEvent) -> Bytes {
        match event {
            WatchEvent::Bookmark {
                revision,
                initial_events_end,
            } => self.bookmark(revision, initial_events_end),
            WatchEvent::Failed(error) => error_frame(&failed(&error, &self.target)),
            WatchEvent::Added(frame) | WatchEvent::Modified(frame) | WatchEvent::Deleted(frame) => {
                let plain = self.negotiated.transform.is_none()
                    && self.negotiated.encoding == Encoding::Json;
                if plain && !self.convert {
                    return frame.bytes().clone();
                }
                match self
                    .registry
                    .cached_tree(frame.object(), &self.target.resource)
                {
                    Ok(object) => self.tree_frame(frame.event(), &object),
                    Err(status) => error_frame(&status),
                }
            }
        }
    }

    fn bookmark(&mut self, revision: u64, initial_events_end: bool) -> Bytes {
        let row = &self.target.resource;
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({
            "kind": row.kind,
            "apiVersion": row.group_version().to_string(),
            "metadata": metadata,
        });
        self.encode("BOOKMARK", &object)
    }

    fn tree_frame(&mut self, event: EventType, object: &Value) -> Bytes {
        let Some(transform) = self.negotiated.transform else {
            return self.encode(event.as_str(), object);
        };
        if transform.kind != TransformKind::Table {
            let partial = render::partial_metadata(object, transform.api_version);
            return self.encode(event.as_str(), &partial);
        }
        let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
        let columns = std::mem::take(&mut self.first_row);
        let printer = render::printer_of(&self.target);
        let items = std::slice::from_ref(object);
        let table = render::table(
            printer,
            items,
            &metadata,
            self.include,
            transform.api_version,
            columns,
        );
        [event.head().as_bytes(), &table, FRAME_TAIL.as_ref()]
            .concat()
            .into()
    }

    fn encode(&self, event: &str, object: &Value) -> Bytes {
        if self.negotiated.encoding == Encoding::Protobuf {
            return crate::api::protobuf::watch_frame(event, object).unwrap_or_default();
        }
        let mut frame = Vec::with_capacity(1024);
        frame.extend_from_slice(b"{\"type\":\"");
        frame.extend_from_slice(event.as_bytes());
        frame.extend_from_slice(b"\",\"object\":");
        if serde_json::to_writer(&mut frame, object).is_err() {
            return Bytes::new();
        }
        frame.extend_from_slice(b"}\n");
        Bytes::from(frame)
    }
}

fn failed(error: &Error, target: &Target) -> Status {
    match error {
        Error::Compacted { .. } => {
            Status::expired("The resourceVersion for the provided watch is too old.")
        }
        other => list_status(other, &target.resource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_split_into_messages() {
        let lines = split_lines(Bytes::from_static(b"a\nbc\n"));
        assert_eq!(lines, [&b"a\n"[..], b"bc\n"]);
        let frames = split_lengths(Bytes::from_static(b"\0\0\0\x01a\0\0\0\x02bc"));
        assert_eq!(frames, [&b"a"[..], b"bc"]);
        assert_eq!(
            split_lengths(Bytes::from_static(b"\0\0\0\x09a")),
            [&b"a"[..]]
        );
    }
}
