//! The ports of a service.

use super::super::super::common::access::{arr_at, int_at, str_at};
use super::super::super::common::checks;
use super::super::super::common::endpoint;
use super::super::super::common::golang::{self, Field, Ty};
use super::super::super::common::names::{self, invalid_each};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;

/// Upstream prints only what makes a port a duplicate; the rest is zero.
const DUPLICATE: &[Field] = &[
    ("Name", "", Ty::Str),
    ("Protocol", "protocol", Ty::Str),
    ("AppProtocol", "", Ty::Nil),
    ("Port", "port", Ty::Int),
    ("TargetPort", "", Ty::Int),
    ("NodePort", "", Ty::Int),
];

/// Each port by itself; names are unique.
pub(super) fn validate_each(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let ports = arr_at(spec, "ports");
    for (i, port) in ports.iter().enumerate() {
        let path = path.index(i);
        let name = str_at(port, "name");
        let name_path = path.field("name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.required(&name_path, "");
            }
        } else {
            invalid_each(errors, &name_path, name, names::dns1123_label(name));
            if ports[..i].iter().any(|p| str_at(p, "name") == name) {
                errors.duplicate(&name_path, &name.into());
            }
        }
        endpoint::validate_port_number(port, &path, errors);
        endpoint::validate_protocol(port, &path, errors);
        checks::port_num_or_name(port.get("targetPort"), &path.field("targetPort"), errors);
        endpoint::validate_app_protocol(port, &path, errors);
    }
}

/// Node ports where the type has none, and duplicates.
pub(super) fn validate_together(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let ports = arr_at(spec, "ports");
    let node_port = |port: &Value| int_at(port, "nodePort");
    let protocol = |port: &Value| str_at(port, "protocol").to_string();
    if str_at(spec, "type") == "ClusterIP" {
        for (i, _) in ports.iter().enumerate().filter(|(_, p)| node_port(p) != 0) {
            let item = path.index(i);
            let text = "may not be used when `type` is 'ClusterIP'";
            errors.forbidden(&item.field("nodePort"), text);
        }
    }
    for (i, port) in ports.iter().enumerate().filter(|(_, p)| node_port(p) != 0) {
        let same = |p: &Value| node_port(p) == node_port(port) && protocol(p) == protocol(port);
        if ports[..i].iter().any(same) {
            let item = path.index(i);
            errors.duplicate(&item.field("nodePort"), &node_port(port).into());
        }
    }
    for (i, port) in ports.iter().enumerate() {
        let number = int_at(port, "port");
        let same = |p: &Value| int_at(p, "port") == number && protocol(p) == protocol(port);
        if ports[..i].iter().any(same) {
            let printed = golang::compact(Some(port), DUPLICATE);
            errors.push(ErrorType::Duplicate, &path.index(i), printed, "");
        }
    }
}
