//! [`Chain`]: writes the chain file of the live log. [`ChainFile`]: reads what was written.
//!
//! The log's file writer calls it with the lines that it has written, under its lock. A chain that
//! cannot be written never fails an event: it falls behind and is caught up from the log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::format::{
    ENTRY_BYTES, Entry, HEADER_MAX_BYTES, Hash, Head, Header, Reason, chain_path, now, with_suffix,
};

/// How often a chain that fell behind is tried again.
const CATCH_UP_INTERVAL: Duration = Duration::from_secs(1);
/// How long a chain file may be locked by a server that is ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is tried.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Bytes of the log that are read at once to catch up.
const READ_BYTES: usize = 1 << 20;

/// The chain of the live log.
#[derive(Debug)]
pub struct Chain {
    log: PathBuf,
    file: File,
    header: Header,
    /// Size of the chain file.
    bytes: u64,
    /// What the lines of the log come to.
    head: Head,
    /// What the chain file says; less than `head` when it could not be written.
    written: Head,
    buffer: Vec<u8>,
    behind: Option<Behind>,
}

#[derive(Debug)]
struct Behind {
    error: String,
    tried: Instant,
}

impl Chain {
    /// Makes the chain file of a new live log.
    pub fn create(log: &Path, header: Header) -> io::Result<Self> {
        Self::create_at(log, &chain_path(log), header)
    }

    fn create_at(log: &Path, path: &Path, header: Header) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        lock(&file, path)?;
        file.set_len(0)?;
        let line = header.line();
        file.write_all(&line)?;
        let head = Head {
            count: header.first - 1,
            hash: Hash::of(&line[..line.len() - 1]),
            offset: 0,
        };
        Ok(Chain {
            log: log.into(),
            file,
            bytes: line.len() as u64,
            header,
            head,
            written: head,
            buffer: Vec::new(),
            behind: None,
        })
    }

    /// Goes on with a chain file that is there. An entry that a crash cut off is taken away; it is
    /// written again from the log.
    pub fn resume(log: &Path) -> io::Result<Option<Self>> {
        let path = chain_path(log);
        let Some(found) = ChainFile::open(&path)? else {
            return Ok(None);
        };
        let file = OpenOptions::new().append(true).read(true).open(&path)?;
        lock(&file, &path)?;
        let head = found.head()?;
        let bytes = found.header_bytes + found.entries * ENTRY_BYTES as u64;
        if file.metadata()?.len() > bytes {
            file.set_len(bytes)?;
        }
        Ok(Some(Chain {
            log: log.into(),
            file,
            header: found.header,
            bytes,
            head,
            written: head,
            buffer: Vec::new(),
            behind: None,
        }))
    }

    /// Chains lines that were written to `log` from byte `at` on.
    pub fn append(&mut self, lines: &[u8], at: u64, log: &File) {
        self.head.offset = at;
        self.buffer.clear();
        extend(&mut self.head, lines, &mut self.buffer);
        if self.behind.is_some() {
            self.catch_up(log, Patience::Waits).ok();
            return;
        }
        match self.file.write_all(&self.buffer) {
            Ok(()) => {
                self.bytes += self.buffer.len() as u64;
                self.written = self.head;
            }
            Err(error) => {
                tracing::error!(%error, log = %self.log.display(), "the chain of the audit log cannot be written");
                self.fall_behind(&error);
            }
        }
    }

    fn fall_behind(&mut self, error: &io::Error) {
        // Half an entry must not stand before the next one.
        self.file.set_len(self.bytes).ok();
        self.behind = Some(Behind {
            error: error.to_string(),
            tried: Instant::now(),
        });
    }

    /// Writes the entries that could not be written before, from the lines in the log. An error when
    /// they still cannot be, or when the log no longer says what was written to it.
    pub fn catch_up(&mut self, log: &File, patience: Patience) -> io::Result<()> {
        let Some(behind) = &self.behind else {
            return Ok(());
        };
        if patience == Patience::Waits && behind.tried.elapsed() < CATCH_UP_INTERVAL {
            return Err(io::Error::other(behind.error.clone()));
        }
        let outcome = self.write_missing(log);
        match &outcome {
            Ok(()) => self.behind = None,
            Err(error) => self.fall_behind(error),
        }
        outcome
    }

    fn write_missing(&mut self, log: &File) -> io::Result<()> {
        let mut pending = Vec::new();
        let mut at = self.written.offset;
        while at < self.head.offset {
            let mut chunk = vec![0; READ_BYTES.min((self.head.offset - at) as usize)];
            log.read_exact_at(&mut chunk, at)?;
            at += chunk.len() as u64;
            pending.extend_from_slice(&chunk);
            let whole = memchr::memrchr(b'\n', &pending).map_or(0, |i| i + 1);
            self.buffer.clear();
            let mut head = self.written;
            extend(&mut head, &pending[..whole], &mut self.buffer);
            self.file.write_all(&self.buffer)?;
            self.bytes += self.buffer.len() as u64;
            self.written = head;
            pending.drain(..whole);
        }
        match self.written == self.head {
            true => Ok(()),
            false => Err(io::Error::other(
                "the log does not say any more what was written to it",
            )),
        }
    }

    /// Takes over lines that are in the log and have no entry (recovery after a crash).
    pub fn adopt(&mut self, log: &File, end: u64) -> io::Result<u64> {
        let before = self.head.count;
        let mut pending = Vec::new();
        let mut at = self.head.offset;
        while at < end {
            let mut chunk = vec![0; READ_BYTES.min((end - at) as usize)];
            log.read_exact_at(&mut chunk, at)?;
            at += chunk.len() as u64;
            pending.extend_from_slice(&chunk);
            let whole = memchr::memrchr(b'\n', &pending).map_or(0, |i| i + 1);
            let lines: Vec<u8> = pending.drain(..whole).collect();
            self.buffer.clear();
            extend(&mut self.head, &lines, &mut self.buffer);
            self.file.write_all(&self.buffer)?;
            self.bytes += self.buffer.len() as u64;
            self.written = self.head;
        }
        Ok(self.head.count - before)
    }

    /// How far the log has come.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The header of the live chain file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The place to sign, with the file that must be durable first. `None` while the file is behind.
    pub fn place(&self) -> Option<(Header, Head, File)> {
        let file = self.file.try_clone().ok()?;
        (self.written == self.head).then(|| (self.header.clone(), self.head, file))
    }

    /// Whether the chain file is not the one that was written.
    pub fn is_touched(&self) -> bool {
        let Ok(ours) = self.file.metadata() else {
            return false;
        };
        let is_same = std::fs::metadata(chain_path(&self.log))
            .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
        !is_same || (self.behind.is_none() && ours.len() != self.bytes)
    }

    /// Why the file is behind the log, if it is.
    pub fn problem(&self) -> Option<String> {
        let behind = self.behind.as_ref()?;
        let events = self.head.count - self.written.count;
        let error = &behind.error;
        Some(format!(
            "the chain of the audit log cannot be written, {events} events are not in it: {error}"
        ))
    }

    /// Prepares the chain of the file that follows, under a name of its own until
    /// [`Chain::follow_with`] puts it in force.
    pub fn prepare_next(&self, reason: Reason, missing: u64) -> io::Result<Chain> {
        let header = Header {
            file: self.header.file + 1,
            first: self.head.count + 1,
            previous: self.head.hash,
            began: now(),
            reason,
            missing,
            ..self.header.clone()
        };
        Self::create_at(&self.log, &next_path(&self.log), header)
    }

    /// Moves this chain beside `backup` and `next` into its place.
    pub fn follow_with(&mut self, next: Chain, backup: &Path) -> io::Result<()> {
        let live = chain_path(&self.log);
        let moved = std::fs::rename(&live, chain_path(backup));
        let installed = std::fs::rename(next_path(&self.log), &live);
        *self = next;
        // A chain file that somebody deleted cannot be moved; the next one begins all the same.
        match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => installed,
        }
    }
}

/// Whether to try again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Now.
    Now,
    /// Only if the last try was some time ago.
    Waits,
}

/// Where the next chain is prepared.
pub(super) fn next_path(log: &Path) -> PathBuf {
    with_suffix(&chain_path(log), ".next")
}

/// Two servers on one log would break its chain. One that is just ending gets a moment.
fn lock(file: &File, path: &Path) -> io::Result<()> {
    let give_up = Instant::now() + LOCK_PATIENCE;
    while file.try_lock().is_err() {
        if Instant::now() > give_up {
            let path = path.display();
            return Err(io::Error::other(format!("another process writes {path}")));
        }
        std::thread::sleep(LOCK_RETRY_INTERVAL);
    }
    Ok(())
}

/// Links whole lines and prints their entries.
fn extend(head: &mut Head, lines: &[u8], entries: &mut Vec<u8>) {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', lines) {
        head.hash = head.hash.link(&lines[start..end]);
        head.count += 1;
        head.offset += (end + 1 - start) as u64;
        start = end + 1;
        let (hash, offset) = (head.hash, head.offset);
        Entry { hash, offset }.push(entries);
    }
}

/// A chain file, read.
#[derive(Debug)]
pub struct ChainFile {
    /// Its first line.
    pub header: Header,
    /// Bytes of the first line with its break.
    pub header_bytes: u64,
    /// The hash that the first event links to.
    pub seed: Hash,
    /// Whole entries.
    pub entries: u64,
    file: File,
}

impl ChainFile {
    /// Opens it. `None` when there is none or it has no header of this format.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut start = vec![0; HEADER_MAX_BYTES];
        let mut read = 0;
        while read < start.len() {
            match file.read_at(&mut start[read..], read as u64)? {
                0 => break,
                n => read += n,
            }
        }
        let Some(end) = start[..read].iter().position(|b| *b == b'\n') else {
            return Ok(None);
        };
        let Some(header) = Header::parse(&start[..end]) else {
            return Ok(None);
        };
        let header_bytes = end as u64 + 1;
        let entries = (file.metadata()?.len() - header_bytes) / ENTRY_BYTES as u64;
        Ok(Some(ChainFile {
            header,
            header_bytes,
            seed: Hash::of(&start[..end]),
            entries,
            file,
        }))
    }

    /// The entry with this index, from zero. `None` where something else stands.
    pub fn entry(&self, index: u64) -> io::Result<Option<Entry>> {
        let mut line = [0; ENTRY_BYTES];
        let at = self.header_bytes + index * ENTRY_BYTES as u64;
        self.file.read_exact_at(&mut line, at)?;
        Ok(Entry::parse(&line[..ENTRY_BYTES - 1]).filter(|_| line[ENTRY_BYTES - 1] == b'\n'))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// How far it goes.
    pub fn head(&self) -> io::Result<Head> {
        let last = match self.entries {
            0 => None,
            n => self.entry(n - 1)?,
        };
        let (hash, offset) = last.map_or((self.seed, 0), |e| (e.hash, e.offset));
        Ok(Head {
            count: self.header.first - 1 + self.entries,
            hash,
            offset,
        })
    }

    /// How many of its events end behind byte `offset` of the log.
    pub fn events_behind(&self, offset: u64) -> io::Result<u64> {
        let mut behind = 0;
        for index in (0..self.entries).rev() {
            match self.entry(index)? {
                Some(entry) if entry.offset <= offset => break,
                _ => behind += 1,
            }
        }
        Ok(behind)
    }
}
