//! `resourceClaims` of a pod, and the spec of persistent volume claims that pods and stateful sets embed.

use super::super::common::access::{arr_at, at, opt_str_at, path_at, str_at};
use super::super::common::golang;
use super::super::common::gotypes::POD_RESOURCE_CLAIM;
use super::super::common::names::{self, invalid_each};
use super::super::common::resources;
use super::super::common::selector::validate_label_selector;
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;

const ACCESS_MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

/// Names of the pod's resource claims.
pub fn names(spec: &Value) -> Vec<&str> {
    arr_at(spec, "resourceClaims")
        .iter()
        .map(|claim| str_at(claim, "name"))
        .collect()
}

/// Validates `resourceClaims`.
pub fn validate_resource_claims(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let claims = arr_at(spec, "resourceClaims");
    for (i, claim) in claims.iter().enumerate() {
        let path = path.index(i);
        let name = str_at(claim, "name");
        let name_path = path.field("name");
        if name.is_empty() {
            errors.required(&name_path, "");
        } else if claims[..i].iter().any(|c| str_at(c, "name") == name) {
            errors.duplicate(&name_path, &name.into());
        } else {
            invalid_each(errors, &name_path, name, names::dns1123_label(name));
        }
        let direct = opt_str_at(claim, "resourceClaimName");
        let template = opt_str_at(claim, "resourceClaimTemplateName");
        let message = match (direct, template) {
            (Some(_), Some(_)) => {
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            }
            (None, None) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            _ => "",
        };
        if !message.is_empty() {
            let printed = golang::compact(Some(claim), POD_RESOURCE_CLAIM);
            errors.push(ErrorType::Invalid, &path, printed, message);
        }
        for (field, name) in [
            ("resourceClaimName", direct),
            ("resourceClaimTemplateName", template),
        ] {
            if let Some(name) = name {
                let messages = names::dns1123_subdomain(name);
                invalid_each(errors, &path.field(field), name, messages);
            }
        }
    }
}

/// Validates `PersistentVolumeClaimSpec` (also of PersistentVolumeClaim itself).
pub fn validate_pvc_spec(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let modes = arr_at(spec, "accessModes");
    let modes_path = path.field("accessModes");
    if modes.is_empty() {
        errors.required(&modes_path, "at least 1 access mode is required");
    }
    if let Some(selector) = at(spec, "selector") {
        validate_label_selector(Some(selector), &path.field("selector"), errors);
    }
    for mode in modes {
        if !ACCESS_MODES.contains(&mode.as_str().unwrap_or_default()) {
            errors.not_supported(&modes_path, mode, &ACCESS_MODES);
        }
    }
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        errors.forbidden(
            &modes_path,
            "may not use ReadWriteOncePod with other access modes",
        );
    }
    let resources_path = path.field("resources");
    let storage_path = resources_path.key("storage");
    match path_at(spec, &["resources", "requests", "storage"]) {
        None => errors.required(&storage_path, ""),
        Some(storage) if resources::nanos(storage).is_some_and(|n| n <= 0) => {
            let text = resources::quantity_text(storage);
            errors.invalid_str(&storage_path, &text, "must be greater than zero");
        }
        Some(_) => {}
    }
    validate_class_name(spec, "storageClassName", path, errors);
    if let Some(mode) = at(spec, "volumeMode")
        && mode != "Block"
        && mode != "Filesystem"
    {
        errors.not_supported(&path.field("volumeMode"), mode, &["Block", "Filesystem"]);
    }
    validate_data_sources(spec, path, errors);
    validate_class_name(spec, "volumeAttributesClassName", path, errors);
}

fn validate_class_name(
    spec: &Value,
    field: &'static str,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let name = str_at(spec, field);
    if !name.is_empty() {
        invalid_each(
            errors,
            &path.field(field),
            name,
            names::dns1123_subdomain(name),
        );
    }
}

fn validate_data_sources(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let (source, reference) = (at(spec, "dataSource"), at(spec, "dataSourceRef"));
    for (field, value) in [("dataSource", source), ("dataSourceRef", reference)] {
        if let Some(value) = value {
            validate_data_source(value, &path.field(field), errors);
        }
    }
    let (Some(source), Some(reference)) = (source, reference) else {
        return;
    };
    let same = ["apiGroup", "kind", "name"]
        .iter()
        .all(|f| str_at(source, f) == str_at(reference, f));
    if !same {
        let field = path.field("dataSource").to_string();
        errors.invalid_str(path, &field, "must match dataSourceRef");
    }
}

fn validate_data_source(source: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for field in ["name", "kind"] {
        if str_at(source, field).is_empty() {
            errors.required(&path.field(field), "");
        }
    }
    let group = str_at(source, "apiGroup");
    if group.is_empty() && str_at(source, "kind") != "PersistentVolumeClaim" {
        let kind = str_at(source, "kind");
        errors.invalid_str(
            path,
            kind,
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        );
    }
    if !group.is_empty() {
        let messages = names::dns1123_subdomain(group);
        invalid_each(errors, &path.field("apiGroup"), group, messages);
    }
}
