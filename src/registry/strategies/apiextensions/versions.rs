//! `spec.versions` of a CRD and what its versions share: schema, subresources, columns, fields.

use super::super::common::access::{arr_at, at, get, is_true, semantic_equal, str_at};
use super::super::common::golang::{self, Field, Ty};
use super::super::common::names;
use super::{crd, extensions, schema};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::{Value, json};

const WARNING_MAX: usize = 256;

/// Members that stand at `spec` in the internal form when all versions have them alike.
const SHARED: [&str; 4] = [
    "schema",
    "subresources",
    "additionalPrinterColumns",
    "selectableFields",
];

const VERSION: &[Field] = &[
    ("Name", "name", Ty::Str),
    ("Served", "served", Ty::Bool),
    ("Storage", "storage", Ty::Bool),
    ("Deprecated", "deprecated", Ty::Bool),
    ("DeprecationWarning", "deprecationWarning", Ty::Nil),
    ("Schema", "schema", Ty::Nil),
    ("Subresources", "subresources", Ty::Nil),
    (
        "AdditionalPrinterColumns",
        "additionalPrinterColumns",
        Ty::List(&[
            ("Name", "name", Ty::Str),
            ("Type", "type", Ty::Str),
            ("Format", "format", Ty::Str),
            ("Description", "description", Ty::Str),
            ("Priority", "priority", Ty::Int),
            ("JSONPath", "jsonPath", Ty::Str),
        ]),
    ),
    (
        "SelectableFields",
        "selectableFields",
        Ty::List(&[("JSONPath", "jsonPath", Ty::Str)]),
    ),
];

/// The name of the storage version.
pub fn storage(spec: &Value) -> Option<&str> {
    arr_at(spec, "versions")
        .iter()
        .find(|v| is_true(v, "storage"))
        .map(|v| str_at(v, "name"))
}

/// Whether every version has `key` alike.
fn is_shared(versions: &[Value], key: &str) -> bool {
    versions
        .iter()
        .all(|v| semantic_equal(at(v, key), at(&versions[0], key)))
}

/// The versions in internal form: without what they share.
fn print(spec: &Value) -> String {
    let Some(versions) = at(spec, "versions").and_then(Value::as_array) else {
        return "null".into();
    };
    let mut versions = versions.clone();
    for key in SHARED {
        if !versions.is_empty() && is_shared(&versions, key) {
            for version in &mut versions {
                super::super::common::access::remove(version, key);
            }
        }
    }
    golang::compact_list(Some(&Value::Array(versions)), VERSION)
}

/// Each version and the list as a whole.
pub fn validate(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let versions = arr_at(spec, "versions");
    let list = path.field("versions");
    for (i, version) in versions.iter().enumerate() {
        validate_version(version, &list.index(i), errors);
    }
    let unique = (0..versions.len()).all(|i| {
        let name = str_at(&versions[i], "name");
        versions[..i].iter().all(|v| str_at(v, "name") != name)
    });
    let mut whole = |detail: &str| {
        errors.push(ErrorType::Invalid, &list, print(spec), detail);
    };
    if !unique {
        whole("must contain unique version names");
    }
    if versions.iter().filter(|v| is_true(v, "storage")).count() != 1 {
        whole("must have exactly one version marked as storage version");
    }
    // The internal form repeats the first version's name.
    if let Some(first) = versions.first() {
        let name = str_at(first, "name");
        let messages = names::dns1035_label(name);
        if !messages.is_empty() {
            errors.invalid_str(&path.field("version"), name, messages.join(","));
        }
    }
}

fn validate_version(version: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let name = str_at(version, "name");
    let messages = names::dns1035_label(name);
    if !messages.is_empty() {
        errors.invalid_str(&path.field("name"), name, messages.join(","));
    }
    if at(get(version, "schema"), "openAPIV3Schema").is_none() {
        let schema = path.field("schema");
        errors.required(&schema.field("openAPIV3Schema"), "");
    }
    let Some(warning) = at(version, "deprecationWarning").and_then(Value::as_str) else {
        return;
    };
    let path = path.field("deprecationWarning");
    if !is_true(version, "deprecated") {
        errors.invalid_str(&path, warning, "can only be set for deprecated versions");
    }
    if warning.len() > WARNING_MAX {
        errors.invalid_str(
            &path,
            warning,
            format!("must be <= {WARNING_MAX} characters long"),
        );
    }
    if warning.is_empty() {
        errors.invalid_str(&path, warning, "must not be an empty string");
    }
    if let Some((i, c)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        errors.invalid_str(
            &path,
            warning,
            format!(
                "must only contain printable UTF-8 characters; non-printable character found at index {i}: U+{:04X}",
                c as u32
            ),
        );
    }
}

/// Schemas, subresources, columns and selectable fields: once at `spec` when shared, else at each
/// version.
pub fn validate_shared(
    spec: &Value,
    old: Option<&Value>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let versions = arr_at(spec, "versions");
    let Some(first) = versions.first() else {
        return;
    };
    // What was stored before is not looked at again.
    let unchanged = old.is_some_and(|old| crd::same_versions(spec, old));
    if unchanged {
        return;
    }
    let list = path.field("versions");
    for key in SHARED {
        if is_shared(versions, key) {
            validate_member(first, key, true, path, errors);
            continue;
        }
        for (i, version) in versions.iter().enumerate() {
            validate_member(version, key, false, &list.index(i), errors);
        }
    }
}

fn validate_member(
    version: &Value,
    key: &str,
    shared: bool,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    match key {
        "schema" => {
            let Some(root) = at(get(version, "schema"), "openAPIV3Schema") else {
                return;
            };
            let path = path.field(if shared { "validation" } else { "schema" });
            let has_status = at(get(version, "subresources"), "status").is_some();
            schema::validate(root, has_status, &path.field("openAPIV3Schema"), errors);
        }
        "subresources" => {
            if let Some(scale) = at(get(version, "subresources"), "scale") {
                let path = path.field("subresources");
                extensions::validate_scale(scale, &path.field("scale"), errors);
            }
        }
        "additionalPrinterColumns" => {
            extensions::validate_columns(version, &path.field(key), errors);
        }
        _ => extensions::validate_selectable(version, &path.field(key), errors),
    }
}

/// `status.storedVersions`: names of versions, the storage version among them.
pub fn validate_stored(object: &Value, errors: &mut FieldErrors) {
    let status = Path::ROOT.field("status");
    let path = status.field("storedVersions");
    let spec = get(object, "spec");
    let stored = arr_at(get(object, "status"), "storedVersions");
    if stored.is_empty() {
        errors.invalid(&path, &Value::Null, "must have at least one stored version");
        return;
    }
    for (i, version) in stored.iter().enumerate() {
        let name = version.as_str().unwrap_or_default();
        let known = arr_at(spec, "versions")
            .iter()
            .any(|v| str_at(v, "name") == name);
        if !known {
            errors.invalid_str(
                &path.index(i),
                name,
                format!("missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"),
            );
        }
    }
    // Each version marked takes one stored name away, so a second mark is an error of its own.
    let mut remaining: Vec<&Value> = stored.iter().collect();
    for version in arr_at(spec, "versions") {
        if !is_true(version, "storage") {
            continue;
        }
        let name = str_at(version, "name");
        match remaining.iter().position(|v| *v == name) {
            Some(i) => {
                remaining.remove(i);
            }
            None => errors.invalid(
                &path,
                &json!(stored),
                format!("must have the storage version {name}"),
            ),
        }
    }
}
