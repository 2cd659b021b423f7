//! `Index`: the handle that everybody else holds.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use tantivy::query::{BooleanQuery, Occur, Query as TantivyQuery, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{Searcher, SegmentReader, Term};
use tokio::sync::{Semaphore, oneshot};

use crate::search::days::{Days, InTime, Shared, place_in_time};
use crate::search::document::{self, Prepared};
use crate::search::fields::Fields;
use crate::search::indexer::{Indexer, Request, Source};
use crate::search::metrics::Metrics;
use crate::search::newest::{self, Span};
use crate::search::partition::Known;
use crate::search::query::{self, Query, QueryError};
use crate::search::summary::{self, Spec, Totals};
use crate::search::window::Window;

/// How the index is kept. Zero means no limit.
#[derive(Clone, Debug)]
pub struct IndexOptions {
    /// Days after which events leave the index (not the log).
    pub max_age_days: u64,
    /// Bytes after which the oldest days leave it.
    pub max_bytes: u64,
    /// Threads that build segments: one beside a serving API server, more for imports.
    pub writer_threads: usize,
    /// Memory of each of these threads. More of it makes fewer segments, and less to merge.
    pub writer_bytes: usize,
    /// What is counted where.
    pub metrics: Metrics,
}

impl Default for IndexOptions {
    fn default() -> Self {
        IndexOptions {
            max_age_days: 0,
            max_bytes: 0,
            writer_threads: 1,
            writer_bytes: 64 << 20,
            metrics: Metrics::new(),
        }
    }
}

/// The most events that one page holds.
pub const PAGE_EVENTS_MAX: usize = 10_000;
/// Searches that run at once; more wait. They must not take the whole machine from those who serve.
const SEARCHES_MAX: usize = 4;
/// Threads that one search runs on.
const THREADS_MAX: usize = 4;
/// Events that are worth another thread.
const EVENTS_PER_THREAD_MIN: usize = if cfg!(test) { 50 } else { 50_000 };

/// Which end of the window comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// The newest event first.
    #[default]
    NewestFirst,
    /// The oldest event first.
    OldestFirst,
}

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Text in the query language; empty for everything.
    pub query: String,
    /// When.
    pub window: Window,
    /// Events per page.
    pub limit: usize,
    /// `next` of the page before: the sort key of its last event. Events that come in later, and a
    /// rebuilt index, do not move it.
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
        let micros = i64::try_from(self.key >> document::KEY_MICROS_SHIFT).unwrap_or_default();
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }
}

/// Events in order.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The events.
    pub hits: Vec<Hit>,
    /// For the next page; `None` at the end.
    pub next: Option<u64>,
    /// Days of the window that are being built anew from the log: events of theirs may be missing.
    pub rebuilding: Vec<NaiveDate>,
    /// The index could not take in all that is in the logs: the newest events may be missing.
    pub is_behind: bool,
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
    /// A day of the index cannot be read.
    #[error("the index of {0} cannot be read")]
    Day(NaiveDate),
    /// The search's thread is gone.
    #[error("the search was aborted")]
    Aborted,
}

/// The index.
pub struct Index {
    fields: Arc<Fields>,
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    slots: Semaphore,
    max_age_days: u64,
}

impl Index {
    /// Opens the index in `root` over the log at `log` and starts its thread, which catches up with
    /// the log. The thread ends when the last handle is gone.
    pub fn open(root: &Path, log: &Path, options: IndexOptions) -> std::io::Result<Arc<Self>> {
        let source = Source {
            name: "log".into(),
            path: log.into(),
            cluster: None,
            may_repeat: false,
        };
        Self::follow(root, vec![source], options)
    }

    /// Opens an index that has no log to follow: one that was made by [`crate::search::import`].
    pub fn open_still(root: &Path, options: IndexOptions) -> std::io::Result<Arc<Self>> {
        Self::follow(root, Vec::new(), options)
    }

    /// Opens the index in `root` over any number of logs.
    pub fn follow(
        root: &Path,
        sources: Vec<Source>,
        options: IndexOptions,
    ) -> std::io::Result<Arc<Self>> {
        let fields = Arc::new(Fields::new());
        let shared = Arc::new(Shared::new(options.metrics.clone()));
        let max_age_days = options.max_age_days;
        let days = Days::open(root, fields.clone(), shared.clone(), options)?;
        let indexer = Indexer::new(days, shared.clone(), sources)?;
        let (requests, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("audit-indexer".into())
            .spawn(move || indexer.run(&receiver))?;
        Ok(Arc::new(Index {
            fields,
            shared,
            requests,
            slots: Semaphore::new(SEARCHES_MAX),
            max_age_days,
        }))
    }

    /// Waits until everything that is in the logs now can be found. Where that fails, pages say that
    /// they are behind.
    pub async fn flush(&self) {
        let (told, done) = oneshot::channel();
        let is_sent = self.requests.send(Request::Flush(told)).is_ok();
        if !is_sent || done.await.is_err() {
            // The indexer is gone.
            self.shared.is_behind.store(true, Ordering::Release);
        }
    }

    /// Days that are being built anew from the log, of which events may be missing.
    pub fn rebuilding(&self) -> Vec<NaiveDate> {
        self.shared.rebuilding.read().iter().copied().collect()
    }

    /// Whether the newest events may be missing, because the log could not be taken in.
    pub fn is_behind(&self) -> bool {
        self.shared.is_behind.load(Ordering::Acquire)
    }

    /// How many events were indexed since the start, and how many lines were none.
    pub fn counts(&self) -> (u64, u64) {
        let metrics = &self.shared.metrics;
        (metrics.indexed.get(), metrics.bad_lines.get())
    }

    /// Answers a page, newest first, after catching up with the logs.
    pub async fn search(&self, search: Search) -> Result<Page, SearchError> {
        self.search_in(search, Direction::NewestFirst).await
    }

    /// Answers a page in an order, after catching up with the logs.
    pub async fn search_in(
        &self,
        search: Search,
        direction: Direction,
    ) -> Result<Page, SearchError> {
        let query = query::parse(&search.query)?;
        if search.after.is_none() {
            // Further pages go on from a first one that was fresh.
            self.flush().await;
        }
        let compiled: Arc<dyn TantivyQuery> = restricted(&self.fields, &query, &search)?.into();
        let fields = self.fields.clone();
        let (span, limit) = (span_of(&search, direction), search.limit);
        let page = self.retried(span, move |days| {
            page(&fields, days, &*compiled, span, limit)
        });
        let mut page = page.await?;
        page.is_behind = self.is_behind();
        Ok(page)
    }

    /// Counts over all matches, in one pass. Limit and cursor play no part.
    pub async fn totals(&self, search: Search, spec: Arc<Spec>) -> Result<Totals, SearchError> {
        let query = query::parse(&search.query)?;
        self.flush().await;
        let compiled: Arc<dyn TantivyQuery> = restricted(&self.fields, &query, &search)?.into();
        let span = span_of(&search, Direction::OldestFirst);
        let totals = self.retried(span, move |days| {
            summary::run(days, &*compiled, (span.from, span.to), &spec)
        });
        let mut totals = totals.await?;
        totals.is_incomplete |= self.is_behind();
        Ok(totals)
    }

    /// The field that holds stored events.
    pub fn event_field(&self) -> Field {
        self.fields.event
    }

    /// All events of one audit ID, newest first, optionally of one namespace only.
    pub async fn by_audit_id(
        &self,
        audit_id: &str,
        namespace: Option<&str>,
    ) -> Result<Vec<Hit>, SearchError> {
        let search = Search {
            query: format!("auditID:{}", query::quote(audit_id)),
            limit: 100,
            namespace: namespace.map(str::to_string),
            ..Search::default()
        };
        Ok(self.search(search).await?.hits)
    }

    /// Whether events of a day are taken.
    pub fn takes(&self, day: NaiveDate) -> InTime {
        place_in_time(day, self.max_age_days)
    }

    /// Which of the events can be found by now. `prepared` gets one out of an item.
    pub async fn known<T: Send + 'static>(
        &self,
        items: Vec<T>,
        prepared: fn(&T) -> &Prepared,
    ) -> (Vec<T>, Result<Vec<bool>, SearchError>) {
        let searchers = self.shared.searchers.read().clone();
        let fields = self.fields.clone();
        let work = move || {
            let mut days: BTreeMap<NaiveDate, Known> = BTreeMap::new();
            let known = items.iter().map(|item| {
                let event = prepared(item);
                let Some(searcher) = searchers.get(&event.day) else {
                    return Ok(false);
                };
                let known = match days.entry(event.day) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => place.insert(Known::of(searcher, &fields)?),
                };
                known.contains(&fields, event)
            });
            let known = known.collect::<tantivy::Result<Vec<bool>>>();
            (items, known.map_err(SearchError::from))
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(answer) => answer,
            Err(_) => (Vec::new(), Err(SearchError::Aborted)),
        }
    }

    /// Runs a search on a thread of its own. Where a day cannot be read, the indexer looks at it; if
    /// it was damaged it is set aside by then, and the search runs once more.
    async fn retried<T, W>(&self, span: Span, work: W) -> Result<T, SearchError>
    where
        T: Send + 'static + Incomplete,
        W: Fn(&DaysInWindow) -> Result<T, SearchError> + Send + Sync + 'static,
    {
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|_| SearchError::Aborted)?;
        let work = Arc::new(work);
        let mut is_retry = false;
        loop {
            let (work, days) = (work.clone(), self.days_in(span));
            let rebuilding = days.rebuilding.clone();
            let outcome = tokio::task::spawn_blocking(move || work(&days)).await;
            match outcome.map_err(|_| SearchError::Aborted)? {
                Ok(mut answer) => {
                    answer.note_rebuilding(rebuilding);
                    return Ok(answer);
                }
                Err(SearchError::Day(day)) if !is_retry => {
                    is_retry = true;
                    let (told, was_damaged) = oneshot::channel();
                    let sent = self.requests.send(Request::Check(day, told));
                    if sent.is_err() || !was_damaged.await.unwrap_or(false) {
                        return Err(SearchError::Day(day));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn days_in(&self, span: Span) -> DaysInWindow {
        let overlaps = |day: NaiveDate| {
            let start = day.and_time(NaiveTime::MIN).and_utc();
            let end = start + chrono::Duration::days(1);
            key_of(end) > span.from && key_of(start) < span.to
        };
        let searchers = self.shared.searchers.read();
        let days = searchers.iter().filter(|(day, _)| overlaps(**day));
        let mut days: Vec<(NaiveDate, Searcher)> = days.map(|(d, s)| (*d, s.clone())).collect();
        if span.direction == Direction::NewestFirst {
            days.reverse();
        }
        let rebuilding = self.shared.rebuilding.read();
        let rebuilding = rebuilding.iter().copied().filter(|d| overlaps(*d));
        DaysInWindow {
            rebuilding: rebuilding.collect(),
            days,
        }
    }
}

/// The days a search looks at, in the order of its answer.
pub struct DaysInWindow {
    days: Vec<(NaiveDate, Searcher)>,
    rebuilding: Vec<NaiveDate>,
}

impl DaysInWindow {
    /// Calls `look` with each day until it answers false.
    pub fn each(
        &self,
        mut look: impl FnMut(&Searcher) -> tantivy::Result<bool>,
    ) -> Result<(), SearchError> {
        for (day, searcher) in &self.days {
            if !guarded(*day, || look(searcher))? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Calls `look` with each segment, in no order, and on several threads where there is much to look
    /// at.
    pub fn each_segment(
        &self,
        look: impl Fn(&Searcher, &SegmentReader) -> tantivy::Result<()> + Sync,
    ) -> Result<(), SearchError> {
        let segments = self.days.iter().flat_map(|(day, searcher)| {
            let readers = searcher.segment_readers().iter();
            readers.map(move |reader| (*day, searcher, reader))
        });
        let mut segments: Vec<_> = segments.collect();
        // The largest first: the small ones fill what is left at the end.
        segments.sort_by_key(|(_, _, reader)| Reverse(reader.max_doc()));
        let next = AtomicUsize::new(0);
        let is_over = AtomicBool::new(false);
        let run = || {
            while !is_over.load(Ordering::Relaxed)
                && let Some((day, searcher, reader)) =
                    segments.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let outcome = guarded(*day, || look(searcher, reader));
                if outcome.is_err() {
                    is_over.store(true, Ordering::Relaxed);
                    return outcome;
                }
            }
            Ok(())
        };
        let others = threads_for(segments.iter().map(|(_, _, reader)| reader.max_doc())) - 1;
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..others)
                .map_while(|_| {
                    let thread = std::thread::Builder::new().name("audit-search".into());
                    // Without another thread this one goes through them all.
                    thread.spawn_scoped(scope, run).ok()
                })
                .collect();
            let outcome = run();
            let outcomes = others
                .into_iter()
                .map(|other| other.join().unwrap_or(Err(SearchError::Aborted)));
            outcomes.fold(outcome, Result::and)
        })
    }
}

/// How many threads look at segments with so many events.
fn threads_for(events: impl Iterator<Item = u32>) -> usize {
    let (mut segments, mut all) = (0, 0);
    for events in events {
        (segments, all) = (segments + 1, all + events as usize);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let worth = segments.min(all / EVENTS_PER_THREAD_MIN);
    worth.clamp(1, cores.min(THREADS_MAX))
}

/// Looks at a day. A panic of the engine over damaged files is a failure of that day.
fn guarded<T>(day: NaiveDate, look: impl FnOnce() -> tantivy::Result<T>) -> Result<T, SearchError> {
    match std::panic::catch_unwind(AssertUnwindSafe(look)) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::error!(%day, %error, "the index of a day cannot be read");
            Err(SearchError::Day(day))
        }
        Err(_) => {
            tracing::error!(%day, "reading the index of a day panicked");
            Err(SearchError::Day(day))
        }
    }
}

/// Answers that say of which days events may be missing.
trait Incomplete {
    fn note_rebuilding(&mut self, days: Vec<NaiveDate>);
}

impl Incomplete for Page {
    fn note_rebuilding(&mut self, days: Vec<NaiveDate>) {
        self.rebuilding = days;
    }
}

impl Incomplete for Totals {
    fn note_rebuilding(&mut self, days: Vec<NaiveDate>) {
        self.is_incomplete |= !days.is_empty();
    }
}

/// The query within the namespace that the caller may see.
fn restricted(
    fields: &Fields,
    query: &Query,
    search: &Search,
) -> Result<Box<dyn TantivyQuery>, QueryError> {
    let compiled = query.compile(fields)?;
    let Some(namespace) = &search.namespace else {
        return Ok(compiled);
    };
    let term = Term::from_field_text(fields.namespace, namespace);
    let only: Box<dyn TantivyQuery> = Box::new(TermQuery::new(term, IndexRecordOption::Basic));
    Ok(Box::new(BooleanQuery::new(vec![
        (Occur::Must, only),
        (Occur::Must, compiled),
    ])))
}

fn page(
    fields: &Fields,
    days: &DaysInWindow,
    query: &dyn TantivyQuery,
    span: Span,
    limit: usize,
) -> Result<Page, SearchError> {
    let limit = limit.clamp(1, PAGE_EVENTS_MAX);
    let mut hits: Vec<Hit> = Vec::new();
    days.each(|searcher| {
        let wanted = limit + 1 - hits.len();
        hits.extend(newest::first(searcher, query, fields, span, wanted)?);
        Ok(hits.len() <= limit)
    })?;
    let next = (hits.len() > limit).then(|| hits[limit - 1].key);
    hits.truncate(limit);
    Ok(Page {
        hits,
        next,
        ..Page::default()
    })
}

/// The span of sort keys, cut off at the page before.
fn span_of(search: &Search, direction: Direction) -> Span {
    let (mut from, mut to) = (key_of(search.window.from), key_of(search.window.to));
    match (search.after, direction) {
        (Some(after), Direction::NewestFirst) => to = to.min(after),
        (Some(after), Direction::OldestFirst) => from = from.max(after.saturating_add(1)),
        (None, _) => {}
    }
    Span {
        from,
        to,
        direction,
    }
}

fn key_of(time: DateTime<Utc>) -> u64 {
    let micros = u64::try_from(time.timestamp_micros()).unwrap_or_default();
    document::first_key(micros)
}

#[cfg(test)]
mod tests;
