//! One device of a ResourceSlice.

use super::super::common::access::{arr_at, at, entries_at, get, is_true, str_at};
use super::super::common::names::{self as rules, invalid_each};
use super::{attributes, names, slice, within};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const ENTRIES_MAX: usize = 32;
const TAINTS_MAX: usize = 16;
const CONSUMED_MAX: usize = 2;
const CONDITIONS_MAX: usize = 4;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
const CHOICES: [&str; 3] = ["nodeName", "nodeSelector", "allNodes"];

/// Validates a device. `per_device`: nodes are chosen here, not for the slice.
pub fn validate(device: &Value, per_device: bool, path: &Path<'_>, errors: &mut FieldErrors) {
    names::label(str_at(device, "name"), &path.field("name"), errors);
    let (attribute_path, capacity_path) = (path.field("attributes"), path.field("capacity"));
    let count = entries_at(device, "attributes").count() + entries_at(device, "capacity").count();
    if count > ENTRIES_MAX {
        errors.invalid(
            path,
            &count.into(),
            "the total number of attributes and capacities must not exceed 32",
        );
    }
    for (name, attribute) in entries_at(device, "attributes") {
        names::qualified(name, &attribute_path, errors);
        attributes::validate_attribute(attribute, &attribute_path.key(name), errors);
    }
    let shared = is_true(device, "allowMultipleAllocations");
    for (name, capacity) in entries_at(device, "capacity") {
        names::qualified(name, &capacity_path, errors);
        attributes::validate_capacity(capacity, shared, &capacity_path.key(name), errors);
    }
    let taints = path.field("taints");
    if within(device, "taints", TAINTS_MAX, &taints, errors) {
        for (i, taint) in arr_at(device, "taints").iter().enumerate() {
            validate_taint(taint, &taints.index(i), errors);
        }
    }
    validate_consumed(device, path, errors);
    validate_choice(device, per_device, path, errors);
    validate_conditions(device, path, errors);
}

/// A taint of a device or of a rule.
pub fn validate_taint(taint: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let key = str_at(taint, "key");
    invalid_each(errors, &path.field("key"), key, rules::qualified_name(key));
    let value = str_at(taint, "value");
    if !value.is_empty() {
        invalid_each(
            errors,
            &path.field("value"),
            value,
            rules::label_value(value),
        );
    }
    let effect = str_at(taint, "effect");
    let path = path.field("effect");
    if effect.is_empty() {
        errors.required(&path, "");
    } else if !EFFECTS.contains(&effect) {
        errors.not_supported(&path, &effect.into(), &EFFECTS);
    }
}

fn validate_consumed(device: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("consumesCounters");
    let sets = arr_at(device, "consumesCounters");
    if !within(device, "consumesCounters", CONSUMED_MAX, &list, errors) {
        return;
    }
    for (i, set) in sets.iter().enumerate() {
        let path = list.index(i);
        slice::validate_counter_set(set, "counterSet", &path, errors);
        let name = str_at(set, "counterSet");
        if sets[..i].iter().any(|s| str_at(s, "counterSet") == name) {
            errors.duplicate(&path, &name.into());
        }
    }
}

fn validate_choice(device: &Value, per_device: bool, path: &Path<'_>, errors: &mut FieldErrors) {
    let chosen = CHOICES.iter().filter(|f| at(device, f).is_some()).count();
    if !per_device {
        if chosen > 0 {
            errors.invalid(path, &Value::Null, "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec");
        }
        return;
    }
    let text = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match chosen {
        0 => errors.required(path, text),
        1 => {}
        _ => errors.invalid(path, &Value::Null, text),
    }
    let name_path = path.field("nodeName");
    match at(device, "nodeName").and_then(Value::as_str) {
        Some("") => errors.invalid_str(&name_path, "", "must not be empty"),
        Some(name) => invalid_each(errors, &name_path, name, rules::dns1123_subdomain(name)),
        None => {}
    }
    if let Some(selector) = at(device, "nodeSelector") {
        slice::validate_selector(selector, &path.field("nodeSelector"), errors);
    }
    if get(device, "allNodes") == &Value::Bool(false) {
        errors.invalid(
            &path.field("allNodes"),
            &false.into(),
            "must be either unset or set to true",
        );
    }
}

fn validate_conditions(device: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let (good, bad) = ("bindingConditions", "bindingFailureConditions");
    for key in [good, bad] {
        let list = path.field(key);
        if !within(device, key, CONDITIONS_MAX, &list, errors) {
            continue;
        }
        let all = arr_at(device, key);
        for (i, condition) in all.iter().enumerate() {
            let text = condition.as_str().unwrap_or_default();
            invalid_each(errors, &list.index(i), text, rules::qualified_name(text));
            if all[..i].contains(condition) {
                errors.duplicate(&list.index(i), condition);
            }
        }
    }
    let (ready, failed) = (arr_at(device, good), arr_at(device, bad));
    for (i, condition) in failed.iter().enumerate() {
        if ready.contains(condition) {
            let list = path.field(bad);
            errors.invalid(
                &list.index(i),
                condition,
                "bindingFailureConditions must not overlap with bindingConditions",
            );
        }
    }
    if ready.is_empty() && !failed.is_empty() {
        errors.invalid(
            &path.field(good),
            get(device, good),
            "bindingConditions are required to use bindingFailureConditions",
        );
    } else if failed.is_empty() && !ready.is_empty() {
        errors.invalid(
            &path.field(bad),
            get(device, bad),
            "bindingFailureConditions are required to use bindingConditions",
        );
    }
}
