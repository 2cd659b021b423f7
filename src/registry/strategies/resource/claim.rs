//! ResourceClaim and ResourceClaimTemplate.

use super::super::common::access::{arr_at, at, at_mut, ensure_object, get, str_at};
use super::super::common::checks;
use super::super::common::golang::{self, Field, Ty};
use super::super::storage::volume_attachment::keep_metadata;
use super::{claim_status, request};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

const SELECTORS: &[Field] = &[(
    "CEL",
    "cel",
    Ty::Ptr(&[("Expression", "expression", Ty::Str)]),
)];

const TOLERATIONS: &[Field] = &[
    ("Key", "key", Ty::Str),
    ("Operator", "operator", Ty::Str),
    ("Value", "value", Ty::Str),
    ("Effect", "effect", Ty::Str),
    ("TolerationSeconds", "tolerationSeconds", Ty::Nil),
];

const CAPACITY: &[Field] = &[("Requests", "requests", Ty::Nil)];

const EXACTLY: &[Field] = &[
    ("DeviceClassName", "deviceClassName", Ty::Str),
    ("Selectors", "selectors", Ty::List(SELECTORS)),
    ("AllocationMode", "allocationMode", Ty::Str),
    ("Count", "count", Ty::Int),
    ("AdminAccess", "adminAccess", Ty::Nil),
    ("Tolerations", "tolerations", Ty::List(TOLERATIONS)),
    ("Capacity", "capacity", Ty::Ptr(CAPACITY)),
];

const ALTERNATIVE: &[Field] = &[
    ("Name", "name", Ty::Str),
    ("DeviceClassName", "deviceClassName", Ty::Str),
    ("Selectors", "selectors", Ty::List(SELECTORS)),
    ("AllocationMode", "allocationMode", Ty::Str),
    ("Count", "count", Ty::Int),
    ("Tolerations", "tolerations", Ty::List(TOLERATIONS)),
    ("Capacity", "capacity", Ty::Ptr(CAPACITY)),
];

const SPEC: &[Field] = &[(
    "Devices",
    "devices",
    Ty::Struct(&[
        (
            "Requests",
            "requests",
            Ty::List(&[
                ("Name", "name", Ty::Str),
                ("Exactly", "exactly", Ty::Ptr(EXACTLY)),
                ("FirstAvailable", "firstAvailable", Ty::List(ALTERNATIVE)),
            ]),
        ),
        (
            "Constraints",
            "constraints",
            Ty::List(&[
                ("Requests", "requests", Ty::Nil),
                ("MatchAttribute", "matchAttribute", Ty::Nil),
                ("DistinctAttribute", "distinctAttribute", Ty::Nil),
            ]),
        ),
        (
            "Config",
            "config",
            Ty::List(&[
                ("Requests", "requests", Ty::Nil),
                (
                    "Opaque",
                    "opaque",
                    Ty::Ptr(&[
                        ("Driver", "driver", Ty::Str),
                        ("Parameters", "parameters", Ty::Nil),
                    ]),
                ),
            ]),
        ),
    ]),
)];

const TEMPLATE: &[Field] = &[
    ("", "metadata", Ty::Meta),
    ("Spec", "spec", Ty::Struct(SPEC)),
];

/// Rules of ResourceClaim.
pub struct ClaimStrategy;

impl Strategy for ClaimStrategy {
    fn default(&self, object: &mut Value) {
        request::default(ensure_object(object, "spec"));
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource == "status" {
            keep_metadata(object, old);
            drop_deallocated(object, old);
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if let (Some(old), "status") = (old, ctx.subresource) {
            return claim_status::validate(object, old, errors);
        }
        let path = Path::ROOT.field("spec");
        let Some(old) = old else {
            return request::validate(get(object, "spec"), &path, errors);
        };
        checks::immutable_as(
            at(object, "spec"),
            at(old, "spec"),
            &path,
            |spec| golang::compact_zero(spec, SPEC),
            errors,
        );
        if super::super::common::access::semantic_equal(at(object, "spec"), at(old, "spec")) {
            request::validate(get(object, "spec"), &path, errors);
        }
    }
}

/// Devices whose allocation went away lose their status with it.
fn drop_deallocated(object: &mut Value, old: &Value) {
    let had = at(get(old, "status"), "allocation").is_some();
    if !had {
        return;
    }
    let results = claim_status::results(get(object, "status")).to_vec();
    let allocated = |device: &Value| {
        results.iter().any(|result| {
            ["driver", "pool", "device"]
                .iter()
                .all(|key| str_at(result, key) == str_at(device, key))
        })
    };
    let Some(status) = at_mut(object, "status") else {
        return;
    };
    if arr_at(status, "devices").is_empty() {
        return;
    }
    let kept: Vec<Value> = arr_at(status, "devices")
        .iter()
        .filter(|device| allocated(device))
        .cloned()
        .collect();
    if kept.is_empty() {
        super::super::common::access::remove(status, "devices");
    } else {
        status["devices"] = json!(kept);
    }
}

/// Rules of ResourceClaimTemplate.
pub struct TemplateStrategy;

impl Strategy for TemplateStrategy {
    fn default(&self, object: &mut Value) {
        let template = ensure_object(object, "spec");
        request::default(ensure_object(template, "spec"));
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let path = Path::ROOT.field("spec");
        let template = get(object, "spec");
        match old {
            None => request::validate(get(template, "spec"), &path.field("spec"), errors),
            Some(old) => checks::immutable_as(
                at(object, "spec"),
                at(old, "spec"),
                &path,
                |spec| golang::compact_zero(spec, TEMPLATE),
                errors,
            ),
        }
    }
}
