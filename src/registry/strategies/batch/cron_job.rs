//! CronJob.

use super::super::common::access::{
    at, default_nil, default_zero, ensure_object, opt_str_at, path_at, str_at,
};
use super::super::common::checks;
use super::super::common::selector;
use super::super::pod_spec::{defaults, warnings};
use super::{cron, job_policies, job_spec};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// 63 minus the 11 characters that job names add.
const NAME_MAX: usize = 52;

/// Rules of CronJob.
pub struct CronJobStrategy;

impl Strategy for CronJobStrategy {
    fn pod_spec_path(&self) -> Option<&'static [&'static str]> {
        Some(&["spec", "jobTemplate", "spec", "template", "spec"])
    }

    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        default_zero(spec, "concurrencyPolicy", "Allow");
        default_nil(spec, "suspend", false);
        default_nil(spec, "successfulJobsHistoryLimit", 3);
        default_nil(spec, "failedJobsHistoryLimit", 1);
        let job = ensure_object(ensure_object(spec, "jobTemplate"), "spec");
        defaults::default_template(ensure_object(job, "template"));
        job_policies::default_conditions(job);
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            return;
        }
        let name = path_at(object, &["metadata", "name"])
            .and_then(Value::as_str)
            .unwrap_or_default();
        if old.is_none() && name.len() > NAME_MAX {
            let meta = Path::ROOT.field("metadata");
            errors.invalid_str(
                &meta.field("name"),
                name,
                format!("must be no more than {NAME_MAX} characters"),
            );
        }
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        let old = old.map(|old| at(old, "spec").unwrap_or(&null));
        validate_spec(spec, old, &Path::ROOT.field("spec"), errors);
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
        if old.is_none_or(|old| generation(object) != generation(old))
            && let Some(job) = path_at(object, &["spec", "jobTemplate", "spec"])
        {
            let spec = Path::ROOT.field("spec");
            let template = spec.field("jobTemplate");
            job_spec::warn(job, &template.field("spec"), &mut out);
        }
        let schedule = path_at(object, &["spec", "schedule"]).and_then(Value::as_str);
        if old.is_some() && schedule.is_some_and(|s| s.contains("TZ")) {
            out.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".into());
        }
        out
    }
}

fn validate_spec(spec: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut FieldErrors) {
    let schedule = str_at(spec, "schedule");
    if schedule.is_empty() {
        errors.required(&path.field("schedule"), "");
    } else {
        let stored_zone = old.is_some_and(|old| str_at(old, "schedule").contains("TZ"));
        validate_schedule(spec, schedule, stored_zone, &path.field("schedule"), errors);
    }
    checks::non_negative(spec, path, "startingDeadlineSeconds", errors);
    let zone = opt_str_at(spec, "timeZone");
    if let Some(zone) = zone
        && old.is_none_or(|old| opt_str_at(old, "timeZone") != Some(zone))
    {
        validate_zone(zone, &path.field("timeZone"), errors);
    }
    checks::required_enum(
        spec,
        path,
        "concurrencyPolicy",
        &["Allow", "Forbid", "Replace"],
        errors,
    );
    let null = Value::Null;
    let template_path = path.field("jobTemplate");
    let job = path_at(spec, &["jobTemplate", "spec"]).unwrap_or(&null);
    validate_job_template(job, &template_path.field("spec"), errors);
    checks::non_negative(spec, path, "successfulJobsHistoryLimit", errors);
    checks::non_negative(spec, path, "failedJobsHistoryLimit", errors);
}

fn validate_schedule(
    spec: &Value,
    schedule: &str,
    stored_zone: bool,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    if let Err(message) = cron::validate(schedule) {
        errors.invalid_str(path, schedule, message);
    }
    if !schedule.contains("TZ") {
        return;
    }
    if !stored_zone {
        errors.invalid_str(
            path,
            schedule,
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        );
    } else if at(spec, "timeZone").is_some() {
        errors.invalid_str(
            path,
            schedule,
            "cannot use both timeZone field and TZ or CRON_TZ in schedule",
        );
    }
}

fn validate_zone(zone: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if zone.is_empty() {
        errors.invalid_str(path, zone, "timeZone must be nil or non-empty string");
        return;
    }
    if zone.eq_ignore_ascii_case("Local") {
        errors.invalid_str(
            path,
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        );
    }
    let misplaced = zone.contains("..") || zone.starts_with('/') || zone.contains('\\');
    if misplaced {
        errors.invalid_str(path, zone, "time: invalid location name");
    } else if !cron::is_zone(zone) {
        errors.invalid_str(path, zone, format!("unknown time zone {zone}"));
    }
}

fn validate_job_template(job: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    job_spec::validate_common(job, path, errors);
    if let Some(value) = at(job, "selector") {
        errors.push(
            ErrorType::Invalid,
            &path.field("selector"),
            selector::print(Some(value)),
            "`selector` will be auto-generated",
        );
    }
    if let Some(manual @ Value::Bool(true)) = at(job, "manualSelector") {
        errors.not_supported(&path.field("manualSelector"), manual, &["nil", "false"]);
    }
}
