//! Namespaces, priority classes, config maps, APIServices and the identity lease.

use chrono::{SecondsFormat, Utc};

use super::{BootstrapOptions, ensure, now, object};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::base::tree::{Value, json};

const LEASE_SECONDS: u32 = 3600;
const IDENTITY_LABEL: &str = "apiserver.kubernetes.io/identity";
/// Annotation of an identity lease with the address that other servers reach this one at.
pub(super) const PEER_ADDRESS: &str = "kubernetes.io/peer-advertise-address";

pub(super) async fn namespaces(objects: &dyn Objects) -> Result<(), Status> {
    let resource = GroupResource::new("", "namespaces");
    for name in ["kube-system", "kube-public", "kube-node-lease", "default"] {
        let mut namespace = object("v1", "Namespace", "", name);
        namespace["metadata"]["labels"] = json!({"kubernetes.io/metadata.name": name});
        ensure(objects, &resource, namespace).await?;
    }
    Ok(())
}

pub(super) async fn priority_classes(objects: &dyn Objects) -> Result<(), Status> {
    let resource = GroupResource::new("scheduling.k8s.io", "priorityclasses");
    for (name, value, description) in [
        (
            "system-node-critical",
            2_000_001_000_i64,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ] {
        let mut class = object("scheduling.k8s.io/v1", "PriorityClass", "", name);
        class["value"] = json!(value);
        class["description"] = json!(description);
        class["preemptionPolicy"] = json!("PreemptLowerPriority");
        ensure(objects, &resource, class).await?;
    }
    Ok(())
}

pub(super) async fn config_maps(
    objects: &dyn Objects,
    options: &BootstrapOptions,
) -> Result<(), Status> {
    let resource = GroupResource::new("", "configmaps");
    let data = authentication_data(options);
    if data.as_object().is_some_and(|data| !data.is_empty()) {
        let name = "extension-apiserver-authentication";
        let mut map = object("v1", "ConfigMap", "kube-system", name);
        map["data"] = data;
        put_data(objects, &resource, name, map).await?;
    }
    let name = "kube-apiserver-legacy-service-account-token-tracking";
    let mut map = object("v1", "ConfigMap", "kube-system", name);
    map["data"] = json!({"since": Utc::now().format("%Y-%m-%d").to_string()});
    ensure(objects, &resource, map).await
}

/// Creates a config map or brings its data up to `map`'s.
async fn put_data(
    objects: &dyn Objects,
    resource: &GroupResource,
    name: &str,
    map: Value,
) -> Result<(), Status> {
    let Some(stored) = objects.get_cached(resource, "kube-system", name).await? else {
        return ensure(objects, resource, map).await;
    };
    let mut changed = (*stored).clone();
    for (key, value) in map["data"].as_object().into_iter().flatten() {
        changed["data"][key] = value.clone();
    }
    if changed == *stored {
        return Ok(());
    }
    objects.update(resource, "kube-system", changed).await?;
    Ok(())
}

fn authentication_data(options: &BootstrapOptions) -> Value {
    let mut data = json!({});
    if let Some(ca) = &options.client_ca {
        data["client-ca-file"] = json!(ca);
    }
    if let Some(proxy) = &options.request_header {
        data["requestheader-client-ca-file"] = json!(proxy.client_ca);
        for (key, list) in [
            ("allowed-names", &proxy.allowed_names),
            ("extra-headers-prefix", &proxy.extra_headers_prefix),
            ("group-headers", &proxy.group_headers),
            ("username-headers", &proxy.username_headers),
            ("uid-headers", &proxy.uid_headers),
        ] {
            let text = json!(list).to_string();
            data[format!("requestheader-{key}")] = json!(text);
        }
    }
    data
}

/// Minimum priority of a group and priority of the version within it.
fn priorities(group: &str, version: &str) -> (u32, u32) {
    let minimum = match group {
        "" => 18000,
        "apps" => 17800,
        "events.k8s.io" => 17750,
        "authentication.k8s.io" => 17700,
        "authorization.k8s.io" => 17600,
        "autoscaling" => 17500,
        "batch" => 17400,
        "certificates.k8s.io" => 17300,
        "networking.k8s.io" => 17200,
        "policy" => 17100,
        "rbac.authorization.k8s.io" => 17000,
        "storage.k8s.io" => 16800,
        "admissionregistration.k8s.io" | "apiextensions.k8s.io" => 16700,
        "scheduling.k8s.io" => 16600,
        "coordination.k8s.io" => 16500,
        "node.k8s.io" => 16300,
        "discovery.k8s.io" | "resource.k8s.io" => 16200,
        "flowcontrol.apiserver.k8s.io" => 16100,
        "internal.apiserver.k8s.io" => 16000,
        _ => 15000,
    };
    let within = match (group, version) {
        ("", _) => 1,
        ("autoscaling", "v2") => 30,
        ("flowcontrol.apiserver.k8s.io" | "resource.k8s.io", "v1") => 21,
        (_, "v1") => 15,
        (_, version) if version.contains("beta") => 9,
        _ => 1,
    };
    (minimum, within)
}

pub(super) async fn api_services(
    objects: &dyn Objects,
    group_versions: &[(String, String)],
) -> Result<(), Status> {
    let resource = GroupResource::new("apiregistration.k8s.io", "apiservices");
    for (group, version) in group_versions {
        if group == "apiregistration.k8s.io" {
            continue;
        }
        let (minimum, priority) = priorities(group, version);
        let name = format!("{version}.{group}");
        let mut service = object("apiregistration.k8s.io/v1", "APIService", "", &name);
        service["metadata"]["labels"] =
            json!({"kube-aggregator.kubernetes.io/automanaged": "onstart"});
        service["spec"] = json!({
            "version": version,
            "groupPriorityMinimum": minimum,
            "versionPriority": priority,
        });
        if !group.is_empty() {
            service["spec"]["group"] = json!(group);
        }
        ensure(objects, &resource, service).await?;
        mark_local(objects, &resource, &name).await?;
    }
    Ok(())
}

async fn mark_local(
    objects: &dyn Objects,
    resource: &GroupResource,
    name: &str,
) -> Result<(), Status> {
    let Some(stored) = objects.get(resource, "", name).await? else {
        return Ok(());
    };
    let conditions = stored["status"]["conditions"].as_array();
    if conditions.is_some_and(|conditions| !conditions.is_empty()) {
        return Ok(());
    }
    let mut changed = (*stored).clone();
    changed["status"] = json!({"conditions": [{
        "type": "Available",
        "status": "True",
        "lastTransitionTime": now(),
        "reason": "Local",
        "message": "Local APIServices are always available",
    }]});
    match objects.update_status(resource, "", changed).await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == "Conflict" => Ok(()),
        Err(status) => Err(status),
    }
}

pub(super) fn leases() -> GroupResource {
    GroupResource::new("coordination.k8s.io", "leases")
}

/// Whether a lease is a server's identity.
pub(super) fn is_identity(lease: &Value) -> bool {
    lease["metadata"]["labels"][IDENTITY_LABEL] == "kube-apiserver"
}

/// `apiserver-` and a digest of the host name.
fn lease_name(options: &BootstrapOptions) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = ring::digest::digest(&ring::digest::SHA256, options.hostname.as_bytes());
    let bits = digest.as_ref()[..16]
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1));
    let bits: Vec<u8> = bits.collect();
    let text: String = bits
        .chunks(5)
        .map(|chunk| {
            let value = chunk
                .iter()
                .fold(0_usize, |acc, bit| acc << 1 | *bit as usize);
            ALPHABET[value << (5 - chunk.len())] as char
        })
        .collect();
    format!("apiserver-{text}")
}

pub(super) async fn renew_lease(
    objects: &dyn Objects,
    options: &BootstrapOptions,
) -> Result<(), Status> {
    let name = lease_name(options);
    let resource = leases();
    let renewed = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let holder = format!("{name}_{}", options.instance);
    let stored = objects.get(&resource, "kube-system", &name).await?;
    let is_new = stored.is_none();
    let mut lease = match stored {
        Some(stored) => (*stored).clone(),
        None => object("coordination.k8s.io/v1", "Lease", "kube-system", &name),
    };
    let address = std::net::SocketAddr::new(options.advertise_address, options.secure_port);
    lease["metadata"]["labels"][IDENTITY_LABEL] = json!("kube-apiserver");
    lease["metadata"]["labels"]["kubernetes.io/hostname"] = json!(options.hostname);
    lease["metadata"]["annotations"][PEER_ADDRESS] = json!(address.to_string());
    lease["spec"]["holderIdentity"] = json!(holder);
    lease["spec"]["leaseDurationSeconds"] = json!(LEASE_SECONDS);
    lease["spec"]["renewTime"] = json!(renewed);
    let written = match is_new {
        true => objects.create(&resource, "kube-system", lease).await,
        false => objects.update(&resource, "kube-system", lease).await,
    };
    match written {
        Ok(_) => Ok(()),
        Err(status) if status.reason == "AlreadyExists" => Ok(()),
        Err(status) => Err(status),
    }
}

pub(super) async fn delete_lease(
    objects: &dyn Objects,
    options: &BootstrapOptions,
) -> Result<(), Status> {
    match objects
        .delete(&leases(), "kube-system", &lease_name(options))
        .await
    {
        Err(status) if status.reason != "NotFound" => Err(status),
        _ => Ok(()),
    }
}
