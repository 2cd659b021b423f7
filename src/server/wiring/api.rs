//! The API behind the filters: registry, admission, resources, discovery.

use std::sync::Arc;

use super::kubelets;
use crate::api::objects::Objects;
use crate::api::schema::definitions;
use crate::authorization::Authorizer;
use crate::endpoints::discovery::Discovery;
use crate::endpoints::handlers::review::Reviewers;
use crate::endpoints::openapi::OpenApi;
use crate::endpoints::{Endpoints, Mount};
use crate::filters::metrics::KnownResource;
use crate::filters::shutdown::Drain;
use crate::registry::objects::RegistryObjects;
use crate::registry::table::{ResourceTable, RuntimeConfig};
use crate::registry::{Registry, RegistryOptions};
use crate::search::api::{GROUP, VERSION, WatchLimits};
use crate::server::life::{StartError, reachable};
use crate::server::options::ServerOptions;
use crate::storage::Storage;
use crate::telemetry::Metrics;

/// Makes the registry over the store.
pub(super) fn registry(
    options: &ServerOptions,
    storage: &Arc<dyn Storage>,
) -> Result<Arc<Registry>, StartError> {
    let pairs = options.api.runtime_config.iter();
    let mut text: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    if !options.audit.index {
        text.push(format!("{GROUP}/{VERSION}=false"));
    }
    let config =
        RuntimeConfig::parse(&text.join(",")).map_err(|e| StartError::part("the API table", &e))?;
    let table = ResourceTable::new(&config);
    Ok(Registry::new(
        table,
        storage.clone(),
        RegistryOptions {
            root: options.storage.prefix.clone(),
            event_ttl: options.api.event_ttl,
            allow_privileged: options.api.allow_privileged,
            garbage_collector: options.api.garbage_collector,
            node_ports: options.services.node_ports,
        },
    ))
}

/// The registry as parts below it see it.
pub(super) fn objects(registry: &Arc<Registry>) -> Arc<dyn Objects> {
    Arc::new(RegistryObjects(registry.clone()))
}

/// Makes what answers requests for resources, discovery, and the paths of `mounts`.
pub(super) fn endpoints(
    options: &ServerOptions,
    registry: &Arc<Registry>,
    authorizer: Arc<dyn Authorizer>,
    reviewers: Reviewers,
    mounts: Vec<Box<dyn Mount>>,
    metrics: &Arc<Metrics>,
    drain: &Drain,
) -> Result<Endpoints, StartError> {
    Ok(Endpoints {
        registry: registry.clone(),
        discovery: Discovery::new(server_address(options)),
        openapi: OpenApi::new(definitions),
        authorizer,
        reviewers,
        mounts,
        proxy: kubelets::proxy(&options.kubelets)?,
        metrics: metrics.clone(),
        min_request_timeout: options.api.min_request_timeout,
        shutdown: drain.watches_end(),
    })
}

/// How watches of events end.
pub(super) fn watch_limits(options: &ServerOptions, drain: &Drain) -> WatchLimits {
    WatchLimits {
        min_timeout: options.api.min_request_timeout,
        shutdown: drain.watches_end(),
    }
}

/// Which resources are served, for metric labels.
pub(super) fn known(registry: &Arc<Registry>) -> KnownResource {
    let registry = registry.clone();
    Arc::new(move |group, version, plural| {
        let table = registry.table().load();
        table.get(group, version, plural).is_some()
    })
}

/// `host:port` as other members of the cluster reach this server.
pub(in crate::server) fn server_address(options: &ServerOptions) -> String {
    let port = options.listen.address.port();
    if let Some(host) = &options.listen.external_hostname {
        return format!("{host}:{port}");
    }
    match options.listen.advertise {
        Some(ip) => std::net::SocketAddr::new(ip, port).to_string(),
        None => reachable(options.listen.address).to_string(),
    }
}

/// Brings the metrics of the watch caches up to date; called before every scrape.
pub(super) fn cache_metrics(
    registry: &Arc<Registry>,
    metrics: &Arc<Metrics>,
) -> Box<dyn Fn() + Send + Sync> {
    let (registry, metrics) = (registry.clone(), metrics.clone());
    Box::new(move || {
        let table = registry.table().load();
        for (prefix, cache) in registry.caches() {
            let Some(row) = table.by_storage_prefix(&prefix).next() else {
                continue;
            };
            let labels = [&*row.group, &*row.plural];
            let stats = cache.stats();
            let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            let objects = gauge(stats.objects.get());
            metrics
                .apiserver_resource_objects
                .with_label_values(&labels)
                .set(objects);
            let name = row.group_resource().to_string();
            metrics
                .apiserver_storage_objects
                .with_label_values(&[&name])
                .set(objects);
            let capacity = gauge(stats.window_capacity.get());
            metrics
                .watch_cache_capacity
                .with_label_values(&labels)
                .set(capacity);
            for (counter, now) in [
                (
                    &metrics.apiserver_watch_cache_events_received_total,
                    stats.events_received.get(),
                ),
                (
                    &metrics.apiserver_watch_cache_events_dispatched_total,
                    stats.events_dispatched.get(),
                ),
                (
                    &metrics.apiserver_terminated_watchers_total,
                    stats.terminated_watchers.get(),
                ),
                (
                    &metrics.apiserver_watch_cache_initializations_total,
                    stats.initializations.get(),
                ),
            ] {
                let counter = counter.with_label_values(&labels);
                counter.inc_by(now.saturating_sub(counter.get()));
            }
        }
    })
}
