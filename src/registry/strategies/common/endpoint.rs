//! Rules that Service, Endpoints and EndpointSlice share: ports, protocols, special addresses.

use std::net::IpAddr;

use super::access::{at, int_at, str_at};
use super::names::{self, invalid_each};
use super::net::parse_ip;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

/// The protocols of ports, sorted.
pub const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// `port` is a port number.
pub fn validate_port_number(port: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let number = int_at(port, "port");
    for message in names::port_number(number) {
        errors.invalid(&path.field("port"), &number.into(), message);
    }
}

/// `protocol` is set and known.
pub fn validate_protocol(port: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    super::checks::required_enum(port, path, "protocol", &PROTOCOLS, errors);
}

/// `appProtocol`, when given, is a qualified name.
pub fn validate_app_protocol(port: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if let Some(name) = at(port, "appProtocol").and_then(Value::as_str) {
        let messages = names::qualified_name(name);
        invalid_each(errors, &path.field("appProtocol"), name, messages);
    }
}

/// `text` is an address that other machines can reach.
pub fn validate_non_special_ip(text: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(ip) = parse_ip(text) else {
        return errors.invalid_str(path, text, "must be a valid IP address");
    };
    let mapped = match ip.addr {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map(IpAddr::V4),
        IpAddr::V4(_) => None,
    };
    let mut refuse = |why: &str| errors.invalid_str(path, text, why);
    match mapped.unwrap_or(ip.addr) {
        addr if addr.is_unspecified() => {
            refuse(&format!("may not be unspecified ({text})"));
        }
        addr if addr.is_loopback() => {
            refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
        }
        addr if is_link_local(addr) => {
            refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
        }
        addr if is_link_local_multicast(addr) => {
            refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
        }
        _ => {}
    }
}

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0) == 0xfe80,
    }
}

fn is_link_local_multicast(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => (v6.segments()[0] & 0xff0f) == 0xff02,
    }
}

/// `status.loadBalancer.ingress` of Ingress and Service: addresses and host names.
pub fn validate_load_balancer_names(
    ingress: &Value,
    stored: &[&str],
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let ip = str_at(ingress, "ip");
    if !ip.is_empty() {
        super::net::validate_ip(&path.field("ip"), ip, stored, errors);
    }
}

/// `hostname` of a load balancer: a DNS name, not an address.
pub fn validate_load_balancer_host(ingress: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let hostname = str_at(ingress, "hostname");
    if hostname.is_empty() {
        return;
    }
    let path = path.field("hostname");
    let messages = names::dns1123_subdomain(hostname);
    invalid_each(errors, &path, hostname, messages);
    if parse_ip(hostname).is_some() {
        errors.invalid_str(&path, hostname, "must be a DNS name, not an IP address");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses() {
        let cases = [
            ("10.0.0.1", ""),
            ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
            (
                "127.0.0.1",
                "may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                "fe80::1",
                "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            ),
            (
                "224.0.0.1",
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            ),
            ("x", "must be a valid IP address"),
        ];
        for (text, want) in cases {
            let mut errors = FieldErrors::default();
            validate_non_special_ip(text, &Path::ROOT, &mut errors);
            let got: Vec<&str> = errors.0.iter().map(|e| e.detail.as_str()).collect();
            assert_eq!(got.join("; "), want, "{text}");
        }
    }
}
