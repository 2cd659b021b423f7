//! ValidatingAdmissionPolicyBinding and MutatingAdmissionPolicyBinding.

use super::super::common::access::{arr_at, at, at_mut, ensure_object, get, str_at};
use super::super::common::names::{self, invalid_each};
use super::super::common::{checks, selector};
use super::rules;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];
const DENY_AND_WARN: &str = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
const EXCLUSIVE: &str = "name and selector are mutually exclusive";

/// Rules of the bindings.
pub struct BindingStrategy {
    /// The mutating kind.
    pub mutating: bool,
}

impl Strategy for BindingStrategy {
    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        if let Some(resources) = at_mut(spec, "matchResources") {
            rules::default_match_resources(resources);
        }
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let spec = get(object, "spec");
        let path = Path::ROOT.field("spec");
        let policy = str_at(spec, "policyName");
        let policy_path = path.field("policyName");
        if policy.is_empty() {
            errors.required(&policy_path, "");
        } else {
            let messages = names::dns1123_subdomain(policy);
            invalid_each(errors, &policy_path, policy, messages);
        }
        if let Some(reference) = at(spec, "paramRef") {
            validate_param_ref(reference, &path.field("paramRef"), errors);
        }
        if let Some(resources) = at(spec, "matchResources") {
            let operations = if self.mutating {
                rules::MUTATING_OPERATIONS
            } else {
                rules::OPERATIONS
            };
            let path = path.field("matchResources");
            rules::validate_match_resources(resources, operations, &path, errors);
        }
        if !self.mutating {
            validate_actions(spec, &path.field("validationActions"), errors);
        }
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        super::static_name_warning(object)
    }
}

fn validate_param_ref(reference: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let name = str_at(reference, "name");
    let chosen = at(reference, "selector");
    let name_path = path.field("name");
    if !name.is_empty() {
        invalid_each(errors, &name_path, name, names::path_segment(name));
        if chosen.is_some() {
            errors.forbidden(&name_path, EXCLUSIVE);
        }
    }
    let selector_path = path.field("selector");
    if chosen.is_some() {
        selector::validate_label_selector(chosen, &selector_path, errors);
        if !name.is_empty() {
            errors.forbidden(&selector_path, EXCLUSIVE);
        }
    }
    if name.is_empty() && chosen.is_none() {
        errors.required(path, "one of name or selector must be specified");
    }
    checks::required_enum(
        reference,
        path,
        "parameterNotFoundAction",
        &["Deny", "Allow"],
        errors,
    );
}

fn validate_actions(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let actions = arr_at(spec, "validationActions");
    if actions.is_empty() {
        errors.required(path, "at least one validation action is required");
    }
    for (i, action) in actions.iter().enumerate() {
        if !ACTIONS.contains(&action.as_str().unwrap_or_default()) {
            errors.not_supported(&path.index(i), action, &ACTIONS);
        }
        if actions[..i].contains(action) {
            errors.duplicate(&path.index(i), action);
        }
    }
    let has = |wanted: &str| actions.iter().any(|a| a == wanted);
    if has("Deny") && has("Warn") {
        errors.invalid(path, get(spec, "validationActions"), DENY_AND_WARN);
    }
}
