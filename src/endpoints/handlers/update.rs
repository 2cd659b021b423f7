//! PUT.

use http::StatusCode;

use crate::api::options::{WriteOptions, WriteVerb};
use crate::api::status::Status;
use crate::authorization::Verdict;
use crate::base::tree::Value;
use crate::endpoints::handlers::create::note_options;
use crate::endpoints::handlers::{body, scale};
use crate::endpoints::{Endpoints, render};
use crate::registry::{Target, Transform, Update, meta};
use crate::request::{ApiRequest, ApiResponse, Attributes, RequestContext};

/// Updates an object or its status; other subresources have their own rules.
pub async fn update(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let negotiated = render::negotiate(&request.ctx, target)?;
    body::content_encoding(&request.ctx, target.resource.custom)?;
    let bytes = body::read(request).await?;
    let ctx = &mut request.ctx;
    let options = WriteOptions::from_query(ctx.uri.query().unwrap_or(""), WriteVerb::Update)?;
    note_options(ctx, &options);
    let table = endpoints.registry.table().load();
    if target.subresource == "scale" {
        return scale::update_scale(endpoints, ctx, target, &bytes, negotiated, &options).await;
    }
    let mut object = body::object(ctx, &table, target, &bytes, options.field_validation)?;
    check_identity(&mut object, target)?;
    let creates = target.resource.allow_create_on_update && target.subresource.is_empty();
    if creates {
        may_create(endpoints, ctx, target).await?;
    }
    let uid = meta::text(&object, "uid");
    let written = endpoints
        .registry
        .update(
            ctx,
            target,
            Update {
                precondition_uid: (!uid.is_empty()).then(|| uid.to_string()),
                transform: Box::new(move |_| {
                    Ok(Transform {
                        object: object.clone(),
                        warnings: Vec::new(),
                    })
                }),
                creates,
                options: &options,
            },
        )
        .await?;
    let code = if written.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    render::written(ctx, target, negotiated, code, &written)
}

/// The object's name and namespace must be those of the URL; an empty namespace is filled.
pub fn check_identity(object: &mut Value, target: &Target) -> Result<(), Status> {
    let name = meta::name(object);
    if name.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            target.name
        )));
    }
    if name != target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    let namespace = meta::namespace(object);
    if !namespace.is_empty() && !target.namespace.is_empty() && namespace != target.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    meta::set_text(object, "namespace", &target.namespace);
    Ok(())
}

/// A write that may create needs the `create` permission if the object is not there.
pub async fn may_create(
    endpoints: &Endpoints,
    ctx: &RequestContext,
    target: &Target,
) -> Result<(), Status> {
    if endpoints.registry.exists(target).await? {
        return Ok(());
    }
    let user = ctx.user();
    let mut attributes = Attributes::of(&ctx.info, &user);
    attributes.verb = "create";
    let decision = endpoints.authorizer.authorize(&attributes).await;
    if decision.verdict == Verdict::Allow {
        return Ok(());
    }
    Err(crate::authorization::refusal::forbidden(
        &attributes,
        &decision.reason,
    ))
}
