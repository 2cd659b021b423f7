//! Endpoints.

use super::super::common::access::{arr_at, at, default_zero, items_mut, semantic_equal, str_at};
use super::super::common::endpoint;
use super::super::common::names::{self, invalid_each};
use super::super::common::net;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

/// Rules of Endpoints.
pub struct EndpointsStrategy;

impl Strategy for EndpointsStrategy {
    fn default(&self, object: &mut Value) {
        for subset in items_mut(object, "subsets") {
            for port in items_mut(subset, "ports") {
                default_zero(port, "protocol", "TCP");
            }
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if old.is_some_and(|old| semantic_equal(object.get("subsets"), old.get("subsets"))) {
            return;
        }
        let stored = old.map(stored_addresses).unwrap_or_default();
        let path = Path::ROOT.field("subsets");
        for (i, subset) in arr_at(object, "subsets").iter().enumerate() {
            validate_subset(subset, &stored, &path.index(i), errors);
        }
    }

    fn warnings(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        let labels = at(object, "metadata").and_then(|m| at(m, "labels"));
        let managed = labels.is_some_and(|l| at(l, MANAGED_BY).is_some());
        if managed || old.is_some_and(|old| old.get("subsets") == object.get("subsets")) {
            return out;
        }
        let path = Path::ROOT.field("subsets");
        for (i, subset) in arr_at(object, "subsets").iter().enumerate() {
            let path = path.index(i);
            for field in ["addresses", "notReadyAddresses"] {
                let path = path.field(field);
                for (j, address) in arr_at(subset, field).iter().enumerate() {
                    let item = path.index(j);
                    net::warn_ip(&item.field("ip"), str_at(address, "ip"), &mut out);
                }
            }
        }
        out
    }
}

fn stored_addresses(old: &Value) -> Vec<&str> {
    let lists = arr_at(old, "subsets").iter().flat_map(|subset| {
        arr_at(subset, "addresses")
            .iter()
            .chain(arr_at(subset, "notReadyAddresses"))
    });
    lists.map(|address| str_at(address, "ip")).collect()
}

fn validate_subset(subset: &Value, stored: &[&str], path: &Path<'_>, errors: &mut FieldErrors) {
    let lists = ["addresses", "notReadyAddresses"];
    if lists.iter().all(|field| arr_at(subset, field).is_empty()) {
        errors.required(path, "must specify `addresses` or `notReadyAddresses`");
    }
    for field in lists {
        let path = path.field(field);
        for (i, address) in arr_at(subset, field).iter().enumerate() {
            validate_address(address, stored, &path.index(i), errors);
        }
    }
    let ports = arr_at(subset, "ports");
    let ports_path = path.field("ports");
    for (i, port) in ports.iter().enumerate() {
        let path = ports_path.index(i);
        let name = str_at(port, "name");
        if !name.is_empty() {
            invalid_each(
                errors,
                &path.field("name"),
                name,
                names::dns1123_label(name),
            );
        } else if ports.len() > 1 {
            errors.required(&path.field("name"), "");
        }
        endpoint::validate_port_number(port, &path, errors);
        endpoint::validate_protocol(port, &path, errors);
        endpoint::validate_app_protocol(port, &path, errors);
    }
}

fn validate_address(address: &Value, stored: &[&str], path: &Path<'_>, errors: &mut FieldErrors) {
    let ip = str_at(address, "ip");
    net::validate_ip(&path.field("ip"), ip, stored, errors);
    let hostname = str_at(address, "hostname");
    if !hostname.is_empty() {
        let messages = names::dns1123_label(hostname);
        invalid_each(errors, &path.field("hostname"), hostname, messages);
    }
    if let Some(node) = at(address, "nodeName").and_then(Value::as_str) {
        let messages = names::dns1123_subdomain(node);
        invalid_each(errors, &path.field("nodeName"), node, messages);
    }
    endpoint::validate_non_special_ip(ip, &path.field("ip"), errors);
}
