//! Conversion of Event between core/v1 and events.k8s.io/v1: the same members under other names.

use super::super::common::access::{at, int_at, object_mut, remove, str_at};
use crate::base::tree::{Value, json};

/// Names in core/v1 and in events.k8s.io/v1.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// From events.k8s.io/v1 to core/v1.
pub fn to_core(object: &mut Value) {
    for (core, events) in NAMES {
        rename(object, events, core);
    }
    // What core/v1 writes even when empty.
    for (key, empty) in [
        ("involvedObject", json!({})),
        ("source", json!({})),
        ("firstTimestamp", Value::Null),
        ("lastTimestamp", Value::Null),
        ("eventTime", Value::Null),
        ("reportingComponent", json!("")),
        ("reportingInstance", json!("")),
    ] {
        object_mut(object).entry(key.into()).or_insert(empty);
    }
    drop_zero_count(object, "count");
}

/// From core/v1 to events.k8s.io/v1.
pub fn to_events(object: &mut Value) {
    for (core, events) in NAMES {
        rename(object, core, events);
    }
    for key in ["reportingController", "reportingInstance", "note"] {
        if str_at(object, key).is_empty() {
            remove(object, key);
        }
    }
    for (key, empty) in [
        ("regarding", json!({})),
        ("deprecatedSource", json!({})),
        ("deprecatedFirstTimestamp", Value::Null),
        ("deprecatedLastTimestamp", Value::Null),
        ("eventTime", Value::Null),
    ] {
        object_mut(object).entry(key.into()).or_insert(empty);
    }
    drop_zero_count(object, "deprecatedCount");
}

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(value) = remove(object, from) {
        object_mut(object).insert(to.into(), value);
    }
}

fn drop_zero_count(object: &mut Value, key: &str) {
    if at(object, key).is_some() && int_at(object, key) == 0 {
        remove(object, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let core = json!({
            "involvedObject": {"kind": "Pod"}, "message": "m", "source": {}, "count": 2,
            "firstTimestamp": null, "lastTimestamp": null, "eventTime": null,
            "reportingComponent": "", "reportingInstance": "", "reason": "R",
        });
        let mut event = core.clone();
        to_events(&mut event);
        assert_eq!(event["note"], "m");
        assert_eq!(event.get("reportingController"), None);
        to_core(&mut event);
        assert_eq!(event, core);
    }
}
