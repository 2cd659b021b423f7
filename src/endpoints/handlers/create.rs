//! POST.

use http::StatusCode;

use crate::api::options::{WriteOptions, WriteVerb};
use crate::api::status::Status;
use crate::endpoints::handlers::{body, special};
use crate::endpoints::{Endpoints, render};
use crate::registry::{Target, meta};
use crate::request::{ApiRequest, ApiResponse};

/// Creates an object, or performs the subresource or virtual resource that takes a POST.
pub async fn create(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    if !target.subresource.is_empty() || target.resource.special.is_some() {
        return special::create(endpoints, request, target).await;
    }
    let negotiated = render::negotiate(&request.ctx, target)?;
    body::content_encoding(&request.ctx, target.resource.custom)?;
    let bytes = body::read(request).await?;
    let ctx = &mut request.ctx;
    let options = WriteOptions::from_query(ctx.uri.query().unwrap_or(""), WriteVerb::Create)?;
    note_options(ctx, &options);
    let table = endpoints.registry.table().load();
    let object = body::object(ctx, &table, target, &bytes, options.field_validation)?;
    let target = target.with_name(&target.namespace, meta::name(&object));
    let written = endpoints
        .registry
        .create(ctx, &target, object, &options)
        .await?;
    render::written(ctx, &target, negotiated, StatusCode::CREATED, &written)
}

/// Notes what the options say for the audit event.
pub fn note_options(ctx: &mut crate::request::RequestContext, options: &WriteOptions) {
    ctx.audit.dry_run = options.dry_run;
    ctx.audit.field_manager = options
        .has_field_manager
        .then(|| options.field_manager.clone());
}
