//! What the index counts: handles into the metric catalogue.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use crate::telemetry;

/// Counters of the index.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Events added.
    pub indexed: IntCounter,
    /// Events that were there already.
    pub duplicates: IntCounter,
    /// Lines that are no events.
    pub bad_lines: IntCounter,
    /// Damaged partitions.
    pub set_aside: IntCounter,
    /// Logs that had lost the place to go on from.
    pub log_gaps: IntCounter,
    /// Partitions.
    pub partitions: IntGauge,
    /// Partitions that are built anew.
    pub rebuilding: IntGauge,
    /// Bytes on disk.
    pub bytes: IntGauge,
    /// Bytes of the logs that are not indexed yet.
    pub behind: IntGauge,
    failures: IntCounterVec,
}

impl Metrics {
    /// Handles into the catalogue.
    pub fn of(catalogue: &telemetry::Metrics) -> Self {
        Metrics {
            indexed: catalogue.verbatim_search_events_indexed_total.clone(),
            duplicates: catalogue.verbatim_search_events_duplicate_total.clone(),
            bad_lines: catalogue.verbatim_search_lines_bad_total.clone(),
            set_aside: catalogue.verbatim_search_partitions_set_aside_total.clone(),
            log_gaps: catalogue.verbatim_search_log_gaps_total.clone(),
            partitions: catalogue.verbatim_search_partitions.clone(),
            rebuilding: catalogue.verbatim_search_partitions_rebuilding.clone(),
            bytes: catalogue.verbatim_search_index_bytes.clone(),
            behind: catalogue.verbatim_search_behind_bytes.clone(),
            failures: catalogue.verbatim_search_index_failures_total.clone(),
        }
    }

    /// New counters that nobody shows, for tests and tools.
    pub fn new() -> Self {
        Self::of(&telemetry::Metrics::new(&[]))
    }

    /// Counts a failure of `write`, `read` or `log`.
    pub fn failed(&self, operation: &str) {
        self.failures.with_label_values(&[operation]).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
