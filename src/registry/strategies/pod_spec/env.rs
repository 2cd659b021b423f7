//! Environment variables and their sources; downward API selectors.

use super::super::common::access::{arr_at, at, str_at};
use super::super::common::checks;
use super::super::common::names::{self, invalid_each};
use super::super::common::resources;
use super::Scope;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

/// Fields an environment variable may refer to.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields a downward API volume may refer to.
pub const VOLUME_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// Field labels pods know at all.
const KNOWN_FIELDS: [&str; 15] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "spec.host",
];

const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

const SOURCES: [&str; 5] = [
    "fieldRef",
    "resourceFieldRef",
    "configMapKeyRef",
    "secretKeyRef",
    "fileKeyRef",
];

const MORE_THAN_ONE: &str = "may not have more than one field specified at a time";

/// Validates `env`.
pub fn validate_env(container: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (i, variable) in arr_at(container, "env").iter().enumerate() {
        let path = path.index(i);
        let name = str_at(variable, "name");
        if name.is_empty() {
            errors.required(&path.field("name"), "");
        } else {
            invalid_each(errors, &path.field("name"), name, names::env_var_name(name));
        }
        if let Some(from) = at(variable, "valueFrom") {
            let has_value = !str_at(variable, "value").is_empty();
            validate_value_from(from, has_value, &path.field("valueFrom"), errors);
        }
    }
}

fn validate_value_from(from: &Value, has_value: bool, path: &Path<'_>, errors: &mut FieldErrors) {
    let mut count = 0;
    for source in SOURCES {
        let Some(reference) = at(from, source) else {
            continue;
        };
        count += 1;
        let path = path.field(source);
        match source {
            "fieldRef" => validate_field_ref(reference, &ENV_FIELDS, &path, errors),
            "resourceFieldRef" => {
                validate_resource_field_ref(reference, false, &path, errors);
            }
            "fileKeyRef" => validate_file_key_ref(reference, &path, errors),
            _ => validate_key_ref(reference, &path, errors),
        }
    }
    if count == 0 {
        errors.invalid_str(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    } else if has_value {
        errors.invalid_str(path, "", "may not be specified when `value` is not empty");
    } else if count > 1 {
        errors.invalid_str(path, "", MORE_THAN_ONE);
    }
}

/// Splits `path['subscript']`.
fn split_subscript(path: &str) -> Option<(&str, &str)> {
    let (head, subscript) = path.strip_suffix("']")?.split_once("['")?;
    (!head.is_empty()).then_some((head, subscript))
}

/// Validates an `ObjectFieldSelector` whose plain paths must be in `supported`.
pub fn validate_field_ref(
    reference: &Value,
    supported: &[&str],
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let version = str_at(reference, "apiVersion");
    let field = str_at(reference, "fieldPath");
    if version.is_empty() {
        errors.required(&path.field("apiVersion"), "");
        return;
    }
    let field_path = path.field("fieldPath");
    if field.is_empty() {
        errors.required(&field_path, "");
        return;
    }
    let subscripted = split_subscript(field);
    if let Some(reason) = label_error(version, field, subscripted) {
        errors.invalid_str(
            &field_path,
            field,
            format!("error converting fieldPath: {reason}"),
        );
        return;
    }
    match subscripted {
        Some(("metadata.annotations", key)) => {
            invalid_each(
                errors,
                path,
                key,
                names::qualified_name(&key.to_lowercase()),
            );
        }
        Some((_, key)) => invalid_each(errors, path, key, names::qualified_name(key)),
        None => {
            let internal = if field == "spec.host" {
                "spec.nodeName"
            } else {
                field
            };
            if !supported.contains(&internal) {
                errors.not_supported(&field_path, &internal.into(), supported);
            }
        }
    }
}

fn label_error(version: &str, field: &str, subscripted: Option<(&str, &str)>) -> Option<String> {
    if version != "v1" {
        return Some(format!("unsupported pod version: {version}"));
    }
    match subscripted {
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {field}")),
        None if KNOWN_FIELDS.contains(&field) => None,
        None => Some(format!("field label not supported: {field}")),
    }
}

/// Validates a `ResourceFieldSelector`; in volumes the container's name is needed.
pub fn validate_resource_field_ref(
    reference: &Value,
    in_volume: bool,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let resource = str_at(reference, "resource");
    let huge =
        resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if in_volume && str_at(reference, "containerName").is_empty() {
        errors.required(&path.field("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.field("resource"), "");
    } else if !huge && !RESOURCE_FIELDS.contains(&resource) {
        errors.not_supported(&path.field("resource"), &resource.into(), &RESOURCE_FIELDS);
    }
    validate_divisor(reference, resource, path, errors);
}

fn validate_divisor(reference: &Value, resource: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    const SIZES: [&str; 13] = [
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ];
    let Some(divisor) = at(reference, "divisor") else {
        return;
    };
    if resources::nanos(divisor) == Some(0) {
        return;
    }
    let (name, supported): (&str, &[&str]) =
        match resource.split_once('.').map_or("", |(_, name)| name) {
            "cpu" => ("cpu", &["1m", "1"]),
            "memory" => ("memory", &SIZES),
            "ephemeral-storage" => ("local ephemeral storage", &SIZES),
            name if name.starts_with("hugepages-") => ("hugepages", &SIZES),
            _ => return,
        };
    if !supported.contains(&resources::quantity_text(divisor).as_ref()) {
        let list = match name {
            "cpu" => "1m and 1".to_owned(),
            _ => SIZES.join(", "),
        };
        errors.invalid_str(
            &path.field("divisor"),
            resource,
            format!("only divisor's values {list} are supported with the {name} resource"),
        );
    }
}

fn validate_key_ref(reference: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let name = str_at(reference, "name");
    invalid_each(
        errors,
        &path.field("name"),
        name,
        names::dns1123_subdomain(name),
    );
    let key = str_at(reference, "key");
    if key.is_empty() {
        errors.required(&path.field("key"), "");
    } else {
        invalid_each(errors, &path.field("key"), key, names::config_map_key(key));
    }
}

fn validate_file_key_ref(reference: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let key = str_at(reference, "key");
    if key.is_empty() {
        errors.required(&path.field("key"), "");
    } else {
        invalid_each(errors, &path.field("key"), key, names::env_var_name(key));
    }
    let volume = str_at(reference, "volumeName");
    if volume.is_empty() {
        errors.required(&path.field("volumeName"), "");
    } else {
        invalid_each(
            errors,
            &path.field("volumeName"),
            volume,
            names::dns1123_label(volume),
        );
    }
    let file = str_at(reference, "path");
    if file.is_empty() {
        errors.required(&path.field("path"), "");
    } else {
        checks::local_non_reserved_path(file, &path.field("path"), errors);
    }
}

/// Validates `envFrom`. Upstream reports the number of sources at the list, without an index.
pub fn validate_env_from(container: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (i, source) in arr_at(container, "envFrom").iter().enumerate() {
        let item = path.index(i);
        let prefix = str_at(source, "prefix");
        if !prefix.is_empty() {
            invalid_each(
                errors,
                &item.field("prefix"),
                prefix,
                names::env_var_name(prefix),
            );
        }
        let mut count = 0;
        for field in ["configMapRef", "secretRef"] {
            let Some(reference) = at(source, field) else {
                continue;
            };
            count += 1;
            let path = item.field(field);
            let name = str_at(reference, "name");
            if name.is_empty() {
                errors.required(&path.field("name"), "");
            } else {
                invalid_each(
                    errors,
                    &path.field("name"),
                    name,
                    names::dns1123_subdomain(name),
                );
            }
        }
        match count {
            0 => errors.invalid_str(
                path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            ),
            1 => {}
            _ => errors.invalid_str(path, "", MORE_THAN_ONE),
        }
    }
}

/// Volumes that `fileKeyRef`s name exist and are `emptyDir`s.
pub fn validate_file_key_volumes(scope: &Scope<'_>, path: &Path<'_>, errors: &mut FieldErrors) {
    for field in ["containers", "initContainers", "ephemeralContainers"] {
        let list = path.field(field);
        for (i, container) in arr_at(scope.spec, field).iter().enumerate() {
            let container_path = list.index(i);
            let env_path = container_path.field("env");
            for (j, variable) in arr_at(container, "env").iter().enumerate() {
                let Some(reference) =
                    at(variable, "valueFrom").and_then(|from| at(from, "fileKeyRef"))
                else {
                    continue;
                };
                let name = str_at(reference, "volumeName");
                if name.is_empty() {
                    continue;
                }
                let item = env_path.index(j);
                let from = item.field("valueFrom");
                let source = from.field("fileKeyRef");
                let path = source.field("volumeName");
                match scope.volume(name) {
                    None => errors.not_found(&path, &name.into()),
                    Some(volume) if at(volume, "emptyDir").is_none() => errors.invalid_str(
                        &path,
                        name,
                        "referenced volume must be of type emptyDir",
                    ),
                    Some(_) => {}
                }
            }
        }
    }
}
