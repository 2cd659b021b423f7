//! `jobs/status`. Most rules look only when the fields they are about changed.

use super::super::common::access::{arr_at, at, int_at, is_true, path_at, str_at};
use super::super::common::checks;
use super::job_policies::count_indexes;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

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
    let rules = Rules {
        status,
        before,
        path: &path,
    };
    rules.exclusive_outcomes(errors);
    rules.completion_time(errors);
    rules.missing_interim_conditions(errors);
    rules.finished(errors);
    rules.indexes(object, errors);
    rules.ready(errors);
    rules.interim_conflicts(errors);
    rules.kept_conditions(errors);
    rules.growing_counters(errors);
    rules.kept_times(object, old, errors);
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

/// New and stored status.
struct Rules<'a> {
    status: &'a Value,
    before: &'a Value,
    path: &'a Path<'a>,
}

impl Rules<'_> {
    fn is(&self, kind: &str) -> bool {
        has(self.status, kind)
    }

    fn changed(&self, field: &str) -> bool {
        at(self.status, field) != at(self.before, field)
    }

    /// Reports at `status.conditions`, if the conditions changed at all.
    fn condition(&self, wrong: bool, text: &str, errors: &mut FieldErrors) {
        if wrong && self.changed("conditions") {
            errors.invalid_omitted(&self.path.field("conditions"), text);
        }
    }

    fn exclusive_outcomes(&self, errors: &mut FieldErrors) {
        let complete = self.is("Complete");
        self.condition(
            complete && self.is("Failed"),
            "cannot set Complete=True and Failed=true conditions",
            errors,
        );
        self.condition(
            complete && self.is("FailureTarget"),
            "cannot set Complete=True and FailureTarget=true conditions",
            errors,
        );
    }

    fn completion_time(&self, errors: &mut FieldErrors) {
        let path = self.path.field("completionTime");
        let end = at(self.status, "completionTime");
        let relevant = self.changed("completionTime") || self.changed("conditions");
        if let Some(end) = end
            && relevant
            && !self.is("Complete")
        {
            errors.invalid(
                &path,
                end,
                "cannot set completionTime when there is no Complete=True condition",
            );
        }
        if end.is_none() && relevant && self.is("Complete") {
            errors.required(&path, "completionTime is required for Complete jobs");
        }
        let text = |v: Option<&Value>| v.and_then(Value::as_str).map(str::to_owned);
        let start = at(self.status, "startTime");
        if let (Some(start), Some(after), Some(end)) = (text(start), text(end), end)
            && after < start
            && (self.changed("completionTime") || self.changed("startTime"))
        {
            errors.invalid(&path, end, "must be equal to or after `startTime`");
        }
    }

    fn missing_interim_conditions(&self, errors: &mut FieldErrors) {
        self.condition(
            self.is("Failed") && !self.is("FailureTarget"),
            "cannot set Failed=True condition without the FailureTarget=true condition",
            errors,
        );
        self.condition(
            self.is("Complete") && !self.is("SuccessCriteriaMet"),
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            errors,
        );
    }

    fn finished(&self, errors: &mut FieldErrors) {
        if !is_finished(self.status) {
            return;
        }
        let newly = !is_finished(self.before);
        if (newly || self.changed("active")) && int_at(self.status, "active") > 0 {
            errors.invalid_omitted(
                &self.path.field("active"),
                "active>0 is invalid for finished job",
            );
        }
        if (newly || self.changed("startTime")) && at(self.status, "startTime").is_none() {
            errors.required(
                &self.path.field("startTime"),
                "startTime is required for finished job",
            );
        }
        let uncounted = at(self.status, "uncountedTerminatedPods").is_some_and(|pods| {
            ["succeeded", "failed"]
                .iter()
                .any(|field| !arr_at(pods, field).is_empty())
        });
        if uncounted && (newly || self.changed("uncountedTerminatedPods")) {
            errors.invalid_omitted(
                &self.path.field("uncountedTerminatedPods"),
                "uncountedTerminatedPods needs to be empty for finished job",
            );
        }
        if (newly || self.changed("terminating")) && int_at(self.status, "terminating") > 0 {
            errors.invalid_omitted(
                &self.path.field("terminating"),
                "terminating>0 is invalid for finished job",
            );
        }
    }

    fn indexes(&self, object: &Value, errors: &mut FieldErrors) {
        let completions = path_at(object, &["spec", "completions"])
            .and_then(Value::as_i64)
            .unwrap_or_default();
        for field in ["completedIndexes", "failedIndexes"] {
            let Some(text) = at(self.status, field).and_then(Value::as_str) else {
                continue;
            };
            if !self.changed(field) {
                continue;
            }
            if let Err(message) = count_indexes(text, completions) {
                errors.invalid_str(
                    &self.path.field(field),
                    text,
                    format!("error parsing {field}: {message}"),
                );
            }
        }
    }

    fn ready(&self, errors: &mut FieldErrors) {
        let ready = int_at(self.status, "ready");
        if self.changed("ready") && ready > int_at(self.status, "active") {
            errors.invalid(
                &self.path.field("ready"),
                &ready.into(),
                "cannot set more ready pods than active",
            );
        }
    }

    fn interim_conflicts(&self, errors: &mut FieldErrors) {
        let met = self.is("SuccessCriteriaMet");
        self.condition(
            met && self.is("Failed"),
            "cannot set SuccessCriteriaMet=True and Failed=true conditions",
            errors,
        );
        self.condition(
            met && self.is("FailureTarget"),
            "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
            errors,
        );
    }

    fn kept_conditions(&self, errors: &mut FieldErrors) {
        for kind in TERMINAL {
            self.condition(
                has(self.before, kind) && !self.is(kind),
                &format!("cannot disable the terminal {kind}=True condition"),
                errors,
            );
        }
        for kind in ["FailureTarget", "SuccessCriteriaMet"] {
            self.condition(
                has(self.before, kind) && !self.is(kind),
                &format!("cannot disable the {kind}=True condition"),
                errors,
            );
        }
    }

    fn growing_counters(&self, errors: &mut FieldErrors) {
        for field in ["failed", "succeeded"] {
            let count = int_at(self.status, field);
            if count < int_at(self.before, field) {
                errors.invalid(
                    &self.path.field(field),
                    &count.into(),
                    format!("cannot decrease the {field} counter"),
                );
            }
        }
    }

    fn kept_times(&self, object: &Value, old: &Value, errors: &mut FieldErrors) {
        let stored_end = at(self.before, "completionTime");
        if stored_end.is_some() && self.changed("completionTime") {
            errors.invalid(
                &self.path.field("completionTime"),
                at(self.status, "completionTime").unwrap_or(&Value::Null),
                checks::IMMUTABLE,
            );
        }
        let suspended = |o| path_at(o, &["spec"]).is_some_and(|spec| is_true(spec, "suspend"));
        let start = at(self.status, "startTime");
        if at(self.before, "startTime").is_some()
            && self.changed("startTime")
            && !suspended(object)
            && !suspended(old)
        {
            let path = self.path.field("startTime");
            match start {
                None => errors.required(&path, "startTime cannot be removed for unsuspended job"),
                Some(start) => errors.invalid(
                    &path,
                    start,
                    "field is immutable for unsuspended job once set",
                ),
            }
        }
    }
}
