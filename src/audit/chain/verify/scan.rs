//! Checks one file against its chain file, on all cores.
//!
//! A chain entry holds the whole hash, so every line is checked against its neighbours' entries alone:
//! the file is cut into chunks of whole lines, and the chunks are hashed in parallel.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use flate2::read::MultiGzDecoder;
use parking_lot::Mutex;

use super::files::Pair;
use super::{Problem, ProblemKind, Progress, Statement, VerifyError, diagnose};
use crate::audit::chain::format::{ENTRY_BYTES, Entry, Hash, Header};
use crate::audit::chain::writer::ChainFile;
use crate::audit::event::TRACE_ANNOTATION;
use crate::base::tree::Value;

/// Bytes of lines that one worker hashes at a time.
const CHUNK_BYTES: usize = 2 << 20;
/// How an event of the server's own begins (see `own_event`), with the place of its audit ID left out.
const OWN_EVENT: &[u8] = br#","stage":"ResponseComplete","requestURI":"/audit.verbatim.dev/"#;
/// Where that stands in the line.
const OWN_EVENT_AT: usize =
    br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"00000000-0000-0000-0000-000000000000""#.len();

/// What was found in one file.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// The file, or where it should be.
    pub path: PathBuf,
    /// Whether the file is there.
    pub exists: bool,
    /// Whether it is the one that is written to.
    pub is_live: bool,
    /// Its chain's header.
    pub header: Option<Header>,
    /// The chain file.
    pub chain: Option<PathBuf>,
    /// Whole lines that were read.
    pub lines: u64,
    /// Entries in the chain.
    pub entries: u64,
    /// Bytes of the lines.
    pub bytes: u64,
    /// The hash after the last entry.
    pub end: Hash,
    /// Audit ID of the last line.
    pub last_id: Option<String>,
    /// The first thing that is wrong with it, looked at alone.
    pub problem: Option<Problem>,
    /// What the server says in it.
    pub statements: Vec<Statement>,
    /// Half a line, half an entry.
    pub notes: Vec<String>,
}

/// Lines to check, and the entries that they should come to.
struct Job {
    lines: Vec<u8>,
    /// Index of the first line.
    first: u64,
    /// Bytes of the file before it.
    offset: u64,
    /// From the one before the first line on.
    entries: Vec<Option<Entry>>,
}

#[derive(Default)]
struct Outcome {
    /// Index of the first line that does not fit.
    mismatch: Option<u64>,
    statements: Vec<Statement>,
}

/// Checks one file.
pub fn scan(pair: &Pair, progress: &Progress) -> Result<FileReport, VerifyError> {
    let path = match (&pair.log, &pair.chain) {
        (Some(log), _) => log.clone(),
        (None, Some(chain)) => chain.with_extension(""),
        (None, None) => PathBuf::new(),
    };
    let failed = |source| VerifyError::Read {
        path: path.clone(),
        source,
    };
    let chain = match &pair.chain {
        Some(chain) => ChainFile::open(chain).map_err(failed)?,
        None => None,
    };
    let mut report = FileReport {
        exists: pair.log.is_some(),
        is_live: pair.is_live,
        header: chain.as_ref().map(|c| c.header.clone()),
        chain: pair.chain.clone(),
        lines: 0,
        entries: chain.as_ref().map_or(0, |c| c.entries),
        bytes: 0,
        end: Hash::default(),
        last_id: None,
        problem: None,
        statements: Vec::new(),
        notes: Vec::new(),
        path: path.clone(),
    };
    if let (None, Some(chain)) = (&report.header, &pair.chain) {
        let message = "the header of the chain file cannot be read".to_string();
        report.problem = Some(problem(chain, ProblemKind::ChainAltered, None, message));
    }
    if let Some(chain) = &chain {
        report.end = chain.head().map_err(failed)?.hash;
        note_odd_end(&mut report, chain).map_err(failed)?;
    }
    if let Some(log) = &pair.log {
        let file = File::open(log).map_err(failed)?;
        let is_compressed = log.extension().is_some_and(|e| e == "gz");
        let counted = Counted { file, progress };
        match is_compressed {
            true => {
                let reader = MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, counted));
                scan_lines(reader, chain, &mut report);
            }
            false => scan_lines(counted, chain, &mut report),
        }
    }
    Ok(report)
}

fn note_odd_end(report: &mut FileReport, chain: &ChainFile) -> io::Result<()> {
    let Some(path) = &report.chain else {
        return Ok(());
    };
    let length = std::fs::metadata(path)?.len();
    let odd = (length - chain.header_bytes) % ENTRY_BYTES as u64;
    // The live chain may be read while an entry is written, or after a crash that cut one.
    if odd > 0 && !report.is_live {
        let message = format!("{odd} bytes stand behind the last entry of the chain file");
        report.problem = Some(problem(path, ProblemKind::ChainAltered, None, message));
    }
    Ok(())
}

pub(super) fn problem(
    file: &Path,
    kind: ProblemKind,
    line: Option<u64>,
    message: String,
) -> Problem {
    Problem {
        kind,
        file: file.into(),
        line,
        count: None,
        event: None,
        audit_id: None,
        message,
        last_good_checkpoint: None,
    }
}

/// Counts what is read from the disk.
struct Counted<'a> {
    file: File,
    progress: &'a Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.progress.done.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn scan_lines(reader: impl Read, chain: Option<ChainFile>, report: &mut FileReport) {
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get().min(8));
    let (jobs, queue) = mpsc::sync_channel::<Job>(workers * 2);
    let queue = Arc::new(Mutex::new(queue));
    let outcome = Mutex::new(Outcome::default());
    let path = report.path.clone();
    let mut rest = Vec::new();
    let read = std::thread::scope(|scope| {
        for _ in 0..workers {
            let queue = queue.clone();
            let (outcome, path) = (&outcome, &path);
            scope.spawn(move || {
                loop {
                    let job = queue.lock().recv();
                    let Ok(job) = job else { return };
                    check(&job, path, outcome);
                }
            });
        }
        // Whoever sends last drops the sender, and the workers end.
        let jobs = jobs;
        let entries = chain.as_ref();
        let mut offset = 0;
        read_chunks(reader, &mut rest, |lines| {
            let count = memchr::memchr_iter(b'\n', &lines).count() as u64;
            let first = report.lines;
            report.lines += count;
            report.bytes += lines.len() as u64;
            report.last_id = last_id(&lines).or(report.last_id.take());
            let job = Job {
                first,
                offset,
                entries: entries.map_or(Vec::new(), |c| entries_around(c, first, count)),
                lines,
            };
            offset = report.bytes;
            outcome.lock().mismatch.is_none() && jobs.send(job).is_ok()
        })
    });
    let mut outcome = outcome.into_inner();
    outcome.statements.sort_by_key(|s| s.line);
    report.statements = outcome.statements;
    note_end(report, &rest, read, outcome.mismatch, chain.as_ref());
}

/// What is wrong at the first line that does not fit, or behind the last.
fn note_end(
    report: &mut FileReport,
    rest: &[u8],
    read: io::Result<()>,
    mismatch: Option<u64>,
    chain: Option<&ChainFile>,
) {
    if let (Some(index), Some(chain)) = (mismatch, chain) {
        let found = diagnose::diagnose(report, index, chain);
        report.problem.get_or_insert(found);
        return;
    }
    if let Err(error) = read {
        let message = format!(
            "the file cannot be read behind line {}: {error}",
            report.lines
        );
        let line = Some(report.lines + 1);
        let found = problem(&report.path, ProblemKind::Altered, line, message);
        report.problem.get_or_insert(found);
        return;
    }
    if rest.is_empty() {
        return;
    }
    if chain.is_some_and(|c| report.lines < c.entries) && !report.is_live {
        let message = "the file ends in the middle of this line".to_string();
        let mut found = problem(
            &report.path,
            ProblemKind::CutOff,
            Some(report.lines + 1),
            message,
        );
        found.audit_id = super::audit_id(rest);
        report.problem.get_or_insert(found);
    } else {
        report.notes.push(format!(
            "{}:{}: half a line, from a crash or just being written",
            report.path.display(),
            report.lines + 1
        ));
    }
}

/// Hands out chunks of whole lines, until the end or until `take` answers false. What stands behind
/// the last line break is left in `rest`.
pub(super) fn read_chunks(
    mut reader: impl Read,
    rest: &mut Vec<u8>,
    mut take: impl FnMut(Vec<u8>) -> bool,
) -> io::Result<()> {
    loop {
        let mut chunk = std::mem::take(rest);
        let mut filled = chunk.len();
        chunk.resize(filled + CHUNK_BYTES, 0);
        let mut outcome = Ok(());
        let mut is_end = false;
        while filled < chunk.len() {
            match reader.read(&mut chunk[filled..]) {
                Ok(0) => {
                    is_end = true;
                    break;
                }
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        chunk.truncate(filled);
        let whole = memchr::memrchr(b'\n', &chunk).map_or(0, |i| i + 1);
        *rest = chunk.split_off(whole);
        let goes_on = chunk.is_empty() || take(chunk);
        outcome?;
        if is_end || !goes_on {
            return Ok(());
        }
    }
}

fn last_id(lines: &[u8]) -> Option<String> {
    let lines = lines.strip_suffix(b"\n")?;
    let start = memchr::memrchr(b'\n', lines).map_or(0, |i| i + 1);
    super::audit_id(&lines[start..])
}

/// The entries of `count` lines from `first` on, and the one before them.
fn entries_around(chain: &ChainFile, first: u64, count: u64) -> Vec<Option<Entry>> {
    let before = match first {
        0 => Some(Entry {
            hash: chain.seed,
            offset: 0,
        }),
        n => chain.entry(n - 1).ok().flatten(),
    };
    let mut entries = vec![before];
    entries.extend(chain.entries_from(first, count));
    entries
}

fn check(job: &Job, path: &Path, outcome: &Mutex<Outcome>) {
    let mut start = 0;
    for (index, end) in memchr::memchr_iter(b'\n', &job.lines).enumerate() {
        let line = &job.lines[start..end];
        start = end + 1;
        let number = job.first + index as u64;
        if let Some(statement) = statement(line, path, number + 1) {
            outcome.lock().statements.push(statement);
        }
        // Behind the last entry there is nothing to compare with.
        let Some(entry) = job.entries.get(index + 1) else {
            continue;
        };
        let fits = match (&job.entries[index], entry) {
            (Some(before), Some(entry)) => {
                entry.hash == before.hash.link(line) && entry.offset == job.offset + start as u64
            }
            _ => false,
        };
        if !fits {
            let mut outcome = outcome.lock();
            let first = outcome.mismatch.map_or(number, |known| known.min(number));
            outcome.mismatch = Some(first);
            return;
        }
    }
}

/// What the server says about the record in one of its own events.
fn statement(line: &[u8], path: &Path, number: u64) -> Option<Statement> {
    if !line.get(OWN_EVENT_AT..)?.starts_with(OWN_EVENT) {
        return None;
    }
    let event: Value = serde_json::from_slice(line).ok()?;
    let value = event["annotations"][TRACE_ANNOTATION].as_str()?;
    let value: Value = serde_json::from_str(value).ok()?;
    let lost = value["lost"].as_u64().unwrap_or(0);
    let text = |key: &str| value[key].as_str().unwrap_or("unknown").to_string();
    let message = if lost > 0 {
        let (sink, reason, since) = (text("sink"), text("reason"), text("since"));
        format!(
            "the server itself says that {lost} events were lost here (sink {sink}, reason {reason}, since {since})"
        )
    } else if value["incident"].is_string() {
        format!("the server itself says: {}", text("message"))
    } else if value["chain"].is_object() {
        format!("the server started after a crash: {}", value["chain"])
    } else {
        return None;
    };
    Some(Statement {
        file: path.into(),
        line: number,
        time: event["stageTimestamp"].as_str().unwrap_or("").to_string(),
        lost,
        message,
    })
}

/// Reads lines again, from one on, for whoever looks closer.
pub(super) fn lines_from(path: &Path, first: u64, most_bytes: usize) -> io::Result<Vec<Vec<u8>>> {
    let file = File::open(path)?;
    let mut reader: Box<dyn Read> = match path.extension().is_some_and(|e| e == "gz") {
        true => Box::new(MultiGzDecoder::new(io::BufReader::new(file))),
        false => Box::new(file),
    };
    let mut lines = Vec::new();
    let (mut index, mut bytes) = (0, 0);
    let mut rest = Vec::new();
    let read = read_chunks(&mut reader, &mut rest, |chunk| {
        for line in chunk.split_inclusive(|b| *b == b'\n') {
            if index >= first {
                bytes += line.len();
                lines.push(line[..line.len() - 1].to_vec());
            }
            index += 1;
        }
        bytes < most_bytes
    });
    if !rest.is_empty() && index >= first {
        lines.push(rest);
    }
    // Of a damaged archive the lines before the damage will do.
    match lines.is_empty() {
        true => read.map(|()| lines),
        false => Ok(lines),
    }
}

impl ChainFile {
    /// Entries from one on, as many as there are of `count`.
    pub(super) fn entries_from(&self, first: u64, count: u64) -> Vec<Option<Entry>> {
        let count = count.min(self.entries.saturating_sub(first));
        let size = usize::try_from(count).unwrap_or(0) * ENTRY_BYTES;
        let mut text = vec![0; size];
        let at = self.header_bytes + first * ENTRY_BYTES as u64;
        if self.file().read_exact_at(&mut text, at).is_err() {
            return vec![None; usize::try_from(count).unwrap_or(0)];
        }
        let entry = |line: &[u8]| Entry::parse(line.strip_suffix(b"\n")?);
        text.chunks(ENTRY_BYTES).map(entry).collect()
    }
}
