//! StatefulSet.

use super::super::common::access::{
    arr_at, at, at_mut, default_nil, default_zero, ensure_object, int_at, items_mut, object_mut,
    remove, semantic_equal, str_at,
};
use super::super::common::checks;
use super::super::common::golang;
use super::super::common::gotypes::STATEFUL_SET_ROLLING_UPDATE;
use super::super::common::names::{self, NameRule, invalid_each};
use super::super::common::selector;
use super::super::core::annotations::annotation;
use super::super::pod_spec::claims::validate_pvc_spec;
use super::super::pod_spec::warnings::warn_claim_spec;
use super::super::pod_spec::{defaults, template};
use super::workload;
use crate::api::field::{ErrorType, FieldErrors, Path, print_value};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

const UPDATE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// Rules of StatefulSet.
pub struct StatefulSetStrategy;

impl Strategy for StatefulSetStrategy {
    fn pod_spec_path(&self) -> Option<&'static [&'static str]> {
        Some(&["spec", "template", "spec"])
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        defaults::default_template(ensure_object(spec, "template"));
        default_zero(spec, "podManagementPolicy", "OrderedReady");
        let strategy = ensure_object(spec, "updateStrategy");
        if str_at(strategy, "type").is_empty() {
            object_mut(strategy).insert("type".into(), "RollingUpdate".into());
            let rolling = ensure_object(strategy, "rollingUpdate");
            default_nil(rolling, "partition", 0);
        } else if str_at(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = at_mut(strategy, "rollingUpdate")
        {
            default_nil(rolling, "partition", 0);
        }
        if let Some(rolling) = at_mut(strategy, "rollingUpdate") {
            // Gate MaxUnavailableStatefulSet is off.
            remove(rolling, "maxUnavailable");
        }
        let retention = ensure_object(spec, "persistentVolumeClaimRetentionPolicy");
        default_zero(retention, "whenDeleted", "Retain");
        default_zero(retention, "whenScaled", "Retain");
        default_nil(spec, "replicas", 1);
        default_nil(spec, "revisionHistoryLimit", 10);
        for claim in items_mut(spec, "volumeClaimTemplates") {
            object_mut(claim).insert("kind".into(), "PersistentVolumeClaim".into());
            object_mut(claim).insert("apiVersion".into(), "v1".into());
            default_nil(ensure_object(claim, "spec"), "volumeMode", "Filesystem");
            default_zero(ensure_object(claim, "status"), "phase", "Pending");
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
            return validate_status(object, old, errors);
        }
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        let path = Path::ROOT.field("spec");
        validate_spec(spec, &path, errors);
        match old.map(|old| at(old, "spec").unwrap_or(&null)) {
            None => validate_create_only(spec, &path, errors),
            Some(old) => validate_update(spec, old, &path, errors),
        }
    }

    fn warnings(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let mut out = workload::warnings(object, old, false);
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        let path = Path::ROOT.field("spec");
        let claims = path.field("volumeClaimTemplates");
        for (i, claim) in arr_at(spec, "volumeClaimTemplates").iter().enumerate() {
            let item = claims.index(i);
            if annotation(claim, BETA_CLASS).is_some() {
                let meta = item.field("metadata");
                let annotations = meta.field("annotations");
                out.push(format!(
                    "{}: deprecated since v1.8; use \"storageClassName\" attribute instead",
                    annotations.key(BETA_CLASS)
                ));
            }
            if let Some(claim) = at(claim, "spec") {
                warn_claim_spec(claim, &item.field("spec"), &mut out);
            }
        }
        if int_at(spec, "revisionHistoryLimit") < 0 {
            out.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".into());
        }
        out
    }
}

fn validate_spec(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_policies(spec, path, errors);
    checks::non_negative(spec, path, "replicas", errors);
    checks::non_negative(spec, path, "minReadySeconds", errors);
    if let Some(ordinals) = at(spec, "ordinals") {
        checks::non_negative(ordinals, &path.field("ordinals"), "start", errors);
    }
    workload::validate_selector(spec, "statefulset", path, errors);
    if let Some(value) = at(spec, "selector")
        && !selector::is_convertible(value)
    {
        workload::invalid_selector(value, &path.field("selector"), "", errors);
        return;
    }
    let template_path = path.field("template");
    workload::validate_labels_match(spec, &template_path, errors);
    let null = Value::Null;
    let template = at(spec, "template").unwrap_or(&null);
    let claims: Vec<Value> = arr_at(spec, "volumeClaimTemplates")
        .iter()
        .map(|claim| {
            let name = claim
                .get("metadata")
                .map(|m| str_at(m, "name"))
                .unwrap_or_default();
            json!({"name": name, "persistentVolumeClaim": {"claimName": name}})
        })
        .collect();
    let volumes: Vec<(&str, &Value)> = claims.iter().map(|v| (str_at(v, "name"), v)).collect();
    template::validate_template(template, &volumes, &template_path, errors);
    let pod = at(template, "spec").unwrap_or(&null);
    workload::validate_always(pod, "StatefulSet", &template_path.field("spec"), errors);
}

fn validate_policies(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let management = str_at(spec, "podManagementPolicy");
    let management_path = path.field("podManagementPolicy");
    match management {
        "" => errors.required(&management_path, ""),
        "OrderedReady" | "Parallel" => {}
        other => errors.invalid_str(
            &management_path,
            other,
            "must be 'OrderedReady' or 'Parallel'",
        ),
    }
    let null = Value::Null;
    let strategy = at(spec, "updateStrategy").unwrap_or(&null);
    let rolling = at(strategy, "rollingUpdate");
    let strategy_path = path.field("updateStrategy");
    let rolling_path = strategy_path.field("rollingUpdate");
    match str_at(strategy, "type") {
        "" => errors.required(&strategy_path, ""),
        "OnDelete" => {
            if rolling.is_some() {
                errors.push(
                    ErrorType::Invalid,
                    &rolling_path,
                    golang::compact(rolling, STATEFUL_SET_ROLLING_UPDATE),
                    "only allowed for updateStrategy 'RollingUpdate'",
                );
            }
        }
        "RollingUpdate" => {
            if let Some(rolling) = rolling {
                checks::non_negative(rolling, &rolling_path, "partition", errors);
            }
        }
        _ => errors.push(
            ErrorType::Invalid,
            &strategy_path,
            format!(
                "{{\"Type\":{},\"RollingUpdate\":{}}}",
                print_value(&str_at(strategy, "type").into()),
                golang::compact(rolling, STATEFUL_SET_ROLLING_UPDATE)
            ),
            "must be 'RollingUpdate' or 'OnDelete'",
        ),
    }
    if let Some(retention) = at(spec, "persistentVolumeClaimRetentionPolicy") {
        let path = path.field("persistentVolumeClaimRetentionPolicy");
        for field in ["whenDeleted", "whenScaled"] {
            let policy = str_at(retention, field);
            if !matches!(policy, "Retain" | "Delete") {
                errors.not_supported(&path.field(field), &policy.into(), &["Retain", "Delete"]);
            }
        }
    }
}

fn validate_create_only(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let service = str_at(spec, "serviceName");
    if !service.is_empty() {
        invalid_each(
            errors,
            &path.field("serviceName"),
            service,
            names::dns1123_label(service),
        );
    }
    let claims = path.field("volumeClaimTemplates");
    let null = Value::Null;
    for (i, claim) in arr_at(spec, "volumeClaimTemplates").iter().enumerate() {
        let item = claims.index(i);
        let claim = at(claim, "spec").unwrap_or(&null);
        validate_pvc_spec(claim, &item.field("spec"), errors);
    }
}

fn validate_update(spec: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let names = |v: &Value| -> Vec<String> {
        let members = v.as_object().into_iter().flatten();
        members.map(|(name, _)| name.to_string()).collect()
    };
    let changed = names(spec)
        .iter()
        .chain(&names(old))
        .any(|f| !MUTABLE.contains(&f.as_str()) && !semantic_equal(spec.get(f), old.get(f)));
    if changed {
        errors.forbidden(path, UPDATE);
    }
}

fn validate_status(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let null = Value::Null;
    let status = at(object, "status").unwrap_or(&null);
    let path = Path::ROOT.field("status");
    workload::validate_counters(
        status,
        &[
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "observedGeneration",
            "collisionCount",
        ],
        &path,
        errors,
    );
    workload::validate_at_most_replicas(
        status,
        &[
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
        ],
        &path,
        errors,
    );
    workload::validate_collision_count(object, old, &path, errors);
}
