//! Follows the audit logs of other API servers (`--follow`) into our own log.
//!
//! Where a log was read to is kept in a file of its own, written after the lines are on disk: a crash
//! in between reads some lines again, which [`Ingest`] knows and leaves out. Rotation, compression
//! and truncation of the followed log are [`Follower`]'s to understand.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::base::Backoff;
use crate::search::follower::{Follower, Position};
use crate::search::import::events_of;
use crate::search::ingest::{Ingest, check_cluster};

/// How often a log is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Lines that are taken at once.
const BATCH_LINES: usize = 2_000;
/// Bytes of lines that are taken at once.
const BATCH_BYTES: usize = 8 << 20;

/// A log that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedLog {
    /// Cluster that its events are of.
    pub cluster: Option<String>,
    /// The file; it need not exist yet.
    pub path: PathBuf,
}

impl FollowedLog {
    /// Reads `[CLUSTER=]PATH`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (cluster, path) = match text.split_once('=') {
            Some((cluster, path)) if !cluster.contains('/') => (check_cluster(cluster)?, path),
            _ => (None, text),
        };
        if path.is_empty() {
            return Err(format!(
                "{text:?} names no file: write PATH or CLUSTER=PATH"
            ));
        }
        Ok(FollowedLog {
            cluster: cluster.map(str::to_string),
            path: path.into(),
        })
    }
}

/// Follows one log until the task is stopped. `state` is the folder where positions are kept.
pub async fn follow(log: FollowedLog, state: PathBuf, ingest: Arc<Ingest>) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    loop {
        let outcome = follow_on(&log, &state, &ingest, &mut backoff).await;
        if let Err(error) = outcome {
            tracing::error!(log = %log.path.display(), %error, "following an audit log failed, will try again");
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn follow_on(
    log: &FollowedLog,
    state: &Path,
    ingest: &Arc<Ingest>,
    backoff: &mut Backoff,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let file = state_file(state, &log.path);
    let from = read_state(&file)?;
    let mut follower = Follower::start(&log.path, from.clone())?;
    if !from.file.is_empty() && follower.position().file != from.file {
        tracing::warn!(log = %log.path.display(), "the place to go on from is gone; reading from the oldest file there is");
    }
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let batch = batch(&mut follower);
            (follower, batch)
        });
        let (back, batch) = read.await?;
        follower = back;
        let lines = batch?;
        if lines.is_empty() {
            tokio::time::sleep(POLL_INTERVAL).await;
            continue;
        }
        let received = ingest.take(log.cluster.as_deref(), lines).await?;
        if let Some(bad) = received.bad.first() {
            tracing::warn!(log = %log.path.display(), lines = received.bad.len(), reason = %bad.reason, "lines of a followed log are no audit events");
        }
        write_state(&file, follower.position())?;
        backoff.reset();
    }
}

fn batch(follower: &mut Follower) -> io::Result<Vec<Result<Vec<u8>, String>>> {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    follower.read(|line, _| {
        bytes += line.len();
        events_of(line, &mut |event| {
            lines.push(event.map(<[u8]>::to_vec));
            true
        });
        lines.len() < BATCH_LINES && bytes < BATCH_BYTES
    })?;
    Ok(lines)
}

/// Named after the path, whatever is in it.
fn state_file(state: &Path, log: &Path) -> PathBuf {
    let path = std::path::absolute(log).unwrap_or_else(|_| log.into());
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let hash: String = hash[..8].iter().map(|b| format!("{b:02x}")).collect();
    state.join(format!("{hash}.json"))
}

fn read_state(file: &Path) -> io::Result<Position> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Position::default()),
        Err(error) => return Err(error),
    };
    Ok(serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::error!(file = %file.display(), %error, "the position in a followed log is damaged; reading it from its start");
        Position::default()
    }))
}

fn write_state(file: &Path, position: &Position) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let partial = file.with_extension("partial");
    fs::write(&partial, serde_json::to_vec(position)?)?;
    fs::rename(partial, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        for (text, cluster, path) in [
            ("/var/log/audit.log", None, "/var/log/audit.log"),
            (
                "prod=/var/log/audit.log",
                Some("prod"),
                "/var/log/audit.log",
            ),
            ("/odd/a=b.log", None, "/odd/a=b.log"),
        ] {
            let log = FollowedLog::parse(text).expect(text);
            assert_eq!(log.cluster.as_deref(), cluster);
            assert_eq!(log.path, Path::new(path));
        }
        assert!(FollowedLog::parse("prod=").is_err());
        assert!(FollowedLog::parse("a b=/x").is_err());
    }
}
