//! Updates of a service: what the client left out is taken over, what its new type has no use for
//! is dropped.

use super::super::super::common::access::{
    arr_at, at, ensure_object, int_at, is_zero, items_mut, object_mut, remove, semantic_equal,
    set_or_remove, str_at,
};
use super::is_external;
use crate::base::tree::{Value, json};
use crate::registry::services::{needs_cluster_ip, needs_health_check, needs_node_port};

/// Takes over, syncs and drops, in that order.
pub(super) fn prepare_update(object: &mut Value, old: &Value) {
    take_over(object, old);
    let null = Value::Null;
    let old_spec = at(old, "spec").unwrap_or(&null);
    fill_cluster_ips(ensure_object(object, "spec"), Some(old_spec));
    if needs_cluster_ip(old)
        && needs_cluster_ip(object)
        && at(&object["spec"], "ipFamilyPolicy").is_none()
    {
        let stored = at(old_spec, "ipFamilyPolicy").cloned();
        set_or_remove(ensure_object(object, "spec"), "ipFamilyPolicy", stored);
    }
    drop_dependent(object, old);
}

/// Allocated values that the client left out stay.
fn take_over(object: &mut Value, old: &Value) {
    let null = Value::Null;
    let old_spec = at(old, "spec").unwrap_or(&null);
    let addresses = needs_cluster_ip(old) && needs_cluster_ip(object);
    let ports = needs_node_port(old) && needs_node_port(object);
    let health = needs_health_check(old) && needs_health_check(object);
    let spec = ensure_object(object, "spec");
    if addresses {
        if str_at(spec, "clusterIP").is_empty() {
            set_or_remove(spec, "clusterIP", at(old_spec, "clusterIP").cloned());
        }
        if is_zero(spec.get("clusterIPs"))
            && str_at(spec, "clusterIP") == str_at(old_spec, "clusterIP")
        {
            set_or_remove(spec, "clusterIPs", at(old_spec, "clusterIPs").cloned());
        }
    }
    if ports {
        take_over_ports(spec, old_spec);
    }
    if health && int_at(spec, "healthCheckNodePort") == 0 {
        let stored = at(old_spec, "healthCheckNodePort").cloned();
        set_or_remove(spec, "healthCheckNodePort", stored);
    }
}

/// Node ports stay with the port of the same name, unless the number is used elsewhere now.
fn take_over_ports(spec: &mut Value, old: &Value) {
    let mut used: Vec<i64> = arr_at(spec, "ports")
        .iter()
        .map(|port| int_at(port, "nodePort"))
        .filter(|port| *port != 0)
        .collect();
    for port in items_mut(spec, "ports") {
        if int_at(port, "nodePort") != 0 {
            continue;
        }
        let name = str_at(port, "name");
        let stored = arr_at(old, "ports")
            .iter()
            .find(|p| str_at(p, "name") == name);
        let number = stored.map_or(0, |p| int_at(p, "nodePort"));
        if number != 0 && !used.contains(&number) {
            used.push(number);
            object_mut(port).insert("nodePort".into(), number.into());
        }
    }
}

/// `clusterIPs` follows `clusterIP` where only that was given or changed.
pub(super) fn fill_cluster_ips(spec: &mut Value, old: Option<&Value>) {
    let ip = str_at(spec, "clusterIP").to_string();
    let Some(old) = old else {
        if !ip.is_empty() && is_zero(spec.get("clusterIPs")) {
            object_mut(spec).insert("clusterIPs".into(), json!([ip]));
        }
        return;
    };
    let same_list = semantic_equal(spec.get("clusterIPs"), old.get("clusterIPs"));
    if ip == str_at(old, "clusterIP") {
        return;
    }
    if str_at(old, "clusterIP").is_empty() {
        if is_zero(spec.get("clusterIPs")) {
            object_mut(spec).insert("clusterIPs".into(), json!([ip]));
        }
    } else if ip.is_empty() {
        if same_list {
            remove(spec, "clusterIPs");
        }
    } else if same_list {
        object_mut(spec).insert("clusterIPs".into(), json!([ip]));
    }
}

/// What a new type has no use for goes, where the client left it as it was.
fn drop_dependent(object: &mut Value, old: &Value) {
    let null = Value::Null;
    let old_spec = at(old, "spec").unwrap_or(&null);
    let lost = |needs: fn(&Value) -> bool, object: &Value| needs(old) && !needs(object);
    let no_addresses = lost(needs_cluster_ip, object);
    let no_ports = lost(needs_node_port, object);
    let no_health = lost(needs_health_check, object);
    let kind = |spec: &Value| str_at(spec, "type").to_string();
    let spec = ensure_object(object, "spec");
    let new_kind = kind(spec);
    let no_balancer = kind(old_spec) == "LoadBalancer" && new_kind != "LoadBalancer";
    let no_policy = is_external(old_spec) && !is_external(spec);
    let mut drop_same = |fields: &[&str]| {
        if fields
            .iter()
            .all(|field| semantic_equal(spec.get(*field), old_spec.get(*field)))
        {
            for field in fields {
                remove(spec, field);
            }
        }
    };
    if no_addresses {
        drop_same(&["clusterIP", "clusterIPs"]);
        drop_same(&["ipFamilies"]);
        drop_same(&["ipFamilyPolicy"]);
    }
    if no_health {
        drop_same(&["healthCheckNodePort"]);
    }
    if no_balancer {
        drop_same(&["allocateLoadBalancerNodePorts"]);
        drop_same(&["loadBalancerClass"]);
    }
    if no_policy {
        drop_same(&["externalTrafficPolicy"]);
    }
    if no_ports && same_node_ports(spec, old_spec) {
        for port in items_mut(spec, "ports") {
            remove(port, "nodePort");
        }
    }
    if new_kind == "ExternalName" {
        remove(spec, "internalTrafficPolicy");
    }
    if new_kind != "LoadBalancer" {
        let status = ensure_object(object, "status");
        object_mut(status).insert("loadBalancer".into(), json!({}));
    }
}

fn same_node_ports(spec: &Value, old: &Value) -> bool {
    let sorted = |spec: &Value| {
        let ports = arr_at(spec, "ports").iter();
        let mut ports: Vec<i64> = ports.map(|p| int_at(p, "nodePort")).collect();
        ports.retain(|port| *port != 0);
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    sorted(spec) == sorted(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocated_values_stay_and_useless_ones_go() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "nodePort": 30000}]}});
        let mut put = json!({"spec": {"type": "NodePort", "ports": [{"port": 81}]}});
        prepare_update(&mut put, &old);
        assert_eq!(put["spec"]["clusterIPs"], json!(["10.0.0.1"]));
        assert_eq!(put["spec"]["ports"][0]["nodePort"], 30000);
        let mut patched = old.clone();
        patched["spec"]["type"] = "ExternalName".into();
        prepare_update(&mut patched, &old);
        assert_eq!(
            patched["spec"],
            json!({"type": "ExternalName", "ports": [{"port": 80}]})
        );
    }
}
