//! Request deadline, and the timeout that enforces it.
//!
//! Enforced twice: [`HandlerTimeout`], behind all other filters, answers in time and is audited like
//! any answer; [`Timeout`], further out, catches what is stuck in a filter (a webhook authenticator
//! that hangs) a little later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Filter, Next, Step};
use crate::api::status::Status;
use crate::base::duration;
use crate::request::negotiate::status_response;
use crate::request::{ApiRequest, ApiResponse};
use crate::telemetry::Metrics;

/// How much later than the handler's timeout the outer one fires.
const GRACE: Duration = Duration::from_millis(500);

/// Sets `ctx.deadline` of requests that are not long-running.
pub struct RequestDeadline {
    max: Duration,
}

impl RequestDeadline {
    /// `max` is `--request-timeout`.
    pub fn new(max: Duration) -> Self {
        RequestDeadline { max }
    }

    /// The time that a request may take: what the `timeout` parameter asks for, at most `max`.
    fn allowed(&self, asked: Option<&str>) -> Result<Duration, duration::DurationError> {
        let Some(text) = asked.filter(|text| !text.is_empty()) else {
            return Ok(self.max);
        };
        // Zero and negative durations mean no wish at all.
        let wished = duration::parse(text)?.filter(|d| !d.is_zero());
        Ok(wished.map_or(self.max, |d| d.min(self.max)))
    }
}

impl Filter for RequestDeadline {
    fn name(&self) -> &'static str {
        "request-deadline"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        let ctx = &mut request.ctx;
        if ctx.info.is_long_running() {
            return Step::Pass;
        }
        let asked = match ctx.query().contains("timeout=") {
            true => ctx.query_value("timeout"),
            false => None,
        };
        match self.allowed(asked.as_deref()) {
            Ok(allowed) => {
                ctx.deadline = Some(ctx.stages.started() + allowed);
                Step::Pass
            }
            Err(error) => {
                let status = Status::bad_request(format!(
                    "invalid timeout specified in the request URL - {error}"
                ));
                ctx.audit.refused_early = Some(status.code);
                Step::Answer(status_response(ctx, &status))
            }
        }
    }
}

/// Whether there is a deadline to enforce.
fn step(request: &ApiRequest) -> Step<'_> {
    match request.ctx.deadline {
        Some(_) => Step::Around,
        None => Step::Pass,
    }
}

/// Runs `next` until `at`. `None` when the time is over; the inner stages are dropped then.
async fn run_until(
    request: &mut ApiRequest,
    next: Next<'_>,
    at: Option<Instant>,
) -> Option<ApiResponse> {
    let Some(at) = at else {
        return Some(next.run(request).await);
    };
    tokio::time::timeout_at(at.into(), next.run(request))
        .await
        .ok()
}

/// Answers 504 for what is stuck before the handler.
pub struct Timeout {
    metrics: Arc<Metrics>,
}

impl Timeout {
    /// Counts in `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Timeout { metrics }
    }
}

#[async_trait]
impl Filter for Timeout {
    fn name(&self) -> &'static str {
        "timeout"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        step(request)
    }

    async fn around(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let at = request.ctx.deadline.map(|deadline| deadline + GRACE);
        match run_until(request, next, at).await {
            Some(response) => response,
            None => timed_out(
                request,
                &self.metrics,
                "request did not complete within the allotted timeout",
            ),
        }
    }
}

/// Answers 504 for a handler that takes too long. Last before the handler.
pub struct HandlerTimeout {
    metrics: Arc<Metrics>,
}

impl HandlerTimeout {
    /// Counts in `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        HandlerTimeout { metrics }
    }
}

#[async_trait]
impl Filter for HandlerTimeout {
    fn name(&self) -> &'static str {
        "handler-timeout"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        step(request)
    }

    async fn around(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let at = request.ctx.deadline;
        match run_until(request, next, at).await {
            Some(response) => response,
            None => timed_out(
                request,
                &self.metrics,
                "request did not complete within requested timeout - context deadline exceeded",
            ),
        }
    }
}

fn timed_out(request: &mut ApiRequest, metrics: &Metrics, message: &str) -> ApiResponse {
    let ctx = &mut request.ctx;
    const PASSED: &str = "the request's deadline has passed";
    let mut stuck = ctx.stages.cut("timeout", PASSED);
    if stuck.is_empty() {
        // Between two stages.
        let began = ctx.stages.last_end();
        ctx.stages.end("handler", began, "timeout", PASSED);
        stuck.push("handler".into());
    }
    let stage = stuck.join(", ");
    tracing::warn!(uri = %ctx.uri, audit_id = %ctx.audit_id, stage, "request timed out");
    let info = &ctx.info;
    metrics
        .apiserver_request_terminations_total
        .with_label_values(&[
            "504",
            "apiserver",
            info.group.as_str(),
            info.resource.as_str(),
            super::metrics::scope(info),
            info.subresource.as_str(),
            super::metrics::verb(ctx),
            info.version.as_str(),
        ])
        .inc();
    status_response(ctx, &Status::timeout(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_shortens_only() {
        let filter = RequestDeadline::new(Duration::from_secs(60));
        let allowed = |text| filter.allowed(text).expect("a duration").as_secs();
        assert_eq!(allowed(None), 60);
        assert_eq!(allowed(Some("10s")), 10);
        assert_eq!(allowed(Some("5m")), 60);
        assert_eq!(allowed(Some("0s")), 60);
        assert_eq!(allowed(Some("-2s")), 60);
        assert!(filter.allowed(Some("abc")).is_err());
    }
}
