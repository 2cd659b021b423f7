//! IngressClass.

use super::super::common::access::{at, default_nil, opt_str_at, str_at};
use super::super::common::checks;
use super::super::common::names::{self, domain_prefixed_path, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const CONTROLLER_MAX: usize = 250;
const SCOPES: [&str; 2] = ["Cluster", "Namespace"];

/// Rules of IngressClass.
pub struct IngressClassStrategy;

impl Strategy for IngressClassStrategy {
    fn default(&self, object: &mut Value) {
        let parameters = object.get_mut("spec").and_then(|s| s.get_mut("parameters"));
        if let Some(parameters) = parameters.filter(|p| !p.is_null()) {
            default_nil(parameters, "scope", "Cluster");
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let null = Value::Null;
        let path = Path::ROOT.field("spec");
        let spec = at(object, "spec").unwrap_or(&null);
        let controller = str_at(spec, "controller");
        let controller_path = path.field("controller");
        if let Some(old) = old {
            let stored = at(old, "spec").map_or("", |s| str_at(s, "controller"));
            if stored != controller {
                errors.invalid_str(&controller_path, controller, checks::IMMUTABLE);
            }
        } else {
            if controller.len() > CONTROLLER_MAX {
                errors.too_long(&controller_path, CONTROLLER_MAX);
            }
            domain_prefixed_path(&controller_path, controller, errors);
        }
        if let Some(parameters) = at(spec, "parameters") {
            validate_parameters(parameters, &path.field("parameters"), errors);
        }
    }
}

fn validate_parameters(parameters: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_typed_reference(parameters, path, errors);
    let namespace = opt_str_at(parameters, "namespace");
    let namespace_path = path.field("namespace");
    if let Some(namespace) = namespace.filter(|n| !n.is_empty()) {
        let messages = names::dns1123_label(namespace);
        invalid_each(errors, &namespace_path, namespace, messages);
    }
    match opt_str_at(parameters, "scope") {
        None => errors.required(&path.field("scope"), ""),
        Some("Namespace") if namespace.is_none_or(str::is_empty) => {
            errors.required(&namespace_path, "`parameters.scope` is set to 'Namespace'");
        }
        Some("Cluster") if namespace.is_some() => {
            errors.forbidden(&namespace_path, "`parameters.scope` is set to 'Cluster'");
        }
        Some("Namespace" | "Cluster") => {}
        Some(scope) => errors.not_supported(&path.field("scope"), &scope.into(), &SCOPES),
    }
}

/// A typed reference to an object: group, kind and name.
pub fn validate_typed_reference(reference: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if let Some(group) = opt_str_at(reference, "apiGroup") {
        let messages = names::dns1123_subdomain(group);
        invalid_each(errors, &path.field("apiGroup"), group, messages);
    }
    for field in ["kind", "name"] {
        let text = str_at(reference, field);
        if text.is_empty() {
            errors.required(&path.field(field), "");
        } else {
            invalid_each(errors, &path.field(field), text, names::path_segment(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn parameters() {
        let cases = [
            (json!({"kind": "K", "name": "n", "scope": "Cluster"}), ""),
            (
                json!({"kind": "K", "name": "n", "scope": "Namespace"}),
                "namespace: Required value: `parameters.scope` is set to 'Namespace'",
            ),
            (
                json!({"kind": "K", "scope": "Odd"}),
                "name: Required value\nscope: Unsupported value: \"Odd\": supported values: \"Cluster\", \"Namespace\"",
            ),
        ];
        for (parameters, want) in cases {
            let mut errors = FieldErrors::default();
            validate_parameters(&parameters, &Path::ROOT, &mut errors);
            let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            assert_eq!(texts.join("\n"), want, "{parameters}");
        }
    }
}
