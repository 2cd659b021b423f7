//! Between hyper and the filter chain: requests become [`ApiRequest`], [`ApiResponse`]s go out.
//! What a list consists of leaves in blocks (see [`Blocks`]).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as AxumBody;
use bytes::Bytes;
use futures::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rustls_pki_types::CertificateDer;
use tokio::sync::Notify;

use crate::audit::Recorder;
use crate::base::Tasks;
use crate::filters::audit::Guarded;
use crate::filters::{Endpoint, Filter, Next};
use crate::request::{ApiRequest, ApiResponse, Blocks, Body, ByteStream, RequestContext, Slices};

/// Of a request's body that nobody read, what is taken and how long it is waited for.
const DISCARD_BYTES_MAX: usize = 256 * 1024;
const DISCARD_WAIT: Duration = Duration::from_millis(250);

/// What all requests of one connection share.
pub(super) struct ConnectionInfo {
    /// Who answers.
    pub(super) app: Arc<App>,
    /// Client address.
    pub(super) peer: SocketAddr,
    /// Client certificates as presented.
    pub(super) certificates: Arc<[CertificateDer<'static>]>,
    /// SHA-256 of the leaf, computed once for all requests.
    pub(super) certificate_digest: Option<[u8; 32]>,
    /// Asks the connection to close when its requests are answered.
    pub(super) close: Notify,
    /// Where connections go on that have left HTTP.
    pub(super) tunnels: Tasks,
}

/// The chain and what stands behind it.
pub(super) struct App {
    filters: Vec<Box<dyn Filter>>,
    endpoint: Arc<dyn Endpoint>,
    recorder: Arc<Recorder>,
}

impl App {
    pub(super) fn new(
        filters: Vec<Box<dyn Filter>>,
        endpoint: Arc<dyn Endpoint>,
        recorder: Arc<Recorder>,
    ) -> Self {
        App {
            filters,
            endpoint,
            recorder,
        }
    }

    /// Answers one request. The work goes on when the client is gone.
    pub(super) async fn handle(
        mut incoming: Request<Incoming>,
        connection: Arc<ConnectionInfo>,
    ) -> Result<Response<OutBody>, Infallible> {
        let upgrade = incoming
            .headers()
            .contains_key(UPGRADE)
            .then(|| hyper::upgrade::on(&mut incoming));
        let version = incoming.version();
        let head = incoming.method() == Method::HEAD;
        let request = api_request(incoming, upgrade, &connection);
        let mut guarded = Guarded::new(request, connection.app.recorder.clone());
        let answering = connection.clone();
        let work = Outliving::new(async move {
            let app = &answering.app;
            let next = Next::new(&app.filters, app.endpoint.as_ref());
            let answered = AssertUnwindSafe(next.run(&mut guarded.request))
                .catch_unwind()
                .await;
            if version == Version::HTTP_2 {
                discard(&mut guarded.request.body).await;
            }
            answered
        });
        let mut answer = work.await.unwrap_or_else(|_| {
            tracing::error!("a request ended without an answer");
            ApiResponse::text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
        });
        if let Body::Switching(tunnel) = &mut answer.body {
            let tunnel = std::mem::replace(tunnel, Box::pin(std::future::ready(())));
            // A shutdown waits for it as for the connection that it took over.
            connection.tunnels.spawn_until_stopped(tunnel);
        }
        if version == Version::HTTP_2 && answer.headers.remove(CONNECTION).is_some() {
            // HTTP/2 knows no Connection header; GOAWAY says the same.
            connection.close.notify_one();
        }
        Ok(response(answer, head))
    }
}

/// Takes what nobody read of a request's body. HTTP/2 has to reset a stream whose answer is complete
/// before its request is; clients that see the reset with the answer (curl) lose the answer.
async fn discard(body: &mut AxumBody) {
    if body.is_end_stream() {
        return;
    }
    let rest = async {
        let mut taken = 0;
        while let Some(Ok(frame)) = body.frame().await {
            taken += frame.data_ref().map_or(0, Bytes::len);
            if taken > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    // One that does not come is reset after all.
    drop(tokio::time::timeout(DISCARD_WAIT, rest).await);
}

/// Work that is polled where it is awaited, and moves to a task of its own when it is dropped
/// half-way: a client that goes away neither stops a write nor keeps it out of the record. A task
/// per request from the beginning would cost two wake-ups, on other threads, for each.
struct Outliving<F: Future + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future + Send + 'static> Outliving<F> {
    fn new(work: F) -> Self {
        Outliving(Some(Box::pin(work)))
    }
}

impl<F> Future for Outliving<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut work = self.0.take().expect("not polled after it was ready");
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.0 = Some(work);
        }
        polled
    }
}

impl<F: Future + Send + 'static> Drop for Outliving<F> {
    fn drop(&mut self) {
        // Without a runtime the process is ending.
        if let Some(work) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                // Nobody waits for the answer.
                drop(work.await);
            });
        }
    }
}

fn api_request(
    incoming: Request<Incoming>,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
    connection: &ConnectionInfo,
) -> ApiRequest {
    let (mut parts, body) = incoming.into_parts();
    if let Some(authority) = parts.uri.authority() {
        if !parts.headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            parts.headers.insert(HOST, host);
        }
        let origin_form = parts.uri.path_and_query().cloned();
        parts.uri = origin_form.map(Uri::from).unwrap_or_default();
    }
    let peer = Some(connection.peer);
    let mut ctx = RequestContext::new(parts.method, parts.uri, parts.headers, peer);
    ctx.http_version = parts.version;
    ctx.client_certificates = connection.certificates.clone();
    ctx.certificate_digest = connection.certificate_digest;
    let body = match body.is_end_stream() {
        true => AxumBody::empty(),
        false => AxumBody::new(body),
    };
    ApiRequest {
        upgrade,
        ..ApiRequest::new(ctx, body)
    }
}

fn response(answer: ApiResponse, head: bool) -> Response<OutBody> {
    let mut body = OutBody::new(answer.body);
    let length = body.size_hint().exact();
    if head {
        body = OutBody::new(Body::Empty);
    }
    let mut out = Response::new(body);
    *out.status_mut() = answer.status;
    *out.headers_mut() = answer.headers;
    if head && let Some(length) = length {
        out.headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    out
}

/// A response body for hyper.
pub(super) enum OutBody {
    Whole(Blocks),
    Stream(ByteStream),
}

impl OutBody {
    pub(super) fn new(body: Body) -> Self {
        match body {
            Body::Empty | Body::Switching(_) => OutBody::Whole(Blocks::new(Vec::new())),
            Body::Segments(segments) => OutBody::Whole(Blocks::new(segments)),
            Body::Stream(stream) => OutBody::Stream(stream),
        }
    }
}

impl http_body::Body for OutBody {
    type Data = Slices;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Slices>, Self::Error>>> {
        match &mut *self {
            OutBody::Whole(blocks) => Poll::Ready(blocks.next().map(|b| Ok(Frame::data(b)))),
            OutBody::Stream(stream) => stream
                .as_mut()
                .poll_next(cx)
                .map(|item| item.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, OutBody::Whole(blocks) if blocks.bytes() == 0)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            OutBody::Whole(blocks) => SizeHint::with_exact(blocks.bytes()),
            OutBody::Stream(_) => SizeHint::default(),
        }
    }
}
