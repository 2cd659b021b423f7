//! Pod failure policy and success policy of a Job.

use super::super::common::access::{
    arr_at, as_i64, at, at_mut, default_zero, i64_at, items_mut, opt_str_at, path_at, str_at,
};
use super::super::common::checks;
use super::super::common::names::{self, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const CONDITIONS_MAX: usize = 20;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];

/// Conditions of failure rules are looked for with status True.
pub fn default_conditions(spec: &mut Value) {
    let Some(policy) = at_mut(spec, "podFailurePolicy") else {
        return;
    };
    for rule in items_mut(policy, "rules") {
        for condition in items_mut(rule, "onPodConditions") {
            default_zero(condition, "status", "True");
        }
    }
}

/// Validates `podFailurePolicy` of a job spec; `path` is the policy's.
pub fn validate_failure_policy(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(policy) = at(spec, "podFailurePolicy") else {
        return;
    };
    let path = path.field("rules");
    let rules = arr_at(policy, "rules");
    if rules.len() > RULES_MAX {
        errors.too_many(&path, rules.len(), RULES_MAX);
    }
    for (i, rule) in rules.iter().enumerate() {
        validate_rule(rule, spec, &path.index(i), errors);
    }
}

fn validate_rule(rule: &Value, spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let action = str_at(rule, "action");
    let action_path = path.field("action");
    match action {
        "" => errors.required(
            &action_path,
            "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
        ),
        "FailIndex" => {
            if at(spec, "backoffLimitPerIndex").is_none() {
                errors.invalid_str(
                    &action_path,
                    action,
                    "requires the backoffLimitPerIndex to be set",
                );
            }
        }
        "Count" | "FailJob" | "Ignore" => {}
        other => errors.not_supported(&action_path, &other.into(), &ACTIONS),
    }
    let codes = at(rule, "onExitCodes");
    if let Some(codes) = codes {
        validate_exit_codes(codes, spec, &path.field("onExitCodes"), errors);
    }
    let conditions = arr_at(rule, "onPodConditions");
    if !conditions.is_empty() {
        validate_conditions(conditions, &path.field("onPodConditions"), errors);
    }
    match (codes.is_some(), conditions.is_empty()) {
        (true, false) => errors.invalid_omitted(
            path,
            "specifying both OnExitCodes and OnPodConditions is not supported",
        ),
        (false, true) => errors.invalid_omitted(
            path,
            "specifying one of OnExitCodes and OnPodConditions is required",
        ),
        _ => {}
    }
}

fn validate_exit_codes(codes: &Value, spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let operator = str_at(codes, "operator");
    checks::required_enum(codes, path, "operator", &["In", "NotIn"], errors);
    if let Some(name) = opt_str_at(codes, "containerName") {
        let known = ["containers", "initContainers"].iter().any(|list| {
            let pod = path_at(spec, &["template", "spec"]).unwrap_or(&Value::Null);
            arr_at(pod, list).iter().any(|c| str_at(c, "name") == name)
        });
        if !known {
            errors.invalid_str(
                &path.field("containerName"),
                name,
                "must be one of the container or initContainer names in the pod template",
            );
        }
    }
    let values = arr_at(codes, "values");
    let path = path.field("values");
    if values.is_empty() {
        errors.invalid(
            &path,
            &Value::Array(Vec::new()),
            "at least one value is required",
        );
    } else if values.len() > EXIT_CODES_MAX {
        errors.too_many(&path, values.len(), EXIT_CODES_MAX);
    }
    let mut sorted = true;
    for (i, value) in values.iter().enumerate() {
        let number = as_i64(value).unwrap_or_default();
        if operator == "In" && number == 0 {
            errors.invalid(&path.index(i), value, "must not be 0 for the In operator");
        }
        if values[..i].contains(value) {
            errors.duplicate(&path.index(i), value);
        }
        sorted &= i == 0 || as_i64(&values[i - 1]).unwrap_or_default() <= number;
    }
    if !sorted {
        errors.invalid(&path, &Value::Array(values.to_vec()), "must be ordered");
    }
}

fn validate_conditions(conditions: &[Value], path: &Path<'_>, errors: &mut FieldErrors) {
    if conditions.len() > CONDITIONS_MAX {
        errors.too_many(path, conditions.len(), CONDITIONS_MAX);
    }
    for (i, condition) in conditions.iter().enumerate() {
        let path = path.index(i);
        let kind = str_at(condition, "type");
        invalid_each(
            errors,
            &path.field("type"),
            kind,
            names::qualified_name(kind),
        );
        checks::required_enum(
            condition,
            &path,
            "status",
            &["False", "True", "Unknown"],
            errors,
        );
    }
}

/// Validates `successPolicy` of an indexed job.
pub fn validate_success_policy(
    spec: &Value,
    policy: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let rules = arr_at(policy, "rules");
    let path = path.field("rules");
    if rules.is_empty() {
        errors.required(
            &path,
            "at least one rules must be specified when the successPolicy is specified",
        );
    }
    if rules.len() > RULES_MAX {
        errors.too_many(&path, rules.len(), RULES_MAX);
    }
    let completions = i64_at(spec, "completions").unwrap_or_default();
    for (i, rule) in rules.iter().enumerate() {
        validate_success_rule(rule, completions, &path.index(i), errors);
    }
}

fn validate_success_rule(
    rule: &Value,
    completions: i64,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let indexes = opt_str_at(rule, "succeededIndexes");
    let count = i64_at(rule, "succeededCount");
    if indexes.is_none() && count.is_none() {
        errors.required(
            path,
            "at least one of succeededCount or succeededIndexes must be specified",
        );
    }
    let mut total = completions;
    if let Some(indexes) = indexes {
        match count_indexes(indexes, completions) {
            Ok(n) => total = n,
            Err(message) => {
                errors.invalid_str(
                    &path.field("succeededIndexes"),
                    indexes,
                    format!("error parsing succeededIndexes: {message}"),
                );
                return;
            }
        }
    }
    let Some(count) = count else { return };
    let path = path.field("succeededCount");
    checks::non_negative_number(count, &path, errors);
    if count > completions {
        errors.invalid(
            &path,
            &count.into(),
            format!(
                "must be less than or equal to {completions} (the number of specified completions)"
            ),
        );
    } else if indexes.is_some() && count > total {
        errors.invalid(
            &path,
            &count.into(),
            format!(
                "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            ),
        );
    }
}

/// Counts the indexes of a text such as `1,3-5,7`.
///
/// # Errors
/// Says why the text is not a list of growing indexes below `completions`.
pub fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    let mut total = 0;
    let mut last: Option<i64> = None;
    if text.is_empty() {
        return Ok(0);
    }
    for interval in text.split(',') {
        let parts: Vec<&str> = interval.split('-').collect();
        if parts.len() > 2 {
            return Err(format!(
                "the fragment {interval:?} violates the requirement that an index interval can have at most two parts separated by '-'"
            ));
        }
        let first = parse_index(parts[0])?;
        if first >= completions {
            return Err(format!("too large index: {:?}", parts[0]));
        }
        if let Some(last) = last
            && last >= first
        {
            return Err(format!(
                "non-increasing order, previous: {last}, current: {first}"
            ));
        }
        let mut end = first;
        if let Some(second) = parts.get(1) {
            end = parse_index(second)?;
            if end >= completions {
                return Err(format!("too large index: {second:?}"));
            }
            if first >= end {
                return Err(format!(
                    "non-increasing order, previous: {first}, current: {end}"
                ));
            }
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

fn parse_index(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes() {
        let cases = [
            ("1,3-5,7", Ok(5)),
            ("", Ok(0)),
            (
                "x",
                Err("cannot convert string to integer for index: \"x\""),
            ),
            ("9-99", Err("too large index: \"99\"")),
            ("3,2", Err("non-increasing order, previous: 3, current: 2")),
        ];
        for (text, want) in cases {
            assert_eq!(
                count_indexes(text, 10),
                want.map_err(str::to_owned),
                "{text}"
            );
        }
    }
}
