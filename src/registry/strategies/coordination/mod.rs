//! Strategies of the coordination.k8s.io group.

pub mod lease;
pub mod lease_candidate;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "Lease" => &lease::LeaseStrategy,
        "LeaseCandidate" => &lease_candidate::LeaseCandidateStrategy,
        _ => return None,
    })
}
