//! Lease.

use super::super::common::access::{at, ensure_object, get, i64_at, remove};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Members of a gate that is off: dropped unless the stored object has them.
const GATED: [&str; 2] = ["strategy", "preferredHolder"];

/// Rules of Lease.
pub struct LeaseStrategy;

impl Strategy for LeaseStrategy {
    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        let spec = ensure_object(object, "spec");
        for member in GATED {
            remove(spec, member);
        }
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, _ctx: &WriteContext<'_>) {
        let old = get(old, "spec");
        let spec = ensure_object(object, "spec");
        for member in GATED {
            if at(old, member).is_none() {
                remove(spec, member);
            }
        }
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let spec = get(object, "spec");
        let path = Path::ROOT.field("spec");
        if let Some(n) = i64_at(spec, "leaseDurationSeconds")
            && n <= 0
        {
            let path = path.field("leaseDurationSeconds");
            errors.invalid(&path, &n.into(), "must be greater than 0");
        }
        if let Some(n) = i64_at(spec, "leaseTransitions")
            && n < 0
        {
            let path = path.field("leaseTransitions");
            errors.invalid(&path, &n.into(), "must be greater than or equal to 0");
        }
        if let Some(strategy) = at(spec, "strategy")
            && strategy != "OldestEmulationVersion"
        {
            let strategy_path = path.field("strategy");
            // Upstream names the member twice.
            let path = strategy_path.field("strategy");
            errors.not_supported(&path, strategy, &["OldestEmulationVersion"]);
        }
        if at(spec, "preferredHolder").is_some() && at(spec, "strategy").is_none() {
            errors.forbidden(
                &path.field("preferredHolder"),
                "may only be specified if `strategy` is defined",
            );
        }
    }
}
