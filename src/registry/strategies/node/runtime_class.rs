//! RuntimeClass.

use super::super::common::access::{arr_at, at, entries_at, get, str_at, strings_at};
use super::super::common::names::{self, invalid_each};
use super::super::common::{checks, resources};
use super::super::pod_spec::{placement, warnings};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategies::common::golang::{self, Field, Ty};
use crate::registry::strategy::{Strategy, WriteContext};

const TOLERATION: &[Field] = &[
    ("Key", "key", Ty::Str),
    ("Operator", "operator", Ty::Str),
    ("Value", "value", Ty::Str),
    ("Effect", "effect", Ty::Str),
    ("TolerationSeconds", "tolerationSeconds", Ty::Nil),
];

/// Rules of RuntimeClass.
pub struct RuntimeClassStrategy;

impl Strategy for RuntimeClassStrategy {
    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let handler = str_at(object, "handler");
        let path = Path::ROOT.field("handler");
        if handler.is_empty() {
            errors.required(&path, "");
        } else {
            invalid_each(errors, &path, handler, names::dns1123_label(handler));
        }
        if let Some(overhead) = at(object, "overhead") {
            validate_overhead(overhead, errors);
        }
        if let Some(scheduling) = at(object, "scheduling") {
            validate_scheduling(scheduling, errors);
        }
        if let Some(old) = old {
            checks::immutable(at(object, "handler"), at(old, "handler"), &path, errors);
        }
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        strings_at(get(object, "scheduling"), "nodeSelector")
            .filter_map(|(key, _)| {
                let message = warnings::node_label(key)?;
                Some(format!("scheduling.nodeSelector[{key}]: {message}"))
            })
            .collect()
    }
}

fn validate_overhead(overhead: &Value, errors: &mut FieldErrors) {
    let root = Path::ROOT.field("overhead");
    let fixed = root.field("podFixed");
    // An overhead is checked as if it were limits.
    let path = fixed.field("limits");
    for (name, quantity) in entries_at(overhead, "podFixed") {
        let path = path.key(name);
        resources::validate_container_resource_name(name, &path, errors);
        resources::validate_quantity_value(name, quantity, &path, errors);
    }
}

fn validate_scheduling(scheduling: &Value, errors: &mut FieldErrors) {
    let path = Path::ROOT.field("scheduling");
    checks::labels(
        at(scheduling, "nodeSelector"),
        &path.field("nodeSelector"),
        errors,
    );
    let list = path.field("tolerations");
    let tolerations = arr_at(scheduling, "tolerations");
    for (i, toleration) in tolerations.iter().enumerate() {
        let path = list.index(i);
        placement::validate_toleration(toleration, &path, errors);
        if tolerations.iter().take(i).any(|seen| seen == toleration) {
            errors.push(
                ErrorType::Duplicate,
                &path,
                golang::compact_zero(Some(toleration), TOLERATION),
                "",
            );
        }
    }
}
