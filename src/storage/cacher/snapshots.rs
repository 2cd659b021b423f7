//! Snapshots: states at recent revisions, kept for the pages of a list that are still to come.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::objects::Objects;
use crate::storage::Revision;

/// Most snapshots kept. Older pages are reconstructed from the window or read from the store.
const SNAPSHOTS_MAX: usize = 64;
/// How long a snapshot is kept, as long as etcd's history by default lasts at least.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(300);

/// A small ring of states by revision.
#[derive(Default)]
pub(super) struct Snapshots(Mutex<VecDeque<(Revision, Instant, Objects)>>);

impl Snapshots {
    pub(super) fn get(&self, revision: Revision) -> Option<Objects> {
        let kept = self.0.lock();
        kept.iter()
            .find_map(|(at, _, objects)| (*at == revision).then(|| objects.clone()))
    }

    pub(super) fn put(&self, revision: Revision, objects: Objects) {
        let now = Instant::now();
        let mut kept = self.0.lock();
        kept.retain(|(at, since, _)| {
            *at != revision && now.duration_since(*since) < SNAPSHOT_AGE_MAX
        });
        if kept.len() == SNAPSHOTS_MAX {
            kept.pop_front();
        }
        kept.push_back((revision, now, objects));
    }

    /// Drops what is too old to be asked for, so that it does not hold memory.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        self.0
            .lock()
            .retain(|(_, since, _)| now.duration_since(*since) < SNAPSHOT_AGE_MAX);
    }

    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}
