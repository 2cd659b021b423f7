//! `CacherStats`: what one cache counts. Plain atomics; the server renders them as metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one cache since it started.
#[derive(Debug, Default)]
pub struct CacherStats {
    /// Times the cache was filled from the store (`apiserver_watch_cache_initializations_total`).
    pub initializations: Counter,
    /// Times the watch on the store broke.
    pub store_watch_failures: Counter,
    /// Changes taken in (`apiserver_watch_cache_events_received_total`).
    pub events_received: Counter,
    /// Events handed to watchers (`apiserver_watch_cache_events_dispatched_total`).
    pub events_dispatched: Counter,
    /// Watchers cut off for being too slow (`apiserver_terminated_watchers_total`).
    pub terminated_watchers: Counter,
    /// Running watches.
    pub watchers: Counter,
    /// Stored values that could not be read.
    pub corrupt_objects: Counter,
    /// Room for events in the window (`watch_cache_capacity`).
    pub window_capacity: Counter,
    /// Events in the window now.
    pub window_events: Counter,
    /// Objects in the cache now.
    pub objects: Counter,
    /// Revision checks made in the store for fresh reads.
    pub revision_checks: Counter,
    /// Fresh reads that were answered by these checks.
    pub fresh_reads: Counter,
    /// Reads that had to go to the store.
    pub store_reads: Counter,
    /// Lists answered from the cache.
    pub cache_lists: Counter,
}

/// A number that only this module's owners change.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, by: u64) {
        self.0.fetch_sub(by, Ordering::Relaxed);
    }

    pub(super) fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }
}
