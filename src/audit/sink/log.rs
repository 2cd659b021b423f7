//! The log sink: JSON lines into a rotating file or onto standard output.
//!
//! Blocking modes group writes: a caller that finds the file idle writes what has gathered, its own
//! line and those of others, with one system call; a caller that finds it busy waits for the group
//! its line is in. Batch mode is [`super::buffered`] around this.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::audit::EventBytes;
use crate::audit::metrics::Metrics;
use crate::audit::own::Gap;
use crate::audit::sink::file::{Incident, RotatingFile, Rotation};
use crate::audit::sink::{Loss, Receipt, Sink, legacy};

/// Upstream's name for this sink in metrics.
const PLUGIN: &str = "log";

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
    /// What kept the last write from succeeding.
    problem: Mutex<Option<String>>,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    events: u64,
    waiters: Vec<oneshot::Sender<Result<(), Loss>>>,
    /// Somebody is writing and will look at the queue again.
    writing: bool,
}

enum Target {
    File(Box<RotatingFile>),
    Stdout,
}

impl Target {
    fn write(&mut self, lines: &[u8]) -> std::io::Result<Option<Incident>> {
        match self {
            Target::File(file) => file.write(lines),
            Target::Stdout => {
                let mut out = std::io::stdout().lock();
                out.write_all(lines)?;
                out.flush().map(|()| None)
            }
        }
    }
}

impl LogSink {
    /// Opens the file.
    pub fn open(options: &LogOptions, metrics: Metrics) -> std::io::Result<Arc<Self>> {
        let target = if options.path == Path::new("-") {
            Target::Stdout
        } else {
            Target::File(Box::new(RotatingFile::open(
                &options.path,
                options.rotation,
            )?))
        };
        Ok(Arc::new(LogSink {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                target: Mutex::new(target),
                metrics,
                gap: Gap::default(),
                problem: Mutex::default(),
            }),
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

impl Shared {
    /// Writes what has gathered. Answers what became of it.
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
        let outcome = self.write(&lines, events);
        for waiter in waiters {
            // A waiter whose client went away does not listen any more.
            waiter.send(outcome).ok();
        }
        outcome
    }

    fn write(&self, lines: &[u8], events: u64) -> Result<(), Loss> {
        let mut target = self.target.lock();
        // Where events are missing a record says so, before anything else.
        let gap = self.gap.take(PLUGIN);
        let written = match &gap {
            Some((record, _)) => target
                .write(record.line())
                .and_then(|_| target.write(lines)),
            None => target.write(lines),
        };
        drop(target);
        match written {
            Ok(incident) => {
                self.note_incident(incident);
                *self.problem.lock() = None;
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, events, "writing the audit log failed");
                self.metrics.lost(PLUGIN, Loss::WriteFailed, events);
                let earlier = gap.map_or(0, |(_, events)| events);
                self.gap.note(Loss::WriteFailed, earlier + events);
                *self.problem.lock() = Some(format!("writing the audit log failed: {error}"));
                Err(Loss::WriteFailed)
            }
        }
    }

    fn note_incident(&self, incident: Option<Incident>) {
        if incident == Some(Incident::Replaced) {
            tracing::error!("the audit log was deleted or replaced; a new file is open");
            // How many events went with it is not known; the record and the counter say that some did.
            self.metrics.lost(PLUGIN, Loss::Replaced, 1);
            self.gap.note(Loss::Replaced, 1);
        }
    }

    /// Gives up writing if nothing is left. Answers whether there is more to write.
    fn more_to_write(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.writing = !queue.lines.is_empty() || !queue.waiters.is_empty();
        queue.writing
    }

    fn drain(&self) {
        while self.more_to_write() {
            // Those who wait have been told; a loss has been counted.
            self.write_group().ok();
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
                return Receipt::Lost(loss);
            }
        };
        {
            let mut queue = self.shared.queue.lock();
            queue.lines.extend_from_slice(&text);
            queue.events += 1;
            if queue.writing {
                let (told, outcome) = oneshot::channel();
                queue.waiters.push(told);
                return Receipt::Pending(outcome);
            }
            queue.writing = true;
        }
        let outcome = self.shared.write_group();
        // What came in meanwhile is not this caller's to wait for.
        if self.shared.more_to_write() {
            let shared = self.shared.clone();
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(async move {
                    // Its own group is marked as being written: take it first.
                    shared.write_group().ok();
                    shared.drain();
                })),
                Err(_) => {
                    shared.write_group().ok();
                    shared.drain();
                }
            }
        }
        match outcome {
            Ok(()) => Receipt::Done,
            Err(loss) => Receipt::Lost(loss),
        }
    }

    fn check(&self) -> Result<(), String> {
        let looked = match &mut *self.shared.target.lock() {
            Target::File(file) => file.check(),
            Target::Stdout => Ok(None),
        };
        match looked {
            Ok(incident) => self.shared.note_incident(incident),
            Err(error) => return Err(format!("the audit log cannot be opened: {error}")),
        }
        match &*self.shared.problem.lock() {
            Some(problem) => Err(problem.clone()),
            None => Ok(()),
        }
    }

    async fn flush(&self) {
        let outcome = {
            let mut queue = self.shared.queue.lock();
            if !queue.writing {
                return;
            }
            let (told, outcome) = oneshot::channel();
            queue.waiters.push(told);
            outcome
        };
        outcome.await.ok();
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
    async fn concurrent_writers_lose_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let options = LogOptions {
            path: path.clone(),
            ..LogOptions::default()
        };
        let sink = LogSink::open(&options, Metrics::new()).expect("opens");
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
    }

    #[tokio::test]
    async fn a_full_disk_is_told() {
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
    async fn a_deleted_log_leaves_a_gap_record_k8s_111208() {
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
        std::thread::sleep(std::time::Duration::from_millis(600));
        sink.check().expect("a new file is open");
        assert_eq!(metrics.lost_total("log"), 1);
        sink.accept(&event("b")).settle().await.expect("is written");
        let text = std::fs::read_to_string(&path).expect("exists");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].contains(r#"\"reason\":\"replaced\""#),
            "{}",
            lines[0]
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
