//! Conversion between versions of one kind.
//!
//! Most kinds look the same in every version, so only `apiVersion` changes. Kinds that differ have
//! a function pair in [`CONVERSIONS`].

use crate::api::names::GroupVersion;
use crate::api::resource::Resource;
use crate::base::tree::{Value, json};
use crate::registry::strategies::{autoscaling, events, resource as devices};

/// A conversion of one kind from some group versions to others, in place.
struct Conversion {
    kind: &'static str,
    from: &'static [&'static str],
    to: &'static [&'static str],
    convert: fn(&mut Value),
}

/// Versions of dynamic resource allocation before its requests and devices changed their form.
const OLD_DEVICES: &[&str] = &["resource.k8s.io/v1beta1"];
/// Those after.
const NEW_DEVICES: &[&str] = &["resource.k8s.io/v1beta2", "resource.k8s.io/v1"];

/// Kinds whose versions differ in more than their name.
const CONVERSIONS: &[Conversion] = &[
    Conversion {
        kind: "HorizontalPodAutoscaler",
        from: &["autoscaling/v1"],
        to: &["autoscaling/v2"],
        convert: autoscaling::convert::to_v2,
    },
    Conversion {
        kind: "HorizontalPodAutoscaler",
        from: &["autoscaling/v2"],
        to: &["autoscaling/v1"],
        convert: autoscaling::convert::to_v1,
    },
    Conversion {
        kind: "Event",
        from: &["events.k8s.io/v1"],
        to: &["v1"],
        convert: events::convert::to_core,
    },
    Conversion {
        kind: "Event",
        from: &["v1"],
        to: &["events.k8s.io/v1"],
        convert: events::convert::to_events,
    },
    Conversion {
        kind: "ResourceClaim",
        from: OLD_DEVICES,
        to: NEW_DEVICES,
        convert: devices::convert::claim_from_v1beta1,
    },
    Conversion {
        kind: "ResourceClaim",
        from: NEW_DEVICES,
        to: OLD_DEVICES,
        convert: devices::convert::claim_to_v1beta1,
    },
    Conversion {
        kind: "ResourceClaimTemplate",
        from: OLD_DEVICES,
        to: NEW_DEVICES,
        convert: devices::convert::template_from_v1beta1,
    },
    Conversion {
        kind: "ResourceClaimTemplate",
        from: NEW_DEVICES,
        to: OLD_DEVICES,
        convert: devices::convert::template_to_v1beta1,
    },
    Conversion {
        kind: "ResourceSlice",
        from: OLD_DEVICES,
        to: NEW_DEVICES,
        convert: devices::convert::slice_from_v1beta1,
    },
    Conversion {
        kind: "ResourceSlice",
        from: NEW_DEVICES,
        to: OLD_DEVICES,
        convert: devices::convert::slice_to_v1beta1,
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
    let conversion = CONVERSIONS.iter().find(|c| {
        c.kind == resource.kind && c.from.contains(&from.as_str()) && c.to.contains(&to.as_str())
    });
    if let Some(conversion) = conversion {
        (conversion.convert)(object);
    }
    object["apiVersion"] = json!(to);
}
