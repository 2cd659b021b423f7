//! Deployment.

use super::super::common::access::{
    at, default_nil, default_zero, ensure_object, i64_at, int_at, object_mut, path_at,
    semantic_equal, set_or_remove, str_at,
};
use super::super::common::checks;
use super::super::common::golang;
use super::super::common::gotypes::DEPLOYMENT_STRATEGY;
use super::super::pod_spec::defaults;
use super::workload;
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of Deployment.
pub struct DeploymentStrategy;

impl Strategy for DeploymentStrategy {
    fn pod_spec_path(&self) -> Option<&'static [&'static str]> {
        Some(&["spec", "template", "spec"])
    }

    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        defaults::default_template(ensure_object(spec, "template"));
        default_nil(spec, "replicas", 1);
        let strategy = ensure_object(spec, "strategy");
        default_zero(strategy, "type", "RollingUpdate");
        if str_at(strategy, "type") == "RollingUpdate" {
            let rolling = ensure_object(strategy, "rollingUpdate");
            default_nil(rolling, "maxUnavailable", "25%");
            default_nil(rolling, "maxSurge", "25%");
        }
        default_nil(spec, "revisionHistoryLimit", 10);
        default_nil(spec, "progressDeadlineSeconds", 600);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource == "status" {
            let labels = path_at(old, &["metadata", "labels"]).cloned();
            set_or_remove(ensure_object(object, "metadata"), "labels", labels);
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if let (Some(old), "status") = (old, ctx.subresource) {
            return validate_status(object, old, errors);
        }
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        validate_spec(spec, &Path::ROOT.field("spec"), errors);
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

    fn spec_changed(&self, object: &Value, old: &Value) -> bool {
        let annotations = ["metadata", "annotations"];
        !semantic_equal(at(object, "spec"), at(old, "spec"))
            || !semantic_equal(path_at(object, &annotations), path_at(old, &annotations))
    }
}

fn validate_spec(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    checks::non_negative(spec, path, "replicas", errors);
    workload::validate_selector(spec, "deployment", path, errors);
    workload::validate_replica_set_template(spec, path, errors);
    validate_strategy(spec, &path.field("strategy"), errors);
    checks::non_negative(spec, path, "minReadySeconds", errors);
    checks::non_negative(spec, path, "revisionHistoryLimit", errors);
    checks::non_negative(spec, path, "progressDeadlineSeconds", errors);
    if let Some(deadline) = i64_at(spec, "progressDeadlineSeconds")
        && deadline <= int_at(spec, "minReadySeconds")
    {
        errors.invalid(
            &path.field("progressDeadlineSeconds"),
            &deadline.into(),
            "must be greater than minReadySeconds",
        );
    }
}

fn validate_strategy(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let null = Value::Null;
    let strategy = at(spec, "strategy").unwrap_or(&null);
    let rolling = at(strategy, "rollingUpdate");
    let rolling_path = path.field("rollingUpdate");
    match str_at(strategy, "type") {
        "Recreate" => {
            if rolling.is_some() {
                errors.forbidden(
                    &rolling_path,
                    "may not be specified when strategy `type` is 'Recreate'",
                );
            }
        }
        "RollingUpdate" => match rolling {
            None => errors.required(&rolling_path, "this should be defaulted and never be nil"),
            Some(rolling) => validate_rolling_update(rolling, &rolling_path, errors),
        },
        _ => errors.push(
            ErrorType::NotSupported,
            path,
            golang::compact_zero(Some(strategy), DEPLOYMENT_STRATEGY),
            "supported values: \"Recreate\", \"RollingUpdate\"",
        ),
    }
}

fn validate_rolling_update(rolling: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let (unavailable, surge) = (at(rolling, "maxUnavailable"), at(rolling, "maxSurge"));
    let unavailable_path = path.field("maxUnavailable");
    checks::int_or_percent(unavailable, &unavailable_path, errors);
    checks::int_or_percent(surge, &path.field("maxSurge"), errors);
    if checks::int_or_percent_value(unavailable) == 0 && checks::int_or_percent_value(surge) == 0 {
        errors.invalid(
            &unavailable_path,
            unavailable.unwrap_or(&0.into()),
            "may not be 0 when `maxSurge` is 0",
        );
    }
    checks::at_most_100_percent(unavailable, &unavailable_path, errors);
}

fn validate_status(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let null = Value::Null;
    let status = at(object, "status").unwrap_or(&null);
    let path = Path::ROOT.field("status");
    workload::validate_counters(
        status,
        &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ],
        &path,
        errors,
    );
    workload::validate_at_most_replicas(
        status,
        &["updatedReplicas", "readyReplicas", "availableReplicas"],
        &path,
        errors,
    );
    workload::validate_collision_count(object, old, &path, errors);
}

/// Sets a member of `metadata.annotations`.
pub(super) fn set_annotation(object: &mut Value, key: &str, value: String) {
    let meta = ensure_object(object, "metadata");
    object_mut(ensure_object(meta, "annotations")).insert(key.into(), value.into());
}
