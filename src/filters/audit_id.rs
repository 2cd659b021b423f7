//! Audit ID: the client's `Audit-ID` or a new UUID, on the request and on every answer
//! (contract/audit.md §5). The outermost filter.
//!
//! A client may send any ID, also one that another request had. Its requests get an ID of ours
//! beside it (`requestID` in the trace), so that they can always be told apart.

use http::{HeaderName, HeaderValue};

use crate::filters::{Filter, Step};
use crate::request::{ApiRequest, ApiResponse, RequestContext};

/// `Audit-ID` in both directions.
pub const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// The filter.
pub struct AuditId;

impl Filter for AuditId {
    fn name(&self) -> &'static str {
        "audit-id"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        let ctx = &mut request.ctx;
        let mut buffer = uuid::Uuid::encode_buffer();
        let own = &*uuid::Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
        ctx.audit_id = match sent(ctx) {
            Some(value) => {
                let id = String::from_utf8_lossy(value.as_bytes()).into();
                ctx.audit.request_id = Some((*own).into());
                id
            }
            None => (*own).into(),
        };
        Step::Pass
    }

    fn after(&self, request: &mut ApiRequest, response: &mut ApiResponse) {
        let ctx = &request.ctx;
        let header = match sent(ctx) {
            Some(value) => Some(value.clone()),
            None => HeaderValue::from_str(&ctx.audit_id).ok(),
        };
        // An aggregated backend may have answered with the header already.
        if let Some(header) = header {
            response.headers.entry(AUDIT_ID).or_insert(header);
        }
    }
}

/// The ID that the client sent.
fn sent(ctx: &RequestContext) -> Option<&HeaderValue> {
    ctx.headers.get(&AUDIT_ID).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use http::{HeaderMap, Method, Uri};

    use super::*;
    use crate::filters::{Endpoint, Next};

    struct Nothing;

    #[async_trait]
    impl Endpoint for Nothing {
        async fn handle(&self, _: &mut ApiRequest) -> ApiResponse {
            ApiResponse::default()
        }
    }

    async fn run(sent: Option<&'static str>) -> (String, String) {
        let mut headers = HeaderMap::new();
        if let Some(sent) = sent {
            headers.insert(AUDIT_ID, HeaderValue::from_static(sent));
        }
        let ctx = RequestContext::new(Method::GET, Uri::from_static("/"), headers, None);
        let mut request = ApiRequest::new(ctx, axum::body::Body::empty());
        let filters: Vec<Box<dyn Filter>> = vec![Box::new(AuditId)];
        let response = Next::new(&filters, &Nothing).run(&mut request).await;
        let header = response.headers[&AUDIT_ID].to_str().expect("text");
        (request.ctx.audit_id.to_string(), header.to_string())
    }

    #[tokio::test]
    async fn ids() {
        assert_eq!(run(Some("mine")).await, ("mine".into(), "mine".into()));
        for sent in [None, Some("")] {
            let (id, header) = run(sent).await;
            assert_eq!(id, header);
            assert_eq!(id.len(), 36);
        }
    }
}
