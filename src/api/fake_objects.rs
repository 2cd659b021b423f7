//! `FakeObjects`: objects in memory, for the tests of everything that reads through
//! [`Objects`](crate::api::objects::Objects).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::api::names::GroupResource;
use crate::api::objects::{Change, Objects};
use crate::api::status::Status;
use crate::base::tree::{Value, json};

type Key = (GroupResource, String, String);

/// Objects in memory. Informers see what exists when they start, and nothing after.
#[derive(Default)]
pub(crate) struct FakeObjects {
    objects: Mutex<BTreeMap<Key, Arc<Value>>>,
    informers: Mutex<Vec<mpsc::Sender<Change>>>,
}

impl FakeObjects {
    /// With these objects: resource, group and the object.
    pub(crate) fn with(objects: &[(&'static str, &'static str, Value)]) -> Arc<Self> {
        let fake = FakeObjects::default();
        for (group, resource, object) in objects {
            fake.put(GroupResource::new(*group, *resource), object.clone());
        }
        Arc::new(fake)
    }

    /// Stores an object as it is, with a UID if it has none.
    pub(crate) fn put(&self, resource: GroupResource, mut object: Value) -> Arc<Value> {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or("").to_string();
        let key = (resource, text("namespace"), text("name"));
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", key.2));
        }
        let object = Arc::new(object);
        self.objects.lock().insert(key, Arc::clone(&object));
        object
    }

    /// Names of a resource's objects, `namespace/name`.
    pub(crate) fn names(&self, group: &'static str, resource: &'static str) -> Vec<String> {
        let wanted = GroupResource::new(group, resource);
        let objects = self.objects.lock();
        let keys = objects.keys().filter(|(r, ..)| *r == wanted);
        keys.map(|(_, namespace, name)| format!("{namespace}/{name}"))
            .collect()
    }
}

#[async_trait]
impl Objects for FakeObjects {
    async fn get_cached(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Status> {
        let key = (resource.clone(), namespace.to_string(), name.to_string());
        Ok(self.objects.lock().get(&key).cloned())
    }

    async fn get(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Status> {
        self.get_cached(resource, namespace, name).await
    }

    async fn list_cached(
        &self,
        resource: &GroupResource,
        namespace: &str,
    ) -> Result<Vec<Arc<Value>>, Status> {
        let objects = self.objects.lock();
        let wanted = objects
            .iter()
            .filter(|((r, ns, _), _)| r == resource && (namespace.is_empty() || ns == namespace));
        Ok(wanted.map(|(_, object)| Arc::clone(object)).collect())
    }

    async fn create(
        &self,
        resource: &GroupResource,
        namespace: &str,
        mut object: Value,
    ) -> Result<Arc<Value>, Status> {
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or("")
            .to_string();
        if self.get_cached(resource, namespace, &name).await?.is_some() {
            return Err(Status::already_exists(resource, &name));
        }
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        Ok(self.put(resource.clone(), object))
    }

    async fn update(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or("")
            .to_string();
        match self.get_cached(resource, namespace, &name).await? {
            None => Err(Status::not_found(resource, &name)),
            Some(_) => Ok(self.put(resource.clone(), object)),
        }
    }

    async fn update_status(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        self.update(resource, namespace, object).await
    }

    async fn delete(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        let key = (resource.clone(), namespace.to_string(), name.to_string());
        match self.objects.lock().remove(&key) {
            None => Err(Status::not_found(resource, name)),
            Some(_) => Ok(()),
        }
    }

    fn informer(&self, resource: &GroupResource) -> mpsc::Receiver<Change> {
        let objects = self.objects.lock();
        let wanted = objects.iter().filter(|((r, ..), _)| r == resource);
        let all: Vec<Arc<Value>> = wanted.map(|(_, object)| Arc::clone(object)).collect();
        let (sender, receiver) = mpsc::channel(all.len() + 1);
        for object in all {
            let _ = sender.try_send(Change::Upsert(object));
        }
        let _ = sender.try_send(Change::Synced);
        self.informers.lock().push(sender);
        receiver
    }
}
