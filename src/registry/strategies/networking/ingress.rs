//! Ingress.

use super::super::common::access::{
    arr_at, at, default_nil, ensure_object, int_at, opt_str_at, path_at, str_at,
};
use super::super::common::endpoint::{validate_load_balancer_host, validate_load_balancer_names};
use super::super::common::names::{self, invalid_each};
use super::super::common::net::{parse_ip, warn_ip};
use super::ingress_class::validate_typed_reference;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
const REFUSED_IN_PATH: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const REFUSED_AT_END: [&str; 2] = ["/..", "/."];

/// Rules of Ingress.
pub struct IngressStrategy;

impl Strategy for IngressStrategy {
    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        default_nil(ensure_object(object, "status"), "loadBalancer", json!({}));
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            return validate_status(object, old, errors);
        }
        let null = Value::Null;
        let path = Path::ROOT.field("spec");
        let spec = at(object, "spec").unwrap_or(&null);
        let old_spec = old.and_then(|old| at(old, "spec"));
        validate_spec(spec, old_spec, &path, errors);
        if old.is_none() {
            validate_class_annotation(object, spec, errors);
        }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>, ctx: &WriteContext<'_>) -> Vec<String> {
        let mut out = Vec::new();
        if ctx.subresource == "status" {
            for (i, ingress) in load_balancers(object).iter().enumerate() {
                let path = format!("status.loadBalancer.ingress[{i}].ip");
                warn_ip(&Path::ROOT.field(&path), str_at(ingress, "ip"), &mut out);
            }
            return out;
        }
        let class = path_at(object, &["spec", "ingressClassName"]);
        if old.is_none() && class.is_none() && class_annotation(object).is_some() {
            out.push(format!(
                "annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"
            ));
        }
        out
    }
}

fn class_annotation(object: &Value) -> Option<&str> {
    path_at(object, &["metadata", "annotations", CLASS_ANNOTATION])?.as_str()
}

fn validate_class_annotation(object: &Value, spec: &Value, errors: &mut FieldErrors) {
    if let Some(annotation) = class_annotation(object)
        && let Some(class) = opt_str_at(spec, "ingressClassName")
        && annotation != class
    {
        let path = Path::ROOT.field("annotations");
        errors.invalid_str(
            &path.field(CLASS_ANNOTATION),
            annotation,
            "must match `ingressClassName` when both are specified",
        );
    }
}

fn load_balancers(object: &Value) -> &[Value] {
    path_at(object, &["status", "loadBalancer"]).map_or(&[], |lb| arr_at(lb, "ingress"))
}

fn validate_status(object: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let stored: Vec<&str> = old
        .map_or(&[][..], load_balancers)
        .iter()
        .map(|ingress| str_at(ingress, "ip"))
        .collect();
    let path = Path::ROOT.field("status.loadBalancer.ingress");
    for (i, ingress) in load_balancers(object).iter().enumerate() {
        let path = path.index(i);
        validate_load_balancer_names(ingress, &stored, &path, errors);
        validate_load_balancer_host(ingress, &path, errors);
    }
}

fn validate_spec(spec: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut FieldErrors) {
    let rules = arr_at(spec, "rules");
    if rules.is_empty() && at(spec, "defaultBackend").is_none() {
        errors.invalid(
            path,
            &arr_or_null(spec, "rules"),
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    if let Some(backend) = at(spec, "defaultBackend") {
        validate_backend(backend, &path.field("defaultBackend"), errors);
    }
    let rules_path = path.field("rules");
    for (i, rule) in rules.iter().enumerate() {
        validate_rule(rule, &rules_path.index(i), errors);
    }
    validate_tls(spec, old, &path.field("tls"), errors);
    if let Some(class) = opt_str_at(spec, "ingressClassName") {
        let messages = names::dns1123_subdomain(class);
        invalid_each(errors, &path.field("ingressClassName"), class, messages);
    }
}

fn arr_or_null(value: &Value, field: &str) -> Value {
    at(value, field).cloned().unwrap_or_default()
}

fn validate_rule(rule: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let host = str_at(rule, "host");
    let host_path = path.field("host");
    if !host.is_empty() {
        if parse_ip(host).is_some_and(|ip| !ip.leading_zeros) {
            errors.invalid_str(&host_path, host, "must be a DNS name, not an IP address");
        }
        // An address is no subdomain error: digits and dots are fine there.
        invalid_each(errors, &host_path, host, host_messages(host));
    }
    let Some(http) = at(rule, "http") else { return };
    let http_path = path.field("http");
    let paths_path = http_path.field("paths");
    let paths = arr_at(http, "paths");
    if paths.is_empty() {
        errors.required(&paths_path, "");
    }
    for (i, item) in paths.iter().enumerate() {
        let path = paths_path.index(i);
        validate_path(item, &path, errors);
        let null = Value::Null;
        let backend = at(item, "backend").unwrap_or(&null);
        validate_backend(backend, &path.field("backend"), errors);
    }
}

fn host_messages(host: &str) -> names::Messages {
    if host.contains('*') {
        names::wildcard_dns1123_subdomain(host)
    } else {
        names::dns1123_subdomain(host)
    }
}

fn validate_path(item: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(kind) = opt_str_at(item, "pathType") else {
        return errors.required(&path.field("pathType"), "pathType must be specified");
    };
    let text = str_at(item, "path");
    let text_path = path.field("path");
    match kind {
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.invalid_str(&text_path, text, "must be an absolute path");
            }
            if !text.is_empty() {
                for refused in REFUSED_IN_PATH {
                    if text.contains(refused) {
                        let why = format!("must not contain '{refused}'");
                        errors.invalid_str(&text_path, text, why);
                    }
                }
                for refused in REFUSED_AT_END {
                    if text.ends_with(refused) {
                        let why = format!("cannot end with '{refused}'");
                        errors.invalid_str(&text_path, text, why);
                    }
                }
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.invalid_str(&text_path, text, "must be an absolute path");
            }
        }
        other => errors.not_supported(&path.field("pathType"), &other.into(), &PATH_TYPES),
    }
}

fn validate_backend(backend: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let (service, resource) = (at(backend, "service"), at(backend, "resource"));
    match (service, resource) {
        (Some(_), Some(_)) => {
            errors.invalid_str(path, "", "cannot set both resource and service backends");
        }
        (None, None) => errors.invalid_str(path, "", "resource or service backend is required"),
        (None, Some(resource)) => {
            validate_typed_reference(resource, &path.field("resource"), errors);
        }
        (Some(service), None) => validate_service_backend(service, path, errors),
    }
}

fn validate_service_backend(service: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let name = str_at(service, "name");
    let service_path = path.field("service");
    let name_path = service_path.field("name");
    if name.is_empty() {
        errors.required(&name_path, "");
    } else {
        invalid_each(errors, &name_path, name, names::dns1123_label(name));
    }
    let null = Value::Null;
    let port = at(service, "port").unwrap_or(&null);
    let (port_name, number) = (str_at(port, "name"), int_at(port, "number"));
    let port_path = service_path.field("port");
    match (port_name.is_empty(), number) {
        (false, n) if n != 0 => {
            errors.invalid_str(path, "", "cannot set both port name & port number");
        }
        (false, _) => {
            let messages = names::port_name(port_name);
            invalid_each(errors, &port_path.field("name"), port_name, messages);
        }
        (true, 0) => errors.required(path, "port name or number is required"),
        (true, number) => {
            for message in names::port_number(number) {
                errors.invalid(&port_path.field("number"), &number.into(), message);
            }
        }
    }
}

/// TLS hosts and secrets; a secret name that is stored already is tolerated.
fn validate_tls(spec: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut FieldErrors) {
    let stored = |name: &str| {
        old.is_some_and(|old| {
            arr_at(old, "tls")
                .iter()
                .any(|tls| str_at(tls, "secretName") == name)
        })
    };
    for (i, tls) in arr_at(spec, "tls").iter().enumerate() {
        let path = path.index(i);
        let hosts_path = path.field("hosts");
        for (j, host) in arr_at(tls, "hosts").iter().enumerate() {
            let host = host.as_str().unwrap_or_default();
            invalid_each(errors, &hosts_path.index(j), host, host_messages(host));
        }
        let secret = str_at(tls, "secretName");
        if !secret.is_empty() && !stored(secret) {
            let messages = names::dns1123_subdomain(secret);
            invalid_each(errors, &path.field("secretName"), secret, messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs() {
        let path = |text: &str, kind: &str| {
            json!({"rules": [{"http": {"paths": [{"path": text, "pathType": kind,
                "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]})
        };
        let cases = [
            (path("/", "Prefix"), ""),
            (
                path("x", "Exact"),
                "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
            ),
            (
                json!({}),
                "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
            ),
            (
                json!({"defaultBackend": {"service": {"name": "s"}}}),
                "spec.defaultBackend: Required value: port name or number is required",
            ),
            (
                json!({"rules": [{"host": "192.0.2.1"}]}),
                "spec.rules[0].host: Invalid value: \"192.0.2.1\": must be a DNS name, not an IP address",
            ),
        ];
        for (spec, want) in cases {
            let mut errors = FieldErrors::default();
            validate_spec(&spec, None, &Path::ROOT.field("spec"), &mut errors);
            let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            assert_eq!(texts.join("\n"), want, "{spec}");
        }
    }
}
