//! THE order of the filters, outermost first (contract/handler_chain.md §1).
//!
//! Read [`chain`] top-down: that is the way of every request. ARCHITECTURE.md repeats the names
//! and a test compares them.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::Filter;
use super::cors::Cors;
use super::deadline::{HandlerTimeout, RequestDeadline, Timeout};
use super::flow_control::FlowControlFilter;
use super::goaway::Goaway;
use super::http_logging::HttpLogging;
use super::metrics::{KnownResource, RequestMetrics};
use super::panic_recovery::PanicRecovery;
use super::request_info::RequestInfoFilter;
use super::response_headers::{CacheControl, Hsts};
use super::shutdown::{Drain, RetryAfter, WaitGroup, WatchTermination};
use super::warning::WarningRecorder;
use crate::flowcontrol::FlowControl;
use crate::telemetry::Metrics;

/// What the chain is made from.
pub struct Parts {
    /// Sets the audit ID.
    pub audit_id: Box<dyn Filter>,
    /// Finds out who asks.
    pub authentication: Box<dyn Filter>,
    /// Evaluates the audit policy and emits events.
    pub audit: Box<dyn Filter>,
    /// Lets one user act as another.
    pub impersonation: Box<dyn Filter>,
    /// Decides whether they may.
    pub authorization: Box<dyn Filter>,
    /// Decides who runs now.
    pub flow_control: Arc<dyn FlowControl>,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
    /// Which resources are served.
    pub known: KnownResource,
    /// How far a shutdown has come.
    pub drain: Drain,
    /// Limits and headers from flags.
    pub settings: Settings,
}

/// The chain's own settings, from flags.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--request-timeout`.
    pub request_timeout: Duration,
    /// `--goaway-chance`.
    pub goaway_chance: f64,
    /// `--strict-transport-security-directives`.
    pub hsts_directives: Vec<String>,
    /// `--cors-allowed-origins`.
    pub cors_allowed_origins: Vec<Regex>,
    /// `--shutdown-send-retry-after`.
    pub send_retry_after: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            request_timeout: Duration::from_secs(60),
            goaway_chance: 0.0,
            hsts_directives: Vec::new(),
            cors_allowed_origins: Vec::new(),
            send_retry_after: false,
        }
    }
}

/// Names of all filters in their order, with those that flags switch on.
pub const ORDER: [&str; 21] = [
    "audit-id",
    "request-metrics",
    "panic-recovery",
    "request-info",
    "http-logging",
    "retry-after",
    "hsts",
    "cache-control",
    "goaway",
    "watch-termination",
    "wait-group",
    "request-deadline",
    "timeout",
    "warning-recorder",
    "cors",
    "authentication",
    "audit",
    "impersonation",
    "flow-control",
    "authorization",
    "handler-timeout",
];

/// The filters, outermost first. Behind the last stands the endpoint router.
pub fn chain(parts: Parts) -> Vec<Box<dyn Filter>> {
    let Parts {
        metrics, settings, ..
    } = parts;
    let drain = parts.drain;
    let retry_after = settings
        .send_retry_after
        .then(|| RetryAfter::new(drain.clone()));
    [
        // Every answer carries an Audit-Id, whatever happens further in.
        Some(parts.audit_id),
        // Counts and times the request when it ends, from its record.
        filter(RequestMetrics::new(metrics.clone(), parts.known)),
        // A panic further in becomes a 500.
        filter(PanicRecovery::new(metrics.clone())),
        // Parses the URL; everything below reads the outcome.
        filter(RequestInfoFilter),
        // Logs the request, with its stages when it was slow.
        filter(HttpLogging),
        // --shutdown-send-retry-after: 429 while going down.
        retry_after.and_then(filter),
        // --strict-transport-security-directives.
        Hsts::new(&settings.hsts_directives).and_then(filter),
        // No cache may keep an answer.
        filter(CacheControl),
        // --goaway-chance: clients move to other servers now and then.
        Goaway::new(settings.goaway_chance).and_then(filter),
        // Watches end cleanly when the server goes down.
        filter(WatchTermination::new(drain.clone())),
        // A shutdown waits for the requests counted here and refuses later ones.
        filter(WaitGroup::new(drain)),
        // When the request must be answered; a bad `timeout` parameter is a 400.
        filter(RequestDeadline::new(settings.request_timeout)),
        // 504 for what is stuck in a filter below.
        filter(Timeout::new(metrics.clone())),
        // Turns the record's warnings into headers.
        filter(WarningRecorder),
        // --cors-allowed-origins; answers preflights before authentication.
        Cors::new(settings.cors_allowed_origins).and_then(filter),
        // Who asks? 401 if that cannot be told.
        Some(parts.authentication),
        // The policy decides the level by the original user; events are emitted from here.
        Some(parts.audit),
        // As whom? The record keeps both.
        Some(parts.impersonation),
        // Too many at once are refused or wait.
        filter(FlowControlFilter::new(parts.flow_control)),
        // May they? 403 if not.
        Some(parts.authorization),
        // 504 for a handler that takes too long; audited, since it is inside the audit filter.
        filter(HandlerTimeout::new(metrics)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn filter(filter: impl Filter + 'static) -> Option<Box<dyn Filter>> {
    Some(Box::new(filter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flowcontrol::MaxInFlight;

    struct Named(&'static str);

    impl Filter for Named {
        fn name(&self) -> &'static str {
            self.0
        }
    }

    #[test]
    fn the_chain_is_in_order() {
        let metrics = Metrics::new(&[]);
        let parts = Parts {
            audit_id: Box::new(Named("audit-id")),
            authentication: Box::new(Named("authentication")),
            audit: Box::new(Named("audit")),
            impersonation: Box::new(Named("impersonation")),
            authorization: Box::new(Named("authorization")),
            flow_control: Arc::new(MaxInFlight::new(1, 1, &metrics)),
            metrics,
            known: Arc::new(|_, _, _| true),
            drain: Drain::default(),
            settings: Settings {
                goaway_chance: 0.01,
                hsts_directives: vec!["max-age=1".into()],
                cors_allowed_origins: vec![Regex::new("x").expect("a regex")],
                send_retry_after: true,
                ..Settings::default()
            },
        };
        let names: Vec<&str> = chain(parts).iter().map(|f| f.name()).collect();
        assert_eq!(names, ORDER);
    }
}
