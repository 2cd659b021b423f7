//! One watcher as the hub knows it: what it is about, and the queue between it and the dispatcher.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Waker};

use parking_lot::Mutex;

use super::object::CachedObject;
use super::window::{Change, EventFrame};
use crate::storage::{Error, Revision};

/// Events queued for one watcher before it is moved behind.
pub const WATCHER_QUEUE_MAX: usize = 256;

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
    pub(super) scope: Scope,
    filter: Option<Filter>,
    /// Changes up to this revision are not for it.
    after: Revision,
    pub(super) queue: Mutex<Queue>,
    /// Place in its bucket, to leave in constant time.
    pub(super) slot: AtomicUsize,
}

pub(super) struct Queue {
    frames: VecDeque<Arc<EventFrame>>,
    pub(super) mode: Mode,
    waker: Option<Waker>,
}

pub(super) enum Mode {
    /// In the index.
    Live,
    /// Not in the index; next change to read from the window.
    Behind(u64),
    /// Over.
    Ended(Option<Error>),
}

/// What became of a change that was pushed.
#[derive(PartialEq, Eq)]
pub(super) enum Pushed {
    /// It does not concern the watcher.
    Nothing,
    /// It is in the queue.
    Queued,
    /// There was no room: the watcher must leave the index.
    Full,
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

    pub(super) fn sees(&self, change: &Change) -> Option<Arc<EventFrame>> {
        if change.revision <= self.after {
            return None;
        }
        match (&self.scope, &self.filter) {
            (Scope::Field(..), _) | (_, Some(_)) => change.seen_by(|object| self.selects(object)),
            // Both states have the same key: if one is in the scope, both are.
            (scope, None) if scope.holds(change.any()?) => change.seen_by(|_| true),
            _ => None,
        }
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

    /// Pushes one change. Whom to wake when all changes are pushed goes to `wake`: woken earlier, a
    /// watcher would send them one by one.
    pub(super) fn push(&self, change: &Change, position: u64, wake: &mut Vec<Waker>) -> Pushed {
        let Some(frame) = self.sees(change) else {
            return Pushed::Nothing;
        };
        let mut queue = self.queue.lock();
        wake.extend(queue.waker.take());
        if queue.frames.len() < WATCHER_QUEUE_MAX {
            queue.frames.push_back(frame);
            return Pushed::Queued;
        }
        queue.mode = Mode::Behind(position);
        Pushed::Full
    }

    pub(super) fn end(&self, error: Option<Error>) {
        let mut queue = self.queue.lock();
        queue.frames.clear();
        queue.mode = Mode::Ended(error);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn position_behind(&self) -> Option<u64> {
        match self.queue.lock().mode {
            Mode::Behind(position) => Some(position),
            _ => None,
        }
    }
}
