//! Whether a tree fits its types: quickly, before normalising it; and if not, in the words of
//! apimachinery's converter, which strategic merge patches go through.

use crate::api::quantity::Quantity;
use crate::api::schema::{Node, Schema, Touched};
use crate::base::tree::Value;

/// As [`fits`], of an object of which only the `touched` members are looked into.
pub fn fits_where(value: &Value, schema: &Schema, touched: &Touched) -> bool {
    let (Node::Object(object), Value::Object(members)) = (&schema.node, value) else {
        return fits(value, schema);
    };
    let mut fields = object.in_order();
    members
        .iter()
        .all(|(name, value)| match fields.field(name) {
            Some(field) => !touched.has(name) || fits(value, &field.schema),
            None => object.preserve_unknown,
        })
}

/// Whether decoding `value` would give the same tree and nothing to complain about. Says no when in
/// doubt, and then decoding decides.
pub fn fits(value: &Value, schema: &Schema) -> bool {
    match (&schema.node, value) {
        (_, Value::Null) | (Node::Any, _) => true,
        (Node::Object(object), Value::Object(members)) => {
            let mut fields = object.in_order();
            members
                .iter()
                .all(|(name, value)| match fields.field(name) {
                    Some(field) => fits(value, &field.schema),
                    None => object.preserve_unknown,
                })
        }
        (Node::Map(map), Value::Object(members)) => {
            members.values().all(|value| fits(value, &map.values))
        }
        (Node::List(list), Value::Array(items)) => items.iter().all(|item| fits(item, &list.items)),
        (Node::String, Value::String(_)) | (Node::Bool, Value::Bool(_)) => true,
        (Node::IntOrString, Value::String(_)) | (Node::Number, Value::Number(_)) => true,
        (Node::Int32 | Node::IntOrString, Value::Number(number)) => {
            number.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
        }
        (Node::Int64, Value::Number(number)) => number.as_i64().is_some(),
        (Node::Quantity, Value::String(text)) => Quantity::parse(text).is_ok(),
        (Node::Time, Value::String(text)) => {
            text.len() == "2006-01-02T15:04:05Z".len() && is_utc(text)
        }
        (Node::MicroTime, Value::String(text)) => {
            text.len() == "2006-01-02T15:04:05.000000Z".len() && is_utc(text)
        }
        _ => false,
    }
}

fn is_utc(text: &str) -> bool {
    text.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

/// The first value that cannot be restored into its Go type.
pub(super) fn refusal(value: &Value, schema: &Schema) -> Option<String> {
    let kind = go_kind(value);
    match (&schema.node, value) {
        (_, Value::Null) => None,
        (Node::Object(object), Value::Object(members)) => {
            members.iter().find_map(|(name, value)| {
                let field = object.field(name)?;
                refusal(value, &field.schema)
            })
        }
        (Node::Object(_), _) => Some(format!("cannot restore struct from: {kind}")),
        (Node::Map(map), Value::Object(members)) => members
            .values()
            .find_map(|value| refusal(value, &map.values)),
        (Node::Map(_), _) => Some(format!("cannot restore map from {kind}")),
        (Node::List(list), Value::Array(items)) => {
            items.iter().find_map(|item| refusal(item, &list.items))
        }
        (Node::List(_), _) => Some(format!("cannot restore slice from {kind}")),
        (Node::Bytes, Value::String(_)) => None,
        (Node::Bytes, _) => Some(format!("cannot restore slice from {kind}")),
        (Node::String, value) => scalar(value, "string", value.is_string()),
        (Node::Bool, value) => scalar(value, "bool", value.is_boolean()),
        (Node::Int32, value) => scalar(value, "int32", is_whole(value)),
        (Node::Int64, value) => scalar(value, "int64", is_whole(value)),
        (Node::Number, value) => scalar(value, "float64", value.is_number()),
        _ => None,
    }
}

fn is_whole(value: &Value) -> bool {
    value.as_i64().is_some() || value.as_f64().is_some_and(|f| f.fract() == 0.0)
}

fn scalar(value: &Value, want: &str, fits: bool) -> Option<String> {
    if fits {
        return None;
    }
    let from = go_kind(value);
    // Go converts numbers to each other and whole numbers to strings; the converter then refuses.
    let convertible = match from {
        "int64" => want != "bool",
        "float64" => matches!(want, "int32" | "int64"),
        _ => false,
    };
    Some(match convertible {
        true => format!("cannot convert {from} to {want}"),
        false => format!("unrecognized type: {want}"),
    })
}

/// `reflect.Kind` of a decoded value.
pub(super) fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}
