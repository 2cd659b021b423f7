//! TLS: the rustls configuration, certificates by server name, and reload of changed files.
//!
//! Client certificates are requested, never required, and taken from any CA: whether one is good is
//! for authentication to say, so that a refusal is a recorded 401 and no bare TLS alert.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::options::{CertificateFiles, TlsOptions};
use crate::base::Tasks;
use crate::telemetry::Metrics;

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key file cannot be used.
    #[error("cannot use {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The settings contradict each other.
    #[error("cannot configure TLS")]
    Config(#[from] rustls::Error),
}

/// Makes the configuration and keeps its certificates fresh as long as `tasks` run.
pub(super) fn server_config(
    options: &TlsOptions,
    ask_for_client_certificates: bool,
    metrics: &Arc<Metrics>,
    tasks: &Tasks,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let certificates = Arc::new(Certificates {
        current: ArcSwap::from_pointee(load(options)?),
    });
    watch_files(options.clone(), certificates.clone(), metrics, tasks);
    let versions: &[&rustls::SupportedProtocolVersion] = match options.tls13_only {
        true => &[&rustls::version::TLS13],
        false => rustls::ALL_VERSIONS,
    };
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let builder = match ask_for_client_certificates {
        true => builder.with_client_cert_verifier(Arc::new(AnyClientCertificate { provider })),
        false => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = match options.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

/// The certificates in use: one default and more by server name.
#[derive(Debug)]
struct Certificates {
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    default: Arc<CertifiedKey>,
    named: Vec<(String, Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.current.load();
        let asked = hello.server_name().unwrap_or("");
        let named = loaded.named.iter().find(|(name, _)| matches(name, asked));
        Some(named.map_or(&loaded.default, |(_, key)| key).clone())
    }
}

/// Whether the server name `asked` is `pattern` or falls under its `*.`.
fn matches(pattern: &str, asked: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => asked
            .split_once('.')
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
        None => pattern.eq_ignore_ascii_case(asked),
    }
}

fn load(options: &TlsOptions) -> Result<Loaded, TlsError> {
    let mut named = Vec::new();
    for files in &options.sni {
        let (key, names) = load_pair(files)?;
        let names = match files.names.is_empty() {
            true => names,
            false => files.names.clone(),
        };
        named.extend(names.into_iter().map(|name| (name, key.clone())));
    }
    // Exact names go before wildcards.
    named.sort_by_key(|(name, _)| name.starts_with("*."));
    Ok(Loaded {
        default: load_pair(&options.certificate)?.0,
        named,
    })
}

/// The certificate with its key, and the names in it.
fn load_pair(files: &CertificateFiles) -> Result<(Arc<CertifiedKey>, Vec<String>), TlsError> {
    let bad = |path: &Path, reason: String| TlsError::File {
        path: path.display().to_string(),
        reason,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|e| bad(&files.certificate, e.to_string()))?;
    let Some(leaf) = chain.first() else {
        return Err(bad(&files.certificate, "no certificate in it".into()));
    };
    let names = names_of(leaf);
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|e| bad(&files.key, e.to_string()))
        .and_then(|key| {
            ring::sign::any_supported_type(&key).map_err(|e| bad(&files.key, e.to_string()))
        })?;
    let certified = CertifiedKey::new(chain, key);
    certified
        .keys_match()
        .map_err(|e| bad(&files.key, format!("does not match the certificate: {e}")))?;
    Ok((Arc::new(certified), names))
}

fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let dns = names.value.general_names.iter().filter_map(|n| match n {
        GeneralName::DNSName(name) => Some(name.to_string()),
        _ => None,
    });
    dns.collect()
}

fn watch_files(
    options: TlsOptions,
    certificates: Arc<Certificates>,
    metrics: &Arc<Metrics>,
    tasks: &Tasks,
) {
    let metrics = metrics.clone();
    let mut files = vec![options.certificate.certificate.clone()];
    files.push(options.certificate.key.clone());
    for pair in &options.sni {
        files.extend([pair.certificate.clone(), pair.key.clone()]);
    }
    tasks.spawn_until_stopped(async move {
        let mut seen = fingerprint(&files);
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            let now = fingerprint(&files);
            if now == seen {
                continue;
            }
            seen = now;
            let result = match load(&options) {
                Ok(loaded) => {
                    certificates.current.store(Arc::new(loaded));
                    tracing::info!("reloaded the serving certificate");
                    "ok"
                }
                Err(error) => {
                    tracing::error!(%error, "keeping the old serving certificate");
                    "error"
                }
            };
            metrics
                .verbatim_tls_reloads_total
                .with_label_values(&[result])
                .inc();
        }
    });
}

/// Modification times and sizes; enough to see a change.
fn fingerprint(files: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    files
        .iter()
        .map(|file| {
            let meta = std::fs::metadata(file).ok()?;
            Some((meta.modified().ok()?, meta.len()))
        })
        .collect()
}

/// Takes any client certificate whose key the client proves to hold.
#[derive(Debug)]
struct AnyClientCertificate {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names() {
        assert!(matches("api.example.test", "API.example.test"));
        assert!(matches("*.example.test", "api.example.test"));
        assert!(!matches("*.example.test", "example.test"));
        assert!(!matches("*.example.test", "a.b.example.test"));
    }
}
