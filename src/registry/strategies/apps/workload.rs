//! What the workloads share: selectors that match their templates, pods that always restart, status
//! counters, warnings.

use super::super::common::access::{at, i64_at, int_at, path_at, semantic_equal, str_at};
use super::super::common::checks;
use super::super::common::selector;
use super::super::pod_spec::{template, warnings};
use crate::api::field::{ErrorType, FieldErrors, Path, print_value};
use crate::base::tree::Value;

const MISMATCH: &str = "`selector` does not match template `labels`";

/// Validates `spec.selector`: set, well-formed, not empty.
pub fn validate_selector(
    spec: &Value,
    kind_in_text: &str,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let path = path.field("selector");
    let Some(value) = at(spec, "selector") else {
        return errors.required(&path, "");
    };
    selector::validate_label_selector(Some(value), &path, errors);
    if selector::is_empty(value) {
        invalid_selector(
            value,
            &path,
            format!("empty selector is invalid for {kind_in_text}"),
            errors,
        );
    }
}

/// Reports a selector in wire form.
pub fn invalid_selector(
    value: &Value,
    path: &Path<'_>,
    detail: impl Into<String>,
    errors: &mut FieldErrors,
) {
    let printed = selector::print(Some(value));
    errors.push(ErrorType::Invalid, path, printed, detail);
}

/// The template's labels match the selector; `path` is the template's. A missing selector matches
/// nothing; an empty one is not checked.
pub fn validate_labels_match(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let value = at(spec, "selector");
    if value.is_some_and(selector::is_empty) {
        return;
    }
    let labels = path_at(spec, &["template", "metadata", "labels"]);
    if !selector::matches(value, labels.and_then(Value::as_object)) {
        report_mismatch(labels, path, errors);
    }
}

/// Reports that labels do not match; `path` is the template's.
pub fn report_mismatch(labels: Option<&Value>, path: &Path<'_>, errors: &mut FieldErrors) {
    let meta = path.field("metadata");
    errors.push(
        ErrorType::Invalid,
        &meta.field("labels"),
        print_value(labels.unwrap_or(&Value::Null)),
        MISMATCH,
    );
}

/// Pods of the workload always restart and have no deadline; `path` is the pod spec's.
pub fn validate_always(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let policy = str_at(spec, "restartPolicy");
    if policy != "Always" {
        errors.not_supported(&path.field("restartPolicy"), &policy.into(), &["Always"]);
    }
    if at(spec, "activeDeadlineSeconds").is_some() {
        errors.forbidden(
            &path.field("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
}

/// The template of a Deployment or ReplicaSet; `path` is the spec's.
pub fn validate_replica_set_template(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if let Some(value) = at(spec, "selector")
        && !selector::is_convertible(value)
    {
        invalid_selector(
            value,
            &path.field("selector"),
            "invalid label selector",
            errors,
        );
        return;
    }
    let template_path = path.field("template");
    validate_labels_match(spec, &template_path, errors);
    let null = Value::Null;
    let value = at(spec, "template").unwrap_or(&null);
    template::validate_template(value, &[], &template_path, errors);
    let pod = at(value, "spec").unwrap_or(&null);
    let pod_path = template_path.field("spec");
    if int_at(spec, "replicas") > 1 {
        let volumes = pod_path.field("volumes");
        super::super::core::replication_controller::validate_read_only_disks(pod, &volumes, errors);
    }
    validate_always(pod, "ReplicaSet", &pod_path, errors);
}

/// Counters in `fields` are not negative.
pub fn validate_counters(
    status: &Value,
    fields: &[&str],
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    for field in fields {
        checks::non_negative(status, path, field, errors);
    }
}

/// Counters in `fields` are at most `replicas`; available ones also at most ready ones.
pub fn validate_at_most_replicas(
    status: &Value,
    fields: &[&str],
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let replicas = int_at(status, "replicas");
    for field in fields {
        let count = int_at(status, field);
        if count > replicas {
            errors.invalid(
                &path.field(field),
                &count.into(),
                "cannot be greater than status.replicas",
            );
        }
    }
    let available = int_at(status, "availableReplicas");
    if available > int_at(status, "readyReplicas") {
        errors.invalid(
            &path.field("availableReplicas"),
            &available.into(),
            "cannot be greater than readyReplicas",
        );
    }
}

/// The status of a ReplicaSet or ReplicationController.
pub fn validate_replica_status(object: &Value, errors: &mut FieldErrors) {
    let null = Value::Null;
    let status = at(object, "status").unwrap_or(&null);
    let path = Path::ROOT.field("status");
    validate_counters(
        status,
        &[
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "terminatingReplicas",
            "observedGeneration",
        ],
        &path,
        errors,
    );
    validate_at_most_replicas(
        status,
        &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"],
        &path,
        errors,
    );
}

/// `collisionCount` does not shrink.
pub fn validate_collision_count(
    new: &Value,
    old: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let count = |object| path_at(object, &["status"]).and_then(|s| i64_at(s, "collisionCount"));
    if let Some(before) = count(old) {
        let now = count(new);
        if now.unwrap_or_default() < before {
            let shown = now.map_or(Value::Null, Value::from);
            errors.invalid(
                &path.field("collisionCount"),
                &shown,
                "cannot be decremented",
            );
        }
    }
}

/// `spec.selector` does not change.
pub fn validate_selector_immutable(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let keys = ["spec", "selector"];
    let (new, old) = (path_at(new, &keys), path_at(old, &keys));
    if !semantic_equal(new, old) {
        let spec = Path::ROOT.field("spec");
        errors.push(
            ErrorType::Invalid,
            &spec.field("selector"),
            selector::print(new),
            checks::IMMUTABLE,
        );
    }
}

/// Warnings of a workload: its name (on create, if pods are named after it) and its template (on
/// create and when the generation changed).
pub fn warnings(object: &Value, old: Option<&Value>, names_pods: bool) -> Vec<String> {
    let mut out = Vec::new();
    let null = Value::Null;
    let meta = at(object, "metadata").unwrap_or(&null);
    if old.is_none() && names_pods {
        warnings::warn_dns_label(meta, "Pod names and hostnames", &mut out);
    }
    let generation = |o| path_at(o, &["metadata", "generation"]).cloned();
    let changed = old.is_none_or(|old| generation(object) != generation(old));
    if changed && let Some(template) = path_at(object, &["spec", "template"]) {
        let spec = Path::ROOT.field("spec");
        warnings::warn_template(template, &spec.field("template"), &mut out);
    }
    out
}
