//! Request info: parses the URL into [`RequestInfo`], which every later filter reads.

use http::StatusCode;

use super::{Filter, Step};
use crate::request::{ApiRequest, ApiResponse, RequestInfo};

/// The filter.
pub struct RequestInfoFilter;

impl Filter for RequestInfoFilter {
    fn name(&self) -> &'static str {
        "request-info"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        let ctx = &mut request.ctx;
        match RequestInfo::parse(&ctx.method, ctx.uri.path(), ctx.uri.query().unwrap_or("")) {
            Ok(info) => {
                ctx.info = info;
                Step::Pass
            }
            Err(error) => Step::Answer(ApiResponse::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("failed to create RequestInfo: {error}\n"),
            )),
        }
    }
}
