//! Items and pages in the negotiated form: JSON, YAML, Table, PartialObjectMetadata.

use http::StatusCode;

use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::request::negotiate::{self, Encoding, Negotiated, Transform, TransformKind};
use crate::request::{ApiResponse, RequestContext};
use crate::search::api::item::Item;
use crate::search::table;

/// Encoding of the answer.
pub fn negotiated(ctx: &RequestContext) -> Result<Negotiated, Status> {
    negotiate::negotiate(ctx, negotiate::CUSTOM, true)
}

/// An answer from a tree.
pub fn value_response(tree: &Value, negotiated: Negotiated) -> ApiResponse {
    let body = negotiate::encode(tree, negotiated);
    ApiResponse::new(StatusCode::OK, negotiated.encoding.media_type(), body)
}

/// `includeObject` of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// No object.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// As asked.
    pub fn of(ctx: &RequestContext) -> Result<Self, Status> {
        match ctx.query_value("includeObject").as_deref() {
            None | Some("" | "Metadata") => Ok(Include::Metadata),
            Some("None") => Ok(Include::None),
            Some("Object") => Ok(Include::Object),
            Some(other) => Err(Status::bad_request(format!(
                "unrecognized includeObject value: {other:?}"
            ))),
        }
    }
}

/// A page of items.
pub struct List<'a> {
    /// The items.
    pub items: &'a [Item],
    /// `metadata.resourceVersion`.
    pub resource_version: u64,
    /// `metadata.continue`.
    pub next: Option<String>,
}

impl List<'_> {
    fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.resource_version.to_string()});
        if let Some(next) = &self.next {
            metadata["continue"] = json!(next);
        }
        metadata
    }

    /// The answer.
    pub fn response(&self, negotiated: Negotiated, include: Include) -> ApiResponse {
        match negotiated.transform {
            Some(transform) if transform.kind == TransformKind::Table => {
                let table = table_of(self.items, &self.metadata(), transform, include, true);
                value_response(&table, negotiated)
            }
            Some(transform) => {
                let items: Vec<Value> = self.items.iter().map(|i| partial(i, transform)).collect();
                let list = json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": transform.api_version,
                    "metadata": self.metadata(),
                    "items": items,
                });
                value_response(&list, negotiated)
            }
            None if negotiated.encoding == Encoding::Yaml || negotiated.pretty => {
                let tree: Value = serde_json::from_slice(&self.text()).unwrap_or_default();
                value_response(&tree, negotiated)
            }
            None => ApiResponse::new(StatusCode::OK, "application/json", self.text()),
        }
    }

    /// Each event's own text, spliced.
    fn text(&self) -> Vec<u8> {
        let size: usize = self.items.iter().map(|i| i.event.len() + 512).sum();
        let mut out = Vec::with_capacity(size + 256);
        out.extend_from_slice(
            br#"{"kind":"AuditEventList","apiVersion":"audit.verbatim.dev/v1alpha1","metadata":"#,
        );
        out.extend_from_slice(self.metadata().to_string().as_bytes());
        out.extend_from_slice(br#","items":["#);
        for (index, item) in self.items.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            item.push(&mut out);
        }
        out.extend_from_slice(b"]}\n");
        out
    }
}

/// One item in the negotiated form, as a tree; `columns` tells whether a table declares them.
pub fn object(item: &Item, negotiated: Negotiated, include: Include, columns: bool) -> Value {
    match negotiated.transform {
        None => item.tree(),
        Some(transform) if transform.kind == TransformKind::Table => {
            let metadata = json!({"resourceVersion": item.resource_version.to_string()});
            let items = std::slice::from_ref(item);
            table_of(items, &metadata, transform, include, columns)
        }
        Some(transform) => partial(item, transform),
    }
}

fn partial(item: &Item, transform: Transform) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": transform.api_version,
        "metadata": item.metadata(),
    })
}

fn table_of(
    items: &[Item],
    metadata: &Value,
    transform: Transform,
    include: Include,
    columns: bool,
) -> Value {
    let rows: Vec<Value> = items
        .iter()
        .map(|item| {
            let event: Value = serde_json::from_slice(&item.event).unwrap_or_default();
            let object = match include {
                Include::None => Value::Null,
                Include::Metadata => partial(item, transform),
                Include::Object => item.tree(),
            };
            json!({"cells": table::cells(&event), "object": object})
        })
        .collect();
    let definitions = match columns {
        true => table::definitions(),
        false => Value::Null,
    };
    json!({
        "kind": "Table",
        "apiVersion": transform.api_version,
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    })
}
