//! Field ownership: `metadata.managedFields` and server-side apply, on trees and schemas.
//!
//! Called by the registry on every write ([`track`]) and by the apply handler ([`apply`]). Knows no
//! kind and no storage; conversion between versions comes in through [`Versions`]. Rules, encoding
//! and texts: contract/apply.md.
//!
//! # Invariants
//! - Sets of paths are trees of sorted nodes; every operation on them is one pass over both.
//! - A write that changes nothing leaves the entries as they are, without decoding them; one that
//!   changes only what its writer owns alone changes the time of one entry (`in_place`). A create's
//!   entry is written in one pass over the object (`created`).
//! - Nobody owns kind, apiVersion and what the system writes in metadata ([`STRIPPED_METADATA`]).
//!
//! # Decisions
//! - Types are the schema's nodes themselves. OpenAPI documents as upstream uses them were rejected:
//!   each step would be a look-up by string.
//! - Entries keep the encoded paths beside the decoded ones, so that only what changed is encoded.

mod apply;
mod compare;
mod created;
mod element;
mod entries;
mod extract;
mod in_place;
mod merge;
mod scale;
mod set;
#[cfg(test)]
mod tests;
mod typed;
mod unowned;
mod update;
mod validate;

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::base::tree::Value;

pub use apply::{ApplyError, apply};
pub use compare::{Comparison, compare_objects};
pub use element::Element;
pub use entries::{Entries, Entry, Operation};
pub use extract::fields_of;
pub use scale::{ReplicasPaths, entries_of_parent, entries_of_scale};
pub use set::Set;
pub use typed::Type;
pub use unowned::merge_unowned;
pub use update::{keep_times, track};

/// Metadata that nobody owns.
pub(crate) const STRIPPED_METADATA: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// The versions of a kind.
pub trait Versions: Sync {
    /// The type of the kind in a version; `None` when that is not served.
    fn type_of(&self, api_version: &str) -> Option<Type<'_>>;

    /// The object in a version; `None` when that is not served.
    fn convert<'a>(&self, object: &'a Value, api_version: &str) -> Option<Cow<'a, Value>>;
}

/// Fields that a writer does not own whatever it sends.
#[derive(Clone, Debug, Default)]
pub enum Filter {
    /// Everything counts.
    #[default]
    All,
    /// These subtrees do not count.
    Without(Set),
    /// Only what matches one of the patterns counts.
    Only(&'static [&'static [&'static str]]),
}

impl Filter {
    /// What of `set` counts.
    pub fn apply(&self, set: Set) -> Set {
        match self {
            Filter::All => set,
            Filter::Without(fields) => set.without_subtrees(fields),
            Filter::Only(patterns) => set.matching(patterns),
        }
    }
}

/// Who writes, and in which form.
pub struct Writer<'a> {
    /// Manager name.
    pub manager: &'a str,
    /// apiVersion of the request.
    pub api_version: &'a str,
    /// Subresource or empty.
    pub subresource: &'a str,
    /// Fields that do not count.
    pub filter: &'a Filter,
    /// Now, RFC 3339 with seconds.
    pub now: &'a str,
    /// The kind without anything set, in the request's version.
    pub zero: &'a Value,
    /// The kind's versions.
    pub versions: &'a dyn Versions,
}

/// `metadata.managedFields`.
pub fn managed_fields_of(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

/// Takes `metadata.managedFields` out.
pub fn take(object: &mut Value) -> Option<Value> {
    object
        .get_mut("metadata")?
        .as_object_mut()?
        .remove("managedFields")
}

/// Sets or removes `metadata.managedFields`.
pub fn put(object: &mut Value, managed: Option<Value>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    match managed {
        Some(managed) => {
            metadata.insert("managedFields".into(), managed);
        }
        None => {
            metadata.remove("managedFields");
        }
    }
}

/// Everything that nobody owns.
fn stripped() -> &'static Set {
    static STRIPPED: LazyLock<Set> = LazyLock::new(|| {
        let mut paths: Vec<Vec<&str>> = vec![vec!["apiVersion"], vec!["kind"], vec!["metadata"]];
        paths.extend(STRIPPED_METADATA.iter().map(|name| vec!["metadata", name]));
        let paths: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
        Set::of_fields(&paths)
    });
    &STRIPPED
}
