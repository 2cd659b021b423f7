//! `application/vnd.kubernetes.protobuf`: bodies and answers of built-in kinds.
//!
//! Finds an object's schema by its kind; the codec itself is [`schema::wire`]. Custom resources and
//! Tables have no protobuf form.

use bytes::Bytes;

use crate::api::names::{GroupVersion, GroupVersionKind};
use crate::api::schema::{self, Schema, TypeMeta, wire};
use crate::base::tree::Value;

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

/// What a body says it is; either part may be empty.
pub fn type_meta(bytes: &[u8]) -> Result<TypeMeta, Error> {
    let envelope = wire::unwrap(bytes).map_err(Error::Unrecognized)?;
    Ok(envelope.type_meta)
}

/// Decodes an object as the given kind, whatever kind it says it is (see [`type_meta`]). The tree is
/// normalised and carries no kind and apiVersion.
pub fn decode(bytes: &[u8], group: &str, version: &str, kind: &str) -> Result<Value, Error> {
    let envelope = wire::unwrap(bytes).map_err(Error::Unrecognized)?;
    let gvk = GroupVersionKind::new(group.to_string(), version.to_string(), kind.to_string());
    let Some(schema) = schema::builtin(&gvk) else {
        return Err(Error::Type(format!("no kind \"{kind}\" is registered")));
    };
    wire::decode_raw(envelope.raw, schema).map_err(Error::Type)
}

/// Encodes an object by its kind and apiVersion; `None` when it has no protobuf form.
pub fn encode(value: &Value) -> Option<Bytes> {
    Some(wire::encode(value, schema_of(value)?).into())
}

/// Encodes one watch event: four bytes of length, then the event with its object.
pub fn watch_frame(event: &str, object: &Value) -> Option<Bytes> {
    let message = wire::watch_event(event, &encode(object)?);
    let length = u32::try_from(message.len()).ok()?;
    Some([&length.to_be_bytes(), message.as_slice()].concat().into())
}

fn schema_of(value: &Value) -> Option<&'static Schema> {
    let kind = value.get("kind")?.as_str()?;
    let api_version = value.get("apiVersion").and_then(Value::as_str);
    let GroupVersion { group, version } = GroupVersion::parse(api_version.unwrap_or("v1"))?;
    schema::builtin(&GroupVersionKind::new(group, version, kind.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn kinds_decide() {
        let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": "v"}});
        let bytes = encode(&object).expect("built-in kind");
        let meta = type_meta(&bytes).expect("envelope");
        assert_eq!(
            (meta.api_version.as_str(), meta.kind.as_str()),
            ("v1", "ConfigMap")
        );
        let decoded = decode(&bytes, "", "v1", "ConfigMap");
        assert_eq!(
            decoded,
            Ok(json!({"metadata": {"name": "a"}, "data": {"k": "v"}}))
        );
        let frame = watch_frame("ADDED", &object).expect("built-in kind");
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
        assert!(encode(&json!({"kind": "Widget", "apiVersion": "x.io/v1"})).is_none());
        assert!(encode(&json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1"})).is_none());
    }
}
