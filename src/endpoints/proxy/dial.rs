//! Dialing: TCP, TLS with the right credentials, and one HTTP/1.1 exchange on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest wait for a connection to anything but a kubelet.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// What kubelets are shown and must show.
#[derive(Debug, Default)]
pub struct KubeletTls {
    /// `--kubelet-certificate-authority`; without it kubelets' certificates are not verified.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// `--kubelet-client-certificate` and its key.
    pub identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// Which credentials and checks a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A kubelet: our client certificate, its certificate verified.
    Kubelet,
    /// A kubelet whose certificate the client asked not to verify.
    KubeletUnverified,
    /// Pods, services and other ports of nodes: no credentials, nothing verified.
    Anybody,
}

/// The TLS configurations.
pub struct Transports {
    kubelet: Arc<ClientConfig>,
    kubelet_unverified: Arc<ClientConfig>,
    anybody: Arc<ClientConfig>,
    kubelet_timeout: Duration,
}

/// Somewhere to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Speak TLS.
    pub tls: bool,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Credentials and checks.
    pub trust: Trust,
}

/// Why there is no connection or answer. Display is what Go's client says, which clients see.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name means nothing.
    #[error("dial tcp: lookup {host}: no such host")]
    Lookup {
        /// The name.
        host: String,
        /// From the resolver.
        #[source]
        source: io::Error,
    },
    /// The address does not take connections.
    #[error("dial tcp {address}: {}", go_connect_error(source))]
    Connect {
        /// The address.
        address: SocketAddr,
        /// From the system.
        #[source]
        source: io::Error,
    },
    /// The address did not answer in time.
    #[error("dial tcp {host}:{port}: i/o timeout")]
    TimedOut {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// No TLS connection.
    #[error("{}", go_tls_error(source))]
    Tls {
        /// From the handshake.
        #[source]
        source: io::Error,
    },
    /// The connection broke before an answer came.
    #[error("{}", go_http_error(source))]
    Http {
        /// From hyper.
        #[source]
        source: hyper::Error,
    },
}

impl DialError {
    /// Whether the backend's certificate was the reason.
    pub fn is_certificate(&self) -> bool {
        matches!(self, DialError::Tls { source } if certificate_error(source).is_some())
    }
}

/// A connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Transports {
    /// Transports with kubelets' certificates and the longest wait for a kubelet.
    pub fn new(tls: KubeletTls, kubelet_timeout: Duration) -> Result<Self, rustls::Error> {
        let identity = tls.identity.as_ref();
        let unverified = || -> Result<Arc<ClientConfig>, rustls::Error> {
            with_identity(unverified_builder()?, identity)
        };
        let kubelet = match &tls.authorities {
            None => unverified()?,
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in authorities {
                    roots.add(authority.clone())?;
                }
                with_identity(builder()?.with_root_certificates(roots), identity)?
            }
        };
        Ok(Transports {
            kubelet,
            kubelet_unverified: unverified()?,
            anybody: with_identity(unverified_builder()?, None)?,
            kubelet_timeout,
        })
    }

    /// Connects.
    pub async fn dial(&self, to: &Destination) -> Result<Box<dyn Io>, DialError> {
        let limit = match to.trust {
            Trust::Anybody => DIAL_TIMEOUT,
            Trust::Kubelet | Trust::KubeletUnverified => self.kubelet_timeout,
        };
        let connected = tokio::time::timeout(limit, self.connect(to)).await;
        connected.unwrap_or_else(|_| {
            Err(DialError::TimedOut {
                host: to.host.clone(),
                port: to.port,
            })
        })
    }

    async fn connect(&self, to: &Destination) -> Result<Box<dyn Io>, DialError> {
        let stream = connect_tcp(&to.host, to.port).await?;
        // Keystrokes of an interactive shell should not wait for each other.
        stream.set_nodelay(true).ok();
        if !to.tls {
            return Ok(Box::new(stream));
        }
        let config = match to.trust {
            Trust::Kubelet => &self.kubelet,
            Trust::KubeletUnverified => &self.kubelet_unverified,
            Trust::Anybody => &self.anybody,
        };
        let name = ServerName::try_from(to.host.clone()).map_err(|e| DialError::Tls {
            source: io::Error::new(io::ErrorKind::InvalidInput, e),
        })?;
        let connector = TlsConnector::from(config.clone());
        let stream = connector.connect(name, stream).await;
        Ok(Box::new(
            stream.map_err(|source| DialError::Tls { source })?,
        ))
    }

    /// Connects, sends one request, and answers the head of the response. Its body, or what it
    /// becomes by an upgrade, flows as it is read.
    pub async fn send(
        &self,
        to: &Destination,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, SendError> {
        let stream = self.dial(to).await.map_err(SendError::Dial)?;
        let mut client = hyper::client::conn::http1::Builder::new();
        client.preserve_header_case(true);
        let http = |source| SendError::Send(DialError::Http { source });
        let (mut sender, connection) =
            client.handshake(TokioIo::new(stream)).await.map_err(http)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a backend ended");
            }
        });
        sender.send_request(request).await.map_err(http)
    }
}

/// Where an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection.
    #[error("{0}")]
    Dial(#[source] DialError),
    /// No answer.
    #[error("{0}")]
    Send(#[source] DialError),
}

impl SendError {
    /// The error itself.
    pub fn inner(&self) -> &DialError {
        match self {
            SendError::Dial(error) | SendError::Send(error) => error,
        }
    }
}

async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let addresses = tokio::net::lookup_host((host, port)).await;
    let addresses = addresses.map_err(|source| DialError::Lookup {
        host: host.to_string(),
        source,
    })?;
    let mut last = DialError::Lookup {
        host: host.to_string(),
        source: io::Error::from(io::ErrorKind::NotFound),
    };
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(source) => last = DialError::Connect { address, source },
        }
    }
    Err(last)
}

type Builder<S> = rustls::ConfigBuilder<ClientConfig, S>;

fn builder() -> Result<Builder<rustls::WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
}

fn unverified_builder() -> Result<Builder<rustls::client::WantsClientCert>, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    Ok(builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider))))
}

fn with_identity(
    builder: Builder<rustls::client::WantsClientCert>,
    identity: Option<&(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Takes any server certificate.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn go_connect_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        io::ErrorKind::TimedOut => "i/o timeout".into(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".into(),
        _ => format!("connect: {error}").to_lowercase(),
    }
}

fn certificate_error(error: &io::Error) -> Option<&rustls::CertificateError> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(reason) => Some(reason),
        _ => None,
    }
}

fn go_tls_error(error: &io::Error) -> String {
    use rustls::CertificateError as Bad;
    let reason = match certificate_error(error) {
        Some(Bad::UnknownIssuer) => "certificate signed by unknown authority",
        Some(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "certificate has expired or is not yet valid"
        }
        Some(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "certificate is not valid for the name of the host"
        }
        Some(_) => "certificate is not valid",
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof => return "EOF".into(),
            io::ErrorKind::ConnectionReset => return "read: connection reset by peer".into(),
            _ => return format!("tls: {error}"),
        },
    };
    format!("tls: failed to verify certificate: x509: {reason}")
}

fn go_http_error(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "EOF".into();
    }
    if error.is_parse() {
        return "malformed HTTP response".into();
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refusals_read_like_go_s() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let timeout = Duration::from_secs(5);
        let transports = Transports::new(KubeletTls::default(), timeout).expect("transports");
        let to = Destination {
            tls: true,
            host: "127.0.0.1".into(),
            port,
            trust: Trust::Kubelet,
        };
        let error = transports.dial(&to).await.err().expect("nobody listens");
        let expected = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(error.to_string(), expected);
    }
}
