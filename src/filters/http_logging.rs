//! HTTP logging: one debug line per request (`-v=3` as upstream), and one line at info for a
//! request that was slow, with the stages that took the time.

use std::fmt::Write;
use std::time::Duration;

use http::header::USER_AGENT;

use super::Filter;
use crate::request::{ApiRequest, ApiResponse, RequestContext};

/// A request slower than this is logged with its stages, unless it is long-running.
const SLOW: Duration = Duration::from_millis(500);

/// The filter.
pub struct HttpLogging;

impl Filter for HttpLogging {
    fn name(&self) -> &'static str {
        "http-logging"
    }

    fn after(&self, request: &mut ApiRequest, response: &mut ApiResponse) {
        let ctx = &request.ctx;
        let elapsed = ctx.stages.elapsed();
        let status = response.status.as_u16();
        tracing::debug!(
            verb = %ctx.info.verb,
            uri = %ctx.uri,
            latency_ms = elapsed.as_secs_f64() * 1e3,
            user_agent = ctx.header(USER_AGENT).unwrap_or(""),
            audit_id = %ctx.audit_id,
            peer = ?ctx.peer,
            status,
            "HTTP"
        );
        if elapsed > SLOW && !ctx.info.is_long_running() {
            tracing::info!(
                verb = %ctx.info.verb,
                uri = %ctx.uri,
                latency_ms = elapsed.as_secs_f64() * 1e3,
                audit_id = %ctx.audit_id,
                status,
                stages = %stages_text(ctx),
                "slow request"
            );
        }
    }
}

/// `authentication 0.1ms ok, authorization 510.2ms allow`.
fn stages_text(ctx: &RequestContext) -> String {
    let mut out = String::new();
    for stage in ctx.stages.stages() {
        if !out.is_empty() {
            out.push_str(", ");
        }
        let ms = stage.duration.as_secs_f64() * 1e3;
        // Writing to a String cannot fail.
        let _ = write!(out, "{} {ms:.1}ms {}", stage.name, stage.outcome);
    }
    out
}
