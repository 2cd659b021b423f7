//! Merge patch, RFC 7386, with the library's ideas about nulls.

use crate::base::tree::{Map, Value};

/// Merges `patch` into `target`: members overwrite, null members remove. Nulls inside what is new go
/// too; nulls that are elements of an array stay.
pub(super) fn merge(target: &mut Map, patch: &Map) {
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
            continue;
        }
        match (target.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(patch)) => merge(inner, patch),
            (Some(Value::Object(_)), array_or_scalar) => {
                target.insert(key.clone(), array_or_scalar.clone());
            }
            _ => {
                target.insert(key.clone(), pruned(value));
            }
        }
    }
}

/// A copy without null members, also inside arrays.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), pruned(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(pruned).collect()),
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn members_merge() {
        for (target, patch, want) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"a": null, "z": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({}),
                json!({"a": {"b": {"c": null}}}),
                json!({"a": {"b": {}}}),
            ),
            (
                json!({}),
                json!({"a": [null, {"b": null}]}),
                json!({"a": [null, {}]}),
            ),
            (
                json!({"a": {"x": 1}}),
                json!({"a": [{"b": null}]}),
                json!({"a": [{"b": null}]}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
        ] {
            let mut got = target.as_object().expect("object").clone();
            merge(&mut got, patch.as_object().expect("object"));
            assert_eq!(Value::Object(got), want, "{target} with {patch}");
        }
    }
}
