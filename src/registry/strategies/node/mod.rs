//! Strategies of the node.k8s.io group.

pub mod runtime_class;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    match kind {
        "RuntimeClass" => Some(&runtime_class::RuntimeClassStrategy),
        _ => None,
    }
}
