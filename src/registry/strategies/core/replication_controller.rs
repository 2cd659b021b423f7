//! ReplicationController.

use super::super::apps::workload;
use super::super::common::access::{
    arr_at, at, default_nil, ensure_object, int_at, is_true, is_zero, obj_at, object_mut, path_at,
};
use super::super::common::checks;
use super::super::common::selector;
use super::super::pod_spec::{defaults, template};
use crate::api::field::{FieldErrors, Path, print_value};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{DeletionRules, Strategy, WriteContext};

/// Rules of ReplicationController.
pub struct ReplicationControllerStrategy;

impl Strategy for ReplicationControllerStrategy {
    fn pod_spec_path(&self) -> Option<&'static [&'static str]> {
        Some(&["spec", "template", "spec"])
    }

    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        default_nil(spec, "replicas", 1);
        let labels = match at(spec, "template") {
            None => None,
            Some(_) => {
                defaults::default_template(ensure_object(spec, "template"));
                path_at(spec, &["template", "metadata", "labels"]).cloned()
            }
        };
        let Some(labels) = labels.filter(|l| !is_zero(Some(l))) else {
            return;
        };
        if is_zero(spec.get("selector")) {
            object_mut(spec).insert("selector".into(), labels.clone());
        }
        let meta = ensure_object(object, "metadata");
        if is_zero(meta.get("labels")) {
            object_mut(meta).insert("labels".into(), labels);
        }
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            workload::validate_replica_status(object, errors);
            return;
        }
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        validate_spec(spec, &Path::ROOT.field("spec"), errors);
    }

    fn deletion(&self) -> DeletionRules {
        DeletionRules {
            orphans_by_default: true,
            ..DeletionRules::default()
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

fn validate_spec(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    checks::non_negative(spec, path, "minReadySeconds", errors);
    let labels = obj_at(spec, "selector");
    if labels.is_none_or(|l| l.is_empty()) {
        errors.required(&path.field("selector"), "");
    }
    if at(spec, "replicas").is_none() {
        errors.required(&path.field("replicas"), "");
    }
    checks::non_negative(spec, path, "replicas", errors);
    let template_path = path.field("template");
    let Some(value) = at(spec, "template") else {
        return errors.required(&template_path, "");
    };
    let template_labels = template::labels(value);
    if labels.is_some_and(|l| !l.is_empty())
        && !selector::map_matches(labels, template_labels.and_then(Value::as_object))
    {
        let meta = template_path.field("metadata");
        errors.push(
            crate::api::field::ErrorType::Invalid,
            &meta.field("labels"),
            print_value(template_labels.unwrap_or(&Value::Null)),
            "`selector` does not match template `labels`",
        );
    }
    template::validate_template(value, &[], &template_path, errors);
    let null = Value::Null;
    let pod = at(value, "spec").unwrap_or(&null);
    let spec_path = template_path.field("spec");
    if int_at(spec, "replicas") > 1 {
        validate_read_only_disks(pod, &spec_path.field("volumes"), errors);
    }
    workload::validate_always(pod, "ReplicationController", &spec_path, errors);
}

/// GCE disks that several pods mount are read-only.
pub fn validate_read_only_disks(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (i, volume) in arr_at(spec, "volumes").iter().enumerate() {
        if at(volume, "gcePersistentDisk").is_some_and(|disk| !is_true(disk, "readOnly")) {
            let item = path.index(i);
            let disk = item.field("GCEPersistentDisk");
            errors.invalid(
                &disk.field("ReadOnly"),
                &json!(false),
                "must be true for replicated pods > 1; GCE PD can only be mounted on multiple machines if it is read-only",
            );
        }
    }
}
