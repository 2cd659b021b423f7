//! PersistentVolumeClaim.

use super::super::common::access::{
    at, default_nil, default_zero, ensure_object, entries_at, object_mut, path_at, remove,
    semantic_equal, str_at,
};
use super::super::common::checks;
use super::super::common::diff;
use super::super::common::golang;
use super::super::common::gotypes::PVC_SPEC;
use super::super::common::resources::{nanos, quantity_text};
use super::super::pod_spec::claims::validate_pvc_spec;
use super::super::pod_spec::warnings::warn_claim_spec;
use super::persistent_volume::warn_annotations;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const SNAPSHOTS: &str = "snapshot.storage.k8s.io";
const CLASS: &str = "volumeAttributesClassName";

/// Rules of PersistentVolumeClaim.
pub struct PersistentVolumeClaimStrategy;

impl Strategy for PersistentVolumeClaimStrategy {
    fn default(&self, object: &mut Value) {
        default_zero(ensure_object(object, "status"), "phase", "Pending");
        default_nil(ensure_object(object, "spec"), "volumeMode", "Filesystem");
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        object_mut(object).insert("status".into(), json!({"phase": "Pending"}));
        let spec = ensure_object(object, "spec");
        drop_sources(spec, None);
        mirror_sources(spec);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource.is_empty() {
            let spec = ensure_object(object, "spec");
            drop_sources(spec, at(old, "spec"));
            mirror_sources(spec);
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            return validate_status(object, errors);
        }
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        validate_pvc_spec(spec, &Path::ROOT.field("spec"), errors);
        if let Some(old) = old {
            validate_update(object, old, errors);
        }
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        warn_annotations(object, &mut out);
        if let Some(spec) = at(object, "spec") {
            warn_claim_spec(spec, &Path::ROOT.field("spec"), &mut out);
        }
        out
    }
}

/// Drops data sources that this version ignores, unless they are stored.
fn drop_sources(spec: &mut Value, old: Option<&Value>) {
    let stored = |field: &str| old.is_some_and(|old| at(old, field).is_some());
    let foreign = at(spec, "dataSourceRef").is_some_and(|r| !str_at(r, "namespace").is_empty());
    if foreign && !stored("dataSourceRef") {
        remove(spec, "dataSourceRef");
    }
    let known = at(spec, "dataSource").is_none_or(|source| {
        matches!(
            (str_at(source, "apiGroup"), str_at(source, "kind")),
            ("", "PersistentVolumeClaim") | (SNAPSHOTS, "VolumeSnapshot")
        )
    });
    if !known && at(spec, "dataSourceRef").is_none() && !stored("dataSource") {
        remove(spec, "dataSource");
    }
}

/// Either form of the data source is copied into the other.
fn mirror_sources(spec: &mut Value) {
    let (source, reference) = (at(spec, "dataSource"), at(spec, "dataSourceRef"));
    let (field, value) = match (source, reference) {
        (Some(source), None) => ("dataSourceRef", source.clone()),
        (None, Some(reference)) if str_at(reference, "namespace").is_empty() => {
            let mut value = reference.clone();
            remove(&mut value, "namespace");
            ("dataSource", value)
        }
        _ => return,
    };
    object_mut(spec).insert(field.into(), value);
}

fn validate_status(object: &Value, errors: &mut FieldErrors) {
    let Some(status) = at(object, "status") else {
        return;
    };
    let parent = Path::ROOT.field("status");
    let path = parent.field("capacity");
    for (name, amount) in entries_at(status, "capacity") {
        if nanos(amount).is_some_and(|n| n < 0) {
            errors.invalid_str(
                &path.key(name),
                &quantity_text(amount),
                "must be a valid resource quantity",
            );
        }
    }
}

fn beta_class(object: &Value) -> Option<&str> {
    path_at(object, &["metadata", "annotations", BETA_CLASS])?.as_str()
}

/// Whether the class may go from unset to the new one: from the old annotation, or by the
/// controller that fills in the default class later.
fn class_may_be_set(object: &Value, old: &Value) -> bool {
    let class = |object: &Value| path_at(object, &["spec", "storageClassName"]).cloned();
    match (class(old), class(object)) {
        (None, Some(new)) => match beta_class(old) {
            Some(annotation) => new == annotation,
            None => beta_class(object).is_none(),
        },
        _ => false,
    }
}

fn validate_update(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let null = Value::Null;
    let spec = at(object, "spec").unwrap_or(&null);
    let mut before = at(old, "spec").cloned().unwrap_or_default();
    mirror_sources(&mut before);
    let mut after = spec.clone();
    if str_at(&before, "volumeName").is_empty() {
        let name = str_at(&after, "volumeName").to_string();
        super::super::common::access::set_or_remove(
            &mut before,
            "volumeName",
            (!name.is_empty()).then(|| name.into()),
        );
    }
    if class_may_be_set(object, old) {
        remove(&mut after, "storageClassName");
    } else if beta_class(object) != beta_class(old) {
        let meta = Path::ROOT.field("metadata");
        let annotations = meta.field("annotations");
        errors.invalid_str(
            &annotations.key(BETA_CLASS),
            beta_class(object).unwrap_or_default(),
            checks::IMMUTABLE,
        );
    }
    let bound = at(object, "status").is_some_and(|s| str_at(s, "phase") == "Bound");
    if bound {
        allow_when_bound(&mut after, &before);
    }
    let path = Path::ROOT.field("spec");
    if !semantic_equal(Some(&after), Some(&before)) {
        let text = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{}",
            diff::unified(
                &golang::indented(Some(&before), PVC_SPEC),
                &golang::indented(Some(&after), PVC_SPEC)
            )
        );
        errors.forbidden(&path, text);
    }
    validate_size(spec, old, &path, errors);
    let mode_path = Path::ROOT.field("volumeMode");
    let old_mode = path_at(old, &["spec", "volumeMode"]);
    checks::immutable(at(spec, "volumeMode"), old_mode, &mode_path, errors);
    if path_at(old, &["spec", CLASS]).is_some() && at(spec, CLASS).is_none() {
        let text = "update from non-nil value to nil is forbidden";
        errors.forbidden(&path.field(CLASS), text);
    }
}

/// A bound claim may ask for more storage and another class of attributes.
fn allow_when_bound(after: &mut Value, before: &Value) {
    if let Some(requests) = after
        .get_mut("resources")
        .and_then(|r| r.get_mut("requests"))
        .filter(|r| r.is_object())
        && let Some(storage) = path_at(before, &["resources", "requests", "storage"])
    {
        object_mut(requests).insert("storage".into(), storage.clone());
    }
    if at(after, CLASS).is_some() {
        let stored = at(before, CLASS).cloned();
        super::super::common::access::set_or_remove(after, CLASS, stored);
    }
}

/// Storage may shrink only as long as it stays above what is provisioned.
fn validate_size(spec: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let storage = ["resources", "requests", "storage"];
    let new = path_at(spec, &storage).and_then(nanos).unwrap_or_default();
    let before = at(old, "spec").and_then(|spec| path_at(spec, &storage));
    let provisioned = path_at(old, &["status", "capacity", "storage"]);
    let amount = |value: Option<&Value>| value.and_then(nanos).unwrap_or_default();
    if new < amount(before) && new <= amount(provisioned) {
        let resources = path.field("resources");
        let requests = resources.field("requests");
        let text = "field can not be less than status.capacity";
        errors.forbidden(&requests.field("storage"), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_mirrored_or_dropped() {
        let cases = [
            (
                json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "z"}}),
                json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "z"},
                    "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "z"}}),
            ),
            (
                json!({"dataSource": {"kind": "X", "name": "z", "apiGroup": "g"}}),
                json!({}),
            ),
            (
                json!({"dataSourceRef": {"kind": "X", "name": "z", "namespace": "q"}}),
                json!({}),
            ),
        ];
        for (spec, want) in cases {
            let mut object = json!({"spec": spec});
            let ctx = WriteContext::default();
            PersistentVolumeClaimStrategy.prepare_for_create(&mut object, &ctx);
            assert_eq!(object["spec"], want);
        }
    }

    #[test]
    fn updates() {
        let claim = |volume: &str, storage: &str, phase: &str| {
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "volumeName": volume,
                    "resources": {"requests": {"storage": storage}}},
                "status": {"phase": phase, "capacity": {"storage": "1Gi"}}})
        };
        let cases = [
            (claim("", "1Gi", "Pending"), claim("v", "1Gi", "Pending"), 0),
            (
                claim("v", "1Gi", "Pending"),
                claim("w", "1Gi", "Pending"),
                1,
            ),
            (claim("v", "2Gi", "Bound"), claim("v", "3Gi", "Bound"), 0),
            (claim("v", "2Gi", "Bound"), claim("v", "1Gi", "Bound"), 1),
            (
                claim("v", "1Gi", "Pending"),
                claim("v", "3Gi", "Pending"),
                1,
            ),
        ];
        for (old, new, want) in cases {
            let mut errors = FieldErrors::default();
            validate_update(&new, &old, &mut errors);
            assert_eq!(errors.0.len(), want, "{old} {new}");
        }
    }
}
