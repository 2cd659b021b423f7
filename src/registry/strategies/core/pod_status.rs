//! `pods/status`.

use super::super::common::access::{
    arr_at, at, ensure_object, int_at, is_zero, object_mut, path_at, str_at,
};
use super::super::common::checks;
use super::super::common::golang::{self, Field, Ty};
use super::super::common::names::{self, invalid_each};
use super::super::common::net;
use super::super::pod_spec::containers::is_sidecar;
use super::annotations;
use super::pod::spec_of;
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;

const SYSTEM_CONDITIONS: [&str; 8] = [
    "PodScheduled",
    "PodReadyToStartContainers",
    "Ready",
    "Initialized",
    "ContainersReady",
    "DisruptionTarget",
    "PodResizePending",
    "PodResizeInProgress",
];

const POD_IP: &[Field] = &[("IP", "ip", Ty::Str)];

/// Refills what writers of older versions leave out.
pub fn prepare(new: &mut Value, old: &Value) {
    let Some(before) = at(old, "status") else {
        return;
    };
    let status = ensure_object(new, "status");
    if str_at(status, "qosClass").is_empty()
        && let Some(class) = at(before, "qosClass")
    {
        object_mut(status).insert("qosClass".into(), class.clone());
    }
    if int_at(status, "observedGeneration") == 0
        && let Some(generation) = at(before, "observedGeneration")
    {
        object_mut(status).insert("observedGeneration".into(), generation.clone());
    }
    for condition in super::super::common::access::items_mut(status, "conditions") {
        if int_at(condition, "observedGeneration") != 0 {
            continue;
        }
        let stored = arr_at(before, "conditions")
            .iter()
            .find(|c| c.get("type") == condition.get("type"))
            .and_then(|c| at(c, "observedGeneration"));
        if let Some(generation) = stored {
            object_mut(condition).insert("observedGeneration".into(), generation.clone());
        }
    }
}

/// Validates a status update.
pub fn validate(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let meta = Path::ROOT.field("metadata");
    annotations::validate_update(new, old, &meta.field("annotations"), errors);
    let null = Value::Null;
    let status = at(new, "status").unwrap_or(&null);
    let before = at(old, "status").unwrap_or(&null);
    let path = Path::ROOT.field("status");
    validate_conditions(status, &path.field("conditions"), errors);
    validate_nodes(new, old, &path, errors);
    checks::immutable(
        at(status, "qosClass"),
        at(before, "qosClass"),
        &path.field("qosClass"),
        errors,
    );
    for (field, list) in [
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
        ("ephemeralContainerStatuses", "ephemeralContainers"),
    ] {
        let path = path.field(field);
        validate_transitions(
            arr_at(status, field),
            arr_at(before, field),
            (spec_of(old), list),
            &path,
            errors,
        );
    }
    validate_ips(status, before, "podIPs", &path, errors);
    validate_ips(status, before, "hostIPs", &path, errors);
    if let Some(first) = arr_at(status, "hostIPs").first() {
        let ip = str_at(first, "ip");
        if ip != str_at(status, "hostIP") {
            let list = path.field("hostIPs");
            let item = list.index(0);
            errors.invalid_str(&item.field("ip"), ip, "must be equal to `hostIP`");
        }
    }
}

fn validate_conditions(status: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (i, condition) in arr_at(status, "conditions").iter().enumerate() {
        let kind = str_at(condition, "type");
        let path = path.index(i);
        let generation = int_at(condition, "observedGeneration");
        if generation < 0 {
            errors.invalid(
                &path.field("observedGeneration"),
                &generation.into(),
                "must be a non-negative integer",
            );
        }
        if !SYSTEM_CONDITIONS.contains(&kind) {
            invalid_each(
                errors,
                &path.field("Type"),
                kind,
                names::qualified_name(kind),
            );
        }
    }
}

fn validate_nodes(new: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let bound = str_at(spec_of(old), "nodeName");
    if str_at(spec_of(new), "nodeName") != bound {
        errors.forbidden(&path.field("nodeName"), "may not be changed directly");
    }
    let nominated = |pod| path_at(pod, &["status", "nominatedNodeName"]).and_then(Value::as_str);
    let Some(name) = nominated(new).filter(|n| !n.is_empty()) else {
        return;
    };
    let path = path.field("nominatedNodeName");
    if Some(name) != nominated(old) {
        invalid_each(errors, &path, name, names::dns1123_subdomain(name));
        if !bound.is_empty() {
            errors.forbidden(
                &path,
                "may not be set on pods that are already bound to a node",
            );
        }
    }
}

/// Terminated containers stay so where the restart policy does not restart them.
fn validate_transitions(
    new: &[Value],
    old: &[Value],
    (spec, list): (&Value, &str),
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let pod_policy = match list {
        "ephemeralContainers" => "Never",
        _ => str_at(spec, "restartPolicy"),
    };
    for (i, before) in old.iter().enumerate() {
        let Some(terminated) = path_at(before, &["state", "terminated"]) else {
            continue;
        };
        let name = str_at(before, "name");
        let container = arr_at(spec, list)
            .iter()
            .find(|c| str_at(c, "name") == name);
        let own = container.map_or("", |c| str_at(c, "restartPolicy"));
        let has_rules = container.is_some_and(|c| !is_zero(c.get("restartPolicyRules")));
        if has_rules || (list == "initContainers" && container.is_some_and(is_sidecar)) {
            continue;
        }
        let policy = if own.is_empty() { pod_policy } else { own };
        let failed = int_at(terminated, "exitCode") != 0;
        if policy == "Always" || (policy == "OnFailure" && failed) {
            continue;
        }
        let restarted = new.iter().any(|status| {
            str_at(status, "name") == name && path_at(status, &["state", "terminated"]).is_none()
        });
        if restarted {
            let path = path.index(i);
            errors.forbidden(
                &path.field("state"),
                "may not be transitioned to non-terminated state",
            );
        }
    }
}

fn validate_ips(
    status: &Value,
    before: &Value,
    field: &'static str,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let path = path.field(field);
    let ips = arr_at(status, field);
    let stored: Vec<&str> = arr_at(before, field)
        .iter()
        .map(|entry| str_at(entry, "ip"))
        .collect();
    for (i, entry) in ips.iter().enumerate() {
        net::validate_ip(&path.index(i), str_at(entry, "ip"), &stored, errors);
    }
    if ips.len() < 2 {
        return;
    }
    let families: Vec<bool> = ips
        .iter()
        .filter_map(|entry| net::parse_ip(str_at(entry, "ip")))
        .map(|ip| ip.addr.is_ipv4())
        .collect();
    if ips.len() > 2 || (families.len() == 2 && families[0] == families[1]) {
        errors.push(
            ErrorType::Invalid,
            &path,
            golang::compact_list(at(status, field), POD_IP),
            "may specify no more than one IP for each IP family",
        );
    }
}
