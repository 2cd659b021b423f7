//! The authentication filter: finds out who asks, or answers 401.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderName;

use crate::api::status::Status;
use crate::audit::Recorder;
use crate::authentication::{Authenticated, Authenticator, Refusal, Refused, bearer};
use crate::filters::{Filter, Step};
use crate::request::negotiate::status_response;
use crate::request::{ApiRequest, ApiResponse, RequestContext};
use crate::telemetry::{Counters, Metrics, Outcomes};

/// Users that `authenticated_user_requests` tells apart, and what the others are called.
const SHOWN_USERS: [&str; 7] = [
    "admin",
    "client",
    "kube_proxy",
    "kubelet",
    "system:serviceaccount:kube-system:default",
    "email_id",
    "other",
];
/// Front-proxy headers that are always removed behind authentication, beside configured ones.
const PROXY_HEADERS: [&str; 3] = ["x-remote-user", "x-remote-uid", "x-remote-group"];

/// Prefix of front-proxy extra headers.
const PROXY_EXTRA_PREFIX: &str = "x-remote-extra-";

/// Finds out who asks.
pub struct Authentication {
    authenticator: Arc<dyn Authenticator>,
    attempts: Outcomes<3>,
    users: Counters<7>,
    recorder: Option<Arc<Recorder>>,
    /// Configured front-proxy headers and header prefixes, lower case.
    proxy_headers: Vec<String>,
    proxy_prefixes: Vec<String>,
}

impl Authentication {
    /// Asks `authenticator`.
    pub fn new(authenticator: Arc<dyn Authenticator>, metrics: Arc<Metrics>) -> Self {
        Authentication {
            authenticator,
            attempts: Outcomes::new(
                &metrics.authentication_attempts,
                &metrics.authentication_duration_seconds,
                ["success", "failure", "error"],
            ),
            users: Counters::new(&metrics.authenticated_user_requests, SHOWN_USERS),
            recorder: None,
            proxy_headers: PROXY_HEADERS.iter().map(|h| h.to_string()).collect(),
            proxy_prefixes: vec![PROXY_EXTRA_PREFIX.to_string()],
        }
    }

    /// Has refusals recorded: the audit filter stands behind this one (contract/audit.md §6).
    #[must_use]
    pub fn with_recorder(mut self, recorder: Arc<Recorder>) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Removes these headers too (`--requestheader-*-headers`, `--requestheader-extra-headers-prefix`).
    #[must_use]
    pub fn removing(mut self, headers: &[String], prefixes: &[String]) -> Self {
        let lower = |text: &String| text.to_ascii_lowercase();
        self.proxy_headers.extend(headers.iter().map(lower));
        self.proxy_prefixes.extend(prefixes.iter().map(lower));
        self
    }

    /// `None` for a request that goes on, else the refusal.
    async fn ask(&self, request: &mut ApiRequest, began: Instant) -> Option<ApiResponse> {
        let (result, refused) = match self.authenticator.authenticate(&mut request.ctx).await {
            Ok(Some(found)) => {
                self.accept(&mut request.ctx, began, &found);
                return None;
            }
            Ok(None) => {
                let refused = Refused::of(
                    Refusal::NoCredentials,
                    "nothing was sent that this server understands, and anonymous requests are off",
                );
                ("failure", refused)
            }
            Err(refused) => {
                tracing::debug!(reason = %refused.reason, "unable to authenticate the request");
                ("error", refused)
            }
        };
        let stages = &mut request.ctx.stages;
        let took = stages.end_timed("authentication", began, "denied", refused.because());
        self.attempts.note(result, took);
        if let Some((key, value)) = refused.annotation {
            request.ctx.audit.annotate(key, value);
        }
        Some(self.refuse(request).await)
    }

    fn accept(&self, ctx: &mut RequestContext, began: Instant, found: &Authenticated) {
        let stages = &mut ctx.stages;
        let took = stages.end_timed("authentication", began, "ok", found.method);
        self.attempts.note("success", took);
        self.count_user(&found.user.username);
        bearer::remove(ctx);
        self.remove_proxy_headers(ctx);
        for (key, value) in found.annotations.iter() {
            ctx.audit.annotate(*key, value.clone());
        }
        for warning in found.warnings.iter() {
            ctx.warn(warning.clone());
        }
        ctx.authenticated_by = Some(found.method);
        ctx.user = Some(found.user.clone());
    }

    fn remove_proxy_headers(&self, ctx: &mut RequestContext) {
        let is_proxy_header = |name: &&HeaderName| {
            let name = name.as_str();
            self.proxy_headers.iter().any(|h| h == name)
                || self
                    .proxy_prefixes
                    .iter()
                    .any(|p| name.starts_with(p.as_str()))
        };
        if !ctx.headers.keys().any(|name| is_proxy_header(&name)) {
            return;
        }
        let unwanted: Vec<HeaderName> = ctx
            .headers
            .keys()
            .filter(is_proxy_header)
            .cloned()
            .collect();
        for name in unwanted {
            ctx.headers.remove(name);
        }
    }

    async fn refuse(&self, request: &mut ApiRequest) -> ApiResponse {
        let response = status_response(&mut request.ctx, &Status::unauthorized());
        if let Some(recorder) = &self.recorder {
            recorder
                .record_failed_authentication(&mut request.ctx)
                .await;
        }
        response
    }

    fn count_user(&self, username: &str) {
        let (names, _) = SHOWN_USERS.split_at(5);
        let label = match username {
            name if names.contains(&name) => name,
            name if name.contains('@') => "email_id",
            _ => "other",
        };
        self.users.inc(label);
    }
}

impl Filter for Authentication {
    fn name(&self) -> &'static str {
        "authentication"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        let began = request.ctx.stages.begin("authentication");
        match self.authenticator.at_once(&request.ctx) {
            Some(found) => {
                self.accept(&mut request.ctx, began, &found);
                Step::Pass
            }
            None => Step::Wait(Box::pin(self.ask(request, began))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::token_file::TokenFile;
    use crate::authentication::union::{Anonymous, RequestAuthenticator};
    use crate::filters::{Endpoint, Next};
    use async_trait::async_trait;
    use http::header::AUTHORIZATION;
    use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

    struct Who;

    #[async_trait]
    impl Endpoint for Who {
        async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
            assert!(request.ctx.headers.is_empty(), "credentials are removed");
            ApiResponse::text(StatusCode::OK, request.ctx.user().username.clone())
        }
    }

    #[tokio::test]
    async fn accepts_and_refuses() {
        let tokens = TokenFile::parse("t,alice,1", Vec::new()).expect("a token file");
        let filters: Vec<Box<dyn Filter>> = vec![Box::new(Authentication::new(
            Arc::new(RequestAuthenticator {
                by_connection: Vec::new(),
                tokens: Some(Arc::new(tokens)),
                anonymous: Anonymous::On,
            }),
            Metrics::new(&[]),
        ))];
        for (token, code) in [("Bearer t", 200), ("Bearer x", 401)] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(token));
            headers.insert("x-remote-user", HeaderValue::from_static("admin"));
            headers.insert("x-remote-extra-a", HeaderValue::from_static("b"));
            let ctx = RequestContext::new(Method::GET, Uri::from_static("/"), headers, None);
            let mut request = ApiRequest::new(ctx, axum::body::Body::empty());
            let response = Next::new(&filters, &Who).run(&mut request).await;
            assert_eq!(response.status, code);
            assert_eq!(request.ctx.stages.stages().len(), 1);
            assert_eq!(request.ctx.user.is_some(), code == 200);
        }
    }
}
