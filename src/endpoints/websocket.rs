//! WebSocket handshakes, and streams that are sent as messages.

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, WriteHalf};
use tokio::sync::Mutex;

use crate::api::status::Status;
use crate::base::websocket::{Opcode, Reader, accept_key, frame};
use crate::request::{ApiRequest, ApiResponse, Body, ByteStream, RequestContext, Tunnel};

/// A normal end (RFC 6455 §7.4.1), as a close frame's payload.
const NORMAL_CLOSE: [u8; 2] = 1000u16.to_be_bytes();

/// Whether the client wants a WebSocket.
pub fn is_websocket(ctx: &RequestContext) -> bool {
    let wants = |name, token: &str| {
        let value = ctx.header(name).unwrap_or("");
        let mut tokens = value.split(',').map(str::trim);
        tokens.any(|t| t.eq_ignore_ascii_case(token))
    };
    wants("connection", "upgrade") && wants("upgrade", "websocket")
}

/// The subprotocols that the client offers, best first.
pub fn protocols(ctx: &RequestContext) -> impl Iterator<Item = &str> {
    let values = ctx.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let texts = values.filter_map(|v| v.to_str().ok());
    texts
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .filter(|v| !v.is_empty())
}

/// An accepted handshake.
pub struct Accepted {
    headers: HeaderMap,
    /// Where the connection comes when the answer is sent.
    pub connection: OnUpgrade,
}

/// Accepts a handshake with the chosen subprotocol.
pub fn accept(request: &mut ApiRequest, protocol: Option<&str>) -> Result<Accepted, Status> {
    let bad = |why: &str| Status::bad_request(format!("websocket: {why}"));
    let ctx = &request.ctx;
    if ctx.header("sec-websocket-version") != Some("13") {
        return Err(bad("missing or bad WebSocket Version"));
    }
    let key = ctx.headers.get(SEC_WEBSOCKET_KEY);
    let key = key.and_then(|k| k.to_str().ok()).filter(|k| !k.is_empty());
    let accept = accept_key(key.ok_or_else(|| bad("missing or bad challenge"))?);
    let mut headers = HeaderMap::new();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let value = HeaderValue::try_from(accept).map_err(|_| bad("missing or bad challenge"))?;
    headers.insert(SEC_WEBSOCKET_ACCEPT, value);
    if let Some(protocol) = protocol {
        let value = HeaderValue::try_from(protocol).map_err(|_| bad("bad subprotocol"))?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    let connection = request.upgrade.take();
    let connection = connection.ok_or_else(|| bad("the connection cannot be upgraded"))?;
    Ok(Accepted {
        headers,
        connection,
    })
}

impl Accepted {
    /// The answer, after which `tunnel` has the connection.
    pub fn answer(headers: HeaderMap, tunnel: Tunnel) -> ApiResponse {
        ApiResponse {
            status: StatusCode::SWITCHING_PROTOCOLS,
            headers,
            body: Body::Switching(tunnel),
        }
    }

    /// Its headers and its connection.
    pub fn into_parts(self) -> (HeaderMap, OnUpgrade) {
        (self.headers, self.connection)
    }
}

/// Sends a stream as messages, one for each item that `split` makes of a chunk, until it or the
/// client ends.
pub fn send_stream(
    request: &mut ApiRequest,
    protocol: Option<&str>,
    stream: ByteStream,
    opcode: Opcode,
    split: fn(Bytes) -> Vec<Bytes>,
) -> Result<ApiResponse, Status> {
    let (headers, connection) = accept(request, protocol)?.into_parts();
    let tunnel: Tunnel = Box::pin(async move {
        match connection.await {
            Ok(upgraded) => pump(upgraded, stream, opcode, split).await,
            Err(error) => tracing::debug!(%error, "a WebSocket came to nothing"),
        }
    });
    Ok(Accepted::answer(headers, tunnel))
}

async fn pump(
    connection: Upgraded,
    mut stream: ByteStream,
    opcode: Opcode,
    split: fn(Bytes) -> Vec<Bytes>,
) {
    let (read, write) = tokio::io::split(TokioIo::new(connection));
    let write = Mutex::new(write);
    // Whatever the client sends means nothing but that it is there, or goes.
    let client_gone = async {
        let mut reader = Reader::new(read);
        while let Ok(Some(message)) = reader.next().await {
            match message.opcode {
                Opcode::Close => break,
                Opcode::Ping => {
                    let pong = frame(Opcode::Pong, &message.payload);
                    write.lock().await.write_all(&pong).await.ok();
                }
                _ => {}
            }
        }
    };
    tokio::select! {
        () = client_gone => {}
        () = send_all(&write, &mut stream, opcode, split) => {}
    }
    let close = frame(Opcode::Close, &NORMAL_CLOSE);
    let mut write = write.into_inner();
    write.write_all(&close).await.ok();
    write.shutdown().await.ok();
}

async fn send_all(
    write: &Mutex<WriteHalf<TokioIo<Upgraded>>>,
    stream: &mut ByteStream,
    opcode: Opcode,
    split: fn(Bytes) -> Vec<Bytes>,
) {
    while let Some(Ok(chunk)) = stream.next().await {
        let mut write = write.lock().await;
        for message in split(chunk.into_bytes()) {
            if write.write_all(&frame(opcode, &message)).await.is_err() {
                return;
            }
        }
        if write.flush().await.is_err() {
            return;
        }
    }
}
