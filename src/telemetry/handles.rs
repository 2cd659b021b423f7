//! Series at hand: families with one label of a few static values, looked up without hashing.
//!
//! Used by filters that every request passes. A series is made when first used, because what was
//! never used is not shown.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec};

use super::{Histogram, HistogramVec};

/// A counter by one label.
pub struct Counters<const N: usize> {
    family: IntCounterVec,
    series: [(&'static str, OnceLock<IntCounter>); N],
}

impl<const N: usize> Counters<N> {
    /// The series of `family` with these values of its label.
    pub fn new(family: &IntCounterVec, values: [&'static str; N]) -> Self {
        Counters {
            family: family.clone(),
            series: values.map(|value| (value, OnceLock::new())),
        }
    }

    /// Counts one; values that were not foreseen are looked up.
    pub fn inc(&self, value: &str) {
        match self.series.iter().find(|(known, _)| *known == value) {
            Some((known, series)) => series
                .get_or_init(|| self.family.with_label_values(&[known]))
                .inc(),
            None => self.family.with_label_values(&[value]).inc(),
        }
    }
}

/// Attempts and their durations by outcome.
pub struct Outcomes<const N: usize> {
    attempts: Counters<N>,
    durations: HistogramVec,
    series: [(&'static str, OnceLock<Histogram>); N],
}

impl<const N: usize> Outcomes<N> {
    /// The series of both families with these values of their label.
    pub fn new(
        attempts: &IntCounterVec,
        durations: &HistogramVec,
        outcomes: [&'static str; N],
    ) -> Self {
        Outcomes {
            attempts: Counters::new(attempts, outcomes),
            durations: durations.clone(),
            series: outcomes.map(|outcome| (outcome, OnceLock::new())),
        }
    }

    /// Counts one attempt.
    pub fn note(&self, outcome: &str, took: Duration) {
        self.attempts.inc(outcome);
        let seconds = took.as_secs_f64();
        match self.series.iter().find(|(known, _)| *known == outcome) {
            Some((known, series)) => series
                .get_or_init(|| self.durations.with_label_values(&[known]))
                .observe(seconds),
            None => self
                .durations
                .with_label_values(&[outcome])
                .observe(seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn only_what_was_used_is_shown() {
        let metrics = Metrics::new(&[]);
        let outcomes = Outcomes::new(
            &metrics.authentication_attempts,
            &metrics.authentication_duration_seconds,
            ["success", "failure"],
        );
        for outcome in ["success", "success", "other"] {
            outcomes.note(outcome, Duration::from_millis(1));
        }
        let text = String::from_utf8(metrics.render()).expect("metrics are text");
        assert!(text.contains("authentication_attempts{result=\"success\"} 2"));
        assert!(text.contains("authentication_attempts{result=\"other\"} 1"));
        assert!(text.contains("authentication_duration_seconds_count{result=\"success\"} 2"));
        assert!(!text.contains("result=\"failure\""), "{text}");
    }
}
