//! DaemonSet. Its template generation, internal upstream, is an annotation on the wire.

use super::super::common::access::{
    at, default_nil, default_zero, ensure_object, path_at, semantic_equal, str_at,
};
use super::super::common::checks;
use super::super::common::golang;
use super::super::common::gotypes::DAEMON_SET_STRATEGY;
use super::super::common::selector;
use super::super::core::annotations::annotation;
use super::super::core::replication_controller::validate_read_only_disks;
use super::super::pod_spec::{defaults, template};
use super::deployment::set_annotation;
use super::workload;
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Rules of DaemonSet.
pub struct DaemonSetStrategy;

impl Strategy for DaemonSetStrategy {
    fn pod_spec_path(&self) -> Option<&'static [&'static str]> {
        Some(&["spec", "template", "spec"])
    }

    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        defaults::default_template(ensure_object(spec, "template"));
        let strategy = ensure_object(spec, "updateStrategy");
        default_zero(strategy, "type", "RollingUpdate");
        if str_at(strategy, "type") == "RollingUpdate" {
            let rolling = ensure_object(strategy, "rollingUpdate");
            default_nil(rolling, "maxUnavailable", 1);
            default_nil(rolling, "maxSurge", 0);
        }
        default_nil(spec, "revisionHistoryLimit", 10);
        // The annotation stands for a field, so it is there whether it was sent or not.
        if annotation(object, TEMPLATE_GENERATION).is_none() {
            set_annotation(object, TEMPLATE_GENERATION, "0".to_string());
        }
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        let generation = template_generation(object).max(1);
        set_annotation(object, TEMPLATE_GENERATION, generation.to_string());
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if !ctx.subresource.is_empty() {
            return;
        }
        let template = ["spec", "template"];
        let changed = !semantic_equal(path_at(object, &template), path_at(old, &template));
        let generation = template_generation(old) + i64::from(changed);
        if generation > 0 {
            set_annotation(object, TEMPLATE_GENERATION, generation.to_string());
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            return validate_status(object, errors);
        }
        if let Some(old) = old {
            workload::validate_selector_immutable(object, old, errors);
        }
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        validate_spec(spec, &Path::ROOT.field("spec"), errors);
    }

    fn warnings(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        workload::warnings(object, old, false)
    }
}

fn template_generation(object: &Value) -> i64 {
    annotation(object, TEMPLATE_GENERATION)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn validate_spec(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let value = at(spec, "selector");
    let selector_path = path.field("selector");
    selector::validate_label_selector(value, &selector_path, errors);
    let template_path = path.field("template");
    let labels = path_at(spec, &["template", "metadata", "labels"]);
    if value.is_none_or(selector::is_convertible)
        && !selector::matches(value, labels.and_then(Value::as_object))
    {
        workload::report_mismatch(labels, &template_path, errors);
    }
    if let Some(value) = value
        && selector::is_empty(value)
    {
        let text = "empty selector is invalid for daemonset";
        workload::invalid_selector(value, &selector_path, text, errors);
    }
    let null = Value::Null;
    let template = at(spec, "template").unwrap_or(&null);
    template::validate_template(template, &[], &template_path, errors);
    let pod = at(template, "spec").unwrap_or(&null);
    let pod_path = template_path.field("spec");
    validate_read_only_disks(pod, &pod_path.field("volumes"), errors);
    workload::validate_always(pod, "DaemonSet", &pod_path, errors);
    checks::non_negative(spec, path, "minReadySeconds", errors);
    validate_strategy(spec, &path.field("updateStrategy"), errors);
    checks::non_negative(spec, path, "revisionHistoryLimit", errors);
}

fn validate_strategy(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let null = Value::Null;
    let strategy = at(spec, "updateStrategy").unwrap_or(&null);
    let rolling_path = path.field("rollingUpdate");
    match str_at(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => match at(strategy, "rollingUpdate") {
            None => errors.required(&rolling_path, ""),
            Some(rolling) => validate_rolling_update(rolling, &rolling_path, errors),
        },
        _ => errors.push(
            ErrorType::NotSupported,
            path,
            golang::compact_zero(Some(strategy), DAEMON_SET_STRATEGY),
            "supported values: \"RollingUpdate\", \"OnDelete\"",
        ),
    }
}

fn validate_rolling_update(rolling: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let (unavailable, surge) = (at(rolling, "maxUnavailable"), at(rolling, "maxSurge"));
    let (unavailable_path, surge_path) = (path.field("maxUnavailable"), path.field("maxSurge"));
    for check in [checks::int_or_percent, checks::at_most_100_percent] {
        check(unavailable, &unavailable_path, errors);
        check(surge, &surge_path, errors);
    }
    let has = |value| checks::int_or_percent_value(value) != 0;
    match (has(unavailable), has(surge)) {
        (true, true) => errors.invalid(
            &surge_path,
            surge.unwrap_or(&Value::Null),
            "may not be set when maxUnavailable is non-zero",
        ),
        (false, false) => {
            errors.required(&unavailable_path, "cannot be 0 when maxSurge is 0");
        }
        _ => {}
    }
}

fn validate_status(object: &Value, errors: &mut FieldErrors) {
    let null = Value::Null;
    let status = at(object, "status").unwrap_or(&null);
    let path = Path::ROOT.field("status");
    workload::validate_counters(
        status,
        &[
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ],
        &path,
        errors,
    );
}
