//! `jobs/status`. Most rules look only when the fields they are about changed.

use serde_json::Value;

use super::super::common::access::{arr_at, at, i64_at, int_at, is_true, path_at, str_at};
use super::super::common::checks;
use super::job_policies::count_indexes;
use crate::api::field::{FieldErrors, Path};

const COUNTERS: [&str; 5] = ["active", "succeeded", "failed", "ready", "terminating"];
const TERMINAL: [&str; 2] = ["Complete", "Failed"];

/// Validates a status update.
pub fn validate(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let null = Value::Null;
    let status = at(object, "status").unwrap_or(&null);
    let before = at(old, "status").unwrap_or(&null);
    let path = Path::ROOT.field("status");
    for field in COUNTERS {
        checks::non_negative(status, &path, field, errors);
    }
    validate_uncounted(status, &path.field("uncountedTerminatedPods"), errors);
    let changed = |field: &str| at(status, field) != at(before, field);
    let conditions_changed = changed("conditions");
    validate_conditions(status, before, conditions_changed, &path, errors);
    validate_times(object, old, &path, errors);
    validate_counts(status, before, conditions_changed, &path, errors);
    for field in ["completedIndexes", "failedIndexes"] {
        if let Some(text) = at(status, field).and_then(Value::as_str)
            && changed(field)
        {
            let completions = path_at(object, &["spec", "completions"])
                .and_then(Value::as_i64)
                .unwrap_or_default();
            if let Err(message) = count_indexes(text, completions) {
                errors.invalid_str(
                    &path.field(field),
                    text,
                    format!("error parsing {field}: {message}"),
                );
            }
        }
    }
}

fn validate_uncounted(status: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(pods) = at(status, "uncountedTerminatedPods") else {
        return;
    };
    let mut seen: Vec<&Value> = Vec::new();
    for field in ["succeeded", "failed"] {
        let list = path.field(field);
        for (i, uid) in arr_at(pods, field).iter().enumerate() {
            if uid.as_str().unwrap_or_default().is_empty() {
                errors.invalid(&list.index(i), uid, "must not be empty");
            } else if seen.contains(&uid) {
                errors.duplicate(&list.index(i), uid);
            } else {
                seen.push(uid);
            }
        }
    }
}

fn has(status: &Value, kind: &str) -> bool {
    arr_at(status, "conditions")
        .iter()
        .any(|c| str_at(c, "type") == kind && str_at(c, "status") == "True")
}

fn is_finished(status: &Value) -> bool {
    TERMINAL.iter().any(|kind| has(status, kind))
}

fn validate_conditions(
    status: &Value,
    before: &Value,
    changed: bool,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    if !changed {
        return;
    }
    let path = path.field("conditions");
    let is = |kind: &str| has(status, kind);
    let mut report = |wrong: bool, text: &str| {
        if wrong {
            errors.invalid_omitted(&path, text);
        }
    };
    report(
        is("Complete") && is("Failed"),
        "cannot set Complete=True and Failed=true conditions",
    );
    report(
        is("Complete") && is("FailureTarget"),
        "cannot set Complete=True and FailureTarget=true conditions",
    );
    for kind in TERMINAL {
        report(
            has(before, kind) && !is(kind),
            &format!("cannot disable the terminal {kind}=True condition"),
        );
    }
    report(
        has(before, "FailureTarget") && !is("FailureTarget"),
        "cannot disable the FailureTarget=True condition",
    );
    report(
        has(before, "SuccessCriteriaMet") && !is("SuccessCriteriaMet"),
        "cannot disable the SuccessCriteriaMet=True condition",
    );
    report(
        is("Failed") && !is("FailureTarget"),
        "cannot set Failed=True condition without the FailureTarget=true condition",
    );
    report(
        is("Complete") && !is("SuccessCriteriaMet"),
        "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
    );
    report(
        is("SuccessCriteriaMet") && is("Failed"),
        "cannot set SuccessCriteriaMet=True and Failed=true conditions",
    );
    report(
        is("SuccessCriteriaMet") && is("FailureTarget"),
        "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
    );
}

fn validate_times(object: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let null = Value::Null;
    let status = at(object, "status").unwrap_or(&null);
    let before = at(old, "status").unwrap_or(&null);
    let (start, completion) = (at(status, "startTime"), at(status, "completionTime"));
    let (start_path, completion_path) = (path.field("startTime"), path.field("completionTime"));
    let newly_finished = is_finished(status) && !is_finished(before);
    if newly_finished && start.is_none() {
        errors.required(&start_path, "startTime is required for finished job");
    }
    let unsuspended = |o| !path_at(o, &["spec"]).is_some_and(|spec| is_true(spec, "suspend"));
    if let Some(stored) = at(before, "startTime")
        && start != Some(stored)
        && unsuspended(object)
        && unsuspended(old)
    {
        errors.required(
            &start_path,
            "startTime cannot be removed for unsuspended job",
        );
    }
    if has(status, "Complete") && completion.is_none() && !has(before, "Complete") {
        errors.required(
            &completion_path,
            "completionTime is required for Complete jobs",
        );
    }
    let Some(completion) = completion else { return };
    if at(before, "completionTime") != Some(completion) {
        if !has(status, "Complete") {
            errors.invalid(
                &completion_path,
                completion,
                "cannot set completionTime when there is no Complete=True condition",
            );
        }
        if at(before, "completionTime").is_some() {
            errors.invalid(&completion_path, completion, checks::IMMUTABLE);
        }
    }
    let text = |v: Option<&Value>| v.and_then(Value::as_str).map(str::to_owned);
    if let (Some(start), Some(end)) = (text(start), text(Some(completion)))
        && end < start
    {
        errors.invalid(
            &completion_path,
            completion,
            "must be equal to or after `startTime`",
        );
    }
}

fn validate_counts(
    status: &Value,
    before: &Value,
    conditions_changed: bool,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    if is_finished(status) {
        for field in ["active", "terminating"] {
            let relevant = conditions_changed || at(status, field) != at(before, field);
            if relevant && int_at(status, field) > 0 {
                errors.invalid_omitted(
                    &path.field(field),
                    format!("{field}>0 is invalid for finished job"),
                );
            }
        }
    }
    let ready = int_at(status, "ready");
    if ready > int_at(status, "active") && i64_at(status, "ready") != i64_at(before, "ready") {
        errors.invalid(
            &path.field("ready"),
            &ready.into(),
            "cannot set more ready pods than active",
        );
    }
    for field in ["failed", "succeeded"] {
        let count = int_at(status, field);
        if count < int_at(before, field) {
            errors.invalid(
                &path.field(field),
                &count.into(),
                format!("cannot decrease the {field} counter"),
            );
        }
    }
}
