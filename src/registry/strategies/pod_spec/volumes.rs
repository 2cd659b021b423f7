//! The list of volumes: names, exactly one source each, and the sources that project files.
//! Sources of storage systems are in [`super::volume_sources`].

use super::super::common::access::{arr_at, at, i64_at, is_zero, str_at};
use super::super::common::checks;
use super::super::common::names::{self, invalid_each};
use super::super::common::resources;
use super::claims::validate_pvc_spec;
use super::env::{VOLUME_FIELDS, validate_field_ref, validate_resource_field_ref};
use super::{Owner, volume_sources};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const MODE_ERROR: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const DUPLICATE_PATHS: &str = "conflicting duplicate paths";
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// The sources in upstream's visit order.
pub const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// Validates `volumes` and returns the valid ones by name.
pub fn validate_volumes<'a>(
    spec: &'a Value,
    owner: Owner<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) -> Vec<(&'a str, &'a Value)> {
    let volumes = arr_at(spec, "volumes");
    let mut valid: Vec<(&str, &Value)> = Vec::with_capacity(volumes.len());
    for (i, volume) in volumes.iter().enumerate() {
        let path = path.index(i);
        let name = str_at(volume, "name");
        let before = errors.0.len();
        validate_source(volume, name, owner, &path, errors);
        let name_path = path.field("name");
        if name.is_empty() {
            errors.required(&name_path, "");
        } else {
            invalid_each(errors, &name_path, name, names::dns1123_label(name));
        }
        if valid.iter().any(|(n, _)| *n == name) {
            errors.duplicate(&name_path, &name.into());
        }
        if errors.0.len() == before {
            valid.push((name, volume));
        }
        if let Some(claim) = at(volume, "persistentVolumeClaim") {
            let claim_path = path.field("persistentVolumeClaim");
            reject_created_claim(
                claim,
                volumes,
                owner,
                &claim_path.field("claimName"),
                errors,
            );
        }
    }
    valid
}

/// A claim source may not name the claim that an ephemeral volume of the same pod creates.
fn reject_created_claim(
    claim: &Value,
    volumes: &[Value],
    owner: Owner<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let Owner::Pod(pod) = owner else { return };
    let name = str_at(claim, "claimName");
    let created = volumes
        .iter()
        .filter(|v| at(v, "ephemeral").is_some())
        .any(|v| {
            name.strip_prefix(pod)
                .and_then(|rest| rest.strip_prefix('-'))
                == Some(str_at(v, "name"))
        });
    if created && !pod.is_empty() {
        errors.invalid_str(
            path,
            name,
            "must not reference a PVC that gets created for an ephemeral volume",
        );
    }
}

fn validate_source(
    volume: &Value,
    name: &str,
    owner: Owner<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let mut count = 0;
    for source in SOURCES {
        let Some(value) = at(volume, source) else {
            continue;
        };
        count += 1;
        if count > 1 {
            let field = match source {
                "downwardAPI" => "downwarAPI",
                other => other,
            };
            errors.forbidden(
                &path.field(field),
                "may not specify more than 1 volume type",
            );
            continue;
        }
        let source_path = path.field(source);
        match source {
            "emptyDir" => validate_empty_dir(value, &source_path, errors),
            "hostPath" => validate_host_path(value, &source_path, errors),
            "secret" => {
                checks::required_str(value, &source_path, "secretName", errors);
                validate_files(value, &source_path, errors);
            }
            "configMap" => {
                checks::required_str(value, &source_path, "name", errors);
                validate_files(value, &source_path, errors);
            }
            "downwardAPI" => {
                validate_mode(value, "defaultMode", &source_path, errors);
                for item in arr_at(value, "items") {
                    validate_downward_file(item, &source_path, errors);
                }
            }
            "projected" => validate_projected(value, &source_path, errors),
            "ephemeral" => {
                validate_ephemeral(value, &source_path, errors);
                validate_created_claim_name(name, owner, path, errors);
            }
            "image" => validate_image(value, owner, &source_path, errors),
            _ => volume_sources::validate(source, value, path, errors),
        }
    }
    if count == 0 {
        errors.required(path, "must specify a volume type");
    }
}

fn validate_empty_dir(value: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if at(value, "sizeLimit")
        .and_then(resources::nanos)
        .is_some_and(|n| n < 0)
    {
        errors.forbidden(
            &path.field("sizeLimit"),
            "SizeLimit field must be a valid resource quantity",
        );
    }
}

/// `hostPath` (also of persistent volumes).
pub fn validate_host_path(value: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let host_path = str_at(value, "path");
    if host_path.is_empty() {
        errors.required(&path.field("path"), "");
    } else {
        checks::no_backsteps(host_path, &path.field("path"), errors);
    }
    checks::optional_enum(value, path, "type", &HOST_PATH_TYPES, errors);
}

fn validate_mode(value: &Value, field: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if let Some(mode) = i64_at(value, field)
        && !(0..=0o777).contains(&mode)
    {
        errors.invalid(&path.field(field), &mode.into(), MODE_ERROR);
    }
}

/// `defaultMode` and `items` of a secret or config map.
fn validate_files(value: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_mode(value, "defaultMode", path, errors);
    let items = path.field("items");
    for (i, item) in arr_at(value, "items").iter().enumerate() {
        validate_key_to_path(item, &items.index(i), errors);
    }
}

fn validate_key_to_path(item: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    checks::required_str(item, path, "key", errors);
    checks::required_str(item, path, "path", errors);
    checks::local_non_reserved_path(str_at(item, "path"), &path.field("path"), errors);
    validate_mode(item, "mode", path, errors);
}

/// A file of a downward API volume; upstream reports it at the source, without an index.
fn validate_downward_file(item: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    checks::required_str(item, path, "path", errors);
    checks::local_non_reserved_path(str_at(item, "path"), &path.field("path"), errors);
    match (at(item, "fieldRef"), at(item, "resourceFieldRef")) {
        (Some(field), resource) => {
            validate_field_ref(field, &VOLUME_FIELDS, &path.field("fieldRef"), errors);
            if resource.is_some() {
                errors.invalid_str(
                    path,
                    "resource",
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                );
            }
        }
        (None, Some(resource)) => {
            validate_resource_field_ref(resource, true, &path.field("resourceFieldRef"), errors);
        }
        (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    validate_mode(item, "mode", path, errors);
}

fn validate_projected(value: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_mode(value, "defaultMode", path, errors);
    let sources = path.field("sources");
    let mut paths: Vec<&str> = Vec::new();
    for (i, source) in arr_at(value, "sources").iter().enumerate() {
        let source_path = sources.index(i);
        let mut count = 0;
        for kind in ["secret", "configMap", "downwardAPI", "serviceAccountToken"] {
            let Some(projection) = at(source, kind) else {
                continue;
            };
            count += 1;
            let item_path = source_path.field(kind);
            if count > 1 {
                errors.forbidden(
                    &item_path,
                    "may not specify more than 1 volume type per source",
                );
                continue;
            }
            match kind {
                "downwardAPI" => {
                    for file in arr_at(projection, "items") {
                        validate_downward_file(file, &item_path, errors);
                        let target = str_at(file, "path");
                        claim_path(target, target, &mut paths, path, errors);
                    }
                }
                "serviceAccountToken" => {
                    validate_token(projection, path, &item_path, errors);
                    let target = str_at(projection, "path");
                    claim_path(target, target, &mut paths, path, errors);
                }
                _ => {
                    checks::required_str(projection, &item_path, "name", errors);
                    let items = item_path.field("items");
                    for (j, item) in arr_at(projection, "items").iter().enumerate() {
                        validate_key_to_path(item, &items.index(j), errors);
                        let name = str_at(projection, "name");
                        claim_path(str_at(item, "path"), name, &mut paths, path, errors);
                    }
                }
            }
        }
    }
}

/// Notes a target path; a second use is reported with `shown` as the value.
fn claim_path<'a>(
    target: &'a str,
    shown: &str,
    paths: &mut Vec<&'a str>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    if target.is_empty() {
        return;
    }
    if paths.contains(&target) {
        errors.invalid_str(path, shown, DUPLICATE_PATHS);
    } else {
        paths.push(target);
    }
}

fn validate_token(token: &Value, path: &Path<'_>, token_path: &Path<'_>, errors: &mut FieldErrors) {
    if let Some(seconds) = i64_at(token, "expirationSeconds") {
        let path = token_path.field("expirationSeconds");
        if seconds < TOKEN_SECONDS_MIN {
            errors.invalid(
                &path,
                &seconds.into(),
                "may not specify a duration less than 10 minutes",
            );
        }
        if seconds > TOKEN_SECONDS_MAX {
            errors.invalid(
                &path,
                &seconds.into(),
                "may not specify a duration larger than 2^32 seconds",
            );
        }
    }
    let target = str_at(token, "path");
    if target.is_empty() {
        errors.required(&path.field("path"), "");
    } else {
        checks::local_non_reserved_path(target, &path.field("path"), errors);
    }
}

fn validate_ephemeral(value: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.field("volumeClaimTemplate");
    let Some(template) = at(value, "volumeClaimTemplate") else {
        return errors.required(&path, "");
    };
    if let Some(Value::Object(meta)) = at(template, "metadata") {
        let meta_path = path.field("metadata");
        for (field, member) in meta {
            if !matches!(field.as_str(), "labels" | "annotations") && !is_zero(Some(member)) {
                errors.forbidden(&meta_path.field(field), "cannot be set");
            }
        }
        let meta = &template["metadata"];
        checks::labels(meta.get("labels"), &meta_path.field("labels"), errors);
        super::super::common::meta::validate_annotations(
            meta,
            &meta_path.field("annotations"),
            errors,
        );
    }
    let null = Value::Null;
    let spec = at(template, "spec").unwrap_or(&null);
    validate_pvc_spec(spec, &path.field("spec"), errors);
}

/// The claim that an ephemeral volume creates is named after pod and volume.
fn validate_created_claim_name(
    volume: &str,
    owner: Owner<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let Owner::Pod(pod) = owner else { return };
    if pod.is_empty() || volume.is_empty() {
        return;
    }
    let claim = format!("{pod}-{volume}");
    for message in names::dns1123_subdomain(&claim) {
        errors.invalid_str(
            &path.field("name"),
            volume,
            format!("PVC name {claim:?}: {message}"),
        );
    }
}

fn validate_image(value: &Value, owner: Owner<'_>, path: &Path<'_>, errors: &mut FieldErrors) {
    if owner.is_pod() {
        checks::required_str(value, path, "reference", errors);
    }
    checks::required_enum(
        value,
        path,
        "pullPolicy",
        &["Always", "IfNotPresent", "Never"],
        errors,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn sources() {
        let cases = [
            (json!({"name": "v", "emptyDir": {}}), ""),
            (
                json!({"name": "v"}),
                "volumes[0]: Required value: must specify a volume type",
            ),
            (
                json!({"name": "v", "emptyDir": {}, "downwardAPI": {}}),
                "volumes[0].downwarAPI: Forbidden: may not specify more than 1 volume type",
            ),
            (
                json!({"name": "v", "nfs": {"server": "", "path": "x"}}),
                "volumes[0].nfs.server: Required value\nvolumes[0].nfs.path: Invalid value: \"x\": must be an absolute path",
            ),
            (
                json!({"name": "v", "projected": {"sources": [
                    {"secret": {"name": "a", "items": [{"key": "k", "path": "p"}]}},
                    {"configMap": {"name": "b", "items": [{"key": "k", "path": "p"}]}}]}}),
                "volumes[0].projected: Invalid value: \"b\": conflicting duplicate paths",
            ),
            (
                json!({"name": "v", "downwardAPI": {"items": [{"path": "/abs", "fieldRef": {"apiVersion": "v1", "fieldPath": "spec.x"}}]}}),
                "volumes[0].downwardAPI.path: Invalid value: \"/abs\": must be a relative path\nvolumes[0].downwardAPI.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x",
            ),
        ];
        for (volume, want) in cases {
            let spec = json!({"volumes": [volume]});
            let mut errors = FieldErrors::default();
            let path = Path::ROOT.field("volumes");
            validate_volumes(&spec, Owner::Pod("p"), &path, &mut errors);
            let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            assert_eq!(texts.join("\n"), want, "{spec}");
        }
    }
}
