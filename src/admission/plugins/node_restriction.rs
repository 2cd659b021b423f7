//! NodeRestriction: kubelets write their own node and the pods on it, and nothing of others.
//!
//! Only requests of node users are looked at, so the plugin is on unless it is disabled.

use std::sync::Arc;

use async_trait::async_trait;

use crate::admission::plugins::pod::{is_mirror, projects_token, refers_to_secrets};
use crate::admission::plugins::{forbidden, items, text};
use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::base::tree::Value;

/// The plugin.
pub(super) struct NodeRestriction(pub(super) Arc<dyn Objects>);

#[async_trait]
impl AdmissionPlugin for NodeRestriction {
    fn stage(&self) -> &'static str {
        "admission/NodeRestriction"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Connect
    }

    fn mutates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !admission.user.in_group("system:nodes") {
            return Ok(());
        }
        let user = admission.user.username.clone();
        let Some(node) = user.strip_prefix("system:node:") else {
            return Ok(());
        };
        if node.is_empty() {
            let why = format!("could not determine node from user {user:?}");
            return Err(forbidden(admission, &why));
        }
        let row = (&*admission.resource.group, &*admission.resource.plural);
        let refusal = match row {
            ("", "nodes") => node_refusal(admission, node),
            ("", "pods") => self.pod_refusal(admission, node).await?,
            ("", "persistentvolumeclaims") => match admission.subresource {
                "status" => None,
                _ => Some("may only update PVC status".to_string()),
            },
            ("", "serviceaccounts") if admission.subresource == "token" => {
                self.token_refusal(admission, node).await?
            }
            ("coordination.k8s.io", "leases") => lease_refusal(admission, node),
            ("storage.k8s.io", "csinodes") => (name_of(admission) != node).then(|| {
                "can only access CSINode with the same name as the requesting node".to_string()
            }),
            ("resource.k8s.io", "resourceslices") => slice_refusal(admission, node),
            _ => None,
        };
        match refusal {
            None => Ok(()),
            Some(why) => Err(forbidden(admission, &why)),
        }
    }
}

fn name_of<'a>(admission: &'a Admission<'_>) -> &'a str {
    match admission.name {
        "" => text(admission.object, "/metadata/name"),
        name => name,
    }
}

fn node_refusal(admission: &Admission<'_>, node: &str) -> Option<String> {
    let name = name_of(admission);
    if name != node {
        return Some(format!(
            "node {node:?} is not allowed to modify node {name:?}"
        ));
    }
    let object = &*admission.object;
    let config = |object: &Value| object["spec"]["configSource"].clone();
    match (admission.operation, admission.old_object) {
        (Operation::Create, _) => {
            if !config(object).is_null() {
                return Some(format!(
                    "node {node:?} is not allowed to create pods with a non-nil configSource"
                ));
            }
            let labels = forbidden_labels(changed_labels(object, &Value::Null));
            (!labels.is_empty()).then(|| {
                format!(
                    "is not allowed to set the following labels: {}",
                    labels.join(", ")
                )
            })
        }
        (Operation::Update, Some(old)) => {
            if !config(object).is_null() && config(object) != config(old) {
                return Some(format!(
                    "node {node:?} is not allowed to update configSource to a new non-nil configSource"
                ));
            }
            if !same_list(object, old, "/spec/taints") {
                return Some(format!("node {node:?} is not allowed to modify taints"));
            }
            let labels = forbidden_labels(changed_labels(object, old));
            if !labels.is_empty() {
                return Some(format!(
                    "is not allowed to modify labels: {}",
                    labels.join(", ")
                ));
            }
            (!same_list(object, old, "/metadata/ownerReferences"))
                .then(|| format!("node {node:?} is not allowed to modify ownerReferences"))
        }
        _ => None,
    }
}

fn same_list(a: &Value, b: &Value, pointer: &str) -> bool {
    items(a, pointer).eq(items(b, pointer))
}

/// Keys of labels that two objects do not have in common, sorted.
fn changed_labels(new: &Value, old: &Value) -> Vec<String> {
    let labels = |object: &Value| {
        object["metadata"]["labels"]
            .as_object()
            .cloned()
            .unwrap_or_default()
    };
    let (new, old) = (labels(new), labels(old));
    let mut keys: Vec<String> = new
        .iter()
        .filter(|(key, value)| old.get(key) != Some(value))
        .map(|(key, _)| key)
        .chain(old.keys().filter(|key| !new.contains_key(key)))
        .map(ToString::to_string)
        .collect();
    keys.sort();
    keys
}

/// Labels with a Kubernetes prefix that are not the kubelet's to set.
fn forbidden_labels(keys: Vec<String>) -> Vec<String> {
    const OWN: [&str; 11] = [
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    ];
    let is_in = |domain: &str, parent: &str| {
        domain == parent
            || domain
                .strip_suffix(parent)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    keys.into_iter()
        .filter(|key| {
            let domain = key.split_once('/').map_or("", |(domain, _)| domain);
            if is_in(domain, "node-restriction.kubernetes.io") {
                return true;
            }
            let is_kubernetes = is_in(domain, "kubernetes.io") || is_in(domain, "k8s.io");
            let is_kubelets = OWN.contains(&key.as_str())
                || is_in(domain, "kubelet.kubernetes.io")
                || is_in(domain, "node.kubernetes.io");
            is_kubernetes && !is_kubelets
        })
        .collect()
}

impl NodeRestriction {
    async fn stored(
        &self,
        resource: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Status> {
        let resource = GroupResource::new("", resource);
        match self.0.get_cached(&resource, namespace, name).await? {
            None => self.0.get(&resource, namespace, name).await,
            some => Ok(some),
        }
    }

    async fn pod_refusal(
        &self,
        admission: &Admission<'_>,
        node: &str,
    ) -> Result<Option<String>, Status> {
        let on_node = |pod: &Value| text(pod, "/spec/nodeName") == node;
        let old = admission.old_object;
        Ok(match (admission.subresource, admission.operation) {
            ("", Operation::Create) => self.new_pod_refusal(admission, node).await?,
            ("", Operation::Delete) => {
                let pod = self
                    .stored("pods", admission.namespace, admission.name)
                    .await?;
                let own = old.or(pod.as_deref()).is_none_or(on_node);
                (!own).then(|| {
                    format!("node {node:?} can only delete pods with spec.nodeName set to itself")
                })
            }
            ("", operation) => Some(format!(
                "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
                operation.name()
            )),
            ("status", _) => {
                let old = old.unwrap_or(&Value::Null);
                if !on_node(old) {
                    Some(format!(
                        "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
                    ))
                } else if !changed_labels(admission.object, old).is_empty() {
                    Some(format!(
                        "node {node:?} cannot update labels through pod status"
                    ))
                } else {
                    None
                }
            }
            ("eviction", _) => {
                let pod = self
                    .stored("pods", admission.namespace, name_of(admission))
                    .await?;
                let own = pod.as_deref().is_none_or(on_node);
                (!own).then(|| {
                    format!("node {node} can only evict pods with spec.nodeName set to itself")
                })
            }
            (other, _) => Some(format!(
                "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
            )),
        })
    }

    async fn new_pod_refusal(
        &self,
        admission: &Admission<'_>,
        node: &str,
    ) -> Result<Option<String>, Status> {
        let pod = &*admission.object;
        if !is_mirror(pod) {
            return Ok(Some(format!(
                "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
            )));
        }
        let only = |what: &str| {
            Ok(Some(format!(
                "node {node:?} can only create pods with {what} set to itself"
            )))
        };
        if text(pod, "/spec/nodeName") != node {
            return only("spec.nodeName");
        }
        let owners: Vec<&Value> = items(pod, "/metadata/ownerReferences").collect();
        let owner = match owners.as_slice() {
            [] => return only("an owner reference"),
            [owner] => *owner,
            _ => return only("a single owner reference"),
        };
        let is_self = text(owner, "/apiVersion") == "v1"
            && text(owner, "/kind") == "Node"
            && text(owner, "/name") == node;
        if !is_self {
            return only("an owner reference");
        }
        if owner["controller"] != true {
            return only("a controller owner reference");
        }
        if owner["blockOwnerDeletion"] == true {
            return Ok(Some(format!(
                "node {node:?} must not set blockOwnerDeletion on an owner reference"
            )));
        }
        let stored = self.stored("nodes", "", node).await?;
        let expected = stored.as_deref().map_or("", |n| text(n, "/metadata/uid"));
        let got = text(owner, "/uid");
        if expected != got {
            return Ok(Some(format!(
                "node {node} UID mismatch: expected {expected} got {got}"
            )));
        }
        let volumes = |key: &str| items(pod, "/spec/volumes").any(|v| v[key].is_object());
        let refers = [
            (
                !text(pod, "/spec/serviceAccountName").is_empty(),
                "a service account",
            ),
            (refers_to_secrets(pod), "secrets"),
            (volumes("configMap"), "configmaps"),
            (
                volumes("persistentVolumeClaim") || volumes("ephemeral"),
                "persistentvolumeclaims",
            ),
            (projects_token(pod), "service account tokens"),
            (
                items(pod, "/spec/resourceClaims").next().is_some(),
                "resourceclaims",
            ),
        ];
        let referred = refers.iter().find(|(refers, _)| *refers);
        Ok(referred
            .map(|(_, what)| format!("node {node:?} can not create pods that reference {what}")))
    }

    async fn token_refusal(
        &self,
        admission: &Admission<'_>,
        node: &str,
    ) -> Result<Option<String>, Status> {
        let reference = &admission.object["spec"]["boundObjectRef"];
        if text(reference, "/kind") != "Pod" || text(reference, "/name").is_empty() {
            return Ok(Some("node requested token not bound to a pod".into()));
        }
        let uid = text(reference, "/uid");
        if uid.is_empty() {
            return Ok(Some(
                "node requested token with a pod binding without a uid".into(),
            ));
        }
        let name = text(reference, "/name");
        let pod = self.stored("pods", admission.namespace, name).await?;
        let Some(pod) = pod else {
            return Err(Status::not_found(&GroupResource::new("", "pods"), name));
        };
        if text(&pod, "/metadata/uid") != uid {
            let own = text(&pod, "/metadata/uid");
            return Ok(Some(format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record ({own}). The object might have been deleted and then recreated"
            )));
        }
        Ok((text(&pod, "/spec/nodeName") != node)
            .then(|| "node requested token bound to a pod scheduled on a different node".into()))
    }
}

fn lease_refusal(admission: &Admission<'_>, node: &str) -> Option<String> {
    if admission.namespace != "kube-node-lease" {
        return Some("can only access leases in the \"kube-node-lease\" system namespace".into());
    }
    (name_of(admission) != node)
        .then(|| "can only access node lease with the same name as the requesting node".into())
}

fn slice_refusal(admission: &Admission<'_>, node: &str) -> Option<String> {
    let (object, verb) = match admission.operation {
        Operation::Create => (&*admission.object, "create"),
        Operation::Update => (admission.old_object?, "update"),
        _ => (admission.old_object?, "delete"),
    };
    (text(object, "/spec/nodeName") != node).then(|| {
        format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pods_of_nodes() {
        use crate::admission::plugins::testing::Write;
        use crate::api::fake_objects::FakeObjects;
        use crate::base::tree::json;

        let stored = json!({"metadata": {"name": "n1", "uid": "u1"}});
        let plugin: Arc<dyn AdmissionPlugin> =
            Arc::new(NodeRestriction(FakeObjects::with(&[("", "nodes", stored)])));
        let pod = |owner: Value| {
            json!({"metadata": {"namespace": "nod", "name": "mir", "ownerReferences": owner,
                "annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {"nodeName": "n1"}})
        };
        let owner = |uid: &str| json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": true}]);
        let create = Write::create("", "pods").by_node("n1");
        let cases = [
            (
                json!({"metadata": {"namespace": "nod", "name": "mir"}}),
                "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods",
            ),
            (
                pod(json!([])),
                "node \"n1\" can only create pods with an owner reference set to itself",
            ),
            (
                pod(owner("other")),
                "node n1 UID mismatch: expected u1 got other",
            ),
        ];
        for (pod, why) in cases {
            let refused = create
                .run(&plugin, pod)
                .await
                .expect_err("not a good mirror pod");
            assert_eq!(refused.message, format!("pods \"mir\" is forbidden: {why}"));
        }
        assert!(create.run(&plugin, pod(owner("u1"))).await.is_ok());
        let node = json!({"metadata": {"name": "n2"}});
        let refused = Write::create("", "nodes")
            .by_node("n1")
            .run(&plugin, node)
            .await;
        assert_eq!(
            refused.expect_err("another node").message,
            "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\""
        );
    }

    #[test]
    fn labels() {
        let keys = [
            "plain",
            "example.com/x",
            "kubernetes.io/hostname",
            "node.kubernetes.io/x",
            "foo.kubernetes.io/x",
            "node-role.kubernetes.io/master",
            "node-restriction.kubernetes.io/x",
        ];
        let keys = keys.iter().map(|k| k.to_string()).collect();
        assert_eq!(
            forbidden_labels(keys),
            [
                "foo.kubernetes.io/x",
                "node-role.kubernetes.io/master",
                "node-restriction.kubernetes.io/x",
            ]
        );
    }
}
