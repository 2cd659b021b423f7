//! Reads: get and list, at the freshness asked for.

use std::sync::Arc;
use std::time::Duration;

use super::object::{CachedObject, EventType};
use super::objects::Objects;
use super::window::take_back;
use super::{Cacher, Inner};
use crate::storage::{Error, KeyValue, LocalRevision, Range, Revision};

/// How long a read waits for a revision.
pub const FRESH_WAIT: Duration = Duration::from_secs(3);
/// How long a request waits for a cache that is just being filled.
const INITIALIZING_WAIT: Duration = Duration::from_millis(500);
/// Keys fetched at a time when a list goes to the store.
const STORE_PAGE_KEYS: usize = 1000;

/// How fresh an answer must be (contract/verbs.md §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Whatever the cache has (`resourceVersion=0`).
    Any,
    /// Not older than this revision.
    AtLeast(Revision),
    /// As fresh as the store at the moment of the request.
    Latest,
    /// Exactly this revision.
    Exact(Revision),
}

/// What to list.
#[derive(Clone)]
pub struct ListQuery<'a> {
    /// Namespace; empty for all.
    pub namespace: &'a str,
    /// First key, inclusive and relative to the cache's prefix, as a continue token carries it
    /// (`ns/name\0` starts behind `ns/name`).
    pub start: Option<&'a str>,
    /// Most items; zero for all.
    pub limit: usize,
    /// How fresh.
    pub freshness: Freshness,
    /// Which objects; `None` for all.
    pub filter: Option<&'a (dyn Fn(&CachedObject) -> bool + Sync)>,
}

/// The answer to a list.
#[derive(Clone, Debug)]
pub struct ListAnswer {
    /// The objects in key order.
    pub items: Vec<Arc<CachedObject>>,
    /// Revision of the list.
    pub revision: Revision,
    /// Whether keys follow behind the last item (with a filter: whether they match is not known).
    pub more: bool,
    /// How many keys follow; only without a filter and when there are more.
    pub remaining: Option<u64>,
}

/// The answer to a get.
#[derive(Clone, Debug)]
pub struct GetAnswer {
    /// The object, if there is one.
    pub object: Option<Arc<CachedObject>>,
    /// The answer holds at this revision.
    pub revision: Revision,
}

/// Where a fresh read is answered from.
enum Source {
    Cache,
    Store,
}

impl Cacher {
    /// Reads one object by full storage key.
    ///
    /// # Errors
    /// [`Error::FutureRevision`] when `AtLeast` is not reached in time, [`Error::Corrupt`] when
    /// the stored value can't be read, and what the store answers.
    pub async fn get(&self, key: &str, freshness: Freshness) -> Result<GetAnswer, Error> {
        let inner = &self.inner;
        if !inner.is_ready() {
            return inner.store_get(key).await;
        }
        match freshness {
            Freshness::Any => {}
            Freshness::AtLeast(revision) | Freshness::Exact(revision) => {
                inner.wait_for(revision).await?;
            }
            Freshness::Latest => {
                if let Source::Store = inner.freshen().await? {
                    return inner.store_get(key).await;
                }
            }
        }
        self.get_cached(key)
    }

    /// Reads one object by full storage key from the cache as it is, without waiting.
    pub fn get_cached(&self, key: &str) -> Result<GetAnswer, Error> {
        // Before the state: the state then holds at least this revision.
        let reached = self.inner.reached.revision();
        let state = self.inner.state.load();
        let object = state.objects.get(key).cloned();
        if object.is_none()
            && let Some(reason) = state.corrupt.get(key)
        {
            return Err(Error::Corrupt {
                reason: reason.clone(),
            });
        }
        Ok(GetAnswer {
            object,
            revision: reached.max(state.revision),
        })
    }

    /// Lists objects.
    ///
    /// # Errors
    /// [`Error::Initializing`] while the cache is being filled (except for lists with a limit and
    /// without a filter, which the store answers), [`Error::FutureRevision`],
    /// [`Error::Compacted`] when an exact revision is gone, and what the store answers.
    pub async fn list(&self, query: ListQuery<'_>) -> Result<ListAnswer, Error> {
        let inner = &self.inner;
        if !inner.is_ready() {
            let from_store = query.limit > 0 && query.filter.is_none();
            if from_store {
                return inner.store_list(&query).await;
            }
            inner.wait_ready_briefly().await?;
        }
        let (objects, revision) = match query.freshness {
            Freshness::Any => inner.now(),
            Freshness::AtLeast(revision) => {
                inner.wait_for(revision).await?;
                inner.now()
            }
            Freshness::Latest => match inner.freshen().await? {
                Source::Cache => inner.now(),
                Source::Store => return inner.store_list(&query).await,
            },
            Freshness::Exact(revision) => {
                let reached = inner.wait_for(revision).await.is_ok();
                match reached.then(|| inner.at(revision)).flatten() {
                    Some(objects) => (objects, revision),
                    None => return inner.store_list(&query).await,
                }
            }
        };
        let answer = inner.select(&objects, revision, &query);
        if answer.more {
            inner.remember(revision, objects);
        }
        inner.stats.cache_lists.add(1);
        Ok(answer)
    }
}

impl Inner {
    pub(super) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits a moment for a cache that is being filled.
    pub(super) async fn wait_ready_briefly(&self) -> Result<(), Error> {
        let mut ready = self.ready.subscribe();
        let wait = tokio::time::timeout(INITIALIZING_WAIT, ready.wait_for(|&ready| ready));
        match wait.await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::Initializing {
                since: self.created.elapsed(),
            }),
        }
    }

    /// The state now and the revision it holds at.
    pub(super) fn now(&self) -> (Objects, Revision) {
        // Before the state: the state then holds at least this revision.
        let reached = self.reached.revision();
        let state = self.state.load();
        (state.objects.clone(), reached.max(state.revision))
    }

    /// Waits until the cache is at `revision`.
    pub(super) async fn wait_for(&self, revision: Revision) -> Result<(), Error> {
        if self.reached.revision() >= revision {
            return Ok(());
        }
        if self.bring_to(revision).await {
            return Ok(());
        }
        Err(Error::FutureRevision {
            wanted: revision,
            current: self.now().1,
        })
    }

    /// Brings the cache up to the store's revision now, or says that the store must answer.
    async fn freshen(&self) -> Result<Source, Error> {
        self.stats.fresh_reads.add(1);
        if !self.is_following() {
            return Ok(Source::Store);
        }
        if let Some(local) = self.storage.local_revision(&self.prefix) {
            return Ok(match self.reach_local(local).await {
                true => Source::Cache,
                false => Source::Store,
            });
        }
        let revision = self.check.current(&self.stats).await?;
        if self.reached.revision() >= revision {
            return Ok(Source::Cache);
        }
        Ok(match self.bring_to(revision).await {
            true => Source::Cache,
            false => Source::Store,
        })
    }

    /// Waits until the cache is at `revision`, helped by whatever proof of it the store offers.
    async fn bring_to(&self, revision: Revision) -> bool {
        let local = match self.storage.local_revision(&self.prefix) {
            None if !self.storage.progress_is_trustworthy() => {
                self.check.pulse(&self.prefix, revision).await
            }
            local => local,
        };
        if let Some(local) = local.filter(|local| local.store >= revision) {
            return self.reach_local(local).await;
        }
        self.reached.ask_for(revision);
        self.reached.wait(revision, FRESH_WAIT).await
    }

    /// Brings the cache up to where the store says it is. Past the last write under the prefix
    /// nothing is to come, so the cache is as far as the store without having been told.
    async fn reach_local(&self, local: LocalRevision) -> bool {
        if !self.reached.wait(local.prefix, FRESH_WAIT).await {
            return false;
        }
        self.reached.advance(local.store);
        true
    }

    /// Waits as a fresh read does; an error when the cache can't get there.
    pub(super) async fn wait_fresh(&self) -> Result<(), Error> {
        match self.freshen().await? {
            Source::Cache => Ok(()),
            // Only the store could answer, and a watch needs the cache: wait for its revision.
            Source::Store => {
                let revision = self.check.current(&self.stats).await?;
                self.wait_for(revision).await
            }
        }
    }

    /// The state at exactly `revision`, which the cache has reached.
    fn at(&self, revision: Revision) -> Option<Objects> {
        // Reached, so the state holds all up to `revision`; not past it, so it holds no more.
        let state = self.state.load();
        if state.revision <= revision {
            return Some(state.objects.clone());
        }
        if let Some(known) = self.snapshots.get(revision) {
            return Some(known);
        }
        let (mut objects, changes) = self.hub.window(|window| window.back_to(revision))?;
        take_back(&mut objects, &changes);
        self.snapshots.put(revision, objects.clone());
        Some(objects)
    }

    /// Keeps a state that a continue token points at.
    fn remember(&self, revision: Revision, objects: Objects) {
        self.snapshots.put(revision, objects);
    }

    fn select(&self, objects: &Objects, revision: Revision, query: &ListQuery<'_>) -> ListAnswer {
        let prefix = self.prefix_of(query.namespace);
        let start = query.start.map(|start| format!("{}{start}", self.prefix));
        let mut range = objects.range(&prefix, start.as_deref());
        let whole = query.namespace.is_empty() && start.is_none();
        let mut items = Vec::new();
        if whole && query.filter.is_none() {
            let limit = if query.limit == 0 {
                usize::MAX
            } else {
                query.limit
            };
            items.reserve_exact(objects.len().min(limit));
        }
        let limit = if query.limit == 0 {
            usize::MAX
        } else {
            query.limit
        };
        while items.len() < limit
            && let Some(object) = range.next()
        {
            if query.filter.is_none_or(|filter| filter(object)) {
                items.push(object.clone());
            }
        }
        let counted = query.filter.is_none();
        let remaining = match query.limit {
            0 => 0,
            _ if whole && counted => objects.len() - items.len(),
            _ if counted => range.count(),
            _ => usize::from(range.next().is_some()),
        };
        ListAnswer {
            items,
            revision,
            more: remaining > 0,
            remaining: (remaining > 0 && counted).then_some(remaining as u64),
        }
    }

    fn prefix_of(&self, namespace: &str) -> String {
        if namespace.is_empty() {
            return self.prefix.to_string();
        }
        format!("{}{namespace}/", self.prefix)
    }

    async fn store_get(&self, key: &str) -> Result<GetAnswer, Error> {
        self.stats.store_reads.add(1);
        let got = self.storage.get(key).await?;
        let object = match &got.kv {
            Some(kv) => Some(self.decode(kv)?),
            None => None,
        };
        Ok(GetAnswer {
            object,
            revision: got.revision,
        })
    }

    fn decode(&self, kv: &KeyValue) -> Result<Arc<CachedObject>, Error> {
        let object = self
            .codec
            .ready(&kv.key, &kv.value, kv.mod_revision, EventType::Added)?;
        Ok(Arc::new(object))
    }

    /// Lists from the store, page by page at one revision. Unreadable values are left out, as the
    /// cache leaves them out.
    async fn store_list(&self, query: &ListQuery<'_>) -> Result<ListAnswer, Error> {
        self.stats.store_reads.add(1);
        let mut revision = match query.freshness {
            Freshness::Exact(revision) => revision,
            _ => 0,
        };
        let mut start = query.start.map(|start| format!("{}{start}", self.prefix));
        let mut page = match query.limit {
            0 => STORE_PAGE_KEYS,
            limit => limit,
        };
        let limit = if query.limit == 0 {
            usize::MAX
        } else {
            query.limit
        };
        let mut items = Vec::new();
        loop {
            let listed = self
                .storage
                .list(Range {
                    prefix: self.prefix_of(query.namespace),
                    start: start.take(),
                    limit: page,
                    revision,
                })
                .await?;
            if revision == 0 {
                revision = listed.revision;
            }
            let mut read = 0;
            for kv in &listed.kvs {
                if items.len() == limit {
                    break;
                }
                read += 1;
                if let Ok(object) = self.decode(kv)
                    && query.filter.is_none_or(|filter| filter(&object))
                {
                    items.push(object);
                }
            }
            let remaining = listed.count.saturating_sub(read as u64);
            let Some(last) = listed.kvs.last().filter(|_| remaining > 0) else {
                return Ok(ListAnswer {
                    items,
                    revision,
                    more: false,
                    remaining: None,
                });
            };
            if items.len() == limit {
                return Ok(ListAnswer {
                    items,
                    revision,
                    more: true,
                    remaining: query.filter.is_none().then_some(remaining),
                });
            }
            start = Some(format!("{}\0", last.key));
            page = (page * 2).min(STORE_PAGE_KEYS.max(query.limit));
        }
    }
}
