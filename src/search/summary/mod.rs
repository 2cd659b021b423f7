//! Summaries: how many requests, by whom, of what, how long, and in which stage of their way.
//!
//! `spec` reads what is asked for, `facts` what one event says, this file counts. Every request
//! counts once, by its last event: ResponseComplete or Panic, or the single ResponseStarted of a
//! request that was refused before it had a user.
//!
//! Exact: every event that matches is looked at, newest first, up to [`REQUESTS_MAX`]; a summary
//! that stopped there says so.

mod facts;
mod spec;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::search::index::PAGE_EVENTS_MAX;
use crate::search::{Index, Search, SearchError};

use facts::Facts;
pub use spec::{BY, Key, Spec, SpecError};

/// Requests that one summary looks at.
pub const REQUESTS_MAX: usize = 1_000_000;
/// Groups that one summary answers.
pub const GROUPS_MAX: usize = 10_000;
/// Groups that are told apart while counting; beyond it requests fall into one group without a key.
const GROUPS_KEPT_MAX: usize = 100_000;
/// The one event of each request that counts.
const LAST_EVENT: &str =
    "type:request (stage:ResponseComplete OR stage:Panic OR (stage:ResponseStarted -user:*))";

/// Counts what `spec` asks for, in one namespace if there is one. Answers an AuditSummary's status.
pub async fn count(
    index: &Index,
    spec: &Spec,
    namespace: Option<&str>,
) -> Result<Value, SearchError> {
    let query = match spec.query.trim() {
        "" => LAST_EVENT.to_string(),
        query => format!("({query}) {LAST_EVENT}"),
    };
    let mut counter = Counter::new(spec);
    let mut after = None;
    let mut left = REQUESTS_MAX;
    loop {
        let page = index
            .search(Search {
                query: query.clone(),
                window: spec.window,
                limit: PAGE_EVENTS_MAX.min(left),
                after,
                namespace: namespace.map(str::to_string),
            })
            .await?;
        left -= page.hits.len();
        after = page.next;
        let events: Vec<Bytes> = page.hits.into_iter().map(|hit| hit.event).collect();
        let work = tokio::task::spawn_blocking(move || {
            events.iter().for_each(|event| counter.add(event));
            counter
        });
        counter = work.await.map_err(|_| SearchError::Aborted)?;
        if after.is_none() || left == 0 {
            break;
        }
    }
    let is_complete = after.is_none();
    let work = tokio::task::spawn_blocking(move || counter.status(is_complete));
    work.await.map_err(|_| SearchError::Aborted)
}

/// Everything that is counted.
struct Counter {
    by: Vec<Key>,
    limit: usize,
    percentiles: Vec<u64>,
    interval_micros: Option<i64>,
    all: Tally,
    groups: HashMap<Vec<String>, Tally>,
    stages: BTreeMap<String, Tally>,
    /// Requests and failures by the beginning of the bar, in microseconds.
    bars: BTreeMap<i64, (u64, u64)>,
}

/// Numbers of some requests.
#[derive(Default)]
struct Tally {
    requests: u64,
    failures: u64,
    micros: Vec<u32>,
    first: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
    example: String,
}

impl Counter {
    fn new(spec: &Spec) -> Self {
        Counter {
            by: spec.by.clone(),
            limit: spec.limit,
            percentiles: spec.percentiles.clone(),
            interval_micros: spec.interval.and_then(|i| i.num_microseconds()),
            all: Tally::default(),
            groups: HashMap::new(),
            stages: BTreeMap::new(),
            bars: BTreeMap::new(),
        }
    }

    fn add(&mut self, event: &[u8]) {
        let Ok(facts) = serde_json::from_slice::<Facts<'_>>(event) else {
            return;
        };
        let is_failure = facts.code() >= 400;
        let time = facts.time();
        let micros = facts.micros().filter(|_| !facts.is_long_running());
        self.all.add(is_failure, micros, time, &facts);
        if !self.by.is_empty() {
            let mut key: Vec<String> = self.by.iter().map(|k| facts.value(*k)).collect();
            if self.groups.len() >= GROUPS_KEPT_MAX && !self.groups.contains_key(&key) {
                key.iter_mut().for_each(String::clear);
            }
            let group = self.groups.entry(key).or_default();
            group.add(is_failure, micros, time, &facts);
        }
        if !facts.is_long_running() {
            for (stage, micros, is_good) in facts.stages() {
                let tally = match self.stages.get_mut(&*stage) {
                    Some(tally) => tally,
                    None => self.stages.entry(stage.into_owned()).or_default(),
                };
                tally.requests += 1;
                tally.failures += u64::from(!is_good);
                tally.micros.push(micros);
            }
        }
        if let (Some(width), Some(time)) = (self.interval_micros, time) {
            let micros = time.timestamp_micros();
            let bar = self.bars.entry(micros - micros.rem_euclid(width));
            let (requests, failures) = bar.or_default();
            *requests += 1;
            *failures += u64::from(is_failure);
        }
    }

    fn status(self, is_complete: bool) -> Value {
        let percentiles = &self.percentiles;
        let mut status = json!({
            "requests": self.all.requests,
            "failures": self.all.failures,
            "complete": is_complete,
        });
        if let Some(latency) = self.all.latency(percentiles) {
            status["latency"] = latency;
        }
        if !self.by.is_empty() {
            status["groupsTotal"] = json!(self.groups.len());
            status["groups"] = groups(self.groups, &self.by, self.limit, percentiles);
        }
        status["stages"] = stages(self.stages, percentiles);
        if self.interval_micros.is_some() {
            let bars = self.bars.into_iter().map(|(micros, (requests, failures))| {
                let from = DateTime::from_timestamp_micros(micros).map(print_time);
                json!({"from": from, "requests": requests, "failures": failures})
            });
            status["histogram"] = bars.collect();
        }
        status
    }
}

fn groups(
    groups: HashMap<Vec<String>, Tally>,
    by: &[Key],
    limit: usize,
    percentiles: &[u64],
) -> Value {
    let mut groups: Vec<(Vec<String>, Tally)> = groups.into_iter().collect();
    groups.sort_by(|(a_key, a), (b_key, b)| {
        b.requests.cmp(&a.requests).then_with(|| a_key.cmp(b_key))
    });
    groups.truncate(limit);
    let shown = groups.into_iter().map(|(values, tally)| {
        let key: Map<String, Value> = by
            .iter()
            .zip(values)
            .map(|(key, value)| (key.name().to_string(), json!(value)))
            .collect();
        let mut group = json!({
            "key": key,
            "requests": tally.requests,
            "failures": tally.failures,
            "first": tally.first.map(print_time),
            "last": tally.last.map(print_time),
            "example": tally.example,
        });
        if let Some(latency) = tally.latency(percentiles) {
            group["latency"] = latency;
        }
        group
    });
    shown.collect()
}

fn stages(stages: BTreeMap<String, Tally>, percentiles: &[u64]) -> Value {
    let mut stages: Vec<(String, Tally)> = stages.into_iter().collect();
    let total = |tally: &Tally| tally.micros.iter().map(|m| u64::from(*m)).sum::<u64>();
    stages.sort_by_cached_key(|(_, tally)| std::cmp::Reverse(total(tally)));
    let shown = stages.into_iter().map(|(stage, tally)| {
        json!({
            "stage": stage,
            "requests": tally.requests,
            "failures": tally.failures,
            "latency": tally.latency(percentiles),
        })
    });
    shown.collect()
}

fn print_time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

impl Tally {
    /// Events come newest first.
    fn add(
        &mut self,
        is_failure: bool,
        micros: Option<u32>,
        time: Option<DateTime<Utc>>,
        facts: &Facts<'_>,
    ) {
        if self.requests == 0 {
            self.example = facts.audit_id().to_string();
        }
        self.requests += 1;
        self.failures += u64::from(is_failure);
        self.micros.extend(micros);
        self.first = [self.first, time].into_iter().flatten().min();
        self.last = self.last.max(time);
    }

    fn latency(mut self, percentiles: &[u64]) -> Option<Value> {
        self.micros.sort_unstable();
        let (min, max) = (*self.micros.first()?, *self.micros.last()?);
        let count = self.micros.len() as u64;
        let total: u64 = self.micros.iter().map(|m| u64::from(*m)).sum();
        let at = |percent: u64| {
            // The smallest value that at least so many percent are not above.
            let rank = (count * percent).div_ceil(100).max(1) - 1;
            usize::try_from(rank).ok().and_then(|r| self.micros.get(r))
        };
        let percentiles: Map<String, Value> = percentiles
            .iter()
            .map(|p| (p.to_string(), json!(at(*p))))
            .collect();
        Some(json!({
            "min": min, "max": max, "mean": total / count, "total": total,
            "percentiles": percentiles,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::IndexOptions;

    fn line(n: u32, user: &str, code: u32, micros: u32, verb: &str) -> String {
        let trace = format!(
            "{{\\\"us\\\":{micros},\\\"stages\\\":[[\\\"store/get\\\",0,{},\\\"ok\\\"]]}}",
            micros / 2
        );
        format!(
            "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"auditID\":\"i{n}\",\"stage\":\"ResponseComplete\",\"verb\":\"{verb}\",\"user\":{{\"username\":\"{user}\"}},\"objectRef\":{{\"resource\":\"pods\",\"namespace\":\"n\"}},\"responseStatus\":{{\"metadata\":{{}},\"code\":{code}}},\"requestReceivedTimestamp\":\"2026-01-01T00:00:{n:02}.000000Z\",\"stageTimestamp\":\"2026-01-01T00:00:{n:02}.{micros:06}Z\",\"annotations\":{{\"audit.verbatim.dev/stages\":\"{trace}\"}}}}\n"
        )
    }

    #[tokio::test]
    async fn counts_times_and_bars() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("audit.log");
        let mut text: String = (1..=10)
            .map(|n| line(n, "alice", 200, n * 100, "get"))
            .collect();
        text += &line(11, "bob", 403, 50, "delete");
        text += &line(12, "bob", 200, 999_999, "watch");
        std::fs::write(&log, text).expect("writes");
        let index = Index::open(&dir.path().join("index"), &log, IndexOptions::default());
        let index = index.expect("opens");
        let spec = json!({"by": ["user", "resource"], "interval": "10s", "percentiles": [50, 100]});
        let spec = Spec::parse(&spec).expect("a spec");
        let status = count(&index, &spec, None).await.expect("counts");
        assert_eq!(status["requests"], 12);
        assert_eq!(status["failures"], 1);
        assert_eq!(status["complete"], true);
        // The watch is counted, but says nothing about latency.
        assert_eq!(
            status["latency"],
            json!({"min": 50, "max": 1000, "mean": 504, "total": 5550, "percentiles": {"50": 500, "100": 1000}})
        );
        let alice = &status["groups"][0];
        assert_eq!(alice["key"], json!({"user": "alice", "resource": "pods"}));
        assert_eq!(
            (&alice["requests"], &alice["example"]),
            (&json!(10), &json!("i10"))
        );
        assert_eq!(alice["latency"]["percentiles"]["50"], 500);
        assert_eq!(status["stages"][0]["stage"], "store/get");
        assert_eq!(status["stages"][0]["requests"], 11);
        let bars: Vec<_> = status["histogram"]
            .as_array()
            .expect("bars")
            .iter()
            .map(|b| b["requests"].as_u64())
            .collect();
        assert_eq!(bars, [Some(9), Some(3)]);
        let elsewhere = count(&index, &spec, Some("other")).await.expect("counts");
        assert_eq!(elsewhere["requests"], 0);
    }

    #[test]
    fn bad_specs_name_the_field() {
        for (spec, field) in [
            (json!({"by": ["usr"]}), "spec.by[0]"),
            (json!({"interval": "5"}), "spec.interval"),
            (json!({"from": "yesterday"}), "spec.from"),
            (json!({"percentiles": [101]}), "spec.percentiles[0]"),
            (json!({"limit": -1}), "spec.limit"),
        ] {
            let error = Spec::parse(&spec).expect_err("refused");
            let SpecError::Invalid(errors) = error else {
                panic!("{spec}: {error:?}");
            };
            assert!(
                errors.to_aggregate().contains(field),
                "{spec}: {}",
                errors.to_aggregate()
            );
        }
        let error = Spec::parse(&json!({"query": "usr:x"})).expect_err("refused");
        assert!(matches!(error, SpecError::Query(_)));
    }
}
