//! Strategies of the core group.

pub mod annotations;
pub mod binding;
pub mod data;
pub mod endpoints;
pub mod event;
pub mod limit_range;
pub mod namespace;
pub mod node;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
pub mod pod_ephemeral;
pub mod pod_resize;
pub mod pod_status;
pub mod pod_template;
pub mod pod_update;
pub mod pv_source;
pub mod replication_controller;
pub mod resource_quota;
pub mod service;
pub mod tls;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the core group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "Pod" => &pod::PodStrategy,
        "PodTemplate" => &pod_template::PodTemplateStrategy,
        "ReplicationController" => &replication_controller::ReplicationControllerStrategy,
        "Binding" => &binding::BindingStrategy,
        "ConfigMap" => &data::ConfigMapStrategy,
        "Secret" => &data::SecretStrategy,
        "ServiceAccount" => &data::ServiceAccountStrategy,
        "Endpoints" => &endpoints::EndpointsStrategy,
        "Event" => &event::EventStrategy,
        "LimitRange" => &limit_range::LimitRangeStrategy,
        "Namespace" => &namespace::NamespaceStrategy,
        "Node" => &node::NodeStrategy,
        "PersistentVolume" => &persistent_volume::PersistentVolumeStrategy,
        "PersistentVolumeClaim" => &persistent_volume_claim::PersistentVolumeClaimStrategy,
        "Service" => &service::ServiceStrategy,
        "ResourceQuota" => &resource_quota::ResourceQuotaStrategy,
        _ => return None,
    })
}
