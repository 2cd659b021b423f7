//! The `scale` subresource: an `autoscaling/v1` Scale made of, and written back to, its owner.

use crate::base::tree::{Map, Value, json};
use crate::registry::meta;

/// The Scale of an object.
pub fn of(object: &Value) -> Value {
    let metadata = meta::metadata(object);
    let mut scale_metadata = Map::new();
    for member in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = metadata.get(member) {
            scale_metadata.insert(member.into(), value.clone());
        }
    }
    let mut spec = Map::new();
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas != 0 {
        spec.insert("replicas".into(), json!(replicas));
    }
    let mut status = Map::new();
    let current = object["status"]["replicas"].as_i64().unwrap_or(0);
    status.insert("replicas".into(), json!(current));
    let selector = selector_text(&object["spec"]["selector"]);
    if !selector.is_empty() {
        status.insert("selector".into(), json!(selector));
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": scale_metadata,
        "spec": spec,
        "status": status,
    })
}

/// Puts the replicas of a Scale into the object.
pub fn apply(object: &mut Value, scale: &Value) {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    object["spec"]["replicas"] = json!(replicas);
}

/// A selector as `metav1.FormatLabelSelector`'s parts print: sorted, comma-joined. A plain map (of
/// ReplicationController) or a LabelSelector.
fn selector_text(selector: &Value) -> String {
    let Some(map) = selector.as_object() else {
        return String::new();
    };
    let is_label_selector = map.contains_key("matchLabels") || map.contains_key("matchExpressions");
    let labels = if is_label_selector {
        map.get("matchLabels").and_then(Value::as_object)
    } else {
        Some(map)
    };
    let equalities = labels.into_iter().flatten();
    let mut terms: Vec<(String, String)> = equalities
        .map(|(key, value)| {
            (
                key.to_string(),
                format!("{key}={}", value.as_str().unwrap_or("")),
            )
        })
        .collect();
    let expressions = if is_label_selector {
        selector["matchExpressions"].as_array()
    } else {
        None
    };
    terms.extend(expressions.into_iter().flatten().map(expression));
    terms.sort();
    terms
        .into_iter()
        .map(|(_, term)| term)
        .collect::<Vec<_>>()
        .join(",")
}

fn expression(expression: &Value) -> (String, String) {
    let key = expression["key"].as_str().unwrap_or("").to_string();
    let mut values: Vec<&str> = expression["values"]
        .as_array()
        .map(|v| v.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    values.sort_unstable();
    let values = values.join(",");
    let text = match expression["operator"].as_str().unwrap_or("") {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "Exists" => key.clone(),
        _ => format!("!{key}"),
    };
    (key, text)
}
