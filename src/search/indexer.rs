//! The indexer thread: follows the log, fills the partitions, commits.
//!
//! One thread owns the follower and all writers. Others talk to it through [`Request`]s and look at
//! the partitions through [`Shared`].

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use chrono::{NaiveDate, Utc};
use parking_lot::RwLock;
use tantivy::Searcher;
use tokio::sync::oneshot;

use crate::search::document;
use crate::search::fields::Fields;
use crate::search::follower::{Follower, Order, Position};
use crate::search::index::IndexOptions;
use crate::search::partition::{self, Partition};

/// How often the log is looked at when nobody asks.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How often what was indexed is committed when nobody asks.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// Events after which a commit is due in any case.
const COMMIT_EVENTS: u64 = 200_000;
/// Days that may have a writer open at once.
const OPEN_WRITERS_MAX: usize = 3;
/// How often retention is looked at.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// What others ask of the thread.
pub enum Request {
    /// Index and commit all that is in the log now.
    Flush(oneshot::Sender<()>),
}

/// What searches look at.
#[derive(Default)]
pub struct Shared {
    /// Committed views by day.
    pub searchers: RwLock<BTreeMap<NaiveDate, Searcher>>,
    /// Lines that are no events.
    pub bad_lines: std::sync::atomic::AtomicU64,
    /// Events indexed since the start.
    pub indexed: std::sync::atomic::AtomicU64,
}

/// The thread's state.
pub struct Indexer {
    root: PathBuf,
    fields: Arc<Fields>,
    shared: Arc<Shared>,
    options: IndexOptions,
    follower: Option<Follower>,
    order: Order,
    partitions: BTreeMap<NaiveDate, Partition>,
    counter: u64,
    uncommitted: u64,
    committed_at: Instant,
}

impl Indexer {
    /// Opens all partitions and finds the place to go on from.
    pub fn open(
        root: &Path,
        log: &Path,
        fields: Arc<Fields>,
        shared: Arc<Shared>,
        options: IndexOptions,
    ) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let mut start = read_checkpoint(root);
        let mut partitions = BTreeMap::new();
        for day in partition::days(root)? {
            let (partition, is_new) =
                Partition::open(root, day, &fields).map_err(io::Error::other)?;
            if is_new {
                start = Position::default();
            }
            shared.searchers.write().insert(day, partition.searcher());
            partitions.insert(day, partition);
        }
        Ok(Indexer {
            root: root.into(),
            fields,
            shared,
            options,
            follower: Some(Follower::start(log, start)?),
            order: Order::of(log)?,
            partitions,
            counter: 0,
            uncommitted: 0,
            committed_at: Instant::now(),
        })
    }

    /// Works until all senders are gone, then commits.
    pub fn run(mut self, requests: &Receiver<Request>) {
        let mut retained_at = Instant::now();
        loop {
            let mut flushes = Vec::new();
            let first = requests.recv_timeout(POLL_INTERVAL);
            let is_closing = matches!(first, Err(RecvTimeoutError::Disconnected));
            for Request::Flush(told) in first.into_iter().chain(requests.try_iter()) {
                flushes.push(told);
            }
            if let Err(error) = self.catch_up() {
                tracing::error!(%error, "reading the audit log for the index failed");
            }
            let is_due = self.committed_at.elapsed() >= COMMIT_INTERVAL;
            if is_closing || is_due || !flushes.is_empty() {
                self.commit();
            }
            for told in flushes {
                told.send(()).ok();
            }
            if retained_at.elapsed() >= RETENTION_INTERVAL {
                retained_at = Instant::now();
                self.retain();
            }
            if is_closing {
                return;
            }
        }
    }

    fn catch_up(&mut self) -> io::Result<()> {
        loop {
            let mut is_full = false;
            // Out of `self` while its lines go into `self`.
            let Some(mut follower) = self.follower.take() else {
                return Ok(());
            };
            let outcome = follower.read(|line, position| {
                self.add(line, position);
                is_full = self.uncommitted >= COMMIT_EVENTS;
                !is_full
            });
            self.follower = Some(follower);
            outcome?;
            if !is_full {
                return Ok(());
            }
            self.commit();
        }
    }

    fn add(&mut self, line: &[u8], position: &Position) {
        use std::sync::atomic::Ordering::Relaxed;
        self.counter += 1;
        let prepared = match document::prepare(&self.fields, line, self.counter) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.shared.bad_lines.fetch_add(1, Relaxed);
                tracing::debug!(%error, ?position, "a line of the audit log is not indexed");
                return;
            }
        };
        self.order.note(&position.file);
        let Some(rank) = self.partition_rank(prepared.day) else {
            return;
        };
        if self.order.rank(position) <= rank {
            // Committed before the crash, but the checkpoint behind it was not.
            return;
        }
        let threads = self.options.writer_threads;
        let partition = self.partitions.get_mut(&prepared.day);
        let added = partition.map(|p| p.add(prepared.document, threads));
        match added {
            Some(Ok(())) => {
                self.uncommitted += 1;
                self.shared.indexed.fetch_add(1, Relaxed);
            }
            Some(Err(error)) => tracing::error!(%error, "indexing an audit event failed"),
            None => {}
        }
    }

    /// Opens the day's partition where missing; answers up to where it is indexed.
    fn partition_rank(&mut self, day: NaiveDate) -> Option<(usize, u64)> {
        if !self.partitions.contains_key(&day) {
            match Partition::open(&self.root, day, &self.fields) {
                Ok((partition, _)) => drop(self.partitions.insert(day, partition)),
                Err(error) => {
                    tracing::error!(%day, %error, "the index of a day cannot be made");
                    return None;
                }
            }
        }
        let partition = &self.partitions[&day];
        let rank = self.order.rank(&partition.position);
        let open = self.partitions.values().filter(|p| p.is_writing()).count();
        if !partition.is_writing() && open >= OPEN_WRITERS_MAX {
            self.commit();
            self.partitions
                .values_mut()
                .for_each(Partition::close_writer);
        }
        Some(rank)
    }

    fn commit(&mut self) {
        self.committed_at = Instant::now();
        if self.uncommitted == 0 {
            return;
        }
        let Some(position) = self.follower.as_ref().map(|f| f.position().clone()) else {
            return;
        };
        for partition in self.partitions.values_mut().filter(|p| p.pending > 0) {
            if let Err(error) = partition.commit(&position) {
                tracing::error!(day = %partition.day, %error, "committing the index failed");
                return;
            }
            let searcher = partition.searcher();
            self.shared
                .searchers
                .write()
                .insert(partition.day, searcher);
        }
        self.uncommitted = 0;
        if let Err(error) = write_checkpoint(&self.root, &position) {
            tracing::error!(%error, "writing the index's checkpoint failed");
        }
    }

    /// Drops the oldest days beyond the limits of age and size, never today.
    fn retain(&mut self) {
        let today = Utc::now().date_naive();
        let mut bytes: u64 = self.partitions.values().map(Partition::disk_bytes).sum();
        while let Some(entry) = self.partitions.first_entry() {
            let age = u64::try_from((today - *entry.key()).num_days()).unwrap_or_default();
            let is_old = self.options.max_age_days > 0 && age > self.options.max_age_days;
            let is_surplus = self.options.max_bytes > 0 && bytes > self.options.max_bytes;
            if age == 0 || !(is_old || is_surplus) {
                return;
            }
            let (day, partition) = entry.remove_entry();
            bytes = bytes.saturating_sub(partition.disk_bytes());
            self.shared.searchers.write().remove(&day);
            if let Err(error) = partition.remove() {
                tracing::warn!(%day, %error, "deleting an old index failed");
            }
        }
    }
}

fn checkpoint_path(root: &Path) -> PathBuf {
    root.join("checkpoint.json")
}

fn read_checkpoint(root: &Path) -> Position {
    let text = fs::read(checkpoint_path(root)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn write_checkpoint(root: &Path, position: &Position) -> io::Result<()> {
    let partial = root.join("checkpoint.partial");
    fs::write(&partial, serde_json::to_vec(position)?)?;
    fs::rename(partial, checkpoint_path(root))
}
