//! Request info: parses the URL into [`RequestInfo`], which every later filter reads.

use async_trait::async_trait;
use http::StatusCode;

use super::{Filter, Next};
use crate::request::{ApiRequest, ApiResponse, RequestInfo};

/// The filter.
pub struct RequestInfoFilter;

#[async_trait]
impl Filter for RequestInfoFilter {
    fn name(&self) -> &'static str {
        "request-info"
    }

    async fn call(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let ctx = &mut request.ctx;
        match RequestInfo::parse(&ctx.method, ctx.uri.path(), ctx.uri.query().unwrap_or("")) {
            Ok(info) => {
                ctx.info = info;
                next.run(request).await
            }
            Err(error) => ApiResponse::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("failed to create RequestInfo: {error}\n"),
            ),
        }
    }
}
