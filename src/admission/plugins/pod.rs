//! What plugins ask pods about.

use crate::admission::plugins::{annotation, items, text};
use crate::base::tree::Value;

/// Lists of containers, with the word that messages put before "container".
pub(super) const CONTAINER_LISTS: [(&str, &str); 3] = [
    ("initContainers", "init "),
    ("containers", ""),
    ("ephemeralContainers", "ephemeral "),
];

/// Whether a pod mirrors a static pod of a kubelet.
pub(super) fn is_mirror(pod: &Value) -> bool {
    annotation(pod, "kubernetes.io/config.mirror").is_some()
}

/// Every container with its list's word.
pub(super) fn containers(pod: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    CONTAINER_LISTS.into_iter().flat_map(move |(list, word)| {
        let found = pod["spec"][list].as_array();
        found.into_iter().flatten().map(move |c| (word, c))
    })
}

/// Whether a pod refers to any Secret.
pub(super) fn refers_to_secrets(pod: &Value) -> bool {
    let of_containers = containers(pod).any(|(_, container)| {
        items(container, "/envFrom").any(|e| e.get("secretRef").is_some_and(Value::is_object))
            || items(container, "/env").any(|e| {
                e.pointer("/valueFrom/secretKeyRef")
                    .is_some_and(Value::is_object)
            })
    });
    let of_pull = items(pod, "/spec/imagePullSecrets").any(|s| !text(s, "/name").is_empty());
    of_containers || of_pull || items(pod, "/spec/volumes").any(volume_has_secret)
}

fn volume_has_secret(volume: &Value) -> bool {
    const POINTERS: [&str; 11] = [
        "/secret",
        "/azureFile",
        "/cephfs/secretRef",
        "/cinder/secretRef",
        "/csi/nodePublishSecretRef",
        "/flexVolume/secretRef",
        "/iscsi/secretRef",
        "/rbd/secretRef",
        "/scaleIO/secretRef",
        "/storageos/secretRef",
        "/projected/secret",
    ];
    POINTERS
        .iter()
        .any(|pointer| volume.pointer(pointer).is_some_and(Value::is_object))
        || projections(volume).any(|source| source.get("secret").is_some_and(Value::is_object))
}

/// Whether a pod projects a service account token.
pub(super) fn projects_token(pod: &Value) -> bool {
    items(pod, "/spec/volumes").any(|volume| {
        projections(volume).any(|s| s.get("serviceAccountToken").is_some_and(Value::is_object))
    })
}

fn projections(volume: &Value) -> impl Iterator<Item = &Value> {
    items(volume, "/projected/sources")
}
