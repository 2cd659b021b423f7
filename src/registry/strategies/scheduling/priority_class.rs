//! PriorityClass.

use super::super::common::access::{at, default_nil, get, int_at, is_true, str_at};
use super::super::common::checks;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// The highest priority that users may define.
const USER_MAX: i64 = 1_000_000_000;

/// The classes the server makes itself.
const SYSTEM: [(&str, i64); 2] = [
    ("system-node-critical", 2_000_001_000),
    ("system-cluster-critical", 2_000_000_000),
];

/// Rules of PriorityClass.
pub struct PriorityClassStrategy;

impl Strategy for PriorityClassStrategy {
    fn default(&self, object: &mut Value) {
        default_nil(object, "preemptionPolicy", "PreemptLowerPriority");
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        match old {
            None => validate_new(object, errors),
            Some(old) => {
                if int_at(object, "value") != int_at(old, "value") {
                    let path = Path::ROOT.field("value");
                    errors.forbidden(&path, "may not be changed in an update.");
                }
                checks::immutable(
                    at(object, "preemptionPolicy"),
                    at(old, "preemptionPolicy"),
                    &Path::ROOT.field("preemptionPolicy"),
                    errors,
                );
            }
        }
    }

    fn undeletable(&self, name: &str) -> Option<&'static str> {
        let is_system = SYSTEM.iter().any(|(system, _)| *system == name);
        is_system.then_some("this is a system priority class and cannot be deleted")
    }

    /// The generation is set once and never counted.
    fn spec_changed(&self, _object: &Value, _old: &Value) -> bool {
        false
    }
}

fn validate_new(object: &Value, errors: &mut FieldErrors) {
    let name = str_at(get(object, "metadata"), "name");
    let value = int_at(object, "value");
    if name.starts_with("system-") {
        if let Some(why) = unknown_system_class(name, value, is_true(object, "globalDefault")) {
            let metadata = Path::ROOT.field("metadata");
            errors.forbidden(
                &metadata.field("name"),
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}"),
            );
        }
    } else if value > USER_MAX {
        errors.forbidden(
            &Path::ROOT.field("value"),
            format!("maximum allowed value of a user defined priority is {USER_MAX}"),
        );
    }
    checks::optional_enum(
        object,
        &Path::ROOT,
        "preemptionPolicy",
        &["PreemptLowerPriority", "Never"],
        errors,
    );
}

fn unknown_system_class(name: &str, value: i64, global: bool) -> Option<String> {
    let Some((_, expected)) = SYSTEM.iter().find(|(known, _)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if value != *expected {
        return Some(format!("value of {name} PriorityClass must be {expected}"));
    }
    global.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}
