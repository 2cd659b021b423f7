//! [`Checkpoint`]: how far the log has come, signed; and the keys that sign and check it.
//!
//! Made by the notary, read by recovery and by `verify`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::format::Hash;

/// The version that a checkpoint names. It stands first, so no other signed text looks like one.
pub const VERSION: &str = "audit.verbatim.dev/checkpoint/v1";
/// PKCS#8 (RFC 8410) of an Ed25519 key, up to its seed.
const PKCS8_START: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// SubjectPublicKeyInfo (RFC 8410) of an Ed25519 key, up to the key.
const SPKI_START: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// What stands before the signature in a line.
const SIGNATURE: &str = r#","signature":""#;

/// What cannot be done with a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error("cannot read or write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something else is in the file.
    #[error("{} has no {what}", path.display())]
    Contents {
        /// Which.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// What a checkpoint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointKind {
    /// The server started; the log was as it says.
    Start,
    /// Some events or seconds passed.
    Periodic,
    /// A file of the log is finished.
    Rotation,
    /// The server ends; nothing follows before the next start.
    Shutdown,
    /// Retention deletes all events up to this count: the log begins behind it.
    Retention,
}

/// How far the log has come, or where it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`VERSION`].
    pub version: String,
    /// What it is about.
    pub kind: CheckpointKind,
    /// Identity of the log.
    pub log: String,
    /// The server.
    pub server: String,
    /// File name of the live log.
    pub name: String,
    /// Number of the file.
    pub file: u64,
    /// Events up to here.
    pub count: u64,
    /// The hash after the last of them.
    pub hash: Hash,
    /// When, RFC 3339.
    pub time: String,
    /// The public key that checks it.
    pub key: PublicKey,
}

/// Why a line is not a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not of this format.
    #[error("is not a checkpoint of version 1")]
    Format,
    /// The signature is wrong.
    #[error("has a wrong signature")]
    Signature,
}

impl Checkpoint {
    /// The signed line with its break.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("a checkpoint has nothing that JSON lacks");
        let signature = key.pair.sign(&line);
        line.pop();
        line.extend_from_slice(SIGNATURE.as_bytes());
        line.extend_from_slice(STANDARD_NO_PAD.encode(signature.as_ref()).as_bytes());
        line.extend_from_slice(b"\"}\n");
        line
    }

    /// Reads a line without its break and checks its signature by the key that it names.
    pub fn parse(line: &[u8]) -> Result<Self, CheckpointError> {
        let text = std::str::from_utf8(line).map_err(|_| CheckpointError::Format)?;
        let (signed, signature) = text.rsplit_once(SIGNATURE).ok_or(CheckpointError::Format)?;
        let signature = signature.strip_suffix("\"}");
        let signature = signature.and_then(|s| STANDARD_NO_PAD.decode(s).ok());
        let signature = signature.ok_or(CheckpointError::Format)?;
        let signed = format!("{signed}}}");
        let checkpoint: Checkpoint =
            serde_json::from_str(&signed).map_err(|_| CheckpointError::Format)?;
        if checkpoint.version != VERSION {
            return Err(CheckpointError::Format);
        }
        UnparsedPublicKey::new(&ED25519, &checkpoint.key.0)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| CheckpointError::Signature)?;
        Ok(checkpoint)
    }
}

/// A key that checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// `PUBLIC KEY` as `openssl pkey -pubin` reads it.
    pub fn pem(&self) -> String {
        let mut der = SPKI_START.to_vec();
        der.extend_from_slice(&self.0);
        pem("PUBLIC KEY", &der)
    }

    /// A short name of the key, for people: the start of its SHA-256.
    pub fn fingerprint(&self) -> String {
        let hash = Hash::of(&self.0);
        hash.0[..8].iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Reads a PEM file of a public or a private key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read(path)?;
        if let Some(der) = unpem(&text, "PUBLIC KEY")
            && let Some(key) = der.strip_prefix(&SPKI_START)
            && let Ok(key) = key.try_into()
        {
            return Ok(PublicKey(key));
        }
        SigningKey::of_pem(&text)
            .map(|key| key.public())
            .ok_or_else(|| KeyError::Contents {
                path: path.into(),
                what: "Ed25519 key in PEM",
            })
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let key = STANDARD_NO_PAD.decode(text).ok();
        let key = key.and_then(|k| k.try_into().ok());
        key.map(PublicKey)
            .ok_or_else(|| serde::de::Error::custom("not an Ed25519 key"))
    }
}

/// A key that signs.
#[derive(Debug)]
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Reads the key; makes one (0600, and beside it the public key, `.pub`) where there is none.
    pub fn load_or_make(path: &Path) -> Result<Self, KeyError> {
        match path.exists() {
            true => Self::load(path),
            false => Self::make(path),
        }
    }

    /// Reads an Ed25519 `PRIVATE KEY` in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Self::of_pem(&read(path)?).ok_or_else(|| KeyError::Contents {
            path: path.into(),
            what: "Ed25519 private key in PEM (PKCS#8)",
        })
    }

    fn of_pem(text: &str) -> Option<Self> {
        let der = unpem(text, "PRIVATE KEY")?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok()?;
        Some(SigningKey { pair })
    }

    fn make(path: &Path) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| KeyError::Random)?;
        let mut der = PKCS8_START.to_vec();
        der.extend_from_slice(&seed);
        let text = pem("PRIVATE KEY", &der);
        let failed = |source| KeyError::File {
            path: path.into(),
            source,
        };
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            let mut builder = fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .map_err(failed)?;
        }
        write_new(path, &text, 0o600).map_err(failed)?;
        let key = Self::of_pem(&text).ok_or(KeyError::Random)?;
        let public = path.with_extension("pub");
        fs::write(public, key.public().pem()).map_err(failed)?;
        Ok(key)
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(key)
    }
}

/// Writes a file that was not there, whole or not at all.
fn write_new(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let partial = super::format::with_suffix(path, ".new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(mode)
        .open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(partial, path)
}

fn read(path: &Path) -> Result<String, KeyError> {
    fs::read_to_string(path).map_err(|source| KeyError::File {
        path: path.into(),
        source,
    })
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

fn unpem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_whitespace().collect();
    STANDARD.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn checkpoint(key: &SigningKey) -> Checkpoint {
        Checkpoint {
            version: VERSION.into(),
            kind: CheckpointKind::Periodic,
            log: "l".into(),
            server: "s".into(),
            name: "audit.log".into(),
            file: 1,
            count: 7,
            hash: Hash::of(b"x"),
            time: "t".into(),
            key: key.public(),
        }
    }

    #[test]
    fn what_is_signed_cannot_be_changed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pki/checkpoint.key");
        let key = SigningKey::load_or_make(&path).expect("a key");
        let mode = fs::metadata(&path)
            .expect("the key file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = SigningKey::load_or_make(&path).expect("the same key");
        assert_eq!(again.public(), key.public());
        let public = PublicKey::load(&path.with_extension("pub")).expect("the public key");
        assert_eq!(public, key.public());

        let mut line = checkpoint(&key).sign(&key);
        line.pop();
        assert_eq!(Checkpoint::parse(&line), Ok(checkpoint(&key)));
        let text = String::from_utf8(line).expect("JSON");
        for (from, to) in [(r#""count":7"#, r#""count":6"#), ("\"l\"", "\"m\"")] {
            let changed = text.replace(from, to);
            assert_eq!(
                Checkpoint::parse(changed.as_bytes()),
                Err(CheckpointError::Signature)
            );
        }
        assert_eq!(Checkpoint::parse(b"{}"), Err(CheckpointError::Format));
    }
}
