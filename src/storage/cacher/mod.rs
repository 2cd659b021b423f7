//! The watch cache: every object of a resource once, as bytes ready to send; reads, lists and
//! watches are answered from it without asking the store.
//!
//! Called by the registry, one [`Cacher`] per resource. Reading order: `object` (what is kept),
//! `feed` (how it gets in), `read` (get and list), `freshness` (how fresh), `window` and `hub`
//! (changes and who gets them), `watch` (what a watcher reads).
//!
//! # Invariants
//! - Only the feed changes state. It publishes the state before it announces the changes: whoever
//!   is told of a change finds it when reading.
//! - A watcher gets every change it selects after its start, once, in revision order, or its watch
//!   ends. A bookmark says that nothing up to its revision is missing.
//! - [`Freshness::Latest`] is linearizable. Where nothing proves that the cache is fresh (progress
//!   on request, the store's own counter, the pulse), the store itself answers.
//! - Readers never wait for the writer, and watchers never for each other.
//!
//! # Decisions
//! - State is a persistent ordered set: a list works on a snapshot that costs a pointer. Exact
//!   revisions are had by taking back the window's changes from the newest state, instead of
//!   keeping a snapshot per event: the window is there anyway.
//! - An object's text lies inside the frame of the watch event that announced it, so the usual
//!   event costs no bytes beside the object.
//! - Selectors are evaluated by the dispatcher, not by the watchers: a watcher that is not
//!   concerned isn't woken, which costs more than the selector.
//! - A slow watcher catches up from the window instead of being cut off at once; it costs the
//!   others nothing either way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::AbortHandle;
use tokio::time::Instant;

mod feed;
mod freshness;
mod hub;
mod object;
mod objects;
mod pulse;
mod read;
mod snapshots;
mod stats;
mod watch;
mod watcher;
mod window;

pub use freshness::RevisionCheck;
pub use object::{CachedObject, Codec, EventType, FRAME_TAIL, JsonCodec};
pub use read::{FRESH_WAIT, Freshness, GetAnswer, ListAnswer, ListQuery};
pub use stats::{CacherStats, Counter};
pub use watch::{
    BOOKMARK_BEFORE_DEADLINE, BOOKMARK_INTERVAL, Watch, WatchEvent, WatchQuery, WatchStart,
};
pub use watcher::{Filter, Scope, WATCHER_QUEUE_MAX};
pub use window::{EventFrame, WINDOW_EVENTS_MAX, WINDOW_EVENTS_MIN, WINDOW_FRESH};

use crate::storage::{Error, Revision, Storage};
use freshness::Reached;
use hub::Hub;
use objects::Objects;
use snapshots::Snapshots;
use watch::Initial;
use watcher::Watcher;
use window::Window;

/// How a cache is set up.
pub struct CacherOptions {
    /// Storage prefix, with a slash at its end: `/registry/pods/`.
    pub prefix: String,
    /// Makes objects from stored bytes.
    pub codec: Arc<dyn Codec>,
    /// The store's revision check, shared by all caches over it.
    pub check: Arc<RevisionCheck>,
    /// Most events the window has room for; [`WINDOW_EVENTS_MAX`] unless configured.
    pub window_events_max: usize,
}

/// The watch cache of one resource.
pub struct Cacher {
    inner: Arc<Inner>,
    feed: AbortHandle,
}

/// Objects that are looked at to tell how large they are.
const AVERAGE_OF_OBJECTS: usize = 32;

/// What feed, readers and watchers share.
struct Inner {
    storage: Arc<dyn Storage>,
    codec: Arc<dyn Codec>,
    check: Arc<RevisionCheck>,
    prefix: Box<str>,
    window_events_max: usize,
    created: Instant,
    state: ArcSwap<State>,
    reached: Arc<Reached>,
    snapshots: Snapshots,
    hub: Arc<Hub>,
    ready: tokio::sync::watch::Sender<bool>,
    following: AtomicBool,
    stats: Arc<CacherStats>,
}

/// One published state.
#[derive(Default)]
struct State {
    objects: Objects,
    /// Keys that can't be read, and why.
    corrupt: Arc<HashMap<String, String>>,
    /// Revision of the last change in it.
    revision: Revision,
}

impl Inner {
    /// Whether a watch on the store is running.
    fn is_following(&self) -> bool {
        self.following.load(Ordering::Acquire)
    }

    fn set_following(&self, following: bool) {
        self.following.store(following, Ordering::Release);
    }
}

impl Cacher {
    /// Starts filling a cache; it is usable at once (see [`Cacher::list`] for what it answers
    /// before it is filled). Runs on the current tokio runtime until dropped.
    pub fn start(storage: Arc<dyn Storage>, options: CacherOptions) -> Arc<Self> {
        let stats = Arc::new(CacherStats::default());
        let window = Window::new(Objects::default(), 0, 0, options.window_events_max);
        stats.window_capacity.set(window.capacity() as u64);
        let inner = Arc::new(Inner {
            codec: options.codec,
            check: options.check,
            reached: Reached::new(storage.clone(), &options.prefix),
            prefix: options.prefix.into(),
            window_events_max: options.window_events_max,
            created: Instant::now(),
            state: ArcSwap::default(),
            snapshots: Snapshots::default(),
            hub: Arc::new(Hub::new(window, stats.clone())),
            ready: tokio::sync::watch::Sender::new(false),
            following: AtomicBool::new(false),
            stats,
            storage,
        });
        let feed = tokio::spawn(feed::Feed::new(inner.clone()).run()).abort_handle();
        Arc::new(Self { inner, feed })
    }

    /// Whether the cache has been filled.
    pub fn is_ready(&self) -> bool {
        self.inner.is_ready()
    }

    /// Waits until the cache has been filled. False when it took longer than `at_most`.
    pub async fn wait_ready(&self, at_most: Duration) -> bool {
        let mut ready = self.inner.ready.subscribe();
        let wait = tokio::time::timeout(at_most, ready.wait_for(|&ready| ready));
        matches!(wait.await, Ok(Ok(_)))
    }

    /// The storage prefix.
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    /// The revision up to which the cache is complete.
    pub fn revision(&self) -> Revision {
        self.inner.now().1
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.inner.state.load().objects.len()
    }

    /// Whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of an object on average, by the first few.
    pub fn average_bytes(&self) -> usize {
        let state = self.inner.state.load();
        let sample = state.objects.iter().take(AVERAGE_OF_OBJECTS);
        let (count, bytes) = sample.fold((0, 0), |(count, bytes), object| {
            (count + 1, bytes + object.text().len())
        });
        bytes / count.max(1)
    }

    /// The cache's counters.
    pub fn stats(&self) -> &Arc<CacherStats> {
        &self.inner.stats
    }

    /// Starts a watch.
    ///
    /// # Errors
    /// [`Error::Compacted`] when the start has left the window, [`Error::Initializing`] while the
    /// cache is being filled, and those of a read at the start's freshness.
    pub async fn watch(&self, query: WatchQuery) -> Result<Watch, Error> {
        let inner = &self.inner;
        if !inner.is_ready() {
            inner.wait_ready_briefly().await?;
        }
        let (after, initial) = match query.start {
            WatchStart::After(revision) => (revision, None),
            WatchStart::Now => (inner.now().1, None),
            WatchStart::State(freshness) => {
                match freshness {
                    Freshness::Any => {}
                    Freshness::Latest => inner.wait_fresh().await?,
                    Freshness::AtLeast(revision) | Freshness::Exact(revision) => {
                        inner.wait_for(revision).await?;
                    }
                }
                let (objects, revision) = inner.now();
                (revision, Some(self.initial(objects, &query)))
            }
        };
        let (position, oldest) = inner
            .hub
            .window(|window| (window.position_after(after), window.oldest()));
        let position = position.ok_or(Error::Compacted {
            compact_revision: oldest,
        })?;
        let watcher = Watcher::new(query.scope.clone(), query.filter.clone(), after, position);
        Ok(Watch::new(
            inner.hub.clone(),
            watcher,
            inner.stats.clone(),
            &query,
            after,
            initial,
        ))
    }

    fn initial(&self, objects: Objects, query: &WatchQuery) -> Initial {
        let prefix = match &query.scope {
            Scope::All | Scope::Field(..) => self.inner.prefix.to_string(),
            Scope::Namespace(namespace) => format!("{}{namespace}/", self.inner.prefix),
            Scope::Key(key) => key.clone(),
        };
        Initial {
            objects,
            prefix,
            start: None,
            mark_end: query.initial_events_end,
        }
    }
}

impl Drop for Cacher {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

#[cfg(test)]
mod tests;
