//! Reading and filling members of JSON trees the way Go reads struct fields.
//!
//! Missing and `null` are one; strings and lists have empty as their zero.

use crate::base::tree::{Map, Value};

/// A JSON object.
pub type Object = Map;

/// What a missing member reads as.
pub static NULL: Value = Value::Null;

/// The member `key`, null when missing: for walking on without asking at every step.
pub fn get<'a>(value: &'a Value, key: &str) -> &'a Value {
    value.get(key).unwrap_or(&NULL)
}

/// The member `key`, `None` when missing or null.
pub fn at<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|v| !v.is_null())
}

/// The member reached by `keys`, `None` when any step is missing or null.
pub fn path_at<'a>(value: &'a Value, keys: &[&str]) -> Option<&'a Value> {
    keys.iter().try_fold(value, |v, key| at(v, key))
}

/// The string `key`, empty when missing.
pub fn str_at<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The string `key`, `None` when missing.
pub fn opt_str_at<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// The integer `key`, `None` when missing.
pub fn i64_at(value: &Value, key: &str) -> Option<i64> {
    value.get(key).and_then(as_i64)
}

/// The integer `key`, 0 when missing.
pub fn int_at(value: &Value, key: &str) -> i64 {
    i64_at(value, key).unwrap_or_default()
}

/// The boolean `key`, `None` when missing.
pub fn bool_at(value: &Value, key: &str) -> Option<bool> {
    value.get(key).and_then(Value::as_bool)
}

/// Whether the boolean `key` is present and true.
pub fn is_true(value: &Value, key: &str) -> bool {
    bool_at(value, key) == Some(true)
}

/// The list `key`, empty when missing.
pub fn arr_at<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The object `key`, `None` when missing.
pub fn obj_at<'a>(value: &'a Value, key: &str) -> Option<&'a Object> {
    value.get(key).and_then(Value::as_object)
}

/// The entries of the string map `key`, in key order; none when missing.
pub fn strings_at<'a>(
    value: &'a Value,
    key: &str,
) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    entries_at(value, key).map(|(k, v)| (k, v.as_str().unwrap_or_default()))
}

/// The entries of the map `key`, in key order; none when missing.
pub fn entries_at<'a>(
    value: &'a Value,
    key: &str,
) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
    obj_at(value, key)
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v))
}

/// Whether the member is missing, null, empty (list, map, string), zero or false: Go's zero value.
pub fn is_zero(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(s)) => s.is_empty(),
        Some(Value::Array(a)) => a.is_empty(),
        Some(Value::Object(o)) => o.is_empty(),
        Some(Value::Bool(b)) => !b,
        Some(n @ Value::Number(_)) => as_i64(n) == Some(0),
    }
}

/// A number as an integer; floats without a fraction count, as they do for Go's JSON decoder of
/// Kubernetes.
pub fn as_i64(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        value
            .as_f64()
            .filter(|f| f.fract() == 0.0 && f.abs() < 9.0e15)
            .map(|f| f as i64)
    })
}

/// The object itself, made if `value` is not one.
pub fn object_mut(value: &mut Value) -> &mut Object {
    if !value.is_object() {
        *value = Value::Object(Object::new());
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("just made an object"),
    }
}

/// The object `key`, made if missing.
pub fn ensure_object<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    let member = object_mut(value).entry(key.into()).or_insert(Value::Null);
    object_mut(member);
    member
}

/// The member `key` for changing, `None` when missing or null.
pub fn at_mut<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    value.get_mut(key).filter(|v| !v.is_null())
}

/// The items of list `key` for changing, none when missing.
pub fn items_mut<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    value
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// Fills `key` when missing or null (a nil pointer).
pub fn default_nil(value: &mut Value, key: &str, default: impl Into<Value>) {
    if at(value, key).is_none() {
        object_mut(value).insert(key.into(), default.into());
    }
}

/// Fills `key` when missing, null or zero (a plain Go field).
pub fn default_zero(value: &mut Value, key: &str, default: impl Into<Value>) {
    if is_zero(value.get(key)) {
        object_mut(value).insert(key.into(), default.into());
    }
}

/// Removes `key`.
pub fn remove(value: &mut Value, key: &str) -> Option<Value> {
    value.as_object_mut().and_then(|object| object.remove(key))
}

/// Sets `key` to `member`, or removes it when `None`.
pub fn set_or_remove(value: &mut Value, key: &str, member: Option<Value>) {
    match member {
        Some(member) => {
            object_mut(value).insert(key.into(), member);
        }
        None => {
            remove(value, key);
        }
    }
}

/// Semantic equality: missing, null and empty lists, maps and structs are equal (apimachinery's
/// `equality.Semantic`). Quantities are compared as printed, which is canonical after decoding.
pub fn semantic_equal(a: Option<&Value>, b: Option<&Value>) -> bool {
    // The usual case, at a fraction of the cost of looking members up.
    a == b || is_equal_but_for_empties(a, b)
}

fn is_equal_but_for_empties(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.iter()
                .all(|(k, v)| is_equal_but_for_empties(Some(v), b.get(k)))
                && b.iter()
                    .all(|(k, v)| a.contains_key(k) || is_equal_but_for_empties(None, Some(v)))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| is_equal_but_for_empties(Some(a), Some(b)))
        }
        (Some(a), Some(b)) if a == b => true,
        (a, b) => empty_container(a) && empty_container(b),
    }
}

fn empty_container(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(a)) => a.is_empty(),
        Some(Value::Object(o)) => o.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn null_is_missing() {
        let v = json!({"a": null, "s": "x", "n": 3, "l": [1], "f": 2.0});
        assert_eq!(at(&v, "a"), None);
        assert_eq!(str_at(&v, "s"), "x");
        assert_eq!(str_at(&v, "a"), "");
        assert_eq!(i64_at(&v, "f"), Some(2));
        assert_eq!(arr_at(&v, "l").len(), 1);
        assert_eq!(arr_at(&v, "a").len(), 0);
    }

    #[test]
    fn semantic_equality_ignores_empties() {
        let cases = [
            (json!({"a": [], "b": 1}), json!({"b": 1}), true),
            (json!({"a": {}, "b": 1}), json!({"b": 1, "c": null}), true),
            (json!({"a": ""}), json!({}), false),
            (json!({"a": [1]}), json!({"a": [2]}), false),
        ];
        for (a, b, want) in cases {
            assert_eq!(semantic_equal(Some(&a), Some(&b)), want, "{a} {b}");
        }
    }
}
