//! Pod: creation and the dispatch of its subresources.

use chrono::{SecondsFormat, Utc};

use super::super::common::access::{
    arr_at, at, at_mut, ensure_object, get, int_at, object_mut, path_at, str_at,
};
use super::super::pod_spec::{Owner, defaults, validate_pod_spec, warnings};
use super::{annotations, pod_ephemeral, pod_resize, pod_status, pod_update};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of Pod.
pub struct PodStrategy;

impl Strategy for PodStrategy {
    fn pod_spec_path(&self) -> Option<&'static [&'static str]> {
        Some(&["spec"])
    }

    fn default(&self, object: &mut Value) {
        defaults::drop_annotations(object);
        let spec = ensure_object(object, "spec");
        defaults::default_pod_spec(spec);
        defaults::default_pod_only(spec);
        default_pod_ips(object);
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        defaults::apply_match_label_keys(object);
        annotations::sync_app_armor(object);
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        let mut status = json!({"phase": "Pending", "qosClass": defaults::qos_class(spec)});
        if !arr_at(spec, "schedulingGates").is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null,
                "lastTransitionTime": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            }]);
        }
        object_mut(object).insert("status".into(), status);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        match ctx.subresource {
            "status" => pod_status::prepare(object, old),
            "ephemeralcontainers" => pod_ephemeral::prepare(object, old),
            "resize" => pod_resize::prepare(object, old),
            _ => {}
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        match (old, ctx.subresource) {
            (None, _) => validate_create(object, errors),
            (Some(old), "status") => pod_status::validate(object, old, errors),
            (Some(old), "ephemeralcontainers") => pod_ephemeral::validate(object, old, errors),
            (Some(old), "resize") => pod_resize::validate(object, old, errors),
            // The server itself made these changes, from a Binding or an Eviction.
            (Some(_), "binding" | "eviction") => {}
            (Some(old), _) => pod_update::validate(object, old, errors),
        }
    }

    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let spec = spec_of(object);
        let phase = path_at(object, &["status", "phase"]).and_then(Value::as_str);
        // Nobody waits for a pod that runs nowhere.
        if str_at(spec, "nodeName").is_empty() || matches!(phase, Some("Failed" | "Succeeded")) {
            return Some(0);
        }
        let seconds = requested.unwrap_or_else(|| int_at(spec, "terminationGracePeriodSeconds"));
        Some(if seconds < 0 { 1 } else { seconds })
    }

    fn warnings_when_refused(&self, object: &Value) -> Vec<String> {
        let mut out = Vec::new();
        warnings::warn_app_armor(get(object, "metadata"), &mut out);
        out
    }

    fn warnings(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        if old.is_none() {
            let null = Value::Null;
            let meta = at(object, "metadata").unwrap_or(&null);
            let spec = at(object, "spec").unwrap_or(&null);
            warnings::warn_dns_label(meta, "the Pod's hostname", &mut out);
            warnings::warn_pod(meta, spec, &Path::ROOT, &mut out);
        }
        out
    }
}

/// `podIP` and `podIPs` say the same.
fn default_pod_ips(object: &mut Value) {
    let Some(status) = at_mut(object, "status") else {
        return;
    };
    let ip = str_at(status, "podIP").to_owned();
    let first = arr_at(status, "podIPs")
        .first()
        .map(|entry| str_at(entry, "ip").to_owned());
    match first {
        Some(first) if ip.is_empty() => status["podIP"] = first.into(),
        first if !ip.is_empty() && first.as_deref() != Some(&ip) => {
            status["podIPs"] = json!([{"ip": ip}]);
        }
        _ => {}
    }
}

/// Validates annotations and spec, and what only Pods (not templates) demand.
pub fn validate_annotations_and_spec(pod: &Value, errors: &mut FieldErrors) {
    let null = Value::Null;
    let meta = at(pod, "metadata").unwrap_or(&null);
    let spec = at(pod, "spec").unwrap_or(&null);
    let meta_path = Path::ROOT.field("metadata");
    annotations::validate(meta, spec, &meta_path.field("annotations"), errors);
    let path = Path::ROOT.field("spec");
    let owner = Owner::Pod(str_at(meta, "name"));
    validate_pod_spec(spec, owner, &path, errors);
    validate_token_volumes(spec, &path, errors);
    for list in ["containers", "initContainers"] {
        let list_path = path.field(list);
        for (i, container) in arr_at(spec, list).iter().enumerate() {
            validate_image_spaces(container, &list_path.index(i), errors);
        }
    }
}

/// The image has no spaces around it; `path` is the container's.
pub fn validate_image_spaces(container: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let image = str_at(container, "image");
    if image.trim() != image {
        errors.invalid_str(
            &path.field("image"),
            image,
            "must not have leading or trailing whitespace",
        );
    }
}

/// Tokens need a service account.
fn validate_token_volumes(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if !str_at(spec, "serviceAccountName").is_empty() {
        return;
    }
    let volumes = path.field("volumes");
    for (i, volume) in arr_at(spec, "volumes").iter().enumerate() {
        let Some(projected) = at(volume, "projected") else {
            continue;
        };
        let item = volumes.index(i);
        let projected_path = item.field("projected");
        let sources = projected_path.field("sources");
        for (j, source) in arr_at(projected, "sources").iter().enumerate() {
            if at(source, "serviceAccountToken").is_some() {
                let path = sources.index(j);
                errors.forbidden(
                    &path.field("serviceAccountToken"),
                    "must not be specified when serviceAccountName is not set",
                );
            }
        }
    }
}

fn validate_create(pod: &Value, errors: &mut FieldErrors) {
    validate_annotations_and_spec(pod, errors);
    let null = Value::Null;
    let spec = at(pod, "spec").unwrap_or(&null);
    let meta = at(pod, "metadata").unwrap_or(&null);
    let path = Path::ROOT.field("spec");
    if !arr_at(spec, "ephemeralContainers").is_empty() {
        errors.forbidden(
            &path.field("ephemeralContainers"),
            "cannot be set on create",
        );
    }
    let gated = !arr_at(spec, "schedulingGates").is_empty();
    if gated && !str_at(spec, "nodeName").is_empty() {
        errors.forbidden(
            &path.field("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        );
    }
    annotations::validate_seccomp_match(meta, spec, &path, errors);
    annotations::validate_app_armor_match(meta, spec, &path, errors);
}

/// The pod's phase-independent spec, null when missing.
pub fn spec_of(pod: &Value) -> &Value {
    path_at(pod, &["spec"]).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(meta: Value, spec: Value) -> Vec<String> {
        let mut pod = json!({"metadata": meta, "spec": spec});
        PodStrategy.default(&mut pod);
        pod["spec"]["serviceAccountName"] = "default".into();
        let mut errors = FieldErrors::default();
        PodStrategy.validate(&pod, None, &WriteContext::default(), &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    fn with(mut extra: Value) -> Value {
        extra["containers"] = json!([{"name": "c", "image": "i:1"}]);
        extra
    }

    #[test]
    fn rules() {
        let cases: [(Value, &str); 9] = [
            (with(json!({})), ""),
            (
                with(json!({"schedulingGates": [{"name": "g"}], "nodeName": "n"})),
                "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
            ),
            (
                with(json!({"hostUsers": false, "hostNetwork": true})),
                "spec.hostNetwork: Forbidden: when `hostUsers` is false",
            ),
            (
                with(json!({"os": {"name": "beos"}})),
                "spec.os: Unsupported value: \"beos\": supported values: \"linux\", \"windows\"",
            ),
            (
                with(json!({"os": {"name": "windows"}, "securityContext": {"runAsUser": 1}})),
                "spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
            ),
            (
                with(json!({"tolerations": [{"operator": "Equal"}]})),
                "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ),
            (
                with(
                    json!({"resources": {"limits": {"cpu": "1"}, "claims": [{"name": "x"}]}, "resourceClaims": [{"name": "x", "resourceClaimName": "y"}]}),
                ),
                "spec.resources.claims: Forbidden: claims cannot be set for Resources at pod-level",
            ),
            (
                json!({"containers": [{"name": "c", "image": " x"}]}),
                "spec.containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace",
            ),
            (
                json!({"containers": [{"name": "c", "image": "i:1", "volumeMounts": [{"name": "none", "mountPath": ""}]}]}),
                "spec.containers[0].volumeMounts[0].name: Not found: \"none\"\nspec.containers[0].volumeMounts[0].mountPath: Required value",
            ),
        ];
        for (spec, want) in cases {
            let got = check(json!({"name": "p"}), spec.clone());
            assert_eq!(got.join("\n"), want, "{spec}");
        }
    }

    #[test]
    fn match_label_keys_are_merged_once() {
        let spec = with(
            json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z",
            "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["a"],
            "labelSelector": {"matchLabels": {"b": "c"}}}]}),
        );
        let mut pod = json!({"metadata": {"name": "p", "labels": {"a": "1"}}, "spec": spec});
        PodStrategy.default(&mut pod);
        pod["spec"]["serviceAccountName"] = "default".into();
        PodStrategy.prepare_for_create(&mut pod, &WriteContext::default());
        assert_eq!(
            pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"],
            json!([{"key": "a", "operator": "In", "values": ["1"]}])
        );
        let mut errors = FieldErrors::default();
        PodStrategy.validate(&pod, None, &WriteContext::default(), &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
    }

    #[test]
    fn grace() {
        let bound = json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}});
        let cases = [
            (
                json!({"spec": {"terminationGracePeriodSeconds": 30}}),
                None,
                0,
            ),
            (bound.clone(), None, 30),
            (bound.clone(), Some(5), 5),
            (bound, Some(-1), 1),
        ];
        for (pod, requested, want) in cases {
            assert_eq!(
                PodStrategy.grace_period(&pod, requested),
                Some(want),
                "{pod}"
            );
        }
    }
}
