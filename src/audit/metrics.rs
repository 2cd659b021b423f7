//! The audit families of contract/metrics.md, and the loss counter that upstream lacks.
//!
//! Handles into a registry; `server` registers them once and hands clones to the recorder and the
//! sinks.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::audit::sink::Loss;
use crate::request::AuditLevel;

/// Counters of the record.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `apiserver_audit_event_total`: events emitted, before any sink.
    pub events: IntCounter,
    /// `apiserver_audit_error_total{plugin}`: events a sink could not keep.
    errors: IntCounterVec,
    /// `apiserver_audit_level_total{level}`: one per request.
    levels: [IntCounter; 4],
    level_family: IntCounterVec,
    /// `apiserver_audit_requests_rejected_total`: requests refused by blocking-strict.
    pub rejected: IntCounter,
    lost: IntCounterVec,
}

impl Metrics {
    /// New counters, not registered anywhere.
    pub fn new() -> Self {
        let counter = |name: &str, help: &str| {
            IntCounter::new(name, help).expect("the metric's name is valid")
        };
        let family = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("the metric's name is valid")
        };
        let level_family = family(
            "apiserver_audit_level_total",
            "[ALPHA] Counter of policy levels for audit events (1 per request).",
            &["level"],
        );
        let level = |l: AuditLevel| level_family.with_label_values(&[l.as_str()]);
        Metrics {
            events: counter(
                "apiserver_audit_event_total",
                "[ALPHA] Counter of audit events generated and sent to the audit backend.",
            ),
            errors: family(
                "apiserver_audit_error_total",
                "[ALPHA] Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.",
                &["plugin"],
            ),
            levels: [
                level(AuditLevel::None),
                level(AuditLevel::Metadata),
                level(AuditLevel::Request),
                level(AuditLevel::RequestResponse),
            ],
            level_family,
            rejected: counter(
                "apiserver_audit_requests_rejected_total",
                "[ALPHA] Counter of apiserver requests rejected due to an error in audit logging backend.",
            ),
            lost: family(
                "verbatim_audit_lost_events_total",
                "Audit events that did not reach a sink, by sink and reason.",
                &["sink", "reason"],
            ),
        }
    }

    /// Registers all families.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.events.clone()))?;
        registry.register(Box::new(self.errors.clone()))?;
        registry.register(Box::new(self.level_family.clone()))?;
        registry.register(Box::new(self.rejected.clone()))?;
        registry.register(Box::new(self.lost.clone()))
    }

    /// Counts a request's level.
    pub fn level(&self, level: AuditLevel) {
        self.levels[level as usize].inc();
    }

    /// Counts lost events. `plugin` is upstream's name of the stage that lost them.
    pub fn lost(&self, plugin: &str, loss: Loss, events: u64) {
        self.errors.with_label_values(&[plugin]).inc_by(events);
        self.lost
            .with_label_values(&[plugin, loss.as_str()])
            .inc_by(events);
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
