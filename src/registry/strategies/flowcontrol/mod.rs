//! Strategies of the flowcontrol.apiserver.k8s.io group.

pub mod flow_schema;
pub mod priority_level;
pub mod rules;

use super::common::access::{arr_at, get, str_at};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::Strategy;

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "FlowSchema" => &flow_schema::FlowSchemaStrategy,
        "PriorityLevelConfiguration" => &priority_level::PriorityLevelStrategy,
        _ => return None,
    })
}

/// Conditions of the status: typed, each type once.
fn validate_conditions(object: &Value, errors: &mut FieldErrors) {
    let status = Path::ROOT.field("status");
    let list = status.field("conditions");
    let conditions = arr_at(get(object, "status"), "conditions");
    for (i, condition) in conditions.iter().enumerate() {
        let kind = str_at(condition, "type");
        let path = list.index(i);
        let path = path.field("type");
        if conditions[..i].iter().any(|c| str_at(c, "type") == kind) {
            errors.duplicate(&path, &kind.into());
        }
        if kind.is_empty() {
            errors.required(&path, "");
        }
    }
}
