//! Event of the core group.

use super::super::common::access::{at, is_zero, str_at};
use super::super::common::names::{self, NameRule, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{DeletionRules, Strategy, WriteContext};

const TEXT_MAX: usize = 128;
const MESSAGE_MAX: usize = 1024;

/// Rules of Event.
pub struct EventStrategy;

impl Strategy for EventStrategy {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        validate_event(object, "reportingComponent", errors);
    }

    fn deletion(&self) -> DeletionRules {
        DeletionRules {
            no_garbage_collection: true,
            ..DeletionRules::default()
        }
    }
}

/// The rules of core events, also of those posted as events.k8s.io, where the reporter is called
/// `reportingController`.
pub fn validate_event(event: &Value, reporter: &str, errors: &mut FieldErrors) {
    let null = Value::Null;
    let namespace = at(event, "metadata").map_or("", |m| str_at(m, "namespace"));
    let involved = str_at(at(event, "involvedObject").unwrap_or(&null), "namespace");
    let timed = !is_zero(event.get("eventTime"));
    let agrees = match (involved.is_empty(), timed) {
        (true, false) => matches!(namespace, "" | "default"),
        (true, true) => matches!(namespace, "default" | "kube-system"),
        (false, false) => namespace == involved,
        (false, true) => true,
    };
    if !agrees {
        let path = Path::ROOT.field("involvedObject");
        errors.invalid_str(
            &path.field("namespace"),
            involved,
            "does not match event.namespace",
        );
    }
    if timed {
        validate_timed(event, reporter, errors);
    }
    let messages = names::dns1123_subdomain(namespace);
    invalid_each(errors, &Path::ROOT.field("namespace"), namespace, messages);
}

fn validate_timed(event: &Value, reporter: &str, errors: &mut FieldErrors) {
    let controller = match str_at(event, "reportingComponent") {
        "" => str_at(event, "reportingController"),
        name => name,
    };
    let path = Path::ROOT.field(reporter);
    if controller.is_empty() {
        errors.required(&path, "");
    }
    invalid_each(errors, &path, controller, names::qualified_name(controller));
    for field in ["reportingInstance", "action", "reason"] {
        let path = Path::ROOT.field(field);
        let text = str_at(event, field);
        if text.is_empty() {
            errors.required(&path, "");
        }
        if text.len() > TEXT_MAX {
            errors.invalid_str(&path, "", "can have at most 128 characters");
        }
    }
    if str_at(event, "message").len() > MESSAGE_MAX {
        let path = Path::ROOT.field("message");
        errors.invalid_str(&path, "", "can have at most 1024 characters");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn namespaces_agree() {
        let cases = [
            (
                json!({"metadata": {"namespace": "a"}, "involvedObject": {"namespace": "a"}}),
                0,
            ),
            (
                json!({"metadata": {"namespace": "a"}, "involvedObject": {"namespace": "b"}}),
                1,
            ),
            (
                json!({"metadata": {"namespace": "a"}, "involvedObject": {}}),
                1,
            ),
            (json!({"metadata": {"namespace": "default"}}), 0),
        ];
        for (event, want) in cases {
            let mut errors = FieldErrors::default();
            validate_event(&event, "reportingComponent", &mut errors);
            assert_eq!(errors.0.len(), want, "{event}");
        }
    }
}
