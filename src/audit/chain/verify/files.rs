//! Finds the files of a log, their chain files and the checkpoints.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::VerifyError;
use crate::audit::chain::format::{chain_path, checkpoints_path};
use crate::audit::chain::writer::ChainFile;
use crate::audit::sink::upkeep::{backup_chains, backups, directory};

/// Whether everything must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Folders were given: whole logs.
    Complete,
    /// Files were given: only these.
    Some,
}

/// A file of a log and its chain file; one of them may be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The file, plain or compressed.
    pub log: Option<PathBuf>,
    /// Its chain file.
    pub chain: Option<PathBuf>,
    /// It is the one that is written to.
    pub is_live: bool,
    /// To notice that another file has the name now.
    pub inode: u64,
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Files, oldest first.
    pub pairs: Vec<Pair>,
    /// Checkpoints beside them.
    pub checkpoints: Vec<PathBuf>,
    /// Whether that must be all.
    pub scope: Scope,
}

impl Found {
    /// Bytes to read.
    pub fn bytes(&self) -> u64 {
        let logs = self.pairs.iter().filter_map(|p| p.log.as_ref());
        let bytes = logs.map(|log| fs::metadata(log).map_or(0, |m| m.len()));
        bytes.sum()
    }
}

/// Looks at folders and files.
pub fn find(paths: &[PathBuf]) -> Result<Found, VerifyError> {
    let mut found = Found {
        pairs: Vec::new(),
        checkpoints: Vec::new(),
        scope: Scope::Some,
    };
    for path in paths {
        let read = |source| VerifyError::Read {
            path: path.clone(),
            source,
        };
        if fs::metadata(path).map_err(read)?.is_dir() {
            found.scope = Scope::Complete;
            for log in logs_in(path).map_err(read)? {
                add_log(&mut found, &log).map_err(read)?;
            }
        } else {
            add_file(&mut found, path).map_err(read)?;
        }
    }
    Ok(found)
}

/// Paths of the live logs in a folder, whether they are there or not: the names that the chain files
/// give, and those of files of checkpoints.
fn logs_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(name) = name.strip_suffix(".checkpoints") {
            names.insert(name.to_string(), ());
        } else if name.ends_with(".chain")
            && let Ok(Some(chain)) = ChainFile::open(&path)
            && !chain.header.name.contains('/')
        {
            names.insert(chain.header.name, ());
        }
    }
    Ok(names.into_keys().map(|name| folder.join(name)).collect())
}

/// A log with all that is left of it.
fn add_log(found: &mut Found, log: &Path) -> io::Result<()> {
    let checkpoints = checkpoints_path(log);
    if checkpoints.exists() {
        found.checkpoints.push(checkpoints);
    }
    let logs = backups(log)?.into_iter();
    let mut files: Vec<(_, PathBuf)> = logs.collect();
    for (time, chain) in backup_chains(log)? {
        if !files.iter().any(|(_, f)| chain_path(f) == chain) {
            files.push((time, chain.with_extension("")));
        }
    }
    files.sort();
    for (_, file) in files {
        found.pairs.push(pair(&file, false));
    }
    if log.exists() || chain_path(log).exists() {
        found.pairs.push(pair(log, true));
    }
    Ok(())
}

/// One file only.
fn add_file(found: &mut Found, path: &Path) -> io::Result<()> {
    let one = pair(path, false);
    let name = one
        .chain
        .as_ref()
        .and_then(|chain| ChainFile::open(chain).ok()??.header.name.into());
    if let Some(name) = name {
        let log = directory(path).join(&name);
        let checkpoints = checkpoints_path(&log);
        if checkpoints.exists() && !found.checkpoints.contains(&checkpoints) {
            found.checkpoints.push(checkpoints);
        }
    }
    let is_live = !backups_contain(path);
    found.pairs.push(Pair { is_live, ..one });
    Ok(())
}

/// Whether the name is a backup's of the log that its chain names.
fn backups_contain(path: &Path) -> bool {
    let header = ChainFile::open(&chain_path(path)).ok().flatten();
    let name = header.map(|chain| chain.header.name);
    name.is_none_or(|name| path.file_name().is_none_or(|n| *n != *name))
}

fn pair(log: &Path, is_live: bool) -> Pair {
    let chain = chain_path(log);
    let metadata = fs::metadata(log).ok();
    Pair {
        log: metadata.is_some().then(|| log.into()),
        chain: chain.exists().then_some(chain),
        is_live,
        inode: metadata.map_or(0, |m| std::os::unix::fs::MetadataExt::ino(&m)),
    }
}
