//! Protobuf bodies of built-in kinds. Not spoken yet: bodies are refused with upstream's words for
//! undecodable ones, and answers fall back to what else the client accepts.

use bytes::Bytes;
use serde_json::Value;

/// The four bytes before every protobuf object.
const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a protobuf object.
    #[error("{0}")]
    Unrecognized(String),
    /// An object that cannot be read.
    #[error("{0}")]
    Type(String),
}

/// Decodes a protobuf object.
pub fn decode(bytes: &[u8], _group: &str, _version: &str, _kind: &str) -> Result<Value, Error> {
    if bytes.is_empty() {
        return Err(Error::Unrecognized("empty data".into()));
    }
    if !bytes.starts_with(MAGIC) {
        return Err(Error::Unrecognized(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]".into(),
        ));
    }
    Err(Error::Type(
        "protobuf bodies are not supported yet; send application/json".into(),
    ))
}

/// Encodes an object; `None` when it has no protobuf form.
pub fn encode(_value: &Value) -> Option<Bytes> {
    None
}

/// Encodes one watch event.
pub fn watch_frame(_event: &str, _object: &Value) -> Option<Bytes> {
    None
}
