//! What every node of a CRD's OpenAPI schema must fulfil, and formats that nobody knows.

use std::collections::BTreeSet;

use super::super::common::access::{arr_at, at, entries_at, get, is_true, str_at};
use super::structural;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Members that make a schema impossible to read as a structural one.
const UNSUPPORTED: [&str; 6] = [
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
    "$ref",
];

/// Members that may stand at the root when the status subresource is on.
const WITH_STATUS: [&str; 21] = [
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
];

const WITH_STATUS_TEXT: &str = "only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the status subresource is enabled";

const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// Formats that validators know.
const FORMATS: [&str; 34] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "date-time",
    "k8s-short-name",
    "k8s-long-name",
    "int32",
    "int64",
    "uint32",
    "uint64",
    "float",
    "double",
    "binary",
];

/// Validates a root schema.
pub fn validate(root: &Value, has_status: bool, path: &Path<'_>, errors: &mut FieldErrors) {
    if has_status {
        let allowed = |key: &str| WITH_STATUS.contains(&key) || key == "x-kubernetes-validations";
        let members = root.as_object().into_iter().flatten();
        if members
            .filter(|(_, value)| !value.is_null())
            .any(|(key, _)| !allowed(key))
        {
            errors.invalid_omitted(path, WITH_STATUS_TEXT);
        }
    }
    if is_true(root, "nullable") {
        errors.forbidden(
            &path.field("nullable"),
            "nullable cannot be true at the root",
        );
    }
    let mut structural = true;
    validate_node(root, path, &mut structural, errors);
    if structural {
        structural::validate(root, path, errors);
    }
}

/// Checks one node and all below. `structural` is cleared where the form itself is wrong.
fn validate_node(node: &Value, path: &Path<'_>, structural: &mut bool, errors: &mut FieldErrors) {
    validate_form(node, path, structural, errors);
    validate_lists(node, path, errors);
    validate_rules(node, path, errors);
    if get(node, "x-kubernetes-preserve-unknown-fields") == &Value::Bool(false) {
        errors.invalid(
            &path.field("x-kubernetes-preserve-unknown-fields"),
            &false.into(),
            "must be true or undefined",
        );
    }
    let pattern = str_at(node, "pattern");
    if !pattern.is_empty()
        && let Some(why) = pattern_error(pattern)
    {
        errors.invalid_str(
            &path.field("pattern"),
            pattern,
            format!("must be a valid regular expression, but isn't: {why}"),
        );
    }
    visit(node, path, &mut |child, path| {
        validate_node(child, path, structural, errors);
    });
}

/// Calls `f` for every schema directly below `node`.
fn visit(node: &Value, path: &Path<'_>, f: &mut dyn FnMut(&Value, &Path<'_>)) {
    let properties = path.field("properties");
    for (name, child) in entries_at(node, "properties") {
        f(child, &properties.key(name));
    }
    for key in ["additionalProperties", "items", "not"] {
        let child = get(node, key);
        if child.is_object() {
            f(child, &path.field(key));
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        let list = path.field(key);
        for (i, child) in arr_at(node, key).iter().enumerate() {
            f(child, &list.index(i));
        }
    }
}

fn validate_form(node: &Value, path: &Path<'_>, structural: &mut bool, errors: &mut FieldErrors) {
    let kind = str_at(node, "type");
    if kind == "null" {
        errors.forbidden(
            &path.field("type"),
            "type cannot be set to null, use nullable as an alternative",
        );
    } else if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.not_supported(&path.field("type"), &kind.into(), &TYPES);
    }
    for key in UNSUPPORTED {
        if at(node, key).is_some() {
            *structural = false;
            errors.forbidden(&path.field(key), format!("{key} is not supported"));
        }
    }
    if is_true(node, "uniqueItems") {
        *structural = false;
        errors.forbidden(
            &path.field("uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
    }
    let additional = get(node, "additionalProperties");
    let has_properties = entries_at(node, "properties").next().is_some();
    if has_properties && !additional.is_null() && additional != &Value::Bool(false) {
        errors.forbidden(
            &path.field("additionalProperties"),
            "additionalProperties and properties are mutual exclusive",
        );
    }
    if get(node, "items").is_array() {
        *structural = false;
        errors.forbidden(
            &path.field("items"),
            "items must be a schema object and not an array",
        );
    }
}

fn validate_lists(node: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let kind = str_at(node, "type");
    let type_path = path.field("type");
    let list_path = path.field("x-kubernetes-list-type");
    let list_type = str_at(node, "x-kubernetes-list-type");
    if !list_type.is_empty() {
        if kind != "array" {
            required_or_invalid(
                &type_path,
                kind,
                "must be array if x-kubernetes-list-type is specified",
                errors,
            );
        }
        let known = ["atomic", "set", "map"];
        if !known.contains(&list_type) {
            errors.not_supported(&list_path, &list_type.into(), &known);
        }
    }
    let map_type = str_at(node, "x-kubernetes-map-type");
    if !map_type.is_empty() {
        if kind != "object" {
            required_or_invalid(
                &type_path,
                kind,
                "must be object if x-kubernetes-map-type is specified",
                errors,
            );
        }
        let known = ["atomic", "granular"];
        if !known.contains(&map_type) {
            let path = path.field("x-kubernetes-map-type");
            errors.not_supported(&path, &map_type.into(), &known);
        }
    }
    if list_type != "map" && !arr_at(node, "x-kubernetes-list-map-keys").is_empty() {
        required_or_invalid(
            &list_path,
            list_type,
            "must be map if x-kubernetes-list-map-keys is non-empty",
            errors,
        );
    }
    match list_type {
        "map" => validate_map_list(node, path, errors),
        "set" => validate_set_items(get(node, "items"), &path.field("items"), errors),
        _ => {}
    }
}

fn required_or_invalid(path: &Path<'_>, text: &str, detail: &str, errors: &mut FieldErrors) {
    if text.is_empty() {
        errors.required(path, detail);
    } else {
        errors.invalid_str(path, text, detail);
    }
}

fn validate_map_list(node: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let keys = arr_at(node, "x-kubernetes-list-map-keys");
    let keys_path = path.field("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        errors.required(
            &keys_path,
            "must not be empty if x-kubernetes-list-type is map",
        );
    }
    let items_path = path.field("items");
    let Some(items) = at(node, "items").filter(|i| i.is_object()) else {
        errors.required(
            &items_path,
            "must have a schema if x-kubernetes-list-type is map",
        );
        return;
    };
    let kind = str_at(items, "type");
    if kind != "object" {
        required_or_invalid(
            &items_path.field("type"),
            kind,
            "must be object if parent array's x-kubernetes-list-type is map",
            errors,
        );
        return;
    }
    if is_true(items, "nullable") {
        errors.forbidden(
            &items_path.field("nullable"),
            "cannot be nullable when x-kubernetes-list-type is map",
        );
    }
    let properties = get(items, "properties");
    let list = items_path.field("properties");
    for (i, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        if keys[..i].contains(key) {
            errors.invalid(
                &keys_path,
                get(node, "x-kubernetes-list-map-keys"),
                "must not contain duplicate entries",
            );
        }
        let path = list.key(name);
        let Some(property) = at(properties, name) else {
            errors.invalid(
                &keys_path,
                get(node, "x-kubernetes-list-map-keys"),
                "entries must all be names of item properties",
            );
            continue;
        };
        let kind = str_at(property, "type");
        if matches!(kind, "array" | "object") {
            errors.invalid_str(
                &path.field("type"),
                kind,
                "must be a scalar type if parent array's x-kubernetes-list-type is map",
            );
        }
        let required = arr_at(items, "required").contains(key);
        if !required && at(property, "default").is_none() {
            errors.required(&path.field("default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
        }
        if is_true(property, "nullable") {
            errors.forbidden(
                &path.field("nullable"),
                "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
            );
        }
    }
}

fn validate_set_items(items: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let key = match str_at(items, "type") {
        "object" => "x-kubernetes-map-type",
        "array" => "x-kubernetes-list-type",
        _ => return,
    };
    if str_at(items, key) != "atomic" {
        errors.invalid(
            &path.field(key),
            get(items, key),
            "must be atomic as item of a list with x-kubernetes-list-type=set",
        );
    }
}

fn validate_rules(node: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("x-kubernetes-validations");
    for (i, rule) in arr_at(node, "x-kubernetes-validations").iter().enumerate() {
        let path = list.index(i);
        let text = str_at(rule, "rule");
        if text.trim().is_empty() {
            errors.required(&path.field("rule"), "rule is not specified");
        }
        let message = str_at(rule, "message");
        let message_path = path.field("message");
        if !message.is_empty() && message.trim().is_empty() {
            errors.invalid_str(
                &message_path,
                message,
                "message must be non-empty if specified",
            );
        } else if message.contains('\n') {
            errors.invalid_str(&message_path, message, "must not contain line breaks");
        } else if message.is_empty() && text.contains('\n') {
            errors.required(
                &message_path,
                "message must be specified if rule contains line breaks",
            );
        }
        let reason = get(rule, "reason");
        if !reason.is_null() && !REASONS.contains(&reason.as_str().unwrap_or_default()) {
            errors.not_supported(&path.field("reason"), reason, &REASONS);
        }
    }
}

/// What is wrong with a regular expression, as Go words it.
fn pattern_error(pattern: &str) -> Option<String> {
    let error = regex::Regex::new(pattern).err()?;
    let text = error.to_string();
    let why = if text.contains("unclosed group") {
        format!("missing closing ): `{pattern}`")
    } else if text.contains("unopened group") {
        format!("unexpected ): `{pattern}`")
    } else if text.contains("unclosed character class") {
        let open = pattern.rfind('[').unwrap_or_default();
        format!("missing closing ]: `{}`", &pattern[open..])
    } else if text.contains("repetition operator missing expression") {
        let operator = pattern.trim_start_matches(|c| !"*+?{".contains(c));
        let operator: String = operator.chars().take(1).collect();
        format!("missing argument to repetition operator: `{operator}`")
    } else if text.contains("look-around") {
        let start = pattern.find("(?").unwrap_or_default();
        let end = (start + 3).min(pattern.len());
        format!(
            "invalid or unsupported Perl syntax: `{}`",
            &pattern[start..end]
        )
    } else if text.contains("unrecognized escape") || text.contains("backreferences") {
        let start = pattern.find('\\').unwrap_or_default();
        let escape: String = pattern[start..].chars().take(2).collect();
        format!("invalid escape sequence: `{escape}`")
    } else {
        // Expressions only this machine's engine refuses (too large) are let through.
        return None;
    };
    Some(format!("error parsing regexp: {why}"))
}

/// Warnings for formats that no validator knows and that the stored object does not have already.
pub fn format_warnings(spec: &Value, old: Option<&Value>) -> Vec<String> {
    let collect = |spec: &Value| {
        let mut found = BTreeSet::new();
        for version in arr_at(spec, "versions") {
            let root = get(get(version, "schema"), "openAPIV3Schema");
            collect_formats(root, &mut found);
        }
        found
    };
    let known = old.map(collect).unwrap_or_default();
    collect(spec)
        .difference(&known)
        .map(|format| format!("unrecognized format \"{format}\""))
        .collect()
}

fn collect_formats(node: &Value, found: &mut BTreeSet<String>) {
    let format = str_at(node, "format");
    let normal = format.replace('-', "");
    let known = FORMATS.iter().any(|f| f.replace('-', "") == normal);
    if !format.is_empty() && !known {
        found.insert(format.to_owned());
    }
    visit(node, &Path::ROOT, &mut |child, _| {
        collect_formats(child, found);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    fn texts(root: &Value) -> Vec<String> {
        let mut errors = FieldErrors::default();
        validate(root, false, &Path::ROOT.field("s"), &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reports_nodes_and_structure() {
        let of = |a: Value| json!({"type": "object", "properties": {"a": a}});
        let cases = [
            (of(json!({"type": "string"})), None),
            (
                of(json!({})),
                Some(
                    "s.properties[a].type: Required value: must not be empty for specified object fields",
                ),
            ),
            (
                of(json!({"$ref": "#/x"})),
                Some("s.properties[a].$ref: Forbidden: $ref is not supported"),
            ),
            (
                of(json!({"type": "array"})),
                Some("s.properties[a].items: Required value: must be specified"),
            ),
            (
                of(json!({"type": "string", "pattern": "("})),
                Some(
                    "s.properties[a].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(`",
                ),
            ),
            (
                of(json!({"type": "string", "not": {"type": "string"}})),
                Some("s.properties[a].not.type: Forbidden: must be empty to be structural"),
            ),
        ];
        for (root, want) in cases {
            let want: Vec<&str> = want.into_iter().collect();
            assert_eq!(texts(&root), want, "{root}");
        }
    }
}
