//! The filter chain: what every request passes before a handler sees it.
//!
//! [`chain`] holds the order, as one list; every other file is one filter.
//!
//! # Decisions
//! - A filter looks at a request on its way in and at the answer on its way out, at once wherever it
//!   can. Only one that must hold something around all that lies behind it (a deadline, a panic)
//!   wraps it in a future of its own: one future per filter cost more than most filters do.

pub mod audit;
pub mod audit_id;
pub mod authentication;
pub mod authorization;
pub mod chain;
pub mod cors;
pub mod deadline;
pub mod flow_control;
pub mod goaway;
pub mod http_logging;
pub mod impersonation;
pub mod metrics;
pub mod panic_recovery;
pub mod request_info;
pub mod response_headers;
pub mod shutdown;
pub mod warning;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::request::{ApiRequest, ApiResponse};

pub use crate::request::Endpoint;

/// What becomes of a request that a filter has looked at.
pub enum Step<'a> {
    /// It goes on; [`Filter::after`] sees the answer.
    Pass,
    /// This is the answer. Filters further in don't see the request, and [`Filter::after`] of this one
    /// not the answer.
    Answer(ApiResponse),
    /// That takes a while: then `None` to go on, or the answer.
    Wait(BoxFuture<'a, Option<ApiResponse>>),
    /// [`Filter::around`] does it all; nothing is done yet.
    Around,
}

/// One filter.
#[async_trait]
pub trait Filter: Send + Sync {
    /// The name in [`chain`], in ARCHITECTURE.md and in stages.
    fn name(&self) -> &'static str;

    /// Looks at a request on its way in.
    fn before<'a>(&'a self, _: &'a mut ApiRequest) -> Step<'a> {
        Step::Pass
    }

    /// Looks at the answer on its way out. Not called for requests that are dropped half-way.
    fn after(&self, _: &mut ApiRequest, _: &mut ApiResponse) {}

    /// Handles a request, for filters that say [`Step::Around`].
    async fn around(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        next.run(request).await
    }
}

/// The rest of the chain.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    rest: &'a [Box<dyn Filter>],
    endpoint: &'a dyn Endpoint,
}

impl<'a> Next<'a> {
    /// A chain of `filters` before `endpoint`.
    pub fn new(filters: &'a [Box<dyn Filter>], endpoint: &'a dyn Endpoint) -> Self {
        Next {
            rest: filters,
            endpoint,
        }
    }

    /// Passes the request on.
    pub async fn run(self, request: &mut ApiRequest) -> ApiResponse {
        let mut passed = 0;
        let mut response = loop {
            let Some(filter) = self.rest.get(passed) else {
                break self.endpoint.handle(request).await;
            };
            let step = filter.before(request);
            let answer = match step {
                Step::Pass => None,
                Step::Answer(response) => Some(response),
                Step::Wait(waiting) => waiting.await,
                Step::Around => {
                    drop(step);
                    let next = Next {
                        rest: &self.rest[passed + 1..],
                        endpoint: self.endpoint,
                    };
                    break filter.around(request, next).await;
                }
            };
            match answer {
                Some(response) => break response,
                None => passed += 1,
            }
        };
        for filter in self.rest[..passed].iter().rev() {
            filter.after(request, &mut response);
        }
        response
    }
}
