//! DNS configuration, host aliases and host names of a pod.

use super::super::common::access::{arr_at, at, is_true, opt_str_at, str_at};
use super::super::common::names::{self, invalid_each};
use super::super::common::net;
use crate::api::field::{ErrorType, FieldErrors, Path, print_value};
use crate::base::tree::Value;

const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_CHARS_MAX: usize = 2048;
const HOSTNAME_MAX: usize = 64;

/// Validates `dnsConfig` with the DNS policy.
pub fn validate_dns_config(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let none = str_at(spec, "dnsPolicy") == "None";
    let Some(config) = at(spec, "dnsConfig") else {
        if none {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let servers = arr_at(config, "nameservers");
    let servers_path = path.field("nameservers");
    if none && servers.is_empty() {
        errors.required(
            &servers_path,
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        );
    }
    if servers.len() > NAMESERVERS_MAX {
        errors.push(
            ErrorType::Invalid,
            &servers_path,
            print_value(&Value::Array(servers.to_vec())),
            "must not have more than 3 nameservers",
        );
    }
    for (i, server) in servers.iter().enumerate() {
        let text = server.as_str().unwrap_or_default();
        net::validate_ip(&servers_path.index(i), text, &[], errors);
    }
    validate_searches(config, &path.field("searches"), errors);
    let options = path.field("options");
    for (i, option) in arr_at(config, "options").iter().enumerate() {
        if str_at(option, "name").is_empty() {
            errors.required(&options.index(i), "must not be empty");
        }
    }
}

fn validate_searches(config: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let searches = arr_at(config, "searches");
    let list = || print_value(&Value::Array(searches.to_vec()));
    if searches.len() > SEARCHES_MAX {
        errors.push(
            ErrorType::Invalid,
            path,
            list(),
            "must not have more than 32 search paths",
        );
    }
    let lengths = searches.iter().filter_map(Value::as_str).map(str::len);
    let chars = lengths.sum::<usize>() + searches.len().saturating_sub(1);
    if chars > SEARCH_CHARS_MAX {
        errors.push(
            ErrorType::Invalid,
            path,
            list(),
            "must not have more than 2048 characters (including spaces) in the search list",
        );
    }
    for (i, search) in searches.iter().enumerate() {
        let text = search.as_str().unwrap_or_default();
        if text == "." {
            continue;
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let messages = names::dns1123_subdomain_with_underscore(name);
        invalid_each(errors, &path.index(i), name, messages);
    }
}

/// Validates `hostAliases`.
pub fn validate_host_aliases(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (i, alias) in arr_at(spec, "hostAliases").iter().enumerate() {
        let path = path.index(i);
        net::validate_ip(&path.field("ip"), str_at(alias, "ip"), &[], errors);
        for name in arr_at(alias, "hostnames") {
            let name = name.as_str().unwrap_or_default();
            invalid_each(
                errors,
                &path.field("hostnames"),
                name,
                names::dns1123_subdomain(name),
            );
        }
    }
}

/// Validates `hostnameOverride`; `path` is the spec's.
pub fn validate_hostname_override(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(name) = opt_str_at(spec, "hostnameOverride") else {
        return;
    };
    let path = path.field("hostnameOverride");
    if is_true(spec, "setHostnameAsFQDN") {
        errors.forbidden(&path, "may not be specified when setHostnameAsFQDN is true");
    }
    if is_true(spec, "hostNetwork") {
        errors.forbidden(&path, "may not be specified when hostNetwork is true");
    }
    if name.len() > HOSTNAME_MAX {
        errors.too_long(&path, HOSTNAME_MAX);
    }
    invalid_each(errors, &path, name, names::dns1123_subdomain(name));
}
