//! Requests that leave HTTP (SPDY, WebSocket): the backend's answer is copied back, then bytes flow
//! both ways until either side closes.

use axum::body::Body as AxumBody;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use super::dial::{SendError, Transports};
use super::forward::stream;
use super::location::Location;
use super::{append_forwarded_for, plain};
use crate::api::status::Status;
use crate::request::{ApiRequest, ApiResponse, Body, Tunnel};

/// Passes the upgrade on.
pub(super) async fn upgrade(
    transports: &Transports,
    request: &mut ApiRequest,
    location: &Location,
) -> Result<ApiResponse, Status> {
    let mut headers = request.ctx.headers.clone();
    append_forwarded_for(&mut headers, &request.ctx);
    let mut answer = ask(transports, request, location, headers).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return not_upgraded(answer);
    }
    let client = request.upgrade.take().ok_or_else(|| {
        plain("request connection cannot be hijacked: it is not an HTTP/1.1 connection")
    })?;
    let backend = hyper::upgrade::on(&mut answer);
    let tunnel: Tunnel = Box::pin(async move {
        let (client, backend) = match tokio::try_join!(client, backend) {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!(%error, "an upgrade came to nothing");
                return;
            }
        };
        splice(TokioIo::new(client), TokioIo::new(backend)).await;
    });
    Ok(ApiResponse {
        status: StatusCode::SWITCHING_PROTOCOLS,
        headers: answer.headers().clone(),
        body: Body::Switching(tunnel),
    })
}

/// Sends the request with `headers` to the backend.
pub(super) async fn ask(
    transports: &Transports,
    request: &mut ApiRequest,
    location: &Location,
    mut headers: HeaderMap,
) -> Result<http::Response<Incoming>, Status> {
    // What is upgraded has no body; frames of an empty one would confuse the backend.
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_LENGTH);
    let ctx = &mut request.ctx;
    if !headers.contains_key(HOST) {
        headers.insert(HOST, HeaderValue::from_static("kubelet"));
    }
    let mut outgoing = Request::new(AxumBody::empty());
    *outgoing.method_mut() = ctx.method.clone();
    let uri = location.target.parse();
    *outgoing.uri_mut() = uri.map_err(|_| Status::bad_request("the path cannot be proxied"))?;
    *outgoing.headers_mut() = headers;
    let began = ctx.stages.begin("proxy");
    let answer = transports.send(&location.to, outgoing).await;
    match answer {
        Ok(answer) => {
            ctx.stages.end("proxy", began, "ok", "");
            Ok(answer)
        }
        Err(error) => {
            ctx.stages.end("proxy", began, "error", error.to_string());
            Err(plain(match &error {
                SendError::Dial(inner) => format!("error dialing backend: {inner}"),
                SendError::Send(inner) => inner.to_string(),
            }))
        }
    }
}

/// A backend that did not upgrade: its refusal is the answer.
pub(super) fn not_upgraded(answer: http::Response<Incoming>) -> Result<ApiResponse, Status> {
    let code = answer.status().as_u16();
    if code < 400 {
        return Err(plain(format!(
            "invalid upgrade response: status code {code}"
        )));
    }
    let (mut parts, body) = answer.into_parts();
    super::remove_hop_by_hop(&mut parts.headers);
    parts
        .headers
        .insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(ApiResponse {
        status: parts.status,
        headers: parts.headers,
        body: Body::Stream(stream(body)),
    })
}

/// Copies both ways until one side is done, then closes both.
pub(super) async fn splice<A, B>(client: A, backend: B)
where
    A: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    B: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (mut backend_in, mut backend_out) = tokio::io::split(backend);
    tokio::select! {
        ended = tokio::io::copy(&mut client_in, &mut backend_out) => note(ended, "the client"),
        ended = tokio::io::copy(&mut backend_in, &mut client_out) => note(ended, "the backend"),
    }
    client_out.shutdown().await.ok();
    backend_out.shutdown().await.ok();
}

fn note(ended: std::io::Result<u64>, side: &str) {
    match ended {
        Ok(bytes) => tracing::debug!(side, bytes, "a proxied connection ended"),
        Err(error) => tracing::debug!(side, %error, "a proxied connection broke"),
    }
}
