//! Client certificates: verified against a CA bundle, named by their subject.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authentication::service_account::CREDENTIAL_ID;
use crate::authentication::{Authenticated, Authenticator, Refusal, Refused};
use crate::request::{RequestContext, UserInfo};
use crate::telemetry::Metrics;

/// Object identifier of the relative name that carries a user's UID.
const UID_OID: &str = "1.3.6.1.4.1.57683.2";
/// How long a verified certificate is believed without verifying again.
const VERIFIED_TTL: Duration = Duration::from_secs(60);
/// Verified certificates remembered.
const VERIFIED_MAX: usize = 8192;

/// A CA bundle that certificates are verified against. Can be replaced while serving.
pub struct ClientCa {
    verifier: ArcSwap<Option<Arc<dyn ClientCertVerifier>>>,
}

/// A bundle that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Not PEM.
    #[error("reading the CA bundle")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// A certificate in it is not one.
    #[error("adding a certificate to the CA bundle")]
    Certificate(#[source] rustls::Error),
    /// No certificate in it.
    #[error("the CA bundle holds no certificate")]
    Empty,
    /// rustls refuses the bundle.
    #[error("building the verifier")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

impl ClientCa {
    /// From a PEM bundle.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CaError> {
        let verifier = build(pem)?;
        Ok(ClientCa {
            verifier: ArcSwap::from_pointee(Some(verifier)),
        })
    }

    /// Replaces the bundle.
    pub fn replace(&self, pem: &[u8]) -> Result<(), CaError> {
        self.verifier.store(Arc::new(Some(build(pem)?)));
        Ok(())
    }

    /// Whether `chain` (leaf first) is a good client certificate now.
    pub fn verify(&self, chain: &[CertificateDer<'static>]) -> Result<(), Refused> {
        let invalid = |reason: &str| Refused::of(Refusal::CertificateInvalid, reason);
        let (leaf, intermediates) = chain.split_first().ok_or(invalid("no certificate"))?;
        let verifier = self.verifier.load();
        let verifier = Option::as_ref(&verifier).ok_or(invalid("no CA bundle"))?;
        verifier
            .verify_client_cert(leaf, intermediates, UnixTime::now())
            .map(|_| ())
            .map_err(|error| Refused::of(class_of(&error), error.to_string()))
    }
}

fn class_of(error: &rustls::Error) -> Refusal {
    use rustls::CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        return Refusal::CertificateInvalid;
    };
    match bad {
        Bad::Expired | Bad::ExpiredContext { .. } => Refusal::CertificateExpired,
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => Refusal::CertificateNotYetValid,
        Bad::UnknownIssuer | Bad::BadSignature => Refusal::CertificateUnknownAuthority,
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => Refusal::CertificateWrongPurpose,
        Bad::Revoked => Refusal::CertificateRevoked,
        _ => Refusal::CertificateInvalid,
    }
}

fn build(pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, CaError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(CaError::Pem)?;
        roots.add(certificate).map_err(CaError::Certificate)?;
    }
    if roots.is_empty() {
        return Err(CaError::Empty);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(CaError::Verifier)
}

/// Authenticates by client certificate.
pub struct ClientCertificates {
    ca: Arc<ClientCa>,
    metrics: Option<Arc<Metrics>>,
    verified: DashMap<[u8; 32], (Instant, Arc<Authenticated>), RandomState>,
}

impl ClientCertificates {
    /// Verifies against `ca`.
    pub fn new(ca: Arc<ClientCa>, metrics: Option<Arc<Metrics>>) -> Self {
        ClientCertificates {
            ca,
            metrics,
            verified: DashMap::default(),
        }
    }
}

#[async_trait]
impl Authenticator for ClientCertificates {
    fn at_once(&self, ctx: &RequestContext) -> Option<Arc<Authenticated>> {
        let entry = self.verified.get(&ctx.certificate_digest?)?;
        let (until, found) = entry.value();
        (*until > Instant::now()).then(|| found.clone())
    }

    async fn authenticate(
        &self,
        ctx: &mut RequestContext,
    ) -> Result<Option<Authenticated>, Refused> {
        let Some(leaf) = ctx.client_certificates.first() else {
            return Ok(None);
        };
        let digest = ctx.certificate_digest.unwrap_or_else(|| digest(leaf));
        let now = Instant::now();
        if let Some(entry) = self.verified.get(&digest)
            && entry.value().0 > now
        {
            return Ok(Some((*entry.value().1).clone()));
        }
        self.ca.verify(&ctx.client_certificates).map_err(|error| {
            Refused::of(
                error.class,
                format!("verifying the client certificate failed: {}", error.reason),
            )
        })?;
        let (user, seconds_left) = user_of(leaf, &digest)?;
        if let Some(metrics) = &self.metrics {
            let seconds = seconds_left as f64;
            metrics
                .apiserver_client_certificate_expiration_seconds
                .observe(seconds);
        }
        let Some(user) = user else {
            return Ok(None);
        };
        let found = Authenticated::new(user, "x509").in_authenticated_group();
        if self.verified.len() >= VERIFIED_MAX {
            self.verified.clear();
        }
        let ttl = VERIFIED_TTL.min(Duration::from_secs(seconds_left.max(0).unsigned_abs()));
        let entry = (now + ttl, Arc::new(found.clone()));
        self.verified.insert(digest, entry);
        Ok(Some(found))
    }
}

/// The common name of a certificate, for `--requestheader-allowed-names`.
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_string)
}

/// SHA-256 of a certificate.
pub fn digest(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, certificate).as_ref());
    out
}

/// The user that a certificate names (`None` without a common name) and the seconds it is good for.
fn user_of(
    certificate: &CertificateDer<'_>,
    digest: &[u8; 32],
) -> Result<(Option<UserInfo>, i64), Refused> {
    let invalid = |reason: &str| Refused::of(Refusal::CertificateInvalid, reason);
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| invalid("the client certificate cannot be parsed"))?;
    let left = parsed.validity().not_after.timestamp() - chrono::Utc::now().timestamp();
    let subject = parsed.subject();
    let name = subject
        .iter_common_name()
        .next()
        .and_then(|n| n.as_str().ok());
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok((None, left));
    };
    let uids: Vec<&str> = subject
        .iter_attributes()
        .filter(|a| a.attr_type().to_id_string() == UID_OID)
        .filter_map(|a| a.as_str().ok())
        .collect();
    let uid = match uids.as_slice() {
        [] => "",
        [one] if !one.is_empty() => one,
        [_] => return Err(invalid("the client certificate's UID is empty")),
        _ => {
            return Err(invalid("the client certificate holds more than one UID"));
        }
    };
    let mut user = UserInfo {
        username: name.to_string(),
        uid: uid.to_string(),
        groups: subject
            .iter_organization()
            .filter_map(|o| o.as_str().ok().map(str::to_string))
            .collect(),
        ..UserInfo::default()
    };
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    user.extra
        .insert(CREDENTIAL_ID.into(), vec![format!("X509SHA256={hex}")]);
    Ok((Some(user), left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method, Uri};
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };

    fn ca(name: &str) -> (Issuer<'static, KeyPair>, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("a certificate");
        (Issuer::new(params, key), certificate.pem())
    }

    fn client(
        issuer: &Issuer<'static, KeyPair>,
        usage: ExtendedKeyUsagePurpose,
    ) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.extended_key_usages = vec![usage];
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "jane");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "dev");
        let certificate = params.signed_by(&key, issuer).expect("a certificate");
        certificate.der().clone()
    }

    #[tokio::test]
    async fn certificates() {
        let (issuer, pem) = ca("one");
        let (other, _) = ca("two");
        let ca = Arc::new(ClientCa::from_pem(pem.as_bytes()).expect("a bundle"));
        let authenticator = ClientCertificates::new(ca, None);
        let cases = [
            (client(&issuer, ExtendedKeyUsagePurpose::ClientAuth), true),
            (client(&issuer, ExtendedKeyUsagePurpose::ServerAuth), false),
            (client(&other, ExtendedKeyUsagePurpose::ClientAuth), false),
        ];
        for (certificate, good) in cases {
            let uri = Uri::from_static("/");
            let mut ctx = RequestContext::new(Method::GET, uri, HeaderMap::new(), None);
            ctx.client_certificates = Arc::from([certificate]);
            for _ in 0..2 {
                let found = authenticator.authenticate(&mut ctx).await;
                assert_eq!(found.is_ok(), good);
                if let Ok(Some(found)) = found {
                    assert_eq!(found.user.username, "jane");
                    assert_eq!(found.user.groups, ["dev", "system:authenticated"]);
                    assert!(found.user.extra[CREDENTIAL_ID][0].starts_with("X509SHA256="));
                }
            }
        }
    }
}
