//! PodDisruptionBudget.

use super::super::common::access::{at, object_mut};
use super::super::common::checks;
use super::super::common::conditions::validate_conditions;
use super::super::common::golang::{self, Field, Ty};
use super::super::common::names::NameRule;
use super::super::common::selector::validate_label_selector;
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const SPEC: &[Field] = &[
    ("MinAvailable", "minAvailable", Ty::Nil),
    ("Selector", "selector", Ty::Selector),
    ("MaxUnavailable", "maxUnavailable", Ty::Nil),
    (
        "UnhealthyPodEvictionPolicy",
        "unhealthyPodEvictionPolicy",
        Ty::Nil,
    ),
];

/// The counters of the status, which are always written, in validation order.
const COUNTERS: [&str; 4] = [
    "disruptionsAllowed",
    "currentHealthy",
    "desiredHealthy",
    "expectedPods",
];

/// Rules of PodDisruptionBudget.
pub struct PodDisruptionBudgetStrategy;

impl Strategy for PodDisruptionBudgetStrategy {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        let status = COUNTERS
            .iter()
            .map(|field| ((*field).to_string(), 0.into()));
        object_mut(object).insert("status".into(), Value::Object(status.collect()));
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let null = Value::Null;
        if ctx.subresource == "status" {
            let status = at(object, "status").unwrap_or(&null);
            let path = Path::ROOT.field("status");
            validate_conditions(status, &path.field("conditions"), errors);
            for field in COUNTERS {
                checks::non_negative(status, &path, field, errors);
            }
            return;
        }
        let spec = at(object, "spec").unwrap_or(&null);
        validate_spec(spec, &Path::ROOT.field("spec"), errors);
    }
}

fn validate_spec(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let (min, max) = (at(spec, "minAvailable"), at(spec, "maxUnavailable"));
    if min.is_some() && max.is_some() {
        errors.push(
            ErrorType::Invalid,
            path,
            golang::compact_zero(Some(spec), SPEC),
            "minAvailable and maxUnavailable cannot be both set",
        );
    }
    for (field, value) in [("minAvailable", min), ("maxUnavailable", max)] {
        checks::int_or_percent(value, &path.field(field), errors);
        checks::at_most_100_percent(value, &path.field(field), errors);
    }
    validate_label_selector(at(spec, "selector"), &path.field("selector"), errors);
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    checks::optional_enum(spec, path, "unhealthyPodEvictionPolicy", &policies, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn specs() {
        let cases = [
            (json!({"minAvailable": 1}), ""),
            (
                json!({"minAvailable": 1, "maxUnavailable": 1}),
                "spec: Invalid value: {\"MinAvailable\":1,\"Selector\":null,\"MaxUnavailable\":1,\"UnhealthyPodEvictionPolicy\":null}: minAvailable and maxUnavailable cannot be both set",
            ),
            (
                json!({"minAvailable": "150%"}),
                "spec.minAvailable: Invalid value: \"150%\": must not be greater than 100%",
            ),
        ];
        for (spec, want) in cases {
            let mut errors = FieldErrors::default();
            validate_spec(&spec, &Path::ROOT.field("spec"), &mut errors);
            let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            assert_eq!(texts.join("\n"), want, "{spec}");
        }
    }
}
