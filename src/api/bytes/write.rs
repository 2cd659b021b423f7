//! The JSON text of trees, byte for byte what `serde_json` writes, for less: a string is looked at
//! once and copied whole, and nothing passes through the general serializer.

use super::plain::plain_len;
use crate::base::tree::Value;

/// Appends the text of a value.
pub fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            let mut digits = itoa::Buffer::new();
            match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => out.extend_from_slice(digits.format(number).as_bytes()),
                (None, Some(number)) => out.extend_from_slice(digits.format(number).as_bytes()),
                (None, None) => general(out, value),
            }
        }
        Value::String(text) => string(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                self::value(out, item);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            for (at, (name, member)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                string(out, name);
                out.push(b':');
                self::value(out, member);
            }
            out.push(b'}');
        }
    }
}

/// Appends a quoted string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    if needs_escapes(text) {
        return general(out, text);
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Whether something in a text cannot stand between quotes as it is.
pub fn needs_escapes(text: &str) -> bool {
    plain_len(text.as_bytes()) < text.len()
}

fn general<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("a Vec takes every byte and a Value has string keys");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z\"\\\\\n\u{0}-\u{1f}\u{7f}é]{0,9}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn as_serde_json_writes(tree in any_value()) {
            let mut out = Vec::new();
            value(&mut out, &tree);
            prop_assert_eq!(String::from_utf8(out), Ok(tree.to_string()));
        }
    }
}
