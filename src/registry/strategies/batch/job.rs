//! Job: generated selectors and labels, immutability.

use super::super::common::access::{
    arr_at, at, default_nil, ensure_object, i64_at, int_at, is_true, is_zero, items_mut,
    object_mut, path_at, semantic_equal, set_or_remove, str_at,
};
use super::super::common::checks::{self, IMMUTABLE};
use super::super::common::golang;
use super::super::common::gotypes::{
    POD_FAILURE_POLICY, POD_SPEC, POD_TEMPLATE_SPEC, SUCCESS_POLICY,
};
use super::super::common::names;
use super::super::common::selector;
use super::super::pod_spec::{defaults, warnings};
use super::{job_policies, job_spec, job_status};
use crate::api::field::{ErrorType, FieldErrors, Path, print_value};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{DeletionRules, Strategy, WriteContext};

const ORPHAN_WARNING: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";
const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";

/// Rules of Job.
pub struct JobStrategy;

impl Strategy for JobStrategy {
    fn pod_spec_path(&self) -> Option<&'static [&'static str]> {
        Some(&["spec", "template", "spec"])
    }

    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        defaults::default_template(ensure_object(spec, "template"));
        if at(spec, "completions").is_none() && at(spec, "parallelism").is_none() {
            default_nil(spec, "completions", 1);
        }
        default_nil(spec, "parallelism", 1);
        let limit = match at(spec, "backoffLimitPerIndex") {
            Some(_) => i64::from(i32::MAX),
            None => 6,
        };
        default_nil(spec, "backoffLimit", limit);
        default_nil(spec, "completionMode", "NonIndexed");
        default_nil(spec, "suspend", false);
        default_nil(spec, "manualSelector", false);
        let replacement = match at(spec, "podFailurePolicy") {
            Some(_) => "Failed",
            None => "TerminatingOrFailed",
        };
        default_nil(spec, "podReplacementPolicy", replacement);
        job_policies::default_conditions(spec);
        copy_labels(object);
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        if path_at(object, &["spec", "manualSelector"]) != Some(&Value::Bool(true)) {
            generate_selector(object);
            copy_labels(object);
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        match (old, ctx.subresource) {
            (Some(old), "status") => job_status::validate(object, old, errors),
            (Some(old), _) => validate_update(object, old, errors),
            (None, _) => validate_create(object, errors),
        }
    }

    fn deletion(&self) -> DeletionRules {
        DeletionRules {
            orphans_by_default: true,
            orphan_warning: Some(ORPHAN_WARNING),
            ..DeletionRules::default()
        }
    }

    fn warnings(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        let null = Value::Null;
        let meta = at(object, "metadata").unwrap_or(&null);
        if old.is_none() {
            warnings::warn_dns_label(meta, "Pod names and hostnames", &mut out);
        }
        let generation = |o| path_at(o, &["metadata", "generation"]).cloned();
        if old.is_none_or(|old| generation(object) != generation(old)) {
            let spec = at(object, "spec").unwrap_or(&null);
            job_spec::warn(spec, &Path::ROOT.field("spec"), &mut out);
        }
        out
    }
}

/// A job without labels gets its template's.
fn copy_labels(object: &mut Value) {
    let labels = path_at(object, &["spec", "template", "metadata", "labels"]).cloned();
    let Some(labels) = labels.filter(|l| !is_zero(Some(l))) else {
        return;
    };
    let meta = ensure_object(object, "metadata");
    if is_zero(meta.get("labels")) {
        object_mut(meta).insert("labels".into(), labels);
    }
}

fn name_and_uid(object: &Value) -> (String, String) {
    let get = |field| {
        path_at(object, &["metadata", field])
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    (get("name"), get("uid"))
}

/// The labels that tell a job's pods from all others.
fn generated_labels(name: &str, uid: &str) -> [(&'static str, String); 4] {
    [
        ("controller-uid", uid.to_owned()),
        ("job-name", name.to_owned()),
        (UID_LABEL, uid.to_owned()),
        ("batch.kubernetes.io/job-name", name.to_owned()),
    ]
}

fn generate_selector(object: &mut Value) {
    let (name, uid) = name_and_uid(object);
    let spec = ensure_object(object, "spec");
    let meta = ensure_object(ensure_object(spec, "template"), "metadata");
    let labels = object_mut(ensure_object(meta, "labels"));
    for (key, value) in generated_labels(&name, &uid) {
        labels.entry(key.into()).or_insert_with(|| value.into());
    }
    let selector = ensure_object(spec, "selector");
    let match_labels = object_mut(ensure_object(selector, "matchLabels"));
    match_labels
        .entry(UID_LABEL.into())
        .or_insert_with(|| json!(uid));
}

fn validate_create(object: &Value, errors: &mut FieldErrors) {
    let null = Value::Null;
    let spec = at(object, "spec").unwrap_or(&null);
    let path = Path::ROOT.field("spec");
    validate_generated_selector(object, spec, errors);
    job_spec::validate(spec, &path, errors);
    let completions = int_at(spec, "completions");
    if str_at(spec, "completionMode") == "Indexed" && completions > 0 {
        let (name, _) = name_and_uid(object);
        let pod = format!("{name}-{}", completions - 1);
        if !names::dns1123_label(&pod).is_empty() {
            let meta = Path::ROOT.field("metadata");
            errors.invalid_str(
                &meta.field("name"),
                &name,
                format!("will not able to create pod with invalid DNS label: {pod}"),
            );
        }
    }
}

fn validate_generated_selector(object: &Value, spec: &Value, errors: &mut FieldErrors) {
    let Some(value) = at(spec, "selector").filter(|_| !is_true(spec, "manualSelector")) else {
        return;
    };
    let (name, uid) = name_and_uid(object);
    if uid.is_empty() {
        let meta = Path::ROOT.field("metadata");
        errors.required(&meta.field("uid"), "");
    }
    let spec_path = Path::ROOT.field("spec");
    let template_path = spec_path.field("template");
    let meta_path = template_path.field("metadata");
    let labels_path = meta_path.field("labels");
    let labels = path_at(spec, &["template", "metadata", "labels"]);
    let expected = generated_labels(&name, &uid);
    for (key, want) in &expected {
        match labels.and_then(|l| at(l, key)) {
            None => errors.required(&labels_path.key(key), format!("must be '{want}'")),
            Some(got) if got != want.as_str() => errors.push(
                ErrorType::Invalid,
                &labels_path.key(key),
                print_value(labels.unwrap_or(&Value::Null)),
                format!("must be '{want}'"),
            ),
            Some(_) => {}
        }
    }
    let expected: Value = expected
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect();
    if selector::is_convertible(value) && !selector::matches(Some(value), expected.as_object()) {
        errors.push(
            ErrorType::Invalid,
            &spec_path.field("selector"),
            selector::print(Some(value)),
            "`selector` not auto-generated",
        );
    }
}

fn validate_update(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let null = Value::Null;
    let spec = at(object, "spec").unwrap_or(&null);
    let before = at(old, "spec").unwrap_or(&null);
    let path = Path::ROOT.field("spec");
    job_spec::validate(spec, &path, errors);
    validate_completions(spec, before, &path, errors);
    let field = |name| (at(spec, name), at(before, name));
    let (new, stored) = field("selector");
    checks::immutable_as(
        new,
        stored,
        &path.field("selector"),
        selector::print,
        errors,
    );
    validate_template(spec, before, old, &path, errors);
    let (new, stored) = field("completionMode");
    checks::immutable(new, stored, &path.field("completionMode"), errors);
    let (new, stored) = field("podFailurePolicy");
    let print = |v: Option<&Value>| golang::compact(v, POD_FAILURE_POLICY);
    checks::immutable_as(new, stored, &path.field("podFailurePolicy"), print, errors);
    for name in ["backoffLimitPerIndex", "managedBy"] {
        let (new, stored) = field(name);
        checks::immutable(new, stored, &path.field(name), errors);
    }
    let (new, stored) = field("successPolicy");
    let print = |v: Option<&Value>| golang::compact(v, SUCCESS_POLICY);
    checks::immutable_as(new, stored, &path.field("successPolicy"), print, errors);
}

fn validate_completions(spec: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let (new, stored) = (at(spec, "completions"), at(old, "completions"));
    let completions = path.field("completions");
    if str_at(spec, "completionMode") != "Indexed" {
        return checks::immutable(new, stored, &completions, errors);
    }
    let Some(value) = new.filter(|_| new != stored) else {
        return;
    };
    if i64_at(spec, "parallelism") != i64_at(spec, "completions") {
        errors.invalid(
            &completions,
            value,
            format!("can only be modified in tandem with {path}.parallelism"),
        );
    }
}

/// The template is immutable; while the job is suspended and none of its pods ever ran, what decides
/// on scheduling and the containers' resources may change.
fn validate_template(
    spec: &Value,
    old_spec: &Value,
    old: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let template_path = path.field("template");
    let (new, stored) = (at(spec, "template"), at(old_spec, "template"));
    if semantic_equal(new, stored) {
        return;
    }
    let mut allowed = stored.cloned().unwrap_or_default();
    if is_mutable(spec, old_spec, old) {
        let null = Value::Null;
        take_scheduling(&mut allowed, new.unwrap_or(&null));
    }
    if semantic_equal(new, Some(&allowed)) {
        return;
    }
    let pod = |template: Option<&Value>| template.and_then(|t| at(t, "spec")).cloned();
    let meta = |template: Option<&Value>| template.and_then(|t| at(t, "metadata")).cloned();
    if semantic_equal(meta(new).as_ref(), meta(Some(&allowed)).as_ref()) {
        let shown = golang::compact_zero(pod(new).as_ref(), POD_SPEC);
        errors.push(
            ErrorType::Invalid,
            &template_path.field("spec"),
            shown,
            IMMUTABLE,
        );
    } else {
        let shown = golang::compact_zero(new, POD_TEMPLATE_SPEC);
        errors.push(ErrorType::Invalid, &template_path, shown, IMMUTABLE);
    }
}

fn is_mutable(spec: &Value, old_spec: &Value, old: &Value) -> bool {
    let null = Value::Null;
    let status = at(old, "status").unwrap_or(&null);
    let suspended_condition = arr_at(status, "conditions")
        .iter()
        .any(|c| str_at(c, "type") == "Suspended" && str_at(c, "status") == "True");
    let never_ran = at(status, "startTime").is_none() || suspended_condition;
    is_true(old_spec, "suspend")
        && never_ran
        && int_at(status, "active") == 0
        && (is_true(spec, "suspend") || at(status, "startTime").is_none())
}

fn take_scheduling(allowed: &mut Value, new: &Value) {
    let meta = ensure_object(allowed, "metadata");
    for field in ["labels", "annotations"] {
        set_or_remove(meta, field, path_at(new, &["metadata", field]).cloned());
    }
    let spec = ensure_object(allowed, "spec");
    let null = Value::Null;
    let new_spec = at(new, "spec").unwrap_or(&null);
    for field in ["nodeSelector", "tolerations", "schedulingGates"] {
        set_or_remove(spec, field, at(new_spec, field).cloned());
    }
    let node = path_at(new_spec, &["affinity", "nodeAffinity"]).cloned();
    if node.is_some() || at(spec, "affinity").is_some() {
        set_or_remove(ensure_object(spec, "affinity"), "nodeAffinity", node);
    }
    for list in ["containers", "initContainers"] {
        for (container, from) in items_mut(spec, list).zip(arr_at(new_spec, list)) {
            set_or_remove(container, "resources", from.get("resources").cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(spec: Value) -> Value {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": spec});
        JobStrategy.default(&mut job);
        JobStrategy.prepare_for_create(&mut job, &WriteContext::default());
        job
    }

    fn errors(job: &Value) -> Vec<String> {
        let mut errors = FieldErrors::default();
        JobStrategy.validate(job, None, &WriteContext::default(), &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn selectors_are_generated() {
        let job = job(json!({"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "i:1"}]}}}));
        assert_eq!(errors(&job), [""; 0]);
        assert_eq!(
            job["spec"]["selector"],
            json!({"matchLabels": {UID_LABEL: "u"}})
        );
        assert_eq!(job["metadata"]["labels"]["job-name"], "j");
    }

    #[test]
    fn templates_need_a_restart_policy() {
        let job =
            job(json!({"template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}}));
        assert_eq!(
            errors(&job),
            [
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""
            ]
        );
    }
}
