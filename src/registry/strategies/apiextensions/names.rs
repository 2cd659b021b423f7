//! The group and `spec.names` of a CRD.

use super::super::common::access::{arr_at, str_at};
use super::super::common::names;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

/// The group: a DNS subdomain with at least one dot.
pub fn validate_group(group: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if group.is_empty() {
        errors.required(path, "");
        return;
    }
    let messages = names::dns1123_subdomain(group);
    if !messages.is_empty() {
        errors.invalid_str(path, group, messages.join(","));
    } else if !group.contains('.') {
        errors.invalid_str(path, group, "should be a domain with at least one dot");
    }
}

/// All names.
pub fn validate(all: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for field in ["plural", "singular", "kind", "listKind"] {
        if str_at(all, field).is_empty() {
            errors.required(&path.field(field), "");
        }
    }
    label(str_at(all, "plural"), &path.field("plural"), errors);
    label(str_at(all, "singular"), &path.field("singular"), errors);
    mixed_case(str_at(all, "kind"), &path.field("kind"), errors);
    mixed_case(str_at(all, "listKind"), &path.field("listKind"), errors);
    labels(all, "shortNames", path, errors);
    let kind = str_at(all, "kind");
    if !kind.is_empty() && kind == str_at(all, "listKind") {
        errors.invalid_str(
            &path.field("listKind"),
            kind,
            "kind and listKind may not be the same",
        );
    }
    labels(all, "categories", path, errors);
}

fn labels(all: &Value, field: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field(field);
    for (i, name) in arr_at(all, field).iter().enumerate() {
        let name = name.as_str().unwrap_or_default();
        let messages = names::dns1035_label(name);
        if !messages.is_empty() {
            errors.invalid_str(&list.index(i), name, messages.join(","));
        }
    }
}

fn label(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let messages = names::dns1035_label(name);
    if !name.is_empty() && !messages.is_empty() {
        errors.invalid_str(path, name, messages.join(","));
    }
}

fn mixed_case(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let messages = names::dns1035_label(&name.to_lowercase());
    if !name.is_empty() && !messages.is_empty() {
        errors.invalid_str(
            path,
            name,
            format!(
                "may have mixed case, but should otherwise match: {}",
                messages.join(",")
            ),
        );
    }
}
