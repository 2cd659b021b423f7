//! What webhooks and policies match: rules with operations, selectors, match conditions.

use super::super::common::access::{arr_at, at, default_nil, get, items_mut, str_at};
use super::super::common::names::{self, invalid_each};
use super::super::common::{checks, selector};
use crate::admission::expressions::compile_bool;
use crate::api::cel::Env;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};

const CONDITIONS_MAX: usize = 64;
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];

/// Operations that webhooks and validating policies may match.
pub const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// Operations that mutating policies may match.
pub const MUTATING_OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];

/// Fills the scope of each rule in the list `key`.
pub fn default_scopes(owner: &mut Value, key: &str) {
    for rule in items_mut(owner, key) {
        default_nil(rule, "scope", "*");
    }
}

/// Fills a `MatchResources`.
pub fn default_match_resources(resources: &mut Value) {
    default_nil(resources, "matchPolicy", "Equivalent");
    default_nil(resources, "namespaceSelector", json!({}));
    default_nil(resources, "objectSelector", json!({}));
    default_scopes(resources, "resourceRules");
    default_scopes(resources, "excludeResourceRules");
}

/// A `MatchResources` of a policy or a binding.
pub fn validate_match_resources(
    resources: &Value,
    operations: &'static [&'static str],
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    validate_selectors(resources, path, errors);
    for key in ["resourceRules", "excludeResourceRules"] {
        let list = path.field(key);
        for (i, rule) in arr_at(resources, key).iter().enumerate() {
            let path = list.index(i);
            validate_rule(rule, operations, &path, errors);
            validate_resource_names(rule, &path, errors);
        }
    }
    checks::optional_enum(
        resources,
        path,
        "matchPolicy",
        &["Equivalent", "Exact"],
        errors,
    );
}

/// The two selectors.
pub fn validate_selectors(owner: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for key in ["namespaceSelector", "objectSelector"] {
        selector::validate_label_selector(at(owner, key), &path.field(key), errors);
    }
}

fn validate_resource_names(rule: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("resourceNames");
    let all = arr_at(rule, "resourceNames");
    for (i, name) in all.iter().enumerate() {
        let text = name.as_str().unwrap_or_default();
        let path = list.index(i);
        invalid_each(errors, &path, text, names::path_segment(text));
        if all[..i].contains(name) {
            errors.duplicate(&path, name);
        }
    }
}

/// One rule with operations.
pub fn validate_rule(
    rule: &Value,
    operations: &'static [&'static str],
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let list = path.field("operations");
    let chosen = arr_at(rule, "operations");
    require(rule, "operations", "operations", path, errors);
    for (i, operation) in chosen.iter().enumerate() {
        if !operations.contains(&operation.as_str().unwrap_or_default()) {
            errors.not_supported(&list.index(i), operation, operations);
        }
    }
    require(rule, "apiGroups", "API groups", path, errors);
    require_named(rule, "apiVersions", "API versions", path, errors);
    validate_resources(rule, path, errors);
    checks::optional_enum(rule, path, "scope", &SCOPES, errors);
}

/// The list is not empty and a wildcard stands alone.
fn require(rule: &Value, key: &str, what: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let values = arr_at(rule, key);
    if values.is_empty() {
        errors.required(&path.field(key), "");
    }
    if values.len() > 1 && values.iter().any(|v| v == "*") {
        errors.invalid(
            &path.field(key),
            get(rule, key),
            format!("if '*' is present, must not specify other {what}"),
        );
    }
}

/// As [`require`]; also no value is empty.
fn require_named(rule: &Value, key: &str, what: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    require(rule, key, what, path, errors);
    let list = path.field(key);
    for (i, value) in arr_at(rule, key).iter().enumerate() {
        if value == "" {
            errors.required(&list.index(i), "");
        }
    }
}

fn validate_resources(rule: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.field("resources");
    let all = arr_at(rule, "resources");
    if all.is_empty() {
        errors.required(&path, "");
    }
    let (mut whole, mut any, mut plain) = (false, false, false);
    let mut all_subresources_of: Vec<&str> = Vec::new();
    let mut subresource_of_all: Vec<&str> = Vec::new();
    for (i, value) in all.iter().enumerate() {
        let text = value.as_str().unwrap_or_default();
        let item = path.index(i);
        if text.is_empty() {
            errors.required(&item, "");
            continue;
        }
        whole |= text == "*/*";
        any |= text == "*";
        let Some((resource, subresource)) = text.split_once('/') else {
            // Only the last plain entry counts, as upstream has it.
            plain = text != "*";
            continue;
        };
        if all_subresources_of.contains(&resource) {
            errors.invalid_str(
                &item,
                text,
                format!("if '{resource}/*' is present, must not specify {text}"),
            );
        }
        if subresource_of_all.contains(&subresource) {
            errors.invalid_str(
                &item,
                text,
                format!("if '*/{subresource}' is present, must not specify {text}"),
            );
        }
        if subresource == "*" {
            all_subresources_of.push(resource);
        }
        if resource == "*" {
            subresource_of_all.push(subresource);
        }
    }
    let value = get(rule, "resources");
    if all.len() > 1 && whole {
        errors.invalid(
            &path,
            value,
            "if '*/*' is present, must not specify other resources",
        );
    }
    if any && plain {
        errors.invalid(
            &path,
            value,
            "if '*' is present, must not specify other resources without subresources",
        );
    }
}

/// `matchConditions`: named expressions.
pub fn validate_match_conditions(
    owner: &Value,
    env: &Env,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let list = path.field("matchConditions");
    let conditions = arr_at(owner, "matchConditions");
    if conditions.len() > CONDITIONS_MAX {
        errors.too_many(&list, conditions.len(), CONDITIONS_MAX);
    }
    for (i, condition) in conditions.iter().enumerate() {
        let path = list.index(i);
        let expression = str_at(condition, "expression");
        let expression_path = path.field("expression");
        if expression.trim().is_empty() {
            errors.required(&expression_path, "");
        } else if let Err(error) = compile_bool(expression, env) {
            errors.invalid_str(&expression_path, expression, error.to_string());
        }
        let name = str_at(condition, "name");
        let name_path = path.field("name");
        if name.is_empty() {
            errors.required(&name_path, "");
            continue;
        }
        invalid_each(errors, &name_path, name, names::qualified_name(name));
        if conditions[..i].iter().any(|c| str_at(c, "name") == name) {
            errors.duplicate(&name_path, &name.into());
        }
    }
}
