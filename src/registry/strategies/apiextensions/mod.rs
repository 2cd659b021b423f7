//! Strategies of the apiextensions.k8s.io group (contract/crd.md §1-2). Field paths are those of upstream's
//! internal form: what all versions have alike stands at `spec`, not at `spec.versions[i]`.

pub mod crd;
pub mod extensions;
pub mod names;
pub mod schema;
pub mod structural;
pub mod versions;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    match kind {
        "CustomResourceDefinition" => Some(&crd::CrdStrategy),
        _ => None,
    }
}
