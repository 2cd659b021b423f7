//! ReplicaSet.

use super::super::common::access::{at, default_nil, ensure_object};
use super::super::common::checks;
use super::super::pod_spec::defaults;
use super::workload;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of ReplicaSet.
pub struct ReplicaSetStrategy;

impl Strategy for ReplicaSetStrategy {
    fn pod_spec_path(&self) -> Option<&'static [&'static str]> {
        Some(&["spec", "template", "spec"])
    }

    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        defaults::default_template(ensure_object(spec, "template"));
        default_nil(spec, "replicas", 1);
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            return workload::validate_replica_status(object, errors);
        }
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        let path = Path::ROOT.field("spec");
        checks::non_negative(spec, &path, "replicas", errors);
        checks::non_negative(spec, &path, "minReadySeconds", errors);
        workload::validate_selector(spec, "deployment", &path, errors);
        workload::validate_replica_set_template(spec, &path, errors);
        if let Some(old) = old {
            workload::validate_selector_immutable(object, old, errors);
        }
    }

    fn warnings(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        workload::warnings(object, old, true)
    }
}
