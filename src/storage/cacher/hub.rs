//! The hub: hands every change to the watchers concerned, and to no others.
//!
//! The feed is the only one who dispatches. A watcher that reads in time is *live*: it stands in
//! the index and gets a pointer pushed into its queue. One that does not is moved *behind*: nothing
//! is queued for it any more; when it reads again it catches up from the window by itself. Only
//! when the window has passed it by is it cut off. So a slow watcher costs the others nothing.
//!
//! A change that many watchers want wakes them [`GATHER`] later: changes come in bursts, and one write
//! of several events costs each of them little more than a write of one.
//!
//! Locks are taken in the order hub, queue.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::object::CachedObject;
use super::stats::CacherStats;
use super::watcher::{Mode, Pushed, Scope, Watcher};
use super::window::{Change, EventFrame, Window};
use crate::storage::{Error, Revision};

/// Changes a watcher takes from the window at a time.
const CATCH_UP_CHANGES: usize = 256;

/// Watchers woken at once that are told a little later.
const MANY: usize = 32;
/// How much later.
const GATHER: Duration = Duration::from_millis(2);

/// Watchers that want the same changes.
#[derive(Default)]
struct Bucket(Vec<Arc<Watcher>>);

impl Bucket {
    fn add(&mut self, watcher: Arc<Watcher>) {
        watcher.slot.store(self.0.len(), Ordering::Relaxed);
        self.0.push(watcher);
    }

    fn remove_at(&mut self, slot: usize) -> Arc<Watcher> {
        let removed = self.0.swap_remove(slot);
        removed.slot.store(usize::MAX, Ordering::Relaxed);
        if let Some(moved) = self.0.get(slot) {
            moved.slot.store(slot, Ordering::Relaxed);
        }
        removed
    }

    fn remove(&mut self, watcher: &Arc<Watcher>) {
        let slot = watcher.slot.load(Ordering::Relaxed);
        if self.0.get(slot).is_some_and(|at| Arc::ptr_eq(at, watcher)) {
            self.remove_at(slot);
        }
    }

    fn push(&mut self, change: &Change, position: u64, outcome: &mut Outcome<'_>) {
        let mut slot = 0;
        while let Some(watcher) = self.0.get(slot) {
            let pushed = watcher.push(change, position, &mut outcome.wake);
            if pushed == Pushed::Full {
                outcome.behind.push(self.remove_at(slot));
                continue;
            }
            outcome.queued += u64::from(pushed == Pushed::Queued);
            slot += 1;
        }
    }
}

/// What pushing changes came to.
struct Outcome<'a> {
    /// Frames queued.
    queued: u64,
    /// Who has something to read.
    wake: Vec<Waker>,
    /// Who had no room.
    behind: &'a mut Vec<Arc<Watcher>>,
}

/// The live watchers by what they are about.
#[derive(Default)]
struct Index {
    all: Bucket,
    namespaces: HashMap<String, Bucket>,
    keys: HashMap<String, Bucket>,
    fields: HashMap<usize, HashMap<String, Bucket>>,
}

impl Index {
    fn bucket(&mut self, scope: &Scope) -> &mut Bucket {
        match scope {
            Scope::All => &mut self.all,
            Scope::Namespace(namespace) => self.namespaces.entry(namespace.clone()).or_default(),
            Scope::Key(key) => self.keys.entry(key.clone()).or_default(),
            Scope::Field(position, value) => self
                .fields
                .entry(*position)
                .or_default()
                .entry(value.clone())
                .or_default(),
        }
    }

    fn remove(&mut self, watcher: &Arc<Watcher>) {
        let bucket = self.bucket(&watcher.scope);
        bucket.remove(watcher);
        if !bucket.0.is_empty() {
            return;
        }
        match &watcher.scope {
            Scope::All => {}
            Scope::Namespace(namespace) => {
                self.namespaces.remove(namespace);
            }
            Scope::Key(key) => {
                self.keys.remove(key);
            }
            Scope::Field(position, value) => {
                if let Some(values) = self.fields.get_mut(position) {
                    values.remove(value);
                }
            }
        }
    }

    fn push(&mut self, change: &Change, position: u64, outcome: &mut Outcome<'_>) {
        let Some(object) = change.any() else { return };
        self.all.push(change, position, outcome);
        if let Some(bucket) = self.namespaces.get_mut(object.namespace()) {
            bucket.push(change, position, outcome);
        }
        if let Some(bucket) = self.keys.get_mut(object.key()) {
            bucket.push(change, position, outcome);
        }
        for (&field, values) in &mut self.fields {
            let value = |object: &Option<Arc<CachedObject>>| {
                object
                    .as_ref()
                    .and_then(|object| object.field_at(field).map(String::from))
            };
            let (now, before) = (value(&change.object), value(&change.previous));
            if now != before
                && let Some(bucket) = before.and_then(|before| values.get_mut(&before))
            {
                bucket.push(change, position, outcome);
            }
            if let Some(bucket) = now.and_then(|now| values.get_mut(&now)) {
                bucket.push(change, position, outcome);
            }
        }
    }

    fn drain(&mut self) -> Vec<Arc<Watcher>> {
        let taken = std::mem::take(self);
        let fields = taken.fields.into_values().flat_map(HashMap::into_values);
        let buckets = std::iter::once(taken.all)
            .chain(taken.namespaces.into_values())
            .chain(taken.keys.into_values())
            .chain(fields);
        buckets.flat_map(|bucket| bucket.0).collect()
    }
}

/// Window and watchers, under one short lock.
pub(super) struct Hub {
    inner: Mutex<Inner>,
    /// Every change up to this revision has been pushed.
    dispatched: AtomicU64,
    gathered: Mutex<Gathered>,
    stats: Arc<CacherStats>,
}

/// Watchers to be woken, and when.
#[derive(Default)]
struct Gathered {
    wakers: Vec<Waker>,
    at: Option<Instant>,
}

struct Inner {
    window: Window,
    index: Index,
    behind: Vec<Arc<Watcher>>,
}

impl Hub {
    pub(super) fn new(window: Window, stats: Arc<CacherStats>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                window,
                index: Index::default(),
                behind: Vec::new(),
            }),
            dispatched: AtomicU64::new(0),
            gathered: Mutex::default(),
            stats,
        }
    }

    /// When [`Hub::wake_gathered`] is to be called next, if at all.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.gathered.lock().at
    }

    /// Wakes those who have something to read.
    pub(super) fn wake_gathered(&self) {
        let gathered = std::mem::take(&mut *self.gathered.lock());
        gathered.wakers.into_iter().for_each(Waker::wake);
    }

    fn gather(&self, wake: Vec<Waker>) {
        let mut gathered = self.gathered.lock();
        if gathered.at.is_none() && wake.len() < MANY {
            drop(gathered);
            return wake.into_iter().for_each(Waker::wake);
        }
        gathered.wakers.extend(wake);
        let now = Instant::now();
        let is_due = *gathered.at.get_or_insert(now + GATHER) <= now;
        drop(gathered);
        if is_due {
            self.wake_gathered();
        }
    }

    /// Every change up to this revision is in the queues or the window.
    pub(super) fn dispatched(&self) -> Revision {
        self.dispatched.load(Ordering::Acquire)
    }

    /// Nothing up to `revision` is still to come.
    pub(super) fn advance(&self, revision: Revision) {
        self.dispatched.fetch_max(revision, Ordering::AcqRel);
    }

    /// Runs `read` on the window.
    pub(super) fn window<T>(&self, read: impl FnOnce(&Window) -> T) -> T {
        read(&self.inner.lock().window)
    }

    /// Takes changes into the window and hands them to the watchers concerned, who may have to be
    /// woken later, see [`Hub::wake_at`]. `lost` is the revision of a resync, when the changes are
    /// its outcome.
    pub(super) fn dispatch(
        &self,
        changes: Vec<Arc<Change>>,
        objects: super::objects::Objects,
        lost: Option<Revision>,
    ) {
        let Some(last) = changes.last().map(|change| change.revision) else {
            return;
        };
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if let Some(revision) = lost {
            inner.window.mark_resync(revision);
        }
        let mut outcome = Outcome {
            queued: 0,
            wake: Vec::new(),
            behind: &mut inner.behind,
        };
        for change in changes {
            let position = inner.window.next();
            inner.index.push(&change, position, &mut outcome);
            inner.window.push(change);
        }
        let Outcome { queued, wake, .. } = outcome;
        self.stats.events_dispatched.add(queued);
        inner.window.objects = objects;
        let first = inner.window.first();
        inner
            .behind
            .retain(|watcher| match watcher.position_behind() {
                Some(position) if position < first => {
                    watcher.end(None);
                    self.stats.terminated_watchers.add(1);
                    false
                }
                position => position.is_some(),
            });
        self.stats.window_events.set(inner.window.len() as u64);
        self.stats
            .window_capacity
            .set(inner.window.capacity() as u64);
        drop(guard);
        self.advance(last);
        self.gather(wake);
    }

    /// Starts over with another window: every watch ends with `error`.
    pub(super) fn reset(
        &self,
        make: impl FnOnce(u64) -> Window,
        revision: Revision,
        error: &Error,
    ) {
        let mut inner = self.inner.lock();
        // A gap in the positions: whoever still holds an old one is told that it is too old.
        let first = inner.window.next() + 1;
        inner.window = make(first);
        let ended = inner.index.drain();
        let behind = std::mem::take(&mut inner.behind);
        self.dispatched.store(revision, Ordering::Release);
        self.stats.window_events.set(0);
        drop(inner);
        for watcher in ended.into_iter().chain(behind) {
            watcher.end(Some(error.clone()));
        }
        self.wake_gathered();
    }

    /// Reads changes for a watcher that is behind, from `position` on; what it sees goes to
    /// `into`. Makes it live once it has read everything.
    pub(super) fn catch_up(
        &self,
        watcher: &Arc<Watcher>,
        position: u64,
        into: &mut VecDeque<Arc<EventFrame>>,
    ) {
        let mut inner = self.inner.lock();
        let Some(changes) = inner.window.read(position, CATCH_UP_CHANGES) else {
            drop(inner);
            watcher.end(None);
            self.stats.terminated_watchers.add(1);
            return;
        };
        let next = position + changes.len() as u64;
        let live = next >= inner.window.next();
        {
            let mut queue = watcher.queue.lock();
            if matches!(queue.mode, Mode::Ended(_)) {
                return;
            }
            queue.mode = if live { Mode::Live } else { Mode::Behind(next) };
        }
        let known = inner.behind.iter().position(|at| Arc::ptr_eq(at, watcher));
        if live {
            if let Some(known) = known {
                inner.behind.swap_remove(known);
            }
            inner.index.bucket(&watcher.scope).add(watcher.clone());
        } else if known.is_none() {
            inner.behind.push(watcher.clone());
        }
        drop(inner);
        let before = into.len();
        into.extend(changes.iter().filter_map(|change| watcher.sees(change)));
        self.stats
            .events_dispatched
            .add((into.len() - before) as u64);
    }

    /// Forgets a watcher.
    pub(super) fn leave(&self, watcher: &Arc<Watcher>) {
        let mut inner = self.inner.lock();
        inner.index.remove(watcher);
        inner.behind.retain(|at| !Arc::ptr_eq(at, watcher));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn few_are_woken_at_once_and_many_a_little_later() {
        let window = Window::new(super::super::objects::Objects::default(), 0, 0, 10);
        let hub = Hub::new(window, Arc::default());
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let watchers = |count| vec![Waker::from(woken.clone()); count];
        let count = || woken.0.swap(0, Ordering::Relaxed);
        hub.gather(watchers(MANY - 1));
        assert_eq!((count(), hub.wake_at()), (MANY - 1, None));
        hub.gather(watchers(MANY));
        assert_eq!(count(), 0);
        assert!(hub.wake_at().is_some());
        hub.wake_gathered();
        assert_eq!((count(), hub.wake_at()), (MANY, None));
    }
}
