//! Strategies of the autoscaling group. Scale is not stored; `registry::scale` checks it.
//!
//! # Decisions
//! - Rules are those of autoscaling/v2, the storage version. Objects of autoscaling/v1 are converted, checked
//!   and converted back, so what v1 keeps in annotations comes out normalised as upstream's does.

pub mod annotations;
pub mod behavior;
pub mod convert;
pub mod hpa;
pub mod metrics;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the group.
pub fn strategy_for(version: &str, kind: &str) -> Option<&'static dyn Strategy> {
    match (version, kind) {
        ("v1", "HorizontalPodAutoscaler") => Some(&hpa::HpaV1Strategy),
        (_, "HorizontalPodAutoscaler") => Some(&hpa::HpaStrategy),
        _ => None,
    }
}
