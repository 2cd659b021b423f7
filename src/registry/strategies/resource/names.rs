//! Names of drivers, pools, attributes.

use super::super::common::names::{self, invalid_each};
use crate::api::field::{FieldErrors, Path};

const DOMAIN_MAX: usize = 63;
const NAME_MAX: usize = 32;
const POOL_MAX: usize = 253;

/// A driver: a DNS subdomain of at most 63 bytes, any case.
pub fn driver(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    if name.len() > DOMAIN_MAX {
        errors.too_long(path, DOMAIN_MAX);
    }
    let messages = names::dns1123_subdomain(&name.to_lowercase());
    invalid_each(errors, path, name, messages);
}

/// A DNS label.
pub fn label(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    invalid_each(errors, path, name, names::dns1123_label(name));
}

/// A pool: DNS subdomains separated by slashes.
pub fn pool(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    if name.len() > POOL_MAX {
        errors.too_long(path, POOL_MAX);
    }
    for part in name.split('/') {
        invalid_each(errors, path, part, names::dns1123_subdomain(part));
    }
}

/// `[domain/]name` of an attribute or a capacity.
pub fn qualified(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(path, "name required");
        return;
    }
    let Some((domain, rest)) = name.split_once('/') else {
        identifier(name, path, errors);
        return;
    };
    if domain.is_empty() {
        errors.invalid_str(path, domain, "the domain must not be empty");
    } else {
        if domain.len() > DOMAIN_MAX {
            errors.too_long(path, DOMAIN_MAX);
        }
        invalid_each(errors, path, domain, names::dns1123_subdomain(domain));
    }
    if rest.is_empty() {
        errors.invalid_str(path, rest, "the name must not be empty");
    } else {
        identifier(rest, path, errors);
    }
}

/// As [`qualified`], the domain being needed.
pub fn fully_qualified(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    qualified(name, path, errors);
    if !name.is_empty() && !name.contains('/') {
        errors.invalid_str(
            path,
            name,
            "a fully qualified name must be a domain and a name separated by a slash",
        );
    }
}

fn identifier(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if name.len() > NAME_MAX {
        errors.too_long(path, NAME_MAX);
    }
    invalid_each(errors, path, name, names::c_identifier(name));
}
