//! PATCH: JSON Patch, merge patch, strategic merge patch and server-side apply.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::api::options::{FieldValidation, WriteOptions, WriteVerb};
use crate::api::patch::{Patch, PatchType};
use crate::api::schema::{self, DecodeError, Format, Schema};
use crate::api::status::Status;
use crate::endpoints::handlers::create::note_options;
use crate::endpoints::handlers::update::{check_identity, may_create};
use crate::endpoints::handlers::{apply, body, special};
use crate::endpoints::{Endpoints, render};
use crate::registry::{Target, Transform, Update};
use crate::request::{ApiRequest, ApiResponse, AuditLevel, RequestContext};

/// The type of the request's patch; `None` when it is not one.
pub fn patch_type(ctx: &RequestContext) -> Option<PatchType> {
    let header = ctx.header("content-type").unwrap_or("");
    PatchType::of(header.split(';').next().unwrap_or("").trim())
}

/// Patches an object or a subresource of it.
pub async fn patch(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let kind = patch_type(&request.ctx)
        .ok_or_else(|| Status::unsupported_media_type("415: Unsupported Media Type"))?;
    if target.resource.custom && kind == PatchType::Strategic {
        return Err(Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ));
    }
    let negotiated = render::negotiate(&request.ctx, target)?;
    let bytes = body::read(request).await?;
    let ctx = &mut request.ctx;
    if ctx.audit.level >= AuditLevel::Request {
        ctx.audit.request_object = Some(bytes.clone());
    }
    let verb = WriteVerb::Patch {
        apply: kind == PatchType::Apply,
    };
    let options = WriteOptions::from_query(ctx.uri.query().unwrap_or(""), verb)?;
    note_options(ctx, &options);
    if kind == PatchType::Apply {
        may_create(endpoints, ctx, target).await?;
        return apply::apply(endpoints, ctx, target, &bytes, negotiated, &options).await;
    }
    if target.subresource == "scale" {
        return special::patch_scale(endpoints, ctx, target, kind, &bytes, negotiated, &options)
            .await;
    }
    let patch = Patch::parse(kind, &bytes)?;
    let written = endpoints
        .registry
        .update(
            ctx,
            target,
            Update {
                transform: Box::new(|old| {
                    let old = old.ok_or_else(|| {
                        Status::not_found(&target.resource.group_resource(), &target.name)
                    })?;
                    patched(target, old, &patch, &options)
                }),
                precondition_uid: None,
                creates: false,
                options: &options,
            },
        )
        .await?;
    let code = if written.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    render::object(ctx, target, negotiated, code, &written.object)
}

/// The object that a patch makes of `old`, decoded as a body would be.
fn patched(
    target: &Target,
    old: &Value,
    patch: &Patch,
    options: &WriteOptions,
) -> Result<Transform, Status> {
    let schema = schema_of(target);
    let raw = patch.apply(old, schema)?;
    let (mut object, warnings) = decode_patched(target, &raw, schema, options.field_validation)?;
    check_identity(&mut object, target)?;
    target.default(&mut object);
    Ok(Transform { object, warnings })
}

/// The schema of the target's kind.
pub fn schema_of(target: &Target) -> Option<&'static Schema> {
    if target.resource.custom {
        return None;
    }
    schema::builtin(&target.resource.group_version_kind())
}

/// Decodes the result of a patch; its problems are those of the patch.
pub fn decode_patched(
    target: &Target,
    raw: &Value,
    schema: Option<&Schema>,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let bytes = Bytes::from(serde_json::to_vec(raw).unwrap_or_default());
    let invalid = |error: &str| invalid_patch(&bytes, error);
    let row = &target.resource;
    let (kind, api_version) = (
        raw["kind"].as_str().unwrap_or(""),
        raw["apiVersion"].as_str().unwrap_or(""),
    );
    if kind != row.kind || api_version != row.group_version().to_string() {
        return Err(invalid(&format!(
            "no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )));
    }
    let decoded = schema::decode(&bytes, Format::Json, schema).map_err(|error| match error {
        DecodeError::Syntax(text) | DecodeError::Type(text) => invalid(&text),
    })?;
    let mut object = decoded.value;
    if let Some(schema) = schema {
        schema::normalise(&mut object, schema);
    }
    let problems = decoded.unknown_fields;
    match validation {
        FieldValidation::Ignore => Ok((object, Vec::new())),
        FieldValidation::Warn => Ok((object, problems)),
        FieldValidation::Strict if problems.is_empty() => Ok((object, problems)),
        FieldValidation::Strict => Err(invalid(&format!(
            "strict decoding error: {}",
            problems.join(", ")
        ))),
    }
}

/// 422 about the patch, worded as upstream words it: no kind, no name, the field is `patch`.
fn invalid_patch(bytes: &[u8], error: &str) -> Status {
    let mut errors = crate::api::field::FieldErrors::default();
    let text = String::from_utf8_lossy(bytes);
    errors.invalid_str(&crate::api::field::Path::ROOT.field("patch"), &text, error);
    Status::invalid(&crate::api::names::GroupKind::new("", ""), "", &errors)
}
