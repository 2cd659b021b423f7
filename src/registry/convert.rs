//! Conversion between versions of one kind.
//!
//! Most kinds look the same in every version, so only `apiVersion` changes. Kinds that differ have
//! a function pair in [`CONVERSIONS`].

use serde_json::{Value, json};

use crate::api::names::GroupVersion;
use crate::api::resource::Resource;
use crate::registry::strategies::{autoscaling, events};

/// A conversion of one kind from one group version to another, in place.
struct Conversion {
    kind: &'static str,
    from: &'static str,
    to: &'static str,
    convert: fn(&mut Value),
}

/// Kinds whose versions differ in more than their name.
const CONVERSIONS: &[Conversion] = &[
    Conversion {
        kind: "HorizontalPodAutoscaler",
        from: "autoscaling/v1",
        to: "autoscaling/v2",
        convert: autoscaling::convert::to_v2,
    },
    Conversion {
        kind: "HorizontalPodAutoscaler",
        from: "autoscaling/v2",
        to: "autoscaling/v1",
        convert: autoscaling::convert::to_v1,
    },
    Conversion {
        kind: "Event",
        from: "events.k8s.io/v1",
        to: "v1",
        convert: events::convert::to_core,
    },
    Conversion {
        kind: "Event",
        from: "v1",
        to: "events.k8s.io/v1",
        convert: events::convert::to_events,
    },
];

/// Converts `object` to `to`, which is a version of the same row family.
pub fn convert(object: &mut Value, resource: &Resource, to: &GroupVersion) {
    let to = to.to_string();
    let from = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_string();
    if from == to {
        return;
    }
    let conversion = CONVERSIONS
        .iter()
        .find(|c| c.kind == resource.kind && c.from == from && c.to == to);
    if let Some(conversion) = conversion {
        (conversion.convert)(object);
    }
    object["apiVersion"] = json!(to);
}
