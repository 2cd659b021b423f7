//! GET of one object: cached bytes, as they are, unless the client asked for another form.

use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;

use crate::api::status::Status;
use crate::endpoints::handlers::special;
use crate::endpoints::{Endpoints, render};
use crate::registry::{ReadVersion, Target};
use crate::request::negotiate::{Encoding, Negotiated};
use crate::request::{ApiRequest, ApiResponse, AuditLevel, Body, RequestContext};
use crate::storage::cacher::CachedObject;

/// Answers one object.
pub async fn get(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    if target.resource.special(&target.subresource).is_some() {
        return Box::pin(special::get(endpoints, request, target)).await;
    }
    let ctx = &mut request.ctx;
    let negotiated = render::negotiate(ctx, target)?;
    let version = match ctx.query_value("resourceVersion").as_deref() {
        None | Some("") => ReadVersion::Latest,
        Some(text) => ReadVersion::parse_get(text)?,
    };
    let began = ctx.stages.begin("cache/get");
    let found = endpoints.registry.get(target, version).await;
    end_read(ctx, "cache/get", began, version, found.as_ref().err());
    let cached = found?;
    if is_plain(negotiated) && !needs_conversion(target) {
        return Ok(plain(ctx, &cached));
    }
    let object = endpoints.registry.cached_tree(&cached, &target.resource)?;
    render::object(ctx, target, negotiated, StatusCode::OK, &object)
}

/// Ends the stage of a read from the watch cache. Most of its time is the wait for the asked
/// freshness, so a success says which that was; an error says what is behind it.
pub fn end_read(
    ctx: &mut RequestContext,
    stage: &'static str,
    began: Instant,
    version: ReadVersion,
    error: Option<&Status>,
) {
    let stages = &mut ctx.stages;
    match error {
        None => stages.end(stage, began, "ok", version.as_str()),
        Some(status) if status.code == 404 => stages.end(stage, began, "none", ""),
        Some(status) => {
            let because = status.because.clone().unwrap_or_default();
            stages.end(stage, began, "error", because.into_string());
        }
    }
}

/// Whether the client takes the cached bytes as they are.
pub fn is_plain(negotiated: Negotiated) -> bool {
    negotiated.encoding == Encoding::Json && !negotiated.pretty && negotiated.transform.is_none()
}

/// Whether the requested version is not the stored one.
pub fn needs_conversion(target: &Target) -> bool {
    let row = &target.resource;
    row.version != row.storage_version.version || row.group != row.storage_version.group
}

fn plain(ctx: &mut RequestContext, cached: &CachedObject) -> ApiResponse {
    let json = cached.json();
    if ctx.audit.level >= AuditLevel::RequestResponse {
        ctx.audit.response_object = Some(json.clone());
    }
    let mut response = ApiResponse::new(StatusCode::OK, "application/json", Bytes::new());
    response.body = Body::Segments(vec![json, Bytes::from_static(b"\n")]);
    response
}
