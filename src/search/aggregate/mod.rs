//! Aggregations: top values, histograms over time, percentiles of durations; all in one pass.
//!
//! tantivy's own terms aggregation is approximate as soon as there are several segments; these count
//! every match and merge by value. They run over columns only: no stored event is read.
//!
//! What a caller may not see is not counted: the restriction is in the query.

mod columns;
mod durations;
mod groups;
mod histogram;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chrono::{DateTime, Duration, NaiveDate, Utc};
use parking_lot::Mutex;
use tantivy::query::{EnableScoring, Query};
use tantivy::{DocId, Searcher, SegmentReader};

pub use durations::Durations;

use crate::search::document::KEY_MICROS_SHIFT;
use crate::search::fields::{self, FieldKind, KEY};
use crate::search::index::{DaysInWindow, SearchError};
use crate::search::query::QueryError;
use groups::{DurationGroups, Top};
use histogram::Histogram;

/// Distinct groups that one aggregation may have.
const GROUPS_MAX: usize = 1_000_000;
/// Fields that one group may be made of.
const GROUP_FIELDS_MAX: usize = 4;

/// What is to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// The most frequent combinations of the values of fields, exactly.
    Top {
        /// Names of fields, one or a few.
        by: Vec<String>,
        /// How many; zero for all.
        limit: usize,
    },
    /// Matches per interval, optionally per value of a field.
    Histogram {
        /// Length of an interval.
        interval: Duration,
        /// Name of a field.
        by: Option<String>,
    },
    /// How durations are distributed.
    Durations {
        /// Which durations.
        of: Measure,
        /// Names of fields, none or a few.
        by: Vec<String>,
    },
}

/// A duration of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// From arrival to the event's stage.
    Latency,
    /// Of every stage of the pipeline: its name is one more value of the group, the last.
    PipelineStage,
}

/// One row of [`Outcome::Top`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopRow {
    /// Values of the fields; empty where an event has none.
    pub values: Vec<String>,
    /// Matches.
    pub count: u64,
}

/// One interval of [`Outcome::Histogram`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Begin of the interval.
    pub from: DateTime<Utc>,
    /// Value of the field; empty without one.
    pub value: String,
    /// Matches.
    pub count: u64,
}

/// One row of [`Outcome::Durations`].
#[derive(Clone, Debug)]
pub struct DurationsRow {
    /// Values of the fields.
    pub values: Vec<String>,
    /// The distribution.
    pub durations: Durations,
}

/// What was counted.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Rows in falling order, and how many there are in all.
    Top {
        /// The rows.
        rows: Vec<TopRow>,
        /// Distinct groups, whatever the limit.
        distinct: usize,
    },
    /// Bars in order of time; intervals without a match are left out.
    Histogram(Vec<Bar>),
    /// Rows by count, falling.
    Durations(Vec<DurationsRow>),
}

/// The answer to all that was asked at once.
#[derive(Clone, Debug, Default)]
pub struct Aggregated {
    /// Events that matched.
    pub matched: u64,
    /// An outcome per aggregation, in the order they were asked.
    pub outcomes: Vec<Outcome>,
    /// Days of the window that are being built anew from the log: events of theirs may be missing.
    pub rebuilding: Vec<NaiveDate>,
}

/// One aggregation while it runs, on one thread; those of other threads add to the same sums.
trait Running: Send {
    /// One for another thread.
    fn another(&self) -> Box<dyn Running>;

    /// Whether it looks at the times of matches.
    fn needs_times(&self) -> bool {
        false
    }

    /// Begins a segment.
    fn begin(&mut self, reader: &SegmentReader) -> tantivy::Result<()>;

    /// Takes matches and their times in microseconds, which are there if one of those that run
    /// needs them.
    fn take(&mut self, docs: &[DocId], micros: &[u64]);

    /// Ends a segment: adds it to the sums.
    fn end(&mut self) -> tantivy::Result<()>;

    /// How many groups there are by now.
    fn groups(&self) -> usize;

    /// The result, once all threads are through.
    fn outcome(self: Box<Self>) -> Outcome;
}

/// Whether a field can be grouped by; the error says what is wrong.
pub fn check_field(name: &str) -> Result<&'static str, QueryError> {
    let problem = |message: String| QueryError { at: 0, message };
    let (_, row) = fields::find(name).ok_or_else(|| {
        problem(format!(
            "unknown field {name:?}; see verbatim search --fields"
        ))
    })?;
    match row.kind {
        FieldKind::Keyword | FieldKind::Name | FieldKind::Number if row.has_column() => {
            Ok(row.name)
        }
        _ => Err(problem(format!("events cannot be grouped by {name:?}"))),
    }
}

fn start(wanted: &Aggregation) -> Result<Box<dyn Running>, SearchError> {
    let check = |names: &[String]| -> Result<Vec<&'static str>, SearchError> {
        if names.len() > GROUP_FIELDS_MAX {
            let message = format!("at most {GROUP_FIELDS_MAX} fields make a group");
            return Err(QueryError { at: 0, message }.into());
        }
        names.iter().map(|n| Ok(check_field(n)?)).collect()
    };
    Ok(match wanted {
        Aggregation::Top { by, limit } => Box::new(Top::new(check(by)?, *limit)),
        Aggregation::Histogram { interval, by } => {
            let by = check(by.as_slice())?;
            Box::new(Histogram::new(*interval, by.first().copied())?)
        }
        Aggregation::Durations { of, by } => Box::new(DurationGroups::new(check(by)?, *of)),
    })
}

/// Runs all aggregations over the days of a window.
pub(super) fn run(
    days: &DaysInWindow,
    query: &dyn Query,
    window: (u64, u64),
    wanted: &[Aggregation],
) -> Result<Aggregated, SearchError> {
    let running = wanted.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let first = Mutex::new(running);
    let matched = AtomicU64::new(0);
    let is_too_much = AtomicBool::new(false);
    let another =
        || -> Vec<Box<dyn Running>> { first.lock().iter().map(|r| r.another()).collect() };
    days.each_segment(another, |running, searcher, reader| {
        let found = segment(searcher, reader, query, window, running)?;
        matched.fetch_add(found, Ordering::Relaxed);
        let is_fine = running.iter().all(|r| r.groups() <= GROUPS_MAX);
        is_too_much.fetch_or(!is_fine, Ordering::Relaxed);
        Ok(is_fine)
    })?;
    if is_too_much.into_inner() {
        let message = format!("more than {GROUPS_MAX} groups: narrow the query or the window");
        return Err(QueryError { at: 0, message }.into());
    }
    let running = first.into_inner().into_iter();
    Ok(Aggregated {
        matched: matched.into_inner(),
        outcomes: running.map(Running::outcome).collect(),
        rebuilding: Vec::new(),
    })
}

/// Runs them over one segment; answers how many events matched.
fn segment(
    searcher: &Searcher,
    reader: &SegmentReader,
    query: &dyn Query,
    (from, to): (u64, u64),
    running: &mut [Box<dyn Running>],
) -> tantivy::Result<u64> {
    let keys = reader.fast_fields().u64(KEY)?;
    if reader.max_doc() == 0 || keys.min_value() >= to || keys.max_value() < from {
        return Ok(0);
    }
    let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
    let is_inside = keys.min_value() >= from && keys.max_value() < to;
    let has_times = !is_inside || running.iter().any(|r| r.needs_times());
    for aggregation in running.iter_mut() {
        aggregation.begin(reader)?;
    }
    let mut matched = 0;
    let mut times = [0u64; 64];
    let mut kept = [0; 64];
    weight.for_each_no_score(reader, &mut |docs: &[DocId]| {
        for docs in docs.chunks(times.len()) {
            let mut count = docs.len();
            kept[..count].copy_from_slice(docs);
            if has_times {
                keys.values.get_vals(docs, &mut times[..count]);
            }
            if !is_inside {
                count = retain_in(&mut kept, &mut times, count, (from, to));
            }
            times[..count]
                .iter_mut()
                .for_each(|t| *t >>= KEY_MICROS_SHIFT);
            matched += count as u64;
            for aggregation in running.iter_mut() {
                aggregation.take(&kept[..count], &times[..count]);
            }
        }
    })?;
    for aggregation in running.iter_mut() {
        aggregation.end()?;
    }
    Ok(matched)
}

/// Moves what is in the window to the front; answers how many there are.
fn retain_in(
    docs: &mut [DocId; 64],
    keys: &mut [u64; 64],
    count: usize,
    (from, to): (u64, u64),
) -> usize {
    let mut kept = 0;
    for index in 0..count {
        if (from..to).contains(&keys[index]) {
            (docs[kept], keys[kept]) = (docs[index], keys[index]);
            kept += 1;
        }
    }
    kept
}

#[cfg(test)]
mod tests;
