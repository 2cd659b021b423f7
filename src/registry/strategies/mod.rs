//! The strategies: defaults, validation and warnings of the built-in kinds, a folder per API group.
//!
//! The registry looks a strategy up by the row's group and kind ([`strategy_for`]). Metadata,
//! generateName, managedFields and the split between status and spec are not here but in the registry.
//!
//! # Decisions
//! - Strategies read trees, not Rust structs: one representation on the whole write path, and a rule is a
//!   few lines over a value and a stack path. Rejected: typed structs per kind, which would decode and
//!   encode every object twice more.

pub mod admissionregistration;
pub mod apiextensions;
pub mod apiregistration;
pub mod apps;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub mod common;
pub mod coordination;
pub mod core;
pub mod discovery;
pub mod events;
pub mod flowcontrol;
pub mod internal;
pub mod networking;
pub mod node;
pub mod pod_spec;
pub mod policy;
pub mod rbac;
pub mod resource;
pub mod scheduling;
pub mod storage;
pub mod storagemigration;

use super::strategy::{Plain, Strategy};

/// The strategy of a kind; kinds without rules get [`Plain`].
pub fn strategy_for(group: &str, version: &str, kind: &str) -> &'static dyn Strategy {
    let found = match group {
        "" if kind == "Event" => {
            Some(&events::event::EventStrategy { core: true } as &dyn Strategy)
        }
        "" => core::strategy_for(kind),
        "apps" => apps::strategy_for(kind),
        "batch" => batch::strategy_for(kind),
        "admissionregistration.k8s.io" => admissionregistration::strategy_for(kind),
        "apiextensions.k8s.io" => apiextensions::strategy_for(kind),
        "apiregistration.k8s.io" => apiregistration::strategy_for(kind),
        "autoscaling" => autoscaling::strategy_for(version, kind),
        "certificates.k8s.io" => certificates::strategy_for(kind),
        "coordination.k8s.io" => coordination::strategy_for(kind),
        "events.k8s.io" => events::strategy_for(kind),
        "flowcontrol.apiserver.k8s.io" => flowcontrol::strategy_for(kind),
        "node.k8s.io" => node::strategy_for(kind),
        "rbac.authorization.k8s.io" => rbac::strategy_for(kind),
        "resource.k8s.io" => resource::strategy_for(version, kind),
        "scheduling.k8s.io" => scheduling::strategy_for(kind),
        "storage.k8s.io" => storage::strategy_for(kind),
        "discovery.k8s.io" => discovery::strategy_for(kind),
        "internal.apiserver.k8s.io" => internal::strategy_for(kind),
        "storagemigration.k8s.io" => storagemigration::strategy_for(kind),
        "networking.k8s.io" => networking::strategy_for(kind),
        "policy" => policy::strategy_for(kind),
        _ => None,
    };
    found.unwrap_or(&Plain)
}
