//! The pulse: for stores whose progress reports can't be asked for (etcd before 3.4.31 and 3.5.13),
//! another proof that a cache is fresh.
//!
//! One watch over the whole store notes at which revision each prefix was last written. Once it
//! has come to the store's current revision, a cache that has seen the last write under its prefix
//! has seen everything. The price is that such a store sends every change twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::read::FRESH_WAIT;
use crate::storage::{Error, LocalRevision, Revision, Storage, WatchMessage};

/// Pause after the watch broke.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the fill of a cache waits for the pulse to run. Without it fresh reads go to the store.
const START_WAIT: Duration = Duration::from_secs(1);

/// What the watch over everything has seen.
pub(super) struct Pulse {
    storage: Arc<dyn Storage>,
    /// Last write under the prefixes of caches.
    folders: Mutex<HashMap<Box<str>, Revision>>,
    /// Everything up to this revision was seen; zero before the watch runs.
    reached: watch::Sender<Revision>,
}

impl Pulse {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Arc<Self> {
        Arc::new(Self {
            storage,
            folders: Mutex::default(),
            reached: watch::Sender::new(0),
        })
    }

    /// Notes writes under `prefix` from now on. A cache calls this before it fills: what was
    /// written earlier is in what it then lists.
    pub(super) async fn track(&self, prefix: &str) {
        let mut reached = self.reached.subscribe();
        // Without a running pulse the prefix counts from when it runs.
        let _ = tokio::time::timeout(START_WAIT, reached.wait_for(|&at| at > 0)).await;
        let mut folders = self.folders.lock();
        let now = *self.reached.borrow();
        folders.entry(prefix.into()).or_insert(now);
    }

    /// What the store did under `prefix`, as of at least `revision`.
    pub(super) async fn at_least(&self, prefix: &str, revision: Revision) -> Option<LocalRevision> {
        if !self.folders.lock().contains_key(prefix) {
            return None;
        }
        let mut reached = self.reached.subscribe();
        let wait = reached.wait_for(|&at| at >= revision);
        let store = *tokio::time::timeout(FRESH_WAIT, wait).await.ok()?.ok()?;
        // Later writes may have been noted meanwhile: waiting for them, too, is only stricter.
        let prefix = *self.folders.lock().get(prefix)?;
        Some(LocalRevision { store, prefix })
    }

    /// Follows the store until the task is aborted.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            if let Err(error) = self.follow().await {
                tracing::debug!(%error, "the watch over the whole store broke");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self) -> Result<(), Error> {
        let mut after = *self.reached.borrow();
        let current = self.storage.current_revision().await?;
        if after == 0 || after > current {
            after = current;
        }
        let mut stream = match self.storage.watch("", after).await {
            Err(Error::Compacted { .. }) => {
                after = current;
                self.storage.watch("", after).await?
            }
            opened => opened?,
        };
        if after == current {
            self.skip_to(current);
        }
        while let Some(message) = stream.recv().await {
            match message {
                WatchMessage::Events(events) => {
                    let Some(last) = events.last().map(|event| event.revision) else {
                        continue;
                    };
                    let mut folders = self.folders.lock();
                    for event in &events {
                        note(&mut folders, &event.key, event.revision);
                    }
                    self.reached.send_replace(last);
                }
                WatchMessage::Progress(revision) => {
                    self.reached.send_if_modified(|at| {
                        let ahead = revision > *at;
                        *at = revision.max(*at);
                        ahead
                    });
                }
                WatchMessage::Failed(Error::Compacted { .. }) => {
                    self.reached.send_replace(0);
                    return Ok(());
                }
                WatchMessage::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Begins at `revision` without having seen what was before: any prefix may have been written.
    fn skip_to(&self, revision: Revision) {
        let mut folders = self.folders.lock();
        if *self.reached.borrow() != revision {
            for last in folders.values_mut() {
                *last = revision;
            }
        }
        self.reached.send_replace(revision);
    }
}

fn note(folders: &mut HashMap<Box<str>, Revision>, key: &str, revision: Revision) {
    for (at, _) in key.match_indices('/') {
        if let Some(last) = folders.get_mut(&key[..=at]) {
            *last = revision;
        }
    }
}
