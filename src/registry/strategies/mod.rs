//! The strategies: defaults, validation and warnings of the built-in kinds, a folder per API group.
//!
//! The registry looks a strategy up by the row's group and kind ([`strategy_for`]). Metadata,
//! generateName, managedFields and the split between status and spec are not here but in the registry.
//!
//! # Decisions
//! - Strategies read trees, not Rust structs: one representation on the whole write path, and a rule is a
//!   few lines over a value and a stack path. Rejected: typed structs per kind, which would decode and
//!   encode every object twice more.

pub mod apps;
pub mod batch;
pub mod common;
pub mod core;
pub mod pod_spec;

use super::strategy::{Plain, Strategy};
use common::names::NameRule;

/// Kinds whose names need only fit into a URL (RBAC's, APIService).
struct PathSegmentNames;

impl Strategy for PathSegmentNames {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }
}

/// The strategy of a kind; kinds without rules get [`Plain`].
pub fn strategy_for(group: &str, _version: &str, kind: &str) -> &'static dyn Strategy {
    let found = match group {
        "" => core::strategy_for(kind),
        "apps" => apps::strategy_for(kind),
        "batch" => batch::strategy_for(kind),
        "rbac.authorization.k8s.io" | "apiregistration.k8s.io" => {
            Some(&PathSegmentNames as &dyn Strategy)
        }
        _ => None,
    };
    found.unwrap_or(&Plain)
}
