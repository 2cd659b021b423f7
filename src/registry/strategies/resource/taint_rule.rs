//! DeviceTaintRule: a taint on all devices that a selector selects.

use super::super::common::access::{at, at_mut, default_nil, get, opt_str_at};
use super::{device, names};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of DeviceTaintRule.
pub struct TaintRuleStrategy;

impl Strategy for TaintRuleStrategy {
    fn default(&self, object: &mut Value) {
        let taint = at_mut(object, "spec").and_then(|spec| at_mut(spec, "taint"));
        if let Some(taint) = taint {
            default_nil(taint, "timeAdded", crate::api::time::now());
        }
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            return;
        }
        let spec = get(object, "spec");
        let path = Path::ROOT.field("spec");
        if let Some(selector) = at(spec, "deviceSelector") {
            validate_selector(selector, &path.field("deviceSelector"), errors);
        }
        device::validate_taint(get(spec, "taint"), &path.field("taint"), errors);
    }
}

fn validate_selector(selector: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if let Some(driver) = opt_str_at(selector, "driver") {
        names::driver(driver, &path.field("driver"), errors);
    }
    if let Some(pool) = opt_str_at(selector, "pool") {
        names::pool(pool, &path.field("pool"), errors);
    }
    if let Some(device) = opt_str_at(selector, "device") {
        names::label(device, &path.field("device"), errors);
    }
}

#[cfg(test)]
mod tests {
    use crate::base::tree::json;

    use super::*;

    #[test]
    fn rules() {
        let mut good = json!({"spec": {"deviceSelector": {"driver": "d.test", "pool": "p", "device": "dev-1"},
            "taint": {"key": "a/b", "value": "c", "effect": "NoSchedule"}}});
        TaintRuleStrategy.default(&mut good);
        assert!(good["spec"]["taint"]["timeAdded"].is_string());
        let bad = json!({"spec": {"deviceSelector": {"driver": "", "device": "A_"},
            "taint": {"key": "!", "effect": "Odd"}}});
        for (object, want) in [
            (good, vec![]),
            (
                bad,
                vec![
                    "spec.deviceSelector.driver",
                    "spec.deviceSelector.device",
                    "spec.taint.key",
                    "spec.taint.effect",
                ],
            ),
        ] {
            let mut errors = FieldErrors::default();
            let ctx = WriteContext::default();
            TaintRuleStrategy.validate(&object, None, &ctx, &mut errors);
            let causes = errors.causes();
            let fields: Vec<&str> = causes.iter().map(|c| c.field.as_str()).collect();
            assert_eq!(fields, want);
        }
    }
}
