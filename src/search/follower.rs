//! `Follower`: reads whole lines of the audit log from a position on, across rotation, compression
//! and restarts.
//!
//! A file is known by a hash of its first line, which survives renaming and gzip, so a position
//! stays good whatever the log's upkeep does.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::audit::sink::file::backups;

/// Bytes that are read at once.
const READ_BYTES: u64 = 1 << 20;
/// Lines longer than this cannot be events; they are skipped.
const LINE_MAX_BYTES: usize = 64 << 20;

/// A place between two lines of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Hash of the file's first line; empty before the first file.
    pub file: String,
    /// Bytes of the uncompressed file before this place.
    pub offset: u64,
}

/// Where a log ended at some time.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    inode: Option<(u64, u64)>,
    length: u64,
}

/// The reader.
pub struct Follower {
    path: PathBuf,
    open: Option<Open>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were handed out.
    consumed: usize,
    position: Position,
}

struct Open {
    reader: Box<dyn Read + Send>,
    /// Device and inode, for a plain file that may still grow.
    inode: Option<(u64, u64)>,
}

impl Follower {
    /// Starts at `position`; at the oldest file there is when that one is gone.
    pub fn start(path: &Path, position: Position) -> io::Result<Self> {
        retry_not_found(|| Self::try_start(path, position.clone()))
    }

    /// Starts about `bytes` before the end of the live file, at the beginning of a line. The second
    /// value tells whether anything of the log lies before that.
    pub fn near_end(path: &Path, bytes: u64) -> io::Result<(Self, bool)> {
        let backups = backups(path).unwrap_or_default();
        let length = match fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let offset = length.saturating_sub(bytes);
        let file = match length {
            0 => String::new(),
            _ => identity_of(path)?,
        };
        if file.is_empty() || offset == 0 && backups.is_empty() {
            let follower = Self::start(path, Position::default())?;
            return Ok((follower, false));
        }
        let mut follower = Self::start(path, Position { file, offset })?;
        if offset > 0 {
            // What is left of the line in the middle of which this is.
            follower.read(|_, _| false)?;
        }
        Ok((follower, true))
    }

    /// Bytes of the live file that were not read yet. What is left of an older one is not counted.
    pub fn behind(&self) -> u64 {
        let Some((_, inode)) = self.open.as_ref().and_then(|open| open.inode) else {
            return 0;
        };
        fs::metadata(&self.path).map_or(0, |live| {
            let read = match live.ino() == inode {
                true => self.position.offset,
                false => 0,
            };
            live.len().saturating_sub(read)
        })
    }

    /// The end of the live file as it is now.
    pub fn end(&self) -> io::Result<End> {
        match fs::metadata(&self.path) {
            Ok(live) => Ok(End {
                inode: Some((live.dev(), live.ino())),
                length: live.len(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(End::default()),
            Err(error) => Err(error),
        }
    }

    /// Whether an end was reached, as far as that can be told: not once its file was rotated.
    pub fn is_at(&self, end: &End) -> bool {
        let open = self.open.as_ref().and_then(|open| open.inode);
        open.is_some() && open == end.inode && self.position.offset >= end.length
    }

    fn try_start(path: &Path, position: Position) -> io::Result<Self> {
        let mut follower = Follower {
            path: path.into(),
            open: None,
            buffer: Vec::new(),
            consumed: 0,
            position,
        };
        let files = follower.files()?;
        let at = match follower.position.file.is_empty() {
            true => None,
            false => find(&files, &follower.position.file)?,
        };
        match at {
            Some(index) => follower.open_file(&files[index], follower.position.offset)?,
            None => {
                follower.position = Position::default();
                if let Some(first) = files.first() {
                    follower.open_file(first, 0)?;
                }
            }
        }
        Ok(follower)
    }

    /// Starts at the first file that was written to at `time` or later.
    pub fn since(path: &Path, time: SystemTime) -> io::Result<Self> {
        retry_not_found(|| {
            let mut follower = Follower {
                path: path.into(),
                open: None,
                buffer: Vec::new(),
                consumed: 0,
                position: Position::default(),
            };
            let files = follower.files()?;
            let is_later = |file: &&PathBuf| {
                fs::metadata(file)
                    .and_then(|m| m.modified())
                    .map_or(true, |m| m >= time)
            };
            if let Some(first) = files.iter().find(is_later) {
                follower.open_file(first, 0)?;
            }
            Ok(follower)
        })
    }

    /// Calls `take` with each whole line (without its break) and the position behind it, until the
    /// end of the log or until `take` answers false.
    pub fn read(&mut self, mut take: impl FnMut(&[u8], &Position) -> bool) -> io::Result<()> {
        loop {
            while let Some(length) = memchr::memchr(b'\n', &self.buffer[self.consumed..]) {
                let start = self.consumed;
                self.consumed += length + 1;
                if self.position.offset == 0 {
                    self.position.file = identity(&self.buffer[start..start + length]);
                }
                self.position.offset += length as u64 + 1;
                let line = &self.buffer[start..start + length];
                if !line.is_empty() && !take(line, &self.position) {
                    return Ok(());
                }
            }
            if !self.fill()? && !self.next_file()? {
                return Ok(());
            }
        }
    }

    /// Where the next line begins.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Files of the log, oldest first, the live one last.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = rotated_by_others(&self.path);
        let own = backups(&self.path).unwrap_or_default();
        files.extend(own.into_iter().map(|(_, path)| path));
        // While a backup is being compressed both forms are there.
        files.dedup_by(|b, a| {
            b.extension().is_some_and(|e| e == "gz") && b.with_extension("") == *a
        });
        if self.path.exists() {
            files.push(self.path.clone());
        }
        Ok(files)
    }

    fn open_file(&mut self, path: &Path, offset: u64) -> io::Result<()> {
        let mut file = File::open(path)?;
        let open = if path.extension().is_some_and(|e| e == "gz") {
            let mut reader = MultiGzDecoder::new(io::BufReader::new(file));
            io::copy(&mut (&mut reader).take(offset), &mut io::sink())?;
            Open {
                reader: Box::new(reader),
                inode: None,
            }
        } else {
            file.seek(SeekFrom::Start(offset))?;
            let metadata = file.metadata()?;
            Open {
                reader: Box::new(file),
                inode: Some((metadata.dev(), metadata.ino())),
            }
        };
        self.buffer.clear();
        self.consumed = 0;
        self.position.offset = offset;
        self.open = Some(open);
        Ok(())
    }

    /// Reads more. Answers whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(open) = &mut self.open else {
            return Ok(false);
        };
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        if self.buffer.len() > LINE_MAX_BYTES {
            self.position.offset += self.buffer.len() as u64;
            self.buffer.clear();
        }
        let mut more = open.reader.by_ref().take(READ_BYTES);
        Ok(more.read_to_end(&mut self.buffer)? > 0)
    }

    /// Goes on to the file after this one, if this one is finished. Answers whether it did.
    fn next_file(&mut self) -> io::Result<bool> {
        if let Some(open) = &self.open
            && let Some(inode) = open.inode
            && let Ok(there) = fs::metadata(&self.path)
            && (there.dev(), there.ino()) == inode
        {
            let read = self.position.offset + (self.buffer.len() - self.consumed) as u64;
            if there.len() >= read {
                return Ok(false);
            }
            // Copied away and truncated in place (logrotate's copytruncate).
            let path = self.path.clone();
            self.open_file(&path, 0)?;
            return Ok(there.len() > 0);
        }
        // The file was rotated; what was written to it before that must be read first.
        if self.fill()? {
            return Ok(true);
        }
        retry_not_found(|| self.try_next_file())
    }

    fn try_next_file(&mut self) -> io::Result<bool> {
        let files = self.files()?;
        let here = match self.position.file.is_empty() {
            true => None,
            false => find(&files, &self.position.file)?,
        };
        let next = match (here, &self.open) {
            (Some(index), _) => index + 1,
            (None, None) => 0,
            // This one is gone: whatever is there is newer, and the live file surely is.
            (None, Some(_)) => files.len().saturating_sub(1),
        };
        let Some(path) = files.get(next) else {
            return Ok(false);
        };
        let file = identity_of(path)?;
        if file.is_empty() {
            return Ok(false);
        }
        let path = path.clone();
        self.open_file(&path, 0)?;
        self.position.file = file;
        Ok(true)
    }
}

/// Files that logrotate made of the log: `audit.log.1`, `audit.log.2.gz`, `audit.log-20260131`, oldest
/// first.
fn rotated_by_others(path: &Path) -> Vec<PathBuf> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Vec::new();
    };
    let is_rotated = |candidate: &str| {
        let plain = candidate.strip_suffix(".gz").unwrap_or(candidate);
        let rest = plain.strip_prefix(name).unwrap_or_default();
        let digits = rest.strip_prefix(['.', '-']).unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'-')
    };
    let parent = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let entries = fs::read_dir(parent).into_iter().flatten();
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            is_rotated(entry.file_name().to_str()?).then_some(())?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

/// Where the files of the log at `path` stand in order, for comparing positions.
pub struct Order(Vec<String>);

impl Order {
    /// Looks at the files as they are now.
    pub fn of(path: &Path) -> io::Result<Self> {
        let follower = Follower {
            path: path.into(),
            open: None,
            buffer: Vec::new(),
            consumed: 0,
            position: Position::default(),
        };
        let files = follower.files()?;
        Ok(Order(
            files
                .iter()
                .map(|f| identity_of(f).unwrap_or_default())
                .collect(),
        ))
    }

    /// A number pair that orders positions; positions in files that are gone come first.
    pub fn rank(&self, position: &Position) -> (usize, u64) {
        match self.0.iter().rposition(|f| *f == position.file) {
            Some(index) if !position.file.is_empty() => (index + 1, position.offset),
            _ => (0, 0),
        }
    }

    /// Notes a file that appeared later.
    pub fn note(&mut self, file: &str) {
        if self.0.last().is_none_or(|l| l != file) && !self.0.iter().any(|f| f == file) {
            self.0.push(file.into());
        }
    }
}

/// A backup that is listed may be compressed, and so gone under its name, before it is opened.
fn retry_not_found<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..10 {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    attempt()
}

/// A file that vanishes while it is looked at is an error: its compressed form must be found instead.
fn find(files: &[PathBuf], identity: &str) -> io::Result<Option<usize>> {
    for (index, file) in files.iter().enumerate().rev() {
        match identity_of(file) {
            Ok(found) if found == identity => return Ok(Some(index)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(None)
}

fn identity_of(path: &Path) -> io::Result<String> {
    let file = io::BufReader::new(File::open(path)?);
    let mut reader: Box<dyn io::BufRead> = if path.extension().is_some_and(|e| e == "gz") {
        Box::new(io::BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    };
    let mut line = Vec::new();
    io::BufRead::read_until(&mut reader, b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Ok(String::new());
    }
    Ok(identity(&line))
}

fn identity(first_line: &[u8]) -> String {
    let hash = Sha256::digest(first_line);
    hash[..12].iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::sink::file::{RotatingFile, Rotation};

    fn lines(follower: &mut Follower) -> Vec<String> {
        let mut out = Vec::new();
        follower
            .read(|line, _| {
                out.push(String::from_utf8_lossy(line).into_owned());
                true
            })
            .expect("reads");
        out
    }

    #[test]
    fn follows_across_rotation_compression_and_restart() {
        for compress in [false, true] {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("audit.log");
            let rotation = Rotation {
                max_bytes: 40,
                max_age_days: 0,
                max_backups: 0,
                compress,
            };
            let mut log = RotatingFile::open(&path, rotation).expect("opens");
            let mut follower = Follower::start(&path, Position::default()).expect("starts");
            let mut seen = Vec::new();
            for n in 0..50 {
                log.write(format!("line number {n:03}\n").as_bytes())
                    .expect("writes");
                if n % 7 == 0 {
                    seen.extend(lines(&mut follower));
                }
                if n % 11 == 0 {
                    // A restart: only the position is kept.
                    let position = follower.position().clone();
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    follower = Follower::start(&path, position).expect("starts");
                }
            }
            seen.extend(lines(&mut follower));
            let expected: Vec<String> = (0..50).map(|n| format!("line number {n:03}")).collect();
            assert_eq!(seen, expected, "compress: {compress}");
        }
    }

    #[test]
    fn follows_logrotate() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let mut follower = Follower::start(&path, Position::default()).expect("starts");
        fs::write(&path, "a\nb\n").expect("writes");
        assert_eq!(lines(&mut follower), ["a", "b"]);
        // Renamed, with a line that nobody has read, while nobody looked.
        let position = follower.position().clone();
        fs::write(&path, "a\nb\nc\n").expect("writes");
        fs::rename(&path, dir.path().join("audit.log.1")).expect("renames");
        fs::write(&path, "d\n").expect("writes");
        let mut follower = Follower::start(&path, position).expect("starts");
        assert_eq!(lines(&mut follower), ["c", "d"]);
        // Copied and truncated.
        fs::copy(&path, dir.path().join("audit.log.2")).expect("copies");
        fs::write(&path, "").expect("truncates");
        assert!(lines(&mut follower).is_empty());
        fs::write(&path, "e\n").expect("writes");
        assert_eq!(lines(&mut follower), ["e"]);
    }

    #[test]
    fn half_a_line_waits() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let mut follower = Follower::start(&path, Position::default()).expect("starts");
        assert!(lines(&mut follower).is_empty());
        fs::write(&path, "a\nb").expect("writes");
        assert_eq!(lines(&mut follower), ["a"]);
        fs::write(&path, "a\nb\n").expect("writes");
        assert_eq!(lines(&mut follower), ["b"]);
    }
}
