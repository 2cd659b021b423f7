//! The filters of a server that is going down: retry-after, watch termination, wait group.
//!
//! [`Drain`] is the state they share with the server's lifecycle (contract/health.md, graceful
//! termination).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Filter, Next};
use crate::api::status::Status;
use crate::request::negotiate::status_response;
use crate::request::{ApiRequest, ApiResponse, Body};

/// How far the shutdown has come, and what is still running.
#[derive(Clone, Default)]
pub struct Drain {
    not_accepting: CancellationToken,
    end_watches: CancellationToken,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running {
    requests: AtomicUsize,
    idle: Notify,
}

/// Counts one request while it lives.
struct Counted(Arc<Running>);

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Drain {
    /// From now on new requests are refused.
    pub fn stop_accepting(&self) {
        self.not_accepting.cancel();
    }

    /// From now on running watches end, cleanly.
    pub fn end_watches(&self) {
        self.end_watches.cancel();
    }

    /// Cancelled when watches are to end.
    pub fn watches_end(&self) -> CancellationToken {
        self.end_watches.clone()
    }

    /// Requests (other than long-running ones) being answered now.
    pub fn running(&self) -> usize {
        self.running.requests.load(Ordering::Acquire)
    }

    /// Waits until no request is being answered.
    pub async fn idle(&self) {
        loop {
            let notified = self.running.idle.notified();
            if self.running() == 0 {
                return;
            }
            notified.await;
        }
    }

    fn enter(&self) -> Counted {
        self.running.requests.fetch_add(1, Ordering::AcqRel);
        Counted(self.running.clone())
    }
}

/// `--shutdown-send-retry-after`: tells clients to come back to another server.
pub struct RetryAfter {
    drain: Drain,
}

impl RetryAfter {
    /// Looks at `drain`.
    pub fn new(drain: Drain) -> Self {
        RetryAfter { drain }
    }
}

#[async_trait]
impl Filter for RetryAfter {
    fn name(&self) -> &'static str {
        "retry-after"
    }

    async fn call(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let refused = self.drain.not_accepting.is_cancelled();
        if !refused || exempt_from_retry_after(request) {
            return next.run(request).await;
        }
        let mut response = ApiResponse::text(
            StatusCode::TOO_MANY_REQUESTS,
            "The apiserver is shutting down, please try again later.\n",
        );
        response
            .headers
            .insert(RETRY_AFTER, HeaderValue::from_static("5"));
        response
            .headers
            .insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

fn exempt_from_retry_after(request: &ApiRequest) -> bool {
    let path = request.ctx.uri.path();
    ["/readyz", "/livez", "/healthz", "/metrics"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
        || request
            .ctx
            .header("user-agent")
            .is_some_and(|agent| agent.starts_with("kube-apiserver/"))
}

/// Ends watches and other streams cleanly when the server goes down: the body ends, the client goes
/// on elsewhere.
pub struct WatchTermination {
    drain: Drain,
}

impl WatchTermination {
    /// Looks at `drain`.
    pub fn new(drain: Drain) -> Self {
        WatchTermination { drain }
    }
}

#[async_trait]
impl Filter for WatchTermination {
    fn name(&self) -> &'static str {
        "watch-termination"
    }

    async fn call(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let mut response = next.run(request).await;
        let end = self.drain.end_watches.clone().cancelled_owned();
        response.body = match response.body {
            Body::Stream(stream) => Body::Stream(Box::pin(stream.take_until(end))),
            Body::Switching(tunnel) => Body::Switching(Box::pin(async move {
                tokio::select! {
                    () = tunnel => {}
                    () = end => {}
                }
            })),
            body => body,
        };
        response
    }
}

/// Counts requests so that a shutdown can wait for them, and refuses those that come too late.
pub struct WaitGroup {
    drain: Drain,
}

impl WaitGroup {
    /// Counts in `drain`.
    pub fn new(drain: Drain) -> Self {
        WaitGroup { drain }
    }
}

#[async_trait]
impl Filter for WaitGroup {
    fn name(&self) -> &'static str {
        "wait-group"
    }

    async fn call(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        if request.ctx.info.is_long_running() {
            return next.run(request).await;
        }
        let _counted = self.drain.enter();
        if self.drain.not_accepting.is_cancelled() && !is_health(request) {
            let status = Status::service_unavailable("apiserver is shutting down").retry_after(1);
            return status_response(&mut request.ctx, &status);
        }
        next.run(request).await
    }
}

/// Probes are answered to the end: a dying server that answers nothing looks like a dead one.
fn is_health(request: &ApiRequest) -> bool {
    let path = request.ctx.uri.path();
    ["/readyz", "/livez", "/healthz"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}
