//! What stands in a chain file: [`Header`] and entries, and the rule that links them.
//!
//! Used by the writer, by recovery and by `verify`; reads and writes no files itself.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// The version that a header names. Whatever changes in what is hashed changes it.
pub const VERSION: &str = "audit.verbatim.dev/chain/v1";
/// Bytes of one entry with its line break: 43 of base64, a blank, 13 digits.
pub const ENTRY_BYTES: usize = 58;
/// Longest header that is read.
pub const HEADER_MAX_BYTES: usize = 8 << 10;

/// A place in the chain: SHA-256 over everything before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of some bytes on their own.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = ring::digest::digest(&SHA256, bytes);
        Hash::from_digest(&digest)
    }

    /// The hash after one more line (without its break).
    pub fn link(&self, line: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        context.update(line);
        Hash::from_digest(&context.finish())
    }

    fn from_digest(digest: &ring::digest::Digest) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        Hash(hash)
    }

    /// Base64 without padding.
    pub fn text(&self) -> String {
        STANDARD_NO_PAD.encode(self.0)
    }

    /// The reverse of [`Hash::text`].
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut hash = [0; 32];
        match STANDARD_NO_PAD.decode_slice(text, &mut hash) {
            Ok(32) => Some(Hash(hash)),
            _ => None,
        }
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Hash::parse(text.as_bytes()).ok_or_else(|| serde::de::Error::custom("not a SHA-256 hash"))
    }
}

/// Why a file of the log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// It is the first of its log.
    Genesis,
    /// The file before was full.
    Rotation,
    /// The file before, or a part of it, was not there at start: a power cut, or somebody.
    Missing,
    /// The file before was deleted while the server ran.
    Deleted,
    /// The file before was moved away while the server ran.
    Moved,
    /// The file before was cut while the server ran.
    Truncated,
    /// The file before has lines that the server did not write, or other lines than it wrote.
    Altered,
    /// The chain of the file before was not there, or unreadable.
    Unchained,
}

/// The first line of a chain file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: String,
    /// Identity of the log, made at its genesis.
    pub log: String,
    /// The server that writes it.
    pub server: String,
    /// File name of the live log.
    pub name: String,
    /// Number of this file, from 1.
    pub file: u64,
    /// Number of the first event in it, from 1.
    pub first: u64,
    /// Hash after the event before the first; zeros at genesis.
    pub previous: Hash,
    /// When this file began, RFC 3339.
    pub began: String,
    /// Why this file began.
    pub reason: Reason,
    /// Events before `first` that the server knew to be missing when this file began.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Header {
    /// The line as it is written, with its break.
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("a header has nothing that JSON lacks");
        line.push(b'\n');
        line
    }

    /// Reads a line without its break.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let header: Header = serde_json::from_slice(line).ok()?;
        (header.version == VERSION).then_some(header)
    }
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Events so far, over all files.
    pub count: u64,
    /// The hash after the last of them.
    pub hash: Hash,
    /// Where the last one ends in its file.
    pub offset: u64,
}

/// One line of a chain file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The hash after the event.
    pub hash: Hash,
    /// Where its line ends.
    pub offset: u64,
}

impl Entry {
    /// Appends the line with its break.
    pub fn push(&self, out: &mut Vec<u8>) {
        let mut text = [b'0'; ENTRY_BYTES];
        let hash = STANDARD_NO_PAD.encode_slice(self.hash.0, &mut text[..43]);
        debug_assert_eq!(hash.ok(), Some(43), "32 bytes are 43 digits of base64");
        text[43] = b' ';
        let mut rest = self.offset;
        for digit in text[44..57].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).expect("a remainder of ten");
            rest /= 10;
        }
        text[57] = b'\n';
        out.extend_from_slice(&text);
    }

    /// Reads a line without its break.
    pub fn parse(line: &[u8]) -> Option<Self> {
        if line.len() != ENTRY_BYTES - 1 || line[43] != b' ' {
            return None;
        }
        let hash = Hash::parse(&line[..43])?;
        let digits = std::str::from_utf8(&line[44..]).ok()?;
        let offset = digits.parse().ok()?;
        Some(Entry { hash, offset })
    }
}

/// The chain file of a file of the log, plain or compressed.
pub fn chain_path(log: &Path) -> PathBuf {
    let log = match log.extension() {
        Some(extension) if extension == "gz" => log.with_extension(""),
        _ => log.into(),
    };
    with_suffix(&log, ".chain")
}

/// The checkpoints of the log at `path`.
pub fn checkpoints_path(path: &Path) -> PathBuf {
    with_suffix(path, ".checkpoints")
}

/// A path with something behind its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Now, as chain files and checkpoints print it.
pub fn now() -> String {
    chrono::Utc::now()
        .format("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_back() {
        let entry = Entry {
            hash: Hash::of(b"x"),
            offset: 1_234_567,
        };
        let mut out = Vec::new();
        entry.push(&mut out);
        assert_eq!(out.len(), ENTRY_BYTES);
        assert!(out.ends_with(b" 0000001234567\n"));
        assert_eq!(Entry::parse(&out[..ENTRY_BYTES - 1]), Some(entry));
        out[0] = b'!';
        assert_eq!(Entry::parse(&out[..ENTRY_BYTES - 1]), None);
    }

    #[test]
    fn the_format_stays_what_version_1_says() {
        // SHA-256(32 zero bytes ‖ "line"), from another implementation (Python's hashlib).
        let hash = Hash::default().link(b"line");
        let hex: String = hash.0.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "cc18fb83883d12d7483aa7e264a89bf4fa493e96c6474520ded1ad272b5c1435"
        );
    }

    #[test]
    fn chain_files_keep_their_name_when_a_backup_is_compressed() {
        for name in ["a/audit-T.log", "a/audit-T.log.gz"] {
            let chain = chain_path(Path::new(name));
            assert_eq!(chain, Path::new("a/audit-T.log.chain"));
        }
    }
}
