//! The service `kubernetes`: its range, its address and the endpoints of all live servers.
//!
//! Servers find each other by their identity leases, which carry their addresses and are renewed
//! every ten seconds; whoever stops renewing drops out of the endpoints.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use chrono::{DateTime, Utc};
use ipnet::IpNet;

use super::basics::{PEER_ADDRESS, is_identity, leases};
use super::{BootstrapOptions, ensure, now, object};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::base::tree::{Value, json};

const NAME: &str = "kubernetes";
/// Who writes the status of the range, as upstream names its field manager.
const CONTROLLER: &str = "kubernetes-service-cidr-controller";
/// A server that has not renewed its lease for this long is gone.
const LIVE_SECONDS: i64 = 30;

pub(super) async fn service_cidr(
    objects: &dyn Objects,
    options: &BootstrapOptions,
) -> Result<(), Status> {
    let resource = GroupResource::new("networking.k8s.io", "servicecidrs");
    let mut cidr = object("networking.k8s.io/v1", "ServiceCIDR", "", NAME);
    cidr["spec"] = json!({"cidrs": options.service_cidrs});
    ensure(objects, &resource, cidr).await?;
    let Some(stored) = objects.get(&resource, "", NAME).await? else {
        return Ok(());
    };
    if stored["status"]["conditions"].is_array() {
        return Ok(());
    }
    let mut config = json!({"metadata": {"name": NAME}});
    config["status"] = json!({"conditions": [{
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": now(),
        "message": "Kubernetes default Service CIDR is ready",
    }]});
    match objects
        .apply_status(CONTROLLER, &resource, "", config)
        .await
    {
        Ok(_) => Ok(()),
        Err(status) if status.reason == "Conflict" => Ok(()),
        Err(status) => Err(status),
    }
}

/// The first address of a range.
fn first_address(cidr: &str) -> Option<IpAddr> {
    let network: IpNet = cidr.parse().ok()?;
    match network.network() {
        IpAddr::V4(at) => Some(IpAddr::V4((u32::from(at).checked_add(1)?).into())),
        IpAddr::V6(at) => Some(IpAddr::V6((u128::from(at).checked_add(1)?).into())),
    }
}

pub(super) async fn service(
    objects: &dyn Objects,
    options: &BootstrapOptions,
) -> Result<(), Status> {
    let Some(ip) = options
        .service_cidrs
        .first()
        .and_then(|cidr| first_address(cidr))
    else {
        return Ok(());
    };
    let mut service = object("v1", "Service", "default", NAME);
    service["metadata"]["labels"] = json!({"component": "apiserver", "provider": "kubernetes"});
    let mut port = json!({
        "name": "https",
        "port": 443,
        "protocol": "TCP",
        "targetPort": options.secure_port,
    });
    let kind = match options.service_node_port {
        0 => "ClusterIP",
        node_port => {
            port["nodePort"] = json!(node_port);
            "NodePort"
        }
    };
    let family = family_of(&ip);
    service["spec"] = json!({
        "clusterIP": ip.to_string(),
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "ports": [port],
        "sessionAffinity": "None",
        "type": kind,
    });
    service["status"] = json!({"loadBalancer": {}});
    ensure(objects, &GroupResource::new("", "services"), service).await?;
    let mut address = object("networking.k8s.io/v1", "IPAddress", "", &ip.to_string());
    address["metadata"]["labels"] = json!({
        "ipaddress.kubernetes.io/ip-family": family,
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    });
    address["spec"] = json!({"parentRef": {
        "resource": "services", "namespace": "default", "name": NAME}});
    let addresses = GroupResource::new("networking.k8s.io", "ipaddresses");
    ensure(objects, &addresses, address).await
}

fn family_of(ip: &IpAddr) -> &'static str {
    match ip {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

/// Publishes the addresses of all live servers, this one among them.
pub(super) async fn endpoints(
    objects: &dyn Objects,
    options: &BootstrapOptions,
) -> Result<(), Status> {
    let mut addresses = live_addresses(objects).await?;
    addresses.insert(options.advertise_address);
    publish(objects, options, &addresses).await
}

/// Publishes the addresses of the other live servers.
pub(super) async fn withdraw_endpoints(
    objects: &dyn Objects,
    options: &BootstrapOptions,
) -> Result<(), Status> {
    let mut addresses = live_addresses(objects).await?;
    addresses.remove(&options.advertise_address);
    publish(objects, options, &addresses).await
}

async fn live_addresses(objects: &dyn Objects) -> Result<BTreeSet<IpAddr>, Status> {
    let found = objects.list_cached(&leases(), "kube-system").await?;
    let now = Utc::now();
    let is_live = |lease: &Value| {
        let renewed = lease["spec"]["renewTime"].as_str().unwrap_or("");
        is_identity(lease)
            && DateTime::parse_from_rfc3339(renewed)
                .is_ok_and(|at| (now - at.with_timezone(&Utc)).num_seconds() < LIVE_SECONDS)
    };
    Ok(found
        .iter()
        .filter(|lease| is_live(lease))
        .filter_map(|lease| lease["metadata"]["annotations"][PEER_ADDRESS].as_str())
        .filter_map(|text| text.parse::<SocketAddr>().ok())
        .map(|address| address.ip())
        .collect())
}

async fn publish(
    objects: &dyn Objects,
    options: &BootstrapOptions,
    addresses: &BTreeSet<IpAddr>,
) -> Result<(), Status> {
    let port = json!({"name": "https", "port": options.secure_port, "protocol": "TCP"});
    let texts: Vec<String> = addresses.iter().map(|ip| ip.to_string()).collect();

    let mut wanted = object("v1", "Endpoints", "default", NAME);
    wanted["metadata"]["labels"] = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    if !texts.is_empty() {
        let list: Vec<Value> = texts.iter().map(|ip| json!({"ip": ip})).collect();
        wanted["subsets"] = json!([{"addresses": list, "ports": [port]}]);
    }
    let resource = GroupResource::new("", "endpoints");
    put(objects, &resource, wanted, &["subsets"]).await?;

    let mut slice = object("discovery.k8s.io/v1", "EndpointSlice", "default", NAME);
    slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": NAME});
    slice["addressType"] = json!(family_of(&options.advertise_address));
    let list: Vec<Value> = texts
        .iter()
        .map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}}))
        .collect();
    slice["endpoints"] = json!(list);
    slice["ports"] = json!([port]);
    let resource = GroupResource::new("discovery.k8s.io", "endpointslices");
    put(objects, &resource, slice, &["endpoints", "ports"]).await
}

/// Creates `wanted` or makes the stored object's `parts` equal to its.
async fn put(
    objects: &dyn Objects,
    resource: &GroupResource,
    wanted: Value,
    parts: &[&str],
) -> Result<(), Status> {
    let Some(stored) = objects.get_cached(resource, "default", NAME).await? else {
        return ensure(objects, resource, wanted).await;
    };
    if parts
        .iter()
        .all(|part| stored.get(*part) == wanted.get(part))
    {
        return Ok(());
    }
    let mut changed = (*stored).clone();
    if let (Some(changed), Some(wanted)) = (changed.as_object_mut(), wanted.as_object()) {
        for part in parts {
            match wanted.get(part) {
                Some(value) => changed.insert((*part).into(), value.clone()),
                None => changed.remove(part),
            };
        }
    }
    match objects.update(resource, "default", changed).await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == "Conflict" => Ok(()),
        Err(status) => Err(status),
    }
}
