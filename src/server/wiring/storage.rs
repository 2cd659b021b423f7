//! The store: embedded, or etcd when `--etcd-servers` names one.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{Backoff, Tasks};
use crate::server::life::StartError;
use crate::server::options::{ServerOptions, StorageOptions};
use crate::storage::Storage;
use crate::storage::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::storage::etcd::{EtcdOptions, EtcdStore, Pem};
use crate::telemetry::Metrics;

/// Opens the store, and keeps its history short if it is ours alone.
pub(super) async fn open(
    options: &ServerOptions,
    tasks: &Tasks,
) -> Result<Arc<dyn Storage>, StartError> {
    let failed = |error: crate::storage::Error| StartError::part("the store", &error);
    let storage: Arc<dyn Storage> = match options.storage.etcd_servers.is_empty() {
        true => {
            let dir = options.data_dir.join("store");
            crate::server::pki::private_dir(&dir)?;
            let opened = tokio::task::spawn_blocking(move || {
                EmbeddedStore::open(&dir, EmbeddedOptions::default())
            });
            let opened = opened.await;
            opened
                .map_err(|e| StartError::part("the store", &e))?
                .map_err(failed)?
        }
        false => connect(&options.storage).await.map_err(failed)?,
    };
    compact(&options.storage, &storage, tasks);
    Ok(storage)
}

/// Tries until the initialization timeout: etcd may start at the same time.
async fn connect(options: &StorageOptions) -> Result<Arc<dyn Storage>, crate::storage::Error> {
    let mut etcd = EtcdOptions {
        endpoints: options.etcd_servers.clone(),
        ca: options.etcd_ca.clone().map(Pem::File),
        probe_key: format!("{}/health", options.prefix),
        ..EtcdOptions::default()
    };
    if let Some(pair) = &options.etcd_certificate {
        etcd.cert = Some(Pem::File(pair.certificate.clone()));
        etcd.key = Some(Pem::File(pair.key.clone()));
    }
    let give_up = tokio::time::Instant::now() + options.initialization_timeout;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        match EtcdStore::connect(etcd.clone()).await {
            Ok(store) => return Ok(store),
            Err(error) if tokio::time::Instant::now() >= give_up => return Err(error),
            Err(error) => tracing::warn!(%error, "etcd does not answer yet"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Forgets history older than one to two intervals.
fn compact(options: &StorageOptions, storage: &Arc<dyn Storage>, tasks: &Tasks) {
    let every = options.compaction_interval;
    if every.is_zero() {
        return;
    }
    let storage = storage.clone();
    tasks.spawn_until_stopped(async move {
        let mut before = 0;
        loop {
            tokio::time::sleep(every).await;
            if before > 0
                && let Err(error) = storage.compact(before).await
            {
                tracing::warn!(%error, revision = before, "compaction failed");
            }
            before = storage.current_revision().await.unwrap_or(before);
        }
    });
}

/// Publishes the store's size.
pub(super) fn measure(
    options: &ServerOptions,
    storage: &Arc<dyn Storage>,
    metrics: &Arc<Metrics>,
    tasks: &Tasks,
) {
    let every = options.storage.size_interval.max(Duration::from_secs(1));
    let (storage, metrics) = (storage.clone(), metrics.clone());
    let cluster = options.storage.etcd_servers.join(",");
    tasks.spawn_until_stopped(async move {
        loop {
            if let Ok(status) = storage.status().await {
                let cluster = match cluster.is_empty() {
                    true => status.backend,
                    false => cluster.as_str(),
                };
                let bytes = i64::try_from(status.size_bytes).unwrap_or(i64::MAX);
                metrics
                    .apiserver_storage_size_bytes
                    .with_label_values(&[cluster])
                    .set(bytes);
            }
            tokio::time::sleep(every).await;
        }
    });
}
