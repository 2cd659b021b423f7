//! Flow control: too many requests at once are refused (429) before they cost anything.

use std::sync::Arc;
use std::time::Instant;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use super::{Filter, Step};
use crate::flowcontrol::{Admission, FlowControl, Permit, Rejected};
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

impl Filter for FlowControlFilter {
    fn name(&self) -> &'static str {
        "flow-control"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        let began = request.ctx.stages.begin("flow-control");
        match self.control.enter(&request.ctx) {
            Admission::Now(decided) => match apply(request, began, decided) {
                None => Step::Pass,
                Some(response) => Step::Answer(response),
            },
            Admission::Later(waiting) => Step::Wait(Box::pin(async move {
                let decided = waiting.await;
                apply(request, began, decided)
            })),
        }
    }

    fn after(&self, request: &mut ApiRequest, response: &mut ApiResponse) {
        if let Some(permit) = request.permit.take() {
            permit.mark(&mut response.headers);
        }
    }
}

/// `None` for a request that runs, else the refusal.
fn apply(
    request: &mut ApiRequest,
    began: Instant,
    decided: Result<Permit, Rejected>,
) -> Option<ApiResponse> {
    let stages = &mut request.ctx.stages;
    match decided {
        Ok(Permit { held, flow }) => {
            stages.end("flow-control", began, "ok", flow);
            request.permit = held;
            None
        }
        Err(rejected) => {
            let because = format!("{}: {}", rejected.reason, rejected.flow);
            stages.end("flow-control", began, "rejected", because);
            Some(too_many(rejected))
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
