//! The way to kubelets and endpoints, from the flags' files.

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

use crate::endpoints::proxy::Proxy;
use crate::endpoints::proxy::dial::{KubeletTls, Transports};
use crate::server::life::StartError;
use crate::server::options::KubeletFlags;
use crate::server::tls::TlsError;

/// Reads the certificates and makes the proxy.
pub(super) fn proxy(flags: &KubeletFlags) -> Result<Proxy, StartError> {
    let transports = transports(flags).map_err(|e| StartError::part("kubelet connections", &e))?;
    Ok(Proxy::new(flags.options.clone(), transports))
}

fn transports(flags: &KubeletFlags) -> Result<Transports, TlsError> {
    let authorities = flags.authority.as_deref().map(certificates).transpose()?;
    let identity = match &flags.certificate {
        Some(files) => {
            let key = PrivateKeyDer::from_pem_file(&files.key);
            let key = key.map_err(|e| unusable(&files.key, &e))?;
            Some((certificates(&files.certificate)?, key))
        }
        None => None,
    };
    let tls = KubeletTls {
        authorities,
        identity,
    };
    Ok(Transports::new(tls, flags.options.timeout)?)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read =
        CertificateDer::pem_file_iter(path).and_then(|all| all.collect::<Result<Vec<_>, _>>());
    let all = read.map_err(|e| unusable(path, &e))?;
    match all.is_empty() {
        true => Err(unusable(path, &"there is no certificate in it")),
        false => Ok(all),
    }
}

fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}
