//! Objects as bytes: the stored form, the ready-to-send form, and what can be read off them in one
//! forward scan.
//!
//! Called by the registry (for a write [`tree`], after it [`stored`] and [`splice`]) and by the watch
//! cache (for every stored value it takes in, [`ready`]), which builds no trees unless a value was
//! stored by somebody else in another layout.
//!
//! # Invariants
//! - Stored: `{"kind":"Pod","apiVersion":"v1","metadata":{…},…}` without
//!   `metadata.resourceVersion` and `metadata.selfLink`, no white space.
//! - Ready: the same with `"resourceVersion":"N"` as the first field of `metadata`. An item of a
//!   list is `{` and everything from [`Ready::list_offset`] on.
//! - Spans (labels, selectable fields) point into the ready text; nothing is copied.

use std::ops::Range;

use bytes::Bytes;

use crate::base::tree::Value;

mod labels;
mod plain;
mod scan;
mod shape;
mod tree;
mod write;

pub use labels::Labels;
pub use shape::{FieldValue, Shape};
pub use tree::tree;
pub use write::{needs_escapes, string as push_string, value as push_value};

use labels::LabelSpan;
use scan::{Layout, Scan};

/// Why stored bytes cannot be served.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Error {
    /// The text is not JSON.
    #[error("not valid JSON at byte {at}: {what}")]
    Invalid {
        /// Offset of the offending byte.
        at: usize,
        /// What was expected there.
        what: &'static str,
    },
    /// The text is JSON but not an API object.
    #[error("not an API object: {what}")]
    NotAnObject {
        /// What is missing.
        what: &'static str,
    },
}

/// An object ready to send.
#[derive(Debug)]
pub struct Ready {
    /// `head`, the object's text, `tail`.
    pub frame: Vec<u8>,
    /// Where in `frame` the object's text is.
    pub json: Range<usize>,
    /// Length of the `{"kind":…,"apiVersion":…,` before `"metadata"` in the object's text.
    pub list_offset: usize,
    /// The labels.
    pub labels: Labels,
    /// Values in the order of the shape's fields.
    pub fields: Box<[FieldValue]>,
}

const METADATA: &[u8] = b"\"metadata\":{";
const REVISION: &[u8] = b"\"resourceVersion\":\"";

/// The canonical stored form of an object, under the kind and apiVersion it is stored as.
///
/// A value that is not an object is stored as an object without fields; callers decode first.
pub fn stored(value: &Value, kind: &str, api_version: &str) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"kind\":");
    write::string(&mut out, kind);
    out.extend_from_slice(b",\"apiVersion\":");
    write::string(&mut out, api_version);
    out.push(b',');
    out.extend_from_slice(METADATA);
    if let Some(metadata) = value.get("metadata").and_then(Value::as_object) {
        let mut first = true;
        for (key, field) in metadata {
            if key != "resourceVersion" && key != "selfLink" {
                write_field(&mut out, &mut first, key, field);
            }
        }
    }
    out.push(b'}');
    if let Some(object) = value.as_object() {
        let mut first = false;
        for (key, field) in object {
            if key != "kind" && key != "apiVersion" && key != "metadata" {
                write_field(&mut out, &mut first, key, field);
            }
        }
    }
    out.push(b'}');
    out.shrink_to_fit();
    Bytes::from(out)
}

/// The text of a tree as it stands.
pub fn text(value: &Value) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    write::value(&mut out, value);
    Bytes::from(out)
}

/// What [`stored`] made, with the resourceVersion put in, as segments: the answer to a write.
pub fn splice(stored: &Bytes, revision: u64) -> [Bytes; 3] {
    // Before it stand kind and apiVersion only, in which quotes are escaped.
    let found = memchr::memmem::find(stored, METADATA);
    let insert = found.map_or(0, |at| at + METADATA.len());
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(revision).as_bytes();
    let mut inserted = Vec::with_capacity(REVISION.len() + digits.len() + 2);
    inserted.extend_from_slice(REVISION);
    inserted.extend_from_slice(digits);
    inserted.push(b'"');
    if stored.get(insert) != Some(&b'}') {
        inserted.push(b',');
    }
    let rest = stored.slice(insert..);
    [stored.slice(..insert), Bytes::from(inserted), rest]
}

/// Makes stored bytes ready to send, with `head` before and `tail` behind (a watch frame, or
/// nothing).
///
/// One forward scan checks the whole text, and finds labels and the shape's fields. A text in
/// another layout (keys in another order, white space, a resourceVersion left in) is parsed and
/// written anew first.
pub fn ready(
    stored: &[u8],
    revision: u64,
    shape: &Shape,
    head: &[u8],
    tail: &[u8],
) -> Result<Ready, Error> {
    let scanned = scan::scan(stored, shape)?;
    if scanned.canonical
        && let Some(layout) = scanned.layout
    {
        return Ok(assemble(stored, &layout, scanned, revision, head, tail));
    }
    let rewritten = rewrite(stored)?;
    let scanned = scan::scan(&rewritten, shape)?;
    match scanned.layout {
        Some(layout) => Ok(assemble(&rewritten, &layout, scanned, revision, head, tail)),
        None => Err(Error::NotAnObject {
            what: "kind, apiVersion and metadata",
        }),
    }
}

/// The same object at another revision, between another head and tail: `json` is ready text whose
/// list items begin at `list_offset` and which is at `old`.
pub fn at_revision(
    json: &[u8],
    list_offset: usize,
    old: u64,
    revision: u64,
    head: &[u8],
    tail: &[u8],
) -> Ready {
    let mut digits = itoa::Buffer::new();
    let old_len = digits.format(old).len();
    let mut digits = itoa::Buffer::new();
    let new = digits.format(revision).as_bytes();
    let start = list_offset + METADATA.len() + REVISION.len();
    let mut frame = Vec::with_capacity(head.len() + json.len() + new.len() - old_len + tail.len());
    frame.extend_from_slice(head);
    frame.extend_from_slice(&json[..start]);
    frame.extend_from_slice(new);
    frame.extend_from_slice(&json[start + old_len..]);
    let end = frame.len();
    frame.extend_from_slice(tail);
    Ready {
        frame,
        json: head.len()..end,
        list_offset,
        labels: Labels::default(),
        fields: Box::default(),
    }
}

/// Where the digits of the resourceVersion begin in ready text.
pub fn revision_offset(list_offset: usize) -> usize {
    list_offset + METADATA.len() + REVISION.len()
}

fn assemble(
    stored: &[u8],
    layout: &Layout,
    mut scanned: Scan,
    revision: u64,
    head: &[u8],
    tail: &[u8],
) -> Ready {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(revision).as_bytes();
    let comma = usize::from(!layout.metadata_empty);
    let inserted = REVISION.len() + digits.len() + 1 + comma;
    let mut frame = Vec::with_capacity(head.len() + stored.len() + inserted + tail.len());
    frame.extend_from_slice(head);
    frame.extend_from_slice(&stored[..layout.insert]);
    frame.extend_from_slice(REVISION);
    frame.extend_from_slice(digits);
    frame.push(b'"');
    if comma == 1 {
        frame.push(b',');
    }
    frame.extend_from_slice(&stored[layout.insert..layout.end]);
    let end = frame.len();
    frame.extend_from_slice(tail);
    scanned.labels.shift(layout.insert, inserted as i64);
    for field in &mut scanned.fields {
        field.shift(layout.insert, inserted as i64);
    }
    Ready {
        frame,
        json: head.len()..end,
        list_offset: layout.insert - METADATA.len(),
        labels: scanned.labels,
        fields: scanned.fields.into_boxed_slice(),
    }
}

fn rewrite(text: &[u8]) -> Result<Bytes, Error> {
    let value: Value = serde_json::from_slice(text).map_err(|error| Error::Invalid {
        at: error.column(),
        what: "a JSON value",
    })?;
    let text_of = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("");
    if !value.is_object() {
        return Err(Error::NotAnObject { what: "an object" });
    }
    Ok(stored(&value, text_of("kind"), text_of("apiVersion")))
}

fn write_field(out: &mut Vec<u8>, first: &mut bool, key: &str, field: &Value) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    write::string(out, key);
    out.push(b':');
    write::value(out, field);
}

/// Moves an offset that lies at or behind `from` by `by`.
fn shifted(offset: u32, from: usize, by: i64) -> u32 {
    if (offset as usize) < from {
        return offset;
    }
    u32::try_from(i64::from(offset) + by).unwrap_or(offset)
}

#[cfg(test)]
mod tests;
