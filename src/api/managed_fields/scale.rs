//! Who owns the replicas, seen through the scale subresource and back.

use super::entries::{Entries, Entry};
use super::set::Set;
use crate::base::tree::Value;

/// Where a kind keeps its replicas: apiVersion and path.
pub type ReplicasPaths<'a> = &'a [(String, Vec<&'a str>)];

const SCALE_VERSION: &str = "autoscaling/v1";
const SCALE_REPLICAS: &[&str] = &["spec", "replicas"];

fn path_of<'a>(paths: ReplicasPaths<'a>, api_version: &str) -> Option<&'a [&'a str]> {
    let found = paths.iter().find(|(version, _)| version == api_version);
    found.map(|(_, path)| path.as_slice())
}

/// The entries that a Scale has: those of its owner that own the replicas.
pub fn entries_of_scale(parent: Option<&Value>, paths: ReplicasPaths<'_>) -> Option<Value> {
    let mut entries = Entries::decode(parent).unwrap_or_default();
    entries.0.retain_mut(|entry| {
        let owns = path_of(paths, &entry.api_version).is_some_and(|path| entry.set.has_field(path));
        entry.api_version = SCALE_VERSION.into();
        entry.replace(Set::of_fields(&[SCALE_REPLICAS]));
        owns
    });
    entries.encode()
}

/// The entries of the owner after its Scale has `scale`'s.
pub fn entries_of_parent(
    parent: Option<&Value>,
    scale: Option<&Value>,
    paths: ReplicasPaths<'_>,
    api_version: &str,
) -> Option<Value> {
    let entries = Entries::decode(parent).unwrap_or_default();
    let mut new = Entries::decode(scale).unwrap_or_default();
    let mut out = Entries::default();
    for mut entry in entries.0 {
        let Some(path) = path_of(paths, &entry.api_version) else {
            continue;
        };
        if !entry.set.has_field(path) {
            out.0.push(entry);
            continue;
        }
        let kept = new.0.iter().position(|other| same_writer(other, &entry));
        match kept {
            Some(at) => {
                new.0.remove(at);
            }
            None => entry.replace(entry.set.difference(&Set::of_fields(&[path]))),
        }
        if !entry.set.is_empty() {
            out.0.push(entry);
        }
    }
    let path = path_of(paths, api_version).unwrap_or(SCALE_REPLICAS);
    for entry in new.0 {
        let mut added = Entry::new(&entry.manager, entry.operation, api_version, "scale");
        added.replace(Set::of_fields(&[path]));
        match out.position(&added) {
            Some(at) => {
                let joined = out.0[at].set.union(&added.set);
                out.0[at].replace(joined);
            }
            None => out.0.push(added),
        }
    }
    out.encode()
}

/// Scale entries have a version of their own.
fn same_writer(scale: &Entry, parent: &Entry) -> bool {
    scale.manager == parent.manager
        && scale.operation == parent.operation
        && scale.subresource == parent.subresource
}
