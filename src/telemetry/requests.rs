//! The request families' hot path: one look-up per request, no allocation once a series exists.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use prometheus::{IntCounter, IntGauge};

use super::{Histogram, Metrics};

/// Label values of one request (contract/metrics.md, label value rules).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestLabels<'a> {
    /// `apiserver` for API routes, empty for health endpoints and other plain paths.
    pub component: &'a str,
    /// `""`, `All` or `invalid`.
    pub dry_run: &'a str,
    /// API group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural resource.
    pub resource: &'a str,
    /// Subresource, or the path of a non-resource endpoint.
    pub subresource: &'a str,
    /// `resource`, `namespace`, `cluster` or empty.
    pub scope: &'a str,
    /// Upper-case verb.
    pub verb: &'a str,
}

/// The series of one label set, with their handles at hand. Each handle is made when first used,
/// because a label set that was never used is not shown.
pub struct RequestSeries {
    owned: [String; 8],
    duration: OnceLock<Histogram>,
    sli_duration: OnceLock<Histogram>,
    response_sizes: OnceLock<Histogram>,
    long_running: OnceLock<IntGauge>,
    counters: [OnceLock<(u16, IntCounter)>; CODES],
}

/// Status codes of one label set whose counters are at hand; others are looked up.
const CODES: usize = 8;

/// All series there are, by the hash of their labels. Replaced as a whole when one is added: label sets
/// are few, and a request that looks its own up takes no lock.
#[derive(Default)]
pub(super) struct AllSeries(ArcSwap<SeriesMap>);

type SeriesMap = HashMap<u64, Vec<Arc<RequestSeries>>, RandomState>;

fn find<'a>(all: &'a SeriesMap, key: u64, values: [&str; 8]) -> Option<&'a Arc<RequestSeries>> {
    all.get(&key)?.iter().find(|series| series.is(values))
}

impl RequestLabels<'_> {
    fn values(&self) -> [&str; 8] {
        [
            self.component,
            self.dry_run,
            self.group,
            self.resource,
            self.scope,
            self.subresource,
            self.verb,
            self.version,
        ]
    }
}

impl Metrics {
    /// The series of `labels`, made when first asked for.
    pub fn request_series(&self, labels: &RequestLabels<'_>) -> Arc<RequestSeries> {
        self.with_series(labels, Arc::clone)
    }

    /// Lends them, which shares no counter with other requests of the same labels.
    fn with_series<T>(
        &self,
        labels: &RequestLabels<'_>,
        borrow: impl FnOnce(&Arc<RequestSeries>) -> T,
    ) -> T {
        let all = self.request_series.0.load();
        let key = all.hasher().hash_one(labels);
        let values = labels.values();
        match find(&all, key, values) {
            Some(series) => borrow(series),
            None => borrow(&self.add_series(key, values)),
        }
    }

    fn add_series(&self, key: u64, values: [&str; 8]) -> Arc<RequestSeries> {
        let new = Arc::new(RequestSeries::new(values));
        let mut kept = new.clone();
        self.request_series.0.rcu(|all| {
            let mut more = SeriesMap::clone(all);
            kept = find(&more, key, values).unwrap_or(&new).clone();
            if Arc::ptr_eq(&kept, &new) {
                more.entry(key).or_default().push(new.clone());
            }
            more
        });
        kept
    }

    /// Records a finished request. `own` is its duration without the time spent in webhooks and in
    /// flow control queues; `bytes` is the length of the body sent.
    pub fn record_request(
        &self,
        labels: &RequestLabels<'_>,
        code: u16,
        elapsed: Duration,
        own: Duration,
        bytes: u64,
    ) {
        self.with_series(labels, |series| {
            self.count(series, code);
            let durations = || {
                self.apiserver_request_duration_seconds
                    .with_label_values(&series.values())
            };
            let seconds = elapsed.as_secs_f64();
            series.duration.get_or_init(durations).observe(seconds);
            if labels.dry_run.is_empty() {
                let durations = || {
                    self.apiserver_request_sli_duration_seconds
                        .with_label_values(&series.without_dry_run())
                };
                let seconds = own.as_secs_f64();
                series.sli_duration.get_or_init(durations).observe(seconds);
            }
            if matches!(labels.verb, "GET" | "LIST") {
                let sizes = || {
                    self.apiserver_response_sizes
                        .with_label_values(&series.without_dry_run())
                };
                series
                    .response_sizes
                    .get_or_init(sizes)
                    .observe(bytes as f64);
            }
        });
    }

    /// Counts a request in `apiserver_request_total` only (rejected before a handler saw it).
    pub fn count_request(&self, labels: &RequestLabels<'_>, code: u16) {
        self.with_series(labels, |series| self.count(series, code));
    }

    fn count(&self, series: &RequestSeries, code: u16) {
        for slot in &series.counters {
            let (known, counter) = slot.get_or_init(|| (code, self.counter(series, code)));
            if *known == code {
                counter.inc();
                return;
            }
        }
        self.counter(series, code).inc();
    }

    fn counter(&self, series: &RequestSeries, code: u16) -> IntCounter {
        let [
            component,
            dry_run,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ] = series.values();
        let text = code.to_string();
        self.apiserver_request_total.with_label_values(&[
            text.as_str(),
            component,
            dry_run,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ])
    }
}

impl RequestSeries {
    fn new(values: [&str; 8]) -> Self {
        RequestSeries {
            owned: values.map(str::to_string),
            duration: OnceLock::new(),
            sli_duration: OnceLock::new(),
            response_sizes: OnceLock::new(),
            long_running: OnceLock::new(),
            counters: Default::default(),
        }
    }

    fn is(&self, values: [&str; 8]) -> bool {
        self.owned
            .iter()
            .zip(values)
            .all(|(own, value)| own == value)
    }

    /// `apiserver_longrunning_requests` of this label set.
    pub fn long_running(&self, metrics: &Metrics) -> &IntGauge {
        self.long_running.get_or_init(|| {
            metrics
                .apiserver_longrunning_requests
                .with_label_values(&self.without_dry_run())
        })
    }

    fn values(&self) -> [&str; 8] {
        self.owned.each_ref().map(String::as_str)
    }

    fn without_dry_run(&self) -> [&str; 7] {
        let [
            component,
            _,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ] = self.values();
        [
            component,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_code() {
        let metrics = Metrics::new(&[]);
        let labels = RequestLabels {
            component: "apiserver",
            dry_run: "",
            group: "",
            version: "v1",
            resource: "pods",
            subresource: "",
            scope: "namespace",
            verb: "LIST",
        };
        for code in [200, 200, 403] {
            metrics.record_request(
                &labels,
                code,
                Duration::from_millis(3),
                Duration::from_millis(2),
                10,
            );
        }
        let text = String::from_utf8(metrics.render()).expect("metrics are text");
        let line = |code: &str, n: u8| {
            format!(
                "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"pods\",scope=\"namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\"}} {n}"
            )
        };
        assert!(text.contains(&line("200", 2)), "{text}");
        assert!(text.contains(&line("403", 1)));
        assert!(text.contains("apiserver_response_sizes_count{"));
    }
}
