//! The mandatory objects whose specs are fixed (contract/flow_control.md §2).

use std::sync::LazyLock;

use serde_json::{Value, json};

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

/// The fixed spec of the FlowSchema `name`.
pub fn schema(name: &str) -> Option<&'static Value> {
    match name {
        "exempt" => Some(&EXEMPT_SCHEMA),
        "catch-all" => Some(&CATCH_ALL_SCHEMA),
        _ => None,
    }
}

/// The fixed spec of the PriorityLevelConfiguration `catch-all`.
pub fn catch_all_level() -> &'static Value {
    &CATCH_ALL_LEVEL
}
