//! `Table` documents, written straight into bytes.

use bytes::Bytes;
use serde::Serialize;

use super::{Column, Row};
use crate::api::status::Status;
use crate::base::tree::Value;

/// What a row says of its object (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata, as a PartialObjectMetadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter.
    pub fn parse(value: Option<&str>) -> Result<Self, Status> {
        match value.unwrap_or("") {
            "" | "Metadata" => Ok(IncludeObject::Metadata),
            "None" => Ok(IncludeObject::None),
            "Object" => Ok(IncludeObject::Object),
            other => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

/// A row's object, ready to be written.
#[derive(Clone, Copy, Debug)]
pub enum RowObject<'a> {
    /// `includeObject=None`.
    None,
    /// The object's metadata as JSON.
    Metadata(&'a [u8]),
    /// The whole object as JSON, in the requested version.
    Object(&'a [u8]),
}

/// Writes one Table.
pub struct TableWriter {
    out: Vec<u8>,
    api_version: &'static str,
    rows: usize,
}

impl TableWriter {
    /// Starts a table. `metadata` is that of the list or object (resourceVersion, continue,
    /// remainingItemCount); `columns` is `None` for all but the first event of a watch.
    pub fn new(api_version: &'static str, metadata: &Value, columns: Option<&[Column]>) -> Self {
        let mut writer = TableWriter {
            out: Vec::with_capacity(4096),
            api_version,
            rows: 0,
        };
        writer.text("{\"kind\":\"Table\",\"apiVersion\":\"");
        writer.text(api_version);
        writer.text("\",\"metadata\":");
        writer.json(metadata);
        writer.text(",\"columnDefinitions\":");
        match columns {
            None => writer.text("null"),
            Some(columns) => {
                let definitions: Vec<Definition<'_>> = columns.iter().map(Definition::of).collect();
                writer.json(&definitions);
            }
        }
        writer.text(",\"rows\":[");
        writer
    }

    /// Adds a row.
    pub fn row(&mut self, row: &Row, object: RowObject<'_>) {
        if self.rows > 0 {
            self.text(",");
        }
        self.rows += 1;
        self.text("{\"cells\":");
        self.json(&row.cells);
        if let Some(conditions) = &row.conditions {
            self.text(",\"conditions\":");
            self.json(conditions);
        }
        self.text(",\"object\":");
        match object {
            RowObject::None => self.text("null"),
            RowObject::Object(object) => self.out.extend_from_slice(object),
            RowObject::Metadata(metadata) => {
                partial_object_metadata(self.api_version, metadata, &mut self.out);
            }
        }
        self.text("}");
    }

    /// The document, without a newline.
    pub fn finish(mut self) -> Bytes {
        self.text("]}");
        self.out.into()
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        // Trees of strings and numbers always serialize, and a Vec takes everything.
        let _ = serde_json::to_writer(&mut self.out, value);
    }
}

/// A column as it is sent: every member, also empty ones.
#[derive(Serialize)]
struct Definition<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    format: &'a str,
    description: &'a str,
    priority: i32,
}

impl<'a> Definition<'a> {
    fn of(column: &'a Column) -> Self {
        Definition {
            name: &column.name,
            kind: &column.kind,
            format: &column.format,
            description: &column.description,
            priority: column.priority,
        }
    }
}

/// Writes a PartialObjectMetadata around metadata that is JSON already. `api_version` is
/// `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`.
pub fn partial_object_metadata(api_version: &str, metadata: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"");
    out.extend_from_slice(api_version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    out.extend_from_slice(metadata);
    out.push(b'}');
}
