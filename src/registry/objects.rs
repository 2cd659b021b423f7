//! `Objects` over the registry: how the levels below read and write.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, Method, Uri};
use tokio::sync::mpsc;

use crate::api::names::GroupResource;
use crate::api::objects::{Change, Objects};
use crate::api::options::{DeleteOptions, WriteOptions};
use crate::api::resource::Resource;
use crate::api::schema;
use crate::api::selector::FieldSelector;
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::registry::{
    Page, ReadVersion, Registry, Selection, Target, Transform, Update, WatchOptions, meta,
};
use crate::request::{RequestContext, UserInfo};
use crate::storage::cacher::{Cacher, Freshness, WatchEvent, WatchStart};

/// Changes that may wait for an informer's reader.
const INFORMER_QUEUE: usize = 1024;
/// How long to wait before an informer starts again.
const INFORMER_BACKOFF: std::time::Duration = std::time::Duration::from_millis(200);

/// The registry as [`Objects`]. Rows are used in their storage version.
#[derive(Clone)]
pub struct RegistryObjects(pub Arc<Registry>);

impl RegistryObjects {
    fn row(&self, resource: &GroupResource) -> Result<Arc<Resource>, Status> {
        let table = self.0.table().load();
        let row = table.stored(&resource.group, &resource.resource);
        row.cloned().ok_or_else(Status::no_such_resource)
    }

    fn target(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Target, Status> {
        Ok(Target::new(self.row(resource)?, namespace, name))
    }

    fn context() -> RequestContext {
        let mut ctx =
            RequestContext::new(Method::GET, Uri::from_static("/"), HeaderMap::new(), None);
        ctx.user = Some(Arc::new(UserInfo::apiserver()));
        ctx
    }

    async fn write(
        &self,
        mut target: Target,
        mut object: Value,
        subresource: &str,
    ) -> Result<Arc<Value>, Status> {
        prepare(&mut object, &target);
        target.subresource = subresource.to_string();
        let options = WriteOptions::default();
        let update = Update {
            transform: Box::new(move |_| {
                Ok(Transform {
                    object: object.clone(),
                    warnings: Vec::new(),
                })
            }),
            precondition_uid: None,
            creates: false,
            options: &options,
        };
        let written = self
            .0
            .update_unadmitted(&mut Self::context(), &target, update)
            .await?;
        Ok(Arc::new(written.object))
    }
}

impl RegistryObjects {
    async fn add(
        &self,
        target: &Target,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Value>, Status> {
        let written = self
            .0
            .create_unadmitted(&mut Self::context(), target, object, options)
            .await?;
        Ok(Arc::new(written.object))
    }
}

/// Brings an object the server made itself into the form decoding would give it.
fn prepare(object: &mut Value, target: &Target) {
    object["kind"] = Value::String(target.resource.kind.to_string());
    object["apiVersion"] = Value::String(target.resource.group_version().to_string());
    if let Some(schema) = schema::builtin(&target.resource.group_version_kind()) {
        schema::normalise(object, schema);
    }
    target.default(object);
}

#[async_trait]
impl Objects for RegistryObjects {
    async fn get_cached(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Status> {
        let target = self.target(resource, namespace, name)?;
        let cached = self.0.cached(&target).await?;
        let row = &target.resource;
        let tree = cached.map(|cached| self.0.shared_tree(&cached, row));
        tree.transpose()
    }

    async fn get(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Status> {
        let target = self.target(resource, namespace, name)?;
        match self.0.get(&target, ReadVersion::Latest).await {
            Ok(live) => self.0.shared_tree(&live, &target.resource).map(Some),
            Err(status) if status.code == 404 => Ok(None),
            Err(status) => Err(status),
        }
    }

    async fn list_cached(
        &self,
        resource: &GroupResource,
        namespace: &str,
    ) -> Result<Vec<Arc<Value>>, Status> {
        let target = self.target(resource, namespace, "")?;
        let listing = self
            .0
            .list(
                &target,
                ReadVersion::Any,
                &Selection::default(),
                Page::all(),
            )
            .await?;
        listing
            .items
            .iter()
            .map(|cached| self.0.shared_tree(cached, &target.resource))
            .collect()
    }

    async fn create(
        &self,
        resource: &GroupResource,
        namespace: &str,
        mut object: Value,
    ) -> Result<Arc<Value>, Status> {
        let target = self.target(resource, namespace, meta::name(&object))?;
        prepare(&mut object, &target);
        let options = WriteOptions::default();
        self.add(&target, object, &options).await
    }

    async fn create_as(
        &self,
        manager: &'static str,
        resource: &GroupResource,
        namespace: &str,
        mut object: Value,
    ) -> Result<Arc<Value>, Status> {
        let target = self.target(resource, namespace, meta::name(&object))?;
        prepare(&mut object, &target);
        let options = WriteOptions {
            field_manager: manager.to_string(),
            has_field_manager: true,
            ..WriteOptions::default()
        };
        self.add(&target, object, &options).await
    }

    async fn apply_status(
        &self,
        manager: &'static str,
        resource: &GroupResource,
        namespace: &str,
        mut config: Value,
    ) -> Result<Arc<Value>, Status> {
        let mut target = self.target(resource, namespace, meta::name(&config))?;
        target.subresource = "status".into();
        config["kind"] = Value::String(target.resource.kind.to_string());
        config["apiVersion"] = Value::String(target.resource.group_version().to_string());
        // What apply owns it records itself.
        let options = WriteOptions {
            untracked: true,
            ..WriteOptions::default()
        };
        let (registry, of) = (&self.0, &target);
        let update = Update {
            transform: Box::new(move |old| {
                let mut object = registry.apply_config(of, manager, old, &config, true)?;
                prepare(&mut object, of);
                Ok(Transform {
                    object,
                    warnings: Vec::new(),
                })
            }),
            precondition_uid: None,
            creates: false,
            options: &options,
        };
        let written = self
            .0
            .update_unadmitted(&mut Self::context(), &target, update)
            .await?;
        Ok(Arc::new(written.object))
    }

    async fn update(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        let target = self.target(resource, namespace, meta::name(&object))?;
        self.write(target, object, "").await
    }

    async fn update_status(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        let target = self.target(resource, namespace, meta::name(&object))?;
        self.write(target, object, "status").await
    }

    async fn delete(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        let target = self.target(resource, namespace, name)?;
        let options = DeleteOptions::from_query("propagationPolicy=Background")?;
        self.0
            .delete_unadmitted(&mut Self::context(), &target, &options)
            .await?;
        Ok(())
    }

    fn informer(&self, resource: &GroupResource) -> mpsc::Receiver<Change> {
        self.informer_where(resource, "")
    }

    fn informer_where(
        &self,
        resource: &GroupResource,
        fields: &'static str,
    ) -> mpsc::Receiver<Change> {
        let (sender, receiver) = mpsc::channel(INFORMER_QUEUE);
        let objects = self.clone();
        let resource = resource.clone();
        let selection = Selection {
            fields: FieldSelector::parse(fields).unwrap_or_default(),
            ..Selection::default()
        };
        tokio::spawn(async move { objects.inform(resource, selection, sender).await });
        receiver
    }
}

impl RegistryObjects {
    /// Lists and watches until the receiver is gone.
    async fn inform(
        &self,
        resource: GroupResource,
        selection: Selection,
        sender: mpsc::Sender<Change>,
    ) {
        let Ok(target) = self.target(&resource, "", "") else {
            return;
        };
        let cache: Arc<Cacher> = self.0.cache(&target.resource);
        let mut first = true;
        while !sender.is_closed() {
            if !std::mem::take(&mut first) && sender.send(Change::Reset).await.is_err() {
                return;
            }
            let informed = self.inform_once(&target, &cache, selection.clone(), &sender);
            if informed.await.is_none() {
                return;
            }
            tokio::time::sleep(INFORMER_BACKOFF).await;
        }
    }

    /// One list and watch. `None` when the receiver is gone.
    async fn inform_once(
        &self,
        target: &Target,
        cache: &Cacher,
        selection: Selection,
        sender: &mpsc::Sender<Change>,
    ) -> Option<()> {
        cache.wait_ready(std::time::Duration::from_secs(30)).await;
        let options = WatchOptions {
            initial_events_end: true,
            ..WatchOptions::default()
        };
        let start = WatchStart::State(Freshness::Any);
        let started = self.0.watch(target, start, selection, options).await;
        let mut watch = match started {
            Ok(watch) => watch,
            Err(error) => {
                tracing::warn!(resource = %target.resource.group_resource(), %error, "an informer could not start; trying again");
                return Some(());
            }
        };
        while let Some(event) = watch.recv().await {
            let change = match event {
                WatchEvent::Added(frame) | WatchEvent::Modified(frame) => {
                    let tree = self.0.cached_tree(frame.object(), &target.resource).ok();
                    tree.map(|tree| Change::Upsert(Arc::new(tree)))
                }
                WatchEvent::Deleted(frame) => {
                    let tree = self.0.cached_tree(frame.object(), &target.resource).ok();
                    tree.map(|tree| Change::Delete(Arc::new(tree)))
                }
                WatchEvent::Bookmark {
                    initial_events_end, ..
                } => initial_events_end.then_some(Change::Synced),
                WatchEvent::Failed(_) => return Some(()),
            };
            if let Some(change) = change {
                sender.send(change).await.ok()?;
            }
        }
        Some(())
    }
}
