//! What stands behind the filters: health, metrics and debug paths, and the API behind them.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode};

use super::health::{Health, HealthEndpoint};
use super::index::index;
use crate::api::status::Status;
use crate::endpoints::router::page_not_found;
use crate::endpoints::version;
use crate::filters::Endpoint;
use crate::flowcontrol::{Dump, FlowControl};
use crate::registry::Registry;
use crate::request::negotiate::status_response;
use crate::request::{ApiRequest, ApiResponse};
use crate::telemetry::{METRICS_CONTENT_TYPE, Metrics};

const FLOW_CONTROL_PAGES: &str = "/debug/api_priority_and_fairness/";

/// The root router.
pub(super) struct Root {
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    /// Brings metrics up to date that are kept elsewhere.
    pub(super) before_scrape: Box<dyn Fn() + Send + Sync>,
    pub(super) profiling: bool,
    /// Whose table the index lists.
    pub(super) registry: Arc<Registry>,
    /// For its debug pages.
    pub(super) flow_control: Arc<dyn FlowControl>,
    /// Discovery and resources.
    pub(super) api: Arc<dyn Endpoint>,
}

impl Endpoint for Root {
    /// Written without the macro: a box around that of the API's would be one more for every request.
    fn handle<'a, 'b, 'c>(&'a self, request: &'b mut ApiRequest) -> BoxFuture<'c, ApiResponse>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        match request.ctx.info.is_resource {
            true => self.api.handle(request),
            false => Box::pin(self.plain_path(request)),
        }
    }
}

impl Root {
    async fn plain_path(&self, request: &mut ApiRequest) -> ApiResponse {
        if let Some(answer) = version::handle(&request.ctx) {
            return answer.unwrap_or_else(|status| status_response(&mut request.ctx, &status));
        }
        let path = request.ctx.info.path.as_str();
        if let Some((endpoint, rest)) = health_path(path) {
            let answer = self.health.answer(endpoint, rest, &request.ctx).await;
            return answer.unwrap_or_else(page_not_found);
        }
        match path {
            "/" | "/index.html" => index(&self.health, &self.registry.table().load()),
            "/metrics" => {
                (self.before_scrape)();
                metrics_text(self.metrics.render())
            }
            "/metrics/slis" => metrics_text(self.metrics.render_slis()),
            "/debug/pprof" | "/debug/pprof/" if self.profiling => pprof_index(),
            path if path.starts_with("/debug/pprof/") && self.profiling => {
                ApiResponse::text(StatusCode::NOT_FOUND, "Unknown profile\n")
            }
            path if path.starts_with(FLOW_CONTROL_PAGES) => self.flow_control_page(request).await,
            "/debug/flags/v" => verbosity_flag(request),
            "/statusz" | "/flagz" => z_page(request),
            _ => self.api.handle(request).await,
        }
    }

    async fn flow_control_page(&self, request: &mut ApiRequest) -> ApiResponse {
        let ctx = &request.ctx;
        let page = match ctx.info.path.strip_prefix(FLOW_CONTROL_PAGES) {
            Some("dump_priority_levels") => Some(Dump::PriorityLevels),
            Some("dump_queues") => Some(Dump::Queues),
            Some("dump_requests") => Some(Dump::Requests {
                details: ctx.query_value("includeRequestDetails").is_some(),
            }),
            _ => None,
        };
        match page.and_then(|page| self.flow_control.dump(page)) {
            Some(text) => ApiResponse::new(StatusCode::OK, "text/plain; charset=utf-8", text),
            None => self.api.handle(request).await,
        }
    }
}

fn health_path(path: &str) -> Option<(HealthEndpoint, &str)> {
    for endpoint in [
        HealthEndpoint::Healthz,
        HealthEndpoint::Livez,
        HealthEndpoint::Readyz,
    ] {
        let rest = path
            .strip_prefix('/')
            .and_then(|p| p.strip_prefix(endpoint.name()));
        if let Some(rest) = rest.filter(|r| r.is_empty() || r.starts_with('/')) {
            return Some((endpoint, rest));
        }
    }
    None
}

fn metrics_text(text: Vec<u8>) -> ApiResponse {
    ApiResponse::new(StatusCode::OK, METRICS_CONTENT_TYPE, text)
}

/// There is no Go runtime to profile; the page says where to look instead.
fn pprof_index() -> ApiResponse {
    ApiResponse::new(
        StatusCode::OK,
        "text/html; charset=utf-8",
        "<html><head><title>/debug/pprof/</title></head><body><p>Verbatim has no Go runtime, so \
         there are no Go profiles. See <a href=\"/metrics\">/metrics</a>.</p></body></html>\n",
    )
}

/// `PUT /debug/flags/v` sets the verbosity in kube-apiserver; here it is fixed at start.
fn verbosity_flag(request: &ApiRequest) -> ApiResponse {
    if request.ctx.method != Method::PUT {
        let mut response = ApiResponse::new(
            StatusCode::NOT_ACCEPTABLE,
            "text/plain",
            "unsupported http method\n",
        );
        response.headers.insert(
            "x-content-type-options",
            HeaderValue::from_static("nosniff"),
        );
        return response;
    }
    ApiResponse::text(
        StatusCode::BAD_REQUEST,
        "the verbosity is set at start, with -v\n",
    )
}

/// `/statusz` and `/flagz` exist upstream for clients that ask for their media types; this server
/// produces none of them.
fn z_page(request: &mut ApiRequest) -> ApiResponse {
    let status = Status::not_acceptable("only the following media types are accepted: text/plain");
    status_response(&mut request.ctx, &status)
}
