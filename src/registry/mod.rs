//! The generic registry: create, read, update and delete for every row of one resource table.
//!
//! Called by `endpoints` (requests) and, through [`crate::api::objects::Objects`], by everything
//! below that needs objects. There is no code per kind here but the strategies.
//!
//! # Invariants
//! - A write builds one tree and serializes it once; a read builds none.
//! - Every write is a compare-and-swap on the revision it was computed from.
//! - The order of a write is upstream's: decode → managed fields → mutating admission → prepare →
//!   validate → validating admission → store.
//!
//! # Decisions
//! - Objects travel as trees ([`Value`]) in the version of the request and are converted to the storage
//!   version at the last moment, because defaults, validation and patches are per version.

mod admit;
pub mod allocate;
pub mod convert;
mod create;
mod delete;
pub mod errors;
mod kinds;
pub mod managed_fields;
pub mod meta;
pub mod objects;
pub mod printers;
pub mod read;
pub mod scale;
pub mod services;
mod stages;
pub mod strategies;
pub mod strategy;
pub mod table;
pub mod target;
mod trees;
mod update;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::admission::AdmissionChain;
use crate::api::field::FieldErrors;
use crate::api::resource::Resource;
use crate::base::tree::Value;
use crate::storage::cacher::{CachedObject, Cacher, RevisionCheck};
use crate::storage::{Revision, Storage};

pub use delete::{Deleted, Deletion};
pub use read::{Listing, Page, ReadVersion, Selection, WatchOptions, list_status};
pub use table::{ResourceTable, SharedTable};
pub use target::Target;
pub use update::{Transform, TransformFn, Update};

/// What a registry is told.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Prefix of all keys (`/registry`).
    pub root: String,
    /// How long events are kept after their last write.
    pub event_ttl: Duration,
    /// Whether pods may ask for privileged containers.
    pub allow_privileged: bool,
    /// Whether a garbage collector runs in the cluster, so that deletion may leave it finalizers.
    pub garbage_collector: bool,
    /// First and last node port.
    pub node_ports: (u16, u16),
}

impl Default for RegistryOptions {
    fn default() -> Self {
        RegistryOptions {
            root: "/registry".into(),
            event_ttl: Duration::from_secs(3600),
            allow_privileged: false,
            garbage_collector: true,
            node_ports: (30000, 32767),
        }
    }
}

/// The registry over one store.
pub struct Registry {
    table: SharedTable,
    storage: Arc<dyn Storage>,
    options: RegistryOptions,
    check: Arc<RevisionCheck>,
    caches: DashMap<String, Arc<Cacher>, RandomState>,
    trees: trees::Trees,
    admission: OnceLock<AdmissionChain>,
}

/// An object as a write left it.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object in the version of the request, with its resourceVersion.
    pub object: Value,
    /// Whether the write created it.
    pub created: bool,
    /// Whether nothing was stored because nothing changed.
    pub no_op: bool,
    /// Whether the write removed it (its last finalizer went).
    pub removed: bool,
    /// What was stored, if anything was, in the storage version and at which revision: the answer's
    /// bytes but for the resourceVersion.
    pub stored: Option<(Bytes, Revision)>,
}

impl Registry {
    /// A registry of `table` over `storage`.
    pub fn new(
        table: ResourceTable,
        storage: Arc<dyn Storage>,
        mut options: RegistryOptions,
    ) -> Arc<Self> {
        options
            .root
            .truncate(options.root.trim_end_matches('/').len());
        Arc::new(Registry {
            table: SharedTable::new(table),
            check: RevisionCheck::new(storage.clone()),
            storage,
            options,
            caches: DashMap::default(),
            trees: trees::Trees::new(),
            admission: OnceLock::new(),
        })
    }

    /// Sets the admission chain. Plugins read objects through the registry, so the chain can only
    /// be made after it; until then writes are not admitted by anybody.
    pub fn set_admission(&self, chain: AdmissionChain) {
        if self.admission.set(chain).is_err() {
            tracing::warn!("the admission chain is set already");
        }
    }

    /// The range of node ports, the last one included.
    fn node_ports(&self) -> (u16, u16) {
        let (first, last) = self.options.node_ports;
        (first, last.max(first))
    }

    /// Key of the bitmap of used node ports.
    fn node_ports_key(&self) -> String {
        format!("{}/ranges/servicenodeports", self.options.root)
    }

    /// The resource table.
    pub fn table(&self) -> &SharedTable {
        &self.table
    }

    /// The store below.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Key prefix of a row's objects, with a slash at its end.
    pub fn prefix(&self, resource: &Resource) -> String {
        format!("{}/{}/", self.options.root, resource.storage_prefix)
    }

    /// Key of an object.
    pub fn key(&self, target: &Target) -> String {
        let (root, row) = (&*self.options.root, &target.resource);
        let namespace = row.namespaced.then_some(&*target.namespace);
        let parts = [Some(root), Some(&row.storage_prefix), namespace];
        let length: usize = parts.iter().flatten().map(|part| part.len() + 1).sum();
        let mut key = String::with_capacity(length + target.name.len());
        for part in parts.into_iter().flatten() {
            key.push_str(part);
            key.push('/');
        }
        key.push_str(&target.name);
        key
    }

    /// The watch cache of a row, started when it is first asked for.
    pub fn cache(&self, resource: &Resource) -> Arc<Cacher> {
        if let Some(cache) = self.caches.get(&*resource.storage_prefix) {
            return cache.clone();
        }
        let start = || read::start_cache(self, resource);
        self.caches
            .entry(resource.storage_prefix.to_string())
            .or_insert_with(start)
            .clone()
    }

    /// Every running watch cache with its storage prefix.
    pub fn caches(&self) -> Vec<(String, Arc<Cacher>)> {
        let pairs = self.caches.iter();
        pairs
            .map(|entry| (entry.key().clone(), entry.value().clone()))
            .collect()
    }

    /// Starts the watch caches of all rows that store something.
    pub fn start_caches(&self) {
        for row in self
            .table
            .load()
            .rows()
            .filter(|row| !row.storage_prefix.is_empty())
        {
            self.cache(row);
        }
    }

    fn ttl(&self, resource: &Resource) -> Option<Duration> {
        (resource.ttl_seconds > 0).then_some(self.options.event_ttl)
    }

    /// Refuses privileged containers where the server does not allow them.
    fn check_capabilities(&self, target: &Target, object: &Value, errors: &mut FieldErrors) {
        if self.options.allow_privileged {
            return;
        }
        if let Some(path) = target.strategy().pod_spec_path() {
            strategies::pod_spec::forbid_privileged(object, path, errors);
        }
    }

    /// The stored form of a tree in the version of the request.
    fn stored(&self, object: &Value, resource: &Resource) -> Bytes {
        let api_version = resource.storage_version.to_string();
        if object.get("apiVersion").and_then(Value::as_str) == Some(api_version.as_str()) {
            return crate::api::bytes::stored(object, &resource.kind, &api_version);
        }
        let mut converted = object.clone();
        convert::convert(&mut converted, resource, &resource.storage_version);
        crate::api::bytes::stored(&converted, &resource.kind, &api_version)
    }

    /// The tree of a stored or cached object in the version of `resource`.
    fn tree(
        &self,
        json: &[u8],
        revision: Revision,
        resource: &Resource,
    ) -> Result<Value, serde_json::Error> {
        // Checked as a whole, text need not be checked string by string.
        let mut object: Value = match std::str::from_utf8(json) {
            Ok(text) => crate::api::bytes::tree(text)?,
            Err(_) => serde_json::from_slice(json)?,
        };
        convert::convert(&mut object, resource, &resource.group_version());
        object["kind"] = Value::String(resource.kind.to_string());
        meta::set_text(&mut object, "resourceVersion", &revision.to_string());
        Ok(object)
    }

    /// The tree of a cached object in the version of `resource`.
    pub fn cached_tree(
        &self,
        cached: &CachedObject,
        resource: &Resource,
    ) -> Result<Value, crate::api::status::Status> {
        self.tree(cached.text(), cached.revision(), resource)
            .map_err(|error| read::corrupt(resource, cached.key(), &error))
    }

    /// As [`Registry::cached_tree`], shared by all who only read it.
    fn shared_tree(
        &self,
        cached: &Arc<CachedObject>,
        resource: &Arc<Resource>,
    ) -> Result<Arc<Value>, crate::api::status::Status> {
        let make = || self.cached_tree(cached, resource);
        self.trees.get(cached, resource, make)
    }
}
