//! The usual update: somebody writes again what it owns already and nobody else does.
//!
//! Then no entry's paths change, only a time. Found out on the encoded entries, by looking up the few
//! paths that changed, so that nothing is decoded, copied and encoded again. Called by `update`, which
//! decodes whenever this cannot tell.

use super::Writer;
use super::compare::Comparison;
use super::element::Element;
use super::entries::UPDATE_ENTRIES_MAX;
use super::set::Set;
use crate::base::tree::{Map, Value};

/// Notes the write in `managed`, which is as it was stored. Answers whether that was possible; if
/// not, nothing was changed.
pub(super) fn track_in_place(
    managed: &mut Value,
    changes: &Comparison,
    writer: &Writer<'_>,
) -> bool {
    let Some(entries) = managed.as_array_mut() else {
        return false;
    };
    if entries.len() > UPDATE_ENTRIES_MAX {
        return false;
    }
    let mut own = None;
    for (at, entry) in entries.iter().enumerate() {
        let Some(fields) = fields_of(entry, writer) else {
            return false;
        };
        let is_own = is_of(entry, writer);
        let fits = match is_own {
            true => own.is_none() && keeps(fields, changes),
            false => !touches(fields, &changes.modified) && !touches(fields, &changes.added),
        };
        if !fits || touches(fields, &changes.removed) {
            return false;
        }
        if is_own {
            own = Some(at);
        }
    }
    if changes.modified.is_empty() && changes.added.is_empty() {
        return true;
    }
    let Some(Value::Object(entry)) = own.map(|at| &mut entries[at]) else {
        return false;
    };
    entry.insert("time".into(), writer.now.into());
    entries.sort_by(|a, b| order(a).cmp(&order(b)));
    true
}

/// What entries are sorted by (see [`super::Entries::encode`]): Apply stands before Update.
fn order(entry: &Value) -> [&str; 5] {
    ["operation", "time", "manager", "apiVersion", "subresource"].map(|name| text(entry, name))
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or("")
}

/// Whether an entry belongs to the writer.
fn is_of(entry: &Value, writer: &Writer<'_>) -> bool {
    text(entry, "operation") == "Update"
        && text(entry, "manager") == writer.manager
        && text(entry, "subresource") == writer.subresource
}

/// The paths of an entry of the writer's version; `None` where there is something to look at.
fn fields_of<'a>(entry: &'a Value, writer: &Writer<'_>) -> Option<&'a Map> {
    let is_plain = matches!(text(entry, "operation"), "Apply" | "Update")
        && text(entry, "apiVersion") == writer.api_version
        && text(entry, "fieldsType") == "FieldsV1";
    let fields = entry.get("fieldsV1")?.as_object()?;
    (is_plain && !fields.is_empty()).then_some(fields)
}

/// Whether all that the writer wrote is in `fields`.
fn keeps(fields: &Map, changes: &Comparison) -> bool {
    covers(fields, &changes.modified) && covers(fields, &changes.added)
}

fn covers(fields: &Map, set: &Set) -> bool {
    set.nodes.iter().all(|node| {
        let Some(inner) = find(fields, &node.element).and_then(Value::as_object) else {
            return false;
        };
        (!node.member || is_member(inner)) && covers(inner, &node.children)
    })
}

/// Whether a path of `set` is in `fields`, or may be.
fn touches(fields: &Map, set: &Set) -> bool {
    set.nodes
        .iter()
        .any(|node| match find(fields, &node.element) {
            None => false,
            Some(Value::Object(inner)) => {
                (node.member && is_member(inner)) || touches(inner, &node.children)
            }
            Some(_) => true,
        })
}

fn is_member(inner: &Map) -> bool {
    inner.is_empty() || inner.contains_key(".")
}

/// What is at an element. A field is spelled in one way only; an item's keys may have been written by
/// somebody who quotes otherwise.
fn find<'a>(fields: &'a Map, element: &Element) -> Option<&'a Value> {
    let text = element.to_text();
    let found = fields.get(text.as_str());
    if found.is_some() || matches!(element, Element::Field(_)) {
        return found;
    }
    let mut others = fields
        .iter()
        .filter(|(other, _)| other.as_bytes().first() == text.as_bytes().first());
    let same = others.find(|(other, _)| {
        let parsed = Element::parse(other);
        parsed.is_ok_and(|parsed| parsed.is_some_and(|parsed| parsed == *element))
    });
    same.map(|(_, inner)| inner)
}
