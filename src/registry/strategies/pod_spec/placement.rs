//! Topology spread constraints and tolerations.

use super::super::common::access::{arr_at, at, i64_at, int_at, str_at};
use super::super::common::checks;
use super::super::common::names::{self, invalid_each};
use super::super::common::selector::validate_label_selector;
use super::affinity::{SelectorKeys, validate_label_keys};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;

const WHEN_UNSATISFIABLE: [&str; 2] = ["DoNotSchedule", "ScheduleAnyway"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Validates `topologySpreadConstraints`.
pub fn validate_topology_spread(
    spec: &Value,
    keys: SelectorKeys,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let constraints = arr_at(spec, "topologySpreadConstraints");
    for (i, constraint) in constraints.iter().enumerate() {
        let path = path.index(i);
        checks::positive_number(
            int_at(constraint, "maxSkew"),
            &path.field("maxSkew"),
            errors,
        );
        let key = str_at(constraint, "topologyKey");
        if key.is_empty() {
            errors.required(&path.field("topologyKey"), "can not be empty");
        } else {
            invalid_each(
                errors,
                &path.field("topologyKey"),
                key,
                names::qualified_name(key),
            );
        }
        let when = str_at(constraint, "whenUnsatisfiable");
        if !WHEN_UNSATISFIABLE.contains(&when) {
            errors.not_supported(
                &path.field("whenUnsatisfiable"),
                &when.into(),
                &WHEN_UNSATISFIABLE,
            );
        }
        let repeated = constraints[..i]
            .iter()
            .any(|c| str_at(c, "topologyKey") == key && str_at(c, "whenUnsatisfiable") == when);
        if repeated {
            let field = path.field("{topologyKey, whenUnsatisfiable}");
            let value = format!("{{{key}, {when}}}");
            errors.duplicate(&field, &value.into());
        }
        validate_min_domains(constraint, when, &path.field("minDomains"), errors);
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            checks::optional_enum(constraint, &path, field, &["Honor", "Ignore"], errors);
        }
        validate_label_keys(
            arr_at(constraint, "matchLabelKeys"),
            at(constraint, "labelSelector"),
            keys,
            &path.field("matchLabelKeys"),
            errors,
        );
        validate_label_selector(
            at(constraint, "labelSelector"),
            &path.field("labelSelector"),
            errors,
        );
    }
}

fn validate_min_domains(constraint: &Value, when: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(domains) = i64_at(constraint, "minDomains") else {
        return;
    };
    checks::positive_number(domains, path, errors);
    if when != "DoNotSchedule" {
        errors.invalid(
            path,
            &domains.into(),
            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ".to_owned() + when,
        );
    }
}

/// Validates `tolerations`.
pub fn validate_tolerations(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (i, toleration) in arr_at(spec, "tolerations").iter().enumerate() {
        validate_toleration(toleration, &path.index(i), errors);
    }
}

/// One toleration (also of a RuntimeClass).
pub fn validate_toleration(toleration: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let key = str_at(toleration, "key");
    let operator = str_at(toleration, "operator");
    let operator_path = path.field("operator");
    if !key.is_empty() {
        invalid_each(errors, &path.field("key"), key, names::qualified_name(key));
    }
    if key.is_empty() && operator != "Exists" {
        errors.invalid_str(
            &operator_path,
            operator,
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        );
    }
    let effect = str_at(toleration, "effect");
    if at(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
        errors.invalid_str(
            &path.field("effect"),
            effect,
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        );
    }
    let value = str_at(toleration, "value");
    match operator {
        "" | "Equal" => {
            let messages = names::label_value(value);
            if !messages.is_empty() {
                errors.push(
                    ErrorType::Invalid,
                    &operator_path,
                    crate::api::field::go_quote(value),
                    messages.join(";"),
                );
            }
        }
        "Exists" => {
            if !value.is_empty() {
                errors.invalid_str(
                    &operator_path,
                    value,
                    "value must be empty when `operator` is 'Exists'",
                );
            }
        }
        "Lt" | "Gt" => errors.not_supported(
            &operator_path,
            &operator.into(),
            &["Equal", "Exists", "Lt", "Gt"],
        ),
        _ => errors.not_supported(&operator_path, &operator.into(), &["Equal", "Exists"]),
    }
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.not_supported(&path.field("effect"), &effect.into(), &EFFECTS);
    }
}
