//! The filter chain: what every request passes before a handler sees it.
//!
//! [`chain`] holds the order, as one list; every other file is one filter.

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

use crate::request::{ApiRequest, ApiResponse};

pub use crate::request::Endpoint;

/// One filter. It may answer itself, or call `next` and look at the answer.
#[async_trait]
pub trait Filter: Send + Sync {
    /// The name in [`chain`], in ARCHITECTURE.md and in stages.
    fn name(&self) -> &'static str;

    /// Handles a request.
    async fn call(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse;
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
        match self.rest.split_first() {
            None => self.endpoint.handle(request).await,
            Some((filter, rest)) => {
                let next = Next {
                    rest,
                    endpoint: self.endpoint,
                };
                filter.call(request, next).await
            }
        }
    }
}
