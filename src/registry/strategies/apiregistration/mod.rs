//! Strategies of the apiregistration.k8s.io group.

pub mod api_service;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    match kind {
        "APIService" => Some(&api_service::ApiServiceStrategy),
        _ => None,
    }
}
