//! `spec.devices` of a claim: requests, constraints, configuration.

use super::super::common::access::{
    arr_at, at, at_mut, default_zero, get, int_at, items_mut, str_at,
};
use super::super::common::names::{self as rules, invalid_each};
use super::{LIST_MAX, names, validate_opaque, validate_selectors, within};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const ALTERNATIVES_MAX: usize = 8;
const TOLERATIONS_MAX: usize = 16;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
const ONE_OF: &str = "exactly one of `exactly` or `firstAvailable` is required";
const UNKNOWN_REQUEST: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// Fills the defaults of all requests of a claim's spec.
pub fn default(spec: &mut Value) {
    let Some(devices) = at_mut(spec, "devices") else {
        return;
    };
    for request in items_mut(devices, "requests") {
        // v1beta1 has the members of `exactly` here, and none where there are alternatives.
        if !str_at(request, "deviceClassName").is_empty() {
            default_one(request);
        }
        if let Some(exactly) = at_mut(request, "exactly") {
            default_one(exactly);
        }
        for alternative in items_mut(request, "firstAvailable") {
            default_one(alternative);
        }
    }
}

fn default_one(request: &mut Value) {
    default_zero(request, "allocationMode", "ExactCount");
    if str_at(request, "allocationMode") == "ExactCount" {
        default_zero(request, "count", 1);
    }
    for toleration in items_mut(request, "tolerations") {
        default_zero(toleration, "operator", "Equal");
    }
}

/// Validates a claim's spec.
pub fn validate(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let devices = get(spec, "devices");
    let path = path.field("devices");
    let list = path.field("requests");
    let requests = arr_at(devices, "requests");
    if within(devices, "requests", LIST_MAX, &list, errors) {
        for (i, request) in requests.iter().enumerate() {
            let path = list.index(i);
            validate_request(request, &path, errors);
            let name = str_at(request, "name");
            if requests[..i].iter().any(|r| str_at(r, "name") == name) {
                errors.duplicate(&path, &name.into());
            }
        }
    }
    let list = path.field("constraints");
    if within(devices, "constraints", LIST_MAX, &list, errors) {
        for (i, constraint) in arr_at(devices, "constraints").iter().enumerate() {
            let path = list.index(i);
            validate_references(constraint, requests, &path, errors);
            let attribute = path.field("matchAttribute");
            match at(constraint, "matchAttribute").and_then(Value::as_str) {
                Some(name) => names::fully_qualified(name, &attribute, errors),
                None if at(constraint, "distinctAttribute").is_none() => {
                    errors.required(&attribute, "");
                }
                None => {}
            }
        }
    }
    let list = path.field("config");
    if within(devices, "config", LIST_MAX, &list, errors) {
        for (i, config) in arr_at(devices, "config").iter().enumerate() {
            let path = list.index(i);
            validate_references(config, requests, &path, errors);
            validate_opaque(config, &path, errors);
        }
    }
}

/// Names in `requests` must be those of requests or of their alternatives.
fn validate_references(
    owner: &Value,
    requests: &[Value],
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let list = path.field("requests");
    let all = arr_at(owner, "requests");
    if !within(owner, "requests", LIST_MAX, &list, errors) {
        return;
    }
    for (i, name) in all.iter().enumerate() {
        let text = name.as_str().unwrap_or_default();
        let path = list.index(i);
        if !is_known(text, requests) {
            errors.invalid_str(&path, text, UNKNOWN_REQUEST);
        }
        if all[..i].contains(name) {
            errors.duplicate(&path, name);
        }
    }
}

fn is_known(text: &str, requests: &[Value]) -> bool {
    let named = |list: &[Value], name: &str| list.iter().any(|r| str_at(r, "name") == name);
    match text.split_once('/') {
        None => named(requests, text),
        Some((request, alternative)) => requests.iter().any(|r| {
            str_at(r, "name") == request && named(arr_at(r, "firstAvailable"), alternative)
        }),
    }
}

fn validate_request(request: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    names::label(str_at(request, "name"), &path.field("name"), errors);
    let exactly = at(request, "exactly");
    let alternatives = arr_at(request, "firstAvailable");
    match (exactly, alternatives.is_empty()) {
        (None, true) => errors.required(path, ONE_OF),
        (Some(_), false) => errors.invalid(
            path,
            &Value::Null,
            format!("{ONE_OF}, but multiple fields are set"),
        ),
        (Some(exactly), true) => validate_one(exactly, &path.field("exactly"), errors),
        (None, false) => {
            let list = path.field("firstAvailable");
            if !within(request, "firstAvailable", ALTERNATIVES_MAX, &list, errors) {
                return;
            }
            for (i, alternative) in alternatives.iter().enumerate() {
                let path = list.index(i);
                let name = str_at(alternative, "name");
                names::label(name, &path.field("name"), errors);
                validate_one(alternative, &path, errors);
                if alternatives[..i].iter().any(|a| str_at(a, "name") == name) {
                    errors.duplicate(&path, &name.into());
                }
            }
        }
    }
}

fn validate_one(request: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let class = str_at(request, "deviceClassName");
    let class_path = path.field("deviceClassName");
    if class.is_empty() {
        errors.required(&class_path, "");
    } else {
        invalid_each(errors, &class_path, class, rules::dns1123_subdomain(class));
    }
    validate_selectors(request, path, errors);
    let count = int_at(request, "count");
    let count_path = path.field("count");
    match str_at(request, "allocationMode") {
        "All" => {
            if count != 0 {
                errors.invalid(
                    &count_path,
                    &count.into(),
                    "must not be specified when allocationMode is 'All'",
                );
            }
        }
        "ExactCount" => {
            if count <= 0 {
                errors.invalid(&count_path, &count.into(), "must be greater than zero");
            }
        }
        mode => errors.not_supported(
            &path.field("allocationMode"),
            &mode.into(),
            &["All", "ExactCount"],
        ),
    }
    let list = path.field("tolerations");
    if within(request, "tolerations", TOLERATIONS_MAX, &list, errors) {
        for (i, toleration) in arr_at(request, "tolerations").iter().enumerate() {
            validate_toleration(toleration, &list.index(i), errors);
        }
    }
}

fn validate_toleration(toleration: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let key = str_at(toleration, "key");
    if !key.is_empty() {
        invalid_each(errors, &path.field("key"), key, rules::qualified_name(key));
    }
    let value = str_at(toleration, "value");
    let value_path = path.field("value");
    let operator_path = path.field("operator");
    match str_at(toleration, "operator") {
        "Exists" => {
            if !value.is_empty() {
                errors.invalid_str(&value_path, value, "must be empty for operator `Exists`");
            }
        }
        "Equal" => invalid_each(errors, &value_path, value, rules::label_value(value)),
        "" => errors.required(&operator_path, ""),
        operator => {
            errors.not_supported(&operator_path, &operator.into(), &["Equal", "Exists"]);
        }
    }
    let effect = str_at(toleration, "effect");
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.not_supported(&path.field("effect"), &effect.into(), &EFFECTS);
    }
}
