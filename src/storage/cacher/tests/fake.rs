//! A store in memory whose watches can be held back, broken and compacted at will.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::storage::{
    Error, Event, Failure, Got, KeyValue, Listed, Range, Revision, Storage, StoreStatus,
    WatchMessage, WatchStream,
};

#[derive(Default)]
pub(super) struct FakeStore {
    db: Mutex<Db>,
    pub(super) untrustworthy: AtomicBool,
    pub(super) down: AtomicBool,
    /// While set, `current_revision` waits for `open_gate`.
    pub(super) gated: AtomicBool,
    pub(super) gate: Notify,
    pub(super) checks: AtomicU64,
    pub(super) reads: AtomicU64,
}

#[derive(Default)]
struct Db {
    revision: Revision,
    data: BTreeMap<String, KeyValue>,
    history: Vec<Event>,
    compacted: Revision,
    watches: Vec<FakeWatch>,
    held: bool,
}

struct FakeWatch {
    prefix: String,
    sender: mpsc::Sender<WatchMessage>,
    pending: Vec<WatchMessage>,
}

impl FakeWatch {
    fn send(&mut self, message: WatchMessage, held: bool) {
        if held {
            self.pending.push(message);
        } else {
            let _ = self.sender.try_send(message);
        }
    }
}

impl FakeStore {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Holds watch messages back until [`FakeStore::release`].
    pub(super) fn hold(&self) {
        self.db.lock().held = true;
    }

    pub(super) fn release(&self) {
        let mut db = self.db.lock();
        db.held = false;
        for watch in &mut db.watches {
            for message in std::mem::take(&mut watch.pending) {
                let _ = watch.sender.try_send(message);
            }
        }
    }

    /// Ends all watches with this error.
    pub(super) fn break_watches(&self, error: Error) {
        for watch in self.db.lock().watches.drain(..) {
            let _ = watch.sender.try_send(WatchMessage::Failed(error.clone()));
        }
    }

    /// Loses everything and begins again at a low revision, as after restoring a backup.
    pub(super) fn lose_everything(&self) {
        let watches = {
            let mut db = self.db.lock();
            std::mem::take(&mut *db).watches
        };
        self.db.lock().revision = 1;
        drop(watches);
    }

    pub(super) fn history(&self) -> Vec<Event> {
        self.db.lock().history.clone()
    }

    pub(super) fn revision(&self) -> Revision {
        self.db.lock().revision
    }

    pub(super) fn put(&self, key: &str, value: &str) -> Revision {
        self.write(key, Some(Bytes::copy_from_slice(value.as_bytes())))
    }

    pub(super) fn remove(&self, key: &str) -> Revision {
        self.write(key, None)
    }

    fn write(&self, key: &str, value: Option<Bytes>) -> Revision {
        let mut guard = self.db.lock();
        let db = &mut *guard;
        db.revision += 1;
        let revision = db.revision;
        let previous = db.data.remove(key);
        if let Some(value) = &value {
            let kv = KeyValue {
                key: key.into(),
                value: value.clone(),
                mod_revision: revision,
                create_revision: previous.as_ref().map_or(revision, |kv| kv.create_revision),
            };
            db.data.insert(key.into(), kv);
        }
        let event = Event {
            key: key.into(),
            created: previous.is_none(),
            value,
            revision,
        };
        db.history.push(event.clone());
        for watch in &mut db.watches {
            if key.starts_with(&watch.prefix) {
                watch.send(WatchMessage::Events(vec![event.clone()]), db.held);
            }
        }
        revision
    }

    fn check(&self) -> Result<(), Error> {
        match self.down.load(Ordering::Relaxed) {
            true => Err(Error::Unavailable {
                failure: Failure::Unreachable,
                reason: "down".into(),
            }),
            false => Ok(()),
        }
    }
}

impl Db {
    fn at(&self, revision: Revision) -> Result<BTreeMap<String, KeyValue>, Error> {
        if revision == 0 || revision == self.revision {
            return Ok(self.data.clone());
        }
        if revision < self.compacted {
            return Err(Error::Compacted {
                compact_revision: self.compacted,
            });
        }
        let mut data: BTreeMap<String, KeyValue> = BTreeMap::new();
        for event in self.history.iter().filter(|e| e.revision <= revision) {
            match &event.value {
                None => {
                    data.remove(&event.key);
                }
                Some(value) => {
                    let kv = KeyValue {
                        key: event.key.clone(),
                        value: value.clone(),
                        mod_revision: event.revision,
                        create_revision: event.revision,
                    };
                    data.insert(event.key.clone(), kv);
                }
            }
        }
        Ok(data)
    }
}

#[async_trait]
impl Storage for FakeStore {
    async fn get(&self, key: &str) -> Result<Got, Error> {
        self.check()?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        let db = self.db.lock();
        Ok(Got {
            kv: db.data.get(key).cloned(),
            revision: db.revision,
        })
    }

    async fn list(&self, range: Range) -> Result<Listed, Error> {
        self.check()?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        let db = self.db.lock();
        let data = db.at(range.revision)?;
        let start = range.start.unwrap_or_else(|| range.prefix.clone());
        let all: Vec<KeyValue> = data
            .range(start..)
            .map(|(_, kv)| kv.clone())
            .take_while(|kv| kv.key.starts_with(&range.prefix))
            .collect();
        let limit = if range.limit == 0 {
            all.len()
        } else {
            range.limit
        };
        Ok(Listed {
            count: all.len() as u64,
            kvs: all.into_iter().take(limit).collect(),
            revision: db.revision,
        })
    }

    async fn create(
        &self,
        key: &str,
        value: Bytes,
        _: Option<Duration>,
    ) -> Result<Revision, Error> {
        Ok(self.write(key, Some(value)))
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        _: Revision,
        _: Option<Duration>,
    ) -> Result<Revision, Error> {
        Ok(self.write(key, Some(value)))
    }

    async fn delete(&self, key: &str, _: Revision) -> Result<Revision, Error> {
        Ok(self.write(key, None))
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, Error> {
        self.check()?;
        let mut db = self.db.lock();
        if after < db.compacted {
            return Err(Error::Compacted {
                compact_revision: db.compacted,
            });
        }
        let (sender, receiver) = mpsc::channel(100_000);
        let mut watch = FakeWatch {
            prefix: prefix.into(),
            sender,
            pending: Vec::new(),
        };
        let held = db.held;
        for event in &db.history {
            if event.revision > after && event.key.starts_with(prefix) {
                watch.send(WatchMessage::Events(vec![event.clone()]), held);
            }
        }
        db.watches.push(watch);
        Ok(receiver)
    }

    async fn request_progress(&self) -> Result<(), Error> {
        if !self.progress_is_trustworthy() {
            return Ok(());
        }
        let mut guard = self.db.lock();
        let db = &mut *guard;
        for watch in &mut db.watches {
            watch.send(WatchMessage::Progress(db.revision), db.held);
        }
        Ok(())
    }

    fn progress_is_trustworthy(&self) -> bool {
        !self.untrustworthy.load(Ordering::Relaxed)
    }

    async fn current_revision(&self) -> Result<Revision, Error> {
        self.check()?;
        self.checks.fetch_add(1, Ordering::Relaxed);
        if self.gated.load(Ordering::Relaxed) {
            self.gate.notified().await;
        }
        Ok(self.revision())
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.db.lock().compacted = revision;
        Ok(())
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        Ok(StoreStatus::default())
    }

    async fn close(&self) {}
}
