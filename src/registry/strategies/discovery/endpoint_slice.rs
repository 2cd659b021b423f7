//! EndpointSlice.

use super::super::common::access::{
    arr_at, at, default_nil, items_mut, obj_at, opt_str_at, remove, semantic_equal, str_at,
    strings_at,
};
use super::super::common::endpoint::{self, PROTOCOLS};
use super::super::common::names::{self, invalid_each};
use super::super::common::{checks, net};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_TOPOLOGY: usize = 16;
const MAX_HINTS: usize = 8;

/// Rules of EndpointSlice.
pub struct EndpointSliceStrategy;

impl Strategy for EndpointSliceStrategy {
    fn default(&self, object: &mut Value) {
        for port in items_mut(object, "ports") {
            default_nil(port, "name", "");
            default_nil(port, "protocol", "TCP");
        }
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        drop_topology(object);
    }

    fn prepare_for_update(&self, object: &mut Value, _old: &Value, _ctx: &WriteContext<'_>) {
        drop_topology(object);
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        checks::required_enum(object, &Path::ROOT, "addressType", &ADDRESS_TYPES, errors);
        let same =
            |field: &str| old.is_some_and(|old| semantic_equal(object.get(field), old.get(field)));
        if !same("endpoints") {
            validate_endpoints(object, &Path::ROOT.field("endpoints"), errors);
        }
        validate_ports(object, &Path::ROOT.field("ports"), errors);
        if let Some(old) = old {
            let path = Path::ROOT.field("addressType");
            checks::immutable(
                at(object, "addressType"),
                at(old, "addressType"),
                &path,
                errors,
            );
        }
    }

    fn warnings(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        if old.is_none() && str_at(object, "addressType") == "FQDN" {
            out.push("spec.addressType: FQDN endpoints are deprecated".into());
        }
        let labels = at(object, "metadata").and_then(|m| at(m, "labels"));
        let managed = labels.map_or("", |l| str_at(l, MANAGED_BY));
        let by_controller = managed.ends_with(".k8s.io");
        let unchanged = old.is_some_and(|old| old.get("endpoints") == object.get("endpoints"));
        if by_controller || unchanged || str_at(object, "addressType") == "FQDN" {
            return out;
        }
        let path = Path::ROOT.field("endpoints");
        for (i, item) in arr_at(object, "endpoints").iter().enumerate() {
            let path = path.index(i);
            let path = path.field("addresses");
            for (j, address) in arr_at(item, "addresses").iter().enumerate() {
                let text = address.as_str().unwrap_or_default();
                net::warn_ip(&path.index(j), text, &mut out);
            }
        }
        out
    }

    fn spec_changed(&self, object: &Value, old: &Value) -> bool {
        let labels = |object: &Value| {
            at(object, "metadata")
                .and_then(|m| m.get("labels"))
                .cloned()
        };
        ["addressType", "endpoints", "ports"]
            .iter()
            .any(|field| !semantic_equal(object.get(*field), old.get(*field)))
            || !semantic_equal(labels(object).as_ref(), labels(old).as_ref())
    }
}

/// The topology of v1beta1 cannot be written in v1.
fn drop_topology(object: &mut Value) {
    for item in items_mut(object, "endpoints") {
        remove(item, "deprecatedTopology");
    }
}

fn validate_endpoints(object: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let endpoints = arr_at(object, "endpoints");
    if endpoints.len() > MAX_ENDPOINTS {
        return errors.too_many(path, endpoints.len(), MAX_ENDPOINTS);
    }
    let kind = str_at(object, "addressType");
    for (i, item) in endpoints.iter().enumerate() {
        let path = path.index(i);
        validate_addresses(item, kind, &path.field("addresses"), errors);
        if let Some(node) = opt_str_at(item, "nodeName") {
            let messages = names::dns1123_subdomain(node);
            invalid_each(errors, &path.field("nodeName"), node, messages);
        }
        let topology = obj_at(item, "deprecatedTopology").map_or(0, |t| t.len());
        let topology_path = path.field("deprecatedTopology");
        if topology > MAX_TOPOLOGY {
            errors.too_many(&topology_path, topology, MAX_TOPOLOGY);
        }
        for (key, value) in strings_at(item, "deprecatedTopology") {
            invalid_each(errors, &topology_path, key, names::qualified_name(key));
            invalid_each(errors, &topology_path, value, names::label_value(value));
        }
        if let Some(hostname) = opt_str_at(item, "hostname") {
            let messages = names::dns1123_label(hostname);
            invalid_each(errors, &path.field("hostname"), hostname, messages);
        }
        if let Some(hints) = at(item, "hints") {
            validate_hints(hints, "forZones", &path.field("hints"), errors);
            validate_hints(hints, "forNodes", &path.field("hints"), errors);
        }
    }
}

fn validate_addresses(item: &Value, kind: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let addresses = arr_at(item, "addresses");
    if addresses.is_empty() {
        errors.required(path, "must contain at least 1 address");
    } else if addresses.len() > MAX_ADDRESSES {
        errors.too_many(path, addresses.len(), MAX_ADDRESSES);
    }
    for (i, address) in addresses.iter().enumerate() {
        let item = path.index(i);
        let text = address.as_str().unwrap_or_default();
        let is_v4 = net::parse_ip(text).map(|ip| ip.addr.is_ipv4() || ip.is_mapped());
        let before = errors.0.len();
        match kind {
            "IPv4" => net::validate_ip(&item, text, &[], errors),
            "IPv6" => net::validate_ip_strict(&item, text, errors),
            "FQDN" => names::fully_qualified_domain_name(&item, text, errors),
            _ => {}
        }
        let is_ip = matches!(kind, "IPv4" | "IPv6");
        if !is_ip || errors.0.len() > before {
            continue;
        }
        if is_v4 != Some(kind == "IPv4") {
            // The whole list is named, not the address.
            errors.invalid_str(path, text, format!("must be an {kind} address"));
        }
        endpoint::validate_non_special_ip(text, &item, errors);
    }
}

fn validate_hints(hints: &Value, field: &'static str, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = arr_at(hints, field);
    let path = path.field(field);
    if list.len() > MAX_HINTS {
        return errors.too_many(&path, list.len(), MAX_HINTS);
    }
    for (i, hint) in list.iter().enumerate() {
        let item = path.index(i);
        let path = item.field("name");
        let name = str_at(hint, "name");
        if list[..i].iter().any(|h| str_at(h, "name") == name) {
            errors.duplicate(&path, &name.into());
        }
        let messages = match field {
            "forZones" => names::label_value(name),
            _ => names::dns1123_subdomain(name),
        };
        invalid_each(errors, &path, name, messages);
    }
}

fn validate_ports(object: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let ports = arr_at(object, "ports");
    if ports.len() > MAX_PORTS {
        return errors.too_many(path, ports.len(), MAX_PORTS);
    }
    for (i, port) in ports.iter().enumerate() {
        let path = path.index(i);
        let name = str_at(port, "name");
        if ports[..i].iter().any(|p| str_at(p, "name") == name) {
            let printed = super::super::common::golang::json(&name.into());
            errors.push(ErrorType::Duplicate, &path.field("name"), printed, "");
        }
        if !name.is_empty() {
            invalid_each(
                errors,
                &path.field("name"),
                name,
                names::dns1123_label(name),
            );
        }
        match opt_str_at(port, "protocol") {
            None => errors.required(&path.field("protocol"), ""),
            Some(protocol) if !PROTOCOLS.contains(&protocol) => {
                errors.not_supported(&path.field("protocol"), &protocol.into(), &PROTOCOLS);
            }
            Some(_) => {}
        }
        endpoint::validate_app_protocol(port, &path, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    fn check(object: &Value, old: Option<&Value>) -> String {
        let mut errors = FieldErrors::default();
        EndpointSliceStrategy.validate(object, old, &WriteContext::default(), &mut errors);
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        texts.join("\n")
    }

    #[test]
    fn slices() {
        let cases = [
            (
                json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]}),
                "",
            ),
            (json!({}), "addressType: Required value"),
            (
                json!({"addressType": "IPv4", "endpoints": [{}]}),
                "endpoints[0].addresses: Required value: must contain at least 1 address",
            ),
            (
                json!({"addressType": "IPv4", "ports": [{"name": "a", "protocol": "X"}]}),
                "ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ),
        ];
        for (object, want) in cases {
            assert_eq!(check(&object, None), want, "{object}");
        }
        let (old, new) = (
            json!({"addressType": "IPv4"}),
            json!({"addressType": "IPv6"}),
        );
        assert_eq!(
            check(&new, Some(&old)),
            "addressType: Invalid value: \"IPv6\": field is immutable"
        );
    }
}
