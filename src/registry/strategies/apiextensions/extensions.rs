//! Printer columns, the scale subresource and selectable fields of a CRD.

use super::super::common::access::{arr_at, at, get, str_at};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];
const SELECTABLE_MAX: usize = 8;

/// `additionalPrinterColumns`.
pub fn validate_columns(version: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (i, column) in arr_at(version, "additionalPrinterColumns")
        .iter()
        .enumerate()
    {
        let path = path.index(i);
        if str_at(column, "name").is_empty() {
            errors.required(&path.field("name"), "");
        }
        let kind = str_at(column, "type");
        if kind.is_empty() {
            errors.required(
                &path.field("type"),
                format!("must be one of {}", TYPES.join(",")),
            );
        } else if !TYPES.contains(&kind) {
            errors.invalid_str(
                &path.field("type"),
                kind,
                format!("must be one of {}", TYPES.join(",")),
            );
        }
        let format = str_at(column, "format");
        if !format.is_empty() && !FORMATS.contains(&format) {
            errors.invalid_str(
                &path.field("format"),
                format,
                format!("must be one of {}", FORMATS.join(",")),
            );
        }
        // Upstream spells the member as its Go field.
        simple_path(str_at(column, "jsonPath"), &path.field("JSONPath"), errors);
    }
}

/// A JSON path of plain steps. Answers whether it is one.
fn simple_path(text: &str, path: &Path<'_>, errors: &mut FieldErrors) -> bool {
    if text.is_empty() {
        errors.required(path, "");
        return false;
    }
    let simple = text.starts_with('.') && !text.contains(".[") && !text.contains("..");
    if !simple {
        errors.invalid_str(path, text, "must be a simple json path starting with .");
    }
    simple
}

/// `subresources.scale`.
pub fn validate_scale(scale: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (field, root) in [
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
    ] {
        let text = str_at(scale, field);
        let path = path.field(field);
        if simple_path(text, &path, errors) && !text.starts_with(root) {
            let root = root.trim_end_matches('.');
            errors.invalid_str(&path, text, format!("should be a json path under {root}"));
        }
    }
    let text = str_at(scale, "labelSelectorPath");
    let path = path.field("labelSelectorPath");
    if !text.is_empty()
        && simple_path(text, &path, errors)
        && !text.starts_with(".spec.")
        && !text.starts_with(".status.")
    {
        errors.invalid_str(
            &path,
            text,
            "should be a json path under either .spec or .status",
        );
    }
}

/// `selectableFields`.
pub fn validate_selectable(version: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let fields = arr_at(version, "selectableFields");
    if fields.len() > SELECTABLE_MAX {
        errors.too_many(path, fields.len(), SELECTABLE_MAX);
    }
    let root = get(get(version, "schema"), "openAPIV3Schema");
    for (i, field) in fields.iter().enumerate() {
        let text = str_at(field, "jsonPath");
        let item = path.index(i);
        let path = item.field("jsonPath");
        if text.is_empty() {
            errors.required(&path, "");
            continue;
        }
        validate_field(text, root, &path, errors);
        if fields[..i].iter().any(|f| str_at(f, "jsonPath") == text) {
            errors.duplicate(&path, &text.into());
        }
    }
}

fn validate_field(text: &str, root: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let steps = match steps_of(text) {
        Ok(steps) => steps,
        Err(why) => {
            errors.invalid_str(path, text, format!("is an invalid path: {why}"));
            return;
        }
    };
    let mut node = root;
    for step in &steps {
        let next = get(get(node, "properties"), step);
        if next.is_null() {
            errors.invalid_str(
                path,
                text,
                "is an invalid path: does not refer to a valid field",
            );
            return;
        }
        node = next;
    }
    if steps.first() == Some(&"metadata") {
        errors.invalid_str(path, text, "must not point to fields in metadata");
    }
    let scalar = matches!(str_at(node, "type"), "string" | "boolean" | "integer");
    if !scalar || at(node, "x-kubernetes-int-or-string").is_some() {
        errors.invalid_str(
            path,
            text,
            "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
        );
    }
}

/// The steps of `.a.b`, or what is wrong.
fn steps_of(text: &str) -> Result<Vec<&str>, String> {
    let Some(rest) = text.strip_prefix('.') else {
        if text.starts_with('[') {
            return Err("does not support array notation".into());
        }
        return Err(format!("expected [ or . but got: {text}"));
    };
    if rest.contains('[') {
        return Err("does not support array notation".into());
    }
    let steps: Vec<&str> = rest.split('.').collect();
    if steps.iter().any(|step| step.is_empty()) {
        return Err(format!("expected [ or . but got: {text}"));
    }
    Ok(steps)
}
