//! Rendering of objects and lists in the negotiated form.

use std::io::Write;

use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderValue, StatusCode};

use crate::api::bytes::splice;
use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::endpoints::handlers::get::{is_plain, needs_conversion};
use crate::registry::printers::{self, IncludeObject, Printer, RowObject, TableWriter};
use crate::registry::{Target, Written};
use crate::request::negotiate::{self, BUILT_IN, CUSTOM, Encoding, Negotiated, TransformKind};
use crate::request::{ApiResponse, AuditLevel, Body, RequestContext};

/// Answers above this size are compressed when the client accepts gzip.
const GZIP_BYTES_MIN: usize = 128 * 1024;

/// The encodings a row can be served in.
pub fn encodings(target: &Target) -> &'static [Encoding] {
    if target.resource.custom {
        CUSTOM
    } else {
        BUILT_IN
    }
}

/// Negotiates the form of an answer about `target`.
pub fn negotiate(ctx: &RequestContext, target: &Target) -> Result<Negotiated, Status> {
    negotiate::negotiate(ctx, encodings(target), true)
}

/// Negotiates the form of a review, which no table shows.
pub fn negotiate_review(ctx: &RequestContext, target: &Target) -> Result<Negotiated, Status> {
    let negotiated = negotiate(ctx, target)?;
    let is_table = |t: &negotiate::Transform| matches!(t.kind, TransformKind::Table);
    match &negotiated.transform {
        Some(transform) if is_table(transform) => {
            negotiate::negotiate(ctx, encodings(target), false)
        }
        _ => Ok(negotiated),
    }
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
    let response = match negotiated.transform {
        None => respond(ctx, negotiated, code, object)?,
        Some(transform) => match transform.kind {
            TransformKind::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let printer = printer_of(target);
                let items = std::slice::from_ref(object);
                let table = table(
                    printer,
                    items,
                    &metadata,
                    include_object(ctx)?,
                    transform.api_version,
                    true,
                );
                respond_bytes(ctx, negotiated, code, table)?
            }
            TransformKind::PartialObjectMetadata => {
                let partial = partial_metadata(object, transform.api_version);
                respond(ctx, negotiated, code, &partial)?
            }
            TransformKind::PartialObjectMetadataList => {
                return Err(Status::not_acceptable(format!(
                    "you requested PartialObjectMetadataList, but the requested object is not a list ({})",
                    go_type(target)
                )));
            }
        },
    };
    ctx.stages.end("encode", began, "ok", "");
    Ok(response)
}

/// Answers what a write left: the stored bytes, where they are what the client takes.
pub fn written(
    ctx: &mut RequestContext,
    target: &Target,
    negotiated: Negotiated,
    code: StatusCode,
    written: &Written,
) -> Result<ApiResponse, Status> {
    let Some((stored, revision)) = &written.stored else {
        return object(ctx, target, negotiated, code, &written.object);
    };
    if !is_plain(negotiated) || needs_conversion(target) {
        return object(ctx, target, negotiated, code, &written.object);
    }
    let began = ctx.stages.begin("encode");
    let [head, version, rest] = splice(stored, *revision);
    let segments = vec![head, version, rest, Bytes::from_static(b"\n")];
    if ctx.audit.level >= AuditLevel::RequestResponse {
        ctx.audit.response_object = Some(segments.concat().into());
    }
    let mut response = ApiResponse::new(code, "application/json", Bytes::new());
    response.body = Body::Segments(segments);
    ctx.stages.end("encode", began, "ok", "");
    Ok(response)
}

/// Answers a list of trees.
pub fn list_items(
    ctx: &mut RequestContext,
    target: &Target,
    negotiated: Negotiated,
    mut items: Vec<Value>,
    metadata: Value,
) -> Result<ApiResponse, Status> {
    let began = ctx.stages.begin("encode");
    let row = &target.resource;
    let response = match negotiated.transform {
        None => {
            if !row.custom {
                items.iter_mut().for_each(strip_type);
            }
            let list = json!({
                "kind": row.list_kind,
                "apiVersion": row.group_version().to_string(),
                "metadata": metadata,
                "items": items,
            });
            respond(ctx, negotiated, StatusCode::OK, &list)?
        }
        Some(transform) => match transform.kind {
            TransformKind::Table => {
                let printer = printer_of(target);
                if let Some(order) = printer.order() {
                    items.sort_by(order);
                }
                let table = table(
                    printer,
                    &items,
                    &metadata,
                    include_object(ctx)?,
                    transform.api_version,
                    true,
                );
                respond_bytes(ctx, negotiated, StatusCode::OK, table)?
            }
            TransformKind::PartialObjectMetadataList => {
                let items: Vec<Value> = items
                    .iter()
                    .map(|i| partial_metadata(i, transform.api_version))
                    .collect();
                let list = json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": transform.api_version,
                    "metadata": metadata,
                    "items": items,
                });
                respond(ctx, negotiated, StatusCode::OK, &list)?
            }
            TransformKind::PartialObjectMetadata => {
                return Err(Status::not_acceptable(format!(
                    "you requested PartialObjectMetadata, but the requested object is a list ({}List)",
                    go_type(target)
                )));
            }
        },
    };
    ctx.stages.end("encode", began, "ok", "");
    Ok(response)
}

/// Items of built-in lists carry no kind and apiVersion.
fn strip_type(item: &mut Value) {
    if let Some(map) = item.as_object_mut() {
        map.remove("kind");
        map.remove("apiVersion");
    }
}

/// The printer of what the target answers: Scale prints as itself.
pub fn printer_of(target: &Target) -> &'static Printer {
    if target.subresource == "scale" {
        return printers::printer_of_kind("autoscaling", "Scale");
    }
    printers::printer(&target.resource)
}

/// A Table of objects, as JSON.
pub fn table(
    printer: &Printer,
    items: &[Value],
    metadata: &Value,
    include: IncludeObject,
    api_version: &'static str,
    columns: bool,
) -> Bytes {
    let now = chrono::Utc::now();
    let mut writer = TableWriter::new(api_version, metadata, columns.then(|| printer.columns()));
    for item in items {
        let row = printer.row(item, now);
        match include {
            IncludeObject::None => writer.row(&row, RowObject::None),
            IncludeObject::Metadata => {
                let metadata = serde_json::to_vec(&item["metadata"]).unwrap_or_default();
                writer.row(&row, RowObject::Metadata(&metadata));
            }
            IncludeObject::Object => {
                let object = serde_json::to_vec(item).unwrap_or_default();
                writer.row(&row, RowObject::Object(&object));
            }
        }
    }
    writer.finish()
}

/// A PartialObjectMetadata of an object.
pub fn partial_metadata(object: &Value, api_version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": api_version,
        "metadata": object["metadata"],
    })
}

fn respond(
    ctx: &mut RequestContext,
    negotiated: Negotiated,
    code: StatusCode,
    value: &Value,
) -> Result<ApiResponse, Status> {
    let bytes = encode(value, negotiated)?;
    note_response(ctx, value, &bytes, negotiated);
    Ok(ApiResponse::new(
        code,
        negotiated.encoding.media_type(),
        bytes,
    ))
}

/// Answers a document that is JSON text already.
fn respond_bytes(
    ctx: &mut RequestContext,
    negotiated: Negotiated,
    code: StatusCode,
    json: Bytes,
) -> Result<ApiResponse, Status> {
    if negotiated.encoding != Encoding::Json || negotiated.pretty {
        let value: Value = serde_json::from_slice(&json).unwrap_or_default();
        return respond(ctx, negotiated, code, &value);
    }
    if ctx.audit.level >= AuditLevel::RequestResponse {
        ctx.audit.response_object = Some(json.clone());
    }
    let mut response = ApiResponse::new(code, "application/json", Bytes::new());
    response.body = Body::Segments(vec![json, Bytes::from_static(b"\n")]);
    Ok(response)
}

/// Answers a success `Status` (deletes, evictions, bindings).
pub fn success(
    ctx: &mut RequestContext,
    negotiated: Negotiated,
    status: &Status,
) -> Result<ApiResponse, Status> {
    let value = status.to_json();
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::OK);
    let response = respond(ctx, negotiated, code, &value)?;
    ctx.audit.response_status = Some(value);
    Ok(response)
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

/// The internal Go type upstream names in one message.
fn go_type(target: &Target) -> String {
    let group = target.resource.group.split('.').next().unwrap_or("");
    let package = if group.is_empty() { "core" } else { group };
    format!("*{package}.{}", target.resource.kind)
}

/// `includeObject` of Table requests.
pub fn include_object(ctx: &RequestContext) -> Result<IncludeObject, Status> {
    IncludeObject::parse(ctx.query_value("includeObject").as_deref())
}

/// Compresses a large whole body when the client accepts gzip, off the async threads.
pub async fn compress(ctx: &RequestContext, mut response: ApiResponse) -> ApiResponse {
    let Body::Segments(segments) = &response.body else {
        return response;
    };
    let size: usize = segments.iter().map(Bytes::len).sum();
    if size <= GZIP_BYTES_MIN || !accepts_gzip(ctx) {
        return response;
    }
    let segments = segments.clone();
    let compressed = tokio::task::spawn_blocking(move || gzip(&segments)).await;
    if let Ok(Ok(bytes)) = compressed {
        response.body = Body::Segments(vec![bytes]);
        response
            .headers
            .insert("content-encoding", HeaderValue::from_static("gzip"));
        response
            .headers
            .insert("vary", HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

fn accepts_gzip(ctx: &RequestContext) -> bool {
    let accept = ctx.header(ACCEPT_ENCODING).unwrap_or("");
    accept.split(',').any(|clause| clause.trim() == "gzip")
}

fn gzip(segments: &[Bytes]) -> std::io::Result<Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for segment in segments {
        encoder.write_all(segment)?;
    }
    Ok(Bytes::from(encoder.finish()?))
}
