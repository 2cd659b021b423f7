//! `Hub`: the newest events in the order they were recorded, for watches.
//!
//! Follows the log as the indexer does, but keeps the lines: a bounded window of the newest ones,
//! each with a sequence number that grows with every line. The number is what clients see as
//! resourceVersion. It is made of the events' own times (the largest so far, and one more where that
//! does not grow), so a server that starts again on the same log gives every line the same number,
//! and a watch goes on where it was.
//!
//! Watchers hold a place in the window and take from it when they can. One that is so slow that
//! its place leaves the window is cut off and counted; nothing is ever queued for it.
//!
//! # Decisions
//! - A stat and a read of the live file twenty times a second, only while somebody watches, instead
//!   of a sink beside the log: what is shown is what stands in the log, in its order, and collectors
//!   and servers work alike.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use serde::Deserialize;
use tokio::sync::watch;

use crate::search::follower::Follower;
use crate::telemetry::Metrics;

/// Events that the window holds at most.
pub const WINDOW_EVENTS_MAX: usize = 20_000;
/// Bytes of events that the window holds at most; also how far back it reaches at a start.
pub const WINDOW_BYTES_MAX: u64 = 16 << 20;
/// Watchers at once; more are refused.
pub const WATCHERS_MAX: usize = 1_000;
/// Lines that are read before watchers get their turn.
const LINES_PER_TURN: usize = 2_000;
/// How often the log is looked at while somebody watches.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// One line of the log.
#[derive(Debug)]
pub struct Recorded {
    /// Its sequence number.
    pub sequence: u64,
    /// Its text.
    pub event: Bytes,
}

/// The place of a watcher is older than the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the place is older than the oldest event that is kept ({oldest})")]
pub struct TooOld {
    /// The oldest place that is still good.
    pub oldest: u64,
}

/// There are as many watchers as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {WATCHERS_MAX} watchers")]
pub struct TooMany;

/// The hub.
pub struct Hub {
    log: PathBuf,
    /// Held while lines are read, so that they are read once and in order.
    reading: Mutex<Option<Follower>>,
    window: Mutex<Window>,
    newest: watch::Sender<u64>,
    /// Held by the watcher that looks at the log for all.
    turn: tokio::sync::Mutex<()>,
    current: IntGauge,
    cut_off: IntCounter,
    refused: IntCounter,
}

#[derive(Default)]
struct Window {
    events: VecDeque<Arc<Recorded>>,
    bytes: u64,
    newest: u64,
    /// The newest event that was let go, or what lies before the first.
    left: u64,
    watchers: Vec<Weak<Place>>,
}

/// A watcher's place: the last event it has taken.
#[derive(Debug)]
struct Place {
    taken: AtomicU64,
    cut_off: AtomicBool,
}

impl Hub {
    /// Over the log at `log`. Reads nothing until somebody asks.
    pub fn new(log: &Path, metrics: &Metrics) -> Arc<Self> {
        let ended = &metrics.verbatim_audit_watchers_ended_total;
        Arc::new(Hub {
            log: log.into(),
            reading: Mutex::new(None),
            window: Mutex::new(Window::default()),
            newest: watch::channel(0).0,
            turn: tokio::sync::Mutex::new(()),
            current: metrics.verbatim_audit_watchers_current.clone(),
            cut_off: ended.with_label_values(&["slow"]),
            refused: ended.with_label_values(&["too_many"]),
        })
    }

    /// Reads what is in the log now. Answers the number of its newest event.
    pub async fn catch_up(self: &Arc<Self>) -> u64 {
        let hub = self.clone();
        let read = tokio::task::spawn_blocking(move || while hub.read_some() {}).await;
        if let Err(error) = read {
            tracing::error!(%error, "reading the audit log for watches was aborted");
        }
        self.window.lock().newest
    }

    /// Begins to watch behind `from`.
    pub fn watch(self: &Arc<Self>, from: u64) -> Result<Watcher, TooMany> {
        let place = Arc::new(Place {
            taken: AtomicU64::new(from),
            cut_off: AtomicBool::new(false),
        });
        let mut window = self.window.lock();
        window.watchers.retain(|w| w.strong_count() > 0);
        if window.watchers.len() >= WATCHERS_MAX {
            self.refused.inc();
            return Err(TooMany);
        }
        window.watchers.push(Arc::downgrade(&place));
        self.current.inc();
        Ok(Watcher {
            hub: self.clone(),
            place,
            newest: self.newest.subscribe(),
        })
    }

    /// Events behind `from` that are in the window, oldest first. Used to tell apart what a list
    /// shows already.
    pub fn since(&self, from: u64) -> Vec<Arc<Recorded>> {
        let window = self.window.lock();
        let start = window.events.partition_point(|e| e.sequence <= from);
        window.events.range(start..).cloned().collect()
    }

    /// Looks at the log after a while, when it is the caller's turn to do so for all watchers.
    async fn look(self: &Arc<Self>) {
        let _turn = self.turn.lock().await;
        tokio::time::sleep(POLL_INTERVAL).await;
        let hub = self.clone();
        tokio::task::spawn_blocking(move || hub.read_some())
            .await
            .ok();
    }

    /// Reads some lines into the window. Answers whether there may be more.
    fn read_some(&self) -> bool {
        let mut reading = self.reading.lock();
        let outcome = self.try_read(&mut reading);
        outcome.unwrap_or_else(|error| {
            tracing::error!(%error, log = %self.log.display(), "the audit log cannot be read for watches");
            *reading = None;
            false
        })
    }

    fn try_read(&self, reading: &mut Option<Follower>) -> std::io::Result<bool> {
        if reading
            .as_ref()
            .is_none_or(|f| f.behind() > WINDOW_BYTES_MAX)
        {
            let (follower, skipped) = Follower::near_end(&self.log, WINDOW_BYTES_MAX)?;
            *reading = Some(follower);
            self.window.lock().restart(skipped);
        }
        let Some(follower) = reading else {
            return Ok(false);
        };
        let mut lines = Vec::new();
        follower.read(|line, _| {
            lines.push(Bytes::copy_from_slice(line));
            lines.len() < LINES_PER_TURN
        })?;
        let is_full = lines.len() >= LINES_PER_TURN;
        if !lines.is_empty() {
            let (newest, slow) = self.window.lock().push(lines);
            self.cut_off.inc_by(slow);
            self.newest.send_replace(newest);
        }
        Ok(is_full)
    }
}

impl Window {
    /// Begins anew behind what was skipped.
    fn restart(&mut self, skipped: bool) {
        let newest = self.newest;
        self.events.clear();
        self.bytes = 0;
        // Until the first line shows where the window begins, no place is good.
        self.left = if skipped { u64::MAX } else { newest };
    }

    /// Adds lines. Answers the newest number and how many watchers lost their place.
    fn push(&mut self, lines: Vec<Bytes>) -> (u64, u64) {
        for event in lines {
            let Some(micros) = micros_of(&event) else {
                continue;
            };
            let sequence = (micros << 12).max(self.newest + 1);
            self.newest = sequence;
            if self.left == u64::MAX {
                // What came before this one is not known; this one is where the window begins.
                self.left = sequence;
                continue;
            }
            self.bytes += event.len() as u64;
            self.events
                .push_back(Arc::new(Recorded { sequence, event }));
        }
        while self.events.len() > WINDOW_EVENTS_MAX || self.bytes > WINDOW_BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.event.len() as u64;
            self.left = oldest.sequence;
        }
        (self.newest, self.cut_off_slow())
    }

    fn cut_off_slow(&self) -> u64 {
        let mut slow = 0;
        for place in self.watchers.iter().filter_map(Weak::upgrade) {
            let is_lost = place.taken.load(Relaxed) < self.left;
            if is_lost && !place.cut_off.swap(true, Relaxed) {
                slow += 1;
            }
        }
        slow
    }
}

/// Time of an event in microseconds; `None` for what is no event.
fn micros_of(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Times<'a> {
        #[serde(borrow, default)]
        stage_timestamp: &'a str,
        #[serde(borrow, default)]
        request_received_timestamp: &'a str,
    }
    let times: Times<'_> = serde_json::from_slice(line).ok()?;
    let time = [times.stage_timestamp, times.request_received_timestamp]
        .into_iter()
        .find_map(|t| chrono::DateTime::parse_from_rfc3339(t).ok())?;
    u64::try_from(time.timestamp_micros()).ok()
}

/// One watcher.
pub struct Watcher {
    hub: Arc<Hub>,
    place: Arc<Place>,
    newest: watch::Receiver<u64>,
}

impl Watcher {
    /// Up to `limit` events behind the last one taken; empty when there is none yet.
    pub fn take(&mut self, limit: usize) -> Result<Vec<Arc<Recorded>>, TooOld> {
        self.newest.borrow_and_update();
        let window = self.hub.window.lock();
        let taken = self.place.taken.load(Relaxed);
        if taken < window.left || self.place.cut_off.load(Relaxed) {
            return Err(TooOld {
                oldest: window.left,
            });
        }
        let start = window.events.partition_point(|e| e.sequence <= taken);
        let events: Vec<_> = window.events.range(start..).take(limit).cloned().collect();
        if let Some(last) = events.last() {
            self.place.taken.store(last.sequence, Relaxed);
        }
        Ok(events)
    }

    /// The last event taken, or where the watch began.
    pub fn taken(&self) -> u64 {
        self.place.taken.load(Relaxed)
    }

    /// Waits until there may be more.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                changed = self.newest.changed() => {
                    if changed.is_ok() {
                        return;
                    }
                }
                () = self.hub.look() => {}
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hub.current.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn line(second: u32, id: &str) -> String {
        format!(
            "{{\"auditID\":\"{id}\",\"stageTimestamp\":\"2026-01-01T00:00:{second:02}.000000Z\"}}\n"
        )
    }

    fn ids(events: &[Arc<Recorded>]) -> Vec<String> {
        events
            .iter()
            .map(|e| {
                let tree: crate::base::tree::Value =
                    serde_json::from_slice(&e.event).expect("JSON");
                tree["auditID"].as_str().unwrap_or_default().to_string()
            })
            .collect()
    }

    #[tokio::test]
    async fn resumes_without_loss_also_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("audit.log");
        // The third arrives late: its time is before that of the second.
        std::fs::write(&log, line(1, "a") + &line(5, "b") + &line(3, "c")).expect("writes");
        let metrics = Metrics::new(&[]);
        let hub = Hub::new(&log, &metrics);
        let newest = hub.catch_up().await;
        let all = hub.watch(0).expect("a watcher").take(10).expect("events");
        assert_eq!(ids(&all), ["a", "b", "c"]);
        assert_eq!(all[2].sequence, newest);

        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&log)
            .expect("the log");
        let mut watcher = hub.watch(newest).expect("a watcher");
        assert!(watcher.take(10).expect("nothing yet").is_empty());
        file.write_all(line(4, "d").as_bytes()).expect("writes");
        tokio::time::timeout(Duration::from_secs(10), watcher.changed())
            .await
            .expect("the new line is noticed");
        assert_eq!(ids(&watcher.take(10).expect("one")), ["d"]);

        let again = Hub::new(&log, &metrics);
        again.catch_up().await;
        let resumed = again.watch(all[0].sequence).expect("a watcher").take(10);
        assert_eq!(ids(&resumed.expect("events")), ["b", "c", "d"]);
    }

    #[test]
    fn a_slow_watcher_is_cut_off_and_counted() {
        let metrics = Metrics::new(&[]);
        let hub = Hub::new(Path::new("/nonexistent"), &metrics);
        let mut slow = hub.watch(0).expect("a watcher");
        let mut window = hub.window.lock();
        let first = Bytes::from(line(1, "a"));
        let many = std::iter::repeat_n(first, WINDOW_EVENTS_MAX + 5).collect();
        let (newest, cut_off) = window.push(many);
        assert_eq!(cut_off, 1);
        drop(window);
        assert!(slow.take(1).is_err());
        let mut fresh = hub.watch(newest).expect("a watcher");
        assert!(fresh.take(1).is_ok());
        let watchers: Vec<_> = (0..WATCHERS_MAX).map(|_| hub.watch(newest)).collect();
        assert!(watchers.iter().any(Result::is_err));
        assert!(metrics.verbatim_audit_watchers_current.get() <= 1_000);
    }
}
