//! Summaries: how many requests, by whom, of what, how long, and in which stage of their way.
//!
//! `spec` reads what is asked for, `totals` counts over the index's columns, `keys` says which columns
//! make what requests are grouped by, this file writes the answer. Every request counts once, by its
//! last event: ResponseComplete or Panic, or the single ResponseStarted of a request that was refused
//! before it had a user.
//!
//! Counts are exact, whatever the number of events: every match is looked at, but no stored event is
//! read (tantivy's own aggregations are approximate as soon as there are several segments).
//! Percentiles of more than some hundred requests are at most 0.8% too high. What a caller may not see
//! is not counted: the restriction is in the query.

mod columns;
mod durations;
mod keys;
mod spec;
mod totals;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use tantivy::TantivyDocument;
use tantivy::schema::{Field, Value as _};
use tantivy::store::StoreReader;

use crate::base::tree::{Map, Value, json};
use crate::search::document::KEY_MICROS_SHIFT;
use crate::search::{Index, Search, SearchError};

use durations::Durations;
pub use spec::{BY, Key, Spec, SpecError};
pub use totals::Totals;
pub(in crate::search) use totals::run;
use totals::{Counts, Place, StageTally, Tally};

/// Groups that one summary answers.
pub const GROUPS_MAX: usize = 10_000;

/// Counts what `spec` asks for, in one namespace if there is one. Answers an AuditSummary's status.
pub async fn count(
    index: &Index,
    spec: &Spec,
    namespace: Option<&str>,
) -> Result<Value, SearchError> {
    let search = Search {
        query: spec.query.clone(),
        window: spec.window,
        namespace: namespace.map(str::to_string),
        ..Search::default()
    };
    let spec = Arc::new(spec.clone());
    let totals = index.totals(search, spec.clone()).await?;
    let event = index.event_field();
    let work = tokio::task::spawn_blocking(move || status(totals, &spec, event));
    work.await.map_err(|_| SearchError::Aborted)
}

fn status(totals: Totals, spec: &Spec, event: Field) -> Value {
    let mut status = json!({
        "requests": totals.all.counts.requests,
        "failures": totals.all.counts.failures,
        "complete": !totals.is_incomplete,
    });
    if let Some(latency) = latency(&totals.all.durations, &spec.percentiles) {
        status["latency"] = latency;
    }
    let mut examples = Examples {
        totals: &totals,
        event,
        stores: HashMap::new(),
    };
    if !spec.by.is_empty() {
        status["groupsTotal"] = json!(totals.groups.len());
        status["groups"] = groups(&totals.groups, spec, &mut examples);
    }
    if !spec.facets.is_empty() {
        let facets = spec.facets.iter().zip(&totals.facets);
        let facets =
            facets.map(|(key, values)| (key.name().to_string(), facet(values, spec.limit)));
        status["facets"] = Value::Object(facets.collect());
    }
    if spec.stages {
        status["stages"] = stages(&totals.stages, &spec.percentiles);
    }
    if let Some(width) = spec.interval.and_then(|i| i.num_microseconds()) {
        let width = u64::try_from(width).unwrap_or(1);
        let bars = totals.bars.iter().map(|(bar, counts)| {
            let from = time(bar.saturating_mul(width));
            json!({"from": from, "requests": counts.requests, "failures": counts.failures})
        });
        status["histogram"] = bars.collect();
    }
    status
}

fn groups(groups: &HashMap<Vec<String>, Tally>, spec: &Spec, examples: &mut Examples<'_>) -> Value {
    let mut groups: Vec<(&Vec<String>, &Tally)> = groups.iter().collect();
    // Equal ones in the order of their keys, so that an answer is the same every time.
    groups.sort_unstable_by_key(|(key, tally)| (Reverse(tally.timed.counts.requests), *key));
    groups.truncate(spec.limit);
    let shown = groups.into_iter().map(|(values, tally)| {
        let key = spec.by.iter().zip(values);
        let key = key.map(|(key, value)| (key.name().to_string(), json!(value)));
        let (first, last) = tally.ends.unwrap_or_default();
        let mut group = json!({
            "key": key.collect::<Map>(),
            "requests": tally.timed.counts.requests,
            "failures": tally.timed.counts.failures,
            "first": time(first >> KEY_MICROS_SHIFT),
            "last": time(last >> KEY_MICROS_SHIFT),
            "example": examples.audit_id(tally.last),
        });
        if let Some(latency) = latency(&tally.timed.durations, &spec.percentiles) {
            group["latency"] = latency;
        }
        group
    });
    shown.collect()
}

fn facet(values: &HashMap<String, Counts>, limit: usize) -> Value {
    let mut shown: Vec<(&String, &Counts)> = values.iter().collect();
    shown.sort_unstable_by_key(|(value, counts)| (Reverse(counts.requests), *value));
    shown.truncate(limit);
    let shown = shown.into_iter().map(|(value, counts)| {
        json!({"value": value, "requests": counts.requests, "failures": counts.failures})
    });
    json!({"total": values.len(), "values": shown.collect::<Vec<Value>>()})
}

fn stages(stages: &HashMap<String, StageTally>, percentiles: &[u64]) -> Value {
    let mut stages: Vec<(&String, &StageTally)> = stages.iter().collect();
    stages.sort_unstable_by_key(|(name, tally)| (Reverse(tally.durations.sum()), *name));
    let shown = stages.into_iter().map(|(stage, tally)| {
        json!({
            "stage": stage,
            "requests": tally.durations.count(),
            "failures": tally.failures,
            "latency": latency(&tally.durations, percentiles),
        })
    });
    shown.collect()
}

fn latency(durations: &Durations, percentiles: &[u64]) -> Option<Value> {
    let (min, max) = durations.ends()?;
    let found = percentiles.iter().zip(durations.percentiles(percentiles));
    let found = found.map(|(percent, micros)| (percent.to_string(), json!(micros)));
    let total = durations.sum();
    Some(json!({
        "min": min, "max": max, "mean": total / durations.count(), "total": total,
        "percentiles": found.collect::<Map>(),
    }))
}

fn time(micros: u64) -> String {
    let time = i64::try_from(micros).ok();
    let time: DateTime<Utc> = time
        .and_then(DateTime::from_timestamp_micros)
        .unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Reads the few events that stand for their groups.
struct Examples<'t> {
    totals: &'t Totals,
    event: Field,
    stores: HashMap<usize, Option<StoreReader>>,
}

impl Examples<'_> {
    /// The audit ID of an event; empty where it cannot be read.
    fn audit_id(&mut self, (segment, doc): Place) -> String {
        #[derive(Default, Deserialize)]
        struct Id {
            #[serde(default, rename = "auditID")]
            audit_id: String,
        }
        let store = self.stores.entry(segment).or_insert_with(|| {
            let reader = self.totals.segments.get(segment)?;
            reader.get_store_reader(1).ok()
        });
        let store = store.as_ref();
        let document = store.and_then(|store| store.get::<TantivyDocument>(doc).ok());
        let event = document.as_ref().and_then(|d| d.get_first(self.event));
        let event = event.as_ref().and_then(|v| v.as_str()).unwrap_or_default();
        let id: Id = serde_json::from_str(event).unwrap_or_default();
        id.audit_id
    }
}

#[cfg(test)]
mod tests;
