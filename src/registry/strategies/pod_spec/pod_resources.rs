//! Pod-level resources, overhead, and the aggregation of container resources.

use std::collections::BTreeMap;

use super::super::common::access::{arr_at, at, entries_at, obj_at, path_at};
use super::super::common::names::{self, invalid_each};
use super::super::common::resources::{
    self, format_nanos, is_binary, nanos, quantity_text, validate_requirements,
};
use super::Scope;
use super::containers::is_sidecar;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};

const POD_LEVEL: [&str; 3] = ["cpu", "hugepages-", "memory"];

/// Amounts by resource, in billionths, with the unit family to print them in.
pub type Amounts<'a> = BTreeMap<&'a str, (i128, bool)>;

/// Validates `resources` of the pod; `path` is theirs.
pub fn validate(scope: &Scope<'_>, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(requirements) = at(scope.spec, "resources") else {
        return;
    };
    if path_at(scope.spec, &["os", "name"]).is_some_and(|os| os == "windows") {
        errors.forbidden(path, "may not be set for a windows pod");
    }
    if !arr_at(requirements, "claims").is_empty() {
        errors.forbidden(
            &path.field("claims"),
            "claims cannot be set for Resources at pod-level",
        );
    }
    validate_requirements(requirements, pod_level_name, &scope.claims, path, errors);
    validate_consistency(scope.spec, requirements, path, errors);
}

fn pod_level_name(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let messages = names::qualified_name(name);
    if !messages.is_empty() {
        return invalid_each(errors, path, name, messages);
    }
    if !is_pod_level(name) {
        errors.not_supported(path, &name.into(), &POD_LEVEL);
    }
}

/// Whether a resource may be asked for at pod level.
pub fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || resources::is_huge_page(name)
}

fn validate_consistency(
    spec: &Value,
    requirements: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let requests_path = path.field("requests");
    let requests = obj_at(requirements, "requests");
    for (name, (amount, binary)) in aggregate(spec, "requests") {
        let Some(pod) = requests.and_then(|r| r.get(name)) else {
            continue;
        };
        if nanos(pod).is_some_and(|pod| amount > pod) {
            errors.invalid_str(
                &requests_path.key(name),
                &quantity_text(pod),
                format!(
                    "must be greater than or equal to aggregate container requests of {}",
                    format_nanos(amount, binary)
                ),
            );
        }
    }
    let Some(limits) = obj_at(requirements, "limits") else {
        return;
    };
    let limits_path = path.field("limits");
    for (name, (amount, binary)) in aggregate(spec, "limits") {
        let Some(pod) = limits.get(name).filter(|_| resources::is_huge_page(name)) else {
            continue;
        };
        if nanos(pod).is_some_and(|pod| amount > pod) {
            errors.invalid_str(
                &limits_path.key(name),
                &quantity_text(pod),
                format!(
                    "must be greater than or equal to aggregate container limits of {}",
                    format_nanos(amount, binary)
                ),
            );
        }
    }
    let containers_path = path.field("containers");
    for (i, container) in arr_at(spec, "containers").iter().enumerate() {
        let Some(own) = at(container, "resources") else {
            continue;
        };
        let item = containers_path.index(i);
        for (name, limit) in entries_at(own, "limits") {
            let Some(pod) = limits.get(name) else {
                continue;
            };
            if nanos(limit) > nanos(pod) {
                let key = item.key(name);
                errors.invalid_str(
                    &key.field("limits"),
                    &quantity_text(limit),
                    format!(
                        "must be less than or equal to pod limits of {}",
                        quantity_text(pod)
                    ),
                );
            }
        }
    }
}

/// Requests or limits of the whole pod: the sum of containers and sidecars, or the largest init
/// container on top of the sidecars started before it.
pub fn aggregate<'a>(spec: &'a Value, field: &str) -> Amounts<'a> {
    let mut total = Amounts::new();
    for container in arr_at(spec, "containers") {
        add(&mut total, container, field);
    }
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in arr_at(spec, "initContainers") {
        if is_sidecar(container) {
            add(&mut total, container, field);
            add(&mut sidecars, container, field);
            raise(&mut peak, &sidecars);
        } else {
            let mut moment = sidecars.clone();
            add(&mut moment, container, field);
            raise(&mut peak, &moment);
        }
    }
    raise(&mut total, &peak);
    total
}

fn add<'a>(amounts: &mut Amounts<'a>, container: &'a Value, field: &str) {
    let Some(own) = at(container, "resources") else {
        return;
    };
    for (name, quantity) in entries_at(own, field) {
        let entry = amounts
            .entry(name)
            .or_insert((0, is_binary(&quantity_text(quantity))));
        entry.0 += nanos(quantity).unwrap_or_default();
    }
}

fn raise<'a>(amounts: &mut Amounts<'a>, floor: &Amounts<'a>) {
    for (name, (amount, binary)) in floor {
        let entry = amounts.entry(name).or_insert((0, *binary));
        entry.0 = entry.0.max(*amount);
    }
}

/// Validates `overhead`, which counts as limits.
pub fn validate_overhead(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if let Some(overhead) = at(spec, "overhead") {
        let requirements = json!({ "limits": overhead });
        let name_rule = resources::validate_container_resource_name;
        validate_requirements(&requirements, name_rule, &[], path, errors);
    }
}
