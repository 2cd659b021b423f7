//! ResourceQuota: names and amounts of what is limited, and scopes.

use super::super::common::access::{arr_at, at, entries_at, obj_at, path_at, str_at};
use super::super::common::checks::IMMUTABLE;
use super::super::common::golang;
use super::super::common::resources::{
    is_huge_page, nanos, quantity_text, validate_quantity_value, validate_resource_name,
};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

const QUOTA_RESOURCES: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

/// Resources of pods that scopes other than `BestEffort` may limit.
const POD_COMPUTE: [&str; 7] = [
    "pods",
    "cpu",
    "memory",
    "limits.cpu",
    "limits.memory",
    "requests.cpu",
    "requests.memory",
];

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

const EXISTS_ONLY: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";

const REQUIREMENT: &[golang::Field] = &[
    ("ScopeName", "scopeName", golang::Ty::Str),
    ("Operator", "operator", golang::Ty::Str),
    ("Values", "values", golang::Ty::Nil),
];

const SELECTOR: &[golang::Field] = &[(
    "MatchExpressions",
    "matchExpressions",
    golang::Ty::List(REQUIREMENT),
)];

/// Rules of ResourceQuota.
pub struct ResourceQuotaStrategy;

impl Strategy for ResourceQuotaStrategy {
    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            let path = Path::ROOT.field("status");
            let null = Value::Null;
            let status = at(object, "status").unwrap_or(&null);
            validate_amounts(status, "hard", &path, errors);
            validate_amounts(status, "used", &path, errors);
            return;
        }
        let path = Path::ROOT.field("spec");
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        validate_amounts(spec, "hard", &path, errors);
        validate_scopes(spec, &path.field("scopes"), errors);
        validate_scope_selector(spec, &path, errors);
        if let Some(old) = old {
            validate_same_scopes(spec, at(old, "spec").unwrap_or(&null), &path, errors);
        }
    }

    fn warnings(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        if old.is_some() {
            return Vec::new();
        }
        let amount = |name: &str| path_at(object, &["spec", "hard", name]);
        let mut out = Vec::new();
        for name in ["cpu", "memory", "ephemeral-storage"] {
            let (requests, limits) = (format!("requests.{name}"), format!("limits.{name}"));
            if let (Some(asked), Some(most)) = (amount(&requests), amount(&limits))
                && nanos(asked) > nanos(most)
            {
                out.push(format!(
                    "ResourceQuota {requests} ({}) should be less than {limits} ({})",
                    quantity_text(asked),
                    quantity_text(most)
                ));
            }
        }
        out
    }
}

fn is_quota_resource(name: &str) -> bool {
    QUOTA_RESOURCES.contains(&name) || is_huge_page(name) || name.starts_with("requests.hugepages-")
}

fn validate_amounts(value: &Value, field: &'static str, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.field(field);
    for (name, amount) in entries_at(value, field) {
        let path = path.key(name);
        validate_resource_name(name, &path, errors);
        if !name.contains('/') && !is_quota_resource(name) {
            errors.invalid_str(&path, name, "must be a standard resource for quota");
        }
        validate_quantity_value(name, amount, &path, errors);
    }
}

/// Whether a scope may limit a resource.
fn applies(scope: &str, resource: &str) -> bool {
    match scope {
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => POD_COMPUTE.contains(&resource),
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => {
            matches!(resource, "persistentvolumeclaims" | "requests.storage")
        }
        _ => true,
    }
}

/// The limited resources that a scope may not limit.
fn misapplied(spec: &Value, scope: &str) -> usize {
    obj_at(spec, "hard").map_or(0, |hard| {
        hard.keys()
            .filter(|name| is_quota_resource(name) && !applies(scope, name))
            .count()
    })
}

fn conflicting(scopes: &[&str]) -> usize {
    [
        ["BestEffort", "NotBestEffort"],
        ["Terminating", "NotTerminating"],
    ]
    .iter()
    .filter(|pair| pair.iter().all(|scope| scopes.contains(scope)))
    .count()
}

fn validate_scopes(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = arr_at(spec, "scopes");
    let value = json!(list);
    let scopes: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            errors.invalid(path, &value, "unsupported scope");
        }
        for _ in 0..misapplied(spec, scope) {
            errors.invalid(path, &value, "unsupported scope applied to resource");
        }
    }
    for _ in 0..conflicting(&scopes) {
        errors.invalid(path, &value, "conflicting scopes");
    }
}

fn validate_scope_selector(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(selector) = at(spec, "scopeSelector") else {
        return;
    };
    let parent = path.field("scopeSelector");
    let path = parent.field("matchExpressions");
    let requirements = arr_at(selector, "matchExpressions");
    for requirement in requirements {
        let scope = str_at(requirement, "scopeName");
        if !SCOPES.contains(&scope) {
            errors.invalid_str(&path.field("scopeName"), scope, "unsupported scope");
        }
        for _ in 0..misapplied(spec, scope) {
            errors.push(
                ErrorType::Invalid,
                &path,
                golang::compact(Some(selector), SELECTOR),
                "unsupported scope applied to resource",
            );
        }
        validate_requirement(requirement, scope, &path, errors);
    }
    let scopes: Vec<&str> = requirements
        .iter()
        .map(|r| str_at(r, "scopeName"))
        .collect();
    for _ in 0..conflicting(&scopes) {
        let printed = golang::compact(Some(selector), SELECTOR);
        errors.push(ErrorType::Invalid, &path, printed, "conflicting scopes");
    }
}

fn validate_requirement(
    requirement: &Value,
    scope: &str,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let operator = str_at(requirement, "operator");
    let values = arr_at(requirement, "values");
    let by_value = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
    if SCOPES.contains(&scope) && !by_value && operator != "Exists" {
        errors.invalid_str(&path.field("operator"), operator, EXISTS_ONLY);
    }
    match operator {
        "In" | "NotIn" if values.is_empty() => errors.required(
            &path.field("values"),
            "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
        ),
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.invalid(
            &path.field("values"),
            &json!(values),
            "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
        ),
        "Exists" | "DoesNotExist" => {}
        _ => errors.invalid_str(
            &path.field("operator"),
            operator,
            "not a valid selector operator",
        ),
    }
}

/// Scopes never change; their order does not matter.
fn validate_same_scopes(spec: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let sorted = |spec: &Value| {
        let mut scopes: Vec<String> = arr_at(spec, "scopes")
            .iter()
            .filter_map(|s| s.as_str().map(str::to_string))
            .collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    };
    if sorted(spec) != sorted(old) {
        let scopes = spec.get("scopes").unwrap_or(&Value::Null);
        errors.invalid(&path.field("scopes"), scopes, IMMUTABLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        let cases = [
            (json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]}), ""),
            (
                json!({"hard": {"configmaps": "1"}, "scopes": ["BestEffort"]}),
                "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
            ),
            (
                json!({"hard": {"pods": "-1"}}),
                "spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}),
                "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
        ];
        for (spec, want) in cases {
            let mut errors = FieldErrors::default();
            let object = json!({"spec": spec});
            ResourceQuotaStrategy.validate(&object, None, &WriteContext::default(), &mut errors);
            let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            assert_eq!(texts.join("\n"), want, "{object}");
        }
    }
}
