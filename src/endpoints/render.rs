//! Rendering of objects and lists in the negotiated form.

use std::io::Write;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::api::status::Status;
use crate::registry::Target;
use crate::registry::printers;
use crate::request::negotiate::{self, BUILT_IN, CUSTOM, Encoding, Negotiated, TransformKind};
use crate::request::{ApiResponse, AuditLevel, Body, RequestContext};

/// Answers above this size are compressed when the client accepts gzip.
const GZIP_BYTES_MIN: usize = 128 * 1024;

/// The encodings a row can be served in.
pub fn encodings(target: &Target) -> &'static [Encoding] {
    if target.resource.custom { CUSTOM } else { BUILT_IN }
}

/// Negotiates the form of an answer about `target`.
pub fn negotiate(ctx: &RequestContext, target: &Target) -> Result<Negotiated, Status> {
    negotiate::negotiate(ctx, encodings(target), true)
}

/// Answers one object, as a tree.
pub fn object(
    ctx: &mut RequestContext,
    target: &Target,
    negotiated: Negotiated,
    code: StatusCode,
    object: &Value,
) -> Result<ApiResponse, Status> {
    let began = ctx.stages.begin("encode");
    let transformed = transform_object(ctx, target, negotiated, object)?;
    let value = transformed.as_ref().unwrap_or(object);
    let bytes = encode(value, negotiated)?;
    note_response(ctx, value, &bytes, negotiated);
    ctx.stages.end("encode", began, "ok", "");
    Ok(ApiResponse::new(code, negotiated.encoding.media_type(), bytes))
}

/// Answers a success `Status` (deletes, evictions, bindings).
pub fn success(ctx: &mut RequestContext, negotiated: Negotiated, status: &Status) -> Result<ApiResponse, Status> {
    let value = status.to_json();
    let bytes = encode(&value, negotiated)?;
    note_response(ctx, &value, &bytes, negotiated);
    ctx.audit.response_status = Some(value);
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::OK);
    Ok(ApiResponse::new(code, negotiated.encoding.media_type(), bytes))
}

/// Encodes a tree.
pub fn encode(value: &Value, negotiated: Negotiated) -> Result<Bytes, Status> {
    if negotiated.encoding == Encoding::Protobuf {
        return crate::api::protobuf::encode(value)
            .ok_or_else(|| negotiate::not_acceptable(&[Encoding::Json, Encoding::Yaml]));
    }
    Ok(negotiate::encode(value, negotiated))
}

/// Keeps the response object for the audit event where the level asks for it.
fn note_response(ctx: &mut RequestContext, value: &Value, bytes: &Bytes, negotiated: Negotiated) {
    if ctx.audit.level < AuditLevel::RequestResponse {
        return;
    }
    let plain = negotiated.encoding == Encoding::Json && !negotiated.pretty;
    ctx.audit.response_object = Some(if plain {
        bytes.clone()
    } else {
        Bytes::from(serde_json::to_vec(value).unwrap_or_default())
    });
}

fn transform_object(ctx: &RequestContext, target: &Target, negotiated: Negotiated, object: &Value) -> Result<Option<Value>, Status> {
    let Some(transform) = negotiated.transform else { return Ok(None) };
    match transform.kind {
        TransformKind::Table => {
            let include = include_object(ctx)?;
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            let table = printers::table(&target.resource, std::slice::from_ref(object), metadata, include, transform.api_version);
            Ok(Some(table))
        }
        TransformKind::PartialObjectMetadata => Ok(Some(printers::partial_metadata(object, transform.api_version))),
        TransformKind::PartialObjectMetadataList => Err(Status::not_acceptable(format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list ({})",
            go_type(target)
        ))),
    }
}

/// The internal Go type upstream names in one message.
pub fn go_type(target: &Target) -> String {
    let group = target.resource.group.split('.').next().unwrap_or("");
    let package = if group.is_empty() { "core" } else { group };
    format!("*{package}.{}", target.resource.kind)
}

/// `includeObject` of Table requests.
pub fn include_object(ctx: &RequestContext) -> Result<printers::IncludeObject, Status> {
    match ctx.query_value("includeObject").as_deref() {
        None | Some("" | "Metadata") => Ok(printers::IncludeObject::Metadata),
        Some("None") => Ok(printers::IncludeObject::None),
        Some("Object") => Ok(printers::IncludeObject::Object),
        Some(other) => Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}"))),
    }
}

/// Compresses a large whole body when the client accepts gzip, off the async threads.
pub async fn compress(ctx: &RequestContext, mut response: ApiResponse) -> ApiResponse {
    let Body::Segments(segments) = &response.body else { return response };
    let size: usize = segments.iter().map(Bytes::len).sum();
    if size <= GZIP_BYTES_MIN || !accepts_gzip(ctx) {
        return response;
    }
    let segments = segments.clone();
    let compressed = tokio::task::spawn_blocking(move || gzip(&segments)).await;
    if let Ok(Ok(bytes)) = compressed {
        response.body = Body::Segments(vec![bytes]);
        response.headers.insert("content-encoding", HeaderValue::from_static("gzip"));
        response.headers.insert("vary", HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

fn accepts_gzip(ctx: &RequestContext) -> bool {
    let accept = ctx.header("accept-encoding").unwrap_or("");
    accept.split(',').any(|clause| clause.trim() == "gzip")
}

fn gzip(segments: &[Bytes]) -> std::io::Result<Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for segment in segments {
        encoder.write_all(segment)?;
    }
    Ok(Bytes::from(encoder.finish()?))
}
