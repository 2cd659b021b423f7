//! Import: audit events from files into an index.
//!
//! Takes what people have: kube-apiserver's JSON lines (and rotated, gzipped ones), `EventList` bodies,
//! pretty-printed documents and arrays, KHI-style and our own exports, entries that a log collector
//! wrapped around events, GKE's Cloud Logging entries. Events that are in the index already are not
//! added again.
//!
//! [`import`] writes an index at a root that nobody else has open; [`read`] only reads, for whoever
//! sends events on. What a server receives it redacts ([`super::ingest`]). [`import`] does not: it knows
//! no server's configuration, and whoever may write there may read the files.

mod cloud;
mod records;
mod wrapped;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use chrono::{DateTime, Utc};
use flate2::bufread::MultiGzDecoder;
use serde::Serialize;

pub use records::Place;
pub use wrapped::{TakeEvent, events_of};

use crate::search::days::{Days, Shared, Taken};
use crate::search::document::KEY_MICROS_SHIFT;
use crate::search::event::with_cluster;
use crate::search::fields::Fields;
use crate::search::index::IndexOptions;

/// Problems that a summary lists; all are counted.
const PROBLEMS_MAX: usize = 100;
/// Events between commits.
const COMMIT_EVENTS: u64 = 1_000_000;
/// Events between calls of the progress callback.
const PROGRESS_EVENTS: u64 = 2_000;
/// Files that are taken from folders, also with `.gz` behind.
const EXTENSIONS: [&str; 6] = ["log", "json", "jsonl", "ndjson", "txt", "audit"];
/// How gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Where events are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file, or a folder with files below it.
    Path(PathBuf),
}

impl Input {
    /// `-` is standard input.
    pub fn of(text: &str) -> Self {
        match text {
            "-" => Input::Stdin,
            path => Input::Path(path.into()),
        }
    }
}

/// How far a reader is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Bytes read, as they lie on the disk.
    pub bytes: u64,
    /// Bytes there are; `None` when standard input is among them.
    pub bytes_total: Option<u64>,
    /// Events found.
    pub events: u64,
    /// What is read.
    pub file: String,
}

/// Something that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file; `-` for standard input.
    pub file: String,
    /// The line, or the number of the event in a document; `None` for the file as a whole.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// What is wrong.
    pub reason: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place {
            Some(Place::Line(line)) => write!(f, "{}:{line}: {}", self.file, self.reason),
            Some(Place::Event(event)) => {
                write!(f, "{} (event {event}): {}", self.file, self.reason)
            }
            None => write!(f, "{}: {}", self.file, self.reason),
        }
    }
}

/// What became of it all.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Files read.
    pub files: u64,
    /// Bytes read, as they lie on the disk.
    pub bytes: u64,
    /// Events added.
    pub events: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Events older than what the index keeps.
    pub too_old: u64,
    /// Lines and documents that are no events, and files that could not be read to their end.
    pub bad: u64,
    /// The first of these.
    pub problems: Vec<Problem>,
    /// Time of the oldest event that was added or there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<DateTime<Utc>>,
    /// Time of the newest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<DateTime<Utc>>,
}

impl Summary {
    /// Counts something that could not be taken.
    pub fn bad(&mut self, file: &str, place: Option<Place>, reason: impl Into<String>) {
        self.bad += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem {
                file: file.into(),
                place,
                reason: reason.into(),
            });
        }
    }

    fn saw(&mut self, key: u64) {
        let micros = i64::try_from(key >> KEY_MICROS_SHIFT).unwrap_or_default();
        let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
    }
}

/// Why an import ended early.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file or folder that was named cannot be opened.
    #[error("cannot read {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A folder has no audit logs.
    #[error(
        "no audit logs in {0} (looked for *.log, *.json, *.jsonl, *.ndjson, *.txt, *.audit, also with .gz)"
    )]
    NoFiles(PathBuf),
    /// The index cannot be opened.
    #[error("cannot open the index in {root}")]
    Index {
        /// Where.
        root: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The index cannot be written.
    #[error("cannot write the index")]
    Write(#[from] tantivy::TantivyError),
    /// Whoever took the events cannot go on.
    #[error(transparent)]
    Taker(Box<dyn std::error::Error + Send + Sync>),
}

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// How the index is kept.
    pub index: IndexOptions,
    /// Cluster to note in the events.
    pub cluster: Option<String>,
}

impl Default for ImportOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        ImportOptions {
            index: IndexOptions {
                writer_threads: threads.clamp(1, 4),
                writer_bytes: 200 << 20,
                ..IndexOptions::default()
            },
            cluster: None,
        }
    }
}

/// Reads inputs into the index at `root`. Nobody else may have it open.
pub fn import(
    root: &Path,
    inputs: &[Input],
    options: ImportOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Summary, ImportError> {
    let shared = Arc::new(Shared::new(options.index.metrics.clone()));
    let days = Days::open(root, Arc::new(Fields::new()), shared, options.index);
    let mut days = days.map_err(|source| ImportError::Index {
        root: root.into(),
        source,
    })?;
    let mut taken = Summary::default();
    let cluster = options.cluster.as_deref();
    let read = read(inputs, progress, &mut |file, place, event| {
        let marked = cluster.and_then(|c| with_cluster(event, c));
        let prepared = match days.prepare(marked.as_deref().unwrap_or(event)) {
            Ok(prepared) => prepared,
            Err(error) => {
                taken.bad(file, Some(place), chain(&error));
                return Ok(());
            }
        };
        let key = prepared.key;
        match days.take_loose(prepared)? {
            Taken::Added => taken.events += 1,
            Taken::Duplicate => taken.duplicates += 1,
            Taken::Old => {
                taken.too_old += 1;
                return Ok(());
            }
            Taken::Future | Taken::Bad(_) => {
                taken.bad(file, Some(place), "is of a time that has not come yet");
                return Ok(());
            }
        }
        taken.saw(key);
        if days.uncommitted() >= COMMIT_EVENTS {
            days.commit()?;
        }
        Ok(())
    })?;
    days.commit()?;
    days.finish()?;
    taken.files = read.files;
    taken.bytes = read.bytes;
    taken.bad += read.bad;
    let room = PROBLEMS_MAX - taken.problems.len();
    taken.problems.extend(read.problems.into_iter().take(room));
    Ok(taken)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Takes an event: the file, where in it, and the event as one line of JSON.
pub type Take<'t> = dyn FnMut(&str, Place, &[u8]) -> Result<(), ImportError> + 't;

/// Reads inputs and hands each event out. The summary tells of files, bytes and what is no event.
pub fn read(
    inputs: &[Input],
    progress: &mut dyn FnMut(&Progress),
    take: &mut Take<'_>,
) -> Result<Summary, ImportError> {
    let files = files(inputs)?;
    let mut told = Progress {
        bytes_total: total(&files),
        ..Progress::default()
    };
    let mut summary = Summary::default();
    for file in &files {
        let bytes = Arc::new(AtomicU64::new(0));
        let before = told.bytes;
        let mut reader = open(file, bytes.clone())?;
        told.file = name_of(file);
        summary.files += 1;
        let mut failed = None;
        let ended = records::scan(&mut *reader, &mut |place, document| {
            events_of(document, &mut |event| {
                let event = match event {
                    Ok(event) => event,
                    Err(reason) => {
                        summary.bad(&told.file, Some(place), reason);
                        return true;
                    }
                };
                told.events += 1;
                if told.events.is_multiple_of(PROGRESS_EVENTS) {
                    told.bytes = before + bytes.load(Relaxed);
                    progress(&told);
                }
                failed = take(&told.file, place, event).err();
                failed.is_none()
            });
            failed.is_none()
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if let Err((place, reason)) = ended {
            summary.bad(&told.file, place, reason);
        }
        told.bytes = before + bytes.load(Relaxed);
        progress(&told);
    }
    summary.bytes = told.bytes;
    Ok(summary)
}

fn name_of(input: &Input) -> String {
    match input {
        Input::Stdin => "-".into(),
        Input::Path(path) => path.display().to_string(),
    }
}

fn total(files: &[Input]) -> Option<u64> {
    let size = |file: &Input| match file {
        Input::Stdin => None,
        Input::Path(path) => Some(fs::metadata(path).map_or(0, |m| m.len())),
    };
    files.iter().map(size).sum()
}

/// Counts what is read from the disk.
struct Counted<R> {
    reader: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}

fn open(input: &Input, bytes: Arc<AtomicU64>) -> Result<Box<dyn BufRead>, ImportError> {
    const BUFFER: usize = 256 << 10;
    let reader: Box<dyn Read> = match input {
        Input::Stdin => Box::new(io::stdin()),
        Input::Path(path) => Box::new(File::open(path).map_err(|source| ImportError::Open {
            path: path.clone(),
            source,
        })?),
    };
    let mut reader = BufReader::with_capacity(BUFFER, Counted { reader, bytes });
    // By content, not by name: standard input has none.
    let start = reader.fill_buf().unwrap_or_default();
    if start.starts_with(&GZIP) {
        let plain = MultiGzDecoder::new(reader);
        return Ok(Box::new(BufReader::with_capacity(BUFFER, plain)));
    }
    Ok(Box::new(reader))
}

/// Replaces folders by the files below them.
fn files(inputs: &[Input]) -> Result<Vec<Input>, ImportError> {
    let mut out = Vec::new();
    for input in inputs {
        let Input::Path(path) = input else {
            out.push(Input::Stdin);
            continue;
        };
        let opened = fs::metadata(path).map_err(|source| ImportError::Open {
            path: path.clone(),
            source,
        })?;
        if !opened.is_dir() {
            out.push(input.clone());
            continue;
        }
        let before = out.len();
        gather(path, &mut out)?;
        if out.len() == before {
            return Err(ImportError::NoFiles(path.clone()));
        }
    }
    Ok(out)
}

fn gather(folder: &Path, out: &mut Vec<Input>) -> Result<(), ImportError> {
    let failed = |source| ImportError::Open {
        path: folder.into(),
        source,
    };
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths: Vec<PathBuf> = entries
        .map(|e| e.map(|e| e.path()))
        .collect::<io::Result<_>>()
        .map_err(failed)?;
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            gather(&path, out)?;
        } else if is_log(&name) {
            out.push(Input::Path(path));
        }
    }
    Ok(())
}

/// Whether a file in a folder is one to read: by its extension, before `.gz`, or rotated as
/// `audit.log.1`.
fn is_log(name: &str) -> bool {
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let plain = match plain.rsplit_once(['.', '-']) {
        Some((front, number)) if number.bytes().all(|b| b.is_ascii_digit()) => front,
        _ => plain,
    };
    plain
        .rsplit_once('.')
        .is_some_and(|(_, extension)| EXTENSIONS.contains(&extension))
}

#[cfg(test)]
mod tests;
