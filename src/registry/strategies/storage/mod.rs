//! Strategies of the storage.k8s.io group.

pub mod attributes_class;
pub mod capacity;
pub mod csi_driver;
pub mod csi_node;
pub mod names;
pub mod storage_class;
pub mod volume_attachment;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "CSIDriver" => &csi_driver::CsiDriverStrategy,
        "CSINode" => &csi_node::CsiNodeStrategy,
        "CSIStorageCapacity" => &capacity::CapacityStrategy,
        "StorageClass" => &storage_class::StorageClassStrategy,
        "VolumeAttachment" => &volume_attachment::VolumeAttachmentStrategy,
        "VolumeAttributesClass" => &attributes_class::AttributesClassStrategy,
        _ => return None,
    })
}
