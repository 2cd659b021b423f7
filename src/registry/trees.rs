//! Trees of objects that admission reads with every write: namespaces, service accounts, classes.
//!
//! Called by [`super::objects`]; what is read to be changed gets a tree of its own instead.
//!
//! # Decisions
//! - A place per hash of the key instead of a map with an order of use: nothing to keep in order, and
//!   two objects that share a place cost what they cost without it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::api::resource::Resource;
use crate::base::tree::Value;
use crate::storage::cacher::CachedObject;

/// Trees that are kept.
const PLACES: usize = 512;
/// Longest text, in bytes, whose tree is kept.
const TEXT_BYTES_MAX: usize = 4096;

/// See the module.
pub(super) struct Trees {
    places: Box<[Mutex<Option<Kept>>]>,
    hasher: RandomState,
}

/// A tree, and what it was made of.
struct Kept {
    object: Arc<CachedObject>,
    row: Arc<Resource>,
    tree: Arc<Value>,
}

impl Trees {
    pub(super) fn new() -> Self {
        Trees {
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The tree of exactly this copy of an object in the version of `row`; made if it is not kept.
    pub(super) fn get<E>(
        &self,
        object: &Arc<CachedObject>,
        row: &Arc<Resource>,
        make: impl FnOnce() -> Result<Value, E>,
    ) -> Result<Arc<Value>, E> {
        if object.text().len() > TEXT_BYTES_MAX {
            return make().map(Arc::new);
        }
        let place = self.hasher.hash_one(object.key()) as usize % PLACES;
        let place = &self.places[place];
        if let Some(kept) = &*place.lock()
            && Arc::ptr_eq(&kept.object, object)
            && Arc::ptr_eq(&kept.row, row)
        {
            return Ok(kept.tree.clone());
        }
        let tree = Arc::new(make()?);
        let kept = Kept {
            object: object.clone(),
            row: row.clone(),
            tree: tree.clone(),
        };
        let before = place.lock().replace(kept);
        drop(before);
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::bytes::Shape;
    use crate::storage::cacher::EventType;

    fn object(key: &str, padding: usize) -> Arc<CachedObject> {
        let text = format!(
            r#"{{"kind":"A","apiVersion":"v1","metadata":{{"name":"{}"}}}}"#,
            "x".repeat(padding)
        );
        let shape = Arc::new(Shape::new(&[]));
        let made = CachedObject::from_json(key, 0, &shape, text.as_bytes(), 1, EventType::Added);
        Arc::new(made.expect("good JSON"))
    }

    #[test]
    fn only_the_same_copy_is_found_again() {
        let row = crate::registry::table::builtin()[0].clone();
        let trees = Trees::new();
        let mut made = 0;
        let mut get = |object: &Arc<CachedObject>| {
            let tree = trees.get(object, &row, || {
                made += 1;
                Ok::<_, ()>(Value::from(made))
            });
            tree.expect("made")
        };
        let (first, newer) = (object("/a", 1), object("/a", 1));
        assert_eq!(*get(&first), 1);
        assert_eq!(*get(&first), 1);
        assert_eq!(*get(&newer), 2);
        assert_eq!(*get(&newer), 2);
        assert_eq!(*get(&first), 3);
        let large = object("/b", TEXT_BYTES_MAX);
        assert_eq!(*get(&large), 4);
        assert_eq!(*get(&large), 5);
    }
}
