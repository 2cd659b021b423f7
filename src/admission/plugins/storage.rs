//! Plugins about volumes: default class, protection finalizers, resizing.

use std::sync::Arc;

use async_trait::async_trait;

use crate::admission::plugins::defaults::default_class;
use crate::admission::plugins::{annotation, forbidden, is_of, items, text};
use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::quantity::Quantity;
use crate::api::status::Status;
use crate::base::tree::{Value, json};

/// Claims that do not say a class get the default one.
pub(super) struct DefaultStorageClass(pub(super) Arc<dyn Objects>);

fn storage_classes() -> GroupResource {
    GroupResource::new("storage.k8s.io", "storageclasses")
}

#[async_trait]
impl AdmissionPlugin for DefaultStorageClass {
    fn stage(&self) -> &'static str {
        "admission/DefaultStorageClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    fn mutates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !is_of(admission, "", "persistentvolumeclaims") {
            return Ok(());
        }
        let has_class = admission.object["spec"]["storageClassName"].is_string()
            || annotation(admission.object, "volume.beta.kubernetes.io/storage-class").is_some();
        if has_class {
            return Ok(());
        }
        let all = self.0.list_cached(&storage_classes(), "").await?;
        let marks = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        if let Some(class) = default_class(&all, &marks) {
            admission.object["spec"]["storageClassName"] = json!(class);
        }
        Ok(())
    }
}

/// Volumes and claims in use outlive their deletion.
pub(super) struct StorageObjectInUseProtection;

#[async_trait]
impl AdmissionPlugin for StorageObjectInUseProtection {
    fn stage(&self) -> &'static str {
        "admission/StorageObjectInUseProtection"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    fn mutates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let row = (&*admission.resource.group, &*admission.resource.plural);
        let finalizer = match row {
            ("", "persistentvolumes") => "kubernetes.io/pv-protection",
            ("", "persistentvolumeclaims") => "kubernetes.io/pvc-protection",
            ("storage.k8s.io", "volumeattributesclasses") => "kubernetes.io/vac-protection",
            _ => return Ok(()),
        };
        if !admission.subresource.is_empty()
            || items(admission.object, "/metadata/finalizers").any(|f| f == finalizer)
        {
            return Ok(());
        }
        match admission.object["metadata"]["finalizers"].as_array_mut() {
            Some(list) => list.push(json!(finalizer)),
            None => admission.object["metadata"]["finalizers"] = json!([finalizer]),
        }
        Ok(())
    }
}

/// Claims grow only where their class says they can.
pub(super) struct PersistentVolumeClaimResize(pub(super) Arc<dyn Objects>);

#[async_trait]
impl AdmissionPlugin for PersistentVolumeClaimResize {
    fn stage(&self) -> &'static str {
        "admission/PersistentVolumeClaimResize"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    fn validates(&self) -> bool {
        true
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let Some(old) = admission.old_object else {
            return Ok(());
        };
        if !is_of(admission, "", "persistentvolumeclaims") || !grows(admission.object, old) {
            return Ok(());
        }
        if text(old, "/status/phase") != "Bound" {
            let why = "Only bound persistent volume claims can be expanded";
            return Err(forbidden(admission, why));
        }
        let class = match annotation(admission.object, "volume.beta.kubernetes.io/storage-class") {
            Some(class) => class,
            None => text(admission.object, "/spec/storageClassName"),
        };
        let found = match class {
            "" => None,
            class => self.0.get_cached(&storage_classes(), "", class).await?,
        };
        let resizable = found.is_some_and(|c| c["allowVolumeExpansion"] == true);
        match resizable {
            true => Ok(()),
            false => Err(forbidden(
                admission,
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
            )),
        }
    }
}

fn grows(new: &Value, old: &Value) -> bool {
    let size =
        |claim: &Value| Quantity::parse(text(claim, "/spec/resources/requests/storage")).ok();
    match (size(new), size(old)) {
        (Some(new), Some(old)) => new > old,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::plugins::testing::Write;
    use crate::api::fake_objects::FakeObjects;

    #[tokio::test]
    async fn claims() {
        let objects = FakeObjects::with(&[(
            "storage.k8s.io",
            "storageclasses",
            json!({"metadata": {"name": "sc",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}),
        )]);
        let plugin: Arc<dyn AdmissionPlugin> = Arc::new(DefaultStorageClass(objects));
        let create = Write::create("", "persistentvolumeclaims");
        for (spec, class) in [
            (json!({}), json!("sc")),
            (json!({"storageClassName": ""}), json!("")),
            (json!({"storageClassName": "zz"}), json!("zz")),
        ] {
            let claim = json!({"metadata": {"name": "c"}, "spec": spec});
            let done = create.run(&plugin, claim).await.expect("admitted");
            assert_eq!(done["spec"]["storageClassName"], class);
        }
        let plugin: Arc<dyn AdmissionPlugin> = Arc::new(StorageObjectInUseProtection);
        let claim = json!({"metadata": {"name": "c"}});
        let done = create.run(&plugin, claim).await.expect("admitted");
        assert_eq!(
            done["metadata"]["finalizers"],
            json!(["kubernetes.io/pvc-protection"])
        );
    }

    #[tokio::test]
    async fn growth() {
        let plugin: Arc<dyn AdmissionPlugin> =
            Arc::new(PersistentVolumeClaimResize(FakeObjects::with(&[])));
        let claim = |size: &str, phase: &str| {
            json!({"metadata": {"name": "c"}, "status": {"phase": phase},
                "spec": {"resources": {"requests": {"storage": size}}}})
        };
        for (old, new, good) in [
            (claim("1Gi", "Pending"), claim("1Gi", ""), true),
            (claim("1Gi", "Pending"), claim("2Gi", ""), false),
            (claim("1Gi", "Bound"), claim("2Gi", ""), false),
        ] {
            let update = Write::update("", "persistentvolumeclaims", old);
            assert_eq!(update.run(&plugin, new).await.is_ok(), good);
        }
    }
}
