//! Compaction: forgets what the compact revision hides.
//!
//! The compact revision becomes durable first, then readers are refused, then versions go. A crash
//! in between leaves versions that nobody can reach; the next compaction takes them.

use super::Shared;
use super::tables::Tables;
use crate::storage::{Error, Revision};

/// Keys examined under one hold of the index lock.
const KEYS_PER_LOCK: usize = 2048;

/// Compacts; blocks on disk. Compacting at or below the compact revision does nothing.
pub(super) fn compact(shared: &Shared, tables: &Tables, revision: Revision) -> Result<(), Error> {
    {
        let index = shared.index.read();
        if revision <= index.compact_revision() {
            return Ok(());
        }
        index.check_readable(revision)?;
    }
    tables.write_compact_revision(revision)?;
    shared.index.write().set_compact_revision(revision);
    let mut from: Box<str> = "".into();
    loop {
        let pruned = shared.index.write().prune(&from, KEYS_PER_LOCK);
        tables.drop_versions(&pruned.dropped)?;
        match pruned.next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}
