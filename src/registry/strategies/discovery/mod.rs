//! Strategies of discovery.k8s.io.

pub mod endpoint_slice;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of discovery.k8s.io.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    match kind {
        "EndpointSlice" => Some(&endpoint_slice::EndpointSliceStrategy),
        _ => None,
    }
}
