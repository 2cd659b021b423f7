//! The warning for a TLS secret whose pair cannot be loaded, in the words of Go's `crypto/tls`.

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Why `cert` and `key` (PEM) are no pair; `None` when they are.
pub fn key_pair_error(cert: &[u8], key: &[u8]) -> Option<String> {
    let blocks: Vec<Pem> = Pem::iter_from_buffer(cert).filter_map(Result::ok).collect();
    let Some(first) = blocks.iter().find(|block| block.label == "CERTIFICATE") else {
        return Some(missing("certificate", &blocks));
    };
    let keys: Vec<Pem> = Pem::iter_from_buffer(key).filter_map(Result::ok).collect();
    let is_key =
        |block: &&Pem| block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY");
    if !keys.iter().any(|block| is_key(&block)) {
        return Some(missing("key", &keys));
    }
    let Ok((_, parsed)) = X509Certificate::from_der(&first.contents) else {
        return Some("x509: malformed certificate".into());
    };
    let Ok(key) = PrivateKeyDer::from_pem_slice(key) else {
        return Some("tls: failed to parse private key".into());
    };
    // A key of a kind that cannot be loaded here is not judged.
    let signing = rustls::crypto::ring::sign::any_supported_type(&key).ok()?;
    let public = signing.public_key()?;
    (public.as_ref() != parsed.public_key().raw)
        .then(|| "tls: private key does not match public key".into())
}

fn missing(what: &str, blocks: &[Pem]) -> String {
    match blocks {
        [] => format!("tls: failed to find any PEM data in {what} input"),
        [only] if what == "certificate" && only.label.ends_with("PRIVATE KEY") => {
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".into()
        }
        [only] if what == "key" && only.label == "CERTIFICATE" => {
            "tls: found a certificate rather than a key in the PEM for the private key".into()
        }
        blocks => {
            let labels: Vec<&str> = blocks.iter().map(|b| b.label.as_str()).collect();
            match what {
                "key" => format!(
                    "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
                    labels.join(" ")
                ),
                _ => format!(
                    "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
                    labels.join(" ")
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_pem() {
        assert_eq!(
            key_pair_error(b"x", b"y").as_deref(),
            Some("tls: failed to find any PEM data in certificate input")
        );
    }
}
