//! Rows of core kinds (contract/printers.md §4).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::Row;
use super::duration::translate_timestamp;
use super::fields::{
    NONE, age, condition, int, items, len, name, scalar, text, text_cell, text_or, time,
};
use crate::base::tree::{Key, Value};

/// The row of a ComponentStatus.
pub(super) fn component_status(object: &Value, _now: DateTime<Utc>) -> Row {
    let healthy = items(object, &["conditions"])
        .iter()
        .find(|c| c["type"] == "Healthy");
    let (status, message, error) = match healthy {
        None => ("Unknown", "", ""),
        Some(c) => (
            if c["status"] == "True" {
                "Healthy"
            } else {
                "Unhealthy"
            },
            text(c, &["message"]),
            text(c, &["error"]),
        ),
    };
    vec![name(object), status.into(), message.into(), error.into()].into()
}

/// The row of a ConfigMap.
pub(super) fn config_map(object: &Value, now: DateTime<Utc>) -> Row {
    let count = len(object, &["data"]) + len(object, &["binaryData"]);
    vec![name(object), count.into(), age(object, now)].into()
}

/// The row of a Secret.
pub(super) fn secret(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        text_cell(object, &["type"]),
        len(object, &["data"]).into(),
        age(object, now),
    ]
    .into()
}

/// The row of a Namespace.
pub(super) fn namespace(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        text_cell(object, &["status", "phase"]),
        age(object, now),
    ]
    .into()
}

/// The row of an Endpoints.
pub(super) fn endpoints(object: &Value, now: DateTime<Utc>) -> Row {
    vec![name(object), addresses(object), age(object, now)].into()
}

/// The first three ready addresses with their ports.
fn addresses(object: &Value) -> Value {
    let subsets = items(object, &["subsets"]);
    if subsets.is_empty() {
        return NONE.into();
    }
    let mut shown: Vec<String> = Vec::new();
    let mut count = 0;
    let mut add = |address: String| {
        count += 1;
        if shown.len() < 3 {
            shown.push(address);
        }
    };
    for subset in subsets {
        let ips = items(subset, &["addresses"])
            .iter()
            .map(|a| text(a, &["ip"]));
        let ports = items(subset, &["ports"]);
        if ports.is_empty() {
            ips.clone().for_each(|ip| add(ip.to_string()));
        }
        for port in ports {
            let port = int(port, &["port"]);
            for ip in ips.clone() {
                add(if ip.contains(':') {
                    format!("[{ip}]:{port}")
                } else {
                    format!("{ip}:{port}")
                });
            }
        }
    }
    let text = shown.join(",");
    if count > 3 {
        return format!("{text} + {} more...", count - 3).into();
    }
    text.into()
}

/// The row of an Event, of core/v1 or of events.k8s.io/v1, which calls the same fields otherwise.
pub(super) fn event(object: &Value, now: DateTime<Utc>) -> Row {
    let either = |core: &'static str, events: &'static str| match &object[core] {
        Value::Null => events,
        _ => core,
    };
    let first = either("firstTimestamp", "deprecatedFirstTimestamp");
    let first = time(object, &[first]).or_else(|| time(object, &["eventTime"]));
    let first_seen = translate_timestamp(first, now);
    let series = &object["series"];
    let last_seen = if !series.is_null() {
        translate_timestamp(time(series, &["lastObservedTime"]), now)
    } else {
        match time(
            object,
            &[either("lastTimestamp", "deprecatedLastTimestamp")],
        ) {
            None => first_seen.clone(),
            last => translate_timestamp(last, now),
        }
    };
    let count = if series.is_null() {
        int(object, &[either("count", "deprecatedCount")]).max(1)
    } else {
        int(series, &["count"])
    };
    let about = &object[either("involvedObject", "regarding")];
    let message = text(object, &[either("message", "note")]);
    vec![
        last_seen.into(),
        text_cell(object, &["type"]),
        text_cell(object, &["reason"]),
        event_object(about),
        text_cell(about, &["fieldPath"]),
        event_source(
            &object[either("source", "deprecatedSource")],
            text(
                object,
                &[either("reportingComponent", "reportingController")],
            ),
            text(object, &["reportingInstance"]),
        ),
        message.trim().into(),
        first_seen.into(),
        count.into(),
        name(object),
    ]
    .into()
}

fn event_object(about: &Value) -> Value {
    let kind = text(about, &["kind"]).to_lowercase();
    match text(about, &["name"]) {
        "" => kind.into(),
        name => format!("{kind}/{name}").into(),
    }
}

fn event_source(source: &Value, component: &str, instance: &str) -> Value {
    let either = |member: &str, reporting: &str| match text(source, &[member]) {
        "" => reporting.to_string(),
        found => found.to_string(),
    };
    let (component, instance) = (either("component", component), either("host", instance));
    if instance.is_empty() {
        return component.into();
    }
    format!("{component}, {instance}").into()
}

/// The row of a ResourceQuota.
pub(super) fn resource_quota(object: &Value, now: DateTime<Utc>) -> Row {
    let used = &object["status"]["used"];
    let mut hard: Vec<(&Key, &Value)> = object["status"]["hard"]
        .as_object()
        .into_iter()
        .flatten()
        .collect();
    hard.sort_by_key(|(resource, _)| *resource);
    let (limits, requests): (Vec<_>, Vec<_>) = hard
        .into_iter()
        .partition(|(resource, _)| resource.starts_with("limits."));
    let shown = |list: Vec<(&Key, &Value)>| -> Value {
        let all: Vec<String> = list
            .into_iter()
            .map(|(resource, hard)| {
                let used = match &used[resource.as_str()] {
                    Value::Null => "0".to_string(),
                    used => scalar(used),
                };
                format!("{resource}: {used}/{}", scalar(hard))
            })
            .collect();
        all.join(", ").into()
    };
    vec![
        name(object),
        shown(requests),
        shown(limits),
        age(object, now),
    ]
    .into()
}

/// The row of a Node.
pub(super) fn node(object: &Value, now: DateTime<Utc>) -> Row {
    let info = &object["status"]["nodeInfo"];
    const UNKNOWN: &str = "<unknown>";
    vec![
        name(object),
        node_status(object),
        node_roles(object),
        age(object, now),
        text_cell(info, &["kubeletVersion"]),
        node_address(object, "InternalIP"),
        node_address(object, "ExternalIP"),
        text_or(info, &["osImage"], UNKNOWN),
        kernel(info, UNKNOWN),
        text_or(info, &["containerRuntimeVersion"], UNKNOWN),
    ]
    .into()
}

fn node_status(object: &Value) -> Value {
    let ready = match condition(object, "Ready") {
        None => "Unknown",
        Some(c) if c["status"] == "True" => "Ready",
        Some(_) => "NotReady",
    };
    if object["spec"]["unschedulable"] == true {
        return format!("{ready},SchedulingDisabled").into();
    }
    ready.into()
}

fn node_roles(object: &Value) -> Value {
    let mut roles = BTreeSet::new();
    for (key, value) in object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let role = match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => role,
            None if key == "kubernetes.io/role" => value.as_str().unwrap_or(""),
            None => "",
        };
        if !role.is_empty() {
            roles.insert(role);
        }
    }
    if roles.is_empty() {
        return NONE.into();
    }
    roles.into_iter().collect::<Vec<_>>().join(",").into()
}

fn node_address(object: &Value, kind: &str) -> Value {
    items(object, &["status", "addresses"])
        .iter()
        .find(|a| a["type"] == kind)
        .map_or(NONE, |a| text(a, &["address"]))
        .into()
}

fn kernel(info: &Value, unknown: &str) -> Value {
    let kernel = match text(info, &["kernelVersion"]) {
        "" => unknown,
        kernel => kernel,
    };
    match text(info, &["architecture"]) {
        "" => kernel.into(),
        architecture => format!("{kernel} ({architecture})").into(),
    }
}
