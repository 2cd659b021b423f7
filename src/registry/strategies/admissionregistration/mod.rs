//! Strategies of the admissionregistration.k8s.io group. Expressions must compile, but for the
//! mutations and variables of mutating policies, which are checked for presence only.

pub mod binding;
pub mod client_config;
pub mod policy;
pub mod rules;
pub mod webhook;

use super::common::access::{get, str_at};
use crate::base::tree::Value;
use crate::registry::strategy::Strategy;

/// Names that are reserved for configurations from files.
const STATIC_SUFFIX: &str = ".static.k8s.io";

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "MutatingWebhookConfiguration" => &webhook::WebhookStrategy { mutating: true },
        "ValidatingWebhookConfiguration" => &webhook::WebhookStrategy { mutating: false },
        "MutatingAdmissionPolicy" => &policy::PolicyStrategy { mutating: true },
        "ValidatingAdmissionPolicy" => &policy::PolicyStrategy { mutating: false },
        "MutatingAdmissionPolicyBinding" => &binding::BindingStrategy { mutating: true },
        "ValidatingAdmissionPolicyBinding" => &binding::BindingStrategy { mutating: false },
        _ => return None,
    })
}

/// The warning about a reserved name.
fn static_name_warning(object: &Value) -> Vec<String> {
    if str_at(get(object, "metadata"), "name").ends_with(STATIC_SUFFIX) {
        return vec![format!(
            "metadata.name: names ending with \"{STATIC_SUFFIX}\" are reserved for static manifest-based configurations and cannot be managed via the API"
        )];
    }
    Vec::new()
}
