//! Binding: what a scheduler posts to bind a pod to a node.

use super::super::common::access::{at, str_at};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of Binding.
pub struct BindingStrategy;

impl Strategy for BindingStrategy {
    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let null = Value::Null;
        let target = at(object, "target").unwrap_or(&null);
        let path = Path::ROOT.field("target");
        let kind = str_at(target, "kind");
        if !matches!(kind, "" | "Node") {
            errors.not_supported(&path.field("kind"), &kind.into(), &["Node", "<empty>"]);
        }
        if str_at(target, "name").is_empty() {
            errors.required(&path.field("name"), "");
        }
    }
}
