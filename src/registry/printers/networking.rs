//! Rows of services, ingresses and what belongs to them (contract/printers.md §4, §6).

use chrono::{DateTime, Utc};

use super::Row;
use super::fields::{
    NONE, age, at, int, items, labels, len, load_balancer, more_than_three, name, or,
    selector_cell, text, text_cell, text_or, texts, with_group,
};
use crate::base::tree::Value;

/// The row of a Service.
pub(super) fn service(object: &Value, now: DateTime<Utc>) -> Row {
    let cluster_ip = items(object, &["spec", "clusterIPs"])
        .first()
        .and_then(Value::as_str)
        .unwrap_or(NONE);
    vec![
        name(object),
        text_cell(object, &["spec", "type"]),
        cluster_ip.into(),
        external_ip(object),
        service_ports(object),
        age(object, now),
        labels(&object["spec"]["selector"]),
    ]
    .into()
}

fn external_ip(object: &Value) -> Value {
    let external = texts(object, &["spec", "externalIPs"]);
    match text(object, &["spec", "type"]) {
        "ClusterIP" | "NodePort" => or(&external.join(","), NONE),
        "LoadBalancer" => {
            let mut all = load_balancer(&object["status"]);
            all.extend(external);
            or(&all.join(","), "<pending>")
        }
        "ExternalName" => text_cell(object, &["spec", "externalName"]),
        _ => "<unknown>".into(),
    }
}

fn service_ports(object: &Value) -> Value {
    let ports: Vec<String> = items(object, &["spec", "ports"])
        .iter()
        .map(|port| {
            let (number, protocol) = (int(port, &["port"]), text(port, &["protocol"]));
            match int(port, &["nodePort"]) {
                0 => format!("{number}/{protocol}"),
                node_port => format!("{number}:{node_port}/{protocol}"),
            }
        })
        .collect();
    or(&ports.join(","), NONE)
}

/// The row of an EndpointSlice.
pub(super) fn endpoint_slice(object: &Value, now: DateTime<Utc>) -> Row {
    let ports: Vec<String> = items(object, &["ports"])
        .iter()
        .map(|port| match port["port"].as_i64() {
            Some(number) => number.to_string(),
            None if text(port, &["name"]).is_empty() => "*".to_string(),
            None => text(port, &["name"]).to_string(),
        })
        .collect();
    let addresses: Vec<String> = items(object, &["endpoints"])
        .iter()
        .flat_map(|endpoint| texts(endpoint, &["addresses"]))
        .map(str::to_string)
        .collect();
    vec![
        name(object),
        text_cell(object, &["addressType"]),
        more_than_three(&ports),
        more_than_three(&addresses),
        age(object, now),
    ]
    .into()
}

/// The row of an Ingress.
pub(super) fn ingress(object: &Value, now: DateTime<Utc>) -> Row {
    let ports = if len(object, &["spec", "tls"]) > 0 {
        "80, 443"
    } else {
        "80"
    };
    vec![
        name(object),
        text_or(object, &["spec", "ingressClassName"], NONE),
        hosts(items(object, &["spec", "rules"])),
        load_balancer(&object["status"]).join(",").into(),
        ports.into(),
        age(object, now),
    ]
    .into()
}

fn hosts(rules: &[Value]) -> Value {
    let mut shown = Vec::new();
    let mut more = false;
    for rule in rules {
        if shown.len() == 3 {
            more = true;
        }
        let host = text(rule, &["host"]);
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    if shown.is_empty() {
        return "*".into();
    }
    let text = shown.join(",");
    if more {
        return format!("{text} + {} more...", rules.len() - 3).into();
    }
    text.into()
}

/// The row of an IngressClass.
pub(super) fn ingress_class(object: &Value, now: DateTime<Utc>) -> Row {
    let is_default = text(
        object,
        &[
            "metadata",
            "annotations",
            "ingressclass.kubernetes.io/is-default-class",
        ],
    ) == "true";
    let parameters = &object["spec"]["parameters"];
    let parameters = if parameters.is_null() {
        NONE.to_string()
    } else {
        let kind = with_group(text(parameters, &["kind"]), text(parameters, &["apiGroup"]));
        format!("{kind}/{}", text(parameters, &["name"]))
    };
    vec![
        with_default(object, is_default),
        text_cell(object, &["spec", "controller"]),
        parameters.into(),
        age(object, now),
    ]
    .into()
}

/// The name, marked when it is the default of its kind.
pub(super) fn with_default(object: &Value, is_default: bool) -> Value {
    let name = text(object, &["metadata", "name"]);
    if is_default {
        return format!("{name} (default)").into();
    }
    name.into()
}

/// The row of a NetworkPolicy.
pub(super) fn network_policy(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        selector_cell(at(object, &["spec", "podSelector"])),
        age(object, now),
    ]
    .into()
}

/// The row of a ServiceCIDR.
pub(super) fn service_cidr(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        texts(object, &["spec", "cidrs"]).join(",").into(),
        age(object, now),
    ]
    .into()
}

/// The row of an IPAddress. Upstream sends an age that no column declares.
pub(super) fn ip_address(object: &Value, now: DateTime<Utc>) -> Row {
    let parent = &object["spec"]["parentRef"];
    let shown = if parent.is_null() {
        NONE.to_string()
    } else {
        let resource = with_group(text(parent, &["resource"]), text(parent, &["group"]));
        let mut parts = vec![resource.to_lowercase()];
        for member in ["namespace", "name"] {
            let part = text(parent, &[member]);
            if !part.is_empty() || member == "name" {
                parts.push(part.to_string());
            }
        }
        parts.join("/")
    };
    vec![name(object), shown.into(), age(object, now)].into()
}
