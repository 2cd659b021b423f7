//! Probes and lifecycle handlers.

use super::super::common::access::{arr_at, as_i64, at, i64_at, int_at, str_at};
use super::super::common::checks::{self, port_num_or_name};
use super::super::common::names::{self, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const COUNTERS: [&str; 5] = [
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
];

/// The three probes of a container.
pub fn validate_probes(
    container: &Value,
    grace: Option<i64>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = at(container, field) else {
            continue;
        };
        let path = path.field(field);
        validate_probe(probe, grace, &path, errors);
        if field == "readinessProbe" {
            if let Some(seconds) = at(probe, "terminationGracePeriodSeconds") {
                errors.invalid(
                    &path.field("terminationGracePeriodSeconds"),
                    seconds,
                    "must not be set for readinessProbes",
                );
            }
        } else {
            let threshold = int_at(probe, "successThreshold");
            if threshold != 1 {
                errors.invalid(
                    &path.field("successThreshold"),
                    &threshold.into(),
                    "must be 1",
                );
            }
        }
    }
}

fn validate_probe(probe: &Value, grace: Option<i64>, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_handler(probe, grace, path, errors);
    for field in COUNTERS {
        checks::non_negative(probe, path, field, errors);
    }
    if let Some(seconds) = i64_at(probe, "terminationGracePeriodSeconds")
        && seconds <= 0
    {
        errors.invalid(
            &path.field("terminationGracePeriodSeconds"),
            &seconds.into(),
            "must be greater than 0",
        );
    }
}

/// `lifecycle` of a container.
pub fn validate_lifecycle(
    lifecycle: &Value,
    grace: Option<i64>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    for field in ["postStart", "preStop"] {
        if let Some(handler) = at(lifecycle, field) {
            validate_handler(handler, grace, &path.field(field), errors);
        }
    }
}

/// Exactly one handler, valid by its kind.
fn validate_handler(
    handler: &Value,
    grace: Option<i64>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let mut count = 0;
    for field in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let Some(action) = at(handler, field) else {
            continue;
        };
        let path = path.field(field);
        count += 1;
        if count > 1 {
            errors.forbidden(&path, "may not specify more than 1 handler type");
            continue;
        }
        match field {
            "exec" => {
                if arr_at(action, "command").is_empty() {
                    errors.required(&path.field("command"), "");
                }
            }
            "httpGet" => validate_http_get(action, &path, errors),
            "sleep" => validate_sleep(action, grace, &path, errors),
            _ => port_num_or_name(at(action, "port"), &path.field("port"), errors),
        }
    }
    if count == 0 {
        errors.required(path, "must specify a handler type");
    }
}

fn validate_http_get(action: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    checks::required_str(action, path, "path", errors);
    port_num_or_name(at(action, "port"), &path.field("port"), errors);
    let scheme = str_at(action, "scheme");
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.not_supported(&path.field("scheme"), &scheme.into(), &["HTTP", "HTTPS"]);
    }
    for header in arr_at(action, "httpHeaders") {
        let name = str_at(header, "name");
        invalid_each(
            errors,
            &path.field("httpHeaders"),
            name,
            names::http_header_name(name),
        );
    }
}

fn validate_sleep(action: &Value, grace: Option<i64>, path: &Path<'_>, errors: &mut FieldErrors) {
    let seconds = at(action, "seconds").and_then(as_i64).unwrap_or_default();
    if let Some(grace) = grace
        && !(0..=grace).contains(&seconds)
    {
        errors.invalid(
            path,
            &seconds.into(),
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"),
        );
    }
}
