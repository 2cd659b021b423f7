//! Flow control: too many requests at once are refused (429) before they cost anything.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use super::{Filter, Next};
use crate::flowcontrol::{FlowControl, Rejected};
use crate::request::{ApiRequest, ApiResponse};

/// The filter.
pub struct FlowControlFilter {
    control: Arc<dyn FlowControl>,
}

impl FlowControlFilter {
    /// Asks `control`.
    pub fn new(control: Arc<dyn FlowControl>) -> Self {
        FlowControlFilter { control }
    }
}

#[async_trait]
impl Filter for FlowControlFilter {
    fn name(&self) -> &'static str {
        "flow-control"
    }

    async fn call(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let began = request.ctx.stages.begin("flow-control");
        match self.control.admit(&request.ctx).await {
            Ok(permit) => {
                let flow = permit.flow.clone();
                request.ctx.stages.end("flow-control", began, "ok", flow);
                let mut response = next.run(request).await;
                permit.mark(&mut response.headers);
                response
            }
            Err(rejected) => {
                let because = format!("{}: {}", rejected.reason, rejected.flow);
                let stages = &mut request.ctx.stages;
                stages.end("flow-control", began, "rejected", because);
                too_many(rejected)
            }
        }
    }
}

fn too_many(rejected: Rejected) -> ApiResponse {
    let mut response = ApiResponse::text(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many requests, please try again later.\n",
    );
    response
        .headers
        .insert(RETRY_AFTER, HeaderValue::from(rejected.retry_after_seconds));
    for (name, value) in rejected.headers {
        response.headers.insert(name, value);
    }
    response
}
