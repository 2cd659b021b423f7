//! Health checks of the wired parts, under upstream's names.

use std::sync::Arc;
use std::time::Duration;

use crate::server::health::{Asked, Health, HookDone};
use crate::server::options::StorageOptions;
use crate::storage::Storage;

/// Upstream's start hooks. Verbatim does the work of each before it serves or needs none; the
/// names stay, because probes and operators ask for them.
const HOOKS: &[&str] = &[
    "generic-apiserver-start-informers",
    "priority-and-fairness-config-consumer",
    "priority-and-fairness-filter",
    "storage-object-count-tracker-hook",
    "start-apiextensions-informers",
    "start-apiextensions-controllers",
    "crd-informer-synced",
    "start-system-namespaces-controller",
    "start-cluster-authentication-info-controller",
    "start-kube-apiserver-identity-lease-controller",
    "start-kube-apiserver-identity-lease-garbage-collector",
    "start-legacy-token-tracking-controller",
    "start-service-ip-repair-controllers",
    "storage-readiness",
    "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes",
    "priority-and-fairness-config-producer",
    "bootstrap-controller",
    "start-kubernetes-service-cidr-controller",
    "start-kube-aggregator-informers",
    "apiservice-status-local-available-controller",
    "apiservice-status-remote-available-controller",
    "apiservice-registration-controller",
    "apiservice-wait-for-first-sync",
    "apiservice-discovery-controller",
    "kube-apiserver-autoregistration",
    "apiservice-openapi-controller",
    "apiservice-openapiv3-controller",
    "peer-endpoint-reconciler-controller",
    "start-apiserver-admission-initializer",
];

/// The start hooks of one server.
pub(super) struct Hooks {
    hooks: Vec<HookDone>,
    registered: HookDone,
}

impl Hooks {
    /// Everything that a start does is done.
    pub(super) fn all_done(&self) {
        for hook in &self.hooks {
            hook.done();
        }
        self.registered.done();
    }
}

/// Adds the checks of the start.
pub(super) fn add_hooks(health: &Health) -> Hooks {
    let hooks = HOOKS
        .iter()
        .map(|name| health.add_start_hook(name))
        .collect();
    let registered = health.add_done(
        "autoregister-completion",
        Asked::Everywhere,
        "missing APIService: []",
    );
    let synced = health.add_done("informer-sync", Asked::Ready, "informers not started yet");
    let loopback = health.add_done("loopback-serving-certificate", Asked::Alive, "");
    // There is no loopback connection and so no certificate that could expire, and caches are
    // waited for by the start itself.
    loopback.done();
    synced.done();
    Hooks { hooks, registered }
}

/// Adds the checks of the store.
pub(super) fn add_store(health: &Health, storage: &Arc<dyn Storage>, options: &StorageOptions) {
    let add = |name: &str, asked: Asked, limit: Duration| {
        let storage = storage.clone();
        health.add(name, asked, move || {
            let storage = storage.clone();
            Box::pin(async move {
                match tokio::time::timeout(limit, storage.status()).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err(format!("no answer from the store within {limit:?}")),
                }
            })
        });
    };
    add("etcd", Asked::Everywhere, options.health_timeout);
    add("etcd-readiness", Asked::Ready, options.ready_timeout);
}
