//! Deprecated group versions and the Warning text that every request to one gets.

use crate::api::resource::Resource;

struct Deprecated {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    text: &'static str,
}

const DEPRECATED: &[Deprecated] = &[
    Deprecated {
        group: "",
        version: "v1",
        kind: "ComponentStatus",
        text: "v1 ComponentStatus is deprecated in v1.19+",
    },
    Deprecated {
        group: "",
        version: "v1",
        kind: "Endpoints",
        text: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    },
];

/// The warning for requests to this row, if its version is deprecated.
pub fn warning(resource: &Resource) -> Option<&'static str> {
    DEPRECATED
        .iter()
        .find(|d| {
            d.kind == resource.kind && d.group == resource.group && d.version == resource.version
        })
        .map(|d| d.text)
}
