//! The audit families of contract/metrics.md, and the loss counter that upstream lacks.
//!
//! Handles into the catalogue; `server` makes them once and hands clones to the recorder and the
//! sinks.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use crate::audit::sink::Loss;
use crate::request::AuditLevel;
use crate::telemetry;

/// Counters of the record.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `apiserver_audit_event_total`: events emitted, before any sink.
    pub events: IntCounter,
    /// `apiserver_audit_error_total{plugin}`: events a sink could not keep.
    errors: IntCounterVec,
    /// `apiserver_audit_level_total{level}`: one per request.
    levels: [IntCounter; 4],
    /// `apiserver_audit_requests_rejected_total`: requests refused by blocking-strict.
    pub rejected: IntCounter,
    lost: IntCounterVec,
    rules: IntCounterVec,
    /// Of which sink losses are counted, where that is not clear from the stage that lost them.
    sink: Option<Arc<str>>,
    /// `verbatim_audit_log_writes_total`: writes to the log, each of one or more events.
    pub log_writes: IntCounter,
    /// `verbatim_audit_log_incidents_total{kind}`.
    incidents: IntCounterVec,
    /// `verbatim_audit_checkpoints_total{place,result}`.
    checkpoints: IntCounterVec,
    /// `verbatim_audit_sink_problem{sink}`.
    problems: IntGaugeVec,
}

impl Metrics {
    /// Handles into the catalogue.
    pub fn of(catalogue: &telemetry::Metrics) -> Self {
        let level_family = &catalogue.apiserver_audit_level_total;
        let level = |l: AuditLevel| level_family.with_label_values(&[l.as_str()]);
        Metrics {
            events: catalogue.apiserver_audit_event_total.clone(),
            errors: catalogue.apiserver_audit_error_total.clone(),
            levels: [
                level(AuditLevel::None),
                level(AuditLevel::Metadata),
                level(AuditLevel::Request),
                level(AuditLevel::RequestResponse),
            ],
            rejected: catalogue.apiserver_audit_requests_rejected_total.clone(),
            lost: catalogue.verbatim_audit_lost_events_total.clone(),
            rules: catalogue.verbatim_audit_rule_requests_total.clone(),
            sink: None,
            log_writes: catalogue.verbatim_audit_log_writes_total.clone(),
            incidents: catalogue.verbatim_audit_log_incidents_total.clone(),
            checkpoints: catalogue.verbatim_audit_checkpoints_total.clone(),
            problems: catalogue.verbatim_audit_sink_problem.clone(),
        }
    }

    /// New counters that nobody shows, for tests and tools.
    pub fn new() -> Self {
        Self::of(&telemetry::Metrics::new(&[]))
    }

    /// Counts a request's level.
    pub fn level(&self, level: AuditLevel) {
        self.levels[level as usize].inc();
    }

    /// The same counters, for a sink that has a name of its own.
    pub fn for_sink(&self, name: &str) -> Self {
        Metrics {
            sink: Some(name.into()),
            ..self.clone()
        }
    }

    /// The counter of requests that one rule decided about.
    pub fn rule(&self, sink: &str, rule: &str, level: AuditLevel) -> IntCounter {
        self.rules.with_label_values(&[level.as_str(), rule, sink])
    }

    /// Counts lost events. `plugin` is upstream's name of the stage that lost them.
    pub fn lost(&self, plugin: &str, loss: Loss, events: u64) {
        self.errors.with_label_values(&[plugin]).inc_by(events);
        let sink = self.sink.as_deref().unwrap_or(plugin);
        self.lost
            .with_label_values(&[loss.as_str(), sink])
            .inc_by(events);
    }

    /// Counts what somebody did to the log.
    pub fn incident(&self, kind: &str) {
        self.incidents.with_label_values(&[kind]).inc();
    }

    /// Counts a checkpoint: kept in, or refused by, one of its places.
    pub fn checkpoint(&self, place: &str, result: &str) {
        self.checkpoints.with_label_values(&[place, result]).inc();
    }

    /// Shows whether a sink has a problem now.
    pub fn problem(&self, sink: &str, has_one: bool) {
        self.problems
            .with_label_values(&[sink])
            .set(i64::from(has_one));
    }

    /// How many events were lost so far, over all sinks and reasons.
    pub fn lost_total(&self, plugin: &str) -> u64 {
        self.errors.with_label_values(&[plugin]).get()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
