//! Endpoints: router, discovery, OpenAPI, negotiation and one handler per verb.
//!
//! [`Endpoints`] stands behind the last filter. A request either names a resource, and goes through
//! [`router`] to a handler, or a plain path, which discovery or a [`Mount`] answers.
//!
//! # Invariants
//! - No handler knows a kind; subresources with a meaning of their own (scale, eviction, token, …)
//!   say so in their column `special`.

pub mod discovery;
pub mod handlers;
pub mod openapi;
pub mod openid;
pub mod proxy;
pub mod render;
pub mod router;
pub mod version;
pub mod websocket;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::ACCEPT;

use crate::api::status::Status;
use crate::authorization::Authorizer;
use crate::base::tree::Value;
use crate::registry::Registry;
use crate::request::negotiate::status_response;
use crate::request::{ApiRequest, ApiResponse, Endpoint, RequestContext, RequestInfo};
use crate::telemetry::Metrics;
use router::{NoRoute, Route, Verb};

/// Something else that answers requests: plain paths, and rows that are mounted (their objects are
/// computed, not stored). Requests for rows have passed the router.
#[async_trait]
pub trait Mount: Send + Sync {
    /// Whether the request is for this mount.
    fn serves(&self, info: &RequestInfo) -> bool;

    /// Answers it.
    async fn handle(&self, request: &mut ApiRequest) -> ApiResponse;

    /// Fills in the answer of an object that is created to be answered, not stored.
    async fn review(&self, _: &mut RequestContext, _: &mut Value) -> Result<(), Status> {
        Err(Status::no_such_resource())
    }
}

/// What handlers need.
pub struct Endpoints {
    /// The registry.
    pub registry: Arc<Registry>,
    /// Discovery documents.
    pub discovery: discovery::Discovery,
    /// OpenAPI documents.
    pub openapi: openapi::OpenApi,
    /// Asked again where a write turns out to create (PUT and apply).
    pub authorizer: Arc<dyn Authorizer>,
    /// Who answers reviews and token requests.
    pub reviewers: handlers::review::Reviewers,
    /// Other handlers: asked first about plain paths, and about rows that are mounted.
    pub mounts: Vec<Box<dyn Mount>>,
    /// Least time after which a watch without `timeoutSeconds` ends.
    pub min_request_timeout: Duration,
    /// Reaches kubelets and endpoints.
    pub proxy: proxy::Proxy,
    /// Where deprecated requests are counted.
    pub metrics: Arc<Metrics>,
    /// When the server stops; watches end then.
    pub shutdown: tokio_util::sync::CancellationToken,
}

#[async_trait]
impl Endpoint for Endpoints {
    async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
        if !request.ctx.info.is_resource {
            return match self.mount(&request.ctx.info) {
                Some(mount) => mount.handle(request).await,
                None => self.plain_path(request).await,
            };
        }
        let table = self.registry.table().load();
        let ctx = &mut request.ctx;
        match router::route(&table, &ctx.method, &ctx.info) {
            Err(NoRoute::Unknown) => router::page_not_found(),
            Err(NoRoute::Status(status)) => status_response(ctx, &status),
            Ok(route) => self.dispatch(request, route).await,
        }
    }
}

impl Endpoints {
    fn mount(&self, info: &RequestInfo) -> Option<&dyn Mount> {
        let found = self.mounts.iter().find(|m| m.serves(info));
        found.map(|mount| &**mount)
    }

    /// The mount of a row that needs one.
    pub(crate) fn mount_of_row(&self, info: &RequestInfo) -> Result<&dyn Mount, Status> {
        self.mount(info).ok_or_else(|| {
            // Its part could not be started; the log says why.
            Status::service_unavailable("what answers this resource is not running")
        })
    }

    async fn plain_path(&self, request: &mut ApiRequest) -> ApiResponse {
        let table = self.registry.table().load();
        let ctx = &mut request.ctx;
        if let Some(response) = self.openapi.handle(ctx, &table) {
            return response;
        }
        match self.discovery.handle(ctx, &table) {
            Some(Ok(response)) => render::compress(ctx, response).await,
            Some(Err(status)) => status_response(ctx, &status),
            None => router::page_not_found(),
        }
    }

    async fn dispatch(&self, request: &mut ApiRequest, route: Route) -> ApiResponse {
        let Route { target, verb } = route;
        self.note_deprecation(&mut request.ctx, &target);
        let result = match self.router_refuses(request, verb) {
            Some(status) => Err(status),
            None => self.call(request, &target, verb).await,
        };
        match result {
            Ok(response) => render::compress(&request.ctx, response).await,
            Err(status) => status_response(&mut request.ctx, &status),
        }
    }

    /// Tells the client, the record and the metrics that a deprecated version was asked for.
    fn note_deprecation(&self, ctx: &mut RequestContext, target: &crate::registry::Target) {
        let row = &target.resource;
        let Some(text) = row.quirks.deprecation else {
            return;
        };
        ctx.warn(text);
        ctx.audit.annotate("k8s.io/deprecated", "true");
        self.metrics
            .apiserver_requested_deprecated_apis
            .with_label_values(&[
                &*row.group,
                "",
                &*row.plural,
                &target.subresource,
                &*row.version,
            ])
            .set(1);
    }

    async fn call(
        &self,
        request: &mut ApiRequest,
        target: &crate::registry::Target,
        verb: Verb,
    ) -> Result<ApiResponse, Status> {
        use handlers::*;
        if target.resource.mounted && verb != Verb::Create {
            return Ok(self.mount_of_row(&request.ctx.info)?.handle(request).await);
        }
        // The others' futures in boxes: what reads need would otherwise be as large as the largest.
        match verb {
            Verb::Get => get::get(self, request, target).await,
            Verb::List => list::list(self, request, target).await,
            Verb::Watch => Box::pin(watch::watch(self, request, target)).await,
            Verb::Create => Box::pin(create::create(self, request, target)).await,
            Verb::Update => Box::pin(update::update(self, request, target)).await,
            Verb::Patch => Box::pin(patch::patch(self, request, target)).await,
            Verb::Delete => Box::pin(delete::delete(self, request, target)).await,
            Verb::DeleteCollection => {
                Box::pin(delete_collection::delete_collection(self, request, target)).await
            }
            Verb::Connect => Box::pin(connect::connect(self, request, target)).await,
        }
    }

    /// What the router itself refuses, before any handler: media types it has no route for.
    fn router_refuses(&self, request: &ApiRequest, verb: Verb) -> Option<Status> {
        use crate::request::negotiate::{router_accepts, router_not_acceptable};
        const OBJECT: &[&str] = &[
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
        ];
        const COLLECTION: &[&str] = &[
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
            "application/json;stream=watch",
            "application/vnd.kubernetes.protobuf;stream=watch",
        ];
        if verb == Verb::Connect {
            return None;
        }
        let produces = if matches!(verb, Verb::List | Verb::Watch) {
            COLLECTION
        } else {
            OBJECT
        };
        let accept = request.ctx.header(ACCEPT).unwrap_or("");
        if !router_accepts(accept, produces) {
            return Some(router_not_acceptable(produces));
        }
        if verb == Verb::Patch && handlers::patch::patch_type(&request.ctx).is_none() {
            let mut status = Status::unsupported_media_type("415: Unsupported Media Type");
            status.details = Some(Box::default());
            let sent = request.ctx.header("content-type").unwrap_or("");
            return Some(status.because(format!("media-type: {sent:?} was sent")));
        }
        None
    }
}
