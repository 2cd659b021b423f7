//! Structural schemas (contract/crd.md §2): every value has one type, and logical junctors only
//! narrow what is declared outside of them.

use super::super::common::access::{arr_at, at, entries_at, get, is_true, str_at};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const JUNCTORS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Where a node stands.
#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Reports everything that is not structural, sorted by text.
pub fn validate(root: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let mut found = FieldErrors::default();
    validate_node(root, Level::Root, path, &mut found);
    complete_junctors(root, root, path, path, &mut found);
    found.0.sort_by_key(ToString::to_string);
    errors.extend(found);
}

fn validate_node(node: &Value, level: Level, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_type(node, level, path, errors);
    validate_extensions(node, level, path, errors);
    if level == Level::Root || is_true(node, EMBEDDED) {
        validate_meta(node, level, path, errors);
    }
    let items = get(node, "items");
    if items.is_object() {
        validate_node(items, Level::Item, &path.field("items"), errors);
    } else if str_at(node, "type") == "array" {
        errors.required(&path.field("items"), "must be specified");
    }
    let list = path.field("properties");
    for (name, child) in entries_at(node, "properties") {
        validate_node(child, Level::Field, &list.key(name), errors);
    }
    let additional = get(node, "additionalProperties");
    if additional.is_object() {
        let path = path.field("additionalProperties");
        validate_node(additional, Level::Field, &path, errors);
    }
    validate_junctors(node, is_true(node, INT_OR_STRING), path, errors);
}

fn validate_type(node: &Value, level: Level, path: &Path<'_>, errors: &mut FieldErrors) {
    let kind = str_at(node, "type");
    let path = path.field("type");
    if kind.is_empty() {
        if is_true(node, EMBEDDED) {
            errors.required(
                &path,
                "must be object if x-kubernetes-embedded-resource is true",
            );
        } else if level == Level::Root {
            errors.required(&path, "must not be empty at the root");
        } else if !is_true(node, INT_OR_STRING) && !is_true(node, PRESERVE) {
            errors.required(
                &path,
                if level == Level::Item {
                    "must not be empty for specified array items"
                } else {
                    "must not be empty for specified object fields"
                },
            );
        }
    } else if kind != "object" {
        if level == Level::Root {
            errors.invalid_str(&path, kind, "must be object at the root");
        }
        if is_true(node, EMBEDDED) {
            errors.invalid_str(
                &path,
                kind,
                "must be object if x-kubernetes-embedded-resource is true",
            );
        }
    }
}

fn validate_extensions(node: &Value, level: Level, path: &Path<'_>, errors: &mut FieldErrors) {
    let embedded = is_true(node, EMBEDDED);
    if at(node, "additionalProperties").is_some() {
        let path = path.field("additionalProperties");
        if level == Level::Root {
            errors.forbidden(&path, "must not be used at the root");
        }
        if embedded {
            errors.forbidden(
                &path,
                "must not be used if x-kubernetes-embedded-resource is set",
            );
        }
    }
    let empty = entries_at(node, "properties").next().is_none();
    if embedded && empty && !is_true(node, PRESERVE) {
        errors.required(
            &path.field("properties"),
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        );
    }
    if is_true(node, INT_OR_STRING) {
        for key in [PRESERVE, EMBEDDED] {
            if is_true(node, key) {
                errors.invalid(
                    &path.field(key),
                    &true.into(),
                    "must be false if x-kubernetes-int-or-string is true",
                );
            }
        }
    }
}

/// Type and metadata of an object of its own.
fn validate_meta(node: &Value, level: Level, path: &Path<'_>, errors: &mut FieldErrors) {
    let properties = get(node, "properties");
    let list = path.field("properties");
    for (name, wanted) in [
        ("kind", "string"),
        ("apiVersion", "string"),
        ("metadata", "object"),
    ] {
        let kind = str_at(get(properties, name), "type");
        if at(properties, name).is_some() && kind != wanted {
            let path = list.key(name);
            errors.invalid_str(&path.field("type"), kind, format!("must be {wanted}"));
        }
    }
    let Some(metadata) = at(properties, "metadata").filter(|_| level == Level::Root) else {
        return;
    };
    let plain = |key: &str| matches!(key, "type" | "properties" | "description");
    let restricted = metadata
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| plain(key) || value.is_null())
        && entries_at(metadata, "properties")
            .all(|(name, _)| matches!(name, "name" | "generateName"));
    if !restricted {
        errors.forbidden(&list.key("metadata"), "must not specify anything other than name and generateName, but metadata is implicitly specified");
    }
}

/// Calls `f` for every schema in the junctors of `node`.
fn for_junctors(node: &Value, path: &Path<'_>, f: &mut dyn FnMut(&Value, &str, usize, &Path<'_>)) {
    for key in JUNCTORS {
        let list = path.field(key);
        for (i, child) in arr_at(node, key).iter().enumerate() {
            f(child, key, i, &list.index(i));
        }
    }
    let not = get(node, "not");
    if not.is_object() {
        f(not, "not", 0, &path.field("not"));
    }
}

fn validate_junctors(node: &Value, int_or_string: bool, path: &Path<'_>, errors: &mut FieldErrors) {
    // The two ways of writing int-or-string out are allowed.
    let written_out = |list: &[Value]| {
        list.len() == 2
            && ["integer", "string"]
                .iter()
                .zip(list)
                .all(|(kind, option)| str_at(option, "type") == *kind)
    };
    for_junctors(node, path, &mut |child, key, i, path| {
        let exempt = int_or_string && key == "anyOf" && written_out(arr_at(node, "anyOf"));
        let inner = int_or_string && key == "allOf" && i == 0;
        validate_nested(child, exempt, inner, path, errors);
    });
}

/// A schema inside a junctor: it may constrain values, not declare them.
fn validate_nested(
    node: &Value,
    typed: bool,
    int_or_string: bool,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let mut forbid = |key: &str, set: bool, text: &str| {
        if set {
            errors.forbidden(&path.field(key), text);
        }
    };
    let empty = "must be empty to be structural";
    forbid("type", !typed && !str_at(node, "type").is_empty(), empty);
    for key in ["title", "description"] {
        forbid(key, !str_at(node, key).is_empty(), empty);
    }
    for key in ["x-kubernetes-list-map-keys", "x-kubernetes-validations"] {
        forbid(key, !arr_at(node, key).is_empty(), empty);
    }
    for key in [
        "additionalProperties",
        "default",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
    ] {
        forbid(
            key,
            at(node, key).is_some(),
            "must be undefined to be structural",
        );
    }
    for key in ["nullable", PRESERVE, EMBEDDED, INT_OR_STRING] {
        forbid(key, is_true(node, key), "must be false to be structural");
    }
    let list = path.field("properties");
    for (name, child) in entries_at(node, "properties") {
        let path = list.key(name);
        if name == "metadata" {
            errors.forbidden(&path, "must not be specified in a nested context");
        }
        validate_nested(child, false, false, &path, errors);
    }
    let items = get(node, "items");
    if items.is_object() {
        validate_nested(items, false, false, &path.field("items"), errors);
    }
    validate_junctors(node, int_or_string, path, errors);
}

/// What junctors of the root constrain must be declared outside of them.
fn complete_junctors(
    outer: &Value,
    node: &Value,
    outer_path: &Path<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    for_junctors(node, path, &mut |child, _, _, path| {
        complete(outer, child, outer_path, path, errors);
    });
}

fn complete(
    outer: &Value,
    inner: &Value,
    outer_path: &Path<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let (declared, list) = (outer_path.field("properties"), path.field("properties"));
    for (name, child) in entries_at(inner, "properties") {
        let (declared, path) = (declared.key(name), list.key(name));
        match at(get(outer, "properties"), name) {
            None => errors.required(&declared, format!("because it is defined in {path}")),
            Some(outer) => complete(outer, child, &declared, &path, errors),
        }
    }
    let items = get(inner, "items");
    if items.is_object() {
        let (declared, path) = (outer_path.field("items"), path.field("items"));
        match at(outer, "items") {
            None => errors.required(&declared, format!("because it is defined in {path}")),
            Some(outer) => complete(outer, items, &declared, &path, errors),
        }
    }
    complete_junctors(outer, inner, outer_path, path, errors);
}
