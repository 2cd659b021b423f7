//! PATCH: JSON Patch, merge patch, strategic merge patch and server-side apply.

use bytes::Bytes;
use http::StatusCode;
use serde::de::IgnoredAny;

use crate::api::names::{GroupVersion, GroupVersionKind};
use crate::api::options::{FieldValidation, WriteOptions, WriteVerb};
use crate::api::patch::{Patch, PatchType, fits_where};
use crate::api::schema::{self, DecodeError, Format, Schema, Touched, yaml};
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::endpoints::handlers::create::note_options;
use crate::endpoints::handlers::update::{check_identity, may_create};
use crate::endpoints::handlers::{apply, body, scale};
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
        ctx.audit.request_object = recorded(kind, &bytes);
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
        return scale::patch_scale(endpoints, ctx, target, kind, &bytes, negotiated, &options)
            .await;
    }
    // A missing object comes before a bad patch.
    let patch = Patch::parse(kind, &bytes);
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
                    let patch = patch.as_ref().map_err(Clone::clone)?;
                    patched(target, old, patch, &options)
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
    render::written(ctx, target, negotiated, code, &written)
}

/// The patch as events show it: the client's own bytes, YAML as JSON. What is neither has no place in
/// an event (contract/audit.md §4, note A).
fn recorded(kind: PatchType, bytes: &Bytes) -> Option<Bytes> {
    if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        return Some(bytes.clone());
    }
    match kind {
        PatchType::Apply => Some(Bytes::from(yaml::to_json(bytes).ok()?.json)),
        PatchType::Json | PatchType::Merge | PatchType::Strategic => None,
    }
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
    let row = &target.resource;
    let expected = (row.kind.as_ref(), row.group_version().to_string());
    let touched = match row.group_version() == row.storage_version {
        true => patch.touched(),
        // Conversion leaves it to this to bring everything into normal form.
        false => Touched::All,
    };
    let (mut object, warnings) = decode_patched(
        (patch, &touched),
        raw,
        schema,
        expected,
        options.field_validation,
    )?;
    check_identity(&mut object, target)?;
    target.default_where(&mut object, &touched);
    Ok(Transform { object, warnings })
}

/// The schema of the target's kind.
pub fn schema_of(target: &Target) -> Option<&'static Schema> {
    if target.resource.custom {
        return None;
    }
    schema::builtin(&target.resource.group_version_kind())
}

/// Decodes the result of a patch, which must be of the `expected` kind and apiVersion; its problems
/// are those of the patch, which touched these members.
pub fn decode_patched(
    (patch, touched): (&Patch, &Touched),
    mut raw: Value,
    schema: Option<&Schema>,
    expected: (&str, String),
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    type_meta(patch, &mut raw, schema, expected)?;
    let mut problems = patch.problems().to_vec();
    if validation == FieldValidation::Ignore {
        problems.clear();
    }
    let fitting = schema.filter(|schema| problems.is_empty() && fits_where(&raw, schema, touched));
    let object = match fitting {
        // The usual case: nothing to decode or to complain about.
        Some(schema) => {
            schema::normalise_where(&mut raw, schema, touched);
            return Ok((raw, problems));
        }
        None => {
            let bytes = Bytes::from(serde_json::to_vec(&raw).unwrap_or_default());
            let decoded =
                schema::decode(&bytes, Format::Json, schema).map_err(|error| match error {
                    DecodeError::Syntax(text) | DecodeError::Type(text) => {
                        patch.invalid(&raw, schema, &text)
                    }
                })?;
            problems.extend(decoded.unknown_fields);
            let mut object = decoded.value;
            if let Some(schema) = schema {
                schema::normalise(&mut object, schema);
            }
            object
        }
    };
    match validation {
        FieldValidation::Ignore => Ok((object, Vec::new())),
        FieldValidation::Strict if !problems.is_empty() => {
            let text = format!("strict decoding error: {}", problems.join(", "));
            Err(patch.invalid_strict(&raw, schema, &text))
        }
        FieldValidation::Warn | FieldValidation::Strict => Ok((object, problems)),
    }
}

/// A patch may remove what the kind is, but not change it.
fn type_meta(
    patch: &Patch,
    raw: &mut Value,
    schema: Option<&Schema>,
    (kind, api_version): (&str, String),
) -> Result<(), Status> {
    let text = |member: &str, default: &str| match raw[member].as_str() {
        None | Some("") => default.to_string(),
        Some(text) => text.to_string(),
    };
    let found = (text("kind", kind), text("apiVersion", &api_version));
    if found.0 != kind || found.1 != api_version {
        let gv = GroupVersion::parse(&found.1).unwrap_or_else(|| GroupVersion::new("", ""));
        let gvk = GroupVersionKind::new(gv.group, gv.version, found.0.clone());
        let error = match (schema::builtin(&gvk), GroupVersion::parse(&api_version)) {
            // The internal package of a group is called by the start of its name.
            (Some(other), Some(wanted)) => {
                let package = match wanted.group.split('.').next() {
                    None | Some("") => "core",
                    Some(package) => package,
                };
                let other = &other.go_type;
                let text =
                    format!("converting ({other}) to ({package}.{kind}): unknown conversion");
                return Err(patch.invalid(raw, schema, &text));
            }
            _ => format!(
                "no kind \"{}\" is registered for version \"{}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
                found.0, found.1
            ),
        };
        return Err(patch.invalid(raw, schema, &error));
    }
    raw["kind"] = Value::String(found.0);
    raw["apiVersion"] = Value::String(found.1);
    Ok(())
}
