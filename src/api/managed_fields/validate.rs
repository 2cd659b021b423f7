//! Whether an applied configuration fits its type; upstream's texts.

use std::collections::BTreeSet;

use super::element::Element;
use super::typed::{Kind, Members, Type, item_element};
use crate::api::schema::{ListType, Node, Schema};
use crate::base::tree::Value;

/// Checks a configuration: no undeclared field, no wrong type, no repeated item.
///
/// # Errors
/// All problems, joined as upstream joins them.
pub(super) fn validate(config: &Value, ty: Type<'_>) -> Result<(), String> {
    let mut errors = Vec::new();
    check(config, ty, "", &mut errors);
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.swap_remove(0)),
        _ => {
            let lines: Vec<String> = errors.iter().map(|e| format!("\n  {e}")).collect();
            Err(format!("errors:{}", lines.concat()))
        }
    }
}

fn report(path: &str, text: &str, errors: &mut Vec<String>) {
    errors.push(match path {
        "" => text.to_string(),
        path => format!("{path}: {text}"),
    });
}

fn check(value: &Value, ty: Type<'_>, path: &str, errors: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    let Type::Known(schema) = ty else {
        return;
    };
    if let Some(text) = wrong_type(value, schema) {
        return report(path, &text, errors);
    }
    match (&schema.node, value) {
        (Node::Object(object), Value::Object(_)) => {
            check_members(value, Members::Struct(object), path, errors);
        }
        (Node::Map(map), Value::Object(_)) => {
            let members = Members::Each(Type::Known(&map.values));
            check_members(value, members, path, errors);
        }
        (Node::List(_), Value::Array(items)) => check_items(items, schema, path, errors),
        (Node::Either(_), _) => {
            if let Kind::Map(members) = ty.kind(value) {
                check_members(value, members, path, errors);
            }
        }
        _ => {}
    }
}

fn check_members(value: &Value, members: Members<'_>, path: &str, errors: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let element = Element::field(name);
        let below = format!("{path}{element}");
        if let Members::Struct(object) = members
            && object.field(name).is_none()
        {
            if object.preserve_unknown {
                continue;
            }
            // Only the first one of an object is reported.
            return report(&below, "field not declared in schema", errors);
        }
        check(value, members.member(name).0, &below, errors);
    }
}

fn check_items(items: &[Value], schema: &Schema, path: &str, errors: &mut Vec<String>) {
    let Node::List(list) = &schema.node else {
        return;
    };
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let element = match list.list_type {
            ListType::Atomic => Element::Index(i64::try_from(at).unwrap_or(i64::MAX)),
            ListType::Set | ListType::Map => match item_element(list, item) {
                Ok(element) => element,
                Err(text) => return report(path, &format!("element {at}: {text}"), errors),
            },
        };
        let below = format!("{path}{element}");
        if list.list_type != ListType::Atomic {
            if seen.contains(&element) {
                report(
                    path,
                    &format!("duplicate entries for key {element}"),
                    errors,
                );
            }
            seen.insert(element);
        }
        check(item, Type::Known(&list.items), &below, errors);
    }
}

fn wrong_type(value: &Value, schema: &Schema) -> Option<String> {
    match (&schema.node, value) {
        (Node::Object(_) | Node::Map(_), Value::Object(_))
        | (Node::List(_), Value::Array(_))
        | (Node::String | Node::Bytes, Value::String(_))
        | (Node::Bool, Value::Bool(_))
        | (Node::Int32 | Node::Int64 | Node::Number, Value::Number(_))
        | (Node::Any | Node::Either(_), _) => None,
        (Node::Object(_) | Node::Map(_), _) => {
            Some(format!("expected map, got &{{{}}}", go(value)))
        }
        (Node::List(_), _) => Some(format!("expected list, got &{{{}}}", go(value))),
        (Node::String | Node::Bytes, _) => Some(format!(
            "expected string, got &value.valueUnstructured{{Value:{}}}",
            go_syntax(value)
        )),
        (Node::Bool, _) => Some(format!("expected boolean, got &{{{}}}", go(value))),
        (Node::Int32 | Node::Int64 | Node::Number, _) => Some(format!(
            "expected numeric (int or float), got {}",
            go_type(value)
        )),
        // Untyped scalars.
        (_, Value::Object(_) | Value::Array(_)) => {
            Some(format!("expected any scalar, got &{{{}}}", go(value)))
        }
        _ => None,
    }
}

fn go(value: &Value) -> String {
    crate::api::patch::go_value(value)
}

/// `%T`.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// `%#v`.
fn go_syntax(value: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => "interface {}(nil)".into(),
        Value::String(text) => crate::api::field::go_quote(text),
        Value::Array(items) => {
            format!(
                "[]interface {{}}{{{}}}",
                join(items.iter().map(go_syntax).collect())
            )
        }
        Value::Object(members) => {
            let parts = members
                .iter()
                .map(|(k, v)| format!("{}:{}", crate::api::field::go_quote(k), go_syntax(v)));
            format!("map[string]interface {{}}{{{}}}", join(parts.collect()))
        }
        other => other.to_string(),
    }
}
