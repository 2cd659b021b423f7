//! The event window: the recent changes, kept so that watches can start in the past, fall behind
//! and catch up, and so that recent revisions can be read exactly.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::object::{CachedObject, EventType};
use super::objects::Objects;
use crate::storage::Revision;

/// Fewest events the window has room for.
pub const WINDOW_EVENTS_MIN: usize = 100;
/// Most events the window has room for.
pub const WINDOW_EVENTS_MAX: usize = 102_400;
/// The window grows while its events are younger than this.
pub const WINDOW_FRESH: Duration = Duration::from_secs(75);

/// One change of one object, shared by the window and all watchers.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) revision: Revision,
    /// After the change; `None` when it was deleted.
    pub(super) object: Option<Arc<CachedObject>>,
    /// Before the change; `None` when it did not exist.
    pub(super) previous: Option<Arc<CachedObject>>,
    at: Instant,
    added: OnceLock<Arc<EventFrame>>,
    modified: OnceLock<Arc<EventFrame>>,
    deleted: OnceLock<Arc<EventFrame>>,
}

/// One event as all watchers who get it share it.
#[derive(Debug)]
pub struct EventFrame {
    event: EventType,
    object: Arc<CachedObject>,
    bytes: Bytes,
}

impl EventFrame {
    pub(super) fn new(event: EventType, object: Arc<CachedObject>) -> Self {
        let bytes = object.frame(event);
        Self {
            event,
            object,
            bytes,
        }
    }

    /// `{"type":"…","object":{…}}` and a newline.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What happened.
    pub fn event(&self) -> EventType {
        self.event
    }

    /// The object; for deletions its last state under the revision of the deletion.
    pub fn object(&self) -> &Arc<CachedObject> {
        &self.object
    }

    /// Revision of the event.
    pub fn revision(&self) -> Revision {
        self.object.revision()
    }
}

impl Change {
    pub(super) fn new(
        revision: Revision,
        object: Option<Arc<CachedObject>>,
        previous: Option<Arc<CachedObject>>,
    ) -> Self {
        Self {
            revision,
            object,
            previous,
            at: Instant::now(),
            added: OnceLock::new(),
            modified: OnceLock::new(),
            deleted: OnceLock::new(),
        }
    }

    /// The key's object, in whichever state there is.
    pub(super) fn any(&self) -> Option<&Arc<CachedObject>> {
        self.object.as_ref().or(self.previous.as_ref())
    }

    /// What a watcher that selects by `selects` sees of this change (contract/verbs.md §10).
    pub(super) fn seen_by(
        &self,
        selects: impl Fn(&CachedObject) -> bool,
    ) -> Option<Arc<EventFrame>> {
        let now = self.object.as_ref().filter(|object| selects(object));
        let before = self.previous.as_ref().filter(|object| selects(object));
        let (cell, event, object) = match (now, before) {
            (Some(now), None) => (&self.added, EventType::Added, now),
            (Some(now), Some(_)) => (&self.modified, EventType::Modified, now),
            (None, Some(before)) => (&self.deleted, EventType::Deleted, before),
            (None, None) => return None,
        };
        let frame = cell.get_or_init(|| {
            let object = match event {
                EventType::Deleted => Arc::new(object.at_revision(self.revision, event)),
                _ => object.clone(),
            };
            Arc::new(EventFrame::new(event, object))
        });
        Some(frame.clone())
    }
}

/// The ring of changes. Positions ([`Window::next`]) count changes since the start of the cache.
#[derive(Debug)]
pub(super) struct Window {
    changes: VecDeque<Arc<Change>>,
    /// Position of the front change.
    first: u64,
    capacity: usize,
    capacity_max: usize,
    /// All changes after this revision are in the window.
    oldest: Revision,
    /// Every revision from this on can be reconstructed (a resync loses those in between).
    exact_from: Revision,
    /// The objects after the newest change.
    pub(super) objects: Objects,
}

impl Window {
    pub(super) fn new(objects: Objects, revision: Revision, first: u64, max: usize) -> Self {
        Self {
            changes: VecDeque::new(),
            first,
            capacity: WINDOW_EVENTS_MIN.min(max),
            capacity_max: max,
            oldest: revision,
            exact_from: revision,
            objects,
        }
    }

    pub(super) fn oldest(&self) -> Revision {
        self.oldest
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Position behind the newest change.
    pub(super) fn next(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Revisions between the last change and `revision` were lost; only the outcome is known.
    pub(super) fn mark_resync(&mut self, revision: Revision) {
        self.exact_from = revision;
    }

    pub(super) fn push(&mut self, change: Arc<Change>) {
        if self.changes.len() >= self.capacity {
            self.resize(change.at);
        }
        while self.changes.len() >= self.capacity {
            let Some(dropped) = self.changes.pop_front() else {
                break;
            };
            self.oldest = dropped.revision;
            self.first += 1;
        }
        self.changes.push_back(change);
    }

    /// Grows a full window whose events are all fresh; shrinks one that is mostly stale.
    fn resize(&mut self, now: Instant) {
        let age = |index: usize| {
            self.changes.get(index).map_or(Duration::ZERO, |change| {
                now.saturating_duration_since(change.at)
            })
        };
        if age(0) < WINDOW_FRESH {
            self.capacity = (self.capacity * 2).min(self.capacity_max);
        } else if age(self.changes.len() * 3 / 4) > WINDOW_FRESH {
            self.capacity = (self.capacity / 2).max(WINDOW_EVENTS_MIN.min(self.capacity_max));
            self.changes.shrink_to(self.capacity);
        }
    }

    /// Position of the first change after `revision`; `None` when changes after it are gone.
    pub(super) fn position_after(&self, revision: Revision) -> Option<u64> {
        if revision < self.oldest {
            return None;
        }
        let index = self
            .changes
            .partition_point(|change| change.revision <= revision);
        Some(self.first + index as u64)
    }

    /// Up to `limit` changes from `position` on; `None` when it has left the window.
    pub(super) fn read(&self, position: u64, limit: usize) -> Option<Vec<Arc<Change>>> {
        let skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let changes = self.changes.iter().skip(skip).take(limit);
        Some(changes.cloned().collect())
    }

    /// The newest state and the changes to take back, newest first, to be at `revision`.
    pub(super) fn back_to(&self, revision: Revision) -> Option<(Objects, Vec<Arc<Change>>)> {
        if revision < self.exact_from || revision < self.oldest {
            return None;
        }
        let after = self
            .changes
            .iter()
            .rev()
            .take_while(|change| change.revision > revision);
        Some((self.objects.clone(), after.cloned().collect()))
    }
}

/// Takes changes back, newest first.
pub(super) fn take_back(objects: &mut Objects, changes: &[Arc<Change>]) {
    for change in changes {
        match (&change.previous, &change.object) {
            (Some(previous), _) => {
                objects.insert(previous.clone());
            }
            (None, Some(object)) => {
                objects.remove(object.key());
            }
            (None, None) => {}
        }
    }
}
