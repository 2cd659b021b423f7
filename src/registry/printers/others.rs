//! Rows of admission, RBAC, certificates, flow control, devices, scheduling and the rest
//! (contract/printers.md §8).

use std::cmp::Ordering;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::Row;
use super::duration::human_duration;
use super::fields::{
    NONE, UNSET, age, age_of, at, boolean, condition, deleting, int, items, labels, len,
    more_than_three, name, or, scalar, text, text_cell, text_or, texts, time, with_group,
};
use crate::base::tree::{Key, Value};

/// The row of kinds that show only name and age.
pub(super) fn name_and_age(object: &Value, now: DateTime<Utc>) -> Row {
    vec![name(object), age(object, now)].into()
}

/// The row of kinds without columns of their own.
pub(super) fn name_and_created(object: &Value, _now: DateTime<Utc>) -> Row {
    let created = text_or(
        object,
        &["metadata", "creationTimestamp"],
        "0001-01-01T00:00:00Z",
    );
    vec![name(object), created].into()
}

/// The row of a Status.
pub(super) fn status(object: &Value, _now: DateTime<Utc>) -> Row {
    ["status", "reason", "message"]
        .iter()
        .map(|member| text_cell(object, &[member]))
        .collect::<Vec<_>>()
        .into()
}

/// The row of a webhook configuration.
pub(super) fn webhooks(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        len(object, &["webhooks"]).into(),
        age(object, now),
    ]
    .into()
}

/// The row of a ValidatingAdmissionPolicy.
pub(super) fn validating_policy(object: &Value, now: DateTime<Utc>) -> Row {
    policy(object, "validations", now)
}

/// The row of a MutatingAdmissionPolicy.
pub(super) fn mutating_policy(object: &Value, now: DateTime<Utc>) -> Row {
    policy(object, "mutations", now)
}

fn policy(object: &Value, rules: &str, now: DateTime<Utc>) -> Row {
    let kind = &object["spec"]["paramKind"];
    let kind = if kind.is_null() {
        UNSET.to_string()
    } else {
        format!("{}/{}", text(kind, &["apiVersion"]), text(kind, &["kind"]))
    };
    vec![
        name(object),
        len(object, &["spec", rules]).into(),
        kind.into(),
        age(object, now),
    ]
    .into()
}

/// The row of a policy binding.
pub(super) fn policy_binding(object: &Value, now: DateTime<Utc>) -> Row {
    let param = &object["spec"]["paramRef"];
    let shown = match (text(param, &["namespace"]), text(param, &["name"])) {
        _ if param.is_null() => UNSET.to_string(),
        ("", "") if !param["selector"].is_null() => go_selector(&param["selector"]),
        (_, "") => UNSET.to_string(),
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    vec![
        name(object),
        text_cell(object, &["spec", "policyName"]),
        shown.into(),
        age(object, now),
    ]
    .into()
}

/// A LabelSelector as Go's generated `String` prints it; upstream's cell is that.
fn go_selector(selector: &Value) -> String {
    let mut out = String::from("&LabelSelector{MatchLabels:map[string]string{");
    let mut labels: Vec<(&Key, &Value)> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .collect();
    labels.sort_by_key(|(key, _)| *key);
    for (key, value) in labels {
        // Writing to a string cannot fail.
        let _ = write!(out, "{key}: {},", value.as_str().unwrap_or(""));
    }
    out.push_str("},MatchExpressions:[]LabelSelectorRequirement{");
    for expression in items(selector, &["matchExpressions"]) {
        let _ = write!(
            out,
            "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
            text(expression, &["key"]),
            text(expression, &["operator"]),
            texts(expression, &["values"]).join(" ")
        );
    }
    out.push_str("},}");
    out
}

/// The row of an APIService.
pub(super) fn api_service(object: &Value, now: DateTime<Utc>) -> Row {
    let service = &object["spec"]["service"];
    let service = if service.is_null() {
        "Local".to_string()
    } else {
        format!(
            "{}/{}",
            text(service, &["namespace"]),
            text(service, &["name"])
        )
    };
    let available = match condition(object, "Available") {
        None => "Unknown".to_string(),
        Some(c) => match text(c, &["status"]) {
            "True" => "True".to_string(),
            status => format!("{status} ({})", text(c, &["reason"])),
        },
    };
    vec![
        name(object),
        service.into(),
        available.into(),
        age(object, now),
    ]
    .into()
}

/// The row of a RoleBinding or ClusterRoleBinding.
pub(super) fn role_binding(object: &Value, now: DateTime<Utc>) -> Row {
    let subjects = |kind: &str| -> Value {
        let names: Vec<String> = items(object, &["subjects"])
            .iter()
            .filter(|s| s["kind"] == kind)
            .map(|s| match kind {
                "ServiceAccount" => {
                    format!("{}/{}", text(s, &["namespace"]), text(s, &["name"]))
                }
                _ => text(s, &["name"]).to_string(),
            })
            .collect();
        names.join(", ").into()
    };
    let role = &object["roleRef"];
    vec![
        name(object),
        format!("{}/{}", text(role, &["kind"]), text(role, &["name"])).into(),
        age(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
    .into()
}

/// The row of a CertificateSigningRequest.
pub(super) fn signing_request(object: &Value, now: DateTime<Utc>) -> Row {
    let duration = match object["spec"]["expirationSeconds"].as_i64() {
        None => NONE.to_string(),
        Some(seconds) => human_duration(seconds),
    };
    let mut state = if condition(object, "Denied").is_some() {
        "Denied".to_string()
    } else if condition(object, "Approved").is_some() {
        "Approved".to_string()
    } else {
        "Pending".to_string()
    };
    if condition(object, "Failed").is_some() {
        state.push_str(",Failed");
    }
    if !text(object, &["status", "certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    vec![
        name(object),
        age(object, now),
        text_or(object, &["spec", "signerName"], NONE),
        text_cell(object, &["spec", "username"]),
        duration.into(),
        state.into(),
    ]
    .into()
}

/// The row of a ClusterTrustBundle.
pub(super) fn trust_bundle(object: &Value, _now: DateTime<Utc>) -> Row {
    vec![name(object), text_or(object, &["spec", "signerName"], NONE)].into()
}

/// The row of a PodCertificateRequest.
pub(super) fn pod_certificate_request(object: &Value, _now: DateTime<Utc>) -> Row {
    let state = last_condition(object, &["Issued", "Denied", "Failed"]);
    let spec = &object["spec"];
    vec![
        name(object),
        text_cell(spec, &["podName"]),
        text_cell(spec, &["serviceAccountName"]),
        text_cell(spec, &["nodeName"]),
        text_cell(spec, &["signerName"]),
        state.unwrap_or("Pending").into(),
        labels(&spec["unverifiedUserAnnotations"]),
    ]
    .into()
}

/// The last condition whose type is one of `kinds`.
fn last_condition<'a>(object: &Value, kinds: &[&'a str]) -> Option<&'a str> {
    items(object, &["status", "conditions"])
        .iter()
        .rev()
        .find_map(|c| kinds.iter().copied().find(|kind| c["type"] == *kind))
}

/// The row of a Lease.
pub(super) fn lease(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        text_cell(object, &["spec", "holderIdentity"]),
        age(object, now),
    ]
    .into()
}

/// The row of a LeaseCandidate.
pub(super) fn lease_candidate(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        text_cell(object, &["spec", "leaseName"]),
        text_cell(object, &["spec", "binaryVersion"]),
        text_cell(object, &["spec", "emulationVersion"]),
        age(object, now),
    ]
    .into()
}

/// The row of a FlowSchema.
pub(super) fn flow_schema(object: &Value, now: DateTime<Utc>) -> Row {
    let spec = &object["spec"];
    let dangling = condition(object, "Dangling").map_or("?", |c| text(c, &["status"]));
    vec![
        name(object),
        text_cell(spec, &["priorityLevelConfiguration", "name"]),
        int(spec, &["matchingPrecedence"]).into(),
        text_or(spec, &["distinguisherMethod", "type"], NONE),
        age(object, now),
        dangling.into(),
    ]
    .into()
}

/// Flow schemas are shown in the order in which they are tried.
pub(super) fn compare_flow_schemas(a: &Value, b: &Value) -> Ordering {
    let key = |o| {
        (
            int(o, &["spec", "matchingPrecedence"]),
            text(o, &["metadata", "name"]),
        )
    };
    key(a).cmp(&key(b))
}

/// The row of a PriorityLevelConfiguration.
pub(super) fn priority_level(object: &Value, now: DateTime<Utc>) -> Row {
    let limited = &object["spec"]["limited"];
    let queuing = at(limited, &["limitResponse", "queuing"]);
    let number = |of: &Value, member: &str| -> Value {
        if of.is_null() {
            return NONE.into();
        }
        int(of, &[member]).into()
    };
    vec![
        name(object),
        text_cell(object, &["spec", "type"]),
        number(limited, "nominalConcurrencyShares"),
        number(queuing, "queues"),
        number(queuing, "handSize"),
        number(queuing, "queueLengthLimit"),
        age(object, now),
    ]
    .into()
}

/// The row of a StorageVersion.
pub(super) fn storage_version(object: &Value, now: DateTime<Utc>) -> Row {
    let servers: Vec<String> = items(object, &["status", "storageVersions"])
        .iter()
        .map(|v| {
            format!(
                "{}={}",
                text(v, &["apiServerID"]),
                text(v, &["encodingVersion"])
            )
        })
        .collect();
    vec![
        name(object),
        text_or(object, &["status", "commonEncodingVersion"], UNSET),
        more_than_three(&servers),
        age(object, now),
    ]
    .into()
}

/// The row of a StorageVersionMigration.
pub(super) fn storage_version_migration(object: &Value, _now: DateTime<Utc>) -> Row {
    let resource = &object["spec"]["resource"];
    let resource = with_group(text(resource, &["resource"]), text(resource, &["group"]));
    let state = items(object, &["status", "conditions"])
        .iter()
        .rev()
        .filter(|c| c["status"] == "True")
        .map(|c| text(c, &["type"]))
        .find(|kind| matches!(*kind, "Running" | "Failed" | "Succeeded"));
    vec![
        name(object),
        resource.into(),
        state.unwrap_or("Unknown").into(),
    ]
    .into()
}

/// The row of a RuntimeClass.
pub(super) fn runtime_class(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        text_cell(object, &["handler"]),
        age(object, now),
    ]
    .into()
}

/// The row of a PriorityClass.
pub(super) fn priority_class(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        int(object, &["value"]).into(),
        boolean(object, &["globalDefault"], false),
        age(object, now),
        text_cell(object, &["preemptionPolicy"]),
    ]
    .into()
}

/// The row of a PodGroup.
pub(super) fn pod_group(object: &Value, now: DateTime<Utc>) -> Row {
    let spec = &object["spec"];
    let policy = if at(spec, &["schedulingPolicy", "gang"]).is_null() {
        "Basic"
    } else {
        "Gang"
    };
    let mut state = "Pending";
    if let Some(c) = condition(object, "PodGroupScheduled") {
        state = if c["status"] == "True" {
            "Scheduled"
        } else {
            "Unschedulable"
        };
    }
    if let Some(c) = condition(object, "DisruptionTarget")
        && c["status"] == "True"
    {
        state = text(c, &["reason"]);
    }
    vec![
        name(object),
        policy.into(),
        text_or(
            spec,
            &["podGroupTemplateRef", "workload", "workloadName"],
            NONE,
        ),
        state.into(),
        age(object, now),
    ]
    .into()
}

/// The row of a ResourceClaim.
pub(super) fn resource_claim(object: &Value, now: DateTime<Utc>) -> Row {
    let mut states = Vec::new();
    if deleting(object) {
        states.push("deleted");
    }
    if at(object, &["status", "allocation"]).is_null() {
        if states.is_empty() {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        if len(object, &["status", "reservedFor"]) > 0 {
            states.push("reserved");
        }
    }
    vec![name(object), states.join(",").into(), age(object, now)].into()
}

/// The row of a ResourceSlice.
pub(super) fn resource_slice(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        text_cell(object, &["spec", "nodeName"]),
        text_cell(object, &["spec", "driver"]),
        text_cell(object, &["spec", "pool", "name"]),
        age(object, now),
    ]
    .into()
}

/// The row of a DeviceTaintRule.
pub(super) fn device_taint_rule(object: &Value, now: DateTime<Utc>) -> Row {
    let taint = &object["spec"]["taint"];
    let added = match time(taint, &["timeAdded"]) {
        None => "".into(),
        Some(_) => age_of(taint, &["timeAdded"], now),
    };
    vec![
        name(object),
        text_cell(taint, &["key"]),
        text_cell(taint, &["value"]),
        text_cell(taint, &["effect"]),
        added,
        age(object, now),
    ]
    .into()
}

/// The row of a ResourcePoolStatusRequest: sums over its pools once there is a status.
pub(super) fn pool_status_request(object: &Value, now: DateTime<Utc>) -> Row {
    let status = &object["status"];
    let pools = items(status, &["pools"]);
    let failed = condition(object, "Failed").is_some_and(|c| c["status"] == "True");
    let complete = condition(object, "Complete").is_some_and(|c| c["status"] == "True");
    let known = !status.is_null() && !failed;
    let sum = |member: &str| -> Value {
        if !known {
            return "-".into();
        }
        let total: i64 = pools.iter().map(|pool| int(pool, &[member])).sum();
        total.to_string().into()
    };
    let errors = if known {
        let count = pools
            .iter()
            .filter(|p| !text(p, &["validationError"]).is_empty())
            .count();
        scalar(&count.into())
    } else {
        "-".to_string()
    };
    let count = int(status, &["poolCount"]);
    let state = match (failed, complete) {
        (true, _) => "Failed".to_string(),
        (false, true) if (pools.len() as i64) < count => {
            format!("Complete ({}/{count} pools)", pools.len())
        }
        (false, true) => "Complete".to_string(),
        _ => "Pending".to_string(),
    };
    let completed = [("Complete", complete), ("Failed", failed)]
        .into_iter()
        .find(|(_, holds)| *holds)
        .and_then(|(kind, _)| condition(object, kind))
        .map_or_else(|| NONE.into(), |c| age_of(c, &["lastTransitionTime"], now));
    vec![
        name(object),
        or(text(object, &["spec", "driver"]), ""),
        sum("totalDevices"),
        sum("availableDevices"),
        sum("allocatedDevices"),
        sum("unavailableDevices"),
        errors.into(),
        count.into(),
        state.into(),
        completed,
    ]
    .into()
}
