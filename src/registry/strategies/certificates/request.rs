//! Checks of what a CSR carries: the PKCS#10 request and the issued certificate.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pem;

/// Checks `spec.request`: one PEM block with a request whose signature is right.
pub fn check_request(encoded: &str) -> Result<(), String> {
    let bytes = pem::bytes_of(encoded);
    let text = String::from_utf8_lossy(&bytes);
    let block = pem::decode(&text)
        .map(|(block, _)| block)
        .filter(|block| block.label == "CERTIFICATE REQUEST")
        .ok_or("PEM block type must be CERTIFICATE REQUEST")?;
    let (rest, request) = X509CertificationRequest::from_der(&block.der)
        .map_err(|_| "asn1: structure error: malformed certificate request")?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".into());
    }
    check_signature(&request)
}

fn check_signature(request: &X509CertificationRequest<'_>) -> Result<(), String> {
    let oid = request.signature_algorithm.algorithm.to_id_string();
    let info = &request.certification_request_info;
    let key = info.subject_pki.subject_public_key.data.as_ref();
    let curve = info
        .subject_pki
        .algorithm
        .parameters
        .as_ref()
        .and_then(|p| p.as_oid().ok())
        .map(|oid| oid.to_id_string());
    let Some((algorithm, failure)) = algorithm(&oid, curve.as_deref()) else {
        // Curves the verifier does not know (P-521) are left to the signer.
        return Ok(());
    };
    UnparsedPublicKey::new(algorithm, key)
        .verify(info.raw, request.signature_value.data.as_ref())
        .map_err(|_| failure.to_owned())
}

/// The verifier of a signature algorithm and what upstream says when it fails.
fn algorithm(
    oid: &str,
    curve: Option<&str>,
) -> Option<(&'static dyn VerificationAlgorithm, &'static str)> {
    const RSA: &str = "crypto/rsa: verification error";
    const ECDSA: &str = "x509: ECDSA verification failure";
    const P256: &str = "1.2.840.10045.3.1.7";
    const P384: &str = "1.3.132.0.34";
    Some(match (oid, curve) {
        ("1.2.840.113549.1.1.5", _) => (
            &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            RSA,
        ),
        ("1.2.840.113549.1.1.11", _) => (
            &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            RSA,
        ),
        ("1.2.840.113549.1.1.12", _) => (&signature::RSA_PKCS1_2048_8192_SHA384, RSA),
        ("1.2.840.113549.1.1.13", _) => (
            &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            RSA,
        ),
        ("1.2.840.10045.4.3.2", Some(P256)) => (&signature::ECDSA_P256_SHA256_ASN1, ECDSA),
        ("1.2.840.10045.4.3.2", Some(P384)) => (&signature::ECDSA_P384_SHA256_ASN1, ECDSA),
        ("1.2.840.10045.4.3.3", Some(P256)) => (&signature::ECDSA_P256_SHA384_ASN1, ECDSA),
        ("1.2.840.10045.4.3.3", Some(P384)) => (&signature::ECDSA_P384_SHA384_ASN1, ECDSA),
        ("1.3.101.112", _) => (&signature::ED25519, "x509: Ed25519 verification failure"),
        _ => return None,
    })
}

/// Checks `status.certificate`: only CERTIFICATE blocks without headers, at least one.
pub fn check_certificate(encoded: &str) -> Result<(), String> {
    let bytes = pem::bytes_of(encoded);
    let text = String::from_utf8_lossy(&bytes);
    let mut rest: &str = &text;
    let mut blocks = 0;
    while let Some((block, tail)) = pem::decode(rest) {
        rest = tail;
        if block.label != "CERTIFICATE" {
            return Err(
                "only CERTIFICATE PEM blocks are allowed, found \"".to_owned()
                    + &block.label
                    + "\"",
            );
        }
        if block.has_headers {
            return Err("no PEM block headers are permitted".into());
        }
        if X509Certificate::from_der(&block.der).is_err() {
            return Err("x509: malformed certificate".into());
        }
        blocks += 1;
    }
    if blocks == 0 {
        return Err("must contain at least one CERTIFICATE PEM block".into());
    }
    Ok(())
}
