//! The filters of a server that is going down: retry-after, watch termination, wait group.
//!
//! [`Drain`] is the state they share with the server's lifecycle (contract/health.md, graceful
//! termination).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::StreamExt;
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Filter, Step};
use crate::api::status::Status;
use crate::request::negotiate::status_response;
use crate::request::{ApiRequest, ApiResponse, Body, Held};

/// How far the shutdown has come, and what is still running.
#[derive(Clone, Default)]
pub struct Drain {
    end_watches: CancellationToken,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running {
    is_not_accepting: AtomicBool,
    requests: AtomicUsize,
    idle: Notify,
}

/// Counts one request while it lives.
struct Counted(Arc<Running>);

impl Held for Counted {}

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
        self.running.is_not_accepting.store(true, Ordering::Release);
    }

    fn is_not_accepting(&self) -> bool {
        self.running.is_not_accepting.load(Ordering::Acquire)
    }

    /// From now on running watches end, cleanly.
    pub fn end_watches(&self) {
        self.end_watches.cancel();
    }

    /// Cancelled when watches are to end.
    pub fn watches_end(&self) -> CancellationToken {
        self.end_watches.clone()
    }

    /// The same for one of them. It is asked at every event, so it has a lock of its own.
    fn end_of_one(&self) -> impl Future<Output = ()> + Send + 'static {
        self.end_watches.child_token().cancelled_owned()
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

impl Filter for RetryAfter {
    fn name(&self) -> &'static str {
        "retry-after"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        let refused = self.drain.is_not_accepting();
        if !refused || exempt_from_retry_after(request) {
            return Step::Pass;
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
        Step::Answer(response)
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

impl Filter for WatchTermination {
    fn name(&self) -> &'static str {
        "watch-termination"
    }

    fn after(&self, _: &mut ApiRequest, response: &mut ApiResponse) {
        if !matches!(response.body, Body::Stream(_) | Body::Switching(_)) {
            return;
        }
        response.body = match std::mem::take(&mut response.body) {
            Body::Stream(stream) => {
                let end = self.drain.end_of_one();
                Body::Stream(Box::pin(stream.take_until(end)))
            }
            Body::Switching(tunnel) => {
                let end = self.drain.end_of_one();
                Body::Switching(Box::pin(async move {
                    tokio::select! {
                        () = tunnel => {}
                        () = end => {}
                    }
                }))
            }
            body => body,
        };
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

impl Filter for WaitGroup {
    fn name(&self) -> &'static str {
        "wait-group"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        if request.ctx.info.is_long_running() {
            return Step::Pass;
        }
        let counted = self.drain.enter();
        if self.drain.is_not_accepting() && !is_health(request) {
            let status = Status::service_unavailable("apiserver is shutting down").retry_after(1);
            return Step::Answer(status_response(&mut request.ctx, &status));
        }
        request.counted = Some(Box::new(counted));
        Step::Pass
    }

    fn after(&self, request: &mut ApiRequest, _: &mut ApiResponse) {
        request.counted = None;
    }
}

/// Probes are answered to the end: a dying server that answers nothing looks like a dead one.
fn is_health(request: &ApiRequest) -> bool {
    let path = request.ctx.uri.path();
    ["/readyz", "/livez", "/healthz"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}
