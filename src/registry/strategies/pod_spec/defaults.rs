//! Defaults of pod specs (contract/defaults.md §2): what every spec gets, what only Pods get, and what
//! gates that are off drop.

use super::super::common::access::{
    arr_at, at, at_mut, default_nil, default_zero, ensure_object, int_at, is_true, items_mut,
    obj_at, object_mut, path_at, remove, str_at,
};
use super::super::common::resources::{format_nanos, is_huge_page, is_overcommit_allowed};
use super::containers::is_sidecar;
use super::pod_resources::{aggregate, is_pod_level};
use super::volumes::SOURCES;
use crate::base::tree::{Map, Value, json};

const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
const FILE_MODE: i64 = 0o644;
const TOKEN_SECONDS: i64 = 3600;

/// Annotations of the times when init containers were annotations.
const INIT_CONTAINER_ANNOTATIONS: [&str; 4] = [
    "pod.alpha.kubernetes.io/init-containers",
    "pod.beta.kubernetes.io/init-containers",
    "pod.alpha.kubernetes.io/init-container-statuses",
    "pod.beta.kubernetes.io/init-container-statuses",
];

/// Fills the defaults of a pod template; makes its spec when missing.
pub fn default_template(template: &mut Value) {
    drop_annotations(template);
    default_pod_spec(ensure_object(template, "spec"));
}

/// Removes annotations without a meaning from the metadata of a pod or template.
pub fn drop_annotations(object: &mut Value) {
    let Some(meta) = at_mut(object, "metadata") else {
        return;
    };
    let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    let before = annotations.len();
    annotations.retain(|key, _| !INIT_CONTAINER_ANNOTATIONS.contains(&key.as_str()));
    if annotations.is_empty() && before > 0 {
        remove(meta, "annotations");
    }
}

/// Fills the defaults that every pod spec gets.
pub fn default_pod_spec(spec: &mut Value) {
    default_zero(spec, "dnsPolicy", "ClusterFirst");
    default_zero(spec, "restartPolicy", "Always");
    ensure_object(spec, "securityContext");
    default_nil(spec, "terminationGracePeriodSeconds", 30);
    default_zero(spec, "schedulerName", "default-scheduler");
    // Gate GenericWorkload is off.
    remove(spec, "schedulingGroup");
    let account = match str_at(spec, "serviceAccountName") {
        "" => str_at(spec, "serviceAccount"),
        name => name,
    }
    .to_owned();
    if !account.is_empty() {
        let members = object_mut(spec);
        members.insert("serviceAccount".into(), account.clone().into());
        members.insert("serviceAccountName".into(), account.into());
    }
    for list in CONTAINER_LISTS {
        for container in items_mut(spec, list) {
            default_container(container);
        }
    }
    for volume in items_mut(spec, "volumes") {
        default_volume(volume);
    }
}

fn default_container(container: &mut Value) {
    if str_at(container, "imagePullPolicy").is_empty() {
        let policy = pull_policy(str_at(container, "image"));
        default_zero(container, "imagePullPolicy", policy);
    }
    default_zero(container, "terminationMessagePath", "/dev/termination-log");
    default_zero(container, "terminationMessagePolicy", "File");
    for port in items_mut(container, "ports") {
        default_zero(port, "protocol", "TCP");
    }
    for variable in items_mut(container, "env") {
        let Some(from) = at_mut(variable, "valueFrom") else {
            continue;
        };
        default_field_ref(from);
        if let Some(file) = at_mut(from, "fileKeyRef") {
            default_nil(file, "optional", false);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = at_mut(container, probe) {
            default_zero(probe, "timeoutSeconds", 1);
            default_zero(probe, "periodSeconds", 10);
            default_zero(probe, "successThreshold", 1);
            default_zero(probe, "failureThreshold", 3);
            default_http_get(probe);
            if let Some(grpc) = at_mut(probe, "grpc") {
                default_nil(grpc, "service", "");
            }
        }
    }
    if let Some(lifecycle) = at_mut(container, "lifecycle") {
        remove(lifecycle, "stopSignal");
        for handler in ["postStart", "preStop"] {
            if let Some(handler) = at_mut(lifecycle, handler) {
                default_http_get(handler);
            }
        }
    }
}

fn default_field_ref(holder: &mut Value) {
    if let Some(reference) = at_mut(holder, "fieldRef") {
        default_zero(reference, "apiVersion", "v1");
    }
    if let Some(reference) = at_mut(holder, "resourceFieldRef") {
        // A quantity is always written.
        default_zero(reference, "divisor", "0");
    }
}

fn default_http_get(handler: &mut Value) {
    if let Some(action) = at_mut(handler, "httpGet") {
        default_zero(action, "path", "/");
        default_zero(action, "scheme", "HTTP");
    }
}

/// The pull policy an image gets: `Always` for `latest` and for neither tag nor digest; what is no
/// image reference gets `IfNotPresent`.
pub fn pull_policy(image: &str) -> &'static str {
    match super::image::parse(image) {
        Some((None, None)) | Some((Some("latest"), _)) => "Always",
        _ => "IfNotPresent",
    }
}

fn default_volume(volume: &mut Value) {
    if !SOURCES.iter().any(|source| at(volume, source).is_some()) {
        object_mut(volume).insert("emptyDir".into(), Value::Object(Map::new()));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = at_mut(volume, source) {
            default_nil(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(downward) = at_mut(volume, "downwardAPI") {
        items_mut(downward, "items").for_each(default_field_ref);
    }
    if let Some(projected) = at_mut(volume, "projected") {
        items_mut(projected, "sources").for_each(default_projection);
    }
    if let Some(host_path) = at_mut(volume, "hostPath") {
        default_nil(host_path, "type", "");
    }
    if let Some(image) = at_mut(volume, "image") {
        let policy = pull_policy(str_at(image, "reference"));
        default_zero(image, "pullPolicy", policy);
    }
    if let Some(template) =
        at_mut(volume, "ephemeral").and_then(|e| at_mut(e, "volumeClaimTemplate"))
    {
        default_nil(ensure_object(template, "spec"), "volumeMode", "Filesystem");
    }
    default_legacy_volume(volume);
}

fn default_projection(source: &mut Value) {
    // Gates ClusterTrustBundleProjection and PodCertificateRequest are off.
    remove(source, "clusterTrustBundle");
    remove(source, "podCertificate");
    if let Some(token) = at_mut(source, "serviceAccountToken") {
        default_nil(token, "expirationSeconds", TOKEN_SECONDS);
    }
    if let Some(downward) = at_mut(source, "downwardAPI") {
        items_mut(downward, "items").for_each(default_field_ref);
    }
}

/// Defaults of storage systems' sources (also of persistent volumes).
pub fn default_legacy_volume(volume: &mut Value) {
    if let Some(iscsi) = at_mut(volume, "iscsi") {
        default_zero(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = at_mut(volume, "rbd") {
        default_zero(rbd, "pool", "rbd");
        default_zero(rbd, "user", "admin");
        default_zero(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = at_mut(volume, "azureDisk") {
        default_nil(disk, "cachingMode", "ReadWrite");
        default_nil(disk, "fsType", "ext4");
        default_nil(disk, "readOnly", false);
        default_nil(disk, "kind", "Shared");
    }
    if let Some(scale_io) = at_mut(volume, "scaleIO") {
        default_zero(scale_io, "storageMode", "ThinProvisioned");
        default_zero(scale_io, "fsType", "xfs");
    }
}

/// Fills the defaults that only a Pod's own spec gets, after [`default_pod_spec`].
pub fn default_pod_only(spec: &mut Value) {
    for list in ["containers", "initContainers"] {
        for container in items_mut(spec, list) {
            if let Some(resources) = at_mut(container, "resources") {
                requests_from_limits(resources);
            }
        }
    }
    default_pod_level_resources(spec);
    default_nil(spec, "enableServiceLinks", true);
    if is_true(spec, "hostNetwork") {
        for list in ["containers", "initContainers"] {
            for container in items_mut(spec, list) {
                for port in items_mut(container, "ports") {
                    let number = int_at(port, "containerPort");
                    if number != 0 {
                        default_zero(port, "hostPort", number);
                    }
                }
            }
        }
    }
    if int_at(spec, "terminationGracePeriodSeconds") < 0 {
        spec["terminationGracePeriodSeconds"] = 1.into();
    }
}

fn requests_from_limits(resources: &mut Value) {
    let Some(limits) = obj_at(resources, "limits")
        .filter(|l| !l.is_empty())
        .cloned()
    else {
        return;
    };
    let requests = object_mut(ensure_object(resources, "requests"));
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

/// Pod-level requests: what containers ask for together, else the pod's limit.
fn default_pod_level_resources(spec: &mut Value) {
    let Some(resources) = at(spec, "resources") else {
        return;
    };
    let has = |field: &str| obj_at(resources, field).is_some_and(|o| !o.is_empty());
    if !has("limits") && !has("requests") {
        return;
    }
    let mut limits = obj_at(resources, "limits").cloned().unwrap_or_default();
    let mut requests = obj_at(resources, "requests").cloned().unwrap_or_default();
    for (name, (amount, binary)) in aggregate(spec, "limits") {
        if is_huge_page(name) && !requests.contains_key(name) && !limits.contains_key(name) {
            limits.insert(name.into(), format_nanos(amount, binary).into());
        }
    }
    if !limits.is_empty() {
        for (name, (amount, binary)) in aggregate(spec, "requests") {
            if is_pod_level(name) && is_overcommit_allowed(name) && !requests.contains_key(name) {
                requests.insert(name.into(), format_nanos(amount, binary).into());
            }
        }
        for (name, limit) in &limits {
            if is_pod_level(name) && !requests.contains_key(name) {
                requests.insert(name.clone(), limit.clone());
            }
        }
    }
    let resources = ensure_object(spec, "resources");
    for (field, amounts) in [("limits", limits), ("requests", requests)] {
        if !amounts.is_empty() {
            object_mut(resources).insert(field.into(), Value::Object(amounts));
        }
    }
}

/// Adds the label expressions that `matchLabelKeys` and `mismatchLabelKeys` stand for, from the
/// pod's own labels.
pub fn apply_match_label_keys(pod: &mut Value) {
    let Some(labels) = path_at(pod, &["metadata", "labels"])
        .and_then(Value::as_object)
        .cloned()
    else {
        return;
    };
    let Some(spec) = at_mut(pod, "spec") else {
        return;
    };
    for constraint in items_mut(spec, "topologySpreadConstraints") {
        extend_selector(constraint, &labels);
    }
    let Some(affinity) = at_mut(spec, "affinity") else {
        return;
    };
    for field in ["podAffinity", "podAntiAffinity"] {
        let Some(terms) = at_mut(affinity, field) else {
            continue;
        };
        for term in items_mut(terms, "requiredDuringSchedulingIgnoredDuringExecution") {
            extend_selector(term, &labels);
        }
        for weighted in items_mut(terms, "preferredDuringSchedulingIgnoredDuringExecution") {
            if let Some(term) = at_mut(weighted, "podAffinityTerm") {
                extend_selector(term, &labels);
            }
        }
    }
}

fn extend_selector(term: &mut Value, labels: &Map) {
    if at(term, "labelSelector").is_none() {
        return;
    }
    let mut added = Vec::new();
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in arr_at(term, field) {
            if let Some(value) = key.as_str().and_then(|key| labels.get(key)) {
                added.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
    if added.is_empty() {
        return;
    }
    let selector = object_mut(ensure_object(term, "labelSelector"));
    let list = selector
        .entry("matchExpressions".into())
        .or_insert_with(|| json!([]));
    match list {
        Value::Array(expressions) => expressions.extend(added),
        other => *other = Value::Array(added),
    }
}

/// The quality of service class of a pod: `Guaranteed`, `Burstable` or `BestEffort`.
pub fn qos_class(spec: &Value) -> &'static str {
    use super::super::common::resources::nanos;
    let pod_level = at(spec, "resources").filter(|r| {
        ["limits", "requests"]
            .iter()
            .any(|f| obj_at(r, f).is_some_and(|o| !o.is_empty()))
    });
    let owners: Vec<&Value> = match pod_level {
        Some(resources) => vec![resources],
        None => ["containers", "initContainers"]
            .iter()
            .flat_map(|list| arr_at(spec, list))
            .map(|container| at(container, "resources").unwrap_or(&Value::Null))
            .collect(),
    };
    let amount = |owner: &Value, field: &str, name: &str| {
        at(owner, field)
            .and_then(|m| at(m, name))
            .and_then(nanos)
            .filter(|n| *n > 0)
    };
    let mut any = false;
    let mut guaranteed = true;
    for owner in owners {
        for name in ["cpu", "memory"] {
            let request = amount(owner, "requests", name);
            let limit = amount(owner, "limits", name);
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Whether any init container is a sidecar.
pub fn has_sidecars(spec: &Value) -> bool {
    arr_at(spec, "initContainers").iter().any(is_sidecar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_policies() {
        let cases = [
            ("example.test/app", "Always"),
            ("example.test/app:latest", "Always"),
            ("example.test:5000/app", "Always"),
            ("example.test/app:v1", "IfNotPresent"),
            (
                "example.test/b@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "IfNotPresent",
            ),
            (
                "example.test:5000/b:latest@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "Always",
            ),
            ("[::1]:5000/app", "Always"),
            ("[::1]/app:v1", "IfNotPresent"),
            ("app:latest", "Always"),
            ("app:", "IfNotPresent"),
            (" x", "IfNotPresent"),
            ("", "IfNotPresent"),
        ];
        for (image, want) in cases {
            assert_eq!(pull_policy(image), want, "{image}");
        }
    }

    #[test]
    fn qos() {
        let cases = [
            (json!({"containers": [{}]}), "BestEffort"),
            (
                json!({"containers": [{"resources": {"requests": {"cpu": "1"}}}]}),
                "Burstable",
            ),
            (
                json!({"containers": [{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}}]}),
                "Guaranteed",
            ),
            (
                json!({"containers": [{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}, {}]}),
                "Burstable",
            ),
            (
                json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, "containers": [{}]}),
                "Burstable",
            ),
        ];
        for (spec, want) in cases {
            assert_eq!(qos_class(&spec), want, "{spec}");
        }
    }

    #[test]
    fn pod_defaults() {
        let mut spec = json!({"containers": [{"name": "c", "image": "i:1", "resources": {"limits": {"cpu": "1"}}, "ports": [{"containerPort": 80}]}],
            "hostNetwork": true, "volumes": [{"name": "v"}], "serviceAccount": "sa"});
        default_pod_spec(&mut spec);
        default_pod_only(&mut spec);
        let once = spec.clone();
        default_pod_spec(&mut spec);
        default_pod_only(&mut spec);
        assert_eq!(once, spec, "idempotent");
        assert_eq!(spec["containers"][0]["resources"]["requests"]["cpu"], "1");
        assert_eq!(spec["containers"][0]["ports"][0]["hostPort"], 80);
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(spec["serviceAccountName"], "sa");
    }
}
