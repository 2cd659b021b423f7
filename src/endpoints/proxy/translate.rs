//! exec and attach over WebSocket (`v5.channel.k8s.io`) for kubelets that speak only SPDY: every
//! channel of the WebSocket is a stream of the SPDY connection (contract/verbs.md §13a).

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::dial::Transports;
use super::location::Location;
use super::{append_forwarded_for, spdy, upgrade};
use crate::api::status::Status;
use crate::base::tree::json;
use crate::base::websocket::{Opcode, Reader, frame};
use crate::endpoints::websocket::{Accepted, accept, is_websocket, protocols};
use crate::request::{ApiRequest, ApiResponse, RequestContext, Tunnel};

/// The subprotocol that can close single streams.
const PROTOCOL: &str = "v5.channel.k8s.io";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Followed by the number of the channel that the client closes.
const CLOSE: u8 = 255;

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; a terminal has none of its own.
    pub stderr: bool,
    /// A terminal, whose size may change.
    pub tty: bool,
}

impl Streams {
    /// Channels and the kubelet's stream types, in the order of opening.
    fn channels(self) -> impl Iterator<Item = (u8, &'static str)> {
        [
            (ERROR, "error", true),
            (STDIN, "stdin", self.stdin),
            (STDOUT, "stdout", self.stdout),
            (STDERR, "stderr", self.stderr && !self.tty),
            (RESIZE, "resize", self.tty),
        ]
        .into_iter()
        .filter_map(|(channel, kind, wanted)| wanted.then_some((channel, kind)))
    }
}

/// Whether the request asks for this protocol.
pub(super) fn is_translatable(ctx: &RequestContext) -> bool {
    is_websocket(ctx) && protocols(ctx).any(|p| p == PROTOCOL)
}

/// Opens the SPDY connection, then accepts the WebSocket.
pub(super) async fn translate(
    transports: &Transports,
    request: &mut ApiRequest,
    location: &Location,
    streams: Streams,
) -> Result<ApiResponse, Status> {
    let headers = spdy_headers(&request.ctx);
    // The kubelet knows upgrades to SPDY as a POST.
    let method = std::mem::replace(&mut request.ctx.method, Method::POST);
    let answer = upgrade::ask(transports, request, location, headers).await;
    request.ctx.method = method;
    let mut answer = answer?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return upgrade::not_upgraded(answer);
    }
    let backend = hyper::upgrade::on(&mut answer);
    let (headers, client) = accept(request, Some(PROTOCOL))?.into_parts();
    let tunnel: Tunnel = Box::pin(async move {
        match tokio::try_join!(client, backend) {
            Ok((client, backend)) => {
                pump(TokioIo::new(client), TokioIo::new(backend), streams).await;
            }
            Err(error) => tracing::debug!(%error, "an upgrade came to nothing"),
        }
    });
    Ok(Accepted::answer(headers, tunnel))
}

fn spdy_headers(ctx: &RequestContext) -> HeaderMap {
    let mut headers = HeaderMap::new();
    append_forwarded_for(&mut headers, ctx);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    let version = HeaderValue::from_static("v4.channel.k8s.io");
    headers.insert("x-stream-protocol-version", version);
    headers
}

/// Which stream is which channel.
struct Opened(Vec<(u8, u32)>);

impl Opened {
    fn stream(&self, channel: u8) -> Option<u32> {
        let found = self.0.iter().find(|(c, _)| *c == channel);
        found.map(|(_, stream)| *stream)
    }

    fn channel(&self, stream: u32) -> Option<u8> {
        let found = self.0.iter().find(|(_, s)| *s == stream);
        found.map(|(channel, _)| *channel)
    }
}

async fn pump<C, B>(client: C, backend: B, streams: Streams)
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (client_in, client_out) = tokio::io::split(client);
    let (mut backend_in, backend_out) = tokio::io::split(backend);
    let (client_out, backend_out) = (Mutex::new(client_out), Mutex::new(backend_out));

    let mut encoder = spdy::Encoder::default();
    let mut opened = Opened(Vec::new());
    for (channel, kind) in streams.channels() {
        let (stream, bytes) = encoder.open(&[("streamtype", kind)]);
        opened.0.push((channel, stream));
        if send(&backend_out, &bytes).await.is_err() {
            return;
        }
    }
    // An empty message tells the client that it is connected.
    let lowest = if streams.stdout { STDOUT } else { ERROR };
    if send(&client_out, &message(lowest, b"")).await.is_err() {
        return;
    }
    tokio::select! {
        _ = upstream(Reader::new(client_in), &opened, &backend_out, &client_out) => {}
        ended = downstream(&mut backend_in, &opened, &client_out, &backend_out) => {
            let status = ended.unwrap_or_else(|error| lost(&error));
            send(&client_out, &message(ERROR, &status)).await.ok();
        }
    }
    let close = 1000u16.to_be_bytes();
    send(&client_out, &frame(Opcode::Close, &close)).await.ok();
    client_out.into_inner().shutdown().await.ok();
    backend_out.into_inner().shutdown().await.ok();
}

/// From the client's messages to streams, until the client is done.
async fn upstream<R, W, V>(
    mut reader: Reader<R>,
    opened: &Opened,
    backend: &Mutex<W>,
    client: &Mutex<V>,
) -> std::io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    V: AsyncWrite + Unpin,
{
    while let Some(message) = reader.next().await? {
        match message.opcode {
            Opcode::Close => return Ok(()),
            Opcode::Ping => send(client, &frame(Opcode::Pong, &message.payload)).await?,
            Opcode::Binary | Opcode::Text => {
                let Some((channel, payload)) = message.payload.split_first() else {
                    continue;
                };
                let (channel, is_last) = match (*channel, payload.first()) {
                    (CLOSE, Some(closed)) => (*closed, true),
                    (channel, _) => (channel, false),
                };
                let payload = if is_last { &[][..] } else { payload };
                let takes = matches!(channel, STDIN | RESIZE);
                let nothing = payload.is_empty() && !is_last;
                if let Some(stream) = opened.stream(channel).filter(|_| takes && !nothing) {
                    send(backend, &spdy::data(stream, payload, is_last)).await?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// From streams to messages for the client; answers the final status when all output is through.
async fn downstream<R, W, V>(
    backend: &mut R,
    opened: &Opened,
    client: &Mutex<V>,
    backend_out: &Mutex<W>,
) -> std::io::Result<Bytes>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    V: AsyncWrite + Unpin,
{
    let mut status = BytesMut::new();
    let mut open: Vec<u8> = [STDOUT, STDERR, ERROR]
        .into_iter()
        .filter(|channel| opened.stream(*channel).is_some())
        .collect();
    while !open.is_empty() {
        let Some(next) = spdy::read(backend).await? else {
            break;
        };
        let (stream, payload, is_last) = match next {
            spdy::Frame::Data {
                stream,
                payload,
                is_last,
            } => (stream, payload, is_last),
            spdy::Frame::Reset { stream } => (stream, Bytes::new(), true),
            spdy::Frame::Ping(pong) => {
                send(backend_out, &pong).await?;
                continue;
            }
            spdy::Frame::Other => continue,
        };
        let Some(channel) = opened.channel(stream) else {
            continue;
        };
        match channel {
            ERROR => status.extend_from_slice(&payload),
            STDOUT | STDERR if !payload.is_empty() => {
                send(client, &message(channel, &payload)).await?;
            }
            _ => {}
        }
        if is_last {
            open.retain(|c| *c != channel);
        }
    }
    if status.is_empty() {
        return Ok(success());
    }
    Ok(status.freeze())
}

fn success() -> Bytes {
    Bytes::from(json!({"metadata": {}, "status": "Success"}).to_string())
}

/// The status of a connection that broke.
fn lost(error: &std::io::Error) -> Bytes {
    let mut status =
        Status::internal(&format!("error reading from the kubelet: {error}")).to_json();
    if let Some(members) = status.as_object_mut() {
        members.remove("kind");
        members.remove("apiVersion");
    }
    Bytes::from(status.to_string())
}

/// A message on a channel.
fn message(channel: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(payload);
    frame(Opcode::Binary, &bytes)
}

async fn send<W: AsyncWrite + Unpin>(to: &Mutex<W>, bytes: &[u8]) -> std::io::Result<()> {
    let mut to = to.lock().await;
    to.write_all(bytes).await?;
    to.flush().await
}
