//! A small HTTP client that costs little: the load generator shares the machine with the server.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Where and as whom to connect.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) port: u16,
    pub(crate) certificate: Arc<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
}

/// One answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// One HTTP/1.1 connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    head: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(peer: &Peer) -> Result<Self> {
        Ok(Connection {
            stream: connect(peer, b"http/1.1", Certificate::Shown).await?,
            buffer: vec![0; READ_BYTES],
            head: Vec::new(),
        })
    }

    /// Connects without the user's certificate, for requests that carry a token.
    pub(crate) async fn open_without_certificate(peer: &Peer) -> Result<Self> {
        Ok(Connection {
            stream: connect(peer, b"http/1.1", Certificate::Kept).await?,
            buffer: vec![0; READ_BYTES],
            head: Vec::new(),
        })
    }

    /// Sends a request and reads the answer. The body is kept only if it is wanted or the answer is
    /// an error.
    pub(crate) async fn call(&mut self, request: &[u8], keep_body: KeepBody) -> Result<Answer> {
        self.stream.write_all(request).await?;
        // A TLS stream may keep what the socket did not take.
        self.stream.flush().await?;
        let (status, length, mut body) = self.read_head().await?;
        let length = length.context("an answer without Content-Length")?;
        let mut have = body.len();
        let keep = keep_body == KeepBody::Yes || status >= 300;
        while have < length {
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                bail!("the connection ended within a body");
            }
            have += read;
            if keep {
                body.extend_from_slice(&self.buffer[..read]);
            }
        }
        Ok(Answer { status, body })
    }

    /// Sends a request whose answer is a stream; answers once its head is there.
    pub(crate) async fn open_stream(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        // A TLS stream may keep what the socket did not take.
        self.stream.flush().await?;
        let (status, ..) = self.read_head().await?;
        if status != 200 {
            bail!("a stream was answered with {status}");
        }
        Ok(())
    }

    /// More of a stream, framing included.
    pub(crate) async fn read_stream(&mut self) -> io::Result<&[u8]> {
        let read = self.stream.read(&mut self.buffer).await?;
        Ok(&self.buffer[..read])
    }

    /// A smaller buffer, for connections that are many.
    pub(crate) fn shrink(&mut self) {
        self.buffer = vec![0; READ_BYTES / 16];
    }

    /// Status, length of the body, and what of the body came along.
    async fn read_head(&mut self) -> Result<(u16, Option<usize>, Vec<u8>)> {
        self.head.clear();
        loop {
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                bail!("the connection ended within a head");
            }
            self.head.extend_from_slice(&self.buffer[..read]);
            let Some(end) = memchr::memmem::find(&self.head, b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.head[..end])?;
            let status = head.get(9..12).unwrap_or_default().parse()?;
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_it = name.eq_ignore_ascii_case("content-length");
                is_it.then(|| value.trim().parse().ok())?
            });
            return Ok((status, length, self.head.split_off(end + 4)));
        }
    }
}

/// Whether the body of a good answer is of interest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepBody {
    Yes,
    No,
}

/// An HTTP/1.1 request.
pub(crate) fn request(method: &str, path: &str, content_type: &str, body: &str) -> Vec<u8> {
    let mut out = format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench/1\r\nAccept: application/json\r\n"
    );
    if !body.is_empty() {
        out.push_str(&format!(
            "Content-Type: {content_type}\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    out.push_str("\r\n");
    out.push_str(body);
    out.into_bytes()
}

/// An HTTP/2 connection.
pub(crate) async fn open_http2(peer: &Peer) -> Result<SendRequest<Empty<Bytes>>> {
    let stream = connect(peer, b"h2", Certificate::Shown).await?;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Ends with the sender.
        connection.await.ok();
    });
    Ok(sender)
}

/// GET over HTTP/2.
pub(crate) async fn get_http2(sender: &mut SendRequest<Empty<Bytes>>, path: &str) -> Result<u16> {
    let request = http::Request::get(format!("https://bench{path}"))
        .header("user-agent", "bench/1")
        .header("accept", "application/json")
        .body(Empty::new())?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(status)
}

/// Whether the user's certificate is shown to the server.
#[derive(PartialEq, Eq)]
enum Certificate {
    Shown,
    Kept,
}

async fn connect(
    peer: &Peer,
    protocol: &[u8],
    certificate: Certificate,
) -> Result<TlsStream<TcpStream>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let mut config = match certificate {
        Certificate::Kept => builder.with_no_client_auth(),
        Certificate::Shown => builder.with_client_auth_cert(
            vec![peer.certificate.0.clone()],
            peer.certificate.1.clone_key(),
        )?,
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", peer.port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    Ok(TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?)
}

/// Takes any server certificate: the servers are our own children.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What a load came to.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) answered: u64,
    pub(crate) took: Duration,
    pub(crate) latencies_us: Vec<u32>,
}

impl Load {
    /// Adds one worker's part.
    pub(crate) fn join(&mut self, other: Load) {
        self.answered += other.answered;
        self.took = self.took.max(other.took);
        self.latencies_us.extend(other.latencies_us);
    }

    /// Notes one answer.
    pub(crate) fn note(&mut self, began: Instant) {
        self.answered += 1;
        let us = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.latencies_us.push(us);
    }
}
