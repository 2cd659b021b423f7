//! Node affinity, pod affinity and pod anti-affinity.

use super::super::common::access::{arr_at, at, int_at, obj_at, str_at};
use super::super::common::names::{self, invalid_each};
use super::super::common::selector::validate_label_selector;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Validates `affinity` of a pod spec.
pub fn validate(spec: &Value, keys: SelectorKeys, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(affinity) = at(spec, "affinity") else {
        return;
    };
    if let Some(node) = at(affinity, "nodeAffinity") {
        validate_node_affinity(node, &path.field("nodeAffinity"), errors);
    }
    for field in ["podAffinity", "podAntiAffinity"] {
        if let Some(pod) = at(affinity, field) {
            validate_pod_affinity(pod, keys, &path.field(field), errors);
        }
    }
}

fn validate_node_affinity(affinity: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if let Some(required) = at(affinity, REQUIRED) {
        validate_node_selector(required, &path.field(REQUIRED), errors);
    }
    let preferred_path = path.field(PREFERRED);
    for (i, term) in arr_at(affinity, PREFERRED).iter().enumerate() {
        let path = preferred_path.index(i);
        validate_weight(term, &path, errors);
        if let Some(preference) = at(term, "preference") {
            let terms = ValueRule::Preferred;
            validate_node_selector_term(preference, terms, &path.field("preference"), errors);
        }
    }
}

fn validate_weight(term: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let weight = int_at(term, "weight");
    if !(1..=100).contains(&weight) {
        errors.invalid(
            &path.field("weight"),
            &weight.into(),
            "must be in the range 1-100",
        );
    }
}

/// Validates a `NodeSelector` (also of persistent volumes).
pub fn validate_node_selector(selector: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let terms = arr_at(selector, "nodeSelectorTerms");
    let path = path.field("nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&path, "must have at least one node selector term");
    }
    for (i, term) in terms.iter().enumerate() {
        validate_node_selector_term(term, ValueRule::Required, &path.index(i), errors);
    }
}

/// Whether label values of expressions are checked: preferred terms only warn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueRule {
    Required,
    Preferred,
}

fn validate_node_selector_term(
    term: &Value,
    rule: ValueRule,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let expressions = path.field("matchExpressions");
    for (i, requirement) in arr_at(term, "matchExpressions").iter().enumerate() {
        validate_node_requirement(requirement, rule, &expressions.index(i), errors);
    }
    let fields = path.field("matchFields");
    for (i, requirement) in arr_at(term, "matchFields").iter().enumerate() {
        validate_field_requirement(requirement, &fields.index(i), errors);
    }
}

fn validate_node_requirement(
    requirement: &Value,
    rule: ValueRule,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let values = arr_at(requirement, "values");
    let operator = str_at(requirement, "operator");
    let values_path = path.field("values");
    match operator {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required(
                    &values_path,
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                errors.forbidden(
                    &values_path,
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                errors.required(
                    &values_path,
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                );
            }
        }
        _ => errors.invalid_str(
            &path.field("operator"),
            operator,
            "not a valid selector operator",
        ),
    }
    let key = str_at(requirement, "key");
    invalid_each(errors, &path.field("key"), key, names::qualified_name(key));
    if rule == ValueRule::Required {
        for (j, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            invalid_each(
                errors,
                &values_path.index(j),
                value,
                names::label_value(value),
            );
        }
    }
}

fn validate_field_requirement(requirement: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let operator = str_at(requirement, "operator");
    let values = arr_at(requirement, "values");
    match operator {
        "In" | "NotIn" => {
            if values.len() != 1 {
                errors.required(
                    &path.field("values"),
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                );
            }
        }
        _ => errors.invalid_str(
            &path.field("operator"),
            operator,
            "not a valid selector operator",
        ),
    }
    let key = str_at(requirement, "key");
    if key != "metadata.name" {
        errors.invalid_str(&path.field("key"), key, "not a valid field selector key");
        return;
    }
    let values_path = path.field("values");
    for (i, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        invalid_each(
            errors,
            &values_path.index(i),
            value,
            names::dns1123_subdomain(value),
        );
    }
}

fn validate_pod_affinity(
    affinity: &Value,
    keys: SelectorKeys,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let required_path = path.field(REQUIRED);
    for (i, term) in arr_at(affinity, REQUIRED).iter().enumerate() {
        validate_pod_affinity_term(term, keys, &required_path.index(i), errors);
    }
    let preferred_path = path.field(PREFERRED);
    for (i, weighted) in arr_at(affinity, PREFERRED).iter().enumerate() {
        let path = preferred_path.index(i);
        validate_weight(weighted, &path, errors);
        let null = Value::Null;
        let term = at(weighted, "podAffinityTerm").unwrap_or(&null);
        validate_pod_affinity_term(term, keys, &path.field("podAffinityTerm"), errors);
    }
}

fn validate_pod_affinity_term(
    term: &Value,
    keys: SelectorKeys,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    validate_label_selector(
        at(term, "labelSelector"),
        &path.field("labelSelector"),
        errors,
    );
    validate_label_selector(
        at(term, "namespaceSelector"),
        &path.field("namespaceSelector"),
        errors,
    );
    for namespace in arr_at(term, "namespaces") {
        let name = namespace.as_str().unwrap_or_default();
        invalid_each(
            errors,
            &path.field("namespace"),
            name,
            names::dns1123_label(name),
        );
    }
    validate_match_label_keys(term, keys, path, errors);
    let key = str_at(term, "topologyKey");
    let key_path = path.field("topologyKey");
    if key.is_empty() {
        errors.required(&key_path, "can not be empty");
    }
    invalid_each(errors, &key_path, key, names::qualified_name(key));
}

/// `matchLabelKeys` and `mismatchLabelKeys` are label keys, need a selector, and exclude each other and
/// the selector's keys.
fn validate_match_label_keys(
    term: &Value,
    rule: SelectorKeys,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let selector = at(term, "labelSelector");
    for (field, rule) in [
        ("matchLabelKeys", rule),
        ("mismatchLabelKeys", SelectorKeys::Any),
    ] {
        let keys = arr_at(term, field);
        validate_label_keys(keys, selector, rule, &path.field(field), errors);
    }
    let matched_path = path.field("matchLabelKeys");
    let mismatched = arr_at(term, "mismatchLabelKeys");
    for (i, key) in arr_at(term, "matchLabelKeys").iter().enumerate() {
        if mismatched.contains(key) {
            errors.invalid(
                &matched_path.index(i),
                key,
                "exists in both matchLabelKeys and mismatchLabelKeys",
            );
        }
    }
}

/// How often the selector may hold a key of `matchLabelKeys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorKeys {
    /// Any number of times.
    Any,
    /// Never (templates).
    Distinct,
    /// Once, as the expression that creation of a Pod adds for the key.
    Merged,
}

/// Label keys of an affinity term or a topology spread constraint.
pub fn validate_label_keys(
    keys: &[Value],
    selector: Option<&Value>,
    rule: SelectorKeys,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    if keys.is_empty() {
        return;
    }
    let Some(selector) = selector else {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
        return;
    };
    for (i, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        let path = path.index(i);
        invalid_each(errors, &path, name, names::qualified_name(name));
        if rule != SelectorKeys::Any && is_selected_otherwise(name, selector, rule) {
            errors.invalid_str(
                &path,
                name,
                "exists in both matchLabelKeys and labelSelector",
            );
        }
    }
}

fn is_selected_otherwise(name: &str, selector: &Value, rule: SelectorKeys) -> bool {
    if obj_at(selector, "matchLabels").is_some_and(|labels| labels.contains_key(name)) {
        return true;
    }
    let mut expressions = arr_at(selector, "matchExpressions")
        .iter()
        .filter(|e| str_at(e, "key") == name);
    match (expressions.next(), expressions.next()) {
        (None, _) => false,
        (Some(only), None) => {
            let added = str_at(only, "operator") == "In" && arr_at(only, "values").len() == 1;
            rule == SelectorKeys::Distinct || !added
        }
        _ => true,
    }
}
