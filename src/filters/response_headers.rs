//! Filters that only set response headers: HSTS and Cache-Control.

use http::HeaderValue;
use http::header::{CACHE_CONTROL, STRICT_TRANSPORT_SECURITY};

use super::Filter;
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

impl Filter for Hsts {
    fn name(&self) -> &'static str {
        "hsts"
    }

    fn after(&self, _: &mut ApiRequest, response: &mut ApiResponse) {
        response
            .headers
            .insert(STRICT_TRANSPORT_SECURITY, self.value.clone());
    }
}

/// `Cache-Control: no-cache, private` unless the handler set its own.
pub struct CacheControl;

impl Filter for CacheControl {
    fn name(&self) -> &'static str {
        "cache-control"
    }

    fn after(&self, _: &mut ApiRequest, response: &mut ApiResponse) {
        response
            .headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-cache, private"));
    }
}
