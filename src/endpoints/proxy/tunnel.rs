//! Port forwards over WebSocket, for kubelets that speak only SPDY: each binary message carries a
//! piece of the SPDY connection (contract/verbs.md §13a).

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::dial::Transports;
use super::location::Location;
use super::{append_forwarded_for, upgrade};
use crate::api::status::Status;
use crate::base::websocket::{Opcode, Reader, frame};
use crate::endpoints::websocket::{Accepted, accept, is_websocket, protocols};
use crate::request::{ApiRequest, ApiResponse, RequestContext, Tunnel};

/// How the subprotocol of such a WebSocket begins.
const PREFIX: &str = "SPDY/3.1+";
/// Largest piece of the SPDY connection in one message.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// Whether the request asks for SPDY inside a WebSocket.
pub(super) fn is_tunnel(ctx: &RequestContext) -> bool {
    is_websocket(ctx) && protocols(ctx).any(|p| p.starts_with(PREFIX))
}

/// Opens the SPDY connection, then accepts the WebSocket.
pub(super) async fn tunnel(
    transports: &Transports,
    request: &mut ApiRequest,
    location: &Location,
) -> Result<ApiResponse, Status> {
    let offered = protocols(&request.ctx).find(|p| p.starts_with(PREFIX));
    let offered = offered.map(str::to_string).ok_or_else(|| {
        Status::bad_request("unable to upgrade: no tunneling spdy protocols provided")
    })?;
    let headers = spdy_headers(&request.ctx);
    let mut answer = upgrade::ask(transports, request, location, headers).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return upgrade::not_upgraded(answer);
    }
    let backend = hyper::upgrade::on(&mut answer);
    let (headers, client) = accept(request, Some(&offered))?.into_parts();
    let tunnel: Tunnel = Box::pin(async move {
        match tokio::try_join!(client, backend) {
            Ok((client, backend)) => pump(TokioIo::new(client), TokioIo::new(backend)).await,
            Err(error) => tracing::debug!(%error, "an upgrade came to nothing"),
        }
    });
    Ok(Accepted::answer(headers, tunnel))
}

/// The client's headers, asking for SPDY instead of a WebSocket.
fn spdy_headers(ctx: &RequestContext) -> HeaderMap {
    let mut headers = ctx.headers.clone();
    append_forwarded_for(&mut headers, ctx);
    let websocket: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("sec-websocket-"))
        .cloned()
        .collect();
    for name in websocket {
        headers.remove(name);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    let versions = protocols(ctx).filter_map(|p| p.strip_prefix(PREFIX));
    for version in versions.filter_map(|v| HeaderValue::try_from(v).ok()) {
        headers.append("x-stream-protocol-version", version);
    }
    headers
}

async fn pump<C, B>(client: C, backend: B)
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (client_in, client_out) = tokio::io::split(client);
    let client_out = Mutex::new(client_out);
    let (mut backend_in, mut backend_out) = tokio::io::split(backend);
    let upstream = async {
        let mut reader = Reader::new(client_in);
        while let Ok(Some(message)) = reader.next().await {
            match message.opcode {
                Opcode::Binary | Opcode::Text => {}
                Opcode::Close => return,
                Opcode::Ping => {
                    let pong = frame(Opcode::Pong, &message.payload);
                    if send(&client_out, &pong).await.is_err() {
                        return;
                    }
                    continue;
                }
                _ => continue,
            }
            let sent = backend_out.write_all(&message.payload).await;
            if sent.is_err() || backend_out.flush().await.is_err() {
                return;
            }
        }
    };
    let downstream = async {
        let mut piece = vec![0; PIECE_BYTES_MAX];
        while let Ok(length) = backend_in.read(&mut piece).await {
            if length == 0 {
                return;
            }
            let message = frame(Opcode::Binary, &piece[..length]);
            if send(&client_out, &message).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = upstream => {}
        () = downstream => {}
    }
    send(&client_out, &frame(Opcode::Close, &[])).await.ok();
    client_out.into_inner().shutdown().await.ok();
    backend_out.shutdown().await.ok();
}

async fn send<W: AsyncWrite + Unpin>(to: &Mutex<W>, bytes: &[u8]) -> std::io::Result<()> {
    let mut to = to.lock().await;
    to.write_all(bytes).await?;
    to.flush().await
}
