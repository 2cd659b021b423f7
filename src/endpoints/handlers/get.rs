//! GET of one object: cached bytes, as they are, unless the client asked for another form.

use bytes::Bytes;
use http::StatusCode;

use crate::api::status::Status;
use crate::endpoints::handlers::special;
use crate::endpoints::{Endpoints, render};
use crate::registry::{ReadVersion, Target};
use crate::request::negotiate::{Encoding, Negotiated};
use crate::request::{ApiRequest, ApiResponse, AuditLevel, Body};
use crate::storage::cacher::CachedObject;

/// Answers one object.
pub async fn get(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    if target.resource.storage_prefix.is_empty() || target.subresource == "scale" {
        return special::get(endpoints, request, target).await;
    }
    let ctx = &mut request.ctx;
    let negotiated = render::negotiate(ctx, target)?;
    let version = match ctx.query_value("resourceVersion").as_deref() {
        None | Some("") => ReadVersion::Latest,
        Some(text) => ReadVersion::parse_get(text)?,
    };
    let began = ctx.stages.begin("cache/get");
    let found = endpoints.registry.get(target, version).await;
    ctx.stages.end(
        "cache/get",
        began,
        if found.is_ok() { "ok" } else { "error" },
        "",
    );
    let cached = found?;
    if is_plain(negotiated) && !needs_conversion(target) {
        return Ok(plain(ctx, &cached));
    }
    let object = endpoints.registry.cached_tree(&cached, &target.resource)?;
    render::object(ctx, target, negotiated, StatusCode::OK, &object)
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

fn plain(ctx: &mut crate::request::RequestContext, cached: &CachedObject) -> ApiResponse {
    let json = cached.json();
    if ctx.audit.level >= AuditLevel::RequestResponse {
        ctx.audit.response_object = Some(json.clone());
    }
    let mut response = ApiResponse::new(StatusCode::OK, "application/json", Bytes::new());
    response.body = Body::Segments(vec![json, Bytes::from_static(b"\n")]);
    response
}
