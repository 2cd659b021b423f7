//! What each node needs: pods and everything they refer to, kept by informers.

use std::collections::HashMap;

use crate::base::tree::Value;

/// Kinds of objects that pods lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// The pod itself.
    Pod,
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
    /// A PersistentVolumeClaim.
    Claim,
    /// A service account.
    ServiceAccount,
    /// A ResourceClaim.
    ResourceClaim,
    /// A PersistentVolume, by a claim bound to it.
    Volume,
    /// A VolumeAttachment of the node.
    Attachment,
}

/// Kind, namespace and name.
pub(super) type Vertex = (Kind, String, String);

/// Namespace and name.
type Key = (String, String);

/// The graph from nodes to objects.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pods: HashMap<Key, (String, Vec<Vertex>)>,
    /// By node, how many of its pods lead to an object.
    nodes: HashMap<String, HashMap<Vertex, usize>>,
    /// Volumes by the claims bound to them.
    volume_of: HashMap<Key, String>,
    /// Secrets that volumes name.
    secrets_of: HashMap<String, Vec<Key>>,
    /// Nodes of volume attachments.
    node_of: HashMap<String, String>,
}

impl Graph {
    /// Whether something leads from `node` to the object.
    pub(super) fn leads_to(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        if kind == Kind::Attachment {
            return self.node_of.get(name).is_some_and(|own| own == node);
        }
        let Some(objects) = self.nodes.get(node) else {
            return false;
        };
        if objects.contains_key(&(kind, namespace.to_string(), name.to_string())) {
            return true;
        }
        let mut volumes = objects
            .keys()
            .filter(|(kind, ..)| *kind == Kind::Claim)
            .filter_map(|(_, ns, claim)| self.volume_of.get(&(ns.clone(), claim.clone())));
        match kind {
            Kind::Volume => volumes.any(|volume| volume == name),
            Kind::Secret => volumes
                .filter_map(|volume| self.secrets_of.get(volume))
                .flatten()
                .any(|(ns, secret)| ns == namespace && secret == name),
            _ => false,
        }
    }

    /// Takes a pod in as it is now.
    pub(super) fn put_pod(&mut self, pod: &Value) {
        let key = key_of(pod);
        self.remove_pod(&key);
        let node = text(pod, "/spec/nodeName");
        if node.is_empty() {
            return;
        }
        let vertices = vertices_of(pod, &key);
        let counts = self.nodes.entry(node.to_string()).or_default();
        for vertex in &vertices {
            *counts.entry(vertex.clone()).or_default() += 1;
        }
        self.pods.insert(key, (node.to_string(), vertices));
    }

    /// Forgets a pod.
    pub(super) fn remove_pod(&mut self, key: &Key) {
        let Some((node, vertices)) = self.pods.remove(key) else {
            return;
        };
        let Some(counts) = self.nodes.get_mut(&node) else {
            return;
        };
        for vertex in vertices {
            if let Some(count) = counts.get_mut(&vertex) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&vertex);
                }
            }
        }
        if counts.is_empty() {
            self.nodes.remove(&node);
        }
    }

    /// Takes a volume in: its claim and the secrets it names.
    pub(super) fn put_volume(&mut self, volume: &Value) {
        let name = text(volume, "/metadata/name").to_string();
        self.remove_volume(&name);
        let claim = (
            text(volume, "/spec/claimRef/namespace").to_string(),
            text(volume, "/spec/claimRef/name").to_string(),
        );
        if claim.1.is_empty() {
            return;
        }
        let secrets = volume_secrets(volume, &claim.0);
        self.volume_of.insert(claim, name.clone());
        self.secrets_of.insert(name, secrets);
    }

    /// Forgets a volume.
    pub(super) fn remove_volume(&mut self, name: &str) {
        if self.secrets_of.remove(name).is_some() {
            self.volume_of.retain(|_, volume| volume != name);
        }
    }

    /// Takes a volume attachment in.
    pub(super) fn put_attachment(&mut self, attachment: &Value) {
        let name = text(attachment, "/metadata/name").to_string();
        self.node_of
            .insert(name, text(attachment, "/spec/nodeName").to_string());
    }

    /// Forgets a volume attachment.
    pub(super) fn remove_attachment(&mut self, name: &str) {
        self.node_of.remove(name);
    }

    /// Forgets everything of one feed, when its informer starts again.
    pub(super) fn clear(&mut self, resource: &str) {
        match resource {
            "pods" => {
                self.pods.clear();
                self.nodes.clear();
            }
            "persistentvolumes" => {
                self.volume_of.clear();
                self.secrets_of.clear();
            }
            _ => self.node_of.clear(),
        }
    }
}

/// Namespace and name of an object.
pub(super) fn key_of(object: &Value) -> Key {
    (
        text(object, "/metadata/namespace").to_string(),
        text(object, "/metadata/name").to_string(),
    )
}

fn vertices_of(pod: &Value, key: &Key) -> Vec<Vertex> {
    let (namespace, name) = key;
    let mut found: Vec<(Kind, String)> = vec![(Kind::Pod, name.clone())];
    let is_mirror = pod
        .pointer("/metadata/annotations")
        .is_some_and(|a| a.get("kubernetes.io/config.mirror").is_some());
    // A kubelet makes its own mirror pods, so what they name must not open anything to it.
    if !is_mirror {
        found.push((
            Kind::ServiceAccount,
            text(pod, "/spec/serviceAccountName").into(),
        ));
        for secret in items(pod, "/spec/imagePullSecrets") {
            found.push((Kind::Secret, text(secret, "/name").into()));
        }
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for container in items(pod, &format!("/spec/{list}")) {
                of_container(container, &mut found);
            }
        }
        for volume in items(pod, "/spec/volumes") {
            of_volume(volume, name, &mut found);
        }
        for claim in items(pod, "/spec/resourceClaims") {
            found.push((
                Kind::ResourceClaim,
                text(claim, "/resourceClaimName").into(),
            ));
        }
        for claim in items(pod, "/status/resourceClaimStatuses") {
            found.push((
                Kind::ResourceClaim,
                text(claim, "/resourceClaimName").into(),
            ));
        }
    }
    found.retain(|(_, name)| !name.is_empty());
    found
        .into_iter()
        .map(|(kind, name)| (kind, namespace.clone(), name))
        .collect()
}

fn of_container(container: &Value, found: &mut Vec<(Kind, String)>) {
    for env in items(container, "/env") {
        found.push((
            Kind::Secret,
            text(env, "/valueFrom/secretKeyRef/name").into(),
        ));
        found.push((
            Kind::ConfigMap,
            text(env, "/valueFrom/configMapKeyRef/name").into(),
        ));
    }
    for source in items(container, "/envFrom") {
        found.push((Kind::Secret, text(source, "/secretRef/name").into()));
        found.push((Kind::ConfigMap, text(source, "/configMapRef/name").into()));
    }
}

fn of_volume(volume: &Value, pod: &str, found: &mut Vec<(Kind, String)>) {
    const SECRETS: [&str; 9] = [
        "/secret/secretName",
        "/azureFile/secretName",
        "/cephfs/secretRef/name",
        "/csi/nodePublishSecretRef/name",
        "/flexVolume/secretRef/name",
        "/iscsi/secretRef/name",
        "/rbd/secretRef/name",
        "/scaleIO/secretRef/name",
        "/storageos/secretRef/name",
    ];
    for pointer in SECRETS {
        found.push((Kind::Secret, text(volume, pointer).into()));
    }
    found.push((Kind::ConfigMap, text(volume, "/configMap/name").into()));
    found.push((
        Kind::Claim,
        text(volume, "/persistentVolumeClaim/claimName").into(),
    ));
    if volume.get("ephemeral").is_some_and(Value::is_object) {
        found.push((Kind::Claim, format!("{pod}-{}", text(volume, "/name"))));
    }
    for source in items(volume, "/projected/sources") {
        found.push((Kind::Secret, text(source, "/secret/name").into()));
        found.push((Kind::ConfigMap, text(source, "/configMap/name").into()));
    }
}

fn volume_secrets(volume: &Value, claim_namespace: &str) -> Vec<Key> {
    const REFERENCES: [&str; 9] = [
        "/spec/csi/nodePublishSecretRef",
        "/spec/csi/nodeStageSecretRef",
        "/spec/csi/nodeExpandSecretRef",
        "/spec/csi/controllerPublishSecretRef",
        "/spec/cephfs/secretRef",
        "/spec/flexVolume/secretRef",
        "/spec/iscsi/secretRef",
        "/spec/rbd/secretRef",
        "/spec/scaleIO/secretRef",
    ];
    let mut secrets: Vec<Key> = REFERENCES
        .iter()
        .filter_map(|pointer| volume.pointer(pointer))
        .map(|reference| {
            let namespace = match text(reference, "/namespace") {
                "" => claim_namespace,
                own => own,
            };
            (namespace.to_string(), text(reference, "/name").to_string())
        })
        .collect();
    let azure = text(volume, "/spec/azureFile/secretName");
    if !azure.is_empty() {
        let namespace = match text(volume, "/spec/azureFile/secretNamespace") {
            "" => claim_namespace,
            own => own,
        };
        secrets.push((namespace.to_string(), azure.to_string()));
    }
    secrets
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.into_iter().flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}
