//! JobSpec, also of the template of a CronJob.

use super::super::apps::workload;
use super::super::common::access::{at, i64_at, int_at, opt_str_at, path_at, str_at};
use super::super::common::checks;
use super::super::common::golang;
use super::super::common::gotypes::SUCCESS_POLICY;
use super::super::common::names;
use super::super::common::selector;
use super::super::pod_spec::{template, warnings};
use super::job_policies;
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;

const PARALLELISM_MAX: i64 = 100_000;
const COMPLETIONS_SOFT: i64 = 100_000;
const PARALLELISM_LARGE_MAX: i64 = 10_000;
const MANAGED_BY_MAX: usize = 63;
const NEEDS_INDEXED: &str = "requires indexed completion mode";

/// Validates the spec of a Job: the common part, and the selector.
pub fn validate(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_common(spec, path, errors);
    let selector_path = path.field("selector");
    let value = at(spec, "selector");
    match value {
        None => errors.required(&selector_path, ""),
        Some(value) => selector::validate_label_selector(Some(value), &selector_path, errors),
    }
    let labels = path_at(spec, &["template", "metadata", "labels"]);
    if value.is_none_or(selector::is_convertible)
        && !selector::matches(value, labels.and_then(Value::as_object))
    {
        workload::report_mismatch(labels, &path.field("template"), errors);
    }
}

/// Validates what Jobs and job templates share.
pub fn validate_common(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        checks::non_negative(spec, path, field, errors);
    }
    if at(spec, "maxFailedIndexes").is_some() && at(spec, "backoffLimitPerIndex").is_none() {
        errors.required(
            &path.field("backoffLimitPerIndex"),
            "when maxFailedIndexes is specified",
        );
    }
    if let Some(manager) = opt_str_at(spec, "managedBy") {
        let path = path.field("managedBy");
        names::domain_prefixed_path(&path, manager, errors);
        if manager.len() > MANAGED_BY_MAX {
            errors.too_long(&path, MANAGED_BY_MAX);
        }
    }
    validate_mode(spec, path, errors);
    job_policies::validate_failure_policy(spec, &path.field("podFailurePolicy"), errors);
    if let Some(policy) = at(spec, "successPolicy") {
        let path = path.field("successPolicy");
        if str_at(spec, "completionMode") == "Indexed" {
            job_policies::validate_success_policy(spec, policy, &path, errors);
        } else {
            let shown = golang::compact(Some(policy), SUCCESS_POLICY);
            errors.push(ErrorType::Invalid, &path, shown, NEEDS_INDEXED);
        }
    }
    validate_replacement(spec, &path.field("podReplacementPolicy"), errors);
    let null = Value::Null;
    let template = at(spec, "template").unwrap_or(&null);
    let template_path = path.field("template");
    template::validate_template(template, &[], &template_path, errors);
    validate_restart_policy(spec, template, &template_path.field("spec"), errors);
}

fn validate_mode(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    checks::optional_enum(
        spec,
        path,
        "completionMode",
        &["NonIndexed", "Indexed"],
        errors,
    );
    match str_at(spec, "completionMode") {
        "Indexed" => validate_indexed(spec, path, errors),
        "NonIndexed" => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(value) = at(spec, field) {
                    errors.invalid(&path.field(field), value, NEEDS_INDEXED);
                }
            }
        }
        _ => {}
    }
}

fn validate_indexed(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(completions) = i64_at(spec, "completions") else {
        return errors.required(
            &path.field("completions"),
            "when completion mode is Indexed",
        );
    };
    let parallelism = int_at(spec, "parallelism");
    let failed = i64_at(spec, "maxFailedIndexes");
    let (parallelism_path, failed_path) =
        (path.field("parallelism"), path.field("maxFailedIndexes"));
    if parallelism > PARALLELISM_MAX {
        errors.invalid(
            &parallelism_path,
            &parallelism.into(),
            format!(
                "must be less than or equal to {PARALLELISM_MAX} when completion mode is Indexed"
            ),
        );
    }
    if let Some(failed) = failed {
        if failed > completions {
            errors.invalid(
                &failed_path,
                &failed.into(),
                "must be less than or equal to completions",
            );
        }
        if failed > COMPLETIONS_SOFT {
            errors.invalid(
                &failed_path,
                &failed.into(),
                format!("must be less than or equal to {COMPLETIONS_SOFT}"),
            );
        }
    }
    if completions <= COMPLETIONS_SOFT || at(spec, "backoffLimitPerIndex").is_none() {
        return;
    }
    let text = format!(
        "must be less than or equal to {PARALLELISM_LARGE_MAX} when completions are above {COMPLETIONS_SOFT} and used with backoff limit per index"
    );
    match failed {
        None => errors.required(
            &failed_path,
            format!("must be specified when completions is above {COMPLETIONS_SOFT}"),
        ),
        Some(failed) if failed > PARALLELISM_LARGE_MAX => {
            errors.invalid(&failed_path, &failed.into(), text.clone());
        }
        Some(_) => {}
    }
    if parallelism > PARALLELISM_LARGE_MAX {
        errors.invalid(&parallelism_path, &parallelism.into(), text);
    }
}

fn validate_replacement(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(policy) = at(spec, "podReplacementPolicy") else {
        return;
    };
    let supported: &[&str] = match at(spec, "podFailurePolicy") {
        Some(_) => &["Failed"],
        None => &["Failed", "TerminatingOrFailed"],
    };
    if !supported.contains(&policy.as_str().unwrap_or_default()) {
        errors.not_supported(path, policy, supported);
    }
}

fn validate_restart_policy(
    spec: &Value,
    template: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let policy = path_at(template, &["spec", "restartPolicy"])
        .and_then(Value::as_str)
        .unwrap_or_default();
    let path = path.field("restartPolicy");
    match policy {
        "" | "Always" => errors.required(&path, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" => {
            if at(spec, "podFailurePolicy").is_some() {
                errors.invalid_str(
                    &path,
                    policy,
                    "only \"Never\" is supported when podFailurePolicy is specified",
                );
            }
        }
        other => errors.not_supported(&path, &other.into(), &["OnFailure", "Never"]),
    }
}

/// Warnings of a job's spec at `path`.
pub fn warn(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    if str_at(spec, "completionMode") == "Indexed"
        && int_at(spec, "completions") > COMPLETIONS_SOFT
        && int_at(spec, "parallelism") > PARALLELISM_LARGE_MAX
    {
        warnings.push(format!("{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"));
    }
    if let Some(template) = at(spec, "template") {
        warnings::warn_template(template, &path.field("template"), warnings);
    }
}
