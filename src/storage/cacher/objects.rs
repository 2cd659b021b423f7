//! `Objects`: all objects of a cache at one moment, as a persistent ordered set.
//!
//! A copy is a pointer copy; writer and readers never wait for each other.

use std::ops::Bound;
use std::sync::Arc;

use foldhash::quality::RandomState;
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdSet};

use super::object::{ByKey, CachedObject};

/// The objects, ordered by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    set: OrdSet<ByKey>,
    /// The same objects by the hash of their keys, which have long beginnings in common: comparing
    /// them on the way down the ordered set was a good part of a get.
    by_key: GenericHashMap<ByKey, (), RandomState, DefaultSharedPtr>,
}

impl Objects {
    pub(super) fn len(&self) -> usize {
        self.set.len()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Arc<CachedObject>> {
        let found = self.by_key.get_key_value(key)?;
        Some(&found.0.0)
    }

    pub(super) fn insert(&mut self, object: Arc<CachedObject>) -> Option<Arc<CachedObject>> {
        // An equal member is replaced as a whole, which std's sets don't promise but imbl's do.
        self.by_key.insert(ByKey(object.clone()), ());
        self.set.insert(ByKey(object)).map(|old| old.0)
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Arc<CachedObject>> {
        self.by_key.remove(key);
        self.set.remove(key).map(|old| old.0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<CachedObject>> {
        self.set.iter().map(|member| &member.0)
    }

    /// The objects whose key begins with `prefix`, from `start` on (inclusive), in key order.
    pub(super) fn range<'a>(
        &'a self,
        prefix: &str,
        start: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<CachedObject>> {
        let from = match start {
            Some(start) if start > prefix => start,
            _ => prefix,
        };
        let end = successor(prefix);
        let upper = match &end {
            Some(end) if end.as_str() >= from => Bound::Excluded(end.as_str()),
            Some(_) => Bound::Excluded(from),
            None => Bound::Unbounded,
        };
        self.set
            .range::<_, str>((Bound::Included(from), upper))
            .map(|member| &member.0)
    }
}

impl FromIterator<Arc<CachedObject>> for Objects {
    fn from_iter<I: IntoIterator<Item = Arc<CachedObject>>>(objects: I) -> Self {
        let set: OrdSet<ByKey> = objects.into_iter().map(ByKey).collect();
        Self {
            by_key: set.iter().map(|member| (member.clone(), ())).collect(),
            set,
        }
    }
}

/// The smallest text greater than every text that begins with `prefix`. Prefixes end in `/`, so
/// the last character always has a successor.
fn successor(prefix: &str) -> Option<String> {
    let mut end = prefix.to_string();
    let last = end.pop()?;
    let next = char::from_u32(last as u32 + 1)?;
    end.push(next);
    Some(end)
}
