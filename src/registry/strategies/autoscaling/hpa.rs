//! HorizontalPodAutoscaler in both versions.

use super::super::common::access::{
    arr_at, at, default_nil, ensure_object, get, i64_at, int_at, set_or_remove, str_at,
};
use super::super::common::checks;
use super::super::common::names;
use super::{behavior, convert, metrics};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of autoscaling/v2.
pub struct HpaStrategy;

impl Strategy for HpaStrategy {
    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        default_nil(spec, "minReplicas", 1);
        if arr_at(spec, "metrics").is_empty() {
            spec["metrics"] = json!([{
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 80},
                },
            }]);
        }
        behavior::default(spec);
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        object["status"] = json!({"desiredReplicas": 0, "currentMetrics": null});
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            let status = get(object, "status");
            let path = Path::ROOT.field("status");
            checks::non_negative(status, &path, "currentReplicas", errors);
            checks::non_negative(status, &path, "desiredReplicas", errors);
            return;
        }
        validate_spec(
            get(object, "spec"),
            old.map(|old| get(old, "spec")),
            &Path::ROOT.field("spec"),
            errors,
        );
    }
}

/// Rules of autoscaling/v1: those of v2 on the converted object.
pub struct HpaV1Strategy;

impl Strategy for HpaV1Strategy {
    fn default(&self, object: &mut Value) {
        convert::to_v2(object);
        HpaStrategy.default(object);
        convert::to_v1(object);
    }

    fn prepare_for_create(&self, object: &mut Value, ctx: &WriteContext<'_>) {
        convert::to_v2(object);
        HpaStrategy.prepare_for_create(object, ctx);
        convert::to_v1(object);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        // Annotations carry parts of spec and status, so what an update keeps is kept in v2.
        let kept = if ctx.subresource == "status" {
            "spec"
        } else {
            "status"
        };
        let stored = at(&as_v2(old), kept).cloned();
        convert::to_v2(object);
        set_or_remove(object, kept, stored);
        convert::to_v1(object);
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let old = old.map(as_v2);
        HpaStrategy.validate(&as_v2(object), old.as_ref(), ctx, errors);
    }
}

fn as_v2(object: &Value) -> Value {
    let mut object = object.clone();
    convert::to_v2(&mut object);
    object
}

fn validate_spec(spec: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut FieldErrors) {
    let min = i64_at(spec, "minReplicas");
    let stored_zero = old.is_some_and(|old| i64_at(old, "minReplicas") == Some(0));
    let lowest = if stored_zero { 0 } else { 1 };
    if let Some(min) = min
        && min < lowest
    {
        errors.invalid(
            &path.field("minReplicas"),
            &min.into(),
            format!("must be greater than or equal to {lowest}"),
        );
    }
    let max = int_at(spec, "maxReplicas");
    let max_path = path.field("maxReplicas");
    if max == 0 {
        errors.required(&max_path, "must be set and greater than 0");
    } else if max < 0 {
        errors.invalid(&max_path, &max.into(), "must be greater than or equal to 1");
    }
    if min.is_some_and(|min| max < min) {
        errors.invalid(
            &max_path,
            &max.into(),
            "must be greater than or equal to `minReplicas`",
        );
    }
    let target = get(spec, "scaleTargetRef");
    let target_path = path.field("scaleTargetRef");
    validate_reference(target, &target_path, errors);
    let stored = old.map(|old| str_at(get(old, "scaleTargetRef"), "apiVersion"));
    validate_api_version(target, stored, &target_path, errors);
    metrics::validate(spec, min, path, errors);
    behavior::validate(spec, path, errors);
}

/// A CrossVersionObjectReference: kind and name.
pub(super) fn validate_reference(target: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for field in ["kind", "name"] {
        let text = str_at(target, field);
        let path = path.field(field);
        if text.is_empty() {
            errors.required(&path, "");
        } else {
            names::invalid_each(errors, &path, text, names::path_segment(text));
        }
    }
}

/// What is scaled must name its group, unless it is a ReplicationController or stored so already.
fn validate_api_version(
    target: &Value,
    stored: Option<&str>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let version = str_at(target, "apiVersion");
    if str_at(target, "kind") == "ReplicationController" || stored == Some(version) {
        return;
    }
    let path = path.field("apiVersion");
    match version.split_once('/') {
        Some((group, rest)) if rest.contains('/') => errors.invalid_str(
            &path,
            version,
            format!("unexpected GroupVersion string: {group}/{rest}"),
        ),
        Some((group, _)) if !group.is_empty() => {}
        _ => errors.invalid_str(&path, version, "apiVersion must specify API group"),
    }
}
