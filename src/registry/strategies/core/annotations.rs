//! Annotations of pods that mean something: mirror pods, deletion cost, seccomp and AppArmor profiles
//! of the times before fields (contract/validation.md §B3).

use super::super::common::access::{
    arr_at, at, at_mut, ensure_object, items_mut, object_mut, opt_str_at, path_at, str_at,
    strings_at,
};
use super::super::common::checks;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};

/// Marks a pod as the API's image of a kubelet's static pod.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// The annotation of this key.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    path_at(object, &["metadata", "annotations", key]).and_then(Value::as_str)
}

/// Validates the annotations of a pod or template against its spec; `path` is theirs.
pub fn validate(meta: &Value, spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let get = |key: &str| at(meta, "annotations").and_then(|a| opt_str_at(a, key));
    if let Some(value) = get(MIRROR)
        && str_at(spec, "nodeName").is_empty()
    {
        errors.invalid_str(
            &path.key(MIRROR),
            value,
            "must set spec.nodeName if mirror pod annotation is set",
        );
    }
    if let Some(cost) = get(DELETION_COST)
        && !is_deletion_cost(cost)
    {
        errors.invalid_str(&path.key(DELETION_COST), cost, "must be a 32bit integer");
    }
    for (key, profile) in strings_at(meta, "annotations") {
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            validate_seccomp(profile, &path.field(key), errors);
        }
    }
    for (key, profile) in strings_at(meta, "annotations") {
        let Some(container) = key.strip_prefix(APP_ARMOR) else {
            continue;
        };
        if !has_container(spec, container) {
            errors.invalid_str(&path.key(key), container, "container not found");
        }
        if app_armor_type(profile).is_none() && !profile.is_empty() {
            errors.invalid_str(
                &path.key(key),
                profile,
                format!("invalid AppArmor profile name: {profile:?}"),
            );
        }
    }
}

fn is_deletion_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = text == "0"
        || digits
            .bytes()
            .next()
            .is_some_and(|b| (b'1'..=b'9').contains(&b));
    plain && text.parse::<i32>().is_ok()
}

fn has_container(spec: &Value, name: &str) -> bool {
    CONTAINER_LISTS
        .iter()
        .flat_map(|list| arr_at(spec, list))
        .any(|c| str_at(c, "name") == name)
}

fn validate_seccomp(profile: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if matches!(profile, "runtime/default" | "docker/default" | "unconfined") {
        return;
    }
    match profile.strip_prefix("localhost/") {
        Some(local) => checks::relative_path(local, path, errors),
        None => errors.invalid_str(path, profile, "must be a valid seccomp profile"),
    }
}

/// The field's `type` that an AppArmor annotation stands for.
fn app_armor_type(profile: &str) -> Option<&'static str> {
    match profile {
        "runtime/default" => Some("RuntimeDefault"),
        "unconfined" => Some("Unconfined"),
        _ if profile.starts_with("localhost/") => Some("Localhost"),
        _ => None,
    }
}

/// A seccomp annotation and the field beside it say the same; `path` is the spec's.
pub fn validate_seccomp_match(
    meta: &Value,
    spec: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let get = |key: &str| at(meta, "annotations").and_then(|a| opt_str_at(a, key));
    if at(meta, "annotations").is_none() {
        return;
    }
    if let (Some(annotation), Some(field)) = (
        get(SECCOMP_POD),
        path_at(spec, &["securityContext", "seccompProfile"]),
    ) {
        let context = path.field("securityContext");
        let field_path = context.field("seccompProfile");
        match_profile("seccomp", annotation, field, &field_path, errors);
    }
    for_containers(spec, path, errors, &mut |container, path, errors| {
        let key = format!("{SECCOMP_CONTAINER}{}", str_at(container, "name"));
        if let (Some(annotation), Some(field)) = (
            get(&key),
            path_at(container, &["securityContext", "seccompProfile"]),
        ) {
            let context = path.field("securityContext");
            let field_path = context.field("seccompProfile");
            match_profile("seccomp", annotation, field, &field_path, errors);
        }
    });
}

/// An AppArmor annotation and the field beside it say the same; `path` is the spec's.
pub fn validate_app_armor_match(
    meta: &Value,
    spec: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let Some(annotations) = at(meta, "annotations") else {
        return;
    };
    for_containers(spec, path, errors, &mut |container, path, errors| {
        let key = format!("{APP_ARMOR}{}", str_at(container, "name"));
        let field = path_at(container, &["securityContext", "appArmorProfile"]);
        if let (Some(annotation), Some(field)) = (opt_str_at(annotations, &key), field) {
            let context = path.field("securityContext");
            let field_path = context.field("appArmorProfile");
            match_profile("apparmor", annotation, field, &field_path, errors);
        }
    });
}

fn for_containers(
    spec: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
    each: &mut dyn FnMut(&Value, &Path<'_>, &mut FieldErrors),
) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let list_path = path.field(list);
        for (i, container) in arr_at(spec, list).iter().enumerate() {
            each(container, &list_path.index(i), errors);
        }
    }
}

fn match_profile(
    what: &str,
    annotation: &str,
    field: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let kind = str_at(field, "type");
    let same_type = match kind {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => matches!(annotation, "runtime/default" | "docker/default"),
        "Localhost" => annotation.starts_with("localhost/"),
        _ => true,
    };
    if !same_type {
        errors.forbidden(
            &path.field("type"),
            format!("{what} type in annotation and field must match"),
        );
    } else if kind == "Localhost"
        && annotation.strip_prefix("localhost/") != opt_str_at(field, "localhostProfile")
    {
        errors.forbidden(
            &path.field("localhostProfile"),
            format!("{what} profile in annotation and field must match"),
        );
    }
}

/// Copies AppArmor annotations of a new pod into the fields of its containers.
pub fn sync_app_armor(pod: &mut Value) {
    let profiles: Vec<(String, String)> = path_at(pod, &["metadata", "annotations"])
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, profile)| {
            let name = key.strip_prefix(APP_ARMOR)?;
            Some((name.to_owned(), profile.as_str()?.to_owned()))
        })
        .collect();
    if profiles.is_empty() {
        return;
    }
    let Some(spec) = at_mut(pod, "spec") else {
        return;
    };
    let pod_profile = path_at(spec, &["securityContext", "appArmorProfile"]).cloned();
    for list in CONTAINER_LISTS {
        for container in items_mut(spec, list) {
            let name = str_at(container, "name");
            let Some((_, profile)) = profiles.iter().find(|(n, _)| n == name) else {
                continue;
            };
            let Some(kind) = app_armor_type(profile) else {
                continue;
            };
            let field = match profile.strip_prefix("localhost/") {
                Some(local) => json!({"type": kind, "localhostProfile": local}),
                None => json!({"type": kind}),
            };
            let set = path_at(container, &["securityContext", "appArmorProfile"]).is_some();
            if !set && pod_profile.as_ref() != Some(&field) {
                let context = ensure_object(container, "securityContext");
                object_mut(context).insert("appArmorProfile".into(), field);
            }
        }
    }
}

/// Annotations an update may not touch; `path` is that of the annotations.
pub fn validate_update(new: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let null = Value::Null;
    let (new, old) = (
        at(new, "metadata").unwrap_or(&null),
        at(old, "metadata").unwrap_or(&null),
    );
    let get = |meta: &Value, key: &str| {
        at(meta, "annotations")
            .and_then(|a| opt_str_at(a, key))
            .map(str::to_owned)
    };
    for (key, value) in strings_at(old, "annotations") {
        if get(new, key).as_deref() == Some(value) {
            continue;
        }
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(
                &path.key(key),
                "may not remove or update AppArmor annotations",
            );
        }
        if key == MIRROR {
            errors.forbidden(
                &path.key(key),
                "may not remove or update mirror pod annotation",
            );
        }
    }
    for (key, _) in strings_at(new, "annotations") {
        if get(old, key).is_some() {
            continue;
        }
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&path.key(key), "may not add AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&path.key(key), "may not add mirror pod annotation");
        }
    }
}
