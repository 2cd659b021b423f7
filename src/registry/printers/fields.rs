//! Reading fields of objects for cells.

use chrono::{DateTime, Utc};

use super::duration::translate_timestamp;
use crate::base::tree::{Key, Map, Value};

/// What stands for an empty list or map.
pub(super) const NONE: &str = "<none>";
/// What stands for something that was not set.
pub(super) const UNSET: &str = "<unset>";

/// Walks members by name; `Null` when any is missing.
pub(super) fn at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(object, |value, name| &value[*name])
}

/// A string field, empty when missing.
pub(super) fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).as_str().unwrap_or("")
}

/// A string field as a cell.
pub(super) fn text_cell(object: &Value, path: &[&str]) -> Value {
    text(object, path).into()
}

/// A string field as a cell, or `missing` when empty.
pub(super) fn text_or(object: &Value, path: &[&str], missing: &str) -> Value {
    or(text(object, path), missing)
}

/// `text`, or `missing` when it is empty.
pub(super) fn or(text: &str, missing: &str) -> Value {
    if text.is_empty() { missing } else { text }.into()
}

/// An integer field, zero when missing.
pub(super) fn int(object: &Value, path: &[&str]) -> i64 {
    at(object, path).as_i64().unwrap_or(0)
}

/// A boolean field, `missing` when not set.
pub(super) fn boolean(object: &Value, path: &[&str], missing: bool) -> Value {
    at(object, path).as_bool().unwrap_or(missing).into()
}

/// The items of a list field.
pub(super) fn items<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).as_array().map_or(&[], Vec::as_slice)
}

/// How many items or members a field has.
pub(super) fn len(object: &Value, path: &[&str]) -> usize {
    match at(object, path) {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    }
}

/// The strings of a list field.
pub(super) fn texts<'a>(object: &'a Value, path: &[&str]) -> Vec<&'a str> {
    items(object, path)
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

/// A number, quantity or int-or-string as text; empty when missing.
pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `metadata.name`.
pub(super) fn name(object: &Value) -> Value {
    text_cell(object, &["metadata", "name"])
}

/// The age since creation.
pub(super) fn age(object: &Value, now: DateTime<Utc>) -> Value {
    age_of(object, &["metadata", "creationTimestamp"], now)
}

/// The age since a time field.
pub(super) fn age_of(object: &Value, path: &[&str], now: DateTime<Utc>) -> Value {
    translate_timestamp(time(object, path), now).into()
}

/// A time field.
pub(super) fn time(object: &Value, path: &[&str]) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(at(object, path).as_str()?).ok()?;
    Some(time.with_timezone(&Utc))
}

/// Whether the object is being deleted.
pub(super) fn deleting(object: &Value) -> bool {
    !at(object, &["metadata", "deletionTimestamp"]).is_null()
}

/// The first condition of a type.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, &["status", "conditions"])
        .iter()
        .find(|c| c["type"] == kind)
}

/// Whether the first condition of a type is True.
pub(super) fn condition_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|c| c["status"] == "True")
}

/// A map as `k=v,k2=v2`.
pub(super) fn labels(value: &Value) -> Value {
    match value.as_object() {
        Some(map) if !map.is_empty() => pairs(map).join(",").into(),
        _ => NONE.into(),
    }
}

fn pairs(map: &Map) -> Vec<String> {
    let mut pairs: Vec<(&Key, &Value)> = map.iter().collect();
    pairs.sort_by_key(|(key, _)| *key);
    pairs
        .into_iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
        .collect()
}

/// The canonical string of a LabelSelector; empty when it selects everything or nothing. `None` when
/// an operator is unknown.
pub(super) fn selector(value: &Value) -> Option<String> {
    let mut requirements: Vec<(String, String)> = Vec::new();
    for (key, wanted) in value["matchLabels"].as_object().into_iter().flatten() {
        let wanted = wanted.as_str().unwrap_or("");
        requirements.push((key.to_string(), format!("{key}={wanted}")));
    }
    for expression in items(value, &["matchExpressions"]) {
        let key = text(expression, &["key"]);
        let mut values = texts(expression, &["values"]);
        values.sort_unstable();
        let values = values.join(",");
        let shown = match text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_string(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        };
        requirements.push((key.to_string(), shown));
    }
    requirements.sort_by(|a, b| a.0.cmp(&b.0));
    let shown: Vec<String> = requirements.into_iter().map(|(_, shown)| shown).collect();
    Some(shown.join(","))
}

/// A LabelSelector as a cell: `<none>` when empty, `<error>` when it cannot be read.
pub(super) fn selector_cell(value: &Value) -> Value {
    match selector(value) {
        None => "<error>".into(),
        Some(text) => or(&text, NONE),
    }
}

/// Names and images of a pod spec's containers.
pub(super) fn containers(pod_spec: &Value) -> [Value; 2] {
    let joined = |member: &str| -> Value {
        let all: Vec<&str> = items(pod_spec, &["containers"])
            .iter()
            .map(|c| text(c, &[member]))
            .collect();
        all.join(",").into()
    };
    [joined("name"), joined("image")]
}

/// The first three of a list, and how many more there are.
pub(super) fn more_than_three(list: &[String]) -> Value {
    match list.len() {
        0 => UNSET.into(),
        1..=3 => list.join(",").into(),
        count => format!("{} + {} more...", list[..3].join(","), count - 3).into(),
    }
}

/// Addresses of a load balancer status: sorted, without duplicates.
pub(super) fn load_balancer(status: &Value) -> Vec<&str> {
    let mut addresses: Vec<&str> = items(status, &["loadBalancer", "ingress"])
        .iter()
        .map(|ingress| match text(ingress, &["ip"]) {
            "" => text(ingress, &["hostname"]),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// `resource` or `resource.group`.
pub(super) fn with_group(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_string()
    } else {
        format!("{name}.{group}")
    }
}
