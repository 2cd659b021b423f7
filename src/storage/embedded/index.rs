//! The index in memory: every key with the revisions of its uncompacted versions.
//!
//! Read under a shared lock by everybody, changed by the writer (new revisions) and by compaction.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use smallvec::SmallVec;

use crate::storage::{Error, Revision};

/// The revision of a store that was never written.
pub(super) const FIRST_REVISION: Revision = 1;

/// One version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// Revision of the write.
    pub(super) revision: Revision,
    /// Revision at which the key was created; zero when this version is a delete.
    pub(super) create_revision: Revision,
}

impl Version {
    pub(super) fn is_delete(self) -> bool {
        self.create_revision == 0
    }
}

/// Versions of one key, oldest first; mostly one or two.
type Versions = SmallVec<[Version; 1]>;

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    keys: BTreeMap<Box<str>, Versions>,
    /// Last write under the prefixes somebody asked for; they end in `/`.
    folders: HashMap<Box<str>, Revision>,
    revision: Revision,
    compact_revision: Revision,
}

/// A part of the keys of a prefix, see [`Index::scan`].
pub(super) struct Scanned {
    /// Live keys at the revision.
    pub(super) found: Vec<(Box<str>, Version)>,
    /// Live keys beyond those asked for.
    pub(super) uncounted: u64,
    /// Where to go on; `None` at the end of the prefix.
    pub(super) next: Option<Box<str>>,
}

/// What [`Index::prune`] dropped.
pub(super) struct Pruned {
    /// Keys and revisions of versions nobody can reach.
    pub(super) dropped: Vec<(Box<str>, Revision)>,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<Box<str>>,
}

impl Index {
    /// An index of what was recovered: versions in key order, then in revision order.
    pub(super) fn new(compact_revision: Revision) -> Self {
        Self {
            keys: BTreeMap::new(),
            folders: HashMap::new(),
            revision: FIRST_REVISION,
            compact_revision,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn compact_revision(&self) -> Revision {
        self.compact_revision
    }

    /// The live version of a key.
    pub(super) fn current(&self, key: &str) -> Option<Version> {
        let last = *self.keys.get(key)?.last()?;
        (!last.is_delete()).then_some(last)
    }

    /// Adds a version; revisions may come in any order across keys, but not within one.
    pub(super) fn add(&mut self, key: &str, version: Version) {
        self.revision = self.revision.max(version.revision);
        self.note_folders(key, version.revision);
        match self.keys.get_mut(key) {
            Some(versions) => versions.push(version),
            None => {
                self.keys.insert(key.into(), smallvec::smallvec![version]);
            }
        }
    }

    /// The last write under `folder`, once [`Index::track`] was told of it.
    pub(super) fn last_under(&self, folder: &str) -> Option<Revision> {
        self.folders.get(folder).copied()
    }

    /// Notes writes under `folder` from now on.
    pub(super) fn track(&mut self, folder: &str) {
        if !self.folders.contains_key(folder) {
            self.folders.insert(folder.into(), self.revision);
        }
    }

    fn note_folders(&mut self, key: &str, revision: Revision) {
        if self.folders.is_empty() {
            return;
        }
        for (at, _) in key.match_indices('/') {
            if let Some(last) = self.folders.get_mut(&key[..=at]) {
                *last = revision.max(*last);
            }
        }
    }

    /// Checks that `revision` can be read.
    pub(super) fn check_readable(&self, revision: Revision) -> Result<(), Error> {
        if revision < self.compact_revision {
            return Err(self.compacted());
        }
        if revision > self.revision {
            return Err(Error::FutureRevision {
                wanted: revision,
                current: self.revision,
            });
        }
        Ok(())
    }

    /// Checks that everything after `after` is still in the log. The future may be watched.
    pub(super) fn check_watchable(&self, after: Revision) -> Result<(), Error> {
        if after.saturating_add(1) < self.compact_revision {
            return Err(self.compacted());
        }
        Ok(())
    }

    fn compacted(&self) -> Error {
        Error::Compacted {
            compact_revision: self.compact_revision,
        }
    }

    /// Walks at most `steps` keys of `prefix` from `start` on, as they were at `revision`, and
    /// answers the first `wanted` that lived then.
    pub(super) fn scan(
        &self,
        prefix: &str,
        start: &str,
        revision: Revision,
        wanted: usize,
        steps: usize,
    ) -> Scanned {
        let mut scanned = Scanned {
            found: Vec::new(),
            uncounted: 0,
            next: None,
        };
        let range = (Bound::Included(start), Bound::Unbounded);
        for (step, (key, versions)) in self.keys.range::<str, _>(range).enumerate() {
            if !key.starts_with(prefix) {
                break;
            }
            if step == steps {
                scanned.next = Some(key.clone());
                break;
            }
            let Some(version) = version_at(versions, revision) else {
                continue;
            };
            if scanned.found.len() < wanted {
                scanned.found.push((key.clone(), version));
            } else {
                scanned.uncounted += 1;
            }
        }
        scanned
    }

    /// Raises the compact revision; history is dropped by [`Index::prune`] afterwards.
    pub(super) fn set_compact_revision(&mut self, revision: Revision) {
        self.compact_revision = self.compact_revision.max(revision);
    }

    /// Drops what the compact revision hides among at most `steps` keys from `start` on. Answers
    /// the dropped versions and where to go on.
    pub(super) fn prune(&mut self, start: &str, steps: usize) -> Pruned {
        let compact_revision = self.compact_revision;
        let mut dropped = Vec::new();
        let mut empty = Vec::new();
        let mut next = None;
        let range = (Bound::Included(start), Bound::Unbounded);
        for (step, (key, versions)) in self.keys.range_mut::<str, _>(range).enumerate() {
            if step == steps {
                next = Some(key.clone());
                break;
            }
            let hidden = hidden_versions(versions, compact_revision);
            let gone = versions.drain(..hidden);
            dropped.extend(gone.map(|version| (key.clone(), version.revision)));
            if versions.is_empty() {
                empty.push(key.clone());
            }
        }
        for key in empty {
            self.keys.remove(&key);
        }
        Pruned { dropped, next }
    }
}

/// The version readable at `revision`, if the key lived then.
fn version_at(versions: &[Version], revision: Revision) -> Option<Version> {
    let version = versions.iter().rev().find(|v| v.revision <= revision)?;
    (!version.is_delete()).then_some(*version)
}

/// How many of the oldest versions nobody can reach any more: those superseded at the compact
/// revision, and a delete before it. A delete at the compact revision itself can be watched.
fn hidden_versions(versions: &[Version], compact_revision: Revision) -> usize {
    let until = versions.partition_point(|v| v.revision <= compact_revision);
    let Some(visible) = until.checked_sub(1) else {
        return 0;
    };
    let version = versions[visible];
    if version.is_delete() && version.revision < compact_revision {
        return until;
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions written as `revision` (put) or `-revision` (delete).
    fn versions(list: &[i64]) -> Vec<Version> {
        list.iter()
            .map(|&r| Version {
                revision: r.unsigned_abs(),
                create_revision: u64::from(r > 0),
            })
            .collect()
    }

    #[test]
    fn compaction_hides_only_the_unreachable() {
        for (list, compact_revision, hidden) in [
            (&[5][..], 4, 0),
            (&[5], 9, 0),
            (&[5, 7, 9], 8, 1),
            (&[5, 7, 9], 7, 1),
            (&[5, 7, 9], 9, 2),
            (&[5, -7], 7, 1),
            (&[5, -7], 8, 2),
            (&[5, -7, 9], 8, 2),
            (&[-7], 3, 0),
        ] {
            let got = hidden_versions(&versions(list), compact_revision);
            assert_eq!(got, hidden, "{list:?} at {compact_revision}");
        }
    }

    #[test]
    fn reads_the_past() {
        let list = versions(&[5, -7, 9]);
        for (revision, found) in [
            (4, None),
            (5, Some(5)),
            (6, Some(5)),
            (7, None),
            (9, Some(9)),
        ] {
            let got = version_at(&list, revision).map(|v| v.revision);
            assert_eq!(got, found, "at {revision}");
        }
    }
}
