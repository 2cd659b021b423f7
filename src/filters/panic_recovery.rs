//! Panic recovery: a handler that panics costs its own request, nothing else.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use http::StatusCode;

use super::{Filter, Next, Step};
use crate::request::{ApiRequest, ApiResponse};
use crate::telemetry::Metrics;

/// The filter.
pub struct PanicRecovery {
    metrics: Arc<Metrics>,
}

impl PanicRecovery {
    /// Counts panics in `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        PanicRecovery { metrics }
    }
}

#[async_trait]
impl Filter for PanicRecovery {
    fn name(&self) -> &'static str {
        "panic-recovery"
    }

    fn before<'a>(&'a self, _: &'a mut ApiRequest) -> Step<'a> {
        Step::Around
    }

    async fn around(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let outcome = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        outcome.unwrap_or_else(|panic| {
            self.metrics.verbatim_panics_total.inc();
            let ctx = &request.ctx;
            let message = panic_text(panic.as_ref());
            tracing::error!(method = %ctx.method, uri = %ctx.uri, audit_id = %ctx.audit_id,
                panic = message, "apiserver panic'd");
            ApiResponse::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "This request caused apiserver to panic. Look in the logs for details.\n",
            )
        })
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<String>() {
        return text;
    }
    panic.downcast_ref::<&str>().copied().unwrap_or("unknown")
}
