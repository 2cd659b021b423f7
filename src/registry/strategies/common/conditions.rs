//! Lists of `metav1.Condition` (contract/validation.md §A4).

use std::sync::LazyLock;

use regex::Regex;

use super::access::{arr_at, int_at, is_zero, str_at};
use super::names::{self, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
const REASON_MAX: usize = 1024;
const MESSAGE_MAX: usize = 32 * 1024;
const REASON_TEXT: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

static REASON: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$").expect("constant"));

/// Validates the member `conditions` of a status, at `path`.
pub fn validate_conditions(status: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let conditions = arr_at(status, "conditions");
    for (i, condition) in conditions.iter().enumerate() {
        let path = path.index(i);
        let kind = str_at(condition, "type");
        if conditions[..i].iter().any(|c| str_at(c, "type") == kind) {
            errors.duplicate(&path.field("type"), &kind.into());
        }
        validate_condition(condition, &path, errors);
    }
}

fn validate_condition(condition: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let kind = str_at(condition, "type");
    let kind_path = path.field("type");
    if kind.is_empty() {
        errors.required(&kind_path, "");
    } else {
        invalid_each(errors, &kind_path, kind, names::qualified_name(kind));
    }
    let status = str_at(condition, "status");
    if !STATUSES.contains(&status) {
        errors.not_supported(&path.field("status"), &status.into(), &STATUSES);
    }
    let observed = int_at(condition, "observedGeneration");
    if observed < 0 {
        let text = "must be greater than or equal to zero";
        errors.invalid(&path.field("observedGeneration"), &observed.into(), text);
    }
    if is_zero(condition.get("lastTransitionTime")) {
        errors.required(&path.field("lastTransitionTime"), "");
    }
    let reason = str_at(condition, "reason");
    let reason_path = path.field("reason");
    if reason.is_empty() {
        errors.required(&reason_path, "");
    } else {
        if !REASON.is_match(reason) {
            errors.invalid_str(&reason_path, reason, REASON_TEXT);
        }
        if reason.len() > REASON_MAX {
            errors.too_long(&reason_path, REASON_MAX);
        }
    }
    if str_at(condition, "message").len() > MESSAGE_MAX {
        errors.too_long(&path.field("message"), MESSAGE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn conditions() {
        let status = json!({"conditions": [{"type": "A", "status": "X", "reason": "b c"}]});
        let mut errors = FieldErrors::default();
        validate_conditions(&status, &Path::ROOT.field("c"), &mut errors);
        let fields: Vec<&str> = errors.0.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(
            fields,
            ["c[0].status", "c[0].lastTransitionTime", "c[0].reason"]
        );
    }
}
