//! Max in flight: two counters, one for reading and one for writing requests
//! (contract/handler_chain.md §4).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus::IntGauge;

use super::{Admission, FlowControl, Permit, Rejected, is_read_only};
use crate::request::{self, RequestContext};
use crate::telemetry::Metrics;

/// The limits.
pub struct MaxInFlight {
    read_only: Arc<Counter>,
    mutating: Arc<Counter>,
}

struct Counter {
    /// `readOnly` or `mutating`.
    kind: &'static str,
    /// Zero: no limit.
    limit: i64,
    now: AtomicI64,
    high: AtomicI64,
    gauge: IntGauge,
}

/// One counted request.
pub(super) struct Held(Arc<Counter>);

impl request::Held for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::AcqRel);
    }
}

impl MaxInFlight {
    /// `--max-requests-inflight` and `--max-mutating-requests-inflight`; zero is no limit.
    pub fn new(read_only: u32, mutating: u32, metrics: &Metrics) -> Self {
        let counter = |limit: u32, kind: &'static str| {
            Arc::new(Counter {
                kind,
                limit: i64::from(limit),
                now: AtomicI64::new(0),
                high: AtomicI64::new(0),
                gauge: metrics
                    .apiserver_current_inflight_requests
                    .with_label_values(&[kind]),
            })
        };
        MaxInFlight {
            read_only: counter(read_only, "readOnly"),
            mutating: counter(mutating, "mutating"),
        }
    }

    /// Counts a request that runs in any case.
    pub(super) fn count(&self, is_read_only: bool) -> Option<Held> {
        self.counter(is_read_only).enter(true)
    }

    fn counter(&self, is_read_only: bool) -> &Arc<Counter> {
        match is_read_only {
            true => &self.read_only,
            false => &self.mutating,
        }
    }
}

impl Counter {
    fn enter(self: &Arc<Self>, always: bool) -> Option<Held> {
        let now = self.now.fetch_add(1, Ordering::AcqRel) + 1;
        let held = Held(self.clone());
        if self.limit > 0 && now > self.limit && !always {
            return None;
        }
        self.high.fetch_max(now, Ordering::AcqRel);
        Some(held)
    }

    fn publish(&self) {
        let now = self.now.load(Ordering::Acquire);
        let high = self.high.swap(now, Ordering::AcqRel);
        self.gauge.set(high.max(now));
    }
}

impl FlowControl for MaxInFlight {
    fn enter(&self, ctx: &RequestContext) -> Admission<'_> {
        if ctx.info.is_long_running() {
            return Admission::Now(Ok(Permit::free()));
        }
        let counter = self.counter(is_read_only(ctx));
        let masters = ctx
            .user
            .as_ref()
            .is_some_and(|user| user.in_group("system:masters"));
        Admission::Now(match counter.enter(masters) {
            Some(held) => Ok(Permit {
                held: Some(Box::new(held)),
                flow: counter.kind.into(),
            }),
            None => Err(Rejected {
                retry_after_seconds: 1,
                reason: "concurrency-limit",
                flow: format!(
                    "{} requests in flight: {} of at most {}",
                    counter.kind,
                    counter.now.load(Ordering::Acquire),
                    counter.limit
                ),
                headers: Vec::new(),
            }),
        })
    }

    fn tick(&self) {
        self.read_only.publish();
        self.mutating.publish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{RequestInfo, UserInfo};
    use http::{HeaderMap, Method, Uri};

    fn ctx(groups: &[&str]) -> RequestContext {
        let uri = Uri::from_static("/api/v1/pods");
        let mut ctx = RequestContext::new(Method::GET, uri, HeaderMap::new(), None);
        ctx.info = RequestInfo::parse(&Method::GET, "/api/v1/pods", "").expect("a valid path");
        ctx.user = Some(Arc::new(UserInfo {
            groups: groups.iter().map(|g| g.to_string()).collect(),
            ..UserInfo::default()
        }));
        ctx
    }

    #[tokio::test]
    async fn full_means_no_but_for_masters() {
        let metrics = Metrics::new(&[]);
        let control = MaxInFlight::new(1, 1, &metrics);
        let first = control.admit(&ctx(&[])).await.ok();
        assert!(first.is_some());
        assert!(control.admit(&ctx(&[])).await.is_err());
        assert!(control.admit(&ctx(&["system:masters"])).await.is_ok());
        drop(first);
        assert!(control.admit(&ctx(&[])).await.is_ok());
    }
}
