//! Storage: the one trait under every resource, and its backends.
//!
//! Called by `registry` (writes) and by [`cacher`] (reads and watches). A backend knows keys,
//! bytes and revisions; it knows nothing of kinds, JSON or namespaces.
//!
//! # Invariants
//! - Revisions are global to one store, start above zero and only grow; every successful write
//!   makes exactly one new revision (a transaction of one key).
//! - A write that answered `Ok` is durable. A write that answered `Err(Uncertain)` may or may not
//!   have happened.
//! - A watch delivers every event after its start revision once, in revision order.
//!
//! # Decisions
//! - Compare-and-swap on one key is the only transaction: it is all that kube-apiserver needs and
//!   all that any backend can do fast.
//! - Keys are full (`/registry/pods/ns/name`); a backend adds no prefix of its own.
//! - An event does not carry the value before it: the watch cache has that, and a store would have
//!   to read and send it with every update.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

pub mod cacher;
pub mod embedded;
pub mod etcd;
mod examine;
mod failure;

pub use examine::{Examination, Member, MemberState};
pub use failure::{FAILURES, Failure};

/// A store revision (etcd's `mod_revision`). Zero means "none" or "current", as each method says.
pub type Revision = u64;

/// One stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Full key.
    pub key: String,
    /// The bytes as written.
    pub value: Bytes,
    /// Revision of the last write of this key.
    pub mod_revision: Revision,
    /// Revision at which the key was created.
    pub create_revision: Revision,
}

/// The answer of [`Storage::get`].
#[derive(Clone, Debug)]
pub struct Got {
    /// The value, if the key exists.
    pub kv: Option<KeyValue>,
    /// The store's revision when it answered.
    pub revision: Revision,
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// Every key begins with this; ends in `/`.
    pub prefix: String,
    /// First key (inclusive) when paging; `None` starts at the prefix.
    pub start: Option<String>,
    /// Largest number of values; zero means all.
    pub limit: usize,
    /// Exact revision to read at; zero means current.
    pub revision: Revision,
}

/// The answer of [`Storage::list`].
#[derive(Clone, Debug)]
pub struct Listed {
    /// Values in key order.
    pub kvs: Vec<KeyValue>,
    /// Keys of the prefix from `start` on, whether returned or not (etcd's `count`).
    pub count: u64,
    /// The store's revision when it answered (also for reads at an older revision).
    pub revision: Revision,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: String,
    /// The new value; `None` when the key was deleted (or its TTL ran out).
    pub value: Option<Bytes>,
    /// Revision of this event.
    pub revision: Revision,
    /// True when the key did not exist before.
    pub created: bool,
}

/// What a watch delivers.
#[derive(Clone, Debug)]
pub enum WatchMessage {
    /// The changes of one or more whole revisions, in order.
    Events(Vec<Event>),
    /// Nothing up to and including this revision is still to come.
    Progress(Revision),
    /// The watch ended; no message follows. The watcher lists and watches again.
    Failed(Error),
}

/// A running watch. Dropping the receiver cancels it.
pub type WatchStream = mpsc::Receiver<WatchMessage>;

/// Why a storage operation failed. Display never prints the source.
#[derive(Debug, thiserror::Error, Clone)]
pub enum Error {
    /// Create of a key that exists.
    #[error("key {key} exists already")]
    KeyExists {
        /// The key.
        key: String,
    },
    /// Compare-and-swap lost: the key is at another revision, or gone (`current` is `None`).
    #[error("key {key} is not at the expected revision")]
    Conflict {
        /// The key.
        key: String,
        /// What is stored now, so that the caller can retry without another read.
        current: Option<Box<KeyValue>>,
    },
    /// The asked revision is compacted.
    #[error("revision is compacted (oldest kept: {compact_revision})")]
    Compacted {
        /// The oldest revision that can still be read; zero when the store did not say.
        compact_revision: Revision,
    },
    /// The asked revision is in the future.
    #[error("revision {wanted} is in the future (current: {current})")]
    FutureRevision {
        /// Asked for.
        wanted: Revision,
        /// The store's.
        current: Revision,
    },
    /// The value is larger than the store takes.
    #[error("request is too large")]
    TooLarge,
    /// The store is out of space (etcd: NOSPACE alarm).
    #[error("store is out of space")]
    NoSpace,
    /// The store cannot be reached, has no leader, or refuses for now. Nothing was written.
    #[error("store is unavailable: {reason}")]
    Unavailable {
        /// What kind of unavailable.
        failure: Failure,
        /// Details for the operator.
        reason: String,
    },
    /// The answer was lost, or did not come in time: a write may or may not have happened.
    #[error("store did not answer ({})", .0.as_str())]
    Uncertain(Failure),
    /// The store refused the credentials.
    #[error("store denied permission")]
    PermissionDenied,
    /// Stored data is unreadable.
    #[error("stored data is corrupt: {reason}")]
    Corrupt {
        /// What was found.
        reason: String,
    },
    /// The watch cache over the store is still being filled; the caller answers
    /// 429 `storage is (re)initializing`.
    #[error("storage is (re)initializing")]
    Initializing {
        /// For how long already; `Retry-After` grows with it.
        since: Duration,
    },
    /// Anything else, with the chain as text (the sources are not `Clone`).
    #[error("storage failed: {reason}")]
    Other {
        /// The cause chain.
        reason: String,
    },
}

/// A versioned key-value store with compare-and-swap, ordered watches and TTL.
///
/// All methods are cancel-safe in the sense that dropping the future leaves the store consistent;
/// a dropped write may still happen.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Reads one key, linearizably.
    async fn get(&self, key: &str) -> Result<Got, Error>;

    /// Lists a prefix in key order.
    async fn list(&self, range: Range) -> Result<Listed, Error>;

    /// Writes a key that must not exist. `ttl` deletes it after that time unless written again.
    /// Answers the new revision.
    async fn create(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<Revision, Error>;

    /// Writes a key that must be at `expected`. Answers the new revision.
    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        ttl: Option<Duration>,
    ) -> Result<Revision, Error>;

    /// Deletes a key that must be at `expected`. Answers the revision of the delete.
    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision, Error>;

    /// Watches a prefix for everything after `after` (exclusive; zero: from now on). A compacted
    /// start fails with [`Error::Compacted`], here or as the stream's first message. The stream
    /// also carries [`WatchMessage::Progress`]: now and then, and soon after
    /// [`Storage::request_progress`] asked for it where [`Storage::progress_is_trustworthy`].
    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, Error>;

    /// Asks every running watch of this store to report progress soon. A no-op where progress
    /// needs no asking.
    async fn request_progress(&self) -> Result<(), Error>;

    /// As [`Storage::request_progress`], for the watches of exactly this prefix; others may report,
    /// too. Spares a store with a watch per resource from asking for all of them.
    async fn request_progress_of(&self, prefix: &str) -> Result<(), Error> {
        let _ = prefix;
        self.request_progress().await
    }

    /// Whether [`Storage::request_progress`] proves freshness. True: after a call (repeated every
    /// 100 ms or so, because a watch that is catching up may ignore it), every running watch soon
    /// delivers a [`WatchMessage::Progress`] of at least the revision that
    /// [`Storage::current_revision`] answered before the call. False (etcd before 3.4.31, 3.5.0 to
    /// 3.5.12, and whenever the version is unknown): the call does nothing, because those servers
    /// may report a revision ahead of events still to come. The `Progress` messages that do arrive
    /// are always true, with either answer, but on such a server they come only every few minutes;
    /// who needs a fresh read then reads from the store instead.
    fn progress_is_trustworthy(&self) -> bool {
        true
    }

    /// The store's revision now, linearizably. One round trip at most.
    async fn current_revision(&self) -> Result<Revision, Error>;

    /// What [`Storage::current_revision`] would answer and how much of it concerns `prefix` (which
    /// ends in `/`), where the store knows without asking anybody. Spares readers the round trip,
    /// and the wait for progress when all later writes were elsewhere.
    fn local_revision(&self, prefix: &str) -> Option<LocalRevision> {
        let _ = prefix;
        None
    }

    /// Forgets history before `revision`. Does nothing where that was forgotten already.
    async fn compact(&self, revision: Revision) -> Result<(), Error>;

    /// Bytes on disk, where known. Also the health check: an error means not healthy.
    async fn status(&self) -> Result<StoreStatus, Error>;

    /// Asks the store how it is, for explanations of its failures. `None` where there is nothing to
    /// ask. Answers within a few seconds, whatever state the store is in.
    async fn examine(&self) -> Option<Examination> {
        None
    }

    /// Finishes what is in flight and closes. Later calls fail with [`Error::Unavailable`].
    async fn close(&self);
}

/// The answer of [`Storage::local_revision`], both of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalRevision {
    /// The store's revision.
    pub store: Revision,
    /// No write under the prefix has a revision above this one and up to `store`.
    pub prefix: Revision,
}

/// The answer of [`Storage::status`].
#[derive(Clone, Debug, Default)]
pub struct StoreStatus {
    /// `etcd` or `embedded`.
    pub backend: &'static str,
    /// The store's version, for example `3.5.1`.
    pub version: String,
    /// Database size in bytes.
    pub size_bytes: u64,
    /// Current revision.
    pub revision: Revision,
}
