//! Audit ID: the client's `Audit-ID` or a new UUID, on the request and on every answer
//! (contract/audit.md §5). The outermost filter.
//!
//! A client may send any ID, also one that another request had. Its requests get an ID of ours
//! beside it (`requestID` in the trace), so that they can always be told apart.

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};

use crate::filters::{Filter, Next};
use crate::request::{ApiRequest, ApiResponse};

/// `Audit-ID` in both directions.
pub const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// The filter.
pub struct AuditId;

#[async_trait]
impl Filter for AuditId {
    fn name(&self) -> &'static str {
        "audit-id"
    }

    async fn call(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let sent = request.ctx.headers.get(&AUDIT_ID).cloned();
        let (id, header) = match sent.filter(|v| !v.is_empty()) {
            Some(value) => {
                let id = String::from_utf8_lossy(value.as_bytes());
                let own = uuid::Uuid::new_v4().hyphenated().to_string();
                request.ctx.audit.request_id = Some(own.into());
                (id.into(), Some(value))
            }
            None => {
                let mut buffer = uuid::Uuid::encode_buffer();
                let id = &*uuid::Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
                (id.into(), HeaderValue::from_str(id).ok())
            }
        };
        request.ctx.audit_id = id;
        let mut response = next.run(request).await;
        // An aggregated backend may have answered with the header already.
        if let Some(header) = header {
            response.headers.entry(AUDIT_ID).or_insert(header);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;
    use crate::filters::Endpoint;
    use crate::request::RequestContext;

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
        let mut request = ApiRequest {
            ctx,
            body: axum::body::Body::empty(),
            upgrade: None,
        };
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
