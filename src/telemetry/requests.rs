//! The request families' hot path: one look-up per request, no allocation once a series exists.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::Metrics;

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
    counters: RwLock<Vec<(u16, IntCounter)>>,
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
        let mut hasher = DefaultHasher::new();
        labels.hash(&mut hasher);
        let key = hasher.finish();
        let values = labels.values();
        let found = |list: &Vec<Arc<RequestSeries>>| {
            list.iter()
                .find(|s| s.owned.iter().map(String::as_str).eq(values))
                .cloned()
        };
        if let Some(series) = self.request_series.read().get(&key).and_then(found) {
            return series;
        }
        let mut all = self.request_series.write();
        let list = all.entry(key).or_default();
        if let Some(series) = found(list) {
            return series;
        }
        let series = Arc::new(RequestSeries {
            owned: values.map(str::to_string),
            duration: OnceLock::new(),
            sli_duration: OnceLock::new(),
            response_sizes: OnceLock::new(),
            long_running: OnceLock::new(),
            counters: RwLock::default(),
        });
        list.push(series.clone());
        series
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
        let series = self.request_series(labels);
        self.count(&series, code);
        series
            .duration
            .get_or_init(|| {
                self.apiserver_request_duration_seconds
                    .with_label_values(&series.values())
            })
            .observe(elapsed.as_secs_f64());
        if labels.dry_run.is_empty() {
            series
                .sli_duration
                .get_or_init(|| {
                    self.apiserver_request_sli_duration_seconds
                        .with_label_values(&series.without_dry_run())
                })
                .observe(own.as_secs_f64());
        }
        if matches!(labels.verb, "GET" | "LIST") {
            series
                .response_sizes
                .get_or_init(|| {
                    self.apiserver_response_sizes
                        .with_label_values(&series.without_dry_run())
                })
                .observe(bytes as f64);
        }
    }

    /// Counts a request in `apiserver_request_total` only (rejected before a handler saw it).
    pub fn count_request(&self, labels: &RequestLabels<'_>, code: u16) {
        let series = self.request_series(labels);
        self.count(&series, code);
    }

    fn count(&self, series: &RequestSeries, code: u16) {
        let counters = series.counters.read();
        if let Some((_, counter)) = counters.iter().find(|(c, _)| *c == code) {
            counter.inc();
            return;
        }
        drop(counters);
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
        let counter = self.apiserver_request_total.with_label_values(&[
            text.as_str(),
            component,
            dry_run,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ]);
        counter.inc();
        let mut counters = series.counters.write();
        if !counters.iter().any(|(c, _)| *c == code) {
            counters.push((code, counter));
        }
    }
}

impl RequestSeries {
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
