//! Strategies of the scheduling.k8s.io group.

pub mod priority_class;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    match kind {
        "PriorityClass" => Some(&priority_class::PriorityClassStrategy),
        _ => None,
    }
}
