//! The feed: fills the cache from the store and keeps it following. One task per cache, and the
//! only one that changes its state.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::Inner;
use super::State;
use super::object::{CachedObject, EventType};
use super::objects::Objects;
use super::window::{Change, Window};
use crate::storage::{Error, Event, Failure, KeyValue, Range, Revision, WatchMessage, WatchStream};

/// Keys of the first page of a fill; later pages aim at [`PAGE_BYTES`].
const PAGE_KEYS_FIRST: usize = 500;
/// Most keys of a page.
const PAGE_KEYS_MAX: usize = 10_000;
/// Bytes of values a page aims at. Few pages: for each of them etcd counts all keys that are left.
const PAGE_BYTES: usize = 4 << 20;
/// Pages being decoded while the next is fetched; bounds the memory of a fill.
const PAGES_DECODING_MAX: usize = 2;
/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Why following ended.
enum Lost {
    /// The history is gone or the store went back in time: fill again.
    Place,
    /// The stream broke; what was applied still holds.
    Stream(Error),
}

/// The writer's side of the cache.
pub(super) struct Feed {
    inner: Arc<Inner>,
    objects: Objects,
    corrupt: Arc<HashMap<String, String>>,
    revision: Revision,
    filled: bool,
}

type Decoded = Result<Arc<CachedObject>, (String, String)>;

impl Feed {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            objects: Objects::default(),
            corrupt: Arc::default(),
            revision: 0,
            filled: false,
        }
    }

    /// Runs until the task is aborted.
    pub(super) async fn run(mut self) {
        let mut pause = BACKOFF.0;
        loop {
            match self.fill().await {
                Ok(()) => pause = BACKOFF.0,
                Err(error) => {
                    let prefix = &*self.inner.prefix;
                    tracing::warn!(%error, prefix, "cannot fill the watch cache");
                    pause = sleep(pause).await;
                    continue;
                }
            }
            self.follow_until_lost().await;
        }
    }

    /// Follows the store, over broken streams, until the place is lost.
    async fn follow_until_lost(&mut self) {
        let mut pause = BACKOFF.0;
        loop {
            let before = self.revision;
            let lost = self.follow().await;
            self.inner.set_following(false);
            self.inner.stats.store_watch_failures.add(1);
            match lost {
                Lost::Place => return,
                Lost::Stream(error) => {
                    let prefix = &*self.inner.prefix;
                    tracing::debug!(%error, prefix, "the watch on the store broke");
                }
            }
            if self.revision > before {
                pause = BACKOFF.0;
            }
            pause = sleep(pause).await;
            // A store that was restored from a backup is behind: events would never come.
            if let Ok(now) = self.inner.storage.current_revision().await
                && now < self.inner.reached.revision()
            {
                return;
            }
        }
    }

    async fn follow(&mut self) -> Lost {
        let after = self.inner.reached.revision().max(self.revision);
        let storage = self.inner.storage.clone();
        let mut stream = match storage.watch(&self.inner.prefix, after).await {
            Ok(stream) => stream,
            Err(Error::Compacted { .. } | Error::FutureRevision { .. }) => return Lost::Place,
            Err(error) => return Lost::Stream(error),
        };
        self.inner.set_following(true);
        let lost = self.take_in(&mut stream).await;
        self.inner.hub.wake_gathered();
        lost
    }

    async fn take_in(&mut self, stream: &mut WatchStream) -> Lost {
        loop {
            let message = match self.inner.hub.wake_at() {
                None => stream.recv().await,
                Some(at) => match timeout_at(at, stream.recv()).await {
                    Ok(message) => message,
                    Err(_) => {
                        self.inner.hub.wake_gathered();
                        continue;
                    }
                },
            };
            let Some(message) = message else { break };
            match message {
                WatchMessage::Events(events) => self.apply(events),
                WatchMessage::Progress(revision) => {
                    self.inner.reached.advance(revision);
                    self.inner.hub.advance(revision);
                    self.inner.snapshots.expire();
                }
                WatchMessage::Failed(Error::Compacted { .. }) => return Lost::Place,
                WatchMessage::Failed(error) => return Lost::Stream(error),
            }
        }
        Lost::Stream(Error::Unavailable {
            failure: Failure::Unreachable,
            reason: "watch ended".into(),
        })
    }

    /// Takes in the changes of whole revisions.
    fn apply(&mut self, events: Vec<Event>) {
        let known = self.revision;
        let mut changes = Vec::with_capacity(events.len());
        for event in events {
            if event.revision <= known {
                continue;
            }
            self.revision = self.revision.max(event.revision);
            changes.extend(self.apply_one(event));
        }
        self.inner.stats.events_received.add(changes.len() as u64);
        self.publish();
        // Readers first: whoever is told of a change finds it when reading.
        self.inner.reached.advance(self.revision);
        self.inner.hub.dispatch(changes, self.objects.clone(), None);
        self.inner.hub.advance(self.revision);
    }

    fn apply_one(&mut self, event: Event) -> Option<Arc<Change>> {
        let previous = self.objects.get(&event.key);
        let announces = match previous {
            Some(_) => EventType::Modified,
            None => EventType::Added,
        };
        let revision = event.revision;
        let decoded = event.value.map(|value| {
            self.inner
                .codec
                .ready(&event.key, &value, revision, announces)
        });
        let (object, previous) = match decoded {
            Some(Ok(object)) => {
                self.forget_corrupt(&event.key);
                let object = Arc::new(object);
                (Some(object.clone()), self.objects.insert(object))
            }
            Some(Err(error)) => {
                self.note_corrupt(event.key.clone(), error.to_string());
                (None, self.objects.remove(&event.key))
            }
            None => {
                self.forget_corrupt(&event.key);
                (None, self.objects.remove(&event.key))
            }
        };
        if object.is_none() && previous.is_none() {
            return None;
        }
        Some(Arc::new(Change::new(revision, object, previous)))
    }

    fn note_corrupt(&mut self, key: String, reason: String) {
        tracing::error!(key, reason, "a stored object cannot be read");
        self.inner.stats.corrupt_objects.add(1);
        Arc::make_mut(&mut self.corrupt).insert(key, reason);
    }

    fn forget_corrupt(&mut self, key: &str) {
        if self.corrupt.contains_key(key) {
            Arc::make_mut(&mut self.corrupt).remove(key);
        }
    }

    fn publish(&self) {
        self.inner.stats.objects.set(self.objects.len() as u64);
        self.inner.state.store(Arc::new(State {
            objects: self.objects.clone(),
            corrupt: self.corrupt.clone(),
            revision: self.revision,
        }));
    }

    /// Lists everything, and either starts over with it or dispatches what is different.
    async fn fill(&mut self) -> Result<(), Error> {
        self.inner.check.track(&self.inner.prefix).await;
        let (decoded, revision) = self.load().await?;
        self.inner.stats.initializations.add(1);
        self.corrupt = Arc::default();
        let mut objects = Vec::with_capacity(decoded.len());
        for one in decoded {
            match one {
                Ok(object) => objects.push(object),
                Err((key, reason)) => self.note_corrupt(key, reason),
            }
        }
        if self.filled
            && revision >= self.inner.reached.revision()
            && let Some(changes) = self.difference(&objects, revision)
        {
            self.revision = revision;
            self.publish();
            self.inner.reached.advance(revision);
            self.inner
                .hub
                .dispatch(changes, self.objects.clone(), Some(revision));
            self.inner.hub.advance(revision);
            self.inner.hub.wake_gathered();
            return Ok(());
        }
        self.start_over(objects, revision);
        Ok(())
    }

    fn start_over(&mut self, objects: Vec<Arc<CachedObject>>, revision: Revision) {
        self.objects = objects.into_iter().collect();
        self.revision = revision;
        self.filled = true;
        let error = Error::Compacted {
            compact_revision: revision,
        };
        self.publish();
        self.inner.snapshots.clear();
        let (objects, max) = (self.objects.clone(), self.inner.window_events_max);
        self.inner.reached.reset(revision);
        self.inner.hub.reset(
            |first| Window::new(objects, revision, first, max),
            revision,
            &error,
        );
        self.inner.ready.send_replace(true);
    }

    /// Brings the state to `now` and answers the changes, in revision order; deletions, whose
    /// revisions are not known, come last at the list's. `None` when the store does not continue
    /// what the cache knows.
    fn difference(
        &mut self,
        now: &[Arc<CachedObject>],
        revision: Revision,
    ) -> Option<Vec<Arc<Change>>> {
        let known = self.revision;
        let mut objects = self.objects.clone();
        let mut changes = Vec::new();
        let mut gone = Vec::new();
        let mut at = 0;
        for old in self.objects.iter() {
            while now.get(at).is_some_and(|new| new.key() < old.key()) {
                at += 1;
            }
            if now.get(at).is_none_or(|new| new.key() != old.key()) {
                objects.remove(old.key());
                gone.push(Arc::new(Change::new(revision, None, Some(old.clone()))));
            }
        }
        for new in now {
            let old = self.objects.get(new.key());
            if old.is_some_and(|old| old.revision() == new.revision()) {
                continue;
            }
            if new.revision() <= known {
                return None;
            }
            let previous = objects.insert(new.clone());
            changes.push(Arc::new(Change::new(
                new.revision(),
                Some(new.clone()),
                previous,
            )));
        }
        changes.sort_by_key(|change| change.revision);
        changes.extend(gone);
        self.objects = objects;
        Some(changes)
    }

    /// Lists the prefix page by page; decodes pages while the next are fetched.
    async fn load(&self) -> Result<(Vec<Decoded>, Revision), Error> {
        let inner = &self.inner;
        let mut revision = 0;
        let mut start = None;
        let mut limit = PAGE_KEYS_FIRST;
        let mut decoding = VecDeque::new();
        let mut decoded = Vec::new();
        loop {
            let listed = inner
                .storage
                .list(Range {
                    prefix: inner.prefix.to_string(),
                    start: start.take(),
                    limit,
                    revision,
                })
                .await?;
            if revision == 0 {
                revision = listed.revision;
            }
            let more = listed.count > listed.kvs.len() as u64;
            let next = listed.kvs.last().map(|last| format!("{}\0", last.key));
            limit = page_keys(&listed.kvs);
            let codec = inner.codec.clone();
            let page = listed.kvs;
            decoding.push_back(tokio::task::spawn_blocking(move || {
                page.iter()
                    .map(|kv| decode(&*codec, kv))
                    .collect::<Vec<_>>()
            }));
            if decoding.len() > PAGES_DECODING_MAX {
                finish_page(&mut decoding, &mut decoded).await?;
            }
            match next {
                Some(next) if more => start = Some(next),
                _ => break,
            }
        }
        while !decoding.is_empty() {
            finish_page(&mut decoding, &mut decoded).await?;
        }
        Ok((decoded, revision))
    }
}

/// Takes the oldest page out of `decoding`.
async fn finish_page(
    decoding: &mut VecDeque<JoinHandle<Vec<Decoded>>>,
    decoded: &mut Vec<Decoded>,
) -> Result<(), Error> {
    if let Some(page) = decoding.pop_front() {
        decoded.extend(page.await.map_err(|error| Error::Other {
            reason: error.to_string(),
        })?);
    }
    Ok(())
}

fn decode(codec: &dyn super::Codec, kv: &KeyValue) -> Decoded {
    codec
        .ready(&kv.key, &kv.value, kv.mod_revision, EventType::Added)
        .map(Arc::new)
        .map_err(|error| (kv.key.clone(), error.to_string()))
}

fn page_keys(page: &[KeyValue]) -> usize {
    let bytes: usize = page.iter().map(|kv| kv.value.len()).sum();
    let average = bytes / page.len().max(1) + 1;
    (PAGE_BYTES / average).clamp(PAGE_KEYS_FIRST.min(100), PAGE_KEYS_MAX)
}

async fn sleep(pause: Duration) -> Duration {
    tokio::time::sleep(pause).await;
    (pause * 2).min(BACKOFF.1)
}
