//! Service allocation: cluster addresses and node ports.
//!
//! Called by the registry around every write of a row whose strategy has an allocator
//! ([`super::allocate`]). Addresses are taken by creating IPAddress objects, node ports by setting
//! bits of one stored bitmap, so several servers over one store never hand out the same twice.
//!
//! # Decisions
//! - Ranges are those of the ready ServiceCIDR objects; the cluster's families are those of the
//!   ServiceCIDR `kubernetes`, so no flag is needed here but the node port range.

mod addresses;
mod families;
mod node_ports;

use async_trait::async_trait;

use crate::api::field::FieldErrors;
use crate::api::names::GroupKind;
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::registry::allocate::{Allocation, Allocator};
use crate::registry::strategies::common::access::{arr_at, at, bool_at, int_at, str_at};
use crate::registry::{Registry, meta};

/// What the allocator took or is to give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A cluster address.
    Address(String),
    /// A node port.
    Port(u16),
}

/// The allocator of Service.
pub struct ServiceAllocator;

#[async_trait]
impl Allocator for ServiceAllocator {
    async fn allocate(
        &self,
        registry: &Registry,
        object: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<Allocation, Status> {
        let mut allocation = Allocation::default();
        let result = allocate(registry, object, old, dry_run, &mut allocation).await;
        if let Err(status) = result {
            allocation.abort(registry).await;
            return Err(status);
        }
        Ok(allocation)
    }

    async fn release(&self, registry: &Registry, object: &Value) {
        let mut resources: Vec<Resource> = Vec::new();
        for ip in held_addresses(object) {
            resources.push(Resource::Address(ip.to_string()));
        }
        for port in held_ports(object) {
            resources.push(Resource::Port(port));
        }
        release(registry, &resources).await;
    }
}

async fn allocate(
    registry: &Registry,
    object: &mut Value,
    old: Option<&Value>,
    dry_run: bool,
    allocation: &mut Allocation,
) -> Result<(), Status> {
    let mut errors = FieldErrors::default();
    let ranges = addresses::Ranges::load(registry).await?;
    families::complete(object, old, &ranges.families, &mut errors);
    refuse(object, &errors)?;
    addresses::allocate(registry, ranges, object, old, dry_run, allocation).await?;
    node_ports::allocate(registry, object, old, dry_run, allocation).await
}

/// 422 when there are errors.
fn refuse(object: &Value, errors: &FieldErrors) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    let kind = GroupKind::new("", "Service");
    Err(Status::invalid(&kind, meta::name(object), errors))
}

/// Gives back what is no longer used. A failure leaves a leak, which is logged.
pub async fn release(registry: &Registry, resources: &[Resource]) {
    let mut ports = Vec::new();
    for resource in resources {
        match resource {
            Resource::Address(ip) => addresses::release(registry, ip).await,
            Resource::Port(port) => ports.push(*port),
        }
    }
    if !ports.is_empty() {
        node_ports::release(registry, &ports).await;
    }
}

/// Whether a service has cluster addresses (headless ones have the address `None`).
pub fn needs_cluster_ip(service: &Value) -> bool {
    matches!(kind(service), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Whether a service is headless.
pub fn is_headless(service: &Value) -> bool {
    at(service, "spec").is_some_and(|spec| {
        str_at(spec, "clusterIP") == "None" || arr_at(spec, "clusterIPs") == ["None"]
    })
}

/// Whether a service's ports are opened on nodes.
pub fn needs_node_port(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => at(service, "spec")
            .is_some_and(|s| bool_at(s, "allocateLoadBalancerNodePorts") != Some(false)),
        _ => false,
    }
}

/// Whether nodes answer health checks for a service.
pub fn needs_health_check(service: &Value) -> bool {
    kind(service) == "LoadBalancer"
        && at(service, "spec").is_some_and(|s| str_at(s, "externalTrafficPolicy") == "Local")
}

/// `spec.type`.
pub fn kind(service: &Value) -> &str {
    at(service, "spec").map_or("", |spec| str_at(spec, "type"))
}

/// The addresses a service holds.
fn held_addresses(service: &Value) -> Vec<&str> {
    if !needs_cluster_ip(service) || is_headless(service) {
        return Vec::new();
    }
    let ips = at(service, "spec").map_or(&[][..], |spec| arr_at(spec, "clusterIPs"));
    ips.iter().filter_map(Value::as_str).collect()
}

/// The node ports a service holds, its health check port among them.
fn held_ports(service: &Value) -> Vec<u16> {
    let Some(spec) = at(service, "spec") else {
        return Vec::new();
    };
    let mut ports: Vec<u16> = Vec::new();
    let own = arr_at(spec, "ports").iter().map(|p| int_at(p, "nodePort"));
    for port in own.chain([int_at(spec, "healthCheckNodePort")]) {
        if let Ok(port) = u16::try_from(port)
            && port != 0
            && !ports.contains(&port)
        {
            ports.push(port);
        }
    }
    ports
}
