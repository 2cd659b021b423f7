//! `RotatingFile`: the log file, its rotation by size and the upkeep of its backups.
//!
//! Names and limits are those of upstream's log backend (contract/audit.md §8). Not thread-safe by
//! itself; [`super::log`] holds it under its lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, NaiveDateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;

/// Time in the names of backups.
const BACKUP_TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";
/// How often the file behind the path is compared with the open one.
const REPLACED_CHECK_INTERVAL: Duration = Duration::from_millis(500);

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

/// What happened to the file beside being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// The file was deleted or another one put in its place; a new one is open.
    Replaced,
}

/// The open log file.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
    checked: Instant,
    /// Held while backups are compressed and deleted: rotations may follow each other quickly.
    upkeep: Arc<Mutex<()>>,
}

impl RotatingFile {
    /// Opens for appending; makes the directory (0700) and the file (0600) where missing. A last
    /// line that a crash cut off is closed with a line break, never removed.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)?;
        }
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
            checked: Instant::now(),
            upkeep: Arc::default(),
        })
    }

    /// Writes whole lines in one call. Rotates first when they would not fit.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<Option<Incident>> {
        let incident = self.reopen_if_replaced()?;
        let limit = self.rotation.max_bytes;
        if limit > 0 && self.size > 0 && self.size + lines.len() as u64 > limit {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(lines) {
            // A disk that filled up half-way through leaves a torn line: keep the next one whole.
            self.size = self.file.metadata().map_or(self.size, |m| m.len());
            if !ends_with_line_break(&mut self.file).unwrap_or(true) {
                self.file.write_all(b"\n").ok();
            }
            return Err(error);
        }
        self.size += lines.len() as u64;
        Ok(incident)
    }

    /// Notices a file that was deleted or replaced under us (kubernetes/kubernetes#111208).
    fn reopen_if_replaced(&mut self) -> io::Result<Option<Incident>> {
        if self.checked.elapsed() < REPLACED_CHECK_INTERVAL {
            return Ok(None);
        }
        self.checked = Instant::now();
        let ours = self.file.metadata()?;
        let is_same = fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
        if is_same {
            return Ok(None);
        }
        *self = RotatingFile::open(&self.path, self.rotation)?;
        Ok(Some(Incident::Replaced))
    }

    /// Looks after the file when nothing is written.
    pub fn check(&mut self) -> io::Result<Option<Incident>> {
        self.reopen_if_replaced()
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut now = Utc::now();
        let mut backup = backup_path(&self.path, now);
        // An earlier backup of the same millisecond may be compressed already.
        while backup.exists() || compressed_path(&backup).exists() {
            now += chrono::Duration::milliseconds(1);
            backup = backup_path(&self.path, now);
        }
        fs::rename(&self.path, &backup)?;
        self.file = open_append(&self.path)?;
        self.size = 0;
        let (path, rotation, turn) = (self.path.clone(), self.rotation, self.upkeep.clone());
        std::thread::Builder::new()
            .name("audit-log-upkeep".into())
            .spawn(move || {
                let _turn = turn.lock();
                if let Err(error) = upkeep(&path, rotation) {
                    tracing::warn!(path = %path.display(), %error, "upkeep of rotated audit logs failed");
                }
            })?;
        Ok(())
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn compressed_path(backup: &Path) -> PathBuf {
    let mut name = backup.as_os_str().to_owned();
    name.push(".gz");
    PathBuf::from(name)
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

/// `<base>-<2006-01-02T15-04-05.000><ext>` beside the log.
fn backup_path(path: &Path, time: DateTime<Utc>) -> PathBuf {
    let (stem, extension) = name_parts(path);
    path.with_file_name(format!("{stem}-{}{extension}", time.format(BACKUP_TIME)))
}

fn name_parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|p| p.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let extension = match path.extension() {
        None => String::new(),
        some => format!(".{}", text(some)),
    };
    (text(path.file_stem()), extension)
}

/// Rotated files of the log at `path` with the times in their names, oldest first.
pub fn backups(path: &Path) -> io::Result<Vec<(DateTime<Utc>, PathBuf)>> {
    let (stem, extension) = name_parts(path);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let time = plain
            .strip_suffix(extension.as_str())
            .and_then(|n| n.strip_prefix(stem.as_str()))
            .and_then(|n| n.strip_prefix('-'))
            .and_then(|n| NaiveDateTime::parse_from_str(n, BACKUP_TIME).ok());
        if let Some(time) = time {
            found.push((time.and_utc(), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Deletes backups beyond the limits, compresses the others.
fn upkeep(path: &Path, rotation: Rotation) -> io::Result<()> {
    let mut kept = backups(path)?;
    if rotation.max_backups > 0 {
        let surplus = kept.len().saturating_sub(rotation.max_backups);
        for (_, backup) in kept.drain(..surplus) {
            fs::remove_file(backup)?;
        }
    }
    if rotation.max_age_days > 0 {
        let age = Duration::from_secs(u64::from(rotation.max_age_days) * 86_400);
        let oldest: DateTime<Utc> = (SystemTime::now() - age).into();
        for (_, backup) in kept.extract_if(.., |(time, _)| *time < oldest) {
            fs::remove_file(backup)?;
        }
    }
    if rotation.compress {
        let is_plain = |p: &Path| p.extension().is_none_or(|e| e != "gz");
        for (_, backup) in kept.iter().filter(|(_, p)| is_plain(p)) {
            compress(backup)?;
        }
    }
    Ok(())
}

fn compress(path: &Path) -> io::Result<()> {
    let mut target = path.as_os_str().to_owned();
    target.push(".gz");
    let partial = path.with_extension("partial");
    let out = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    let mut encoder = GzEncoder::new(io::BufWriter::new(out), Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.flush()?;
    fs::rename(&partial, &target)?;
    fs::remove_file(path)
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
    fn upkeep_counts_and_compresses() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        for day in 1..=4 {
            let time = format!("2020-01-0{day}T00:00:00Z").parse().expect("a time");
            fs::write(backup_path(&path, time), b"line\n").expect("writes");
        }
        let mut limits = rotation(0);
        (limits.max_backups, limits.compress) = (2, true);
        upkeep(&path, limits).expect("works");
        let names: Vec<_> = backups(&path).expect("lists");
        assert_eq!(names.len(), 2);
        assert!(names[0].1.ends_with("audit-2020-01-03T00-00-00.000.log.gz"));
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
    fn a_deleted_log_is_noticed_k8s_111208() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let mut file = RotatingFile::open(&path, rotation(0)).expect("opens");
        fs::remove_file(&path).expect("deletes");
        file.checked = Instant::now() - REPLACED_CHECK_INTERVAL;
        assert_eq!(
            file.write(b"a\n").expect("writes"),
            Some(Incident::Replaced)
        );
        assert_eq!(fs::read(&path).expect("exists"), b"a\n");
    }
}
