//! Strategies of the apps group.

pub mod controller_revision;
pub mod daemon_set;
pub mod deployment;
pub mod replica_set;
pub mod stateful_set;
pub mod workload;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the apps group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "ControllerRevision" => &controller_revision::ControllerRevisionStrategy,
        "DaemonSet" => &daemon_set::DaemonSetStrategy,
        "Deployment" => &deployment::DeploymentStrategy,
        "ReplicaSet" => &replica_set::ReplicaSetStrategy,
        "StatefulSet" => &stateful_set::StatefulSetStrategy,
        _ => return None,
    })
}
