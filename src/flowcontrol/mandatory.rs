//! The mandatory objects whose specs are fixed (contract/flow_control.md §2).
//!
//! In force here even before their objects are read; the registry's strategies refuse others under
//! their names.

use std::sync::LazyLock;

use crate::base::tree::{Value, json};

/// Names of the mandatory schemas and levels.
pub const NAMES: [&str; 2] = ["exempt", "catch-all"];

static EXEMPT_SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": [{
            "subjects": [{"kind": "Group", "group": {"name": "system:masters"}}],
            "resourceRules": [{
                "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
                "clusterScope": true, "namespaces": ["*"],
            }],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }],
    })
});

static CATCH_ALL_SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": 10000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{
            "subjects": [
                {"kind": "Group", "group": {"name": "system:unauthenticated"}},
                {"kind": "Group", "group": {"name": "system:authenticated"}},
            ],
            "resourceRules": [{
                "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
                "clusterScope": true, "namespaces": ["*"],
            }],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }],
    })
});

static CATCH_ALL_LEVEL: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 5,
            "lendablePercent": 0,
            "limitResponse": {"type": "Reject"},
        },
    })
});

static EXEMPT_LEVEL: LazyLock<Value> = LazyLock::new(
    || json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}),
);

/// The fixed spec of the FlowSchema `name`.
pub fn schema(name: &str) -> Option<&'static Value> {
    match name {
        "exempt" => Some(&EXEMPT_SCHEMA),
        "catch-all" => Some(&CATCH_ALL_SCHEMA),
        _ => None,
    }
}

/// What the PriorityLevelConfiguration `name` is where its object says nothing else.
pub fn level(name: &str) -> Option<&'static Value> {
    match name {
        "exempt" => Some(&EXEMPT_LEVEL),
        "catch-all" => Some(&CATCH_ALL_LEVEL),
        _ => None,
    }
}
