//! The hub: hands every change to the watchers concerned, and to no others.
//!
//! The feed is the only one who dispatches. A watcher that reads in time is *live*: it stands in
//! the index and gets a pointer pushed into its queue. One that does not is moved *behind*: nothing
//! is queued for it any more; when it reads again it catches up from the window by itself. Only
//! when the window has passed it by is it cut off. So a slow watcher costs the others nothing.
//!
//! Locks are taken in the order hub, queue.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;

use super::object::CachedObject;
use super::stats::CacherStats;
use super::window::{Change, EventFrame, Window};
use crate::storage::{Error, Revision};

/// Events queued for one watcher before it is moved behind.
pub const WATCHER_QUEUE_MAX: usize = 256;
/// Changes a watcher takes from the window at a time.
const CATCH_UP_CHANGES: usize = 256;

/// Selects objects for a watcher or a list.
pub type Filter = Arc<dyn Fn(&CachedObject) -> bool + Send + Sync>;

/// Which objects a watch is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All objects of the cache.
    All,
    /// Those of one namespace.
    Namespace(String),
    /// One object, by full storage key.
    Key(String),
    /// Those whose selectable field (position in the resource's `selectable_fields`) has a value;
    /// an index for watchers like a kubelet's `spec.nodeName=n`. The filter still applies.
    Field(usize, String),
}

impl Scope {
    pub(super) fn holds(&self, object: &CachedObject) -> bool {
        match self {
            Scope::All => true,
            Scope::Namespace(namespace) => object.namespace() == namespace,
            Scope::Key(key) => object.key() == key,
            Scope::Field(position, value) => object.field_at(*position) == Some(value),
        }
    }
}

/// One watcher as the hub knows it.
pub(super) struct Watcher {
    scope: Scope,
    filter: Option<Filter>,
    /// Changes up to this revision are not for it.
    after: Revision,
    queue: Mutex<Queue>,
    /// Place in its bucket, to leave in constant time.
    slot: AtomicUsize,
}

struct Queue {
    frames: VecDeque<Arc<EventFrame>>,
    mode: Mode,
    waker: Option<Waker>,
}

enum Mode {
    /// In the index.
    Live,
    /// Not in the index; next change to read from the window.
    Behind(u64),
    /// Over.
    Ended(Option<Error>),
}

/// What a watcher finds in its queue.
pub(super) enum Taken {
    /// Frames were moved out.
    Frames,
    /// Nothing; the waker is registered.
    Empty,
    /// Nothing; the rest is in the window.
    Behind(u64),
    /// The watch is over.
    Ended(Option<Error>),
}

impl Watcher {
    pub(super) fn new(
        scope: Scope,
        filter: Option<Filter>,
        after: Revision,
        position: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            scope,
            filter,
            after,
            queue: Mutex::new(Queue {
                frames: VecDeque::new(),
                mode: Mode::Behind(position),
                waker: None,
            }),
            slot: AtomicUsize::new(usize::MAX),
        })
    }

    pub(super) fn selects(&self, object: &CachedObject) -> bool {
        self.scope.holds(object) && self.filter.as_ref().is_none_or(|filter| filter(object))
    }

    fn sees(&self, change: &Change) -> Option<Arc<EventFrame>> {
        if change.revision <= self.after {
            return None;
        }
        change.seen_by(|object| self.selects(object))
    }

    /// Moves what is queued to `into`.
    pub(super) fn take(&self, into: &mut VecDeque<Arc<EventFrame>>, cx: &Context<'_>) -> Taken {
        let mut queue = self.queue.lock();
        if !queue.frames.is_empty() {
            std::mem::swap(&mut queue.frames, into);
            return Taken::Frames;
        }
        match &mut queue.mode {
            Mode::Behind(position) => Taken::Behind(*position),
            Mode::Ended(error) => Taken::Ended(error.take()),
            Mode::Live => {
                if !queue
                    .waker
                    .as_ref()
                    .is_some_and(|w| w.will_wake(cx.waker()))
                {
                    queue.waker = Some(cx.waker().clone());
                }
                Taken::Empty
            }
        }
    }

    /// Pushes one change. False when the watcher must leave the index.
    fn push(&self, change: &Change, position: u64, stats: &CacherStats) -> bool {
        let Some(frame) = self.sees(change) else {
            return true;
        };
        let mut queue = self.queue.lock();
        let room = queue.frames.len() < WATCHER_QUEUE_MAX;
        if room {
            queue.frames.push_back(frame);
            stats.events_dispatched.add(1);
        } else {
            queue.mode = Mode::Behind(position);
        }
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        room
    }

    fn end(&self, error: Option<Error>) {
        let mut queue = self.queue.lock();
        queue.frames.clear();
        queue.mode = Mode::Ended(error);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn position_behind(&self) -> Option<u64> {
        match self.queue.lock().mode {
            Mode::Behind(position) => Some(position),
            _ => None,
        }
    }
}

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

    fn push(
        &mut self,
        change: &Change,
        position: u64,
        stats: &CacherStats,
        behind: &mut Vec<Arc<Watcher>>,
    ) {
        let mut slot = 0;
        while let Some(watcher) = self.0.get(slot) {
            if watcher.push(change, position, stats) {
                slot += 1;
            } else {
                behind.push(self.remove_at(slot));
            }
        }
    }
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

    fn push(
        &mut self,
        change: &Change,
        position: u64,
        stats: &CacherStats,
        behind: &mut Vec<Arc<Watcher>>,
    ) {
        let Some(object) = change.any() else { return };
        self.all.push(change, position, stats, behind);
        if let Some(bucket) = self.namespaces.get_mut(object.namespace()) {
            bucket.push(change, position, stats, behind);
        }
        if let Some(bucket) = self.keys.get_mut(object.key()) {
            bucket.push(change, position, stats, behind);
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
                bucket.push(change, position, stats, behind);
            }
            if let Some(bucket) = now.and_then(|now| values.get_mut(&now)) {
                bucket.push(change, position, stats, behind);
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
    stats: Arc<CacherStats>,
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
            stats,
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

    /// Takes changes into the window and hands them to the watchers concerned. `lost` is the
    /// revision of a resync, when the changes are its outcome.
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
        for change in changes {
            let position = inner.window.next();
            inner
                .index
                .push(&change, position, &self.stats, &mut inner.behind);
            inner.window.push(change);
        }
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
