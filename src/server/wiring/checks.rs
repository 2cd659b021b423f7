//! Health checks of the wired parts, under upstream's names.

use std::sync::Arc;
use std::time::Duration;

use crate::server::health::{Asked, Health, HookDone};
use crate::server::options::StorageOptions;
use crate::storage::Storage;

/// Upstream's start hooks. Verbatim does the work of each before it serves or needs none; the
/// names stay, because probes and operators ask for them.
const HOOKS: &[&str] = &[
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/peer-endpoint-reconciler-controller",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/start-kube-apiserver-identity-lease-controller",
    "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
    "poststarthook/storage-readiness",
    "poststarthook/start-legacy-token-tracking-controller",
    "poststarthook/start-service-ip-repair-controllers",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kubernetes-service-cidr-controller",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-status-local-available-controller",
    "poststarthook/apiservice-status-remote-available-controller",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-wait-for-first-sync",
    "poststarthook/apiservice-discovery-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
];

/// The start hooks of one server.
pub(super) struct Hooks {
    hooks: Vec<HookDone>,
}

impl Hooks {
    /// Everything that a start does is done.
    pub(super) fn all_done(&self) {
        for hook in &self.hooks {
            hook.done();
        }
    }
}

/// Adds the checks of the start, unfinished.
pub(super) fn add_hooks(health: &Health) -> Hooks {
    let add = |name: &&str| match name.starts_with("poststarthook/") {
        true => health.add_done(name, Asked::StartHook, "not finished"),
        false => health.add_done(name, Asked::Everywhere, "missing APIService: []"),
    };
    // Caches are waited for by the start itself.
    let synced = health.add_done("informer-sync", Asked::Ready, "informers not started yet");
    let mut hooks: Vec<HookDone> = HOOKS.iter().map(add).collect();
    hooks.push(synced);
    Hooks { hooks }
}

/// Adds the checks of the store.
pub(super) fn add_store(health: &Health, storage: &Arc<dyn Storage>, options: &StorageOptions) {
    let loopback = health.add_done("loopback-serving-certificate", Asked::Alive, "");
    // There is no loopback connection and so no certificate that could expire.
    loopback.done();
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
