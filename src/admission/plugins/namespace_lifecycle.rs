//! NamespaceLifecycle: nothing is written to namespaces that do not exist or are going away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dashmap::DashMap;

use crate::admission::plugins::{forbidden, is_of, text};
use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::base::tree::Value;

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];
/// How long the cache is given to show a new namespace.
const CACHE_PATIENCE: Duration = Duration::from_millis(50);
/// How long after its deletion a namespace is looked up live.
const FORCE_LIVE: Duration = Duration::from_secs(30);

/// The plugin.
pub(super) struct NamespaceLifecycle {
    objects: Arc<dyn Objects>,
    deleted: DashMap<String, Instant>,
}

impl NamespaceLifecycle {
    pub(super) fn new(objects: Arc<dyn Objects>) -> Self {
        NamespaceLifecycle {
            objects,
            deleted: DashMap::new(),
        }
    }

    fn note_deletion(&self, name: &str) {
        let now = Instant::now();
        self.deleted.retain(|_, at| now - *at < FORCE_LIVE);
        self.deleted.insert(name.to_string(), now);
    }

    fn was_deleted_lately(&self, name: &str) -> bool {
        !self.deleted.is_empty()
            && self
                .deleted
                .get(name)
                .is_some_and(|at| at.elapsed() < FORCE_LIVE)
    }

    async fn find(&self, name: &str, is_create: bool) -> Result<Arc<Value>, Status> {
        let resource = GroupResource::new("", "namespaces");
        if !self.was_deleted_lately(name) {
            if let Some(found) = self.objects.get_cached(&resource, "", name).await? {
                return Ok(found);
            }
            if is_create {
                tokio::time::sleep(CACHE_PATIENCE).await;
                if let Some(found) = self.objects.get_cached(&resource, "", name).await? {
                    return Ok(found);
                }
            }
        }
        let found = self.objects.get(&resource, "", name).await?;
        found.ok_or_else(|| Status::not_found(&resource, name))
    }
}

#[async_trait]
impl AdmissionPlugin for NamespaceLifecycle {
    fn stage(&self) -> &'static str {
        "admission/NamespaceLifecycle"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Connect
    }

    fn mutates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let is_delete = admission.operation == Operation::Delete;
        let is_namespace =
            admission.resource.group.is_empty() && admission.resource.plural == "namespaces";
        if is_namespace {
            if is_delete && is_of(admission, "", "namespaces") {
                if IMMORTAL.contains(&admission.name) {
                    return Err(forbidden(admission, "this namespace may not be deleted"));
                }
                self.note_deletion(admission.name);
            }
            return Ok(());
        }
        let is_review = admission.resource.plural == "localsubjectaccessreviews";
        if is_delete || admission.namespace.is_empty() || is_review {
            return Ok(());
        }
        let is_create = admission.operation == Operation::Create;
        let namespace = self.find(admission.namespace, is_create).await?;
        if !is_create || text(&namespace, "/status/phase") != "Terminating" {
            return Ok(());
        }
        let name = admission.namespace;
        let why = format!(
            "unable to create new content in namespace {name} because it is being terminated"
        );
        let message = format!("namespace {name} is being terminated");
        Err(forbidden(admission, &why).cause("NamespaceTerminating", message, "metadata.namespace"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::plugins::testing::Write;
    use crate::api::fake_objects::FakeObjects;
    use crate::base::tree::json;

    #[tokio::test]
    async fn namespaces() {
        let plugin: Arc<dyn AdmissionPlugin> =
            Arc::new(NamespaceLifecycle::new(FakeObjects::with(&[
                (
                    "",
                    "namespaces",
                    json!({"metadata": {"name": "live"}, "status": {"phase": "Active"}}),
                ),
                (
                    "",
                    "namespaces",
                    json!({"metadata": {"name": "dying"}, "status": {"phase": "Terminating"}}),
                ),
            ])));
        let object = |namespace: &str| json!({"metadata": {"namespace": namespace, "name": "x"}});
        let create = Write::create("", "configmaps");
        let update = Write::update("", "configmaps", object("dying"));
        assert!(create.run(&plugin, object("live")).await.is_ok());
        assert!(update.run(&plugin, object("dying")).await.is_ok());
        let refused = create
            .run(&plugin, object("dying"))
            .await
            .expect_err("it is dying");
        assert_eq!(
            refused.message,
            "configmaps \"x\" is forbidden: unable to create new content in namespace dying because it is being terminated"
        );
        assert_eq!(
            refused.to_json()["details"]["causes"][0]["reason"],
            "NamespaceTerminating"
        );
        let refused = create
            .run(&plugin, object("none"))
            .await
            .expect_err("it does not exist");
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (404, "namespaces \"none\" not found")
        );
        let delete = Write {
            operation: Operation::Delete,
            ..Write::update("", "namespaces", json!({"metadata": {"name": "default"}}))
        };
        let refused = delete
            .run(&plugin, Value::Null)
            .await
            .expect_err("it is immortal");
        assert_eq!(
            refused.message,
            "namespaces \"default\" is forbidden: this namespace may not be deleted"
        );
    }
}
