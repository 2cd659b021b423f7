//! Keys of service account tokens: PEM files, public or private, and their JSON Web Key Set.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RsaKeyPair, UnparsedPublicKey,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as ParsedKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::base::tree::{Value, json};

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not PEM, or nothing usable in it.
    #[error("no usable key in the file")]
    NoKey,
    /// A PEM block whose content is broken.
    #[error("invalid {label}")]
    Invalid {
        /// Label of the block.
        label: String,
    },
    /// An algorithm this server does not sign or verify with.
    #[error("unsupported key type in {label}")]
    Unsupported {
        /// Label of the block.
        label: String,
    },
}

/// Signature algorithms, as JWT headers name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
}

impl Algorithm {
    /// The name in `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
        }
    }
}

/// A key that verifies.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// base64url of the SHA-256 of the key's DER form.
    pub id: String,
    /// What ring verifies with: an RSAPublicKey or an uncompressed point.
    raw: Vec<u8>,
    /// Modulus and exponent, or the coordinates.
    parts: (Vec<u8>, Vec<u8>),
}

/// A key that signs.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
    random: SystemRandom,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

impl PublicKey {
    /// All keys of a PEM file; private ones give their public half.
    pub fn from_pem(text: &str) -> Result<Vec<PublicKey>, KeyError> {
        let mut keys = Vec::new();
        for (label, der) in pem_blocks(text) {
            match label.as_str() {
                "PUBLIC KEY" => keys.push(Self::from_spki(&label, &der)?),
                "RSA PUBLIC KEY" => keys.push(Self::from_spki(&label, &rsa_spki(&der))?),
                "CERTIFICATE" => keys.push(Self::from_certificate(&label, &der)?),
                "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY" => {
                    keys.push(SigningKey::from_block(&label, &der)?.public);
                }
                _ => {}
            }
        }
        match keys.is_empty() {
            true => Err(KeyError::NoKey),
            false => Ok(keys),
        }
    }

    fn from_certificate(label: &str, der: &[u8]) -> Result<Self, KeyError> {
        let (_, certificate) =
            x509_parser::certificate::X509Certificate::from_der(der).map_err(|_| invalid(label))?;
        Self::from_spki(label, certificate.public_key().raw)
    }

    fn from_spki(label: &str, der: &[u8]) -> Result<Self, KeyError> {
        let (_, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|_| invalid(label))?;
        let raw = spki.subject_public_key.data.to_vec();
        let (algorithm, parts) = match spki.parsed().map_err(|_| invalid(label))? {
            ParsedKey::RSA(rsa) => {
                let strip = |bytes: &[u8]| -> Vec<u8> {
                    bytes.iter().copied().skip_while(|b| *b == 0).collect()
                };
                (Algorithm::Rs256, (strip(rsa.modulus), strip(rsa.exponent)))
            }
            ParsedKey::EC(point) if point.data().len() == 65 => {
                (Algorithm::Es256, halves(&point.data()[1..]))
            }
            ParsedKey::EC(point) if point.data().len() == 97 => {
                (Algorithm::Es384, halves(&point.data()[1..]))
            }
            _ => {
                return Err(KeyError::Unsupported {
                    label: label.into(),
                });
            }
        };
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        Ok(PublicKey {
            algorithm,
            id: URL_SAFE_NO_PAD.encode(digest),
            raw,
            parts,
        })
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn signature::VerificationAlgorithm = match self.algorithm {
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        };
        UnparsedPublicKey::new(algorithm, &self.raw)
            .verify(message, signature)
            .is_ok()
    }

    fn to_jwk(&self) -> Value {
        let (a, b) = (
            URL_SAFE_NO_PAD.encode(&self.parts.0),
            URL_SAFE_NO_PAD.encode(&self.parts.1),
        );
        let mut jwk = json!({"use": "sig", "kid": self.id, "alg": self.algorithm.name()});
        let more = match self.algorithm {
            Algorithm::Rs256 => json!({"kty": "RSA", "n": a, "e": b}),
            Algorithm::Es256 => json!({"kty": "EC", "crv": "P-256", "x": a, "y": b}),
            Algorithm::Es384 => json!({"kty": "EC", "crv": "P-384", "x": a, "y": b}),
        };
        if let (Some(jwk), Some(more)) = (jwk.as_object_mut(), more.as_object()) {
            jwk.extend(more.clone());
        }
        jwk
    }
}

impl SigningKey {
    /// The first private key of a PEM file.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let mut blocks = pem_blocks(text).into_iter();
        let (label, der) = blocks
            .find(|(label, _)| label.ends_with("PRIVATE KEY"))
            .ok_or(KeyError::NoKey)?;
        Self::from_block(&label, &der)
    }

    /// A new P-256 key as PKCS#8 PEM, for servers that are started without key files.
    pub fn generate_pem() -> Option<String> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .ok()?;
        let text = STANDARD.encode(document.as_ref());
        let lines: Vec<&str> = (0..text.len())
            .step_by(64)
            .map(|at| &text[at..(at + 64).min(text.len())])
            .collect();
        Some(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        ))
    }

    fn from_block(label: &str, der: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let rsa = match label {
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(der).ok(),
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(der).ok(),
            _ => None,
        };
        if let Some(pair) = rsa {
            let public = PublicKey::from_spki(label, &rsa_spki(pair.public_key().as_ref()))?;
            return Ok(SigningKey {
                pair: Pair::Rsa(pair),
                public,
                random,
            });
        }
        for (algorithm, curve) in [
            (&ECDSA_P256_SHA256_FIXED_SIGNING, P256_OID),
            (&ECDSA_P384_SHA384_FIXED_SIGNING, P384_OID),
        ] {
            let pkcs8 = match label {
                "EC PRIVATE KEY" => ec_pkcs8(der, curve),
                _ => der.to_vec(),
            };
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random) {
                let public =
                    PublicKey::from_spki(label, &ec_spki(pair.public_key().as_ref(), curve))?;
                return Ok(SigningKey {
                    pair: Pair::Ecdsa(pair),
                    public,
                    random,
                });
            }
        }
        Err(KeyError::Unsupported {
            label: label.into(),
        })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(
                    &signature::RSA_PKCS1_SHA256,
                    &self.random,
                    message,
                    &mut out,
                )
                .ok()?;
                Some(out)
            }
            Pair::Ecdsa(pair) => {
                let signed = pair.sign(&self.random, message).ok()?;
                Some(signed.as_ref().to_vec())
            }
        }
    }
}

/// The document of `/openid/v1/jwks`.
pub fn jwks(keys: &[PublicKey]) -> Value {
    let mut seen: Vec<&str> = Vec::new();
    let mut list = Vec::new();
    for key in keys {
        if !seen.contains(&key.id.as_str()) {
            seen.push(&key.id);
            list.push(key.to_jwk());
        }
    }
    json!({"keys": list})
}

/// The document of `/.well-known/openid-configuration`.
pub fn openid_configuration(issuer: &str, jwks_uri: &str, keys: &[PublicKey]) -> Value {
    let mut algorithms: Vec<&str> = keys.iter().map(|k| k.algorithm.name()).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    json!({
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    })
}

fn invalid(label: &str) -> KeyError {
    KeyError::Invalid {
        label: label.to_string(),
    }
}

fn halves(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (a, b) = bytes.split_at(bytes.len() / 2);
    (a.to_vec(), b.to_vec())
}

/// Label and content of each PEM block.
fn pem_blocks(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(label) = line
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.strip_suffix("-----"))
        {
            open = Some((label.to_string(), String::new()));
        } else if line.starts_with("-----END ") {
            if let Some((label, body)) = open.take()
                && let Ok(der) = STANDARD.decode(body)
            {
                blocks.push((label, der));
            }
        } else if let Some((_, body)) = &mut open
            && !line.contains(':')
        {
            body.push_str(line);
        }
    }
    blocks
}

// A few DER shapes that ring neither reads nor writes.

const RSA_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384_OID: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let significant: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
        out.push(0x80 | significant.len() as u8);
        out.extend(significant);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

fn rsa_spki(pkcs1: &[u8]) -> Vec<u8> {
    let algorithm = tlv(0x30, &[&tlv(0x06, &[RSA_OID]), &[0x05, 0x00]]);
    tlv(0x30, &[&algorithm, &tlv(0x03, &[&[0], pkcs1])])
}

fn ec_algorithm(curve: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&tlv(0x06, &[EC_OID]), &tlv(0x06, &[curve])])
}

fn ec_spki(point: &[u8], curve: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&ec_algorithm(curve), &tlv(0x03, &[&[0], point])])
}

/// PKCS#8 around a SEC 1 key. ring refuses the optional curve inside SEC 1, so it is left out.
fn ec_pkcs8(sec1: &[u8], curve: &[u8]) -> Vec<u8> {
    let parameters = tlv(0xa0, &[&tlv(0x06, &[curve])]);
    let mut inner = sec1.to_vec();
    if let Some(at) = inner
        .windows(parameters.len())
        .position(|window| window == parameters)
    {
        inner.drain(at..at + parameters.len());
        let body_at = if inner[1] < 0x80 {
            2
        } else {
            2 + (inner[1] & 0x7f) as usize
        };
        inner = tlv(0x30, &[&inner[body_at..]]);
    }
    tlv(
        0x30,
        &[
            &[0x02, 0x01, 0x00],
            &ec_algorithm(curve),
            &tlv(0x04, &[&inner]),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";

    #[test]
    fn a_generated_key_signs_and_verifies() {
        let pem = SigningKey::generate_pem().expect("a random key");
        let key = SigningKey::from_pem(&pem).expect("a private key");
        let signature = key.sign(b"message").expect("a signature");
        let public = &PublicKey::from_pem(&pem).expect("a public half")[0];
        assert_eq!(public.id, key.public().id);
        assert!(public.verify(b"message", &signature));
        assert!(!public.verify(b"other", &signature));
        let set = jwks(&[public.clone(), public.clone()]);
        assert_eq!(set["keys"].as_array().map(Vec::len), Some(1));
        assert_eq!(set["keys"][0]["crv"], "P-256");
    }

    #[test]
    fn files_without_keys() {
        assert!(PublicKey::from_pem("nothing").is_err());
        assert!(PublicKey::from_pem(EC).is_err());
    }
}
