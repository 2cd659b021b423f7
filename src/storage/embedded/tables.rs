//! The files: four fjall keyspaces, their encodings, and how their failures are told.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `log` | revision | create revision, previous revision, key length, key, value |
//! | `keys` | key, NUL, revision | create revision (zero: delete) |
//! | `expiry` | deadline (Unix ms), revision | key |
//! | `meta` | name | revision |
//!
//! Numbers are big-endian, so that byte order is number order. `log` and `keys` say the same in
//! two orders; `keys` is what the index is rebuilt from, without reading a single value.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable};

use super::index::{FIRST_REVISION, Index, Version};
use super::writer::Committed;
use crate::storage::{Error, Failure, KeyValue, Revision};

/// What the `format` entry of `meta` must say.
const FORMAT: u64 = 1;
/// Bytes of a log record before the key.
const RECORD_HEAD: usize = 20;
/// How long closing waits for readers that still hold the files.
const RELEASE_WAIT: Duration = Duration::from_secs(5);

/// The open files of a store.
pub(super) struct Tables {
    log: Keyspace,
    keys: Keyspace,
    expiry: Keyspace,
    meta: Keyspace,
    acknowledged: File,
    failure: OnceLock<Error>,
    // Last: keyspaces go before their database.
    db: Database,
}

/// Keys by deadline (Unix ms) and revision of the write that set it.
pub(super) type Expiries = BTreeMap<(u64, Revision), Box<str>>;

/// What was read at opening.
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) expiries: Expiries,
}

/// One write as the log tells it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: String,
    /// Empty for deletes.
    pub(super) value: Bytes,
    /// Zero for deletes.
    pub(super) create_revision: Revision,
    /// Revision of the version before; zero when there was none.
    pub(super) previous_revision: Revision,
}

impl Record {
    pub(super) fn is_delete(&self) -> bool {
        self.create_revision == 0
    }

    pub(super) fn into_key_value(self, revision: Revision) -> KeyValue {
        KeyValue {
            key: self.key,
            value: self.value,
            mod_revision: revision,
            create_revision: self.create_revision,
        }
    }
}

/// The files as they were at one moment.
pub(super) struct View<'a> {
    tables: &'a Tables,
    snapshot: fjall::Snapshot,
}

impl View<'_> {
    /// The record of a revision, if it is kept.
    pub(super) fn record(&self, revision: Revision) -> Result<Option<Record>, Error> {
        let found = self
            .snapshot
            .get(&self.tables.log, revision.to_be_bytes())
            .map_err(|e| storage_error(&e))?;
        found.map(|bytes| decode_record(&bytes)).transpose()
    }
}

impl Tables {
    /// Opens or creates the files in `dir` and reads what the index needs.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<(Self, Recovered), Error> {
        std::fs::create_dir_all(dir).map_err(|e| io_error(&e, "create", dir))?;
        let db = Database::builder(dir.join("db"))
            .cache_size(cache_bytes)
            .open()
            .map_err(|e| open_error(&e, dir))?;
        let keyspace = |name: &str, memtable_bytes: u64| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes);
            db.keyspace(name, options).map_err(|e| storage_error(&e))
        };
        let path = dir.join("acknowledged");
        let acknowledged = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| io_error(&e, "open", &path))?;
        let tables = Self {
            log: keyspace("log", 32 << 20)?,
            keys: keyspace("keys", 8 << 20)?,
            expiry: keyspace("expiry", 4 << 20)?,
            meta: keyspace("meta", 1 << 20)?,
            acknowledged,
            failure: OnceLock::new(),
            db,
        };
        let recovered = tables.recover()?;
        Ok((tables, recovered))
    }

    /// One consistent view for several reads.
    pub(super) fn view(&self) -> View<'_> {
        View {
            tables: self,
            snapshot: self.db.snapshot(),
        }
    }

    /// The record of a revision, if it is kept.
    pub(super) fn record(&self, revision: Revision) -> Result<Option<Record>, Error> {
        let found = self.log.get(revision.to_be_bytes());
        let found = found.map_err(|e| storage_error(&e))?;
        found.map(|bytes| decode_record(&bytes)).transpose()
    }

    /// Calls `each` for the records after `after` up to and including `until`, at most `max`.
    /// Answers the last revision seen.
    pub(super) fn records(
        &self,
        after: Revision,
        until: Revision,
        max: usize,
        mut each: impl FnMut(Revision, Record) -> Result<(), Error>,
    ) -> Result<Revision, Error> {
        let range = (after + 1).to_be_bytes()..=until.to_be_bytes();
        let mut last = after;
        for guard in self.log.range(range).take(max) {
            let (key, value) = guard.into_inner().map_err(|e| storage_error(&e))?;
            last = decode_u64(&key, "log key")?;
            each(last, decode_record(&value)?)?;
        }
        Ok(last)
    }

    /// Makes a batch of writes durable.
    pub(super) fn commit(&self, writes: &[Committed]) -> Result<(), Error> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let mut batch = self.durable_batch(writes.len() * 3);
        let mut scratch = Vec::new();
        for write in writes {
            self.add_write(&mut batch, write, &mut scratch);
        }
        batch.commit().map_err(|e| self.fail(&e))
    }

    fn add_write(&self, batch: &mut OwnedWriteBatch, write: &Committed, scratch: &mut Vec<u8>) {
        let revision = write.version.revision.to_be_bytes();
        encode_record(scratch, write);
        batch.insert(&self.log, revision, scratch.as_slice());
        let create_revision = write.version.create_revision.to_be_bytes();
        let key = versioned_key(&write.key, write.version.revision);
        batch.insert(&self.keys, key, create_revision);
        if let Some(deadline_ms) = write.deadline_ms {
            let key = expiry_key(deadline_ms, write.version.revision);
            batch.insert(&self.expiry, key, write.key.as_bytes());
        }
    }

    /// Notes that everything up to `revision` was answered. Not durable by itself, see the module
    /// documentation of the store.
    pub(super) fn note_acknowledged(&self, revision: Revision) {
        if let Err(error) = self.acknowledged.write_all_at(&revision.to_be_bytes(), 0) {
            tracing::warn!(%error, "cannot note the acknowledged revision");
        }
    }

    /// Forgets deadlines that passed. Not durable: one that comes back is found stale again.
    pub(super) fn drop_expiries(&self, expiries: &[(u64, Revision)]) -> Result<(), Error> {
        let mut batch = OwnedWriteBatch::with_capacity(self.db.clone(), expiries.len());
        for &(deadline_ms, revision) in expiries {
            batch.remove(&self.expiry, expiry_key(deadline_ms, revision));
        }
        batch.commit().map_err(|e| self.fail(&e))
    }

    pub(super) fn write_compact_revision(&self, revision: Revision) -> Result<(), Error> {
        let mut batch = self.durable_batch(1);
        batch.insert(&self.meta, "compact_revision", revision.to_be_bytes());
        batch.commit().map_err(|e| self.fail(&e))
    }

    /// Removes versions. Not durable: those that come back are unreachable.
    pub(super) fn drop_versions(&self, versions: &[(Box<str>, Revision)]) -> Result<(), Error> {
        let mut batch = OwnedWriteBatch::with_capacity(self.db.clone(), versions.len() * 2);
        for (key, revision) in versions {
            batch.remove(&self.log, revision.to_be_bytes());
            batch.remove(&self.keys, versioned_key(key, *revision));
        }
        batch.commit().map_err(|e| self.fail(&e))
    }

    /// Bytes on disk, journals included.
    pub(super) fn size_bytes(&self) -> u64 {
        self.db.disk_space().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot measure the store");
            0
        })
    }

    /// Why writes are refused, once one failed.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.get().cloned()
    }

    /// Closes the files when the last reader let go of them, so that the directory can be opened
    /// again at once.
    pub(super) fn release(mut self: Arc<Self>) {
        let give_up = Instant::now() + RELEASE_WAIT;
        loop {
            match Arc::try_unwrap(self) {
                Ok(tables) => return drop(tables),
                Err(shared) if Instant::now() < give_up => self = shared,
                Err(_) => return tracing::warn!("store closed while still being read"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn durable_batch(&self, capacity: usize) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.db.clone(), capacity)
            .durability(Some(PersistMode::SyncAll))
    }

    /// Remembers a failed write: what reached the disk is unknown from here on.
    fn fail(&self, error: &fjall::Error) -> Error {
        let first = storage_error(error);
        tracing::error!(%error, "the store cannot write any more");
        let lasting = match &first {
            Error::NoSpace => Error::NoSpace,
            other => Error::Unavailable {
                failure: Failure::Closed,
                reason: format!("an earlier write failed, restart needed: {other:?}"),
            },
        };
        if self.failure.set(lasting).is_err() {
            tracing::debug!("the store had failed before");
        }
        first
    }

    fn recover(&self) -> Result<Recovered, Error> {
        let compact_revision = self.recover_meta()?;
        let mut index = Index::new(compact_revision);
        let mut kept = 0_u64;
        for guard in self.keys.iter() {
            let (key, value) = guard.into_inner().map_err(|e| storage_error(&e))?;
            let (key, revision) = split_versioned_key(&key)?;
            let create_revision = decode_u64(&value, "create revision")?;
            kept += u64::from(revision >= compact_revision);
            index.add(
                key,
                Version {
                    revision,
                    create_revision,
                },
            );
        }
        self.check_recovered(&index, kept)?;
        let expiries = self.recover_expiries()?;
        Ok(Recovered { index, expiries })
    }

    /// Checks the format, answers the compact revision.
    fn recover_meta(&self) -> Result<Revision, Error> {
        let read = |name: &str| {
            let found = self.meta.get(name).map_err(|e| storage_error(&e))?;
            found.map(|bytes| decode_u64(&bytes, name)).transpose()
        };
        match read("format")? {
            Some(FORMAT) => {}
            Some(other) => return Err(corrupt(format!("format {other} is not known"))),
            None => {
                let mut batch = self.durable_batch(1);
                batch.insert(&self.meta, "format", FORMAT.to_be_bytes());
                batch.commit().map_err(|e| storage_error(&e))?;
            }
        }
        Ok(read("compact_revision")?.unwrap_or(0))
    }

    /// Three witnesses must agree: the index, the log and the acknowledged revision.
    fn check_recovered(&self, index: &Index, kept: u64) -> Result<(), Error> {
        let revision = index.revision();
        let logged = match self.log.last_key_value() {
            Some(guard) => decode_u64(&guard.key().map_err(|e| storage_error(&e))?, "log key")?,
            None => FIRST_REVISION,
        };
        if logged != revision {
            return Err(corrupt(format!(
                "the log ends at revision {logged}, the key index at {revision}"
            )));
        }
        // Each revision has one version; the first revision is no write.
        let oldest = index.compact_revision().max(FIRST_REVISION + 1);
        let expected = (revision + 1).saturating_sub(oldest);
        if kept != expected {
            return Err(corrupt(format!(
                "{kept} of the {expected} revisions from {oldest} to {revision} are there"
            )));
        }
        let mut bytes = [0; 8];
        if self.acknowledged.read_exact_at(&mut bytes, 0).is_ok() {
            let acknowledged = Revision::from_be_bytes(bytes);
            if acknowledged > revision {
                return Err(corrupt(format!(
                    "revision {acknowledged} was acknowledged, but the log ends at {revision}"
                )));
            }
        }
        Ok(())
    }

    fn recover_expiries(&self) -> Result<Expiries, Error> {
        let mut expiries = Expiries::new();
        for guard in self.expiry.iter() {
            let (key, value) = guard.into_inner().map_err(|e| storage_error(&e))?;
            let (deadline, revision) = key.split_at(key.len().min(8));
            let at = (
                decode_u64(deadline, "expiry")?,
                decode_u64(revision, "expiry")?,
            );
            expiries.insert(at, utf8(&value)?.into());
        }
        Ok(expiries)
    }
}

fn encode_record(into: &mut Vec<u8>, write: &Committed) {
    into.clear();
    into.extend_from_slice(&write.version.create_revision.to_be_bytes());
    into.extend_from_slice(&write.previous_revision.to_be_bytes());
    let key_len = u32::try_from(write.key.len()).expect("keys are checked to be short");
    into.extend_from_slice(&key_len.to_be_bytes());
    into.extend_from_slice(write.key.as_bytes());
    into.extend_from_slice(write.value.as_deref().unwrap_or_default());
}

fn decode_record(bytes: &[u8]) -> Result<Record, Error> {
    let short = || corrupt(format!("a log record of {} bytes", bytes.len()));
    let (head, rest) = bytes.split_at_checked(RECORD_HEAD).ok_or_else(short)?;
    let key_len = u32::from_be_bytes(head[16..].try_into().map_err(|_| short())?);
    let (key, value) = rest.split_at_checked(key_len as usize).ok_or_else(short)?;
    Ok(Record {
        key: utf8(key)?.to_owned(),
        value: Bytes::copy_from_slice(value),
        create_revision: decode_u64(&head[..8], "create revision")?,
        previous_revision: decode_u64(&head[8..16], "previous revision")?,
    })
}

fn versioned_key(key: &str, revision: Revision) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 9);
    bytes.extend_from_slice(key.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&revision.to_be_bytes());
    bytes
}

fn split_versioned_key(bytes: &[u8]) -> Result<(&str, Revision), Error> {
    let key_len = bytes.len().checked_sub(9);
    let key_len = key_len.ok_or_else(|| corrupt("an index key is too short".to_owned()))?;
    let revision = decode_u64(&bytes[key_len + 1..], "index key")?;
    Ok((utf8(&bytes[..key_len])?, revision))
}

fn expiry_key(deadline_ms: u64, revision: Revision) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&deadline_ms.to_be_bytes());
    key[8..].copy_from_slice(&revision.to_be_bytes());
    key
}

fn decode_u64(bytes: &[u8], what: &str) -> Result<u64, Error> {
    let bytes = bytes.try_into();
    bytes
        .map(u64::from_be_bytes)
        .map_err(|_| corrupt(format!("{what} is not eight bytes")))
}

fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| corrupt("a key is not UTF-8".to_owned()))
}

fn corrupt(reason: String) -> Error {
    Error::Corrupt { reason }
}

fn open_error(error: &fjall::Error, dir: &Path) -> Error {
    match error {
        fjall::Error::Locked => Error::Unavailable {
            failure: Failure::Unreachable,
            reason: format!("{} is in use by another process", dir.display()),
        },
        other => storage_error(other),
    }
}

fn io_error(error: &std::io::Error, did: &str, path: &Path) -> Error {
    match error.kind() {
        std::io::ErrorKind::StorageFull => Error::NoSpace,
        _ => Error::Other {
            reason: format!("{did} {}: {error}", path.display()),
        },
    }
}

/// Sorts fjall's failures: the disk is full, the disk failed, or what it holds makes no sense.
fn storage_error(error: &fjall::Error) -> Error {
    let io = match error {
        fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io)) => Some(io),
        _ => None,
    };
    let damaged = |io: &std::io::Error| {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        matches!(io.kind(), InvalidData | UnexpectedEof)
    };
    match io {
        Some(io) if io.kind() == std::io::ErrorKind::StorageFull => Error::NoSpace,
        Some(io) if !damaged(io) => Error::Other {
            reason: format!("disk: {io}"),
        },
        None if matches!(error, fjall::Error::Poisoned) => Error::Unavailable {
            failure: Failure::Closed,
            reason: "an earlier write failed".to_owned(),
        },
        _ => corrupt(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_encoding() {
        let write = Committed {
            key: "/registry/pods/a/b".into(),
            value: Some(Bytes::from_static(b"{}")),
            version: Version {
                revision: 9,
                create_revision: 4,
            },
            previous_revision: 7,
            deadline_ms: None,
        };
        let mut bytes = Vec::new();
        encode_record(&mut bytes, &write);
        let record = decode_record(&bytes).expect("just encoded");
        assert_eq!(record.key, "/registry/pods/a/b");
        assert_eq!((record.create_revision, record.previous_revision), (4, 7));
        assert_eq!(&record.value[..], b"{}");
        for cut in 0..RECORD_HEAD + write.key.len() {
            assert!(decode_record(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let key = versioned_key(&write.key, 9);
        let split = split_versioned_key(&key).expect("just encoded");
        assert_eq!(split, (&*write.key, 9));
    }
}
