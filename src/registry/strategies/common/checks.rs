//! Small checks that many kinds share: numbers, enumerations, immutability, paths, label maps.

use super::access::{as_i64, at, i64_at, semantic_equal, str_at};
use super::names::{self, invalid_each};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;

/// Upstream's text for an immutable field.
pub const IMMUTABLE: &str = "field is immutable";

/// Upstream's text for a negative number.
pub const NON_NEGATIVE: &str = "must be greater than or equal to 0";

/// `field` of `value`, where present, is not negative.
pub fn non_negative(value: &Value, path: &Path<'_>, field: &str, errors: &mut FieldErrors) {
    if let Some(n) = i64_at(value, field) {
        non_negative_number(n, &path.field(field), errors);
    }
}

/// `n` is not negative.
pub fn non_negative_number(n: i64, path: &Path<'_>, errors: &mut FieldErrors) {
    if n < 0 {
        errors.invalid(path, &n.into(), NON_NEGATIVE);
    }
}

/// `n` is greater than zero.
pub fn positive_number(n: i64, path: &Path<'_>, errors: &mut FieldErrors) {
    if n <= 0 {
        errors.invalid(path, &n.into(), "must be greater than zero");
    }
}

/// The string `field`, when set, is one of `supported`.
pub fn optional_enum(
    value: &Value,
    path: &Path<'_>,
    field: &str,
    supported: &[&str],
    errors: &mut FieldErrors,
) {
    if let Some(text) = at(value, field)
        && !supported.contains(&text.as_str().unwrap_or_default())
    {
        errors.not_supported(&path.field(field), text, supported);
    }
}

/// The string `field` is set (else `Required value`) and one of `supported`.
pub fn required_enum(
    value: &Value,
    path: &Path<'_>,
    field: &str,
    supported: &[&str],
    errors: &mut FieldErrors,
) {
    let text = str_at(value, field);
    if text.is_empty() {
        errors.required(&path.field(field), "");
    } else if !supported.contains(&text) {
        errors.not_supported(&path.field(field), &text.into(), supported);
    }
}

/// The string `field` is not empty. Returns whether it is set.
pub fn required_str(value: &Value, path: &Path<'_>, field: &str, errors: &mut FieldErrors) -> bool {
    let set = !str_at(value, field).is_empty();
    if !set {
        errors.required(&path.field(field), "");
    }
    set
}

/// `new` equals `old` semantically. Values are printed as they are on the wire.
pub fn immutable(
    new: Option<&Value>,
    old: Option<&Value>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    if !semantic_equal(new, old) {
        errors.invalid(path, new.unwrap_or(&Value::Null), IMMUTABLE);
    }
}

/// `new` equals `old`; the value is printed by `print` (internal Go forms).
pub fn immutable_as(
    new: Option<&Value>,
    old: Option<&Value>,
    path: &Path<'_>,
    print: impl FnOnce(Option<&Value>) -> String,
    errors: &mut FieldErrors,
) {
    if !semantic_equal(new, old) {
        errors.push(ErrorType::Invalid, path, print(new), IMMUTABLE);
    }
}

/// A map of labels: keys are label keys, values label values.
pub fn labels(map: Option<&Value>, path: &Path<'_>, errors: &mut FieldErrors) {
    for (key, value) in map.and_then(Value::as_object).into_iter().flatten() {
        invalid_each(errors, path, key, names::qualified_name(key));
        let value = value.as_str().unwrap_or_default();
        invalid_each(errors, path, value, names::label_value(value));
    }
}

/// A relative path without `..` steps.
pub fn relative_path(text: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if text.starts_with('/') {
        errors.invalid_str(path, text, "must be a relative path");
    }
    no_backsteps(text, path, errors);
}

/// A path none of whose steps is `..`.
pub fn no_backsteps(text: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if text.split('/').any(|step| step == "..") {
        errors.invalid_str(path, text, "must not contain '..'");
    }
}

/// A relative path that also does not start with `..` (keys projected into volumes).
pub fn local_non_reserved_path(text: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    relative_path(text, path, errors);
    if text.starts_with("..") && !text.starts_with("../") {
        errors.invalid_str(path, text, "must not start with '..'");
    }
}

/// A port given as a number or a name.
pub fn port_num_or_name(port: Option<&Value>, path: &Path<'_>, errors: &mut FieldErrors) {
    match port {
        Some(Value::String(name)) => invalid_each(errors, path, name, names::port_name(name)),
        port => {
            let n = port.and_then(as_i64).unwrap_or_default();
            for message in names::port_number(n) {
                errors.invalid(path, &n.into(), message);
            }
        }
    }
}

/// An int-or-percent: a non-negative number or a percent string.
pub fn int_or_percent(value: Option<&Value>, path: &Path<'_>, errors: &mut FieldErrors) {
    match value {
        Some(Value::String(text)) => invalid_each(errors, path, text, names::percent(text)),
        Some(n) => non_negative_number(as_i64(n).unwrap_or_default(), path, errors),
        None => {}
    }
}

/// A percent string is at most 100%.
pub fn at_most_100_percent(value: Option<&Value>, path: &Path<'_>, errors: &mut FieldErrors) {
    if let Some(value) = value
        && percent_of(value).is_some_and(|percent| percent > 100)
    {
        errors.invalid(path, value, "must not be greater than 100%");
    }
}

/// The number of a percent string.
pub fn percent_of(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    if !names::percent(text).is_empty() {
        return None;
    }
    text.trim_end_matches('%').parse().ok()
}

/// The number of an int-or-percent: the integer, or the number before the `%`; 0 when unreadable.
pub fn int_or_percent_value(value: Option<&Value>) -> i64 {
    value
        .and_then(|v| percent_of(v).or_else(|| as_i64(v)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn int_or_percent_texts() {
        let cases = [
            (json!("x"), 1),
            (json!("10%"), 0),
            (json!(-1), 1),
            (json!(3), 0),
        ];
        for (value, want) in cases {
            let mut errors = FieldErrors::default();
            int_or_percent(Some(&value), &Path::ROOT, &mut errors);
            assert_eq!(errors.0.len(), want, "{value}");
        }
    }

    #[test]
    fn paths() {
        let mut errors = FieldErrors::default();
        local_non_reserved_path("/a/../..b", &Path::ROOT, &mut errors);
        local_non_reserved_path("..b", &Path::ROOT, &mut errors);
        let got: Vec<&str> = errors.0.iter().map(|e| e.detail.as_str()).collect();
        assert_eq!(
            got,
            [
                "must be a relative path",
                "must not contain '..'",
                "must not start with '..'"
            ]
        );
    }
}
