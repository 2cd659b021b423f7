//! ObjectMeta: the rules of every kind (contract/validation.md §A4).
//!
//! The registry calls these for every write; strategies of templates use [`labels`](super::checks::labels)
//! and [`validate_annotations`].

use super::access::{arr_at, at, int_at, is_true, opt_str_at, str_at, strings_at};
use super::checks::{self, IMMUTABLE};
use super::names::{self, NameRule, invalid_each};
use crate::api::field::{ErrorType, FieldErrors, Path, print_value};
use crate::base::tree::Value;

const ANNOTATIONS_MAX_BYTES: usize = 262_144;
const MANAGER_MAX_BYTES: usize = 128;
const SUBRESOURCE_MAX_BYTES: usize = 256;
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Validates the metadata of a new built-in object, finalizer names of core kinds included.
pub fn validate_object_meta(
    meta: &Value,
    namespaced: bool,
    name_rule: NameRule,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    validate_generic_object_meta(meta, namespaced, name_rule, path, errors);
    validate_kube_finalizers(meta, path, errors);
}

/// Validates the metadata of a new object of any kind (custom resources: without the rule that
/// finalizers are qualified).
pub fn validate_generic_object_meta(
    meta: &Value,
    namespaced: bool,
    name_rule: NameRule,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let generate_name = str_at(meta, "generateName");
    if !generate_name.is_empty() {
        let messages = name_rule.check(generate_name, true);
        invalid_each(errors, &path.field("generateName"), generate_name, messages);
    }
    let name = str_at(meta, "name");
    if name.is_empty() {
        errors.required(&path.field("name"), "name or generateName is required");
    } else {
        invalid_each(
            errors,
            &path.field("name"),
            name,
            name_rule.check(name, false),
        );
    }
    let namespace = str_at(meta, "namespace");
    let namespace_path = path.field("namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.required(&namespace_path, ""),
        (true, false) => invalid_each(
            errors,
            &namespace_path,
            namespace,
            names::dns1123_label(namespace),
        ),
        (false, true) => {}
        (false, false) => errors.forbidden(&namespace_path, "not allowed on this type"),
    }
    checks::non_negative(meta, path, "generation", errors);
    checks::labels(meta.get("labels"), &path.field("labels"), errors);
    validate_annotations(meta, &path.field("annotations"), errors);
    validate_owner_references(meta, &path.field("ownerReferences"), errors);
    validate_finalizers(meta, &path.field("finalizers"), errors);
    validate_managed_fields(meta, &path.field("managedFields"), errors);
}

/// The finalizers of built-in kinds are standard or fully qualified.
pub fn validate_kube_finalizers(meta: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.field("finalizers");
    for (i, finalizer) in arr_at(meta, "finalizers").iter().enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        validate_kube_finalizer(name, &path.index(i), errors);
    }
}

/// One finalizer name is standard or fully qualified.
pub fn validate_kube_finalizer(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
        errors.invalid_str(
            path,
            name,
            "name is neither a standard finalizer name nor is it fully qualified",
        );
    }
}

/// Validates the metadata of an update against the stored metadata.
pub fn validate_object_meta_update(
    new: &Value,
    old: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    if at(old, "deletionTimestamp").is_some() {
        validate_no_new_finalizers(new, old, &path.field("finalizers"), errors);
    }
    if str_at(new, "resourceVersion").is_empty() {
        errors.invalid_str(
            &path.field("resourceVersion"),
            "",
            "must be specified for an update",
        );
    }
    if int_at(new, "generation") < int_at(old, "generation") {
        let generation = int_at(new, "generation").into();
        errors.invalid(
            &path.field("generation"),
            &generation,
            "must not be decremented",
        );
    }
    for (field, empty_is_equal) in [
        ("name", false),
        ("namespace", false),
        ("uid", true),
        ("creationTimestamp", true),
        ("deletionTimestamp", true),
        ("deletionGracePeriodSeconds", true),
    ] {
        let value = at(new, field);
        if value == at(old, field) || (empty_is_equal && value.is_none()) {
            continue;
        }
        let printed = print_value(value.unwrap_or(&Value::Null));
        errors.push(ErrorType::Invalid, &path.field(field), printed, IMMUTABLE);
    }
    checks::labels(new.get("labels"), &path.field("labels"), errors);
    validate_annotations(new, &path.field("annotations"), errors);
    validate_owner_references(new, &path.field("ownerReferences"), errors);
    validate_managed_fields(new, &path.field("managedFields"), errors);
}

fn validate_no_new_finalizers(new: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let stored = arr_at(old, "finalizers");
    let mut added: Vec<&str> = arr_at(new, "finalizers")
        .iter()
        .filter(|f| !stored.contains(f))
        .filter_map(Value::as_str)
        .collect();
    if added.is_empty() {
        return;
    }
    added.sort_unstable();
    added.dedup();
    let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
    errors.forbidden(
        path,
        format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            list.join(", ")
        ),
    );
}

/// Annotations of `meta`: keys are qualified names, 256 KiB in all. `path` is that of the annotations.
pub fn validate_annotations(meta: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let mut bytes = 0;
    for (key, value) in strings_at(meta, "annotations") {
        let messages = if key.bytes().any(|b| b.is_ascii_uppercase()) {
            names::qualified_name(&key.to_lowercase())
        } else {
            names::qualified_name(key)
        };
        invalid_each(errors, path, key, messages);
        bytes += key.len() + value.len();
    }
    if bytes > ANNOTATIONS_MAX_BYTES {
        errors.too_long(path, ANNOTATIONS_MAX_BYTES);
    }
}

fn validate_owner_references(meta: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let references = arr_at(meta, "ownerReferences");
    let mut controller: Option<String> = None;
    for reference in references {
        validate_owner_reference(reference, path, errors);
        if !is_true(reference, "controller") {
            continue;
        }
        let current = format!(
            "{}/{}",
            str_at(reference, "kind"),
            str_at(reference, "name")
        );
        match &controller {
            None => controller = Some(current),
            Some(first) => {
                let list: Vec<String> = references.iter().map(print_owner_reference).collect();
                errors.push(
                    ErrorType::Invalid,
                    path,
                    format!("[{}]", list.join(",")),
                    format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {current}"),
                );
            }
        }
    }
}

fn validate_owner_reference(reference: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let api_version = str_at(reference, "apiVersion");
    let version = match api_version.split_once('/') {
        None => api_version,
        Some((_, version)) if version.contains('/') => "",
        Some((_, version)) => version,
    };
    if version.is_empty() {
        errors.invalid_str(
            &path.field("apiVersion"),
            api_version,
            "version must not be empty",
        );
    }
    for field in ["kind", "name", "uid"] {
        if str_at(reference, field).is_empty() {
            errors.invalid_str(&path.field(field), "", "must not be empty");
        }
    }
    if api_version == "v1" && str_at(reference, "kind") == "Event" {
        errors.push(
            ErrorType::Invalid,
            path,
            print_owner_reference(reference),
            "/v1, Kind=Event is disallowed from being an owner",
        );
    }
}

fn print_owner_reference(reference: &Value) -> String {
    let mut out = String::from("{");
    for field in ["apiVersion", "kind", "name", "uid"] {
        if out.len() > 1 {
            out.push(',');
        }
        let value = Value::from(str_at(reference, field));
        out.push_str(&format!("\"{field}\":{value}"));
    }
    for field in ["controller", "blockOwnerDeletion"] {
        if let Some(value) = at(reference, field) {
            out.push_str(&format!(",\"{field}\":{value}"));
        }
    }
    out.push('}');
    out
}

fn validate_finalizers(meta: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let finalizers = arr_at(meta, "finalizers");
    for finalizer in finalizers {
        let name = finalizer.as_str().unwrap_or_default();
        invalid_each(errors, path, name, names::qualified_name(name));
    }
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    if has("orphan") && has("foregroundDeletion") {
        errors.invalid(
            path,
            &Value::Array(finalizers.to_vec()),
            "finalizer orphan and foregroundDeletion cannot be both set",
        );
    }
}

fn validate_managed_fields(meta: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (i, entry) in arr_at(meta, "managedFields").iter().enumerate() {
        let path = path.index(i);
        let operation = str_at(entry, "operation");
        if !matches!(operation, "Apply" | "Update") {
            errors.invalid_str(
                &path.field("operation"),
                operation,
                "must be `Apply` or `Update`",
            );
        }
        if let Some(fields_type) = opt_str_at(entry, "fieldsType")
            && !fields_type.is_empty()
            && fields_type != "FieldsV1"
        {
            errors.invalid_str(&path.field("fieldsType"), fields_type, "must be `FieldsV1`");
        }
        validate_field_manager(str_at(entry, "manager"), &path.field("manager"), errors);
        if str_at(entry, "subresource").len() > SUBRESOURCE_MAX_BYTES {
            errors.too_long(&path.field("subresource"), SUBRESOURCE_MAX_BYTES);
        }
    }
}

/// A field manager: at most 128 bytes, printable.
pub fn validate_field_manager(manager: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if manager.len() > MANAGER_MAX_BYTES {
        errors.too_long(path, MANAGER_MAX_BYTES);
    }
    for (position, c) in manager.char_indices() {
        if c.is_control() || (c.is_whitespace() && c != ' ') {
            let shown = if c.is_control() {
                String::new()
            } else {
                format!(" '{c}'")
            };
            errors.invalid_str(
                path,
                manager,
                format!(
                    "invalid character U+{:04X}{shown} (at position {position})",
                    c as u32
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    fn check(meta: Value) -> String {
        let mut errors = FieldErrors::default();
        let path = Path::ROOT.field("metadata");
        validate_object_meta(&meta, true, NameRule::Subdomain, &path, &mut errors);
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        texts.join("\n")
    }

    #[test]
    fn create() {
        let cases = [
            (json!({"name": "a", "namespace": "n"}), ""),
            (
                json!({"namespace": "n"}),
                "metadata.name: Required value: name or generateName is required",
            ),
            (json!({"name": "a"}), "metadata.namespace: Required value"),
            (
                json!({"name": "a", "namespace": "n", "finalizers": ["x"]}),
                "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified",
            ),
            (
                json!({"name": "a", "namespace": "n", "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Event", "name": "p", "uid": "1"}]}),
                "metadata.ownerReferences: Invalid value: {\"apiVersion\":\"v1\",\"kind\":\"Event\",\"name\":\"p\",\"uid\":\"1\"}: /v1, Kind=Event is disallowed from being an owner",
            ),
            (
                json!({"name": "a", "namespace": "n", "managedFields": [{"operation": "X", "manager": "a\nb"}]}),
                "metadata.managedFields[0].operation: Invalid value: \"X\": must be `Apply` or `Update`\nmetadata.managedFields[0].manager: Invalid value: \"a\\nb\": invalid character U+000A (at position 1)",
            ),
        ];
        for (meta, want) in cases {
            assert_eq!(check(meta.clone()), want, "{meta}");
        }
    }

    #[test]
    fn update() {
        let old = json!({"name": "a", "namespace": "n", "uid": "1", "generation": 2,
            "deletionTimestamp": "2024-01-01T00:00:00Z", "resourceVersion": "3"});
        let new = json!({"name": "a", "namespace": "n", "uid": "2", "generation": 1,
            "finalizers": ["b/x", "a/x"]});
        let mut errors = FieldErrors::default();
        let path = Path::ROOT.field("metadata");
        validate_object_meta_update(&new, &old, &path, &mut errors);
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a/x\", \"b/x\"}",
                "metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
                "metadata.generation: Invalid value: 1: must not be decremented",
                "metadata.uid: Invalid value: \"2\": field is immutable",
            ]
        );
    }
}
