//! Reads: get, list and watch out of the watch cache.

use std::sync::Arc;

use crate::api::bytes::Shape;
use crate::api::field::go_quote;
use crate::api::resource::Resource;
use crate::api::selector::{FieldSelector, LabelSelector};
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::registry::errors::{StorageOperation, storage_status};
use crate::registry::{Registry, Target};
use crate::storage::cacher::{
    CachedObject, Cacher, CacherOptions, Filter, Freshness, JsonCodec, ListAnswer, ListQuery,
    Scope, WINDOW_EVENTS_MAX, Watch, WatchQuery, WatchStart,
};
use crate::storage::{Error, Revision};

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadVersion {
    /// As fresh as the store.
    Latest,
    /// Whatever the cache has.
    Any,
    /// At least this revision.
    AtLeast(Revision),
    /// Exactly this revision.
    Exact(Revision),
}

impl ReadVersion {
    /// The `resourceVersion` of a get: `0` any, else at least that.
    pub fn parse_get(text: &str) -> Result<Self, Status> {
        let revision: Revision =
            parse_revision(text).ok_or_else(|| Status::failure(500, "", invalid_version(text)))?;
        Ok(if revision == 0 {
            ReadVersion::Any
        } else {
            ReadVersion::AtLeast(revision)
        })
    }

    /// The word in stages.
    pub fn as_str(self) -> &'static str {
        match self {
            ReadVersion::Latest => "latest",
            ReadVersion::Any => "any",
            ReadVersion::AtLeast(_) => "at least",
            ReadVersion::Exact(_) => "exact",
        }
    }

    pub(crate) fn freshness(self) -> Freshness {
        match self {
            ReadVersion::Latest => Freshness::Latest,
            ReadVersion::Any => Freshness::Any,
            ReadVersion::AtLeast(revision) => Freshness::AtLeast(revision),
            ReadVersion::Exact(revision) => Freshness::Exact(revision),
        }
    }
}

/// A revision as clients write it.
pub fn parse_revision(text: &str) -> Option<Revision> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// `resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax`.
pub fn invalid_version(text: &str) -> String {
    let quoted = go_quote(text);
    format!(
        "resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: invalid syntax"
    )
}

/// Parsed selectors of one request; empty ones select everything.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Labels.
    pub labels: LabelSelector,
    /// Fields.
    pub fields: FieldSelector,
}

impl Selection {
    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &CachedObject) -> bool {
        self.labels.matches(|key| object.label(key))
            && self
                .fields
                .matches(|field| object.field(field).unwrap_or("").into())
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// First key, relative to the resource's prefix; `None` for the beginning.
    pub start: Option<String>,
    /// Most items; zero for all.
    pub limit: usize,
}

impl Page {
    /// Everything.
    pub fn all() -> Self {
        Page::default()
    }
}

/// A list.
pub type Listing = ListAnswer;

pub(super) fn start_cache(registry: &Registry, resource: &Resource) -> Arc<Cacher> {
    let prefix = registry.prefix(resource);
    // Rows that share the objects name the same fields differently.
    let table = registry.table().load();
    let mut fields = resource.selectable_fields.clone();
    for row in table.by_storage_prefix(&resource.storage_prefix) {
        let more = row.selectable_fields.iter();
        let new = more.filter(|f| !fields.iter().any(|known| known.label == f.label));
        let new: Vec<_> = new.cloned().collect();
        fields.extend(new);
    }
    let codec = JsonCodec::new(&prefix, Shape::new(&fields));
    Cacher::start(
        registry.storage.clone(),
        CacherOptions {
            prefix,
            codec: Arc::new(codec),
            check: registry.check.clone(),
            window_events_max: WINDOW_EVENTS_MAX,
        },
    )
}

/// 500 for an object that cannot be read; the key and cause go to the log.
pub(super) fn corrupt(resource: &Resource, key: &str, error: &dyn std::fmt::Display) -> Status {
    tracing::error!(resource = %resource.group_resource(), key, %error, "a stored object cannot be read");
    Status::internal("the stored object cannot be read")
}

impl Registry {
    /// Reads the target.
    pub async fn get(
        &self,
        target: &Target,
        version: ReadVersion,
    ) -> Result<Arc<CachedObject>, Status> {
        let key = self.key(target);
        let cache = self.cache(&target.resource);
        let answer = cache.get(&key, version.freshness()).await.map_err(|e| {
            storage_status(&e, &target.resource, &target.name, StorageOperation::Get)
        })?;
        answer
            .object
            .ok_or_else(|| Status::not_found(&target.resource.group_resource(), &target.name))
    }

    /// The target as the cache has it.
    pub(super) async fn cached(
        &self,
        target: &Target,
    ) -> Result<Option<Arc<CachedObject>>, Status> {
        let key = self.key(target);
        let cache = self.cache(&target.resource);
        let answer = cache.get(&key, Freshness::Any).await;
        let answer = answer.map_err(|e| {
            storage_status(&e, &target.resource, &target.name, StorageOperation::Get)
        })?;
        Ok(answer.object)
    }

    /// The target's tree as the cache has it.
    pub async fn read_cached_tree(&self, target: &Target) -> Result<Option<Value>, Status> {
        match self.cached(target).await? {
            Some(cached) => Ok(Some(self.cached_tree(&cached, &target.resource)?)),
            None => Ok(None),
        }
    }

    /// The target's tree, linearizably.
    pub async fn read_live(&self, target: &Target) -> Result<Option<Value>, Status> {
        match self.get(target, ReadVersion::Latest).await {
            Ok(cached) => Ok(Some(self.cached_tree(&cached, &target.resource)?)),
            Err(status) if status.code == 404 => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Whether the target exists now.
    pub async fn exists(&self, target: &Target) -> Result<bool, Status> {
        match self.get(target, ReadVersion::Latest).await {
            Ok(_) => Ok(true),
            Err(status) if status.code == 404 => Ok(false),
            Err(status) => Err(status),
        }
    }

    /// Lists the target's collection.
    pub async fn list(
        &self,
        target: &Target,
        version: ReadVersion,
        selection: &Selection,
        page: Page,
    ) -> Result<Listing, Status> {
        self.list_raw(target, version, selection, page)
            .await
            .map_err(|e| list_status(&e, &target.resource))
    }

    /// As [`Registry::list`], with the storage error as it is (continue tokens need it).
    pub async fn list_raw(
        &self,
        target: &Target,
        version: ReadVersion,
        selection: &Selection,
        page: Page,
    ) -> Result<Listing, Error> {
        let filter = |object: &CachedObject| selection.matches(object);
        let everything = selection.is_everything();
        let query = ListQuery {
            namespace: &target.namespace,
            start: page.start.as_deref(),
            limit: page.limit,
            freshness: version.freshness(),
            filter: if everything { None } else { Some(&filter) },
        };
        self.cache(&target.resource).list(query).await
    }

    /// Watches the target's collection, or one object of it.
    pub async fn watch(
        &self,
        target: &Target,
        start: WatchStart,
        selection: Selection,
        options: WatchOptions,
    ) -> Result<Watch, Error> {
        let scope = self.scope(target, &selection);
        let filter: Option<Filter> = if selection.is_everything() {
            None
        } else {
            Some(Arc::new(move |object: &CachedObject| {
                selection.matches(object)
            }))
        };
        let query = WatchQuery {
            scope,
            filter,
            start,
            initial_events_end: options.initial_events_end,
            bookmarks: options.bookmarks,
            deadline: options.deadline,
        };
        self.cache(&target.resource).watch(query).await
    }

    /// The narrowest index that holds everything selected.
    fn scope(&self, target: &Target, selection: &Selection) -> Scope {
        let name = match selection.fields.required("metadata.name") {
            _ if !target.name.is_empty() => Some(target.name.as_str()),
            name => name,
        };
        let one_namespace = !target.resource.namespaced || !target.namespace.is_empty();
        if let (Some(name), true) = (name, one_namespace) {
            return Scope::Key(self.key(&target.with_name(&target.namespace, name)));
        }
        if !target.namespace.is_empty() {
            return Scope::Namespace(target.namespace.clone());
        }
        let fields = target.resource.selectable_fields.iter().enumerate();
        let indexed = fields.into_iter().find_map(|(position, field)| {
            let value = selection.fields.required(&field.label)?;
            (!value.is_empty()).then(|| Scope::Field(position, value.to_string()))
        });
        indexed.unwrap_or(Scope::All)
    }
}

/// How a watch runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct WatchOptions {
    /// A bookmark marks the end of the initial state.
    pub initial_events_end: bool,
    /// Bookmarks in between.
    pub bookmarks: bool,
    /// When it ends.
    pub deadline: Option<tokio::time::Instant>,
}

/// A failed list or watch start as the client sees it.
pub fn list_status(error: &Error, resource: &Resource) -> Status {
    storage_status(error, resource, "", StorageOperation::List)
}
