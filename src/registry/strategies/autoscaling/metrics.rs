//! `spec.metrics`: the five metric sources.

use super::super::common::access::{arr_at, at, get, i64_at, str_at};
use super::super::common::names::{self, invalid_each};
use super::super::common::resources;
use super::hpa::validate_reference;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const TYPES: [&str; 5] = [
    "ContainerResource",
    "External",
    "Object",
    "Pods",
    "Resource",
];

/// Sources in the order they are looked at, with the type that asks for them.
const SOURCES: [(&str, &str); 5] = [
    ("object", "Object"),
    ("external", "External"),
    ("pods", "Pods"),
    ("resource", "Resource"),
    ("containerResource", "ContainerResource"),
];

/// Validates the metrics of a spec.
pub fn validate(spec: &Value, min: Option<i64>, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.field("metrics");
    let mut can_be_zero = false;
    for (i, metric) in arr_at(spec, "metrics").iter().enumerate() {
        validate_metric(metric, &path.index(i), errors);
        can_be_zero |= matches!(str_at(metric, "type"), "Object" | "External");
    }
    if min == Some(0) && !can_be_zero {
        errors.forbidden(
            &path,
            "must specify at least one Object or External metric to support scaling to zero replicas",
        );
    }
}

fn validate_metric(metric: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let kind = str_at(metric, "type");
    let type_path = path.field("type");
    if kind.is_empty() {
        errors.required(&type_path, "must specify a metric source type");
    } else if !TYPES.contains(&kind) {
        errors.not_supported(&type_path, &kind.into(), &TYPES);
    }
    let mut present = SOURCES
        .iter()
        .map(|(field, _)| *field)
        .filter(|field| at(metric, field).is_some());
    let first = present.next();
    if let Some(field) = first {
        validate_source(field, get(metric, field), &path.field(field), errors);
    }
    let Some((expected, _)) = SOURCES.iter().find(|(_, wanted)| *wanted == kind) else {
        errors.not_supported(&type_path, &kind.into(), &TYPES);
        return;
    };
    if at(metric, expected).is_none() {
        errors.required(
            &path.field(expected),
            "must populate information for the given metric source",
        );
    }
    let rest: Vec<&str> = present.collect();
    if rest.is_empty() {
        return;
    }
    for field in first.into_iter().chain(rest).filter(|f| f != expected) {
        errors.forbidden(
            &path.field(field),
            "must populate the given metric source only",
        );
    }
}

fn validate_source(field: &str, source: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let target = get(source, "target");
    let target_path = path.field("target");
    let set = |name: &str| at(target, name).is_some();
    match field {
        "object" => {
            let described = path.field("describedObject");
            validate_reference(get(source, "describedObject"), &described, errors);
            validate_identifier(get(source, "metric"), &path.field("metric"), errors);
            validate_target(target, &target_path, errors);
            if !set("value") && !set("averageValue") {
                errors.required(
                    &target_path.field("averageValue"),
                    "must set either a target value or averageValue",
                );
            }
        }
        "external" => {
            validate_identifier(get(source, "metric"), &path.field("metric"), errors);
            validate_target(target, &target_path, errors);
            match (set("value"), set("averageValue")) {
                (false, false) => errors.required(
                    &target_path.field("averageValue"),
                    "must set either a target value for metric or a per-pod target",
                ),
                (true, true) => errors.forbidden(
                    &target_path.field("value"),
                    "may not set both a target value for metric and a per-pod target",
                ),
                _ => {}
            }
        }
        "pods" => {
            validate_identifier(get(source, "metric"), &path.field("metric"), errors);
            validate_target(target, &target_path, errors);
            if !at(target, "averageValue").is_some_and(is_positive) {
                errors.required(
                    &target_path.field("averageValue"),
                    "must specify a positive target averageValue",
                );
            }
        }
        _ => {
            if str_at(source, "name").is_empty() {
                errors.required(&path.field("name"), "must specify a resource name");
            }
            if field == "containerResource" && str_at(source, "container").is_empty() {
                errors.required(&path.field("container"), "must specify a container");
            }
            validate_target(target, &target_path, errors);
            match (set("averageUtilization"), set("averageValue")) {
                (false, false) => errors.required(
                    &target_path.field("averageUtilization"),
                    "must set either a target raw value or a target utilization",
                ),
                (true, true) => errors.forbidden(
                    &target_path.field("averageValue"),
                    "may not set both a target raw value and a target utilization",
                ),
                _ => {}
            }
        }
    }
}

fn validate_identifier(metric: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let name = str_at(metric, "name");
    if name.is_empty() {
        errors.required(&path.field("name"), "must specify a metric name");
    } else {
        invalid_each(errors, &path.field("name"), name, names::path_segment(name));
    }
}

fn is_positive(quantity: &Value) -> bool {
    resources::nanos(quantity).is_some_and(|n| n > 0)
}

fn validate_target(target: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let kind = str_at(target, "type");
    let type_path = path.field("type");
    if kind.is_empty() {
        errors.required(&type_path, "must specify a metric target type");
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        errors.invalid_str(
            &type_path,
            kind,
            "must be either Utilization, Value, or AverageValue",
        );
    }
    for field in ["value", "averageValue"] {
        if let Some(quantity) = at(target, field)
            && !is_positive(quantity)
        {
            let text = resources::quantity_text(quantity);
            errors.invalid_str(&path.field(field), &text, "must be positive");
        }
    }
    if let Some(n) = i64_at(target, "averageUtilization")
        && n < 1
    {
        errors.invalid(
            &path.field("averageUtilization"),
            &n.into(),
            "must be greater than 0",
        );
    }
}
