//! `spec.behavior`: defaults and rules of scaling up and down.

use super::super::common::access::{
    arr_at, at, at_mut, default_nil, ensure_object, get, i64_at, int_at,
};
use super::super::common::{checks, resources};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};

const WINDOW_MAX: i64 = 3600;
const PERIOD_MAX: i64 = 1800;

/// Fills both directions when a behavior is given.
pub fn default(spec: &mut Value) {
    let Some(behavior) = at_mut(spec, "behavior") else {
        return;
    };
    let up = ensure_object(behavior, "scaleUp");
    default_nil(up, "stabilizationWindowSeconds", 0);
    default_nil(up, "selectPolicy", "Max");
    default_nil(
        up,
        "policies",
        json!([
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]),
    );
    let down = ensure_object(behavior, "scaleDown");
    default_nil(down, "selectPolicy", "Max");
    default_nil(
        down,
        "policies",
        json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]),
    );
}

/// Validates both directions.
pub fn validate(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let behavior = get(spec, "behavior");
    let path = path.field("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = at(behavior, direction) {
            validate_rules(rules, &path.field(direction), errors);
        }
    }
}

fn validate_rules(rules: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if let Some(n) = i64_at(rules, "stabilizationWindowSeconds") {
        let path = path.field("stabilizationWindowSeconds");
        if n < 0 {
            errors.invalid(&path, &n.into(), "must be greater than or equal to zero");
        }
        if n > WINDOW_MAX {
            errors.invalid(
                &path,
                &n.into(),
                format!("must be less than or equal to {WINDOW_MAX}"),
            );
        }
    }
    checks::optional_enum(
        rules,
        path,
        "selectPolicy",
        &["Disabled", "Max", "Min"],
        errors,
    );
    let list = path.field("policies");
    let policies = arr_at(rules, "policies");
    if policies.is_empty() {
        errors.required(&list, "must specify at least one Policy");
    }
    for (i, policy) in policies.iter().enumerate() {
        validate_policy(policy, &list.index(i), errors);
    }
    if let Some(tolerance) = at(rules, "tolerance")
        && resources::nanos(tolerance).is_some_and(|n| n < 0)
    {
        let text = resources::quantity_text(tolerance);
        errors.invalid_str(&path.field("tolerance"), &text, checks::NON_NEGATIVE);
    }
}

fn validate_policy(policy: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let kind = get(policy, "type");
    if !matches!(kind.as_str(), Some("Percent" | "Pods")) {
        let shown = Value::from(kind.as_str().unwrap_or_default());
        errors.not_supported(&path.field("type"), &shown, &["Percent", "Pods"]);
    }
    checks::positive_number(int_at(policy, "value"), &path.field("value"), errors);
    let period = int_at(policy, "periodSeconds");
    let path = path.field("periodSeconds");
    checks::positive_number(period, &path, errors);
    if period > PERIOD_MAX {
        errors.invalid(
            &path,
            &period.into(),
            format!("must be less than or equal to {PERIOD_MAX}"),
        );
    }
}
