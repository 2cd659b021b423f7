//! What a start does once the listener is open, and what the server keeps doing: the objects that
//! must exist.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use crate::api::objects::Objects;
use crate::base::{Backoff, Tasks};
use crate::registry::Registry;
use crate::server::bootstrap::{self, BootstrapOptions, RequestHeaderOptions};
use crate::server::life::StartError;
use crate::server::options::{Role, ServerOptions};
use crate::server::pki::host_name;

/// How long a start tries to make the objects that must exist.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(60);

/// The bootstrap's options, from the server's.
pub(super) fn options(server: &ServerOptions, registry: &Registry) -> BootstrapOptions {
    let auth = &server.authentication;
    let read = |path: &std::path::PathBuf| fs::read_to_string(path).unwrap_or_default();
    let table = registry.table().load();
    let mut group_versions: Vec<(String, String)> = Vec::new();
    for row in table.rows() {
        let pair = (row.group.to_string(), row.version.to_string());
        if !group_versions.contains(&pair) {
            group_versions.push(pair);
        }
    }
    BootstrapOptions {
        service_cidrs: server
            .services
            .cluster_ip_ranges
            .iter()
            .map(|range| range.trunc().to_string())
            .collect(),
        advertise_address: advertise_address(server),
        secure_port: server.listen.address.port(),
        service_node_port: server.services.kubernetes_node_port,
        client_ca: auth.client_ca.as_ref().map(read),
        request_header: auth
            .request_header
            .as_ref()
            .map(|proxy| RequestHeaderOptions {
                client_ca: read(&proxy.client_ca),
                allowed_names: proxy.allowed_names.clone(),
                extra_headers_prefix: proxy.extra_prefixes.clone(),
                group_headers: proxy.group_headers.clone(),
                username_headers: proxy.username_headers.clone(),
                uid_headers: proxy.uid_headers.clone(),
            }),
        hostname: host_name().unwrap_or_default(),
        instance: uuid::Uuid::new_v4().to_string(),
        rbac: server.authorization.has("RBAC"),
        // Endpoints may not be in the loopback range; a host without a network has none to show.
        publish_endpoints: server.services.reconcile_endpoints
            && !advertise_address(server).is_loopback(),
        group_versions,
        senders: server.collect.clusters.clone(),
        access_only: server.role == Role::Collector,
    }
}

/// `--advertise-address`, else the bind address (unless only this host reaches it), else the address this host uses towards others.
fn advertise_address(server: &ServerOptions) -> IpAddr {
    let bind = server.listen.address.ip();
    let given = server.listen.advertise;
    given
        .or((!bind.is_unspecified() && !bind.is_loopback()).then_some(bind))
        .or_else(outward_address)
        .unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

/// Asks the routing table by "connecting" a datagram socket; nothing is sent.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

/// Makes the objects that must exist, trying again while the store is busy.
pub(super) async fn bootstrap(
    objects: &Arc<dyn Objects>,
    options: &BootstrapOptions,
) -> Result<(), StartError> {
    let give_up = tokio::time::Instant::now() + BOOTSTRAP_TIMEOUT;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    loop {
        match bootstrap::bootstrap(&**objects, options).await {
            Ok(()) => return Ok(()),
            Err(status) if tokio::time::Instant::now() >= give_up => {
                return Err(StartError::Part {
                    part: "the objects that must exist",
                    reason: status.message,
                });
            }
            Err(status) => tracing::warn!(message = %status.message, "bootstrap tries again"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Looks after them from now on.
pub(super) fn keep(objects: &Arc<dyn Objects>, options: &Arc<BootstrapOptions>, tasks: &Tasks) {
    if options.access_only {
        return;
    }
    tasks.spawn_until_stopped(bootstrap::keep(objects.clone(), options.clone()));
}

/// Takes this server out of the kubernetes Service.
pub(super) async fn withdraw(objects: &Arc<dyn Objects>, options: &BootstrapOptions) {
    if options.access_only {
        return;
    }
    if let Err(status) = bootstrap::withdraw(&**objects, options).await {
        tracing::warn!(message = %status.message, "could not withdraw the endpoints");
    }
}
