//! Between hyper and the filter chain: requests become [`ApiRequest`], [`ApiResponse`]s go out.
//! Bodies are handed over as they are; no byte is copied here.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};
use rustls_pki_types::CertificateDer;
use tokio::sync::Notify;

use crate::audit::Recorder;
use crate::base::Tasks;
use crate::filters::audit::Guarded;
use crate::filters::{Endpoint, Filter, Next};
use crate::request::{ApiRequest, ApiResponse, Body, ByteStream, RequestContext};

/// What all requests of one connection share.
pub(super) struct ConnectionInfo {
    /// Client address.
    pub(super) peer: SocketAddr,
    /// Client certificates as presented.
    pub(super) certificates: Arc<[CertificateDer<'static>]>,
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

    /// Answers one request. The work runs in its own task and goes on when the client is gone.
    pub(super) async fn handle(
        self: Arc<Self>,
        mut incoming: Request<AxumBody>,
    ) -> Result<Response<AxumBody>, Infallible> {
        let connection = incoming.extensions_mut().remove::<Arc<ConnectionInfo>>();
        let upgrade = incoming
            .headers()
            .contains_key(UPGRADE)
            .then(|| hyper::upgrade::on(&mut incoming));
        let version = incoming.version();
        let head = incoming.method() == Method::HEAD;
        let request = api_request(incoming, upgrade, connection.as_deref());
        let mut guarded = Guarded::new(request, self.recorder.clone());
        let work = tokio::spawn(async move {
            Next::new(&self.filters, self.endpoint.as_ref())
                .run(&mut guarded.request)
                .await
        });
        let mut answer = work.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a request task ended without an answer");
            ApiResponse::text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
        });
        if let Body::Switching(tunnel) = &mut answer.body {
            let tunnel = std::mem::replace(tunnel, Box::pin(std::future::ready(())));
            match &connection {
                // A shutdown waits for it as for the connection that it took over.
                Some(connection) => connection.tunnels.spawn_until_stopped(tunnel),
                None => drop(tokio::spawn(tunnel)),
            }
        }
        if version == Version::HTTP_2 && answer.headers.remove(CONNECTION).is_some() {
            // HTTP/2 knows no Connection header; GOAWAY says the same.
            if let Some(connection) = connection {
                connection.close.notify_one();
            }
        }
        Ok(response(answer, head))
    }
}

fn api_request(
    incoming: Request<AxumBody>,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
    connection: Option<&ConnectionInfo>,
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
    let peer = connection.map(|c| c.peer);
    let mut ctx = RequestContext::new(parts.method, parts.uri, parts.headers, peer);
    ctx.http_version = parts.version;
    if let Some(connection) = connection {
        ctx.client_certificates = connection.certificates.clone();
    }
    ApiRequest { ctx, body, upgrade }
}

fn response(answer: ApiResponse, head: bool) -> Response<AxumBody> {
    let mut out = Response::new(AxumBody::empty());
    *out.status_mut() = answer.status;
    *out.headers_mut() = answer.headers;
    let body = OutBody::new(answer.body);
    if head {
        if let Some(length) = body.size_hint().exact() {
            out.headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        return out;
    }
    *out.body_mut() = AxumBody::new(body);
    out
}

/// A response body for hyper.
enum OutBody {
    Whole {
        segments: VecDeque<Bytes>,
        remaining: u64,
    },
    Stream(ByteStream),
}

impl OutBody {
    fn new(body: Body) -> Self {
        match body {
            Body::Empty | Body::Switching(_) => OutBody::Whole {
                segments: VecDeque::new(),
                remaining: 0,
            },
            Body::Segments(segments) => OutBody::Whole {
                remaining: segments.iter().map(|s| s.len() as u64).sum(),
                segments: segments.into(),
            },
            Body::Stream(stream) => OutBody::Stream(stream),
        }
    }
}

impl http_body::Body for OutBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            OutBody::Whole {
                segments,
                remaining,
            } => {
                let next = segments.pop_front();
                if let Some(segment) = &next {
                    *remaining -= segment.len() as u64;
                }
                Poll::Ready(next.map(|segment| Ok(Frame::data(segment))))
            }
            OutBody::Stream(stream) => stream
                .as_mut()
                .poll_next(cx)
                .map(|item| item.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, OutBody::Whole { remaining: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            OutBody::Whole { remaining, .. } => SizeHint::with_exact(*remaining),
            OutBody::Stream(_) => SizeHint::default(),
        }
    }
}
