//! Tokens and certificates as a server would issue them, and some that it would not.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, date_time_ymd,
};
use serde_json::{Value, json};
use verbatim::authentication::jwt;
use verbatim::authentication::keys::SigningKey;

use super::lab::write;

/// Issuer of the lab's tokens.
pub(super) const ISSUER: &str = "https://issuer.test";

/// Keys for service account tokens: those of the server and those of another.
pub(super) struct Keys {
    own: SigningKey,
    other: SigningKey,
}

impl Keys {
    /// Makes both; the server's is written as `sa.key`.
    pub(super) fn make(dir: &Path) -> Self {
        let pem = SigningKey::generate_pem().expect("a random key");
        write(dir, "sa.key", &pem);
        let other = SigningKey::generate_pem().expect("a random key");
        let read = |pem: &str| SigningKey::from_pem(pem).expect("a key");
        Keys {
            own: read(&pem),
            other: read(&other),
        }
    }

    /// A good token for a service account, but for what `change` does to its claims.
    pub(super) fn token(&self, uid: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims(uid);
        change(&mut claims);
        jwt::sign(&self.own, &claims.into()).expect("a token")
    }

    /// A token that another server signed.
    pub(super) fn foreign(&self, uid: &str) -> String {
        jwt::sign(&self.other, &claims(uid).into()).expect("a token")
    }
}

fn claims(uid: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": [ISSUER], "sub": "system:serviceaccount:default:robot",
        "iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": 4_000_000_000_u64,
        "kubernetes.io": {
            "namespace": "default",
            "serviceaccount": {"name": "robot", "uid": uid},
        },
    })
}

/// An authority for client certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Its certificate.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes certificate and key of a client into one file; answers curl's argument.
    pub(super) fn client(
        &self,
        dir: &Path,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
        last_year: i32,
    ) -> String {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        params.extended_key_usages = vec![usage];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "jane");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let both = format!("{}{}", certificate.pem(), key.serialize_pem());
        write(dir, name, &both).display().to_string()
    }
}

/// A certificate for 127.0.0.1 with its key, and the authority that signed it.
pub(super) fn serving_certificate() -> (String, String) {
    let authority = Authority::new("webhooks");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_string()]).expect("parameters");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params
        .signed_by(&key, &authority.issuer)
        .expect("a certificate");
    let both = format!("{}{}", certificate.pem(), key.serialize_pem());
    (both, authority.pem)
}
