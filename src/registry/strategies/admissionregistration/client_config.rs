//! `clientConfig` of webhooks (admission and conversion): a URL or a service.

use http::Uri;

use super::super::common::access::{at, i64_at, str_at};
use super::super::common::names;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const FORM: &str = "; desired format: https://host[/path]";

/// Validates a client config at `path`.
pub fn validate(config: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    match (
        at(config, "url").and_then(Value::as_str),
        at(config, "service"),
    ) {
        (Some(url), None) => validate_url(url, &path.field("url"), errors),
        (None, Some(service)) => validate_service(service, &path.field("service"), errors),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

/// The parts of a URL as Go's parser splits it.
struct Url<'a> {
    scheme: &'a str,
    user: &'a str,
    host: &'a str,
    query: &'a str,
    fragment: &'a str,
}

fn split(text: &str) -> Url<'_> {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest))
            if !scheme.is_empty()
                && scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) =>
        {
            (scheme, rest)
        }
        _ => ("", text),
    };
    let authority = rest.strip_prefix("//").unwrap_or("");
    let authority = authority.split('/').next().unwrap_or("");
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    Url {
        scheme,
        user,
        host,
        query,
        fragment,
    }
}

fn validate_url(text: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if text.contains(|c: char| c.is_ascii_control()) || (text.contains("://") && bad_host(text)) {
        let quoted = crate::api::field::go_quote(text);
        errors.required(
            path,
            format!("url must be a valid URL: parse {quoted}: net/url: invalid URL{FORM}"),
        );
        return;
    }
    let url = split(text);
    if url.scheme != "https" {
        errors.invalid_str(
            path,
            url.scheme,
            format!("'https' is the only allowed URL scheme{FORM}"),
        );
    }
    if url.host.is_empty() {
        errors.invalid_str(path, url.host, format!("host must be specified{FORM}"));
    }
    if !url.user.is_empty() {
        errors.invalid_str(
            path,
            url.user,
            "user information is not permitted in the URL",
        );
    }
    if !url.fragment.is_empty() {
        errors.invalid_str(path, url.fragment, "fragments are not permitted in the URL");
    }
    if !url.query.is_empty() {
        errors.invalid_str(
            path,
            url.query,
            "query parameters are not permitted in the URL",
        );
    }
}

/// Whether the host part cannot be one.
fn bad_host(text: &str) -> bool {
    let host = split(text).host;
    !host.is_empty() && host.parse::<Uri>().is_err()
}

fn validate_service(service: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (field, text) in [
        ("name", "service name is required"),
        ("namespace", "service namespace is required"),
    ] {
        if str_at(service, field).is_empty() {
            errors.required(&path.field(field), text);
        }
    }
    if let Some(port) = i64_at(service, "port") {
        for message in names::port_number(port) {
            errors.invalid(
                &path.field("port"),
                &port.into(),
                format!("port is not valid: {message}"),
            );
        }
    }
    if let Some(text) = at(service, "path").and_then(Value::as_str) {
        validate_path(text, &path.field("path"), errors);
    }
}

fn validate_path(text: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if matches!(text, "" | "/") {
        return;
    }
    if text == "//" {
        errors.invalid_str(path, text, "segment[0] may not be empty");
        return;
    }
    if !text.starts_with('/') {
        errors.invalid_str(path, text, "must start with a '/'");
    }
    let steps = text.strip_prefix('/').unwrap_or(text);
    let steps = steps.strip_suffix('/').unwrap_or(steps);
    for (i, step) in steps.split('/').enumerate() {
        if step.is_empty() {
            errors.invalid_str(path, text, format!("segment[{i}] may not be empty"));
            continue;
        }
        for message in names::dns1123_subdomain(step) {
            errors.invalid_str(path, text, format!("segment[{i}]: {message}"));
        }
    }
}

/// Versions of a review that the server speaks.
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// `admissionReviewVersions` and `conversionReviewVersions`: at least one known, none twice.
pub fn validate_review_versions(
    owner: &Value,
    field: &str,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let path = path.field(field);
    let versions = super::super::common::access::arr_at(owner, field);
    if versions.is_empty() {
        errors.required(&path, "must specify one of v1, v1beta1");
        return;
    }
    let mut known = false;
    for (i, version) in versions.iter().enumerate() {
        let text = version.as_str().unwrap_or_default();
        let item = path.index(i);
        if versions[..i].contains(version) {
            errors.invalid_str(&item, text, "duplicate version");
            continue;
        }
        for message in names::dns1035_label(text) {
            errors.invalid_str(&item, text, message);
        }
        known |= REVIEW_VERSIONS.contains(&text);
    }
    if !known {
        errors.invalid(
            &path,
            super::super::common::access::get(owner, field),
            "must include at least one of v1, v1beta1",
        );
    }
}
