//! Filters that only set response headers: HSTS and Cache-Control.

use async_trait::async_trait;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, STRICT_TRANSPORT_SECURITY};

use super::{Filter, Next};
use crate::request::{ApiRequest, ApiResponse};

/// `Strict-Transport-Security` from `--strict-transport-security-directives`.
pub struct Hsts {
    value: HeaderValue,
}

impl Hsts {
    /// The directives, joined by `; `. `None` when there are none or they are no header text.
    pub fn new(directives: &[String]) -> Option<Self> {
        if directives.is_empty() {
            return None;
        }
        let value = HeaderValue::from_str(&directives.join("; ")).ok()?;
        Some(Hsts { value })
    }
}

#[async_trait]
impl Filter for Hsts {
    fn name(&self) -> &'static str {
        "hsts"
    }

    async fn call(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let mut response = next.run(request).await;
        response
            .headers
            .insert(STRICT_TRANSPORT_SECURITY, self.value.clone());
        response
    }
}

/// `Cache-Control: no-cache, private` unless the handler set its own.
pub struct CacheControl;

#[async_trait]
impl Filter for CacheControl {
    fn name(&self) -> &'static str {
        "cache-control"
    }

    async fn call(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let mut response = next.run(request).await;
        response
            .headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-cache, private"));
        response
    }
}
