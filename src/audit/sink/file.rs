//! `RotatingFile`: the log file, its rotation by size, its chain, and what others do to it.
//!
//! Names and limits are those of upstream's log backend (contract/audit.md §8). Not thread-safe by
//! itself; [`super::log`] holds it under its lock.
//!
//! # Invariants
//! - A line is in the file whole or not at all: of a write that failed half-way the whole lines stay
//!   and count as written, the half one is cut off.
//! - A rotation that cannot be done loses nothing: the file grows on, and it is tried again.
//! - Lines that were written into a file that is deleted by then are written again into the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::{Access, access, statvfs};

pub use super::upkeep::backups;
use super::upkeep::{backup_chains, directory, free_backup_path, upkeep};
use crate::audit::chain::format::{Reason, with_suffix};
use crate::audit::chain::recovery::{self, Before, Recovery, Verdict};
use crate::audit::chain::writer::{ChainFile, Patience};
use crate::audit::chain::{Chain, Notary, format};

/// How often the file behind the path is compared with the open one.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often a rotation that failed is tried again.
const ROTATION_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// When to rotate and what to keep. Zero means no limit.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// Bytes after which a new file begins.
    pub max_bytes: u64,
    /// Age after which backups are deleted.
    pub max_age_days: u32,
    /// How many backups to keep.
    pub max_backups: usize,
    /// Gzip backups.
    pub compress: bool,
}

impl Default for Rotation {
    fn default() -> Self {
        Rotation {
            max_bytes: 100 * 1024 * 1024,
            max_age_days: 366,
            max_backups: 100,
            compress: false,
        }
    }
}

/// What somebody did to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// It was deleted, with so many events; a new one is open.
    Deleted(u64),
    /// It was moved away, with so many events; a new one is open.
    Moved(u64),
    /// It was cut by so many events; what was left of it is a backup now, a new one is open.
    Truncated(u64),
    /// So many bytes stand in it that the server did not write.
    Foreign(u64),
    /// Its chain file was touched; both are backups now.
    Unchained,
}

impl Incident {
    /// The label of `verbatim_audit_log_incidents_total`.
    pub fn kind(self) -> &'static str {
        match self {
            Incident::Deleted(_) => "deleted",
            Incident::Moved(_) => "moved",
            Incident::Truncated(_) => "truncated",
            Incident::Foreign(_) => "foreign",
            Incident::Unchained => "unchained",
        }
    }
}

/// A write that failed, and how far it came.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the audit log")]
pub struct WriteError {
    /// Bytes of whole lines that are in the file.
    pub written: usize,
    /// Why not the rest.
    #[source]
    pub source: io::Error,
}

impl From<io::Error> for WriteError {
    fn from(source: io::Error) -> Self {
        WriteError { written: 0, source }
    }
}

/// The open log file.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
    /// Lines written since this file is open.
    lines: u64,
    /// Half a line stands at the end and could not be cut off.
    is_torn: bool,
    chain: Option<Chain>,
    notary: Option<Arc<Notary>>,
    looked: Instant,
    rotation_failed: Option<(Instant, String)>,
    /// Held while backups are compressed and deleted: rotations may follow each other quickly.
    upkeep: Arc<Mutex<()>>,
}

impl RotatingFile {
    /// Opens for appending; makes the directory (0700) and the file (0600) where missing. A last
    /// line that a crash cut off is closed with a line break, never removed.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        make_directory(path)?;
        let mut file = open_append(path)?;
        let mut size = file.metadata()?.len();
        if size > 0 && !ends_with_line_break(&mut file)? {
            file.write_all(b"\n")?;
            size += 1;
        }
        Ok(RotatingFile {
            path: path.into(),
            rotation,
            file,
            size,
            lines: 0,
            is_torn: false,
            chain: None,
            notary: None,
            looked: Instant::now(),
            rotation_failed: None,
            upkeep: Arc::default(),
        })
    }

    /// Opens with a chain, after reconciling both. What was found is to be written into the log.
    pub fn open_chained(
        path: &Path,
        rotation: Rotation,
        before: &Before,
        notary: Arc<Notary>,
    ) -> io::Result<(Self, Recovery)> {
        make_directory(path)?;
        let newest = backups(path)?.pop().map(|(_, path)| path);
        let mut recovery = Recovery {
            rotation: recovery::finish_rotation(path, newest.as_deref())?,
            ..Recovery::default()
        };
        if recovery.rotation
            && let Some(backup) = &newest
        {
            adopt_backup(backup, &mut recovery)?;
        }
        let length = fs::metadata(path).map_or(0, |m| m.len());
        let mut file = Self::open(path, rotation)?;
        recovery.is_torn = file.size > length;
        let sealed = file.resume_chain(before, &mut recovery)?;
        file.notary = Some(notary);
        if let Some(reason) = sealed {
            file.begin_chain(before, reason, &mut recovery)?;
        }
        Ok((file, recovery))
    }

    /// Goes on with the chain there is. Answers why there is none to go on with, if so.
    fn resume_chain(
        &mut self,
        before: &Before,
        recovery: &mut Recovery,
    ) -> io::Result<Option<Option<Reason>>> {
        let chain_path = format::chain_path(&self.path);
        let Some(found) = ChainFile::open(&chain_path)? else {
            let is_new = self.size == 0 && !chain_path.exists();
            return Ok(Some((!is_new).then_some(Reason::Unchained)));
        };
        let last = before.checkpoint.as_ref();
        let reason = match recovery::compare(&self.file, &found, last)? {
            Verdict::Missing(events) => {
                recovery.missing = events;
                Some(Reason::Missing)
            }
            Verdict::Altered => Some(Reason::Altered),
            Verdict::Whole | Verdict::Ahead => None,
        };
        if reason.is_some() {
            return Ok(Some(reason));
        }
        let Some(mut chain) = Chain::resume(&self.path)? else {
            return Ok(Some(Some(Reason::Unchained)));
        };
        recovery.lines += chain.adopt(&self.file, self.size)?;
        self.chain = Some(chain);
        Ok(None)
    }

    /// Seals what is there, if anything is, and begins a chain that follows the newest.
    fn begin_chain(
        &mut self,
        before: &Before,
        reason: Option<Reason>,
        recovery: &mut Recovery,
    ) -> io::Result<()> {
        let chain_path = format::chain_path(&self.path);
        if self.size > 0 || chain_path.exists() {
            let backup = free_backup_path(&self.path);
            if self.size > 0 {
                fs::rename(&self.path, &backup)?;
                self.file = open_append(&self.path)?;
                self.size = 0;
            }
            if chain_path.exists() {
                fs::rename(&chain_path, format::chain_path(&backup))?;
            }
        }
        let newest = backup_chains(&self.path)?.pop().map(|(_, path)| path);
        let why = (reason, recovery.missing);
        let (chain, missing) = recovery::begin(&self.path, newest.as_deref(), before, why)?;
        let began = chain.header().reason;
        self.chain = Some(chain);
        recovery.missing = missing;
        recovery.reason = (began != Reason::Genesis && began != Reason::Rotation).then_some(began);
        Ok(())
    }

    /// Writes whole lines in one call. Rotates first when they would not fit.
    pub fn write(&mut self, lines: &[u8]) -> Result<Option<Incident>, WriteError> {
        let mut incident = match self.looked.elapsed() < LOOK_INTERVAL {
            true => None,
            false => self.look()?,
        };
        self.rotate_when_full(lines.len() as u64);
        self.close_torn_line()?;
        let mut outcome = write_counted(&mut self.file, lines);
        let there = self.file.metadata()?;
        if there.nlink() == 0 {
            incident = self.look()?.or(incident);
            outcome = write_counted(&mut self.file, lines);
        }
        self.keep_whole_lines(lines, outcome)?;
        if there.nlink() > 0 && there.len() != self.size {
            incident = self.look()?.or(incident);
        }
        Ok(incident)
    }

    /// Gives the next line somewhere to stand: the half one before it becomes a line of its own.
    fn close_torn_line(&mut self) -> io::Result<()> {
        if !self.is_torn {
            return Ok(());
        }
        self.file.write_all(b"\n")?;
        let end = self.file.metadata()?.len();
        let mut half = vec![0; usize::try_from(end - self.size).unwrap_or(0)];
        self.file.read_exact_at(&mut half, self.size)?;
        self.note_written(&half);
        self.is_torn = false;
        Ok(())
    }

    /// Notes what was written. Of a write that failed the whole lines stay.
    fn keep_whole_lines(
        &mut self,
        lines: &[u8],
        (written, error): (usize, Option<io::Error>),
    ) -> Result<(), WriteError> {
        let Some(source) = error else {
            self.note_written(lines);
            return Ok(());
        };
        let whole = memchr::memrchr(b'\n', &lines[..written]).map_or(0, |i| i + 1);
        self.note_written(&lines[..whole]);
        if written > whole {
            // A disk that filled up half-way through leaves half a line.
            self.is_torn = self.file.set_len(self.size).is_err();
        }
        Err(WriteError {
            written: whole,
            source,
        })
    }

    fn note_written(&mut self, lines: &[u8]) {
        self.lines += memchr::memchr_iter(b'\n', lines).count() as u64;
        if let Some(chain) = &mut self.chain {
            chain.append(lines, self.size, &self.file);
        }
        self.size += lines.len() as u64;
    }

    /// Looks after the file, also when nothing is written. An error when there is none to write to.
    pub fn look(&mut self) -> io::Result<Option<Incident>> {
        self.looked = Instant::now();
        let ours = self.file.metadata()?;
        if !ours.is_file() {
            return Ok(None);
        }
        let is_same = fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
        let events = self.events();
        if !is_same {
            let (reason, incident) = match ours.nlink() {
                0 => (Reason::Deleted, Incident::Deleted(events)),
                _ => (Reason::Moved, Incident::Moved(events)),
            };
            let missing = if ours.nlink() == 0 { events } else { 0 };
            self.reopen(reason, missing)?;
            return Ok(Some(incident));
        }
        let length = ours.len();
        if length < self.size {
            let lost = self.events_behind(length);
            self.size = length;
            self.rotate(Reason::Truncated, lost)?;
            return Ok(Some(Incident::Truncated(lost)));
        }
        if length > self.size && !self.is_torn {
            let foreign = length - self.size;
            self.size = length;
            return Ok(Some(Incident::Foreign(foreign)));
        }
        if self.chain.as_ref().is_some_and(Chain::is_touched) {
            self.rotate(Reason::Unchained, 0)?;
            return Ok(Some(Incident::Unchained));
        }
        if let Some(chain) = &mut self.chain {
            // What keeps it from the disk is told by `problem`.
            chain.catch_up(&self.file, Patience::Waits).ok();
        }
        Ok(None)
    }

    /// Events in the file, as far as is known.
    fn events(&self) -> u64 {
        match &self.chain {
            Some(chain) => chain.head().count + 1 - chain.header().first,
            None => self.lines,
        }
    }

    fn events_behind(&self, length: u64) -> u64 {
        let chain = ChainFile::open(&format::chain_path(&self.path));
        match (&self.chain, chain) {
            (Some(_), Ok(Some(chain))) => chain.events_behind(length).unwrap_or(1),
            _ if length == 0 => self.lines.max(1),
            _ => 1,
        }
    }

    /// What is wrong, for operators: the chain, the rotation, the folder, the disk.
    pub fn problem(&self) -> Option<String> {
        if let Some(problem) = self.chain.as_ref().and_then(Chain::problem) {
            return Some(problem);
        }
        if let Some((_, error)) = &self.rotation_failed {
            return Some(format!("the audit log cannot be rotated: {error}"));
        }
        if !self.file.metadata().is_ok_and(|m| m.is_file()) {
            return None;
        }
        let folder = directory(&self.path);
        if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
            let folder = folder.display();
            return Some(format!("{folder} cannot be written: {error}"));
        }
        match statvfs(folder) {
            Ok(disk) if disk.f_blocks > 0 && disk.f_bavail == 0 => {
                Some(format!("the disk of {} is full", folder.display()))
            }
            _ => None,
        }
    }

    fn rotate_when_full(&mut self, more: u64) {
        let limit = self.rotation.max_bytes;
        if limit == 0 || self.size == 0 || self.size + more <= limit {
            return;
        }
        if let Some((tried, _)) = &self.rotation_failed
            && tried.elapsed() < ROTATION_RETRY_INTERVAL
        {
            return;
        }
        self.rotation_failed = match self.rotate(Reason::Rotation, 0) {
            Ok(()) => None,
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the audit log cannot be rotated and grows on");
                Some((Instant::now(), error.to_string()))
            }
        };
    }

    /// Moves log and chain aside and begins new ones. What can fail for want of space comes first.
    fn rotate(&mut self, reason: Reason, missing: u64) -> io::Result<()> {
        let next_path = with_suffix(&self.path, ".next");
        let next_log = open_append(&next_path)?;
        next_log.set_len(0)?;
        let next_chain = self.next_chain(reason, missing)?;
        let backup = free_backup_path(&self.path);
        fs::rename(&self.path, &backup)?;
        fs::rename(&next_path, &self.path)?;
        self.enter(next_log, next_chain, &backup);
        Ok(())
    }

    /// Opens a new file where the old one is gone. What stands there instead is moved aside.
    fn reopen(&mut self, reason: Reason, missing: u64) -> io::Result<()> {
        make_directory(&self.path)?;
        let mut log = open_append(&self.path)?;
        if log.metadata()?.len() > 0 {
            fs::rename(&self.path, free_backup_path(&self.path))?;
            log = open_append(&self.path)?;
        }
        let next_chain = self.next_chain(reason, missing)?;
        let gone = free_backup_path(&self.path);
        self.enter(log, next_chain, &gone);
        Ok(())
    }

    fn next_chain(&mut self, reason: Reason, missing: u64) -> io::Result<Option<Chain>> {
        let Some(chain) = &mut self.chain else {
            return Ok(None);
        };
        if reason == Reason::Rotation {
            chain.catch_up(&self.file, Patience::Now)?;
        }
        chain.prepare_next(reason, missing).map(Some)
    }

    fn enter(&mut self, log: File, next_chain: Option<Chain>, backup: &Path) {
        if let Some(chain) = &mut self.chain
            && let Some(next) = next_chain
        {
            if let Some(notary) = &self.notary {
                notary.file_finished(chain, &self.file);
            }
            if let Err(error) = chain.follow_with(next, backup) {
                tracing::error!(path = %self.path.display(), %error, "the chain file of the audit log cannot be moved");
            }
        }
        self.file = log;
        (self.size, self.lines, self.is_torn) = (0, 0, false);
        self.start_upkeep();
    }

    fn start_upkeep(&self) {
        let (path, rotation, turn) = (self.path.clone(), self.rotation, self.upkeep.clone());
        let notary = self.notary.clone();
        let thread = std::thread::Builder::new().name("audit-log-upkeep".into());
        let started = thread.spawn(move || {
            let _turn = turn.lock();
            if let Err(error) = upkeep(&path, rotation, notary.as_deref()) {
                tracing::warn!(path = %path.display(), %error, "upkeep of rotated audit logs failed");
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "upkeep of rotated audit logs cannot start");
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The chain, and the file that it is over.
    pub fn chain(&self) -> Option<(&Chain, &File)> {
        Some((self.chain.as_ref()?, &self.file))
    }
}

/// Lines of a backup that a crash left without entries, right before its rotation.
fn adopt_backup(backup: &Path, recovery: &mut Recovery) -> io::Result<()> {
    let log = File::open(backup)?;
    if let Some(mut chain) = Chain::resume(backup)? {
        recovery.lines += chain.adopt(&log, log.metadata()?.len())?;
    }
    Ok(())
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory(path))
}

/// Writes until an error; answers how much.
fn write_counted(file: &mut File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .open(path)
}

fn ends_with_line_break(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last[0] == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(max_bytes: u64) -> Rotation {
        Rotation {
            max_bytes,
            max_age_days: 0,
            max_backups: 0,
            compress: false,
        }
    }

    #[test]
    fn rotates_by_size_and_keeps_lines_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("logs/audit.log");
        let mut file = RotatingFile::open(&path, rotation(25)).expect("opens");
        for _ in 0..5 {
            file.write(b"0123456789\n").expect("writes");
        }
        let backups = backups(&path).expect("lists");
        assert_eq!(backups.len(), 2);
        for (_, backup) in &backups {
            assert_eq!(fs::metadata(backup).expect("exists").len(), 22);
        }
        assert_eq!(fs::read(&path).expect("exists").len(), 11);
        let mode = fs::metadata(&path).expect("exists").mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn a_torn_line_is_closed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        fs::write(&path, b"whole\ntor").expect("writes");
        let mut file = RotatingFile::open(&path, rotation(0)).expect("opens");
        file.write(b"next\n").expect("writes");
        assert_eq!(fs::read(&path).expect("exists"), b"whole\ntor\nnext\n");
    }

    #[test]
    fn thread_18_what_went_into_a_deleted_file_is_written_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let mut file = RotatingFile::open(&path, rotation(0)).expect("opens");
        file.write(b"a\n").expect("writes");
        fs::remove_file(&path).expect("deletes");
        let incident = file.write(b"b\n").expect("writes");
        assert_eq!(incident, Some(Incident::Deleted(1)));
        assert_eq!(fs::read(&path).expect("exists"), b"b\n");
    }

    #[test]
    fn thread_17_a_rotation_that_cannot_be_done_loses_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let mut file = RotatingFile::open(&path, rotation(4)).expect("opens");
        // Where the next file would be prepared stands a folder.
        fs::create_dir(dir.path().join("audit.log.next")).expect("makes a folder");
        for _ in 0..3 {
            file.write(b"abc\n").expect("writes");
        }
        assert_eq!(fs::read(&path).expect("exists").len(), 12);
        let problem = file.problem().expect("a problem");
        assert!(problem.contains("cannot be rotated"), "{problem}");
    }
}
