//! Validation of a service, in upstream's order (contract/validation.md §B4).

use super::super::super::common::access::{
    arr_at, at, i64_at, int_at, is_zero, opt_str_at, path_at, semantic_equal, str_at,
};
use super::super::super::common::checks;
use super::super::super::common::endpoint;
use super::super::super::common::names::{self, invalid_each};
use super::super::super::common::net;
use super::{cluster_ips, is_external, ports};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::services::{is_headless, needs_health_check};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const POLICIES: [&str; 2] = ["Cluster", "Local"];
const ONLY_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";
const KUBELET_PORT: i64 = 10250;

pub(super) fn validate_service(object: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let null = Value::Null;
    let spec = at(object, "spec").unwrap_or(&null);
    let path = Path::ROOT.field("spec");
    validate_topology(object, errors);
    let kind = str_at(spec, "type");
    let ports_path = path.field("ports");
    let headless = is_headless(object);
    if arr_at(spec, "ports").is_empty() && !headless && kind != "ExternalName" {
        errors.required(&ports_path, "");
    }
    validate_type(spec, headless, &path, errors);
    ports::validate_each(spec, &ports_path, errors);
    checks::labels(at(spec, "selector"), &path.field("selector"), errors);
    validate_affinity(spec, &path, errors);
    cluster_ips::validate(object, old, errors);
    validate_external_ips(spec, old, &path.field("externalIPs"), errors);
    checks::required_enum(spec, &path, "type", &TYPES, errors);
    ports::validate_together(spec, &ports_path, errors);
    validate_source_ranges(object, spec, old, &path, errors);
    let allocate = at(spec, "allocateLoadBalancerNodePorts");
    let allocate_path = path.field("allocateLoadBalancerNodePorts");
    match (allocate, kind) {
        (Some(_), kind) if kind != "LoadBalancer" => {
            errors.forbidden(&allocate_path, ONLY_BALANCER);
        }
        (None, "LoadBalancer") => errors.required(&allocate_path, ""),
        _ => {}
    }
    validate_class(spec, &path.field("loadBalancerClass"), errors);
    validate_traffic(object, spec, &path, errors);
}

fn validate_topology(object: &Value, errors: &mut FieldErrors) {
    let Some(annotations) = path_at(object, &["metadata", "annotations"]) else {
        return;
    };
    if let (Some(hints), Some(mode)) = (
        opt_str_at(annotations, HINTS),
        opt_str_at(annotations, MODE),
    ) && hints != mode
    {
        let meta = Path::ROOT.field("metadata");
        let path = meta.field("annotations");
        let text = format!("must match annotations[{HINTS}] when both are specified");
        errors.invalid_str(&path.key(MODE), mode, text);
    }
}

/// What each type demands.
fn validate_type(spec: &Value, headless: bool, path: &Path<'_>, errors: &mut FieldErrors) {
    let kind = str_at(spec, "type");
    match kind {
        "LoadBalancer" | "NodePort" => {
            if kind == "LoadBalancer" {
                let ports_path = path.field("ports");
                for (i, port) in arr_at(spec, "ports").iter().enumerate() {
                    if int_at(port, "port") == KUBELET_PORT {
                        let text = format!(
                            "may not expose port {KUBELET_PORT} externally since it is used by kubelet"
                        );
                        errors.invalid(&ports_path.index(i), &KUBELET_PORT.into(), text);
                    }
                }
            }
            if headless {
                let ips = path.field("clusterIPs");
                let text = format!("may not be set to 'None' for {kind} services");
                errors.invalid_str(&ips.index(0), "None", text);
            }
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if !is_zero(spec.get(field)) {
                    let text = "may not be set for ExternalName services";
                    errors.forbidden(&path.field(field), text);
                }
            }
            let name = str_at(spec, "externalName");
            let name = name.strip_suffix('.').unwrap_or(name);
            let name_path = path.field("externalName");
            if name.is_empty() {
                errors.required(&name_path, "");
            } else {
                invalid_each(errors, &name_path, name, names::dns1123_subdomain(name));
            }
        }
        _ => {}
    }
}

fn validate_affinity(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    checks::required_enum(spec, path, "sessionAffinity", &["ClientIP", "None"], errors);
    let config = at(spec, "sessionAffinityConfig");
    let config_path = path.field("sessionAffinityConfig");
    match (str_at(spec, "sessionAffinity"), config) {
        ("None", Some(_)) => {
            let text = "must not be set when session affinity is None";
            errors.forbidden(&config_path, text);
        }
        ("ClientIP", config) => {
            const NEEDED: &str = "when session affinity type is ClientIP";
            let Some(config) = config else {
                return errors.required(&config_path, NEEDED);
            };
            let client_path = config_path.field("clientIP");
            let Some(client) = at(config, "clientIP") else {
                return errors.required(&client_path, NEEDED);
            };
            let seconds_path = client_path.field("timeoutSeconds");
            match i64_at(client, "timeoutSeconds") {
                None => errors.required(&seconds_path, NEEDED),
                Some(seconds) if !(1..=86_400).contains(&seconds) => {
                    let text = "must be greater than 0 and less than 86400";
                    errors.invalid(&seconds_path, &seconds.into(), text);
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

fn strings<'a>(old: Option<&'a Value>, field: &str) -> Vec<&'a str> {
    let spec = old.and_then(|old| at(old, "spec"));
    let list = spec.map_or(&[][..], |spec| arr_at(spec, field));
    list.iter().filter_map(Value::as_str).collect()
}

fn validate_external_ips(
    spec: &Value,
    old: Option<&Value>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let stored = strings(old, "externalIPs");
    for (i, ip) in arr_at(spec, "externalIPs").iter().enumerate() {
        let path = path.index(i);
        let text = ip.as_str().unwrap_or_default();
        let before = errors.0.len();
        net::validate_ip(&path, text, &stored, errors);
        if errors.0.len() == before {
            endpoint::validate_non_special_ip(text, &path, errors);
        }
    }
}

fn validate_source_ranges(
    object: &Value,
    spec: &Value,
    old: Option<&Value>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let balancer = str_at(spec, "type") == "LoadBalancer";
    let ranges = arr_at(spec, "loadBalancerSourceRanges");
    if !ranges.is_empty() {
        let stored = strings(old, "loadBalancerSourceRanges");
        let path = path.field("LoadBalancerSourceRanges");
        if !balancer {
            errors.forbidden(&path, ONLY_BALANCER);
        }
        for (i, range) in ranges.iter().enumerate() {
            let text = range.as_str().unwrap_or_default().trim();
            net::validate_cidr(&path.index(i), text, &stored, errors);
        }
        return;
    }
    let annotations = path_at(object, &["metadata", "annotations"]);
    let Some(value) = annotations.and_then(|a| opt_str_at(a, SOURCE_RANGES)) else {
        return;
    };
    let meta = Path::ROOT.field("metadata");
    let annotations = meta.field("annotations");
    let path = annotations.key(SOURCE_RANGES);
    if !balancer {
        errors.forbidden(&path, ONLY_BALANCER);
    }
    for range in value.trim().split(',').map(str::trim) {
        if !value.trim().is_empty() {
            net::validate_cidr(&path, range, &[], errors);
        }
    }
}

fn validate_class(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(class) = opt_str_at(spec, "loadBalancerClass") else {
        return;
    };
    if str_at(spec, "type") != "LoadBalancer" {
        return errors.forbidden(path, ONLY_BALANCER);
    }
    invalid_each(errors, path, class, names::qualified_name(class));
}

/// The class of a load balancer that stays one is fixed.
pub(super) fn validate_class_update(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let null = Value::Null;
    let (spec, old) = (
        at(object, "spec").unwrap_or(&null),
        at(old, "spec").unwrap_or(&null),
    );
    let balancer = |spec: &Value| str_at(spec, "type") == "LoadBalancer";
    if balancer(spec)
        && balancer(old)
        && !semantic_equal(spec.get("loadBalancerClass"), old.get("loadBalancerClass"))
    {
        let path = Path::ROOT.field("spec");
        let class = spec.get("loadBalancerClass").unwrap_or(&null);
        errors.invalid(
            &path.field("loadBalancerClass"),
            class,
            "may not change once set",
        );
    }
}

/// The health check port of a service that keeps having one is fixed.
pub(super) fn validate_health_check_update(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let port = |object: &Value| at(object, "spec").map_or(0, |s| int_at(s, "healthCheckNodePort"));
    if needs_health_check(object) && needs_health_check(old) && port(object) != port(old) {
        let path = Path::ROOT.field("spec");
        errors.forbidden(&path.field("healthCheckNodePort"), checks::IMMUTABLE);
    }
}

fn validate_traffic(object: &Value, spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let policy = str_at(spec, "externalTrafficPolicy");
    if is_external(spec) {
        checks::required_enum(spec, path, "externalTrafficPolicy", &POLICIES, errors);
    } else if !policy.is_empty() {
        errors.invalid_str(
            &path.field("externalTrafficPolicy"),
            policy,
            "may only be set for externally-accessible services",
        );
    }
    let port = int_at(spec, "healthCheckNodePort");
    let port_path = path.field("healthCheckNodePort");
    if needs_health_check(object) {
        if port == 0 {
            errors.required(&port_path, "");
        } else {
            for message in names::port_number(port) {
                errors.invalid(&port_path, &port.into(), message);
            }
        }
    } else if port != 0 {
        errors.invalid(
            &port_path,
            &port.into(),
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        );
    }
    let inside = matches!(
        str_at(spec, "type"),
        "ClusterIP" | "NodePort" | "LoadBalancer"
    );
    if at(spec, "internalTrafficPolicy").is_none() && inside {
        errors.required(&path.field("internalTrafficPolicy"), "");
    }
    checks::optional_enum(spec, path, "internalTrafficPolicy", &POLICIES, errors);
    let distributions = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    checks::optional_enum(spec, path, "trafficDistribution", &distributions, errors);
}

pub(super) fn validate_status(object: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let ingress_of = |object: &Value| {
        path_at(object, &["status", "loadBalancer", "ingress"])
            .cloned()
            .unwrap_or_default()
    };
    let null = Value::Null;
    let spec = at(object, "spec").unwrap_or(&null);
    let list = ingress_of(object);
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    let path = Path::ROOT.field("status.loadBalancer.ingress");
    if str_at(spec, "type") != "LoadBalancer" && !items.is_empty() {
        let text = "may only be used when `spec.type` is 'LoadBalancer'";
        return errors.forbidden(&path, text);
    }
    let old_list = old.map(ingress_of).unwrap_or_default();
    let old_items = old_list.as_array().map_or(&[][..], Vec::as_slice);
    let stored: Vec<&str> = old_items.iter().map(|item| str_at(item, "ip")).collect();
    for (i, item) in items.iter().enumerate() {
        let path = path.index(i);
        endpoint::validate_load_balancer_names(item, &stored, &path, errors);
        let (ip, mode) = (str_at(item, "ip"), opt_str_at(item, "ipMode"));
        let mode_path = path.field("ipMode");
        match (ip.is_empty(), mode) {
            (false, None) => errors.required(&mode_path, "must be specified when `ip` is set"),
            (true, Some(_)) => {
                errors.forbidden(&mode_path, "may not be specified when `ip` is not set");
            }
            (false, Some(mode)) if mode != "Proxy" && mode != "VIP" => {
                errors.not_supported(&mode_path, &mode.into(), &["Proxy", "VIP"]);
            }
            _ => {}
        }
        endpoint::validate_load_balancer_host(item, &path, errors);
    }
}
