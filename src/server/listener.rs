//! The listener: accepts connections, speaks TLS and HTTP/1.1 or HTTP/2 on them, closes them
//! gracefully (limits: contract/handler_chain.md §2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::http::{App, ConnectionInfo, OutBody};
use super::idle::InUse;
use super::options::ListenOptions;
use crate::authentication::x509;
use crate::base::{Backoff, Tasks};
use crate::telemetry::Metrics;

/// A client that has not finished its TLS handshake by then is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(32);
/// A kept connection without a request for that long is closed, also one that is sending a head.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How long such an HTTP/1.1 connection has for ending as it should: TLS says that it ends.
const GOODBYE: Duration = Duration::from_secs(1);
/// Streams of one HTTP/2 connection, unless the flag says otherwise.
const STREAMS_MAX: u32 = 100;
/// Bytes of request headers.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// HTTP/2 clients are asked whether they live.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Everything a connection needs.
pub(super) struct Listener {
    pub(super) tcp: TcpListener,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) app: Arc<App>,
    pub(super) metrics: Arc<Metrics>,
    /// Stops accepting.
    pub(super) stop_accepting: CancellationToken,
    /// Asks open connections to close once idle.
    pub(super) close_connections: CancellationToken,
    pub(super) connections: Tasks,
}

impl Listener {
    /// Accepts until told to stop.
    pub(super) async fn run(self, options: ListenOptions) {
        let http1 = builder(options.http2_max_streams).http1_only();
        let http2 = builder(options.http2_max_streams).http2_only();
        let shared = Arc::new(Shared {
            acceptor: TlsAcceptor::from(self.tls),
            http1,
            http2,
            app: self.app,
            metrics: self.metrics,
            close: self.close_connections,
            tunnels: self.connections.clone(),
        });
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
        loop {
            let accepted = tokio::select! {
                () = self.stop_accepting.cancelled() => return,
                accepted = self.tcp.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    backoff.reset();
                    let shared = shared.clone();
                    self.connections.spawn_until_stopped(async move {
                        shared.metrics.verbatim_connections_current.inc();
                        shared.serve(stream, peer).await;
                        shared.metrics.verbatim_connections_current.dec();
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some to be freed.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }
}

fn builder(streams_max: u32) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(HEADER_BYTES_MAX);
    let streams = match streams_max {
        0 => STREAMS_MAX,
        n => n,
    };
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

struct Shared {
    acceptor: TlsAcceptor,
    http1: Builder<TokioExecutor>,
    http2: Builder<TokioExecutor>,
    app: Arc<App>,
    metrics: Arc<Metrics>,
    close: CancellationToken,
    tunnels: Tasks,
}

impl Shared {
    async fn serve(&self, stream: TcpStream, peer: std::net::SocketAddr) {
        // Answers are small; waiting to fill packets costs more than it saves.
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.metrics.apiserver_tls_handshake_errors_total.inc();
                tracing::debug!(%peer, %error, "TLS handshake error");
                return;
            }
            Err(_) => {
                self.metrics.apiserver_tls_handshake_errors_total.inc();
                tracing::debug!(%peer, "TLS handshake timed out");
                return;
            }
        };
        self.serve_http(stream, peer).await;
    }

    async fn serve_http(&self, stream: TlsStream<TcpStream>, peer: std::net::SocketAddr) {
        let (_, tls) = stream.get_ref();
        let http2 = tls.alpn_protocol() == Some(b"h2");
        let certificates = tls.peer_certificates().unwrap_or_default();
        let info = Arc::new(ConnectionInfo {
            app: self.app.clone(),
            peer,
            certificates: certificates.iter().cloned().collect(),
            certificate_digest: certificates.first().map(|leaf| x509::digest(leaf)),
            close: Notify::new(),
            tunnels: self.tunnels.clone(),
        });
        let shared_info = info.clone();
        let handle = move |request: Request<Incoming>| App::handle(request, shared_info.clone());
        let builder = if http2 { &self.http2 } else { &self.http1 };
        // A token of its own: it is asked whenever the connection is polled, and asking takes its lock.
        let stopping = self.close.child_token();
        let close = async {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = info.close.notified() => {}
            }
        };
        if let Err(error) = drive(builder, stream, handle, close, IDLE_TIMEOUT).await {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}

/// Serves one connection until it ends. Closes it gracefully when `close` ends, and when nobody used it
/// for so long as `idle` says; HTTP/1.1 has only a moment for that, because the half of a head may have
/// come. hyper has a timer for that, which costs a part of every request; this is one per connection.
async fn drive<I, F, R>(
    builder: &Builder<TokioExecutor>,
    stream: I,
    handle: F,
    close: impl Future<Output = ()>,
    idle: Duration,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Result<Response<OutBody>, Infallible>> + Send + 'static,
{
    let in_use = InUse::new();
    let counter = in_use.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let open = counter.open();
        let answer = handle(request);
        async move { Ok::<_, Infallible>(answer.await?.map(|body| open.with(body))) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let unused = in_use.unused_for(idle);
    tokio::pin!(connection, close, unused);
    let (mut closing, mut left_alone) = (false, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = close.as_mut(), if !closing => {}
            () = unused.as_mut(), if !left_alone => {
                if !builder.is_http2_available() {
                    connection.as_mut().graceful_shutdown();
                    let ended = tokio::time::timeout(GOODBYE, connection.as_mut()).await;
                    return ended.unwrap_or(Ok(()));
                }
                left_alone = true;
            }
        }
        closing = true;
        connection.as_mut().graceful_shutdown();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll};

    use super::*;
    use crate::request::Body;
    use http::StatusCode;
    use tokio::time::Instant;

    const IDLE: Duration = Duration::from_millis(200);

    async fn serve(builder: Builder<TokioExecutor>, stream: tokio::io::DuplexStream) {
        let handle = |_| async { Ok(Response::new(OutBody::new(Body::Empty))) };
        let close = std::future::pending();
        drive(&builder, stream, handle, close, IDLE).await.ok();
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_not_kept() {
        for builder in [builder(0).http1_only(), builder(0).http2_only()] {
            let (_client, server) = tokio::io::duplex(1 << 10);
            serve(builder, server).await;
        }
    }

    #[tokio::test]
    async fn half_a_head_is_not_waited_for() {
        use tokio::io::AsyncWriteExt as _;
        let (mut client, server) = tokio::io::duplex(1 << 10);
        client.write_all(b"GET / HT").await.expect("taken");
        serve(builder(0).http1_only(), server).await;
    }

    #[tokio::test]
    async fn an_http1_client_that_asks_no_more_is_told() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        /// Notes whether its end was announced, as TLS must.
        struct Told(tokio::io::DuplexStream, Arc<AtomicBool>);
        impl AsyncRead for Told {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<std::io::Result<()>> {
                Pin::new(&mut self.0).poll_read(cx, buffer)
            }
        }
        impl AsyncWrite for Told {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<std::io::Result<usize>> {
                Pin::new(&mut self.0).poll_write(cx, bytes)
            }

            fn poll_flush(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<std::io::Result<()>> {
                Pin::new(&mut self.0).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<std::io::Result<()>> {
                self.1.store(true, Ordering::Relaxed);
                Pin::new(&mut self.0).poll_shutdown(cx)
            }
        }
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let told = Arc::new(AtomicBool::new(false));
        let handle = |_| async { Ok(Response::new(OutBody::new(Body::Empty))) };
        let builder = builder(0).http1_only();
        let stream = Told(server, told.clone());
        let served = drive(&builder, stream, handle, std::future::pending(), IDLE);
        let asked = async {
            let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
            client.write_all(request).await.expect("taken");
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("an end");
            answer
        };
        let (served, answer) = tokio::join!(served, asked);
        assert!(served.is_ok() && answer.starts_with(b"HTTP/1.1 200"));
        assert!(told.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn an_http2_client_that_asks_no_more_is_not_kept() {
        let (client, server) = tokio::io::duplex(1 << 16);
        let served = tokio::spawn(serve(builder(0).http2_only(), server));
        let http2 = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let handshake =
            http2.handshake::<_, http_body_util::Empty<bytes::Bytes>>(TokioIo::new(client));
        let (mut sender, connection) = handshake.await.expect("a connection");
        let connection = tokio::spawn(connection);
        let began = Instant::now();
        let request = Request::get("https://x/").body(Default::default());
        let answer = sender.send_request(request.expect("a request")).await;
        assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
        connection.await.expect("ends").ok();
        assert!(began.elapsed() >= IDLE);
        served.await.expect("ends");
    }
}
