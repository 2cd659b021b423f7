//! Verification: is the log what the server wrote, whole and in order?
//!
//! `verbatim verify` calls [`verify`]. [`files`] finds what belongs together, [`scan`] checks each file
//! against its chain (in parallel, line by line), [`diagnose`] names what is wrong at the first line
//! that does not fit, [`join`] puts the files of a log in order and holds them against the
//! checkpoints. Nothing is written.

pub mod diagnose;
pub mod files;
pub mod join;
pub mod scan;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::checkpoint::{Checkpoint, CheckpointError, PublicKey};
use files::{Found, Scope};

/// How often a log that is rotated meanwhile is looked at again.
const TRIES: usize = 5;

/// What to verify, and by what.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Folders (complete logs) and files (only these).
    pub paths: Vec<PathBuf>,
    /// Copies of checkpoints that were kept elsewhere.
    pub checkpoints: Vec<PathBuf>,
    /// Keys that may have signed; without any, the keys that the checkpoints name.
    pub keys: Vec<PublicKey>,
}

/// How far the work is, for a progress bar.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of all files, as they are on the disk.
    pub total: AtomicU64,
    /// Bytes that were read.
    pub done: AtomicU64,
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file or folder.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing.
    #[error("{} has no audit log with a chain", path.display())]
    Nothing {
        /// Where.
        path: PathBuf,
    },
}

/// What kind of break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ProblemKind {
    /// A line is not what was written.
    Altered,
    /// Events are missing.
    Missing,
    /// Lines stand there that were not written there.
    Inserted,
    /// Events are in another order.
    Reordered,
    /// The end is missing.
    CutOff,
    /// The chain file was changed, the lines agree with it otherwise.
    ChainAltered,
    /// A file has no chain file.
    ChainMissing,
    /// Log and chain were changed together: a checkpoint says otherwise.
    Rewritten,
    /// A checkpoint is not signed as it should be.
    Checkpoint,
}

/// A break, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What kind.
    pub kind: ProblemKind,
    /// The file that it is in.
    pub file: PathBuf,
    /// Its line there, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// How many lines or events are concerned, as far as can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Number of the first event concerned, over the whole log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<u64>,
    /// Audit ID of the line, or of the last one before it.
    #[serde(rename = "auditID", skip_serializing_if = "Option::is_none")]
    pub audit_id: Option<String>,
    /// In words.
    pub message: String,
    /// Time of the last checkpoint before it that holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_good_checkpoint: Option<String>,
}

/// What the server itself says about the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: u64,
    /// When.
    pub time: String,
    /// Events lost, for a gap.
    pub lost: u64,
    /// In words.
    pub message: String,
}

/// What was found of one log.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogReport {
    /// Its identity.
    pub log: String,
    /// The server that writes it.
    pub server: String,
    /// Its name.
    pub name: String,
    /// Files that were read.
    pub files: usize,
    /// Number of the first event.
    pub first: u64,
    /// Number of the last event.
    pub last: u64,
    /// Bytes of the lines.
    pub bytes: u64,
    /// Checkpoints that hold.
    pub checkpoints: usize,
    /// Time of the last of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_checkpoint: Option<String>,
    /// Short names of the keys that signed.
    pub keys: Vec<String>,
    /// Breaks, first one first.
    pub problems: Vec<Problem>,
    /// Gaps that the server itself told.
    pub gaps: Vec<Statement>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nothing is broken.
    pub whole: bool,
    /// Log by log.
    pub logs: Vec<LogReport>,
}

/// Checkpoints, where they come from, and what is wrong with them.
#[derive(Clone, Debug, Default)]
pub struct Signed {
    /// Those that hold by a key that may sign.
    pub checkpoints: Vec<Checkpoint>,
    /// Lines that do not.
    pub problems: Vec<Problem>,
    /// Half lines.
    pub notes: Vec<String>,
}

impl Signed {
    /// Reads a file of checkpoints.
    pub fn read(path: &Path, keys: &[PublicKey]) -> Result<Self, VerifyError> {
        let text = std::fs::read(path).map_err(|source| VerifyError::Read {
            path: path.into(),
            source,
        })?;
        let mut signed = Signed::default();
        let lines = text.split(|b| *b == b'\n').enumerate();
        for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let wrong = match Checkpoint::parse(line) {
                Ok(c) if keys.is_empty() || keys.contains(&c.key) => {
                    signed.checkpoints.push(c);
                    continue;
                }
                Ok(c) => format!("is signed by another key ({})", c.key.fingerprint()),
                Err(CheckpointError::Format) if !line.ends_with(b"\"}") => {
                    let path = path.display();
                    let number = index + 1;
                    signed
                        .notes
                        .push(format!("{path}:{number}: half a checkpoint, from a crash"));
                    continue;
                }
                Err(error) => error.to_string(),
            };
            signed.problems.push(Problem {
                kind: ProblemKind::Checkpoint,
                file: path.into(),
                line: Some(index as u64 + 1),
                count: None,
                event: None,
                audit_id: None,
                message: format!("the checkpoint {wrong}"),
                last_good_checkpoint: None,
            });
        }
        Ok(signed)
    }

    /// Puts others behind these.
    pub fn extend(&mut self, other: Signed) {
        self.checkpoints.extend(other.checkpoints);
        self.problems.extend(other.problems);
        self.notes.extend(other.notes);
    }
}

/// Verifies.
pub fn verify(question: &Question, progress: &Progress) -> Result<Report, VerifyError> {
    let mut tries = 1;
    loop {
        let found = files::find(&question.paths)?;
        let outcome = verify_found(question, &found, progress);
        let is_suspect = match &outcome {
            Ok(report) => !report.whole,
            Err(_) => true,
        };
        // A rotation or compression under way moves files from under us.
        if !is_suspect || tries == TRIES || files::find(&question.paths)? == found {
            return outcome;
        }
        tries += 1;
    }
}

fn verify_found(
    question: &Question,
    found: &Found,
    progress: &Progress,
) -> Result<Report, VerifyError> {
    progress.done.store(0, Ordering::Relaxed);
    progress.total.store(found.bytes(), Ordering::Relaxed);
    let mut signed = Signed::default();
    let mut own = found.checkpoints.clone();
    own.retain(|path| !question.checkpoints.contains(path));
    for path in own.iter().chain(&question.checkpoints) {
        signed.extend(Signed::read(path, &question.keys)?);
    }
    let mut reports = Vec::new();
    for pair in &found.pairs {
        reports.push(scan::scan(pair, progress)?);
    }
    let mut logs = join::join(reports, &signed, found.scope);
    if logs.is_empty() {
        return Err(VerifyError::Nothing {
            path: question.paths.first().cloned().unwrap_or_default(),
        });
    }
    if let Some(first) = logs.first_mut() {
        first.notes.extend(signed.notes);
        first.problems.extend(signed.problems);
    }
    Ok(Report {
        whole: logs.iter().all(|log| log.problems.is_empty()),
        logs,
    })
}

/// The audit ID in a line, if it has one.
pub(super) fn audit_id(line: &[u8]) -> Option<String> {
    const KEY: &[u8] = br#""auditID":""#;
    let at = memchr::memmem::find(line, KEY)? + KEY.len();
    let end = memchr::memchr(b'"', &line[at..])?;
    Some(String::from_utf8_lossy(&line[at..at + end]).into_owned())
}

/// Whether everything that belongs to a log must be there.
impl Scope {
    pub(super) fn is_complete(self) -> bool {
        self == Scope::Complete
    }
}
