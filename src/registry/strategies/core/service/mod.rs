//! Service. What it takes from shared pools is in [`crate::registry::services`].

pub mod cluster_ips;
mod ports;
mod prepare;
mod validate;
mod warnings;

use super::super::common::access::{
    at, default_nil, default_zero, ensure_object, int_at, is_zero, items_mut, object_mut, remove,
    str_at,
};
use super::super::common::names::NameRule;
use crate::api::field::FieldErrors;
use crate::base::tree::{Value, json};
use crate::registry::allocate::Allocator;
use crate::registry::services::ServiceAllocator;
use crate::registry::strategy::{Strategy, WriteContext};

const AFFINITY_SECONDS: i64 = 10_800;

/// Rules of Service.
pub struct ServiceStrategy;

impl Strategy for ServiceStrategy {
    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn allocator(&self) -> Option<&'static dyn Allocator> {
        Some(&ServiceAllocator)
    }

    fn default(&self, object: &mut Value) {
        default_spec(ensure_object(object, "spec"));
        if str_at(&object["spec"], "type") == "LoadBalancer"
            && let Some(balancer) = object
                .get_mut("status")
                .and_then(|s| s.get_mut("loadBalancer"))
        {
            for ingress in items_mut(balancer, "ingress") {
                if !str_at(ingress, "ip").is_empty() {
                    default_nil(ingress, "ipMode", "VIP");
                }
            }
        }
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        let status = ensure_object(object, "status");
        object_mut(status).insert("loadBalancer".into(), json!({}));
        let spec = ensure_object(object, "spec");
        prepare::fill_cluster_ips(spec, None);
        if str_at(spec, "type") == "ExternalName" {
            remove(spec, "internalTrafficPolicy");
        }
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource.is_empty() {
            prepare::prepare_update(object, old);
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            return validate::validate_status(object, old, errors);
        }
        if let Some(old) = old {
            cluster_ips::validate_update(object, old, errors);
            validate::validate_class_update(object, old, errors);
        }
        validate::validate_service(object, old, errors);
        if let Some(old) = old {
            validate::validate_health_check_update(object, old, errors);
        }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>, ctx: &WriteContext<'_>) -> Vec<String> {
        match ctx.subresource {
            "" => warnings::warnings(object, old),
            _ => Vec::new(),
        }
    }
}

fn default_spec(spec: &mut Value) {
    default_zero(spec, "type", "ClusterIP");
    default_zero(spec, "sessionAffinity", "None");
    match str_at(spec, "sessionAffinity") {
        "None" => {
            remove(spec, "sessionAffinityConfig");
        }
        "ClientIP" => {
            let config = ensure_object(spec, "sessionAffinityConfig");
            let client = ensure_object(config, "clientIP");
            default_nil(client, "timeoutSeconds", AFFINITY_SECONDS);
        }
        _ => {}
    }
    for port in items_mut(spec, "ports") {
        default_zero(port, "protocol", "TCP");
        if is_zero(port.get("targetPort")) {
            let number = int_at(port, "port");
            object_mut(port).insert("targetPort".into(), number.into());
        }
    }
    let kind = str_at(spec, "type").to_string();
    let on_nodes = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    let external = on_nodes || (kind == "ClusterIP" && !is_zero(spec.get("externalIPs")));
    if external {
        default_zero(spec, "externalTrafficPolicy", "Cluster");
    }
    if on_nodes || kind == "ClusterIP" {
        default_nil(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default_nil(spec, "allocateLoadBalancerNodePorts", true);
    }
}

/// Whether clients outside the cluster reach a service.
fn is_external(spec: &Value) -> bool {
    match str_at(spec, "type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => at(spec, "externalIPs").is_some_and(|ips| !is_zero(Some(ips))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let mut service = json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
        ServiceStrategy.default(&mut service);
        assert_eq!(
            service["spec"],
            json!({"type": "LoadBalancer", "sessionAffinity": "None",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster",
                "allocateLoadBalancerNodePorts": true})
        );
    }
}
