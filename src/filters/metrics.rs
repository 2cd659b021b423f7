//! Request metrics: one of the renderings of the request's record, made when the request ends
//! (for streams: when the stream ends).
//!
//! Label values follow contract/metrics.md. Resources that no route knows are counted without
//! their names, so that a client cannot make series at will.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::Stream;
use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::Filter;
use crate::request::{
    ApiRequest, ApiResponse, Body, ByteStream, RequestContext, RequestInfo, Slices,
};
use crate::telemetry::{Histogram, Metrics, RequestLabels, RequestSeries};

/// Whether a (group, version, resource) is served.
pub type KnownResource = Arc<dyn Fn(&str, &str, &str) -> bool + Send + Sync>;

/// The filter.
pub struct RequestMetrics {
    metrics: Arc<Metrics>,
    known: KnownResource,
    filters: [(&'static str, Histogram); 5],
}

/// Stage names and what upstream calls the filter in `apiserver_request_filter_duration_seconds`.
const TIMED_FILTERS: [(&str, &str); 5] = [
    ("authentication", "authentication"),
    ("audit", "audit"),
    ("impersonation", "impersonation"),
    ("flow-control", "priorityandfairness"),
    ("authorization", "authorization"),
];

impl RequestMetrics {
    /// Records into `metrics`, with the names of resources that `known` knows.
    pub fn new(metrics: Arc<Metrics>, known: KnownResource) -> Self {
        let filters = TIMED_FILTERS.map(|(stage, filter)| {
            let histogram = metrics
                .apiserver_request_filter_duration_seconds
                .with_label_values(&[filter]);
            (stage, histogram)
        });
        RequestMetrics {
            metrics,
            known,
            filters,
        }
    }

    fn labels<'a>(&self, ctx: &'a RequestContext) -> RequestLabels<'a> {
        let info = &ctx.info;
        let served = info.is_resource && (self.known)(&info.group, &info.version, &info.resource);
        let named = |text: &'a str| if served { text } else { "" };
        RequestLabels {
            component: if served { "apiserver" } else { "" },
            dry_run: dry_run(ctx),
            group: named(&info.group),
            version: named(&info.version),
            resource: named(&info.resource),
            subresource: match served {
                true => &info.subresource,
                false => plain_path(info),
            },
            scope: if served { scope(info) } else { "" },
            verb: verb(ctx),
        }
    }

    /// What the stages say: filters, storage operations.
    fn record_stages(&self, ctx: &RequestContext, labels: &RequestLabels<'_>) {
        for stage in ctx.stages.stages() {
            let name: &str = &stage.name;
            if let Some((_, histogram)) = self.filters.iter().find(|(n, _)| *n == name) {
                histogram.observe(stage.duration.as_secs_f64());
            } else if let Some(operation) = name.strip_prefix("store/") {
                self.record_store(operation, &stage.outcome, stage.duration, labels);
            }
        }
    }

    fn record_store(
        &self,
        operation: &str,
        outcome: &str,
        took: Duration,
        labels: &RequestLabels<'_>,
    ) {
        let values = [labels.group, operation, labels.resource];
        let metrics = &self.metrics;
        metrics.etcd_requests_total.with_label_values(&values).inc();
        metrics
            .etcd_request_duration_seconds
            .with_label_values(&values)
            .observe(took.as_secs_f64());
        if matches!(outcome, "error" | "unavailable" | "timeout") {
            metrics
                .etcd_request_errors_total
                .with_label_values(&values)
                .inc();
        }
    }

    fn record_write(&self, ctx: &RequestContext, labels: &RequestLabels<'_>) {
        if labels.resource.is_empty() || !matches!(labels.verb, "POST" | "PUT" | "PATCH" | "APPLY")
        {
            return;
        }
        let length = ctx.headers.get(CONTENT_LENGTH);
        if let Some(bytes) = length.and_then(|v| v.to_str().ok()?.parse::<f64>().ok()) {
            self.metrics
                .apiserver_request_body_size_bytes
                .with_label_values(&[labels.group, labels.resource, &ctx.info.verb])
                .observe(bytes);
        }
        let validation = match ctx.query().contains("fieldValidation=") {
            true => ctx.query_value("fieldValidation"),
            false => None,
        };
        let validation = match validation.as_deref() {
            Some("Strict") => "Strict",
            Some("Ignore") => "Ignore",
            _ => "Warn",
        };
        self.metrics
            .field_validation_request_duration_seconds
            .with_label_values(&[validation])
            .observe(ctx.stages.elapsed().as_secs_f64());
    }
}

impl Filter for RequestMetrics {
    fn name(&self) -> &'static str {
        "request-metrics"
    }

    fn after(&self, request: &mut ApiRequest, response: &mut ApiResponse) {
        let ctx = &request.ctx;
        let labels = self.labels(ctx);
        self.record_stages(ctx, &labels);
        self.record_write(ctx, &labels);
        let code = response.status.as_u16();
        response.body = match std::mem::take(&mut response.body) {
            Body::Stream(stream) => Body::Stream(Box::pin(Measured::new(
                stream,
                self.metrics.clone(),
                &labels,
                ctx.stages.started(),
                code,
                ctx.info.is_long_running(),
            ))),
            Body::Switching(tunnel) => {
                let nothing = Box::pin(futures::stream::empty());
                let started = ctx.stages.started();
                let measured = Measured::new(
                    nothing,
                    self.metrics.clone(),
                    &labels,
                    started,
                    code,
                    ctx.info.is_long_running(),
                );
                Body::Switching(Box::pin(async move {
                    let _measured = measured;
                    tunnel.await;
                }))
            }
            body => {
                let elapsed = ctx.stages.elapsed();
                let foreign = ctx.stages.total("flow-control")
                    + ctx.stages.total("mutating-webhook")
                    + ctx.stages.total("validating-webhook");
                let own = elapsed.saturating_sub(foreign);
                self.metrics
                    .record_request(&labels, code, elapsed, own, length(&body));
                body
            }
        };
    }
}

fn length(body: &Body) -> u64 {
    match body {
        Body::Segments(segments) => segments.iter().map(|s| s.len() as u64).sum(),
        _ => 0,
    }
}

/// Upstream's `verb` label.
pub fn verb(ctx: &RequestContext) -> &'static str {
    let info = &ctx.info;
    if info.is_resource {
        if info.verb == "proxy" {
            return "PROXY";
        }
        if matches!(
            info.subresource.as_str(),
            "log" | "exec" | "attach" | "portforward" | "proxy"
        ) {
            return "CONNECT";
        }
        if info.verb == "watch" {
            return "WATCH";
        }
        if info.verb == "deletecollection" {
            return "DELETECOLLECTION";
        }
    }
    match ctx.method {
        // A list that names one object by field selector is a list none the less.
        Method::GET | Method::HEAD if info.verb == "list" => "LIST",
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH if is_apply(ctx) => "APPLY",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn is_apply(ctx: &RequestContext) -> bool {
    let content_type = ctx.headers.get(CONTENT_TYPE).map(|v| v.as_bytes());
    content_type.is_some_and(|v| v.starts_with(b"application/apply-patch+"))
}

/// Upstream's `scope` label.
pub fn scope(info: &RequestInfo) -> &'static str {
    if !info.is_resource {
        return "";
    }
    if !info.name.is_empty() || info.verb == "create" {
        return "resource";
    }
    if !info.namespace.is_empty() {
        return "namespace";
    }
    "cluster"
}

fn dry_run(ctx: &RequestContext) -> &'static str {
    if !ctx.query().contains("dryRun=") {
        return "";
    }
    match ctx.query_value("dryRun").as_deref() {
        Some("All") => "All",
        None | Some("") => "",
        Some(_) => "invalid",
    }
}

/// The paths of plain endpoints that get a label of their own.
fn plain_path(info: &RequestInfo) -> &'static str {
    const PATHS: [&str; 9] = [
        "/healthz",
        "/livez",
        "/readyz",
        "/metrics",
        "/version",
        "/openapi/v2",
        "/openapi/v3",
        "/api",
        "/apis",
    ];
    let path = info.path.trim_end_matches('/');
    PATHS
        .into_iter()
        .find(|known| {
            path.strip_prefix(known)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .unwrap_or("")
}

/// A streamed body that is recorded when it ends or is dropped.
struct Measured {
    inner: ByteStream,
    metrics: Arc<Metrics>,
    series: Arc<RequestSeries>,
    labels: OwnedLabels,
    started: Instant,
    code: u16,
    long_running: bool,
    bytes: u64,
}

/// Labels that outlive the request.
struct OwnedLabels {
    component: String,
    dry_run: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: String,
    verb: String,
}

impl Measured {
    fn new(
        inner: ByteStream,
        metrics: Arc<Metrics>,
        labels: &RequestLabels<'_>,
        started: Instant,
        code: u16,
        long_running: bool,
    ) -> Self {
        let series = metrics.request_series(labels);
        if long_running {
            series.long_running(&metrics).inc();
        }
        Measured {
            inner,
            series,
            labels: OwnedLabels {
                component: labels.component.to_string(),
                dry_run: if labels.dry_run == "All" { "All" } else { "" },
                group: labels.group.to_string(),
                version: labels.version.to_string(),
                resource: labels.resource.to_string(),
                subresource: labels.subresource.to_string(),
                scope: labels.scope.to_string(),
                verb: labels.verb.to_string(),
            },
            metrics,
            started,
            code,
            long_running,
            bytes: 0,
        }
    }
}

impl Stream for Measured {
    type Item = std::io::Result<Slices>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            self.bytes += bytes.len() as u64;
        }
        polled
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if self.long_running {
            self.series.long_running(&self.metrics).dec();
        }
        let l = &self.labels;
        let labels = RequestLabels {
            component: &l.component,
            dry_run: l.dry_run,
            group: &l.group,
            version: &l.version,
            resource: &l.resource,
            subresource: &l.subresource,
            scope: &l.scope,
            verb: &l.verb,
        };
        let elapsed = self.started.elapsed();
        self.metrics
            .record_request(&labels, self.code, elapsed, elapsed, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Uri};

    #[test]
    fn verbs_and_scopes() {
        for (method, uri, want) in [
            (Method::GET, "/api/v1/pods", ("LIST", "cluster")),
            (Method::GET, "/api/v1/pods?watch=1", ("WATCH", "cluster")),
            (
                Method::GET,
                "/api/v1/namespaces/a/pods/p",
                ("GET", "resource"),
            ),
            (
                Method::HEAD,
                "/api/v1/namespaces/a/pods",
                ("LIST", "namespace"),
            ),
            (
                Method::POST,
                "/api/v1/namespaces/a/pods",
                ("POST", "resource"),
            ),
            (
                Method::DELETE,
                "/api/v1/namespaces/a/pods",
                ("DELETECOLLECTION", "namespace"),
            ),
            (
                Method::GET,
                "/api/v1/namespaces/a/pods/p/log",
                ("CONNECT", "resource"),
            ),
            (Method::GET, "/healthz", ("GET", "")),
            (Method::OPTIONS, "/api/v1/pods", ("other", "cluster")),
        ] {
            let uri: Uri = uri.parse().expect("a URI");
            let mut ctx = RequestContext::new(method.clone(), uri, HeaderMap::new(), None);
            ctx.info = RequestInfo::parse(&method, ctx.uri.path(), ctx.query()).expect("a path");
            assert_eq!((verb(&ctx), scope(&ctx.info)), want, "{method} {}", ctx.uri);
        }
    }
}
