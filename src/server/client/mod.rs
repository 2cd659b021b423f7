//! Outgoing HTTPS: where another server is, who we are there, and a client for both.
//!
//! Used by the audit webhook and by the hand tools. Kubeconfigs are read as client-go reads them;
//! users that log in by a program are not supported.

pub mod https;
pub mod kubeconfig;
mod proxy;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

pub use https::{HttpsClient, connector};
pub use proxy::Connector;

/// Where Debian, Fedora and openSUSE keep the authorities that they trust.
const SYSTEM_BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// Everything that is needed to make a request.
#[derive(Debug, Default)]
pub struct Target {
    /// Base URL without a slash at its end.
    pub server: String,
    /// Authorities that may sign the server's certificate; when empty, those of this system.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Do not check the server's certificate.
    pub insecure: bool,
    /// Name to expect in the certificate instead of the URL's.
    pub tls_server_name: Option<String>,
    /// Client certificate chain and key.
    pub identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// Bearer token.
    pub token: Option<String>,
    /// File that the token is in; read again now and then, since such tokens expire.
    pub token_file: Option<PathBuf>,
    /// User and password.
    pub basic: Option<(String, String)>,
    /// HTTP proxy to go through.
    pub proxy: Option<String>,
    /// Namespace of the context.
    pub namespace: Option<String>,
}

/// Why a target cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An authority or the client certificate.
    #[error("the {what} cannot be used")]
    Tls {
        /// Which part.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// A text that should be a URL or a host name.
    #[error("{0:?} cannot be used as {1}")]
    Name(String, &'static str),
}

/// The TLS side of a target.
pub fn tls_config(target: &Target) -> Result<ClientConfig, ClientError> {
    let failed = |what| move |source| ClientError::Tls { what, source };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(failed("set of TLS versions"))?;
    let builder = if target.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        for authority in &target.authorities {
            roots
                .add(authority.clone())
                .map_err(failed("certificate authority"))?;
        }
        if target.authorities.is_empty() {
            roots.add_parsable_certificates(system_authorities());
        }
        builder.with_root_certificates(roots)
    };
    match &target.identity {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(failed("client certificate")),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The authorities that this system trusts, for a server whose authority is not given.
fn system_authorities() -> Vec<CertificateDer<'static>> {
    let bundles = SYSTEM_BUNDLES.iter();
    let texts = bundles.filter_map(|path| std::fs::read(path).ok());
    texts
        .filter_map(|pem| kubeconfig::certificates(&pem).ok())
        .next()
        .unwrap_or_default()
}

/// Accepts any server certificate, for `insecure-skip-tls-verify`.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
