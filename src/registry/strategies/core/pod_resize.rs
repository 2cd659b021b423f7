//! `pods/resize`: changing cpu and memory of a running pod.

use super::super::common::access::{
    arr_at, at, ensure_object, items_mut, obj_at, object_mut, path_at, remove, semantic_equal,
    set_or_remove, str_at,
};
use super::super::pod_spec::containers::is_sidecar;
use super::super::pod_spec::defaults::qos_class;
use super::annotations::{self, MIRROR, annotation};
use super::pod::{spec_of, validate_annotations_and_spec};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const LISTS: [&str; 2] = ["containers", "initContainers"];

/// Takes only resources and resize policies from the body, where order and names are the same.
pub fn prepare(new: &mut Value, old: &Value) {
    let body = spec_of(new).clone();
    let mut spec = spec_of(old).clone();
    for list in LISTS {
        let names = |spec: &Value| -> Vec<String> {
            let containers = arr_at(spec, list).iter();
            containers.map(|c| str_at(c, "name").to_owned()).collect()
        };
        if names(&body) != names(&spec) {
            // Validation reports it: the body's list stays.
            set_or_remove(&mut spec, list, body.get(list).cloned());
            continue;
        }
        for (container, from) in items_mut(&mut spec, list).zip(arr_at(&body, list)) {
            for field in ["resources", "resizePolicy"] {
                set_or_remove(container, field, from.get(field).cloned());
            }
        }
    }
    set_or_remove(&mut spec, "resources", body.get("resources").cloned());
    *ensure_object(new, "spec") = spec;
    set_or_remove(new, "status", old.get("status").cloned());
}

/// Validates a resize.
pub fn validate(new: &Value, old: &Value, errors: &mut FieldErrors) {
    validate_annotations_and_spec(new, errors);
    let meta = Path::ROOT.field("metadata");
    annotations::validate_update(new, old, &meta.field("annotations"), errors);
    let refused = if annotation(old, MIRROR).is_some() {
        Some("static pods cannot be resized")
    } else if path_at(old, &["spec", "os", "name"]).is_some_and(|os| os == "windows") {
        Some("windows pods cannot be resized")
    } else {
        None
    };
    if let Some(text) = refused {
        errors.0.clear();
        errors.forbidden(&Path::ROOT.key(""), text);
        return;
    }
    let (new_spec, old_spec) = (spec_of(new), spec_of(old));
    let path = Path::ROOT.field("spec");
    let before = path_at(old, &["status", "qosClass"])
        .and_then(Value::as_str)
        .unwrap_or_else(|| qos_class(old_spec));
    if qos_class(new_spec) != before {
        errors.invalid_str(
            &path,
            before,
            "Pod QOS Class may not change as a result of resizing",
        );
    }
    if !is_supported(old) {
        errors.forbidden(&path, "Pod running on node without support for resize");
    }
    if !validate_order(new_spec, old_spec, &path, errors) {
        return;
    }
    for list in LISTS {
        validate_removals(new_spec, old_spec, list, &path, errors);
    }
    let mut munged = new_spec.clone();
    restore_cpu_and_memory(&mut munged, old_spec);
    if !semantic_equal(Some(&munged), Some(old_spec)) {
        errors.forbidden(&path, "only cpu and memory resources are mutable");
    }
}

/// The kubelet reports resources of running containers if it can resize them.
fn is_supported(pod: &Value) -> bool {
    let statuses = path_at(pod, &["status"]).map_or(&[][..], |s| arr_at(s, "containerStatuses"));
    statuses
        .iter()
        .find(|status| path_at(status, &["state", "running"]).is_some())
        .is_none_or(|status| at(status, "resources").is_some())
}

fn validate_order(new: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) -> bool {
    let before = errors.0.len();
    for list in LISTS {
        let path = path.field(list);
        let (now, then) = (arr_at(new, list), arr_at(old, list));
        if now.len() != then.len() {
            errors.forbidden(&path, "containers may not be added or removed on resize");
            continue;
        }
        for (i, (now, then)) in now.iter().zip(then).enumerate() {
            if str_at(now, "name") != str_at(then, "name") {
                let path = path.index(i);
                errors.forbidden(
                    &path.field("name"),
                    "containers may not be renamed or reordered on resize",
                );
            }
        }
    }
    errors.0.len() == before
}

fn validate_removals(
    new: &Value,
    old: &Value,
    list: &'static str,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let path = path.field(list);
    let pairs = arr_at(new, list).iter().zip(arr_at(old, list));
    for (i, (now, then)) in pairs.enumerate() {
        if list == "initContainers" && !is_sidecar(now) {
            continue;
        }
        let item = path.index(i);
        let resources = item.field("resources");
        for (field, text) in [
            ("requests", "resource requests cannot be removed"),
            ("limits", "resource limits cannot be removed"),
        ] {
            let amounts = |c| at(c, "resources").and_then(|r| obj_at(r, field));
            let removed = amounts(then)
                .into_iter()
                .flatten()
                .any(|(name, _)| amounts(now).is_none_or(|a| !a.contains_key(name)));
            if removed {
                errors.forbidden(&resources.field(field), text);
            }
        }
    }
}

/// Puts back what a resize may change.
fn restore_cpu_and_memory(spec: &mut Value, old: &Value) {
    for list in LISTS {
        for (container, before) in items_mut(spec, list).zip(arr_at(old, list)) {
            if list == "initContainers" && !is_sidecar(container) {
                continue;
            }
            restore(container, before);
        }
    }
    if at(spec, "resources").is_some() || at(old, "resources").is_some() {
        restore(spec, old);
    }
}

fn restore(owner: &mut Value, old: &Value) {
    let resources = ensure_object(owner, "resources");
    for field in ["limits", "requests"] {
        let amounts = ensure_object(resources, field);
        for name in ["cpu", "memory"] {
            match path_at(old, &["resources", field, name]) {
                Some(amount) => {
                    object_mut(amounts).insert(name.into(), amount.clone());
                }
                None => {
                    remove(amounts, name);
                }
            }
        }
    }
}
