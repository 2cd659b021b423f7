//! CORS (`--cors-allowed-origins`): browsers from allowed origins may read answers.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ORIGIN,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use regex::Regex;

use super::{Filter, Step};
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

    /// The origin of a request, if it is an allowed one.
    fn allowed(&self, request: &ApiRequest) -> Option<HeaderValue> {
        let origin = request.ctx.headers.get(ORIGIN)?;
        let text = origin.to_str().unwrap_or("");
        let mut regexes = self.origins.iter();
        regexes
            .any(|regex| regex.is_match(text))
            .then(|| origin.clone())
    }
}

impl Filter for Cors {
    fn name(&self) -> &'static str {
        "cors"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        match self.allowed(request) {
            Some(origin) if request.ctx.method == Method::OPTIONS => {
                let mut response = ApiResponse {
                    status: StatusCode::NO_CONTENT,
                    ..ApiResponse::default()
                };
                allow(&mut response.headers, origin);
                Step::Answer(response)
            }
            _ => Step::Pass,
        }
    }

    fn after(&self, request: &mut ApiRequest, response: &mut ApiResponse) {
        if let Some(origin) = self.allowed(request) {
            allow(&mut response.headers, origin);
        }
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
