//! Attributes and capacities of a device.

use super::super::common::access::{arr_at, at, get};
use super::super::common::resources::{self, format_nanos, is_binary, nanos, quantity_text};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const TEXT_MAX: usize = 64;
const VALID_VALUES_MAX: usize = 10;
const FORMS: [&str; 4] = ["int", "bool", "string", "version"];

/// An attribute has one value.
pub fn validate_attribute(attribute: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let set = FORMS.iter().filter(|f| at(attribute, f).is_some()).count();
    for field in ["string", "version"] {
        let Some(text) = at(attribute, field).and_then(Value::as_str) else {
            continue;
        };
        let path = path.field(field);
        if text.len() > TEXT_MAX {
            errors.too_long(&path, TEXT_MAX);
        }
        if field == "version" && !is_semver(text) {
            errors.invalid_str(
                &path,
                text,
                "must be a string compatible with semver.org spec 2.0.0",
            );
        }
    }
    match set {
        1 => {}
        0 => errors.invalid_str(path, "", "exactly one value must be specified"),
        _ => errors.invalid(path, attribute, "exactly one value must be specified"),
    }
}

/// Whether the text is a semantic version.
fn is_semver(text: &str) -> bool {
    let (rest, build) = match text.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (text, None),
    };
    let (core, pre) = match rest.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (rest, None),
    };
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let number = |s: &str| digits(s) && (s == "0" || !s.starts_with('0'));
    let parts: Vec<&str> = core.split('.').collect();
    parts.len() == 3
        && parts.into_iter().all(number)
        && pre.is_none_or(|p| p.split('.').all(|s| word(s) && (!digits(s) || number(s))))
        && build.is_none_or(|b| b.split('.').all(word))
}

/// A capacity and how it may be requested in parts.
pub fn validate_capacity(
    capacity: &Value,
    shared: bool,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let Some(policy) = at(capacity, "requestPolicy") else {
        return;
    };
    let path = path.field("requestPolicy");
    if !shared {
        errors.forbidden(&path, "allowMultipleAllocations must be true");
        return;
    }
    let total = get(capacity, "value");
    let values = !arr_at(policy, "validValues").is_empty();
    match (values, at(policy, "validRange")) {
        (true, Some(_)) => errors.forbidden(&path, "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time"),
        (true, None) => validate_values(policy, total, &path, errors),
        (false, Some(range)) => validate_range(policy, range, total, &path, errors),
        (false, None) => {}
    }
}

fn amount(quantity: &Value) -> i128 {
    nanos(quantity).unwrap_or_default()
}

fn invalid(quantity: &Value, detail: String, path: &Path<'_>, errors: &mut FieldErrors) {
    errors.invalid_str(path, &quantity_text(quantity), detail);
}

fn validate_values(policy: &Value, total: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("validValues");
    let values = arr_at(policy, "validValues");
    let default = at(policy, "default");
    if default.is_none() {
        errors.required(
            &path.field("default"),
            "required when validValues is defined",
        );
    }
    if values.len() > VALID_VALUES_MAX {
        errors.too_many(&list, values.len(), VALID_VALUES_MAX);
        return;
    }
    for (i, value) in values.iter().enumerate() {
        let path = list.index(i);
        if amount(value) > amount(total) {
            let total = quantity_text(total);
            let detail = format!("option is larger than capacity value: {total}");
            invalid(value, detail, &path, errors);
        }
        let Some(before) = i.checked_sub(1).map(|i| amount(&values[i])) else {
            continue;
        };
        if before > amount(value) {
            let detail = "values must be sorted in ascending order".to_owned();
            invalid(value, detail, &path, errors);
        } else if before == amount(value) {
            errors.duplicate(&path, &quantity_text(value).into_owned().into());
        }
    }
    if let Some(default) = default
        && !values.iter().any(|v| amount(v) == amount(default))
    {
        let detail = "default value is not valid according to the requestPolicy".to_owned();
        invalid(default, detail, &path.field("default"), errors);
    }
}

fn validate_range(
    policy: &Value,
    range: &Value,
    total: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let default_path = path.field("default");
    let default = at(policy, "default");
    if default.is_none() {
        errors.required(&default_path, "required when validRange is defined");
    }
    let path = path.field("validRange");
    let min_path = path.field("min");
    let Some(min) = at(range, "min") else {
        errors.required(&min_path, "required when validRange is defined");
        return;
    };
    let total_text = quantity_text(total);
    let mut larger = |value: &Value, limit: &Value, detail: String, path: &Path<'_>| {
        if amount(value) > amount(limit) {
            invalid(value, detail, path, errors);
        }
    };
    let text = format!("min is larger than capacity value: {total_text}");
    larger(min, total, text, &min_path);
    let max = at(range, "max");
    if let Some(max) = max {
        let text = format!("min is larger than max: {}", quantity_text(max));
        larger(min, max, text, &min_path);
        let text = format!("max is larger than capacity value: {total_text}");
        larger(max, total, text, &path.field("max"));
    }
    if let Some(default) = default {
        if let Some(max) = max {
            let text = format!("default is more than max: {}", quantity_text(max));
            larger(default, max, text, &default_path);
        }
        if amount(default) < amount(min) {
            let text = format!("default is less than min: {}", quantity_text(min));
            invalid(default, text, &default_path, errors);
        }
    }
    if let Some(step) = at(range, "step") {
        validate_step(
            step,
            [min, total],
            default,
            max,
            &path.field("step"),
            errors,
        );
    }
}

fn validate_step(
    step: &Value,
    [min, total]: [&Value; 2],
    default: Option<&Value>,
    max: Option<&Value>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let first = amount(min) + amount(step);
    if first > amount(total) {
        let first = format_nanos(first, is_binary(&quantity_text(min)));
        let total = quantity_text(total);
        let detail = format!("one step {first} is larger than capacity value: {total}");
        invalid(step, detail, path, errors);
    }
    for value in [default, max].into_iter().flatten() {
        let past = amount(value) - amount(min);
        if amount(step) > 0 && past % amount(step) != 0 {
            let (step, min) = (quantity_text(step), resources::quantity_text(min));
            let detail = format!("value is not a multiple of a given step ({step}) from ({min})");
            invalid(value, detail, path, errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantic_versions() {
        let good = ["1.2.3", "0.0.0-a.1+b", "1.0.0--"];
        let bad = ["1.2", "01.2.3", "1.2.3-01", "1.2.3+", "v1.2.3"];
        assert!(good.into_iter().all(is_semver));
        assert!(!bad.into_iter().any(is_semver));
    }
}
