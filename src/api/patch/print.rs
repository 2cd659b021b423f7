//! Printing trees as Go does, for the texts of refused patches.

use crate::api::schema::{Node, Schema};
use crate::base::tree::{Key, Value};

/// `fmt`'s `%v` of `map[string]interface{}` and what may be in it.
pub(in crate::api) fn go_value(value: &Value) -> String {
    let mut out = String::new();
    push_value(&mut out, value);
    out
}

fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                push_value(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push_str("map[");
            for (at, (key, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                push_value(out, value);
            }
            out.push(']');
        }
    }
}

/// The JSON of a patched object. Containers that the patch looked into (`touched`, a tree of their
/// names) were maps and are sorted; everything else keeps the order of its struct.
pub(super) fn patched_json(
    value: &Value,
    schema: Option<&Schema>,
    touched: Option<&Value>,
) -> String {
    let mut out = String::new();
    push_json(&mut out, value, schema, touched);
    crate::api::field::escape_html(out)
}

fn push_json(out: &mut String, value: &Value, schema: Option<&Schema>, touched: Option<&Value>) {
    match value {
        Value::Object(members) => {
            let mut ordered: Vec<(&Key, &Value)> = members.iter().collect();
            let order = match schema.map(|schema| &schema.node) {
                Some(Node::Object(object)) if touched.is_none() => struct_order(&object.name),
                _ => &[],
            };
            if !order.is_empty() {
                ordered.sort_by_key(|(name, _)| order.iter().position(|other| other == name));
            }
            out.push('{');
            for (at, (name, value)) in ordered.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                let inner = touched.and_then(|touched| touched.get(name));
                push_json(out, value, schema.and_then(|s| s.member(name)), inner);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_json(out, item, schema.and_then(Schema::items), None);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// The fields of the structs that every object has, in their order; others print sorted.
fn struct_order(definition: &str) -> &'static [&'static str] {
    match definition.rsplit('.').next() {
        Some("ObjectMeta") => &[
            "name",
            "generateName",
            "namespace",
            "selfLink",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "labels",
            "annotations",
            "ownerReferences",
            "finalizers",
            "managedFields",
        ],
        Some("ManagedFieldsEntry") => &[
            "manager",
            "operation",
            "apiVersion",
            "time",
            "fieldsType",
            "fieldsV1",
            "subresource",
        ],
        Some("OwnerReference") => &[
            "apiVersion",
            "kind",
            "name",
            "uid",
            "controller",
            "blockOwnerDeletion",
        ],
        _ => &[],
    }
}
