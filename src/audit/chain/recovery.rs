//! What a start finds: reconciles log and chain after a crash, and seals what somebody touched.
//!
//! Called by [`crate::audit::sink::file`] before the first line is written. What kill -9 can leave is
//! repaired: a rotation that was under way, half a line, lines without entries, half an entry. What it
//! cannot leave is not: see [`Verdict`].

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::checkpoint::{Checkpoint, CheckpointKind};
use super::format::{Hash, Header, Reason, VERSION, chain_path, now};
use super::writer::{Chain, ChainFile, next_path};
use crate::base::tree::json;

/// Who writes the log, and what was signed about it before.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// Name of the server.
    pub server: String,
    /// The last checkpoint about this log.
    pub checkpoint: Option<Checkpoint>,
}

/// What a start found and did. Written into the log when it is not nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Lines at the end of the log that had no entry.
    pub lines: u64,
    /// The last of them was half a line.
    pub is_torn: bool,
    /// A rotation was finished.
    pub rotation: bool,
    /// What else was wrong.
    pub reason: Option<Reason>,
    /// Events that are missing.
    pub missing: u64,
}

impl Recovery {
    /// Whether there is something to tell.
    pub fn is_nothing(&self) -> bool {
        *self == Recovery::default()
    }

    /// The annotation that tells it.
    pub fn annotation(&self) -> String {
        let reason = self.reason.map(|r| json!(r));
        json!({"chain": {
            "recoveredLines": self.lines,
            "halfLine": self.is_torn,
            "finishedRotation": self.rotation,
            "sealed": reason,
            "missing": self.missing,
        }})
        .to_string()
    }
}

/// How the log fits its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every line has its entry.
    Whole,
    /// Lines at the end have none: a crash between the two writes.
    Ahead,
    /// Entries have no lines: events are missing.
    Missing(u64),
    /// The last line with an entry is not the one that was written, or lines were added after the
    /// server had ended.
    Altered,
}

/// Compares the end of a log with the end of its chain and with the last checkpoint.
pub fn compare(log: &File, chain: &ChainFile, last: Option<&Checkpoint>) -> io::Result<Verdict> {
    let last = last.filter(|c| c.log == chain.header.log);
    let length = log.metadata()?.len();
    let head = chain.head()?;
    if length < head.offset {
        return Ok(Verdict::Missing(chain.events_behind(length)?));
    }
    if let Some(last) = last {
        if last.count > head.count {
            // Both were cut: what is signed was on the disk. How much is missing the header that
            // follows says from the checkpoint.
            return Ok(Verdict::Missing(0));
        }
        if last.file == chain.header.file && hash_at(chain, last.count)? != Some(last.hash) {
            return Ok(Verdict::Altered);
        }
    }
    if !last_line_is_ours(log, chain)? {
        return Ok(Verdict::Altered);
    }
    if length == head.offset {
        return Ok(Verdict::Whole);
    }
    let ended_well =
        last.is_some_and(|c| c.kind == CheckpointKind::Shutdown && c.count == head.count);
    Ok(match ended_well {
        true => Verdict::Altered,
        false => Verdict::Ahead,
    })
}

/// The hash after event `count`, if it is in this file.
fn hash_at(chain: &ChainFile, count: u64) -> io::Result<Option<Hash>> {
    match (count + 1).checked_sub(chain.header.first) {
        None => Ok(None),
        Some(0) => Ok(Some(chain.seed)),
        Some(n) => Ok(chain.entry(n - 1)?.map(|e| e.hash)),
    }
}

fn last_line_is_ours(log: &File, chain: &ChainFile) -> io::Result<bool> {
    let Some(last) = chain.entries.checked_sub(1) else {
        return Ok(true);
    };
    let (previous, start) = match last {
        0 => (chain.seed, 0),
        n => match chain.entry(n - 1)? {
            Some(entry) => (entry.hash, entry.offset),
            None => return Ok(false),
        },
    };
    let Some(entry) = chain.entry(last)? else {
        return Ok(false);
    };
    let Some(length) = entry.offset.checked_sub(start + 1) else {
        return Ok(false);
    };
    let mut line = vec![0; usize::try_from(length).unwrap_or(0) + 1];
    log.read_exact_at(&mut line, start)?;
    Ok(line.pop() == Some(b'\n') && previous.link(&line) == entry.hash)
}

/// Finishes a rotation that a crash interrupted: the live chain still belongs to the newest backup.
/// Answers whether there was one.
pub fn finish_rotation(log: &Path, newest_backup: Option<&Path>) -> io::Result<bool> {
    for leftover in [next_path(log), super::format::with_suffix(log, ".next")] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let Some(backup) = newest_backup.filter(|b| !chain_path(b).exists()) else {
        return Ok(false);
    };
    let is_empty = fs::metadata(log).map_or(true, |m| m.len() == 0);
    let Some(chain) = ChainFile::open(&chain_path(log))?.filter(|c| is_empty && c.entries > 0)
    else {
        return Ok(false);
    };
    let fits = compare(&File::open(backup)?, &chain, None)?;
    if !matches!(fits, Verdict::Whole | Verdict::Ahead) {
        return Ok(false);
    }
    fs::rename(chain_path(log), chain_path(backup))?;
    Ok(true)
}

/// The chain of an empty live log that has none: it follows the newest chain there is, or what the
/// last checkpoint says when that is further. `missing` events are known to be missing before it;
/// answers how many that makes.
pub fn begin(
    log: &Path,
    newest_chain: Option<&Path>,
    before: &Before,
    (why, missing): (Option<Reason>, u64),
) -> io::Result<(Chain, u64)> {
    let newest = match newest_chain {
        Some(path) => ChainFile::open(path)?,
        None => None,
    };
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    let mut header = Header {
        version: VERSION.into(),
        log: String::new(),
        server: before.server.clone(),
        name: name.into_owned(),
        file: 1,
        first: 1,
        previous: Hash::default(),
        began: now(),
        reason: why.unwrap_or(Reason::Genesis),
        missing,
    };
    if let Some(chain) = &newest {
        let head = chain.head()?;
        header.log.clone_from(&chain.header.log);
        header.file = chain.header.file + 1;
        header.first = head.count + 1;
        header.previous = head.hash;
        header.reason = why.unwrap_or(Reason::Rotation);
    }
    if let Some(last) = &before.checkpoint
        && (header.log.is_empty() || header.log == last.log)
        && last.count >= header.first
    {
        header.missing += last.count + 1 - header.first;
        header.log.clone_from(&last.log);
        header.file = header.file.max(last.file + 1);
        header.first = last.count + 1;
        header.previous = last.hash;
        header.reason = why.unwrap_or(Reason::Missing);
    }
    if header.log.is_empty() {
        header.log = uuid::Uuid::new_v4().to_string();
        header.reason = Reason::Genesis;
    }
    let missing = header.missing;
    Ok((Chain::create(log, header)?, missing))
}
