//! Volume mounts and volume devices of a container.

use super::super::common::access::{arr_at, at, is_true, opt_str_at, str_at};
use super::super::common::checks;
use super::Scope;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const PROPAGATIONS: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];

/// Validates `volumeMounts`. Some errors are reported at the list, without an index, as upstream does.
pub fn validate_volume_mounts(
    container: &Value,
    scope: &Scope<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let devices = arr_at(container, "volumeDevices");
    let mounts = arr_at(container, "volumeMounts");
    for (i, mount) in mounts.iter().enumerate() {
        let item = path.index(i);
        let name = str_at(mount, "name");
        if name.is_empty() {
            errors.required(&item.field("name"), "");
        }
        if scope.volume(name).is_none() {
            errors.not_found(&item.field("name"), &name.into());
        }
        let mount_path = str_at(mount, "mountPath");
        if mount_path.is_empty() {
            errors.required(&item.field("mountPath"), "");
        }
        if mounts[..i]
            .iter()
            .any(|m| str_at(m, "mountPath") == mount_path)
        {
            errors.invalid_str(&item.field("mountPath"), mount_path, "must be unique");
        }
        if devices.iter().any(|d| str_at(d, "name") == name) {
            errors.invalid_str(
                &item.field("name"),
                name,
                "must not already exist in volumeDevices",
            );
        }
        if devices
            .iter()
            .any(|d| str_at(d, "devicePath") == mount_path)
        {
            errors.invalid_str(
                &item.field("mountPath"),
                mount_path,
                "must not already exist as a path in volumeDevices",
            );
        }
        validate_sub_paths(mount, path, errors);
        validate_propagation(mount, container, &path.field("mountPropagation"), errors);
        validate_recursive_read_only(mount, &path.field("recursiveReadOnly"), errors);
    }
}

fn validate_sub_paths(mount: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let sub_path = str_at(mount, "subPath");
    if !sub_path.is_empty() {
        checks::relative_path(sub_path, &path.field("subPath"), errors);
    }
    let expression = str_at(mount, "subPathExpr");
    if expression.is_empty() {
        return;
    }
    let path = path.field("subPathExpr");
    if !sub_path.is_empty() {
        errors.invalid_str(
            &path,
            expression,
            "subPathExpr and subPath are mutually exclusive",
        );
    }
    checks::relative_path(expression, &path, errors);
}

fn validate_propagation(
    mount: &Value,
    container: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let Some(propagation) = at(mount, "mountPropagation") else {
        return;
    };
    if !PROPAGATIONS.contains(&propagation.as_str().unwrap_or_default()) {
        errors.not_supported(path, propagation, &PROPAGATIONS);
    }
    let privileged = at(container, "securityContext").is_some_and(|sc| is_true(sc, "privileged"));
    if propagation == "Bidirectional" && !privileged {
        errors.forbidden(
            path,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
}

fn validate_recursive_read_only(mount: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    match opt_str_at(mount, "recursiveReadOnly") {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !is_true(mount, "readOnly") {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if opt_str_at(mount, "mountPropagation").is_some_and(|p| p != "None") {
                errors.forbidden(
                    path,
                    "may only be specified when mountPropagation is None or not specified",
                );
            }
        }
        Some(other) => {
            errors.not_supported(path, &other.into(), &["Disabled", "Enabled", "IfPossible"])
        }
    }
}

/// Validates `volumeDevices`.
pub fn validate_volume_devices(
    container: &Value,
    scope: &Scope<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let mounts = arr_at(container, "volumeMounts");
    let mut names: Vec<&str> = Vec::new();
    let mut paths: Vec<&str> = Vec::new();
    for (i, device) in arr_at(container, "volumeDevices").iter().enumerate() {
        let item = path.index(i);
        let (name_path, device_path) = (item.field("name"), item.field("devicePath"));
        let name = str_at(device, "name");
        let location = str_at(device, "devicePath");
        if name.is_empty() {
            errors.required(&name_path, "");
        }
        if names.contains(&name) {
            errors.invalid_str(&name_path, name, "must be unique");
        }
        match scope.volume(name) {
            None => errors.not_found(&name_path, &name.into()),
            Some(volume) => {
                let block_capable = at(volume, "persistentVolumeClaim").is_some()
                    || at(volume, "ephemeral").is_some();
                if !block_capable {
                    errors.invalid_str(&name_path, name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
                }
            }
        }
        if location.is_empty() {
            errors.required(&device_path, "");
        }
        if paths.contains(&location) {
            errors.invalid_str(&device_path, location, "must be unique");
        }
        if location.split('/').any(|step| step == "..") {
            errors.invalid_str(&device_path, location, "can not contain backsteps ('..')");
        } else {
            paths.push(location);
        }
        if mounts.iter().any(|m| str_at(m, "name") == name) {
            errors.invalid_str(&name_path, name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|m| str_at(m, "mountPath") == location) {
            errors.invalid_str(
                &device_path,
                location,
                "must not already exist as a path in volumeMounts",
            );
        }
        if !name.is_empty() {
            names.push(name);
        }
    }
}
