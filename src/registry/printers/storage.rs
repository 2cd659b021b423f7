//! Rows of volumes, claims and storage classes (contract/printers.md §4, §7).

use chrono::{DateTime, Utc};

use super::Row;
use super::fields::{
    NONE, UNSET, age, at, boolean, deleting, items, len, name, or, scalar, text, text_cell,
    text_or, texts,
};
use super::networking::with_default;
use crate::base::tree::Value;

/// Where old clients wrote the class.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// The row of a PersistentVolume.
pub(super) fn persistent_volume(object: &Value, now: DateTime<Utc>) -> Row {
    let claim = &object["spec"]["claimRef"];
    let claim = if claim.is_null() {
        String::new()
    } else {
        format!("{}/{}", text(claim, &["namespace"]), text(claim, &["name"]))
    };
    let capacity = match at(object, &["spec", "capacity", "storage"]) {
        Value::Null => "0".to_string(),
        quantity => scalar(quantity),
    };
    vec![
        name(object),
        capacity.into(),
        access_modes(at(object, &["spec", "accessModes"])),
        text_cell(object, &["spec", "persistentVolumeReclaimPolicy"]),
        status(object),
        claim.into(),
        storage_class_name(object),
        text_or(object, &["spec", "volumeAttributesClassName"], UNSET),
        text_cell(object, &["status", "reason"]),
        age(object, now),
        text_or(object, &["spec", "volumeMode"], UNSET),
    ]
    .into()
}

/// The row of a PersistentVolumeClaim. Before it is bound it has neither capacity nor modes.
pub(super) fn persistent_volume_claim(object: &Value, now: DateTime<Utc>) -> Row {
    let volume = text(object, &["spec", "volumeName"]);
    let (capacity, modes) = if volume.is_empty() {
        (String::new(), Value::from(""))
    } else {
        let capacity = match at(object, &["status", "capacity", "storage"]) {
            Value::Null => "0".to_string(),
            quantity => scalar(quantity),
        };
        (
            capacity,
            access_modes(at(object, &["status", "accessModes"])),
        )
    };
    vec![
        name(object),
        status(object),
        volume.into(),
        capacity.into(),
        modes,
        storage_class_name(object),
        text_or(object, &["spec", "volumeAttributesClassName"], UNSET),
        age(object, now),
        text_or(object, &["spec", "volumeMode"], UNSET),
    ]
    .into()
}

fn status(object: &Value) -> Value {
    if deleting(object) {
        return "Terminating".into();
    }
    text_cell(object, &["status", "phase"])
}

fn storage_class_name(object: &Value) -> Value {
    match at(object, &["metadata", "annotations", CLASS_ANNOTATION]).as_str() {
        Some(class) => class.into(),
        None => text_cell(object, &["spec", "storageClassName"]),
    }
}

/// Short names, in a fixed order, without duplicates.
fn access_modes(modes: &Value) -> Value {
    let has = |mode: &str| {
        modes
            .as_array()
            .is_some_and(|modes| modes.iter().any(|m| m == mode))
    };
    let shown: Vec<&str> = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ]
    .into_iter()
    .filter(|(mode, _)| has(mode))
    .map(|(_, short)| short)
    .collect();
    shown.join(",").into()
}

/// The row of a StorageClass.
pub(super) fn storage_class(object: &Value, now: DateTime<Utc>) -> Row {
    let is_default = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ]
    .iter()
    .any(|key| text(object, &["metadata", "annotations", key]) == "true");
    vec![
        with_default(object, is_default),
        text_cell(object, &["provisioner"]),
        text_or(object, &["reclaimPolicy"], "Delete"),
        text_or(object, &["volumeBindingMode"], "Immediate"),
        boolean(object, &["allowVolumeExpansion"], false),
        age(object, now),
    ]
    .into()
}

/// The row of a VolumeAttributesClass.
pub(super) fn volume_attributes_class(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        text_cell(object, &["driverName"]),
        age(object, now),
    ]
    .into()
}

/// The row of a VolumeAttachment.
pub(super) fn volume_attachment(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        text_cell(object, &["spec", "attacher"]),
        text_cell(object, &["spec", "source", "persistentVolumeName"]),
        text_cell(object, &["spec", "nodeName"]),
        boolean(object, &["status", "attached"], false),
        age(object, now),
    ]
    .into()
}

/// The row of a CSIDriver.
pub(super) fn csi_driver(object: &Value, now: DateTime<Utc>) -> Row {
    let spec = &object["spec"];
    let tokens = if spec["tokenRequests"].is_null() {
        UNSET.to_string()
    } else {
        let audiences: Vec<&str> = items(spec, &["tokenRequests"])
            .iter()
            .map(|t| text(t, &["audience"]))
            .collect();
        audiences.join(",")
    };
    vec![
        name(object),
        boolean(spec, &["attachRequired"], true),
        boolean(spec, &["podInfoOnMount"], false),
        boolean(spec, &["storageCapacity"], false),
        tokens.into(),
        boolean(spec, &["requiresRepublish"], false),
        or(&texts(spec, &["volumeLifecycleModes"]).join(","), NONE),
        age(object, now),
    ]
    .into()
}

/// The row of a CSINode.
pub(super) fn csi_node(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        len(object, &["spec", "drivers"]).into(),
        age(object, now),
    ]
    .into()
}
