//! The embedded store: MVCC over the `fjall` log-structured engine, no server to install.
//!
//! Owns the files of one directory. `server` opens it; everybody else sees [`Storage`]. It does
//! not know resources, and it does not replicate: one process, one directory.
//!
//! The way of a write: the caller's task checks and queues it ([`queue`]), the writer thread takes
//! all that waits, validates it against the [`index`], commits it as one batch with one fsync
//! ([`tables`]), publishes it in the index, answers, and hands it to the dispatcher thread
//! ([`hub`]), which feeds the watches. A watch from the past first reads the log ([`catchup`]).
//!
//! # Invariants
//! - Nothing is answered, readable or watchable before its fsync returned.
//! - The writer never waits for a watcher; a watcher that does not drain its buffer is ended.
//! - The index holds keys and revisions, never values; values are read from the log.
//! - Every revision from the compact revision to the current one has exactly one log record.
//!
//! # Decisions
//! - Keys in memory (as etcd does), values on disk: a lookup costs one map walk and one point
//!   read, and validation needs no disk at all.
//! - A file beside the database notes the last answered revision without fsync. It costs one
//!   `pwrite` and unmasks a log that lost its tail (fjall drops everything after a damaged batch).
//! - After a failed fsync the store refuses writes until reopened: what the kernel kept is unknown.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::hub::{Dispatch, Hub};
use self::index::Index;
use self::queue::Queue;
use self::tables::{Expiries, Tables};
use self::writer::{Change, Rejection, Write, Writer};
use super::{
    Error, Failure, Got, Listed, LocalRevision, Range, Revision, Storage, StoreStatus, WatchStream,
};

mod catchup;
mod compaction;
mod hub;
mod index;
mod list;
mod queue;
mod tables;
mod writer;

/// Writes that may wait for the writer; more wait for a place, in order.
const QUEUED_WRITES_MAX: usize = 8192;
/// The longest key, far above what Kubernetes makes.
const KEY_BYTES_MAX: usize = 8 * 1024;

/// Sizes of an embedded store. The defaults fit a single-node server.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Largest value; etcd's request limit by default.
    pub value_bytes_max: usize,
    /// Cache of decompressed blocks.
    pub cache_bytes: u64,
    /// Messages a watch may leave unread before it is ended.
    pub watch_buffer: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            value_bytes_max: 1536 * 1024,
            cache_bytes: 64 * 1024 * 1024,
            watch_buffer: 1024,
        }
    }
}

/// What the store, its two threads and its catch-up tasks share.
struct Shared {
    index: RwLock<Index>,
    writes: Queue<Write>,
    dispatches: Queue<Dispatch>,
    hub: Hub,
    size_bytes: AtomicU64,
}

/// A durable key-value store in one directory.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    tables: ArcSwapOption<Tables>,
    places: Arc<Semaphore>,
    compacting: tokio::sync::Mutex<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    options: EmbeddedOptions,
    dir: PathBuf,
}

impl EmbeddedStore {
    /// Opens or creates the store in `dir`. Blocks while the log is recovered.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when another process has it open, [`Error::Corrupt`] when what is
    /// stored contradicts itself, [`Error::NoSpace`], [`Error::Other`].
    pub fn open(dir: &Path, options: EmbeddedOptions) -> Result<Arc<Self>, Error> {
        let (tables, recovered) = Tables::open(dir, options.cache_bytes)?;
        let tables = Arc::new(tables);
        let revision = recovered.index.revision();
        let shared = Arc::new(Shared {
            index: RwLock::new(recovered.index),
            writes: Queue::new(),
            dispatches: Queue::new(),
            hub: Hub::new(revision),
            size_bytes: AtomicU64::new(tables.size_bytes()),
        });
        let store = Arc::new(Self {
            shared: shared.clone(),
            tables: ArcSwapOption::new(Some(tables.clone())),
            places: Arc::new(Semaphore::new(QUEUED_WRITES_MAX)),
            compacting: tokio::sync::Mutex::new(()),
            threads: Mutex::new(Vec::new()),
            options,
            dir: dir.to_owned(),
        });
        store.start_threads(&shared, &tables, recovered.expiries)?;
        Ok(store)
    }

    /// Watches ended because their reader was too slow, since the store was opened.
    #[must_use]
    pub fn slow_watches_ended(&self) -> u64 {
        self.shared.hub.slow_ended()
    }

    fn start_threads(
        &self,
        shared: &Arc<Shared>,
        tables: &Arc<Tables>,
        expiries: Expiries,
    ) -> Result<(), Error> {
        let writer = Writer::new(shared.clone(), tables.clone(), expiries);
        let dispatcher = (shared.clone(), tables.clone());
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map_err(|e| Error::Other {
                    reason: format!("start thread {name}: {e}"),
                })
        };
        let writer = spawn("store-writer", Box::new(move || writer.run()))?;
        let dispatcher = spawn(
            "store-dispatch",
            Box::new(move || hub::run(&dispatcher.0, &dispatcher.1)),
        )?;
        self.threads.lock().extend([writer, dispatcher]);
        Ok(())
    }

    fn tables(&self) -> Result<Arc<Tables>, Error> {
        self.tables.load_full().ok_or_else(closed)
    }

    /// Reads the current value. A version compacted between lookup and read was superseded, so
    /// the lookup is repeated.
    fn read_current(&self, key: &str) -> Result<Got, Error> {
        let tables = self.tables.load();
        let tables = tables.as_ref().ok_or_else(closed)?;
        loop {
            let (version, revision) = {
                let index = self.shared.index.read();
                (index.current(key), index.revision())
            };
            let Some(version) = version else {
                return Ok(Got { kv: None, revision });
            };
            if let Some(record) = tables.record(version.revision)? {
                let kv = Some(record.into_key_value(version.revision));
                return Ok(Got { kv, revision });
            }
            if self.shared.index.read().current(key) == Some(version) {
                return Err(Error::Corrupt {
                    reason: format!("revision {} of {key} is missing", version.revision),
                });
            }
        }
    }

    async fn write(
        &self,
        key: &str,
        change: Change,
        ttl: Option<Duration>,
    ) -> Result<Revision, Error> {
        self.check_sizes(key, &change)?;
        let current = self.shared.index.read().current(key);
        // What is published can only move on, so a mismatch now is a mismatch for good.
        if !change.matches(current.map(|v| v.revision)) {
            return Err(self.conflict(key, &change));
        }
        let place = self.places.clone().acquire_owned().await;
        let (answer, answered) = oneshot::channel();
        let write = Write {
            key: key.into(),
            change: change.clone(),
            ttl,
            answer: Some(answer),
            place: Some(place.map_err(|_| closed())?),
        };
        self.shared.writes.push(write).map_err(|_| closed())?;
        match answered.await {
            Ok(Ok(revision)) => Ok(revision),
            Ok(Err(Rejection::Mismatch)) => Err(self.conflict(key, &change)),
            Ok(Err(Rejection::Failed(error))) => Err(error),
            Err(_) => Err(Error::Uncertain(Failure::Closed)),
        }
    }

    fn check_sizes(&self, key: &str, change: &Change) -> Result<(), Error> {
        let value_bytes = change.value().map_or(0, Bytes::len);
        if value_bytes > self.options.value_bytes_max || key.len() > KEY_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        if key.is_empty() || key.as_bytes().contains(&0) {
            return Err(Error::Other {
                reason: "a key must not be empty nor contain NUL".to_owned(),
            });
        }
        Ok(())
    }

    fn conflict(&self, key: &str, change: &Change) -> Error {
        let key = key.to_owned();
        if matches!(change, Change::Create(_)) {
            return Error::KeyExists { key };
        }
        match self.read_current(&key) {
            Ok(got) => Error::Conflict {
                key,
                current: got.kv.map(Box::new),
            },
            Err(error) => error,
        }
    }
}

#[async_trait]
impl Storage for EmbeddedStore {
    async fn get(&self, key: &str) -> Result<Got, Error> {
        self.read_current(key)
    }

    async fn list(&self, range: Range) -> Result<Listed, Error> {
        let (shared, tables) = (self.shared.clone(), self.tables()?);
        blocking(move || list::list(&shared, &tables, &range)).await
    }

    async fn create(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<Revision, Error> {
        self.write(key, Change::Create(value), ttl).await
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        ttl: Option<Duration>,
    ) -> Result<Revision, Error> {
        self.write(key, Change::Update(value, expected), ttl).await
    }

    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision, Error> {
        self.write(key, Change::Delete(expected), None).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, Error> {
        let tables = self.tables()?;
        let after = {
            let index = self.shared.index.read();
            let after = if after == 0 { index.revision() } else { after };
            index.check_watchable(after)?;
            after
        };
        // One place more: the last message's, kept from the beginning.
        let (sender, receiver) = mpsc::channel(self.options.watch_buffer + 1);
        catchup::start(&self.shared, tables, prefix, after, sender)?;
        Ok(receiver)
    }

    async fn request_progress(&self) -> Result<(), Error> {
        let pushed = self.shared.dispatches.push(Dispatch::Progress);
        pushed.map_err(|_| closed())
    }

    async fn current_revision(&self) -> Result<Revision, Error> {
        if self.tables.load().is_none() {
            return Err(closed());
        }
        Ok(self.shared.index.read().revision())
    }

    fn local_revision(&self, prefix: &str) -> Option<LocalRevision> {
        if !prefix.ends_with('/') || self.tables.load().is_none() {
            return None;
        }
        let known = {
            let index = self.shared.index.read();
            (index.revision(), index.last_under(prefix))
        };
        if let (store, Some(prefix)) = known {
            return Some(LocalRevision { store, prefix });
        }
        let mut index = self.shared.index.write();
        index.track(prefix);
        let store = index.revision();
        Some(LocalRevision {
            store,
            prefix: store,
        })
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let _one_at_a_time = self.compacting.lock().await;
        let (shared, tables) = (self.shared.clone(), self.tables()?);
        blocking(move || compaction::compact(&shared, &tables, revision)).await
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        let revision = self.current_revision().await?;
        if let Some(error) = self.tables()?.failure() {
            return Err(error);
        }
        Ok(StoreStatus {
            backend: "embedded",
            version: env!("CARGO_PKG_VERSION").to_owned(),
            size_bytes: self.shared.size_bytes.load(Ordering::Relaxed),
            revision,
        })
    }

    async fn close(&self) {
        self.places.close();
        self.shared.writes.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        let tables = self.tables.swap(None);
        let dir = self.dir.clone();
        let finish = move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!(dir = %dir.display(), "store thread panicked");
                }
            }
            tables.map(Tables::release)
        };
        if tokio::task::spawn_blocking(finish).await.is_err() {
            tracing::error!(dir = %self.dir.display(), "closing the store panicked");
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        // The writer ends when it has drained, and then ends the dispatcher.
        self.shared.writes.close();
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| {
        Err(Error::Other {
            reason: format!("store task ended: {e}"),
        })
    })
}

fn closed() -> Error {
    Error::Unavailable {
        failure: Failure::Closed,
        reason: "store is closed".to_owned(),
    }
}
