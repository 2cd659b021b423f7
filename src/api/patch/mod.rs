//! Patches on trees: JSON Patch (RFC 6902), merge patch (RFC 7386) and strategic merge patch.
//!
//! Called by the patch handler with the object in the requested version. Rules and texts:
//! contract/apply.md, contract/verbs.md §5.

mod merge;

use serde_json::Value;

use crate::api::schema::Schema;
use crate::api::status::Status;

/// The kind of a patch, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// `application/apply-patch+yaml`.
    Apply,
}

impl PatchType {
    /// By media type, without parameters.
    pub fn of(media_type: &str) -> Option<Self> {
        Some(match media_type {
            "application/json-patch+json" => PatchType::Json,
            "application/merge-patch+json" => PatchType::Merge,
            "application/strategic-merge-patch+json" => PatchType::Strategic,
            "application/apply-patch+yaml" => PatchType::Apply,
            _ => return None,
        })
    }
}

/// A parsed patch, applied again when a write lost a race.
#[derive(Clone, Debug)]
pub struct Patch {
    kind: PatchType,
    document: Value,
}

impl Patch {
    /// Parses a patch body (not apply patches, which are objects).
    pub fn parse(kind: PatchType, bytes: &[u8]) -> Result<Self, Status> {
        let document = serde_json::from_slice(bytes)
            .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
        Ok(Patch { kind, document })
    }

    /// Applies it. `schema` is needed for strategic merges.
    pub fn apply(&self, object: &Value, _schema: Option<&Schema>) -> Result<Value, Status> {
        match self.kind {
            PatchType::Merge => {
                let mut patched = object.clone();
                merge::merge(&mut patched, &self.document);
                Ok(patched)
            }
            PatchType::Json | PatchType::Strategic | PatchType::Apply => Err(
                Status::unsupported_media_type("this patch type is not supported yet"),
            ),
        }
    }
}
