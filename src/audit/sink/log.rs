//! The log sink: JSON lines into a rotating file or onto standard output.
//!
//! Blocking modes group writes: a caller that finds the file idle lets all others go first that are
//! ready to run, then writes what has gathered, its own line and theirs, with one system call (and one
//! for the chain); a caller that finds it busy waits for the group its line is in. Batch mode is
//! [`super::buffered`] around this.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::audit::EventBytes;
use crate::audit::chain::notary::Place;
use crate::audit::chain::recovery::{Before, Recovery};
use crate::audit::chain::{CheckpointKind, Notary, NotaryOptions};
use crate::audit::metrics::Metrics;
use crate::audit::own::{Gap, own_event};
use crate::audit::sink::file::{Incident, RotatingFile, Rotation, WriteError};
use crate::audit::sink::{Gathering, Leading, Loss, Receipt, Sink, legacy};
use crate::base::tree::json;

/// Upstream's name for this sink in metrics.
const PLUGIN: &str = "log";
/// How long an incident is told to those who ask for problems.
const INCIDENT_TOLD: Duration = Duration::from_secs(60);

/// How events are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON document per line.
    #[default]
    Json,
    /// Upstream's `key="value"` lines.
    Legacy,
}

/// `--audit-log-*`.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// File, or `-` for standard output.
    pub path: PathBuf,
    /// Rotation of the file.
    pub rotation: Rotation,
    /// Format of the lines.
    pub format: Format,
    /// Events larger than this lose their bodies; `None` when truncation is off.
    pub max_event_bytes: Option<usize>,
    /// Chain and checkpoints; `None` when they are off.
    pub chain: Option<NotaryOptions>,
}

/// The sink.
pub struct LogSink {
    shared: Arc<Shared>,
    format: Format,
    max_event_bytes: Option<usize>,
}

struct Shared {
    queue: Mutex<Queue>,
    target: Mutex<Target>,
    metrics: Metrics,
    gap: Gap,
    /// What happened to the log, still to be written into it.
    notes: Mutex<Vec<u8>>,
    /// What kept the last write from succeeding.
    problem: Mutex<Option<String>>,
    /// What somebody did to the log last.
    incident: Mutex<Option<(Instant, String)>>,
    notary: Option<Arc<Notary>>,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    events: u64,
    waiters: Vec<Waiter>,
    /// Somebody is writing and will look at the queue again.
    writing: bool,
}

/// Somebody who waits for a group, and for which of its events. A flush waits for none.
struct Waiter {
    event: Option<u64>,
    told: oneshot::Sender<Result<(), Loss>>,
}

enum Target {
    File(Box<RotatingFile>),
    Stdout,
}

impl Target {
    fn write(&mut self, lines: &[u8]) -> Result<Option<Incident>, WriteError> {
        match self {
            Target::File(file) => file.write(lines),
            Target::Stdout => {
                let mut out = std::io::stdout().lock();
                out.write_all(lines)?;
                Ok(out.flush().map(|()| None)?)
            }
        }
    }

    fn place(&self) -> Option<Place> {
        match self {
            Target::File(file) => {
                let (chain, log) = file.chain()?;
                Place::of(chain, log)
            }
            Target::Stdout => None,
        }
    }
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its chain.
    #[error("cannot open {}", path.display())]
    File {
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key of the checkpoints, or the checkpoints.
    #[error("cannot sign checkpoints")]
    Checkpoints(#[from] crate::audit::chain::checkpoint::KeyError),
}

impl LogSink {
    /// Opens the file.
    pub fn open(options: &LogOptions, metrics: Metrics) -> Result<Arc<Self>, OpenError> {
        let mut notary = None;
        let mut recovery = Recovery::default();
        let path = &options.path;
        let target = if path == Path::new("-") {
            Target::Stdout
        } else {
            let failed = |source| OpenError::File {
                path: path.clone(),
                source,
            };
            let file = match options.chain.clone().filter(|_| can_be_chained(path)) {
                None => RotatingFile::open(path, options.rotation).map_err(failed)?,
                Some(chain) => {
                    let server = chain.server.clone();
                    let (opened, checkpoint) = Notary::open(path, chain, metrics.clone())?;
                    let before = Before { server, checkpoint };
                    notary = Some(opened.clone());
                    let (file, found) =
                        RotatingFile::open_chained(path, options.rotation, &before, opened)
                            .map_err(failed)?;
                    recovery = found;
                    file
                }
            };
            Target::File(Box::new(file))
        };
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            target: Mutex::new(target),
            metrics,
            gap: Gap::default(),
            notes: Mutex::default(),
            problem: Mutex::default(),
            incident: Mutex::default(),
            notary,
        });
        shared.note_recovery(&recovery);
        shared.start_notary().map_err(|source| OpenError::File {
            path: path.clone(),
            source,
        })?;
        Ok(Arc::new(LogSink {
            shared,
            format: options.format,
            max_event_bytes: options.max_event_bytes,
        }))
    }

    /// The text that goes into the log, or why none does.
    fn text<'a>(&self, event: &'a EventBytes) -> Result<std::borrow::Cow<'a, [u8]>, Loss> {
        let mut line = std::borrow::Cow::Borrowed(event.line());
        if let Some(max) = self.max_event_bytes
            && line.len() > max
        {
            line = event.truncated().ok_or(Loss::TooLarge)?.into();
            if line.len() > max {
                return Err(Loss::TooLarge);
            }
        }
        if self.format == Format::Legacy {
            line = legacy::line(&line[..line.len() - 1]).into();
        }
        Ok(line)
    }
}

/// Devices, pipes and links to such have no chain.
fn can_be_chained(path: &Path) -> bool {
    std::fs::symlink_metadata(path).map_or(true, |m| m.is_file())
}

impl Shared {
    fn start_notary(self: &Arc<Self>) -> std::io::Result<()> {
        let Some(notary) = &self.notary else {
            return Ok(());
        };
        if let Some(place) = self.target.lock().place() {
            notary.sign(CheckpointKind::Start, &place);
        }
        let shared: Weak<Shared> = Arc::downgrade(self);
        notary.start(move || Some(shared.upgrade()?.target.lock().place()))
    }

    fn note_recovery(&self, recovery: &Recovery) {
        if recovery.is_nothing() {
            return;
        }
        tracing::warn!(?recovery, "the audit log was not ended well");
        self.note("chain", &recovery.annotation());
        if recovery.missing > 0 {
            self.metrics.lost(PLUGIN, Loss::Truncated, recovery.missing);
            self.gap.note(Loss::Truncated, recovery.missing);
        }
        self.write_notes();
    }

    /// An event of the server's own, written before whatever comes next.
    fn note(&self, verb: &str, value: &str) {
        let event = own_event(verb, value);
        self.notes.lock().extend_from_slice(event.line());
    }

    /// Writes what has gathered. Answers what became of its first event.
    fn write_group(&self) -> Result<(), Loss> {
        let (lines, events, waiters) = {
            let mut queue = self.queue.lock();
            let waiters = std::mem::take(&mut queue.waiters);
            (
                std::mem::take(&mut queue.lines),
                std::mem::take(&mut queue.events),
                waiters,
            )
        };
        self.metrics.log_writes.inc();
        let kept = self.write(&lines, events);
        let outcome = |event: u64| match event < kept {
            true => Ok(()),
            false => Err(Loss::WriteFailed),
        };
        for waiter in waiters {
            // A waiter whose client went away does not listen any more.
            waiter.told.send(waiter.event.map_or(Ok(()), outcome)).ok();
        }
        outcome(0)
    }

    /// Answers how many of the events are in the log.
    fn write(&self, lines: &[u8], events: u64) -> u64 {
        let mut target = self.target.lock();
        let written = match self.write_own(&mut target) {
            Ok(()) => target
                .write(lines)
                .map(|incident| self.note_incident(incident)),
            Err(error) => Err(error),
        };
        let count = match &*target {
            Target::File(file) => file.chain().map(|(chain, _)| chain.head().count),
            Target::Stdout => None,
        };
        drop(target);
        if let (Some(notary), Some(count)) = (&self.notary, count) {
            notary.advance(count);
        }
        match written {
            Ok(()) => {
                let mut problem = self.problem.lock();
                if problem.is_some() {
                    *problem = None;
                }
                events
            }
            Err(error) => {
                let kept = memchr::memchr_iter(b'\n', &lines[..error.written]).count() as u64;
                self.note_failure(&error.source, events - kept);
                kept
            }
        }
    }

    /// Where events are missing a record says so, before anything else.
    fn write_own(&self, target: &mut Target) -> Result<(), WriteError> {
        let notes = std::mem::take(&mut *self.notes.lock());
        if !notes.is_empty() {
            match target.write(&notes) {
                Ok(incident) => self.note_incident(incident),
                Err(error) => {
                    let mut back = notes[error.written..].to_vec();
                    back.append(&mut self.notes.lock());
                    *self.notes.lock() = back;
                    return Err(error.source.into());
                }
            }
        }
        if self.gap.is_empty() {
            return Ok(());
        }
        let (records, taken) = self.gap.take_all(PLUGIN);
        match target.write(&records) {
            Ok(incident) => {
                self.note_incident(incident);
                Ok(())
            }
            Err(error) => {
                let written = memchr::memchr_iter(b'\n', &records[..error.written]).count();
                self.gap.put_back(taken, written);
                Err(error.source.into())
            }
        }
    }

    fn note_failure(&self, error: &std::io::Error, lost: u64) {
        let text = format!("writing the audit log failed: {error}");
        let mut problem = self.problem.lock();
        if problem.is_none() {
            tracing::error!(%error, "writing the audit log failed");
        }
        *problem = Some(text);
        if lost > 0 {
            self.metrics.lost(PLUGIN, Loss::WriteFailed, lost);
            self.gap.note(Loss::WriteFailed, lost);
        }
    }

    fn note_incident(&self, incident: Option<Incident>) {
        let Some(incident) = incident else {
            return;
        };
        let text = match incident {
            Incident::Deleted(n) => format!("the audit log was deleted with {n} events"),
            Incident::Moved(n) => format!("the audit log was moved away with {n} events"),
            Incident::Truncated(n) => format!("the audit log was cut by {n} events"),
            Incident::Foreign(n) => {
                format!("{n} bytes are in the audit log that the server did not write")
            }
            Incident::Unchained => "the chain file of the audit log was touched".into(),
        };
        tracing::error!(incident = incident.kind(), "{text}");
        self.metrics.incident(incident.kind());
        let value = json!({"incident": incident.kind(), "message": text});
        self.note("incident", &value.to_string());
        match incident {
            Incident::Deleted(lost) if lost > 0 => {
                self.metrics.lost(PLUGIN, Loss::Replaced, lost);
                self.gap.note(Loss::Replaced, lost);
            }
            Incident::Truncated(lost) if lost > 0 => {
                self.metrics.lost(PLUGIN, Loss::Truncated, lost);
                self.gap.note(Loss::Truncated, lost);
            }
            _ => {}
        }
        *self.incident.lock() = Some((Instant::now(), text));
    }

    /// Writes what the log has to say about itself, also when nothing happens.
    fn write_notes(&self) {
        if self.gap.is_empty() && self.notes.lock().is_empty() {
            return;
        }
        let mut target = self.target.lock();
        match self.write_own(&mut target) {
            Ok(()) => *self.problem.lock() = None,
            Err(error) => self.note_failure(&error.source, 0),
        }
    }

    /// Gives up writing if nothing is left. Answers whether there is more to write.
    fn more_to_write(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.writing = !queue.lines.is_empty() || !queue.waiters.is_empty();
        queue.writing
    }

    /// Writes group by group, as long as there are more.
    async fn drain(self: Arc<Self>) {
        loop {
            tokio::task::yield_now().await;
            // Those who wait have been told; a loss has been counted.
            self.write_group().ok();
            if !self.more_to_write() {
                return;
            }
        }
    }

    /// What is wrong now.
    fn problem(&self) -> Option<String> {
        if let Some(problem) = &*self.problem.lock() {
            return Some(problem.clone());
        }
        if let Target::File(file) = &*self.target.lock()
            && let Some(problem) = file.problem()
        {
            return Some(problem);
        }
        let incident = self.incident.lock();
        let (at, text) = incident.as_ref()?;
        (at.elapsed() < INCIDENT_TOLD).then(|| text.clone())
    }
}

impl Gathering for Shared {
    fn write_gathered(self: Arc<Self>) -> Result<(), Loss> {
        let outcome = self.write_group();
        // What came in meanwhile is not this caller's to wait for.
        if self.more_to_write() {
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(self.drain())),
                Err(_) => loop {
                    self.write_group().ok();
                    if !self.more_to_write() {
                        break;
                    }
                },
            }
        }
        outcome
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        if let Some(notary) = &self.shared.notary {
            notary.end();
        }
    }
}

#[async_trait]
impl Sink for LogSink {
    fn name(&self) -> &'static str {
        PLUGIN
    }

    fn accept(&self, event: &Arc<EventBytes>) -> Receipt {
        let text = match self.text(event) {
            Ok(text) => text,
            Err(loss) => {
                self.shared.metrics.lost("truncate", loss, 1);
                self.shared.gap.note(loss, 1);
                return Receipt::Lost(loss);
            }
        };
        {
            let mut queue = self.shared.queue.lock();
            queue.lines.extend_from_slice(&text);
            queue.events += 1;
            if queue.writing {
                let (told, outcome) = oneshot::channel();
                let event = Some(queue.events - 1);
                queue.waiters.push(Waiter { event, told });
                return Receipt::Pending(outcome);
            }
            queue.writing = true;
        }
        Receipt::Leading(Leading::new(self.shared.clone()))
    }

    fn check(&self) -> Result<(), String> {
        let looked = match &mut *self.shared.target.lock() {
            Target::File(file) => file.look(),
            Target::Stdout => Ok(None),
        };
        match looked {
            Ok(incident) => self.shared.note_incident(incident),
            Err(error) => {
                let text = format!("the audit log cannot be opened: {error}");
                *self.shared.problem.lock() = Some(text);
            }
        }
        self.shared.write_notes();
        let problem = self.shared.problem();
        self.shared.metrics.problem(PLUGIN, problem.is_some());
        problem.map_or(Ok(()), Err)
    }

    async fn flush(&self) {
        let waited = {
            let mut queue = self.shared.queue.lock();
            match queue.writing {
                false => None,
                true => {
                    let (told, outcome) = oneshot::channel();
                    queue.waiters.push(Waiter { event: None, told });
                    Some(outcome)
                }
            }
        };
        if let Some(outcome) = waited {
            outcome.await.ok();
        }
        self.shared.write_notes();
        let Some(notary) = &self.shared.notary else {
            return;
        };
        let place = self.shared.target.lock().place();
        notary.sign_finished();
        if let Some(place) = place {
            notary.sign(CheckpointKind::Shutdown, &place);
        }
        notary.settled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Stage;

    fn event(text: &str) -> Arc<EventBytes> {
        let line = format!("{{\"n\":\"{text}\"}}\n").into_bytes();
        Arc::new(EventBytes::from_line(line, Stage::ResponseComplete))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn thread_16_concurrent_writers_share_writes_and_lose_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let options = LogOptions {
            path: path.clone(),
            ..LogOptions::default()
        };
        let metrics = Metrics::new();
        let sink = LogSink::open(&options, metrics.clone()).expect("opens");
        let mut tasks = Vec::new();
        for task in 0..16 {
            let sink = sink.clone();
            tasks.push(tokio::spawn(async move {
                for n in 0..500 {
                    let receipt = sink.accept(&event(&format!("{task}-{n}")));
                    receipt.settle().await.expect("is written");
                }
            }));
        }
        for task in tasks {
            task.await.expect("ends");
        }
        let text = std::fs::read_to_string(&path).expect("exists");
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 16 * 500);
        let writes = metrics.log_writes.get();
        assert!(writes < 16 * 500, "{writes} writes");
    }

    #[tokio::test]
    async fn thread_18_a_full_disk_is_told() {
        let options = LogOptions {
            path: "/dev/full".into(),
            rotation: Rotation {
                max_bytes: 0,
                ..Rotation::default()
            },
            ..LogOptions::default()
        };
        let metrics = Metrics::new();
        let sink = LogSink::open(&options, metrics.clone()).expect("opens");
        let outcome = sink.accept(&event("a")).settle().await;
        assert_eq!(outcome, Err(Loss::WriteFailed));
        assert_eq!(metrics.lost_total("log"), 1);
        assert!(
            sink.check().is_err(),
            "users.md thread 18: healthy it is not"
        );
    }

    #[tokio::test]
    async fn thread_18_a_deleted_log_leaves_a_gap_record() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let options = LogOptions {
            path: path.clone(),
            ..LogOptions::default()
        };
        let metrics = Metrics::new();
        let sink = LogSink::open(&options, metrics.clone()).expect("opens");
        sink.accept(&event("a")).settle().await.expect("is written");
        std::fs::remove_file(&path).expect("deletes");
        let told = sink.check().expect_err("the deletion is told");
        assert!(told.contains("deleted with 1 events"), "{told}");
        assert_eq!(metrics.lost_total("log"), 1);
        sink.accept(&event("b")).settle().await.expect("is written");
        let text = std::fs::read_to_string(&path).expect("exists");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "incident, gap, event");
        assert!(
            lines[1].contains(r#"\"reason\":\"replaced\""#),
            "{}",
            lines[1]
        );
    }

    #[tokio::test]
    async fn what_is_too_large_is_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        let options = LogOptions {
            path: dir.path().join("audit.log"),
            max_event_bytes: Some(4),
            ..LogOptions::default()
        };
        let metrics = Metrics::new();
        let sink = LogSink::open(&options, metrics.clone()).expect("opens");
        let outcome = sink.accept(&event("long")).settle().await;
        assert_eq!(outcome, Err(Loss::TooLarge));
        assert_eq!(metrics.lost_total("truncate"), 1);
    }
}
