//! The server's own keys and certificates, for a start without any flag.
//!
//! Everything lives in one folder and is made once; leaf certificates are made anew when they are
//! about to expire or when the server has got other names. Keys are readable by the owner only.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;

/// How long the CA is good.
const CA_DAYS: i64 = 3650;
/// How long other certificates are good.
const LEAF_DAYS: i64 = 730;
/// A leaf with less than this left is made anew.
const RENEW_DAYS: i64 = 90;

/// Why keys or certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file or folder cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate cannot be made, or one on disk cannot be read.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
}

/// The files of the server's own PKI.
#[derive(Clone, Debug)]
pub struct Pki {
    /// CA certificate: signs the serving and the client certificates.
    pub ca_cert: PathBuf,
    /// Serving certificate.
    pub serving_cert: PathBuf,
    /// Serving key.
    pub serving_key: PathBuf,
    /// Key that signs service account tokens.
    pub service_account_key: PathBuf,
    /// Its public half.
    pub service_account_public: PathBuf,
    /// Administrator's client certificate (group system:masters).
    pub admin_cert: PathBuf,
    /// Its key.
    pub admin_key: PathBuf,
    ca_key: PathBuf,
}

impl Pki {
    /// Where the files are below `dir`.
    pub fn at(dir: &Path) -> Self {
        let file = |name: &str| dir.join(name);
        Pki {
            ca_cert: file("ca.crt"),
            ca_key: file("ca.key"),
            serving_cert: file("apiserver.crt"),
            serving_key: file("apiserver.key"),
            service_account_key: file("sa.key"),
            service_account_public: file("sa.pub"),
            admin_cert: file("admin.crt"),
            admin_key: file("admin.key"),
        }
    }

    /// Makes what is missing. `names` are the DNS names and addresses of the serving certificate.
    pub fn ensure(&self, names: &[String]) -> Result<(), PkiError> {
        if let Some(dir) = self.ca_cert.parent() {
            private_dir(dir)?;
        }
        let issuer = self.ensure_ca()?;
        self.ensure_leaf(
            &issuer,
            &Leaf {
                cert: &self.serving_cert,
                key: &self.serving_key,
                common_name: "kube-apiserver",
                organization: None,
                usage: ExtendedKeyUsagePurpose::ServerAuth,
                names,
            },
        )?;
        self.ensure_leaf(
            &issuer,
            &Leaf {
                cert: &self.admin_cert,
                key: &self.admin_key,
                common_name: "kubernetes-admin",
                organization: Some("system:masters"),
                usage: ExtendedKeyUsagePurpose::ClientAuth,
                names: &[],
            },
        )?;
        self.ensure_service_account_key()
    }

    /// Makes a client certificate for a user where it is missing. Answers certificate and key.
    pub fn ensure_client(&self, user: &str) -> Result<(PathBuf, PathBuf), PkiError> {
        let file = |extension: &str| {
            let name: String = user
                .chars()
                .map(|c| if c == ':' { '-' } else { c })
                .collect();
            self.ca_cert.with_file_name(format!("{name}.{extension}"))
        };
        let (cert, key) = (file("crt"), file("key"));
        self.ensure_leaf(
            &self.ensure_ca()?,
            &Leaf {
                cert: &cert,
                key: &key,
                common_name: user,
                organization: None,
                usage: ExtendedKeyUsagePurpose::ClientAuth,
                names: &[],
            },
        )?;
        Ok((cert, key))
    }

    fn ensure_ca(&self) -> Result<Issuer<'static, KeyPair>, PkiError> {
        if self.ca_cert.exists() && self.ca_key.exists() {
            let key = KeyPair::from_pem(&read(&self.ca_key)?)?;
            return Ok(Issuer::from_ca_cert_pem(&read(&self.ca_cert)?, key)?);
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("verbatim-ca", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        valid_for(&mut params, CA_DAYS);
        let certificate = params.self_signed(&key)?;
        write_private(&self.ca_key, &key.serialize_pem())?;
        write(&self.ca_cert, &certificate.pem())?;
        Ok(Issuer::new(params, key))
    }

    fn ensure_leaf(
        &self,
        issuer: &Issuer<'static, KeyPair>,
        leaf: &Leaf<'_>,
    ) -> Result<(), PkiError> {
        if leaf.key.exists() && is_good(leaf.cert, leaf.names) {
            return Ok(());
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(leaf.names.to_vec())?;
        params.distinguished_name = name(leaf.common_name, leaf.organization);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.insert_extended_key_usage(leaf.usage.clone());
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, LEAF_DAYS);
        let certificate = params.signed_by(&key, issuer)?;
        write_private(leaf.key, &key.serialize_pem())?;
        write(leaf.cert, &certificate.pem())
    }

    fn ensure_service_account_key(&self) -> Result<(), PkiError> {
        if self.service_account_key.exists() && self.service_account_public.exists() {
            return Ok(());
        }
        let key = KeyPair::generate()?;
        write_private(&self.service_account_key, &key.serialize_pem())?;
        write(&self.service_account_public, &key.public_key_pem())
    }

    /// Writes a kubeconfig for the administrator, readable by the owner only.
    pub fn write_kubeconfig(&self, path: &Path, server: &str) -> Result<(), PkiError> {
        let user = "kubernetes-admin";
        self.write_client_kubeconfig(path, server, user, &self.admin_cert, &self.admin_key)
    }

    /// Writes a kubeconfig for any user, readable by the owner only.
    pub fn write_client_kubeconfig(
        &self,
        path: &Path,
        server: &str,
        user: &str,
        certificate: &Path,
        key: &Path,
    ) -> Result<(), PkiError> {
        let embed = |file: &Path| Ok::<_, PkiError>(STANDARD.encode(read(file)?));
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: verbatim\n  cluster:\n    server: \
             {server}\n    certificate-authority-data: {}\nusers:\n- name: '{user}'\n  \
             user:\n    client-certificate-data: {}\n    client-key-data: {}\ncontexts:\n- name: \
             verbatim\n  context:\n    cluster: verbatim\n    user: \
             '{user}'\ncurrent-context: verbatim\n",
            embed(&self.ca_cert)?,
            embed(certificate)?,
            embed(key)?,
        );
        write_private(path, &text)
    }
}

/// One certificate to make.
struct Leaf<'a> {
    cert: &'a Path,
    key: &'a Path,
    common_name: &'a str,
    organization: Option<&'a str>,
    usage: ExtendedKeyUsagePurpose,
    names: &'a [String],
}

/// The names of a serving certificate: local ones, the Service's, and `more`.
pub fn serving_names(service_ip: Option<IpAddr>, more: &[String]) -> Vec<String> {
    let mut names: Vec<String> = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "127.0.0.1",
        "::1",
    ]
    .map(String::from)
    .to_vec();
    let own = [host_name(), service_ip.map(|ip| ip.to_string())];
    for name in own.into_iter().flatten().chain(more.iter().cloned()) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The machine's name.
pub fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim().to_ascii_lowercase();
    (!name.is_empty()).then_some(name)
}

fn name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

/// Valid from yesterday (clocks differ) for `days`.
fn valid_for(params: &mut CertificateParams, days: i64) {
    let now = Utc::now();
    let date =
        |at: DateTime<Utc>| rcgen::date_time_ymd(at.year(), at.month() as u8, at.day() as u8);
    params.not_before = date(now - TimeDelta::days(1));
    params.not_after = date(now + TimeDelta::days(days));
}

/// Whether the certificate can stay: readable, not about to expire, and for all `names`.
fn is_good(cert: &Path, names: &[String]) -> bool {
    let Ok(der) = CertificateDer::from_pem_file(cert) else {
        return false;
    };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&der) else {
        return false;
    };
    let limit = (Utc::now() + TimeDelta::days(RENEW_DAYS)).timestamp();
    if parsed.validity().not_after.timestamp() < limit {
        return false;
    }
    let Ok(Some(found)) = parsed.subject_alternative_name() else {
        return names.is_empty();
    };
    let has = |name: &String| {
        found.value.general_names.iter().any(|san| match san {
            GeneralName::DNSName(dns) => *dns == name.as_str(),
            GeneralName::IPAddress(octets) => {
                address(octets).is_some_and(|ip| name.parse() == Ok(ip))
            }
            _ => false,
        })
    };
    names.iter().all(has)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| file_error(path, source))
}

fn write(path: &Path, text: &str) -> Result<(), PkiError> {
    write_with_mode(path, text, 0o644)
}

fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    write_with_mode(path, text, 0o600)
}

/// Writes beside the file and renames, so that a crash leaves the old or the new one.
fn write_with_mode(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| file_error(path, source))
}

/// Makes a folder that only the owner may enter.
pub fn private_dir(dir: &Path) -> Result<(), PkiError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| file_error(dir, source))
}

fn file_error(path: &Path, source: std::io::Error) -> PkiError {
    PkiError::File {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_second_start_keeps_everything() {
        let dir = tempfile::tempdir().expect("a folder");
        let pki = Pki::at(dir.path());
        let names = serving_names("10.0.0.1".parse().ok(), &[]);
        pki.ensure(&names).expect("a PKI");
        let before: Vec<String> = [&pki.ca_cert, &pki.serving_cert, &pki.service_account_key]
            .map(|f| read(f).expect("a file"))
            .to_vec();
        pki.ensure(&names).expect("a PKI");
        let after: Vec<String> = [&pki.ca_cert, &pki.serving_cert, &pki.service_account_key]
            .map(|f| read(f).expect("a file"))
            .to_vec();
        assert_eq!(before, after);
        let mode = |f: &Path| fs::metadata(f).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(&pki.ca_key), 0o600);
        assert_eq!(mode(&pki.service_account_key), 0o600);

        let more = serving_names(None, &["other.example.test".into()]);
        pki.ensure(&more).expect("a PKI");
        assert_ne!(read(&pki.serving_cert).expect("a file"), before[1]);
        assert_eq!(read(&pki.ca_cert).expect("a file"), before[0]);
    }
}
