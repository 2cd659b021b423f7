//! Warnings about services.

use super::super::super::common::access::{arr_at, at, is_zero, path_at, str_at};
use super::super::super::common::net;
use crate::api::field::Path;
use crate::base::tree::Value;
use crate::registry::services::is_headless;

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";

pub(super) fn warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut out = Vec::new();
    let null = Value::Null;
    let spec = at(object, "spec").unwrap_or(&null);
    let path = Path::ROOT.field("spec");
    if path_at(object, &["metadata", "annotations", HINTS]).is_some() {
        out.push(format!(
            "annotation {HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
        ));
    }
    let external_ips = arr_at(spec, "externalIPs");
    let external_name = str_at(spec, "type") == "ExternalName";
    if is_headless(object) {
        if !str_at(spec, "loadBalancerIP").is_empty() {
            out.push("spec.loadBalancerIP is ignored for headless services".into());
        }
        if !external_ips.is_empty() {
            out.push("spec.externalIPs is ignored for headless services".into());
        }
        if !matches!(str_at(spec, "sessionAffinity"), "" | "None") {
            out.push("spec.SessionAffinity is ignored for headless services".into());
        }
    }
    warn_addresses(spec, old, &path, &mut out);
    if !external_ips.is_empty() {
        if external_name {
            out.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
        } else {
            out.push(
                "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
                    .into(),
            );
        }
    }
    if !external_name && !is_zero(spec.get("externalName")) {
        out.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if str_at(spec, "trafficDistribution") == "PreferClose" {
        out.push(
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\""
                .into(),
        );
    }
    out
}

/// Addresses and ranges that are not written canonically.
fn warn_addresses(spec: &Value, old: Option<&Value>, path: &Path<'_>, out: &mut Vec<String>) {
    if !is_headless_spec(spec) {
        warn_list(spec, "clusterIPs", path, net::warn_ip, out);
    }
    warn_list(spec, "externalIPs", path, net::warn_ip, out);
    let balancer = str_at(spec, "loadBalancerIP");
    if !balancer.is_empty() {
        net::warn_ip(&path.field("loadBalancerIP"), balancer, out);
    }
    let changed = old.is_none_or(|old| old.get("spec") != Some(spec));
    if changed {
        warn_list(spec, "loadBalancerSourceRanges", path, net::warn_cidr, out);
    }
}

fn is_headless_spec(spec: &Value) -> bool {
    str_at(spec, "clusterIP") == "None"
}

fn warn_list(
    spec: &Value,
    field: &'static str,
    path: &Path<'_>,
    warn: fn(&Path<'_>, &str, &mut Vec<String>),
    out: &mut Vec<String>,
) {
    let path = path.field(field);
    for (i, text) in arr_at(spec, field).iter().enumerate() {
        warn(&path.index(i), text.as_str().unwrap_or_default(), out);
    }
}
