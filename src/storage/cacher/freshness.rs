//! Freshness: which revision the cache has reached, and waiting for one.
//!
//! A fresh read asks the store for its current revision and waits until the cache is there.
//! Whoever asks while a question is under way shares the next one: any number of concurrent
//! readers cost the store one question at a time. (They can't share the one under way: it may have
//! been answered before a write that the reader knows of.)

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::pulse::Pulse;
use super::stats::CacherStats;
use crate::storage::{Error, Failure, LocalRevision, Revision, Storage};

/// How often progress is asked for while somebody waits.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Questions for progress before giving up.
const PROGRESS_ROUNDS_MAX: u32 = 40;

/// Asks a store for its revision, once for all who ask at the same time. One per store: caches
/// share it.
pub struct RevisionCheck {
    storage: Arc<dyn Storage>,
    flight: Mutex<Flight>,
    pulse: Arc<Pulse>,
    pulse_task: OnceLock<AbortHandle>,
}

#[derive(Default)]
struct Flight {
    running: bool,
    waiting: Vec<oneshot::Sender<Result<Revision, Error>>>,
}

impl RevisionCheck {
    /// A check for this store.
    pub fn new(storage: Arc<dyn Storage>) -> Arc<Self> {
        Arc::new(Self {
            pulse: Pulse::new(storage.clone()),
            pulse_task: OnceLock::new(),
            storage,
            flight: Mutex::default(),
        })
    }

    /// Must be called before the cache over `prefix` lists what there is.
    pub(super) async fn track(&self, prefix: &str) {
        // A store that knows local revisions counts from the first question on; asked now, its
        // answers are never ahead of what the cache lists next.
        let _ = self.storage.local_revision(prefix);
        if self.storage.progress_is_trustworthy() {
            return;
        }
        self.pulse_task
            .get_or_init(|| tokio::spawn(self.pulse.clone().run()).abort_handle());
        self.pulse.track(prefix).await;
    }

    /// What a store without progress on request did under `prefix`, as of at least `revision`.
    pub(super) async fn pulse(&self, prefix: &str, revision: Revision) -> Option<LocalRevision> {
        self.pulse.at_least(prefix, revision).await
    }

    /// The store's revision at some moment after this call.
    pub(super) async fn current(
        self: &Arc<Self>,
        stats: &Arc<CacherStats>,
    ) -> Result<Revision, Error> {
        let (sender, receiver) = oneshot::channel();
        let start = {
            let mut flight = self.flight.lock();
            flight.waiting.push(sender);
            !std::mem::replace(&mut flight.running, true)
        };
        if start {
            // A task of its own: it must go on when the reader who started it gives up.
            tokio::spawn(self.clone().fly(stats.clone()));
        }
        receiver
            .await
            .unwrap_or(Err(Error::Uncertain(Failure::Closed)))
    }

    async fn fly(self: Arc<Self>, stats: Arc<CacherStats>) {
        loop {
            let waiting = {
                let mut flight = self.flight.lock();
                if flight.waiting.is_empty() {
                    flight.running = false;
                    return;
                }
                std::mem::take(&mut flight.waiting)
            };
            let answer = self.storage.current_revision().await;
            stats.revision_checks.add(1);
            for sender in waiting {
                // A reader that gave up meanwhile needs no answer.
                let _ = sender.send(answer.clone());
            }
        }
    }
}

impl Drop for RevisionCheck {
    fn drop(&mut self) {
        if let Some(task) = self.pulse_task.get() {
            task.abort();
        }
    }
}

/// The revision a cache has reached.
pub(super) struct Reached {
    storage: Arc<dyn Storage>,
    prefix: Box<str>,
    revision: AtomicU64,
    changed: watch::Sender<Revision>,
    wanted: AtomicU64,
    asking: AtomicBool,
}

impl Reached {
    pub(super) fn new(storage: Arc<dyn Storage>, prefix: &str) -> Arc<Self> {
        Arc::new(Self {
            storage,
            prefix: prefix.into(),
            revision: AtomicU64::new(0),
            changed: watch::Sender::new(0),
            wanted: AtomicU64::new(0),
            asking: AtomicBool::new(false),
        })
    }

    /// The cache holds everything up to this revision.
    pub(super) fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    /// Everything up to `revision` is in the cache.
    pub(super) fn advance(&self, revision: Revision) {
        if self.revision.fetch_max(revision, Ordering::AcqRel) < revision {
            self.changed.send_replace(revision);
        }
    }

    /// The cache started over at `revision`, which may be lower.
    pub(super) fn reset(&self, revision: Revision) {
        self.revision.store(revision, Ordering::Release);
        self.changed.send_replace(revision);
    }

    /// Waits until the cache has reached `revision`. False when it took too long.
    pub(super) async fn wait(&self, revision: Revision, at_most: Duration) -> bool {
        if self.revision() >= revision {
            return true;
        }
        let mut changed = self.changed.subscribe();
        let reached = changed.wait_for(|&now| now >= revision);
        matches!(tokio::time::timeout(at_most, reached).await, Ok(Ok(_)))
    }

    /// Makes the store report progress until `revision` is reached.
    pub(super) fn ask_for(self: &Arc<Self>, revision: Revision) {
        self.wanted.fetch_max(revision, Ordering::AcqRel);
        if !self.asking.swap(true, Ordering::AcqRel) {
            tokio::spawn(self.clone().ask());
        }
    }

    async fn ask(self: Arc<Self>) {
        let mut rounds = 0;
        loop {
            let wanted = self.wanted.load(Ordering::Acquire);
            let reached = self.revision() >= wanted;
            if reached || rounds == PROGRESS_ROUNDS_MAX {
                if !reached {
                    // A revision nobody will ever see must not keep later readers asking.
                    self.wanted.store(0, Ordering::Release);
                }
                self.asking.store(false, Ordering::Release);
                let more = self.wanted.load(Ordering::Acquire) > self.revision();
                if more && !self.asking.swap(true, Ordering::AcqRel) {
                    rounds = 0;
                    continue;
                }
                return;
            }
            rounds += 1;
            if let Err(error) = self.storage.request_progress_of(&self.prefix).await {
                tracing::debug!(%error, "cannot ask the store for progress");
            }
            self.wait(wanted, PROGRESS_INTERVAL).await;
        }
    }
}
