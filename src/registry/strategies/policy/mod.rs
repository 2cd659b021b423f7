//! Strategies of policy.

pub mod pod_disruption_budget;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of policy.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    match kind {
        "PodDisruptionBudget" => Some(&pod_disruption_budget::PodDisruptionBudgetStrategy),
        _ => None,
    }
}
