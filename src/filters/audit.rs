//! Audit: evaluates the policy with the authenticated user and has the recorder emit the stages.
//!
//! A whole body is recorded before the answer leaves, so blocking modes keep their promise. A stream
//! (or what runs after `101 Switching Protocols`) carries its ResponseComplete along and emits it when
//! it ends or is dropped; so does a body that is too large for the connection's buffers, whose writing
//! is a stage of its own (`response-write`, users.md 36). [`Guarded`] owns a
//! request and sees to it that one whose task is dropped half-way is recorded too.

use std::io::Read;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, Stream};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};

use crate::api::status::Status;
use crate::audit::{Recorder, Recording, Refused, Response, ResponseObject, Stage};
use crate::base::tree::{Value, json};
use crate::filters::{Filter, Next, Step};
use crate::request::{
    ApiRequest, ApiResponse, AuditLevel, Blocks, Body, ByteStream, CLOSED_BY_CLIENT,
    RequestContext, Slices,
};

/// A success is looked into for a `Status` up to this size.
const STATUS_MAX_BYTES: usize = 16 * 1024;

/// A body from this size on is recorded when it has been written: what is smaller leaves at once.
const SLOW_WRITE_BYTES: usize = 512 * 1024;

/// The filter.
pub struct Audit {
    recorder: Arc<Recorder>,
}

impl Audit {
    /// Records with `recorder`.
    pub fn new(recorder: Arc<Recorder>) -> Self {
        Audit { recorder }
    }
}

#[async_trait]
impl Filter for Audit {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        match self.recorder.decide(&mut request.ctx) {
            AuditLevel::None => Step::Pass,
            _ => Step::Around,
        }
    }

    async fn around(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let recording = self.recorder.begin(&mut request.ctx);
        let began = request.ctx.stages.begin("audit");
        let run = Run {
            recorder: self.recorder.clone(),
            recording,
        };
        let received = run.emit(&request.ctx, Stage::RequestReceived, None).await;
        request.ctx.stages.end("audit", began, "ok", "");
        if received == Err(Refused) {
            self.recorder.metrics().rejected.inc();
            return refusal();
        }
        request.ctx.audit.open = true;
        match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => run.finish(&mut request.ctx, response).await,
            Err(panic) => {
                run.panicked(&mut request.ctx, &panic_text(&*panic)).await;
                resume_unwind(panic)
            }
        }
    }
}

/// One audited request.
struct Run {
    recorder: Arc<Recorder>,
    recording: Recording,
}

impl Run {
    async fn emit(
        &self,
        ctx: &RequestContext,
        stage: Stage,
        response: Option<Response<'_>>,
    ) -> Result<(), Refused> {
        let receipts = self.recorder.emit(ctx, &self.recording, stage, response);
        receipts.settle().await
    }

    /// Emits what is left to emit. Losses after RequestReceived are counted but change no answer.
    async fn finish(self, ctx: &mut RequestContext, mut response: ApiResponse) -> ApiResponse {
        let is_long_running = ctx.info.is_long_running();
        note_status(ctx, &response);
        note_object(ctx, &response);
        ctx.stages.settle();
        let code = response.status.as_u16();
        let shown = Response {
            code,
            object: shown_object(ctx, &response),
            message: None,
        };
        if is_long_running {
            self.emit(ctx, Stage::ResponseStarted, Some(shown))
                .await
                .ok();
        }
        ctx.audit.open = false;
        if is_slow_to_write(ctx, &response) {
            return self.recorded_write(ctx, response);
        }
        if let Body::Stream(stream) = response.body {
            let writing = Writing::new("stream", u64::MAX);
            response.body = self.recorded(ctx, stream, code, writing);
            return response;
        }
        if let Body::Switching(tunnel) = response.body {
            let nothing = Box::pin(futures::stream::empty());
            let mut recorded = RecordedStream {
                stream: nothing,
                ctx: Box::new(ctx.clone()),
                run: Some(self),
                code,
                writing: Writing::new("stream", u64::MAX),
            };
            response.body = Body::Switching(Box::pin(async move {
                tunnel.await;
                recorded.end("ok");
            }));
            return response;
        }
        self.emit(ctx, Stage::ResponseComplete, Some(shown))
            .await
            .ok();
        response
    }

    /// Has the last event wait until a large body is written, as upstream's does.
    fn recorded_write(self, ctx: &mut RequestContext, mut response: ApiResponse) -> ApiResponse {
        if let ResponseObject::Segments(shown) = shown_object(ctx, &response) {
            ctx.audit.response_object = Some(shown.concat().into());
        }
        let length = body_bytes(&response.body);
        let code = response.status.as_u16();
        if let Body::Segments(segments) = std::mem::take(&mut response.body) {
            response.headers.insert(CONTENT_LENGTH, length.into());
            let writing = Writing::new("response-write", length as u64);
            let blocks = Box::pin(futures::stream::iter(Blocks::new(segments).map(Ok)));
            response.body = self.recorded(ctx, blocks, code, writing);
        }
        response
    }

    fn recorded(
        self,
        ctx: &RequestContext,
        stream: ByteStream,
        code: u16,
        writing: Writing,
    ) -> Body {
        Body::Stream(Box::pin(RecordedStream {
            stream,
            ctx: Box::new(ctx.clone()),
            run: Some(self),
            code,
            writing,
        }))
    }

    async fn panicked(self, ctx: &mut RequestContext, message: &str) {
        ctx.audit.open = false;
        ctx.audit.response_status = Some(json!({
            "status": "Failure",
            "message": format!("APIServer panic'd: {message}"),
            "reason": "InternalError",
        }));
        let response = Response {
            code: 500,
            ..Response::default()
        };
        self.emit(ctx, Stage::Panic, Some(response)).await.ok();
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_string(),
        (_, Some(text)) => text.clone(),
        _ => "unknown panic".to_string(),
    }
}

/// The answer of blocking-strict when the event cannot be stored.
fn refusal() -> ApiResponse {
    let status = Status::internal("failed to store audit event");
    ApiResponse::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "application/json",
        status.to_json().to_string(),
    )
}

/// Notes the `Status` that is answered: any error in JSON, and the small successes of deletes,
/// bindings and evictions. A 406 is written past negotiation and upstream does not look at it.
fn note_status(ctx: &mut RequestContext, response: &ApiResponse) {
    if response.status == StatusCode::NOT_ACCEPTABLE {
        ctx.audit.response_status = None;
        return;
    }
    if ctx.audit.response_status.is_some() || !is_plain_json(response) {
        return;
    }
    let Body::Segments(segments) = &response.body else {
        return;
    };
    let is_error = response.status.is_client_error() || response.status.is_server_error();
    // What is read is an object: not worth looking through.
    let info = &ctx.info;
    let reads_object = info.is_resource && info.verb == "get" && info.subresource.is_empty();
    if reads_object && !is_error {
        return;
    }
    let length: usize = segments.iter().map(Bytes::len).sum();
    let is_candidate = length <= STATUS_MAX_BYTES
        && segments
            .iter()
            .any(|s| memchr::memmem::find(s, b"\"Status\"").is_some());
    if !is_error && !is_candidate {
        return;
    }
    let tree = match segments.as_slice() {
        [one] => serde_json::from_slice::<Value>(one),
        many => serde_json::from_slice::<Value>(&many.concat()),
    };
    if let Ok(tree) = tree
        && tree["kind"] == "Status"
    {
        ctx.audit.response_status = Some(tree);
    }
}

/// Has the event show what the body does not show as it is: a compressed body, a `Status` in YAML.
fn note_object(ctx: &mut RequestContext, response: &ApiResponse) {
    if ctx.audit.level < AuditLevel::RequestResponse || ctx.audit.response_object.is_some() {
        return;
    }
    if let Some(status) = &ctx.audit.response_status
        && !is_json(response)
    {
        ctx.audit.response_object = serde_json::to_vec(status).ok().map(Bytes::from);
        return;
    }
    if let Body::Segments(segments) = &response.body
        && response
            .headers
            .get(CONTENT_ENCODING)
            .is_some_and(|e| e == "gzip")
        && is_json(response)
    {
        let packed = segments.concat();
        let mut text = Vec::new();
        if flate2::read::GzDecoder::new(&packed[..])
            .read_to_end(&mut text)
            .is_ok()
        {
            ctx.audit.response_object = Some(text.into());
        }
    }
}

fn shown_object<'a>(ctx: &RequestContext, response: &'a ApiResponse) -> ResponseObject<'a> {
    if ctx.audit.level < AuditLevel::RequestResponse
        || response.status == StatusCode::NOT_ACCEPTABLE
    {
        return ResponseObject::None;
    }
    // Bodies of other paths (version, health, OpenAPI) are no API objects.
    let path = ctx.info.path.as_str();
    let is_api_path =
        matches!(path, "/api" | "/apis") || path.starts_with("/api/") || path.starts_with("/apis/");
    if !ctx.info.is_resource && !is_api_path && ctx.audit.response_status.is_none() {
        return ResponseObject::None;
    }
    if ctx.audit.response_object.is_some() {
        return ResponseObject::Context;
    }
    match &response.body {
        Body::Segments(segments) if is_plain_json(response) => ResponseObject::Segments(segments),
        _ => ResponseObject::None,
    }
}

fn is_json(response: &ApiResponse) -> bool {
    let value = response.headers.get(CONTENT_TYPE);
    value.is_some_and(|v| v.as_bytes().starts_with(b"application/json"))
}

fn is_plain_json(response: &ApiResponse) -> bool {
    is_json(response) && !response.headers.contains_key(CONTENT_ENCODING)
}

fn body_bytes(body: &Body) -> usize {
    match body {
        Body::Segments(segments) => segments.iter().map(Bytes::len).sum(),
        Body::Empty | Body::Stream(_) | Body::Switching(_) => 0,
    }
}

fn is_slow_to_write(ctx: &RequestContext, response: &ApiResponse) -> bool {
    ctx.method != Method::HEAD && body_bytes(&response.body) >= SLOW_WRITE_BYTES
}

/// How far the writing of a body has come.
struct Writing {
    /// Name of the stage.
    stage: &'static str,
    began: Instant,
    bytes: u64,
    /// The connection drops a body of known length with its last byte, without asking for its end.
    length: u64,
}

impl Writing {
    fn new(stage: &'static str, length: u64) -> Self {
        Writing {
            stage,
            began: Instant::now(),
            bytes: 0,
            length,
        }
    }
}

/// A stream that records the end of its request.
struct RecordedStream {
    stream: ByteStream,
    ctx: Box<RequestContext>,
    run: Option<Run>,
    code: u16,
    writing: Writing,
}

impl RecordedStream {
    fn end(&mut self, outcome: &'static str) {
        let Some(run) = self.run.take() else {
            return;
        };
        let Writing {
            stage,
            began,
            bytes,
            ..
        } = self.writing;
        let reason = format!("{bytes} bytes");
        self.ctx.stages.end(stage, began, outcome, reason);
        let response = Response {
            code: self.code,
            object: match self.ctx.audit.response_object {
                Some(_) => ResponseObject::Context,
                None => ResponseObject::None,
            },
            message: None,
        };
        // The stream has been sent; nobody is left to wait.
        let _ = run.recorder.emit(
            &self.ctx,
            &run.recording,
            Stage::ResponseComplete,
            Some(response),
        );
    }
}

impl Stream for RecordedStream {
    type Item = std::io::Result<Slices>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = self.stream.as_mut().poll_next(cx);
        match &item {
            Poll::Ready(Some(Ok(bytes))) => self.writing.bytes += bytes.len() as u64,
            Poll::Ready(Some(Err(_))) => self.end("error"),
            Poll::Ready(None) => self.end("ok"),
            Poll::Pending => {}
        }
        item
    }
}

impl Drop for RecordedStream {
    fn drop(&mut self) {
        let outcome = match self.writing.bytes >= self.writing.length {
            true => "ok",
            false => CLOSED_BY_CLIENT,
        };
        self.end(outcome);
    }
}

/// Owns a request while it is handled. A request that is dropped before its last event (the client
/// went away, a timeout) is recorded when its owner is dropped, with the stages it got through and
/// the one it was in.
pub struct Guarded {
    /// The request.
    pub request: ApiRequest,
    recorder: Arc<Recorder>,
}

impl Guarded {
    /// Takes a request that has just arrived.
    pub fn new(request: ApiRequest, recorder: Arc<Recorder>) -> Self {
        Guarded { request, recorder }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.recorder.record_refused_early(&mut self.request.ctx);
        self.recorder.record_abandoned(&mut self.request.ctx);
    }
}

#[cfg(test)]
mod tests;
