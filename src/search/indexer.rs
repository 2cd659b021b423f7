//! The indexer thread: follows the logs, fills the partitions, commits, rebuilds, retains.
//!
//! One thread owns the followers and all writers. Others talk to it through [`Request`]s and look at
//! the partitions through [`Shared`].

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use chrono::{NaiveDate, NaiveTime};
use tantivy::TantivyError;
use tokio::sync::oneshot;

use crate::search::days::{Days, Place, Shared, Taken, gauge};
use crate::search::event::with_cluster;
use crate::search::follower::{End, Follower, Order};
use crate::search::pace::Pace;

/// How often the logs are looked at when nobody asks.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How often what was indexed is committed when nobody asks.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// Events after which a commit is due in any case.
const COMMIT_EVENTS: u64 = 200_000;
/// Lines of one log that are read before the others have their turn.
const TURN_LINES: u64 = 500;
/// Turns between looking after those who wait.
const ROUND_TURNS: u64 = 100;
/// What may wait in a log while requests need the machine. A search waits until it is indexed: some two
/// seconds.
const BACKLOG_MAX_BYTES: u64 = 64 << 20;
/// Lines that are read again, for a day built anew, between looking after the logs.
const REBUILD_LINES: u64 = 20_000;
/// How often retention is looked at.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);
/// Pauses after a failure to write: the first, and the longest.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A log that an index follows.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name under which positions are kept.
    pub name: String,
    /// The file; its rotated files lie beside it.
    pub path: PathBuf,
    /// Cluster that its events are of, where several are collected.
    pub cluster: Option<String>,
    /// Whether an event may come more than once (retried deliveries, files that overlap).
    pub may_repeat: bool,
}

/// What others ask of the thread.
pub enum Request {
    /// Index and commit all that is in the logs now.
    Flush(oneshot::Sender<()>),
    /// Reading a day failed: look whether it is damaged, and set it aside if so. Answers whether.
    Check(NaiveDate, oneshot::Sender<bool>),
}

struct Followed {
    source: Source,
    follower: Follower,
    /// Up to where somebody waits for it.
    wanted: Option<End>,
}

/// Why a turn ended early.
enum Trouble {
    Log(io::Error),
    Index(TantivyError),
}

impl From<TantivyError> for Trouble {
    fn from(error: TantivyError) -> Self {
        Trouble::Index(error)
    }
}

/// The thread's state.
pub struct Indexer {
    days: Days,
    shared: Arc<Shared>,
    followed: Vec<Followed>,
    committed_at: Instant,
    /// Not before this is written again, after a failure.
    retry_at: Option<Instant>,
    pause: Duration,
    /// Reads a log again for a day built anew.
    again: Option<(NaiveDate, String, Follower)>,
}

impl Indexer {
    /// Finds the places to go on from.
    pub fn new(mut days: Days, shared: Arc<Shared>, sources: Vec<Source>) -> io::Result<Self> {
        let mut followed = Vec::new();
        for source in sources {
            let from = days.committed(&source.name);
            let follower = Follower::start(&source.path, from.clone())?;
            if !from.file.is_empty() && follower.position().file != from.file {
                shared.metrics.log_gaps.inc();
                tracing::warn!(log = %source.path.display(), "the place to go on from is gone; the index reads from the oldest file there is");
            }
            days.set_order(&source.name, Order::of(&source.path)?);
            followed.push(Followed {
                source,
                follower,
                wanted: None,
            });
        }
        Ok(Indexer {
            days,
            shared,
            followed,
            committed_at: Instant::now(),
            retry_at: None,
            pause: RETRY_PAUSES.0,
            again: None,
        })
    }

    /// Works until all senders are gone, then commits.
    pub fn run(mut self, requests: &Receiver<Request>) {
        self.days.retain();
        let mut retained_at = Instant::now();
        let mut has_more = true;
        loop {
            let patience = if has_more {
                Duration::ZERO
            } else {
                POLL_INTERVAL
            };
            let first = requests.recv_timeout(patience);
            let is_closing = matches!(first, Err(RecvTimeoutError::Disconnected));
            let mut flushes = Vec::new();
            for request in first.into_iter().chain(requests.try_iter()) {
                match request {
                    Request::Flush(told) => flushes.push(told),
                    Request::Check(day, told) => drop(told.send(self.check(day))),
                }
            }
            let must_commit = is_closing || !flushes.is_empty();
            has_more = self.round(must_commit);
            for told in flushes {
                told.send(()).ok();
            }
            if retained_at.elapsed() >= RETENTION_INTERVAL {
                retained_at = Instant::now();
                self.days.retain();
            }
            if is_closing {
                return;
            }
        }
    }

    /// Catches up, commits when due, rebuilds a little. Answers whether there is more to do.
    fn round(&mut self, must_commit: bool) -> bool {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        let is_first_failure = self.pause == RETRY_PAUSES.0;
        let mut outcome = self.work(must_commit);
        if let Err(error) = &outcome
            && must_commit
            && is_first_failure
        {
            // Somebody waits for it, and what failed for a moment need not be missing in the answer.
            self.recover(error);
            outcome = self.work(must_commit);
        }
        match outcome {
            Ok(has_more) => {
                self.retry_at = None;
                self.pause = RETRY_PAUSES.0;
                has_more
            }
            Err(error) => {
                self.recover(&error);
                self.shared.is_behind.store(true, Ordering::Release);
                false
            }
        }
    }

    fn work(&mut self, must_commit: bool) -> Result<bool, TantivyError> {
        let has_more = self.catch_up(must_commit)?;
        if must_commit || self.committed_at.elapsed() >= COMMIT_INTERVAL {
            self.commit()?;
        }
        Ok(self.rebuild()? || has_more)
    }

    fn commit(&mut self) -> Result<(), TantivyError> {
        self.committed_at = Instant::now();
        self.days.commit()
    }

    /// The disk is full, or the like: forget what is not committed, and read it again later. The log
    /// has it.
    fn recover(&mut self, error: &TantivyError) {
        self.shared.metrics.failed("write");
        tracing::error!(%error, retry_in = ?self.pause, "writing the search index failed; events wait in the log");
        self.retry_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(RETRY_PAUSES.1);
        self.again = None;
        self.days.roll_back();
        for followed in &mut self.followed {
            let position = self.days.committed(&followed.source.name);
            match Follower::start(&followed.source.path, position) {
                Ok(follower) => followed.follower = follower,
                Err(error) => tracing::error!(%error, "the log cannot be opened"),
            }
        }
        self.tell_behind();
    }

    /// Reads the logs turn by turn: on and on where the machine has time for it, and to where they end
    /// now where somebody waits (`must_commit`). Answers whether to go on at once.
    fn catch_up(&mut self, must_commit: bool) -> Result<bool, TantivyError> {
        for followed in &mut self.followed {
            // A log whose end cannot be told is read as long as there is something.
            followed.wanted = must_commit.then(|| followed.follower.end().unwrap_or_default());
        }
        let mut waiting: Vec<usize> = (0..self.followed.len()).collect();
        let (mut is_behind, mut turns) = (false, 0);
        let mut pace = Pace::begin();
        while !waiting.is_empty() && (must_commit || turns < ROUND_TURNS) {
            turns += 1;
            let mut next = Vec::new();
            for index in waiting {
                match self.turn(index) {
                    Ok(true) if self.may_go_on(index, &mut pace) => next.push(index),
                    Ok(_) => {}
                    Err(Trouble::Index(error)) => return Err(error),
                    Err(Trouble::Log(error)) => {
                        is_behind = true;
                        self.shared.metrics.failed("log");
                        let log = self.followed[index].source.path.display();
                        tracing::error!(%log, %error, "reading a log for the index failed");
                    }
                }
                if self.days.uncommitted() >= COMMIT_EVENTS {
                    self.commit()?;
                }
            }
            waiting = next;
        }
        self.shared.is_behind.store(is_behind, Ordering::Release);
        self.tell_behind();
        Ok(!waiting.is_empty())
    }

    fn tell_behind(&self) {
        let behind = self.followed.iter().map(|f| f.follower.behind()).sum();
        self.shared.metrics.behind.set(gauge(behind));
    }

    /// Whether a log that has more is read on now.
    fn may_go_on(&self, index: usize, pace: &mut Pace) -> bool {
        let Followed {
            follower, wanted, ..
        } = &self.followed[index];
        match wanted {
            Some(end) => !follower.is_at(end),
            None => !pace.is_crowded() || follower.behind() > BACKLOG_MAX_BYTES,
        }
    }

    /// Reads some lines of one log. Answers whether there is more.
    fn turn(&mut self, index: usize) -> Result<bool, Trouble> {
        let Followed {
            source, follower, ..
        } = &mut self.followed[index];
        let (days, metrics) = (&mut self.days, &self.shared.metrics);
        let (mut lines, mut failed) = (0, None);
        let outcome = follower.read(|line, position| {
            lines += 1;
            let place = Place {
                source: &source.name,
                position,
            };
            let marked = source.cluster.as_deref().and_then(|c| with_cluster(line, c));
            let line = marked.as_deref().unwrap_or(line);
            match days.take(line, place, source.may_repeat) {
                Ok(Taken::Bad(error)) => {
                    metrics.bad_lines.inc();
                    tracing::debug!(%error, log = %source.path.display(), ?position, "a line is not indexed");
                }
                Ok(Taken::Future) => metrics.bad_lines.inc(),
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
            failed.is_none() && lines < TURN_LINES
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        outcome.map_err(Trouble::Log)?;
        Ok(lines >= TURN_LINES)
    }

    /// Reads a log again for a day that is built anew. Answers whether there is more to do.
    fn rebuild(&mut self) -> Result<bool, TantivyError> {
        let Some((day, name, span)) = self.days.to_rebuild() else {
            return Ok(false);
        };
        let source = self.followed.iter().find(|f| f.source.name == name);
        let Some(source) = source.map(|f| f.source.clone()) else {
            tracing::warn!(%day, source = %name, "the log that a day was indexed from is not followed any more");
            self.days.rebuilt(day, &name, None)?;
            return Ok(true);
        };
        let mut follower = match self.again.take() {
            Some((d, n, follower)) if d == day && n == name => follower,
            _ => {
                let begin = day.and_time(NaiveTime::MIN).and_utc();
                let started = match span.at.file.is_empty() {
                    true => Follower::since(&source.path, begin.into()),
                    false => Follower::start(&source.path, span.at.clone()),
                };
                started?
            }
        };
        let until = self.days.rank(&name, &span.until);
        let (mut lines, mut failed, mut is_done) = (0, None, false);
        let days = &mut self.days;
        follower.read(|line, position| {
            lines += 1;
            if days.rank(&name, position) > until {
                is_done = true;
                return false;
            }
            let marked = source
                .cluster
                .as_deref()
                .and_then(|c| with_cluster(line, c));
            let line = marked.as_deref().unwrap_or(line);
            failed = days.take_again(day, line).err();
            failed.is_none() && lines < REBUILD_LINES
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if is_done || lines < REBUILD_LINES {
            self.days.rebuilt(day, &name, None)?;
            tracing::info!(%day, log = %source.path.display(), "a day of the search index was built anew");
        } else {
            let at = follower.position().clone();
            self.days.rebuilt(day, &name, Some(at))?;
            self.again = Some((day, name, follower));
        }
        Ok(true)
    }

    fn check(&mut self, day: NaiveDate) -> bool {
        self.shared.metrics.failed("read");
        if self.days.is_sound(day) {
            return false;
        }
        // What is added elsewhere must not be rolled back with it.
        let outcome = self.commit().and_then(|()| self.days.set_aside(day));
        if let Err(error) = &outcome {
            self.recover(error);
        }
        outcome.is_ok()
    }
}
