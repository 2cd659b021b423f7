//! Discovery documents as YAML.
//!
//! Names, kinds and verbs need no quoting rules beyond the few here; objects with free text are
//! encoded elsewhere.

use serde_json::Value;

/// Block YAML with sorted keys, sequences at their parent's indentation.
pub(super) fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(_) => mapping(value, 0, false, &mut out),
        other => {
            scalar(other, &mut out);
            out.push('\n');
        }
    }
    out
}

fn mapping(value: &Value, indent: usize, in_sequence: bool, out: &mut String) {
    let Some(map) = value.as_object() else {
        return;
    };
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort();
    for (position, key) in keys.into_iter().enumerate() {
        if position > 0 || !in_sequence {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        text(key, out);
        out.push(':');
        member(&map[key], indent, out);
    }
}

fn member(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            mapping(value, indent + 2, false, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            sequence(items, indent, out);
        }
        other => {
            out.push(' ');
            scalar(other, out);
            out.push('\n');
        }
    }
}

fn sequence(items: &[Value], indent: usize, out: &mut String) {
    for item in items {
        out.extend(std::iter::repeat_n(' ', indent));
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => mapping(item, indent + 2, true, out),
            other => {
                scalar(other, out);
                out.push('\n');
            }
        }
    }
}

fn scalar(value: &Value, out: &mut String) {
    match value {
        Value::String(string) => text(string, out),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        other => out.push_str(&other.to_string()),
    }
}

fn text(string: &str, out: &mut String) {
    let plain = string
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/._:=+-*".contains(&b))
        && string.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '+')
        && !string.ends_with(':')
        && string.parse::<f64>().is_err()
        && !matches!(
            string,
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain {
        out.push_str(string);
    } else {
        out.push_str(&Value::from(string).to_string());
    }
}
