//! Backups of the log: their names, and what is deleted and compressed.
//!
//! Names and limits are those of upstream's log backend (contract/audit.md §8). A backup's chain file
//! goes with it; before events are deleted a signed statement says where the chain now begins.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::file::Rotation;
use crate::audit::chain::Notary;
use crate::audit::chain::format::{Header, chain_path};
use crate::audit::chain::writer::ChainFile;

/// Time in the names of backups.
const BACKUP_TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// `<base>-<2006-01-02T15-04-05.000><ext>` beside the log.
pub(super) fn backup_path(path: &Path, time: DateTime<Utc>) -> PathBuf {
    let (stem, extension) = name_parts(path);
    path.with_file_name(format!("{stem}-{}{extension}", time.format(BACKUP_TIME)))
}

/// A name that no backup, compressed or not, and no chain of one has.
pub(super) fn free_backup_path(path: &Path) -> PathBuf {
    let mut now = Utc::now();
    loop {
        let backup = backup_path(path, now);
        let taken = [
            backup.clone(),
            compressed_path(&backup),
            chain_path(&backup),
        ];
        if !taken.iter().any(|p| p.exists()) {
            return backup;
        }
        now += chrono::Duration::milliseconds(1);
    }
}

fn compressed_path(backup: &Path) -> PathBuf {
    let mut name = backup.as_os_str().to_owned();
    name.push(".gz");
    PathBuf::from(name)
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

/// The folder that a file is in.
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Rotated files of the log at `path` with the times in their names, oldest first.
pub fn backups(path: &Path) -> io::Result<Vec<(DateTime<Utc>, PathBuf)>> {
    siblings(path, |name| name.strip_suffix(".gz").unwrap_or(name))
}

/// Chain files of rotated files of the log at `path`, oldest first; also of files that are gone.
pub fn backup_chains(path: &Path) -> io::Result<Vec<(DateTime<Utc>, PathBuf)>> {
    siblings(path, |name| name.strip_suffix(".chain").unwrap_or(""))
}

/// Files beside the log whose name, shortened, is a backup's.
fn siblings(path: &Path, shorten: fn(&str) -> &str) -> io::Result<Vec<(DateTime<Utc>, PathBuf)>> {
    let (stem, extension) = name_parts(path);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory(path))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let time = shorten(&name)
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
pub(super) fn upkeep(path: &Path, rotation: Rotation, notary: Option<&Notary>) -> io::Result<()> {
    let mut kept = backups(path)?;
    let mut doomed = Vec::new();
    if rotation.max_backups > 0 {
        let surplus = kept.len().saturating_sub(rotation.max_backups);
        doomed.extend(kept.drain(..surplus));
    }
    if rotation.max_age_days > 0 {
        let age = Duration::from_secs(u64::from(rotation.max_age_days) * 86_400);
        let oldest: DateTime<Utc> = (SystemTime::now() - age).into();
        doomed.extend(kept.extract_if(.., |(time, _)| *time < oldest));
    }
    if !doomed.is_empty() {
        let first = kept.first().map(|(time, _)| *time);
        if let (Some(notary), Some(header)) = (notary, first_header(path, &kept)?) {
            notary.begins_at(&header);
        }
        for (_, backup) in doomed {
            fs::remove_file(backup)?;
        }
        for (_, chain) in backup_chains(path)?
            .into_iter()
            .filter(|(time, _)| first.is_none_or(|first| *time < first))
        {
            fs::remove_file(chain)?;
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

/// The header of the oldest file that is kept.
fn first_header(path: &Path, kept: &[(DateTime<Utc>, PathBuf)]) -> io::Result<Option<Header>> {
    let live = [path.to_path_buf()];
    for log in kept.iter().map(|(_, p)| p).chain(&live) {
        if let Some(chain) = ChainFile::open(&chain_path(log))? {
            return Ok(Some(chain.header));
        }
    }
    Ok(None)
}

/// Compresses a backup, unless somebody else does: another log on this path may have been closed a
/// moment ago, with its upkeep still under way.
fn compress(path: &Path) -> io::Result<()> {
    let mut plain = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    if plain.try_lock().is_err() || !path.exists() {
        return Ok(());
    }
    let target = compressed_path(path);
    let partial = path.with_extension("partial");
    let out = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    let mut encoder = GzEncoder::new(io::BufWriter::new(out), Compression::default());
    io::copy(&mut plain, &mut encoder)?;
    let mut out = encoder.finish()?;
    out.flush()?;
    // The plain file goes: the compressed one must be there after a power cut.
    out.get_ref().sync_all()?;
    fs::rename(&partial, &target)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upkeep_counts_and_compresses() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        for day in 1..=4 {
            let time = format!("2020-01-0{day}T00:00:00Z").parse().expect("a time");
            let backup = backup_path(&path, time);
            fs::write(chain_path(&backup), b"chain\n").expect("writes");
            fs::write(backup, b"line\n").expect("writes");
        }
        let limits = Rotation {
            max_backups: 2,
            max_age_days: 0,
            compress: true,
            ..Rotation::default()
        };
        upkeep(&path, limits, None).expect("works");
        let names: Vec<_> = backups(&path).expect("lists");
        assert_eq!(names.len(), 2);
        assert!(names[0].1.ends_with("audit-2020-01-03T00-00-00.000.log.gz"));
        let chains = backup_chains(&path).expect("lists");
        assert_eq!(chains.len(), 2, "chain files go with their backups");
    }
}
