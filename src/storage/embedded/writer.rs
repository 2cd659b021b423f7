//! The writer thread: group commit and expiry.
//!
//! It alone makes revisions. While one batch is being synced the next one gathers in the queue, so
//! that the cost of an fsync is shared by all who wait. Where the disk is fast and the processors are
//! busy, batches would be of one write each, and each would stop the threads that make the next ones;
//! then the writer lets them go first (see [`Rate`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Shared;
use super::hub::Dispatch;
use super::index::Version;
use super::tables::{Expiries, Tables};
use crate::storage::{Error, Revision};

/// Writes of one batch, which is one fsync and one publication.
const BATCH_WRITES_MAX: usize = 1024;
/// Batches the dispatcher may be behind before the writer waits for it (it never waits itself).
const DISPATCH_BACKLOG_MAX: usize = 256;
/// Over how long the rate of writes is counted.
const RATE_WINDOW: Duration = Duration::from_millis(4);
/// Writes in that time from which on batches are gathered: three to four thousand a second.
const MANY_WRITES: usize = 14;
/// How often deadlines are compared with the clock at least, which may be set meanwhile.
const EXPIRY_CHECK: Duration = Duration::from_secs(1);

/// What a caller wants.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Put a key that does not exist.
    Create(Bytes),
    /// Put a key that is at this revision.
    Update(Bytes, Revision),
    /// Delete a key that is at this revision.
    Delete(Revision),
}

impl Change {
    /// Whether the change may be made to a key at `current` (`None`: absent).
    pub(super) fn matches(&self, current: Option<Revision>) -> bool {
        match self {
            Self::Create(_) => current.is_none(),
            Self::Update(_, expected) | Self::Delete(expected) => current == Some(*expected),
        }
    }

    pub(super) fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Create(value) | Self::Update(value, _) => Some(value),
            Self::Delete(_) => None,
        }
    }
}

/// Why a write did not happen.
#[derive(Debug)]
pub(super) enum Rejection {
    /// The key is not as expected.
    Mismatch,
    /// The store failed.
    Failed(Error),
}

type Answer = oneshot::Sender<Result<Revision, Rejection>>;

/// A queued write.
pub(super) struct Write {
    pub(super) key: Box<str>,
    pub(super) change: Change,
    pub(super) ttl: Option<Duration>,
    /// `None` for expiry.
    pub(super) answer: Option<Answer>,
    /// Its place in the queue, given back when answered.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// A write that was given its revision.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) key: Box<str>,
    /// `None` for deletes.
    pub(super) value: Option<Bytes>,
    pub(super) version: Version,
    /// Revision of the live version it replaces; zero when there was none.
    pub(super) previous_revision: Revision,
    /// When the key expires, Unix ms.
    pub(super) deadline_ms: Option<u64>,
}

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    tables: Arc<Tables>,
    expiries: Expiries,
    revision: Revision,
}

/// How many writes come. One client after the other, who each wait for an answer, do not make many.
struct Rate {
    since: Instant,
    writes: usize,
    is_high: bool,
}

impl Rate {
    fn starting(now: Instant) -> Self {
        Rate {
            since: now,
            writes: 0,
            is_high: false,
        }
    }

    /// Whether more came, when last counted, than are worth a batch each.
    fn is_high(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        if passed >= RATE_WINDOW {
            let windows = passed.as_secs_f64() / RATE_WINDOW.as_secs_f64();
            self.is_high = self.writes as f64 >= MANY_WRITES as f64 * windows;
            (self.since, self.writes) = (now, 0);
        }
        self.is_high
    }
}

/// What became of the writes of one batch.
#[derive(Default)]
struct Batch {
    committed: Vec<Committed>,
    answers: Vec<(Option<Answer>, Result<Revision, Rejection>)>,
    places: Vec<OwnedSemaphorePermit>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, tables: Arc<Tables>, expiries: Expiries) -> Self {
        let revision = shared.index.read().revision();
        Self {
            shared,
            tables,
            expiries,
            revision,
        }
    }

    /// Runs until the queue is closed and drained.
    pub(super) fn run(mut self) {
        let mut rate = Rate::starting(Instant::now());
        loop {
            let now = Instant::now();
            let (until, is_high) = (now + self.until_expiry(), rate.is_high(now));
            let writes = self.shared.writes.take(BATCH_WRITES_MAX, until, is_high);
            let Some(mut writes) = writes else {
                break;
            };
            rate.writes += writes.len();
            let passed = self.take_expired(&mut writes);
            if !writes.is_empty() {
                self.shared.dispatches.wait_below(DISPATCH_BACKLOG_MAX);
                self.commit(writes);
            }
            self.forget(&passed);
        }
        self.shared.dispatches.close();
    }

    fn commit(&mut self, writes: Vec<Write>) {
        let mut batch = self.validate(writes);
        if let Some(last) = batch.committed.last() {
            let last = last.version.revision;
            match self.tables.commit(&batch.committed) {
                Ok(()) => {
                    self.revision = last;
                    self.tables.note_acknowledged(last);
                    self.publish(std::mem::take(&mut batch.committed));
                }
                Err(error) => batch.fail(&error),
            }
        }
        for (answer, result) in batch.answers {
            if let Some(answer) = answer {
                // A caller that went away does not want to know.
                drop(answer.send(result));
            }
        }
    }

    /// Gives each valid write its revision, seeing the writes before it in the batch.
    fn validate(&self, writes: Vec<Write>) -> Batch {
        let now_ms = now_ms();
        let mut batch = Batch::default();
        let mut changed: HashMap<Box<str>, Option<Version>> = HashMap::new();
        let index = self.shared.index.read();
        for write in writes {
            batch.places.extend(write.place);
            let current = match changed.get(&write.key) {
                Some(version) => *version,
                None => index.current(&write.key),
            };
            if !write.change.matches(current.map(|v| v.revision)) {
                let rejected = Err(Rejection::Mismatch);
                batch.answers.push((write.answer, rejected));
                continue;
            }
            let revision = self.revision + 1 + batch.committed.len() as u64;
            let version = Version {
                revision,
                create_revision: match write.change {
                    Change::Delete(_) => 0,
                    _ => current.map_or(revision, |v| v.create_revision),
                },
            };
            let live = (!version.is_delete()).then_some(version);
            changed.insert(write.key.clone(), live);
            batch.committed.push(Committed {
                key: write.key,
                value: write.change.value().cloned(),
                version,
                previous_revision: current.map_or(0, |v| v.revision),
                deadline_ms: write.ttl.map(|ttl| deadline_ms(now_ms, ttl)),
            });
            batch.answers.push((write.answer, Ok(revision)));
        }
        batch
    }

    /// Makes a durable batch visible. Readers and the dispatcher see it in one step, so that
    /// progress asked for after a read covers what was read.
    fn publish(&mut self, committed: Vec<Committed>) {
        for write in &committed {
            if let Some(deadline_ms) = write.deadline_ms {
                let at = (deadline_ms, write.version.revision);
                self.expiries.insert(at, write.key.clone());
            }
        }
        let mut index = self.shared.index.write();
        for write in &committed {
            index.add(&write.key, write.version);
        }
        let pushed = self.shared.dispatches.push(Dispatch::Events(committed));
        debug_assert!(pushed.is_ok(), "only the writer closes the dispatcher");
    }

    /// How long to wait for writes before looking at deadlines again.
    fn until_expiry(&self) -> Duration {
        let Some(((deadline_ms, _), _)) = self.expiries.first_key_value() else {
            return Duration::from_secs(3600);
        };
        Duration::from_millis(deadline_ms.saturating_sub(now_ms())).min(EXPIRY_CHECK)
    }

    /// Adds deletes of the keys whose time is over and which were not written since. Answers the
    /// deadlines that passed.
    fn take_expired(&mut self, writes: &mut Vec<Write>) -> Vec<(u64, Revision)> {
        let mut passed = Vec::new();
        if self.expiries.is_empty() || self.tables.failure().is_some() {
            return passed;
        }
        let now_ms = now_ms();
        let mut due = 0;
        let index = self.shared.index.read();
        // Deletes beyond the writes already there wait for the next round.
        while due < BATCH_WRITES_MAX {
            let Some((&at, _)) = self.expiries.first_key_value() else {
                break;
            };
            if at.0 > now_ms {
                break;
            }
            let (_, key) = self.expiries.pop_first().expect("just seen");
            passed.push(at);
            if index.current(&key).is_some_and(|v| v.revision == at.1) {
                due += 1;
                writes.push(Write {
                    key,
                    change: Change::Delete(at.1),
                    ttl: None,
                    answer: None,
                    place: None,
                });
            }
        }
        passed
    }

    /// Forgets deadlines, only after the deletes they caused are durable.
    fn forget(&self, passed: &[(u64, Revision)]) {
        if passed.is_empty() || self.tables.failure().is_some() {
            return;
        }
        if let Err(error) = self.tables.drop_expiries(passed) {
            tracing::error!(%error, "cannot forget deadlines");
        }
    }
}

impl Batch {
    /// Turns every answer into a failure: nobody knows what reached the disk, and what mismatched
    /// may have mismatched only a write that did not happen.
    fn fail(&mut self, error: &Error) {
        let told = match error {
            Error::NoSpace | Error::Unavailable { .. } => error.clone(),
            other => Error::Uncertain(other.failure()),
        };
        for (_, result) in &mut self.answers {
            *result = Err(Rejection::Failed(told.clone()));
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

fn deadline_ms(now_ms: u64, ttl: Duration) -> u64 {
    now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_many_clients_make_a_high_rate() {
        let start = Instant::now();
        let mut rate = Rate::starting(start);
        let at = |windows: u32| start + RATE_WINDOW * windows;
        assert!(!rate.is_high(at(0)));
        rate.writes = MANY_WRITES - 1;
        assert!(!rate.is_high(at(1)));
        rate.writes = MANY_WRITES;
        assert!(rate.is_high(at(2)));
        assert!(rate.is_high(at(2) + RATE_WINDOW / 2), "until counted again");
        // As many, in twice the time.
        rate.writes = MANY_WRITES;
        assert!(!rate.is_high(at(4)));
    }
}
