//! Container ports: each by itself, and host ports across containers.

use super::super::common::access::{arr_at, int_at, is_true, str_at};
use super::super::common::checks;
use super::super::common::names::{self, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

/// Protocols of ports, as listed in errors.
pub const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// Validates `ports` of one container.
pub fn validate_container_ports(container: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let mut seen: Vec<&str> = Vec::new();
    for (i, port) in arr_at(container, "ports").iter().enumerate() {
        let path = path.index(i);
        let name = str_at(port, "name");
        if !name.is_empty() {
            let messages = names::port_name(name);
            if !messages.is_empty() {
                invalid_each(errors, &path.field("name"), name, messages);
            } else if seen.contains(&name) {
                errors.duplicate(&path.field("name"), &name.into());
            } else {
                seen.push(name);
            }
        }
        let number = int_at(port, "containerPort");
        if number == 0 {
            errors.required(&path.field("containerPort"), "");
        } else {
            check_number(number, &path.field("containerPort"), errors);
        }
        let host = int_at(port, "hostPort");
        if host != 0 {
            check_number(host, &path.field("hostPort"), errors);
        }
        checks::required_enum(port, &path, "protocol", &PROTOCOLS, errors);
    }
}

fn check_number(number: i64, path: &Path<'_>, errors: &mut FieldErrors) {
    for message in names::port_number(number) {
        errors.invalid(path, &number.into(), message);
    }
}

/// Host ports are unique by protocol, host IP and number among `containers`; `first` is the index of
/// the first of them in the list at `path`.
pub fn validate_unique_host_ports(
    containers: &[Value],
    first: usize,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let mut seen: Vec<String> = Vec::new();
    for (i, container) in containers.iter().enumerate() {
        let container_path = path.index(first + i);
        let ports_path = container_path.field("ports");
        for (j, port) in arr_at(container, "ports").iter().enumerate() {
            let number = int_at(port, "hostPort");
            if number == 0 {
                continue;
            }
            let protocol = str_at(port, "protocol");
            let key = format!("{protocol}/{}/{number}", str_at(port, "hostIP"));
            if seen.contains(&key) {
                let path = ports_path.index(j);
                errors.duplicate(&path.field("hostPort"), &key.as_str().into());
            } else {
                seen.push(key);
            }
        }
    }
}

/// With the host's network, host ports equal container ports. Templates may leave them out: there the
/// pod's default has not been applied yet.
pub fn validate_host_network_ports(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if !is_true(spec, "hostNetwork") {
        return;
    }
    for field in ["containers", "initContainers"] {
        let list_path = path.field(field);
        for (i, container) in arr_at(spec, field).iter().enumerate() {
            let container_path = list_path.index(i);
            let ports_path = container_path.field("ports");
            for (j, port) in arr_at(container, "ports").iter().enumerate() {
                let host = int_at(port, "hostPort");
                if host != 0 && host != int_at(port, "containerPort") {
                    let path = ports_path.index(j);
                    errors.invalid(
                        &path.field("hostPort"),
                        &host.into(),
                        "must match `containerPort` when `hostNetwork` is true",
                    );
                }
            }
        }
    }
}
