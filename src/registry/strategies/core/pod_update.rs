//! Update of a Pod: nearly everything is immutable (contract/validation.md §B3).

use super::super::common::access::{
    arr_at, at, i64_at, int_at, items_mut, obj_at, object_mut, path_at, remove, semantic_equal,
    set_or_remove, str_at,
};
use super::super::common::diff;
use super::super::common::golang;
use super::super::common::gotypes::{NODE_SELECTOR_TERM, POD_SPEC};
use super::super::pod_spec::placement;
use super::annotations;
use super::pod::{spec_of, validate_annotations_and_spec, validate_image_spaces};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const REQUIRED_AFFINITY: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// Validates an update of the main resource.
pub fn validate(new: &Value, old: &Value, errors: &mut FieldErrors) {
    validate_annotations_and_spec(new, errors);
    let meta = Path::ROOT.field("metadata");
    annotations::validate_update(new, old, &meta.field("annotations"), errors);
    let (new_spec, old_spec) = (spec_of(new), spec_of(old));
    let path = Path::ROOT.field("spec");
    for list in ["containers", "initContainers"] {
        if !validate_containers(new_spec, old_spec, list, &path, errors) {
            return;
        }
    }
    if !validate_deadline(new_spec, old_spec, &path, errors) {
        return;
    }
    validate_tolerations(new_spec, old_spec, &path.field("tolerations"), errors);
    validate_gates(new_spec, old_spec, &path.field("schedulingGates"), errors);
    if semantic_equal(Some(new_spec), Some(old_spec)) {
        return;
    }
    let mut munged = new_spec.clone();
    restore_mutable(&mut munged, old_spec);
    if !arr_at(old_spec, "schedulingGates").is_empty() {
        validate_gated(&mut munged, old_spec, &path, errors);
    }
    if !semantic_equal(Some(&munged), Some(old_spec)) {
        let diff = spec_diff(old_spec, &munged);
        errors.forbidden(&path, format!("{UPDATABLE}\n{diff}"));
    }
}

fn spec_diff(old: &Value, new: &Value) -> String {
    diff::unified(
        &golang::indented(Some(old), POD_SPEC),
        &golang::indented(Some(new), POD_SPEC),
    )
}

/// Same number of containers, images set. Returns whether to go on.
fn validate_containers(
    new: &Value,
    old: &Value,
    list: &'static str,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) -> bool {
    let path = path.field(list);
    let containers = arr_at(new, list);
    if containers.len() != arr_at(old, list).len() {
        errors.forbidden(&path, "pod updates may not add or remove containers");
        return false;
    }
    for (i, container) in containers.iter().enumerate() {
        let path = path.index(i);
        if str_at(container, "image").is_empty() {
            errors.required(&path.field("image"), "");
        }
        validate_image_spaces(container, &path, errors);
    }
    true
}

/// The deadline may only shrink. Returns whether to go on.
fn validate_deadline(new: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) -> bool {
    let path = path.field("activeDeadlineSeconds");
    let before = i64_at(old, "activeDeadlineSeconds");
    let Some(seconds) = i64_at(new, "activeDeadlineSeconds") else {
        if before.is_some() {
            errors.invalid(
                &path,
                &Value::Null,
                "must not update from a positive integer to nil value",
            );
        }
        return true;
    };
    if !(0..=2_147_483_647).contains(&seconds) {
        errors.invalid(
            &path,
            &seconds.into(),
            "must be between 0 and 2147483647, inclusive",
        );
        return false;
    }
    if before.is_some_and(|before| before < seconds) {
        errors.invalid(
            &path,
            &seconds.into(),
            "must be less than or equal to previous value",
        );
        return false;
    }
    true
}

fn validate_tolerations(new: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let without_seconds = |toleration: &Value| {
        let mut copy = toleration.clone();
        remove(&mut copy, "tolerationSeconds");
        copy
    };
    let kept: Vec<Value> = arr_at(new, "tolerations")
        .iter()
        .map(without_seconds)
        .collect();
    for toleration in arr_at(old, "tolerations") {
        let wanted = without_seconds(toleration);
        if !kept.iter().any(|t| semantic_equal(Some(t), Some(&wanted))) {
            errors.forbidden(
                path,
                "existing toleration can not be modified except its tolerationSeconds",
            );
            return;
        }
    }
    placement::validate_tolerations(new, path, errors);
}

fn validate_gates(new: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let before = arr_at(old, "schedulingGates");
    for (i, gate) in arr_at(new, "schedulingGates").iter().enumerate() {
        let name = str_at(gate, "name");
        if !before.iter().any(|g| str_at(g, "name") == name) {
            let path = path.index(i);
            errors.forbidden(
                &path.field("name"),
                format!("only deletion is allowed, but found new scheduling gate '{name}'"),
            );
        }
    }
}

/// Puts back the fields that may change.
fn restore_mutable(spec: &mut Value, old: &Value) {
    for list in ["containers", "initContainers"] {
        for (container, before) in items_mut(spec, list).zip(arr_at(old, list)) {
            set_or_remove(container, "image", before.get("image").cloned());
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        set_or_remove(spec, field, old.get(field).cloned());
    }
    let grace = "terminationGracePeriodSeconds";
    if int_at(old, grace) < 0 && i64_at(spec, grace) == Some(1) {
        set_or_remove(spec, grace, old.get(grace).cloned());
    }
}

/// Gated pods may narrow where they run; allowed or not, the fields are put back.
fn validate_gated(spec: &mut Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let selector = obj_at(spec, "nodeSelector");
    let before = obj_at(old, "nodeSelector");
    if selector != before {
        let kept = before
            .into_iter()
            .flatten()
            .all(|(k, v)| selector.and_then(|s| s.get(k)) == Some(v));
        if !kept {
            let value = at(spec, "nodeSelector").cloned().unwrap_or_default();
            errors.invalid(
                &path.field("nodeSelector"),
                &value,
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            );
        }
        set_or_remove(spec, "nodeSelector", old.get("nodeSelector").cloned());
    }
    let keys = ["affinity", "nodeAffinity"];
    if semantic_equal(path_at(spec, &keys), path_at(old, &keys)) {
        return;
    }
    let affinity_path = path.field("affinity");
    let node_path = affinity_path.field("nodeAffinity");
    validate_node_affinity(spec, old, &node_path.field(REQUIRED_AFFINITY), errors);
    let node = path_at(old, &keys).cloned();
    let only_node = at(spec, "affinity")
        .and_then(Value::as_object)
        .is_none_or(|a| a.keys().all(|k| k == "nodeAffinity"));
    if at(old, "affinity").is_none() && only_node {
        remove(spec, "affinity");
    } else {
        let affinity = super::super::common::access::ensure_object(spec, "affinity");
        object_mut(affinity);
        set_or_remove(affinity, "nodeAffinity", node);
    }
}

fn validate_node_affinity(new: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let terms = |spec| {
        path_at(
            spec,
            &[
                "affinity",
                "nodeAffinity",
                REQUIRED_AFFINITY,
                "nodeSelectorTerms",
            ],
        )
    };
    let list = |value: Option<&'_ Value>| value.and_then(Value::as_array).cloned();
    let Some(before) = list(terms(old)).filter(|t| !t.is_empty()) else {
        return;
    };
    let now = list(terms(new)).unwrap_or_default();
    let terms_path = path.field("nodeSelectorTerms");
    if now.len() != before.len() {
        let shown = golang::compact_list(terms(new), NODE_SELECTOR_TERM);
        errors.push(
            ErrorType::Invalid,
            &terms_path,
            shown,
            "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
        );
        return;
    }
    for (i, (new, old)) in now.iter().zip(&before).enumerate() {
        let appended = |field: &str| {
            let (new, old) = (arr_at(new, field), arr_at(old, field));
            new.len() >= old.len() && new[..old.len()] == *old
        };
        let empty = arr_at(old, "matchExpressions").is_empty()
            && arr_at(old, "matchFields").is_empty()
            && new != old;
        if empty || !appended("matchExpressions") || !appended("matchFields") {
            errors.push(
                ErrorType::Invalid,
                &terms_path.index(i),
                golang::compact_zero(Some(new), NODE_SELECTOR_TERM),
                "only additions are allowed (no mutations or deletions)",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pod::PodStrategy;
    use super::*;
    use crate::base::tree::json;
    use crate::registry::strategy::Strategy;

    fn pod() -> Value {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i:1", "resources": {}}]}});
        PodStrategy.default(&mut pod);
        pod
    }

    fn check(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let old = pod();
        let mut new = pod();
        change(&mut new["spec"]);
        let mut errors = FieldErrors::default();
        validate(&new, &old, &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_may_change() {
        assert_eq!(
            check(|s| s["containers"][0]["image"] = json!("i:2")),
            [""; 0]
        );
        assert_eq!(
            check(|s| s["tolerations"] = json!([{"key": "a", "operator": "Exists"}])),
            [""; 0]
        );
        assert_eq!(
            check(|s| s["containers"] = json!([])),
            [
                "spec.containers: Required value",
                "spec.containers: Forbidden: pod updates may not add or remove containers"
            ]
        );
    }

    #[test]
    fn the_rest_is_shown_as_a_diff() {
        let errors = check(|s| s["restartPolicy"] = json!("Never"));
        let (text, diff) = errors[0].split_once('\n').expect("a diff follows");
        assert!(text.starts_with("spec: Forbidden: pod updates may not change fields other than"));
        assert!(
            diff.contains("- \"RestartPolicy\": \"Always\",\n+ \"RestartPolicy\": \"Never\",\n"),
            "{diff}"
        );
    }
}
