//! `metav1.LabelSelector`: validation (contract/validation.md §A5) and matching.

use super::access::{Object, arr_at, obj_at, str_at, strings_at};
use super::checks;
use super::names::{self, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

/// Validates a selector at `path`. A missing selector is valid.
pub fn validate_label_selector(
    selector: Option<&Value>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let Some(selector) = selector else { return };
    let labels = selector.get("matchLabels");
    checks::labels(labels, &path.field("matchLabels"), errors);
    let expressions = path.field("matchExpressions");
    for (i, expression) in arr_at(selector, "matchExpressions").iter().enumerate() {
        validate_requirement(expression, &expressions.index(i), errors);
    }
}

fn validate_requirement(requirement: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let values = arr_at(requirement, "values");
    let operator = str_at(requirement, "operator");
    match operator {
        "In" | "NotIn" if values.is_empty() => errors.required(
            &path.field("values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        ),
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(
            &path.field("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        "Exists" | "DoesNotExist" => {}
        _ => errors.invalid_str(
            &path.field("operator"),
            operator,
            "not a valid selector operator",
        ),
    }
    let key = str_at(requirement, "key");
    invalid_each(errors, &path.field("key"), key, names::qualified_name(key));
    let values_path = path.field("values");
    for (j, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        invalid_each(
            errors,
            &values_path.index(j),
            value,
            names::label_value(value),
        );
    }
}

/// Whether the selector is well formed enough to be converted to a matcher
/// (`LabelSelectorAsSelector` succeeds).
pub fn is_convertible(selector: &Value) -> bool {
    let mut errors = FieldErrors::default();
    validate_label_selector(Some(selector), &Path::ROOT, &mut errors);
    errors.is_empty()
}

/// Whether a selector selects everything: no labels and no expressions.
pub fn is_empty(selector: &Value) -> bool {
    obj_at(selector, "matchLabels").is_none_or(Object::is_empty)
        && arr_at(selector, "matchExpressions").is_empty()
}

/// Whether the selector matches the labels. A missing selector matches nothing, an empty one
/// everything.
pub fn matches(selector: Option<&Value>, labels: Option<&Object>) -> bool {
    let Some(selector) = selector.filter(|s| !s.is_null()) else {
        return false;
    };
    let get = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
    strings_at(selector, "matchLabels").all(|(key, value)| get(key) == Some(value))
        && arr_at(selector, "matchExpressions")
            .iter()
            .all(|requirement| {
                let value = get(str_at(requirement, "key"));
                let listed =
                    || value.is_some_and(|v| arr_at(requirement, "values").iter().any(|x| x == v));
                match str_at(requirement, "operator") {
                    "In" => listed(),
                    "NotIn" => !listed(),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
}

/// Whether a plain label map (`spec.selector` of older kinds) matches the labels.
pub fn map_matches(selector: Option<&Object>, labels: Option<&Object>) -> bool {
    selector
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
}

/// Prints a selector in wire form: matchLabels before matchExpressions, empty ones left out.
pub fn print(selector: Option<&Value>) -> String {
    let Some(selector) = selector.filter(|s| !s.is_null()) else {
        return "null".into();
    };
    let mut parts = Vec::new();
    for field in ["matchLabels", "matchExpressions"] {
        let value = selector.get(field).filter(|v| match v {
            Value::Object(o) => !o.is_empty(),
            Value::Array(a) => !a.is_empty(),
            _ => false,
        });
        if let Some(value) = value {
            parts.push(format!("\"{field}\":{}", super::golang::json(value)));
        }
    }
    format!("{{{}}}", parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn matching() {
        let labels = json!({"a": "b", "c": "d"});
        let cases = [
            (json!({}), true),
            (json!({"matchLabels": {"a": "b"}}), true),
            (json!({"matchLabels": {"a": "x"}}), false),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "z", "operator": "NotIn", "values": ["b"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}),
                false,
            ),
        ];
        for (selector, want) in cases {
            assert_eq!(
                matches(Some(&selector), labels.as_object()),
                want,
                "{selector}"
            );
        }
        assert!(!matches(None, labels.as_object()));
    }

    #[test]
    fn validation() {
        let selector = json!({"matchLabels": {"a b": "c"}, "matchExpressions": [
            {"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]},
            {"key": "a", "operator": "Odd"}]});
        let mut errors = FieldErrors::default();
        validate_label_selector(Some(&selector), &Path::ROOT.field("s"), &mut errors);
        let fields: Vec<&str> = errors.0.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "s.matchLabels",
                "s.matchExpressions[0].values",
                "s.matchExpressions[1].values",
                "s.matchExpressions[2].operator"
            ]
        );
    }
}
