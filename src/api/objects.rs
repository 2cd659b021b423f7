//! `Objects`: how lower levels read and write API objects without knowing the registry.
//!
//! Admission plugins, authorizers and authenticators need namespaces, service accounts and roles;
//! the registry, which is above them, implements this trait over the watch cache and the stores.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::api::names::GroupResource;
use crate::api::status::Status;
use crate::base::tree::Value;

/// A change of one object, as an informer sees it.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object as it is now (also once for every object that exists when the informer starts).
    Upsert(Arc<Value>),
    /// The object as it last was.
    Delete(Arc<Value>),
    /// Everything that existed at the start has been delivered.
    Synced,
    /// The informer lost its place; what follows is a full set again, ended by `Synced`. Drop what
    /// you know.
    Reset,
}

/// Access to API objects as the server itself, past authentication and authorization.
///
/// Objects are in the storage version of their resource and carry kind, apiVersion and
/// resourceVersion. Namespace is empty for cluster-scoped resources.
#[async_trait]
pub trait Objects: Send + Sync {
    /// One object from the watch cache, without waiting for freshness.
    async fn get_cached(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Status>;

    /// One object, linearizably.
    async fn get(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Status>;

    /// All objects of a namespace (empty: all namespaces) from the watch cache.
    async fn list_cached(
        &self,
        resource: &GroupResource,
        namespace: &str,
    ) -> Result<Vec<Arc<Value>>, Status>;

    /// Creates an object through defaults and validation, without admission.
    async fn create(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status>;

    /// As [`Objects::create`], in the name of a field manager.
    async fn create_as(
        &self,
        _manager: &'static str,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        self.create(resource, namespace, object).await
    }

    /// Applies (server-side) the `status` of an object that exists, in the name of a field manager.
    async fn apply_status(
        &self,
        _manager: &'static str,
        resource: &GroupResource,
        namespace: &str,
        config: Value,
    ) -> Result<Arc<Value>, Status> {
        let name = config["metadata"]["name"].as_str().unwrap_or("");
        let stored = self.get(resource, namespace, name).await?;
        let mut object = (*stored.ok_or_else(|| Status::not_found(resource, name))?).clone();
        object["status"] = config["status"].clone();
        self.update_status(resource, namespace, object).await
    }

    /// Updates an object through defaults and validation, without admission. Its resourceVersion,
    /// where set, must match.
    async fn update(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status>;

    /// Updates an object's `status` subresource.
    async fn update_status(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status>;

    /// Deletes an object in the background manner.
    async fn delete(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status>;

    /// Follows all objects of a resource.
    fn informer(&self, resource: &GroupResource) -> mpsc::Receiver<Change>;

    /// Follows at least the objects that a field selector selects: others may be spared, because a
    /// tree is made of what is delivered.
    fn informer_where(
        &self,
        resource: &GroupResource,
        _fields: &'static str,
    ) -> mpsc::Receiver<Change> {
        self.informer(resource)
    }
}
