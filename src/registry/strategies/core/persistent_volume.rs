//! PersistentVolume.

use super::super::common::access::{
    arr_at, at, default_nil, default_zero, ensure_object, entries_at, obj_at, object_mut,
    opt_str_at, path_at, semantic_equal, str_at,
};
use super::super::common::checks::{self, IMMUTABLE};
use super::super::common::diff;
use super::super::common::golang;
use super::super::common::names::{self, invalid_each};
use super::super::common::resources::{nanos, quantity_text};
use super::super::pod_spec::affinity::validate_node_selector;
use super::super::pod_spec::defaults::default_legacy_volume;
use super::super::pod_spec::volumes::validate_host_path;
use super::super::pod_spec::{volume_sources, warnings as pod_warnings};
use super::pv_source::PERSISTENT_VOLUME_SOURCE;
use crate::api::field::{FieldErrors, Path, print_value};
use crate::base::tree::{Value, json};
use crate::registry::meta;
use crate::registry::strategy::{Strategy, WriteContext};

const ACCESS_MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
const POLICIES: [&str; 3] = ["Delete", "Recycle", "Retain"];
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// Sources in the order they are looked at.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// Sources that cannot be mounted with options.
const NO_MOUNT_OPTIONS: [&str; 8] = [
    "hostPath",
    "flocker",
    "fc",
    "flexVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "local",
];

const CSI_SECRETS: [&str; 5] = [
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeStageSecretRef",
    "nodeExpandSecretRef",
];

/// Rules of PersistentVolume.
pub struct PersistentVolumeStrategy;

impl Strategy for PersistentVolumeStrategy {
    fn default(&self, object: &mut Value) {
        default_zero(ensure_object(object, "status"), "phase", "Pending");
        let spec = ensure_object(object, "spec");
        default_zero(spec, "persistentVolumeReclaimPolicy", "Retain");
        default_nil(spec, "volumeMode", "Filesystem");
        default_legacy_volume(spec);
        if let Some(host_path) = spec.get_mut("hostPath").filter(|v| !v.is_null()) {
            default_nil(host_path, "type", "");
        }
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        let status = json!({"phase": "Pending", "lastPhaseTransitionTime": meta::now()});
        object_mut(object).insert("status".into(), status);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource != "status" {
            return;
        }
        let null = Value::Null;
        let old = at(old, "status").unwrap_or(&null);
        let status = ensure_object(object, "status");
        let changed = str_at(status, "phase") != str_at(old, "phase");
        let time = opt_str_at(status, "lastPhaseTransitionTime");
        let stored = opt_str_at(old, "lastPhaseTransitionTime");
        let new = match (changed, time) {
            (true, time) if time.is_none() || time == stored => Some(meta::now()),
            (false, None) => stored.map(str::to_string),
            _ => None,
        };
        if let Some(new) = new {
            object_mut(status).insert("lastPhaseTransitionTime".into(), new.into());
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
            return;
        }
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        validate_spec(spec, &Path::ROOT.field("spec"), errors);
        validate_mount_options(object, spec, errors);
        if let Some(old) = old {
            validate_update(spec, at(old, "spec").unwrap_or(&null), errors);
        }
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let null = Value::Null;
        let mut out = Vec::new();
        warn_annotations(object, &mut out);
        let spec = at(object, "spec").unwrap_or(&null);
        if str_at(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
            out.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".into());
        }
        warn_node_labels(spec, &mut out);
        for (source, text) in [
            (
                "photonPersistentDisk",
                "deprecated in v1.11, non-functional in v1.16+",
            ),
            ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
            ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
            ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
            ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
            ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
            ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
            ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
        ] {
            if at(spec, source).is_some() {
                let field = if source == "storageos" {
                    "storageOS"
                } else {
                    source
                };
                out.push(format!("spec.{field}: {text}"));
            }
        }
        out
    }
}

/// The deprecated annotations of volumes and claims.
pub fn warn_annotations(object: &Value, out: &mut Vec<String>) {
    let Some(annotations) = path_at(object, &["metadata", "annotations"]) else {
        return;
    };
    if at(annotations, BETA_CLASS).is_some() {
        out.push(format!(
            "metadata.annotations[{BETA_CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
    if at(annotations, MOUNT_OPTIONS).is_some() {
        out.push(format!(
            "metadata.annotations[{MOUNT_OPTIONS}]: deprecated since v1.31; use \"mountOptions\" attribute instead"
        ));
    }
}

fn warn_node_labels(spec: &Value, out: &mut Vec<String>) {
    let Some(required) = path_at(spec, &["nodeAffinity", "required"]) else {
        return;
    };
    for (i, term) in arr_at(required, "nodeSelectorTerms").iter().enumerate() {
        for (j, expression) in arr_at(term, "matchExpressions").iter().enumerate() {
            let key = str_at(expression, "key");
            if let Some(text) = pod_warnings::node_label(key) {
                out.push(format!(
                    "spec.nodeAffinity.required.nodeSelectorTerms[{i}].matchExpressions[{j}].key: {key} is {text}"
                ));
            }
        }
    }
}

fn validate_spec(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let modes = arr_at(spec, "accessModes");
    let modes_path = path.field("accessModes");
    if modes.is_empty() {
        errors.required(&modes_path, "");
    }
    for mode in modes {
        if !ACCESS_MODES.contains(&mode.as_str().unwrap_or_default()) {
            errors.not_supported(&modes_path, mode, &ACCESS_MODES);
        }
    }
    let exclusive = |mode: &Value| mode == "ReadWriteOncePod";
    if modes.iter().any(exclusive) && !modes.iter().all(exclusive) {
        let text = "may not use ReadWriteOncePod with other access modes";
        errors.forbidden(&modes_path, text);
    }
    validate_capacity(spec, &path.field("capacity"), errors);
    let policy = str_at(spec, "persistentVolumeReclaimPolicy");
    let policy_path = path.field("persistentVolumeReclaimPolicy");
    if !policy.is_empty() && !POLICIES.contains(&policy) {
        errors.not_supported(&policy_path, &policy.into(), &POLICIES);
    }
    let affinity_path = path.field("nodeAffinity");
    if let Some(affinity) = at(spec, "nodeAffinity") {
        let required_path = affinity_path.field("required");
        match at(affinity, "required") {
            Some(required) => validate_node_selector(required, &required_path, errors),
            None => errors.required(&required_path, "must specify required node constraints"),
        }
    }
    validate_sources(spec, path, errors);
    let host_path = at(spec, "hostPath").map_or("", |h| str_at(h, "path"));
    if policy == "Recycle" && is_root(host_path) {
        let text = "may not be 'recycle' for a hostPath mount of '/'";
        errors.forbidden(&policy_path, text);
    }
    let class = str_at(spec, "storageClassName");
    if !class.is_empty() {
        let messages = names::dns1123_subdomain(class);
        invalid_each(errors, &path.field("storageClassName"), class, messages);
    }
    checks::optional_enum(spec, path, "volumeMode", &["Block", "Filesystem"], errors);
    if let Some(class) = opt_str_at(spec, "volumeAttributesClassName") {
        let class_path = path.field("volumeAttributesClassName");
        if class.is_empty() {
            errors.required(&class_path, "an empty string is disallowed");
        } else {
            invalid_each(errors, &class_path, class, names::dns1123_subdomain(class));
        }
        if at(spec, "csi").is_none() {
            let text = "has to be specified when using volumeAttributesClassName";
            errors.required(&path.field("csi"), text);
        }
    }
}

/// Whether a path is `/` however it is written.
fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|step| matches!(step, "" | "." | ".."))
}

fn validate_capacity(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let capacity = obj_at(spec, "capacity");
    if capacity.is_none_or(|c| c.is_empty()) {
        errors.required(path, "");
    }
    if capacity.is_none_or(|c| c.len() != 1 || !c.contains_key("storage")) {
        let value = capacity.map_or(Value::Null, |c| Value::Object(c.clone()));
        errors.not_supported(path, &value, &["storage"]);
    }
    for (name, amount) in entries_at(spec, "capacity") {
        let Some(units) = nanos(amount) else { continue };
        let path = path.key(name);
        if units < 0 {
            let value = Value::from(i64::try_from(units / 1_000_000_000).unwrap_or(i64::MIN));
            errors.invalid(&path, &value, "must be a valid resource quantity");
        }
        if units <= 0 {
            errors.invalid_str(&path, &quantity_text(amount), "must be greater than zero");
        }
    }
}

fn validate_sources(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let mut count = 0;
    for source in SOURCES {
        let Some(value) = at(spec, source) else {
            continue;
        };
        count += 1;
        let source_path = path.field(source);
        if count > 1 {
            errors.forbidden(&source_path, "may not specify more than 1 volume type");
            continue;
        }
        match source {
            "hostPath" => validate_host_path(value, &source_path, errors),
            "local" => {
                checks::required_str(value, &source_path, "path", errors);
                let local = str_at(value, "path");
                checks::no_backsteps(local, &source_path.field("path"), errors);
                if at(spec, "nodeAffinity").is_none() {
                    let text = "Local volume requires node affinity";
                    errors.required(&path.field("nodeAffinity"), text);
                }
            }
            "csi" => validate_csi(value, &source_path, errors),
            _ => volume_sources::validate(source, value, path, errors),
        }
    }
    if count == 0 {
        errors.required(path, "must specify a volume type");
    }
}

fn validate_csi(value: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    volume_sources::validate_csi_driver(str_at(value, "driver"), &path.field("driver"), errors);
    checks::required_str(value, path, "volumeHandle", errors);
    for field in CSI_SECRETS {
        if let Some(reference) = at(value, field) {
            let path = path.field(field);
            checks::required_str(reference, &path, "name", errors);
            checks::required_str(reference, &path, "namespace", errors);
        }
    }
}

fn validate_mount_options(object: &Value, spec: &Value, errors: &mut FieldErrors) {
    let annotation = path_at(object, &["metadata", "annotations", MOUNT_OPTIONS]);
    let refused = NO_MOUNT_OPTIONS
        .iter()
        .any(|source| at(spec, source).is_some());
    if annotation.is_some() && refused {
        let meta = Path::ROOT.field("metadata");
        let path = meta.field("annotations");
        let text = "may not specify mount options for this volume type";
        errors.forbidden(&path.field(MOUNT_OPTIONS), text);
    }
}

fn validate_update(spec: &Value, old: &Value, errors: &mut FieldErrors) {
    // The secret for expanding may be added later.
    let mut source = old.clone();
    let field = "controllerExpandSecretRef";
    if let (Some(stored), Some(new)) = (source.get_mut("csi"), path_at(spec, &["csi", field]))
        && stored.is_object()
        && at(stored, field).is_none()
    {
        object_mut(stored).insert(field.into(), new.clone());
    }
    let same = SOURCES
        .iter()
        .all(|name| semantic_equal(spec.get(*name), source.get(*name)));
    let path = Path::ROOT.field("spec");
    if !same {
        let before = golang::indented(Some(old), PERSISTENT_VOLUME_SOURCE);
        let after = golang::indented(Some(spec), PERSISTENT_VOLUME_SOURCE);
        let text = format!(
            "spec.persistentvolumesource is immutable after creation\n{}",
            diff::unified(&before, &after)
        );
        errors.forbidden(&path.field("persistentvolumesource"), text);
    }
    let mode_path = Path::ROOT.field("volumeMode");
    checks::immutable(
        at(spec, "volumeMode"),
        at(old, "volumeMode"),
        &mode_path,
        errors,
    );
    if at(old, "nodeAffinity").is_some() {
        validate_affinity_update(spec, old, errors);
    }
    let class = "volumeAttributesClassName";
    if at(old, class).is_some() && at(spec, class).is_none() {
        let text = "update from non-nil value to nil is forbidden";
        errors.forbidden(&path.field(class), text);
    }
}

/// The affinity of a volume is fixed, but beta node labels may become those that replaced them.
fn validate_affinity_update(spec: &Value, old: &Value, errors: &mut FieldErrors) {
    let mut renamed = at(old, "nodeAffinity").cloned().unwrap_or_default();
    let new = at(spec, "nodeAffinity");
    let unchanged = semantic_equal(new, Some(&renamed));
    if unchanged {
        return;
    }
    rename_labels(&mut renamed, new.unwrap_or(&Value::Null));
    if !semantic_equal(new, Some(&renamed)) {
        let path = Path::ROOT.field("nodeAffinity");
        errors.push(
            crate::api::field::ErrorType::Invalid,
            &path,
            print_value(new.unwrap_or(&Value::Null)),
            format!("{IMMUTABLE}, except for updating from beta label to GA"),
        );
    }
}

fn rename_labels(old: &mut Value, new: &Value) {
    let terms = |v: &Value| path_at(v, &["required", "nodeSelectorTerms"]).cloned();
    let Some(Value::Array(wanted)) = terms(new) else {
        return;
    };
    let Some(required) = old.get_mut("required") else {
        return;
    };
    let stored = super::super::common::access::items_mut(required, "nodeSelectorTerms");
    for (term, wanted) in stored.zip(&wanted) {
        for field in ["matchExpressions", "matchFields"] {
            let list = super::super::common::access::items_mut(term, field);
            for (expression, wanted) in list.zip(arr_at(wanted, field)) {
                let key = str_at(wanted, "key");
                let renamed = match str_at(expression, "key") {
                    "beta.kubernetes.io/os" => "kubernetes.io/os",
                    "beta.kubernetes.io/arch" => "kubernetes.io/arch",
                    "failure-domain.beta.kubernetes.io/zone" => "topology.kubernetes.io/zone",
                    "failure-domain.beta.kubernetes.io/region" => "topology.kubernetes.io/region",
                    "beta.kubernetes.io/instance-type" => "node.kubernetes.io/instance-type",
                    _ => continue,
                };
                if key == renamed {
                    object_mut(expression).insert("key".into(), renamed.into());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: Value, old: Option<Value>) -> String {
        let old = old.map(|spec| json!({"spec": spec}));
        let object = json!({"spec": spec});
        let mut errors = FieldErrors::default();
        let ctx = WriteContext::default();
        PersistentVolumeStrategy.validate(&object, old.as_ref(), &ctx, &mut errors);
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        texts.join("\n")
    }

    #[test]
    fn specs() {
        let base = || json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}});
        let with = |key: &str, value: Value| {
            let mut spec = base();
            spec[key] = value;
            spec
        };
        let cases = [
            (base(), ""),
            (
                with("capacity", json!({})),
                "spec.capacity: Required value\nspec.capacity: Unsupported value: {}: supported values: \"storage\"",
            ),
            (
                with("nfs", json!({"server": "a", "path": "/b"})),
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
            ),
            (
                with("volumeAttributesClassName", json!("x")),
                "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
            ),
        ];
        for (spec, want) in cases {
            assert_eq!(check(spec.clone(), None), want, "{spec}");
        }
        let moved = with("hostPath", json!({"path": "/y"}));
        assert!(check(moved, Some(base())).contains("-  \"Path\": \"/x\",\n+  \"Path\": \"/y\","));
    }
}
