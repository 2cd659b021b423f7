//! CORS (`--cors-allowed-origins`): browsers from allowed origins may read answers.

use async_trait::async_trait;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ORIGIN,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use regex::Regex;

use super::{Filter, Next};
use crate::request::{ApiRequest, ApiResponse};

/// The filter.
pub struct Cors {
    origins: Vec<Regex>,
}

impl Cors {
    /// `None` when no origin is allowed.
    pub fn new(origins: Vec<Regex>) -> Option<Self> {
        (!origins.is_empty()).then_some(Cors { origins })
    }
}

#[async_trait]
impl Filter for Cors {
    fn name(&self) -> &'static str {
        "cors"
    }

    async fn call(&self, request: &mut ApiRequest, next: Next<'_>) -> ApiResponse {
        let origin = request.ctx.headers.get(ORIGIN).cloned();
        let allowed = origin.filter(|value| {
            let text = value.to_str().unwrap_or("");
            self.origins.iter().any(|regex| regex.is_match(text))
        });
        let Some(origin) = allowed else {
            return next.run(request).await;
        };
        let mut response = match request.ctx.method {
            Method::OPTIONS => ApiResponse {
                status: StatusCode::NO_CONTENT,
                ..ApiResponse::default()
            },
            _ => next.run(request).await,
        };
        allow(&mut response.headers, origin);
        response
    }
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in [
        (
            ACCESS_CONTROL_ALLOW_METHODS,
            "POST, GET, OPTIONS, PUT, DELETE, PATCH",
        ),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, \
             X-Requested-With, If-Modified-Since",
        ),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
        (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
