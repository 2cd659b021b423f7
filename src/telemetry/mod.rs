//! Telemetry: the metric catalogue, how it is rendered, logging, and traces.
//!
//! Everything is constructed and passed down (`Arc<Metrics>`); nothing registers itself anywhere,
//! so that many servers can run in one test process.
//!
//! # Decisions
//! - Families carry upstream's names, help texts, labels and buckets, so that existing dashboards
//!   and alerts work unmodified. Ours begin with `verbatim_`.
//! - Labels are passed in alphabetical order, as each field's documentation lists them.

mod catalogue;
mod handles;
mod histogram;
pub mod logging;
mod process;
mod requests;
mod summary;

pub use catalogue::{Metrics, Stability};
pub use handles::{Counters, Outcomes};
pub use histogram::{Histogram, HistogramVec};
pub use requests::{RequestLabels, RequestSeries};
pub use summary::SummaryVec;

/// Names of all metric families, for checks of what speaks of them.
#[cfg(test)]
pub(crate) fn family_names() -> &'static [&'static str] {
    catalogue::NAMES
}

/// Content type of `/metrics`: Prometheus' text format.
pub const METRICS_CONTENT_TYPE: &str =
    "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
