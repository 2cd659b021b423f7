//! Strategies of the core group's pod-bearing kinds: Pod, PodTemplate, ReplicationController.

pub mod annotations;
pub mod binding;
pub mod pod;
pub mod pod_ephemeral;
pub mod pod_resize;
pub mod pod_status;
pub mod pod_template;
pub mod pod_update;
pub mod replication_controller;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the core group that bears pods.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "Pod" => &pod::PodStrategy,
        "PodTemplate" => &pod_template::PodTemplateStrategy,
        "ReplicationController" => &replication_controller::ReplicationControllerStrategy,
        "Binding" => &binding::BindingStrategy,
        _ => return None,
    })
}
