//! `Index`: the handle that everybody else holds.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;

use bytes::Bytes;
use chrono::{DateTime, NaiveTime, Utc};
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, Occur, Query as TantivyQuery, RangeQuery, TermQuery};
use tantivy::schema::{IndexRecordOption, Value};
use tantivy::{Order, Searcher, TantivyDocument, Term};
use tokio::sync::oneshot;

use crate::search::document;
use crate::search::fields::{Fields, KEY};
use crate::search::indexer::{Indexer, Request, Shared};
use crate::search::query::{self, Query, QueryError};
use crate::search::window::Window;

/// How the index is kept. Zero means no limit.
#[derive(Clone, Copy, Debug)]
pub struct IndexOptions {
    /// Days after which events leave the index (not the log).
    pub max_age_days: u64,
    /// Bytes after which the oldest days leave it.
    pub max_bytes: u64,
    /// Threads that build segments: one beside a serving API server, more for imports.
    pub writer_threads: usize,
}

impl Default for IndexOptions {
    fn default() -> Self {
        IndexOptions {
            max_age_days: 90,
            max_bytes: 0,
            writer_threads: 1,
        }
    }
}

/// The most events that one page holds.
pub const PAGE_EVENTS_MAX: usize = 10_000;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Search {
    /// Text in the query language; empty for everything.
    pub query: String,
    /// When.
    pub window: Window,
    /// Events per page.
    pub limit: usize,
    /// `next` of the page before.
    pub after: Option<u64>,
    /// Only events of this namespace, whatever the query says.
    pub namespace: Option<String>,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Sort key.
    pub key: u64,
    /// The event's JSON text.
    pub event: Bytes,
}

impl Hit {
    /// The time of the event.
    pub fn time(&self) -> DateTime<Utc> {
        let micros = i64::try_from(self.key >> 12).unwrap_or_default();
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }
}

/// Events newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The events.
    pub hits: Vec<Hit>,
    /// For the next page; `None` at the end.
    pub next: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The query is wrong.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The index is.
    #[error("searching the index failed")]
    Index(#[from] tantivy::TantivyError),
    /// The search's thread is gone.
    #[error("the search was aborted")]
    Aborted,
}

/// The index.
pub struct Index {
    fields: Arc<Fields>,
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
}

impl Index {
    /// Opens the index in `root` over the log at `log` and starts its thread, which catches up with
    /// the log by itself. The thread ends, after a last commit, when the handle is dropped.
    pub fn open(root: &Path, log: &Path, options: IndexOptions) -> std::io::Result<Arc<Self>> {
        let fields = Arc::new(Fields::new());
        let shared = Arc::new(Shared::default());
        let indexer = Indexer::open(root, log, fields.clone(), shared.clone(), options)?;
        let (requests, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("audit-indexer".into())
            .spawn(move || indexer.run(&receiver))?;
        Ok(Arc::new(Index {
            fields,
            shared,
            requests,
        }))
    }

    /// Waits until everything that is in the log now can be found.
    pub async fn flush(&self) {
        let (told, done) = oneshot::channel();
        if self.requests.send(Request::Flush(told)).is_ok() {
            done.await.ok();
        }
    }

    /// How many events were indexed since the start, and how many lines were none.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.shared.indexed.load(Relaxed),
            self.shared.bad_lines.load(Relaxed),
        )
    }

    /// Answers a page, newest first, after catching up with the log.
    pub async fn search(&self, search: Search) -> Result<Page, SearchError> {
        let query = query::parse(&search.query)?;
        if search.after.is_none() {
            // Further pages go back in time from a first one that was fresh.
            self.flush().await;
        }
        let (fields, shared) = (self.fields.clone(), self.shared.clone());
        let work = move || run(&fields, &shared, &query, &search);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| SearchError::Aborted)?
    }

    /// All events of one audit ID, newest first, optionally of one namespace only.
    pub async fn by_audit_id(
        &self,
        audit_id: &str,
        namespace: Option<&str>,
    ) -> Result<Vec<Hit>, SearchError> {
        let search = Search {
            query: format!("auditID:{}", query::quote(audit_id)),
            window: Window::all(),
            limit: 100,
            after: None,
            namespace: namespace.map(str::to_string),
        };
        Ok(self.search(search).await?.hits)
    }
}

fn run(
    fields: &Fields,
    shared: &Shared,
    query: &Query,
    search: &Search,
) -> Result<Page, SearchError> {
    let limit = search.limit.clamp(1, PAGE_EVENTS_MAX);
    let compiled = query.compile(fields)?;
    let (from, to) = bounds(search);
    let mut hits = Vec::new();
    let days: Vec<_> = {
        let searchers = shared.searchers.read();
        searchers
            .iter()
            .rev()
            .map(|(day, s)| (*day, s.clone()))
            .collect()
    };
    for (day, searcher) in days {
        let start = day.and_time(NaiveTime::MIN).and_utc();
        let end = start + chrono::Duration::days(1);
        if key_of(end) <= from || key_of(start) >= to {
            continue;
        }
        let wanted = limit + 1 - hits.len();
        search_day(
            fields,
            &searcher,
            &*compiled,
            search,
            (from, to),
            wanted,
            &mut hits,
        )?;
        if hits.len() > limit {
            break;
        }
    }
    let next = (hits.len() > limit).then(|| hits[limit - 1].key);
    hits.truncate(limit);
    Ok(Page { hits, next })
}

fn search_day(
    fields: &Fields,
    searcher: &Searcher,
    query: &dyn TantivyQuery,
    search: &Search,
    (from, to): (u64, u64),
    wanted: usize,
    hits: &mut Vec<Hit>,
) -> Result<(), SearchError> {
    let mut clauses: Vec<(Occur, Box<dyn TantivyQuery>)> = vec![
        (Occur::Must, query.box_clone()),
        (
            Occur::Must,
            Box::new(RangeQuery::new(
                Bound::Included(Term::from_field_u64(fields.key, from)),
                Bound::Excluded(Term::from_field_u64(fields.key, to)),
            )),
        ),
    ];
    if let Some(namespace) = &search.namespace {
        let term = Term::from_field_text(fields.get("namespace"), namespace);
        let query = TermQuery::new(term, IndexRecordOption::Basic);
        clauses.push((Occur::Must, Box::new(query)));
    }
    let top = TopDocs::with_limit(wanted).order_by_fast_field::<u64>(KEY, Order::Desc);
    for (key, address) in searcher.search(&BooleanQuery::new(clauses), &top)? {
        let document: TantivyDocument = searcher.doc(address)?;
        let event = document.get_first(fields.event);
        let event = event
            .as_ref()
            .and_then(|v| v.as_bytes())
            .unwrap_or_default();
        hits.push(Hit {
            key: key.unwrap_or_default(),
            event: Bytes::copy_from_slice(event),
        });
    }
    Ok(())
}

/// The span of sort keys, cut off before the page before.
fn bounds(search: &Search) -> (u64, u64) {
    let to = key_of(search.window.to);
    let to = search.after.map_or(to, |after| to.min(after));
    (key_of(search.window.from), to)
}

fn key_of(time: DateTime<Utc>) -> u64 {
    let micros = u64::try_from(time.timestamp_micros()).unwrap_or_default();
    document::key(micros, 0)
}

#[cfg(test)]
mod tests;
