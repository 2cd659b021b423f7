//! Volume sources of storage systems: what each needs (contract/validation.md §B2). Persistent volumes
//! use the same rules.

use std::sync::LazyLock;

use regex::Regex;

use super::super::common::access::{arr_at, at, i64_at, int_at, is_true, opt_str_at, str_at};
use super::super::common::checks;
use super::super::common::names::{self, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const CSI_DRIVER_MAX: usize = 63;
const QUOBYTE_TENANT_MAX: usize = 64;
const HOST_PORTS: &str = "must be a host:port pair or multiple pairs separated by commas";

/// Strings and lists that each source must have, in order.
const REQUIRED: [(&str, &[&str]); 19] = [
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("nfs", &["server", "path"]),
    ("glusterfs", &["endpoints", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("rbd", &["monitors", "image"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("iscsi", &["targetPortal"]),
    ("storageos", &[]),
    ("quobyte", &[]),
];

static IQN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"iqn\.\d{4}-\d{2}\.([[:alnum:]\-.]+)(:[^,;*&$|\s]+)$").expect("constant")
});
static EUI: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^eui.[[:alnum:]]{16}$").expect("constant"));
static NAA: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^naa.[[:alnum:]]{32}$").expect("constant"));

/// Validates source `name`; `path` is that of the volume.
pub fn validate(name: &str, source: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.field(match name {
        "gcePersistentDisk" => "persistentDisk",
        other => other,
    });
    let required = REQUIRED.iter().find(|(n, _)| *n == name);
    for field in required.map_or(&[][..], |(_, fields)| fields) {
        if super::super::common::access::is_zero(source.get(field)) {
            errors.required(&path.field(field), "");
        }
    }
    match name {
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            let partition = int_at(source, "partition");
            if !(0..=255).contains(&partition) {
                errors.invalid(
                    &path.field("partition"),
                    &partition.into(),
                    "must be between 1 and 255, inclusive",
                );
            }
        }
        "nfs" => {
            let target = str_at(source, "path");
            if !target.starts_with('/') {
                errors.invalid_str(&path.field("path"), target, "must be an absolute path");
            }
        }
        "iscsi" => validate_iscsi(source, &path, errors),
        "flocker" => validate_flocker(source, &path, errors),
        "quobyte" => validate_quobyte(source, &path, errors),
        "fc" => validate_fc(source, &path, errors),
        "flexVolume" => validate_flex(source, &path, errors),
        "azureDisk" => validate_azure_disk(source, &path, errors),
        "storageos" => validate_storage_os(source, &path, errors),
        "cinder" => validate_secret_ref(source, "secretRef", &path, errors),
        "csi" => {
            validate_csi_driver(str_at(source, "driver"), &path.field("driver"), errors);
            validate_secret_ref(source, "nodePublishSecretRef", &path, errors);
        }
        _ => {}
    }
}

fn validate_secret_ref(
    source: &Value,
    field: &'static str,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    if let Some(reference) = at(source, field) {
        let path = path.field(field);
        checks::required_str(reference, &path, "name", errors);
    }
}

/// A CSI driver name: a DNS subdomain of at most 63 characters, case ignored.
pub fn validate_csi_driver(driver: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if driver.is_empty() {
        errors.required(path, "");
    }
    if driver.len() > CSI_DRIVER_MAX {
        errors.too_long(path, CSI_DRIVER_MAX);
    }
    if !driver.is_empty() {
        invalid_each(
            errors,
            path,
            driver,
            names::dns1123_subdomain(&driver.to_lowercase()),
        );
    }
}

fn validate_iscsi(source: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let iqn = str_at(source, "iqn");
    if iqn.is_empty() {
        errors.required(&path.field("iqn"), "");
    } else {
        validate_iqn(iqn, &path.field("iqn"), errors);
    }
    let lun = int_at(source, "lun");
    if !(0..=255).contains(&lun) {
        errors.invalid(
            &path.field("lun"),
            &lun.into(),
            "must be between 0 and 255, inclusive",
        );
    }
    let chap = is_true(source, "chapAuthDiscovery") || is_true(source, "chapAuthSession");
    if chap && at(source, "secretRef").is_none() {
        errors.required(&path.field("secretRef"), "");
    }
    if let Some(initiator) = opt_str_at(source, "initiatorName") {
        validate_iqn(initiator, &path.field("initiatorname"), errors);
    }
}

fn validate_iqn(text: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let ok = match text.get(..3) {
        Some("iqn") => IQN.is_match(text),
        Some("eui") => EUI.is_match(text),
        Some("naa") => NAA.is_match(text),
        _ => {
            errors.invalid_str(
                path,
                text,
                "must be valid format starting with iqn, eui, or naa",
            );
            return;
        }
    };
    if !ok {
        errors.invalid_str(path, text, "must be valid format");
    }
}

fn validate_flocker(source: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let name = str_at(source, "datasetName");
    match (name.is_empty(), str_at(source, "datasetUUID").is_empty()) {
        (true, true) => {
            errors.required(path, "one of datasetName and datasetUUID is required");
        }
        (false, false) => errors.invalid_str(
            path,
            "resource",
            "datasetName and datasetUUID can not be specified simultaneously",
        ),
        _ => {}
    }
    if name.contains('/') {
        errors.invalid_str(&path.field("datasetName"), name, "must not contain '/'");
    }
}

fn validate_quobyte(source: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let registry = str_at(source, "registry");
    if registry.is_empty() {
        errors.required(&path.field("registry"), HOST_PORTS);
    } else if str_at(source, "tenant").len() > QUOBYTE_TENANT_MAX {
        errors.required(
            &path.field("tenant"),
            "must be a UUID and may not exceed a length of 64 characters",
        );
    } else {
        for pair in registry.split(',') {
            let valid = pair
                .rsplit_once(':')
                .is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
            if !valid {
                errors.invalid_str(&path.field("registry"), registry, HOST_PORTS);
            }
        }
    }
    checks::required_str(source, path, "volume", errors);
}

fn validate_fc(source: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let names = arr_at(source, "targetWWNs");
    let ids = arr_at(source, "wwids");
    let names_path = path.field("targetWWNs");
    match (names.is_empty(), ids.is_empty()) {
        (true, true) => errors.required(
            &names_path,
            "must specify either targetWWNs or wwids, but not both",
        ),
        (false, false) => errors.invalid(
            &names_path,
            &Value::Array(names.to_vec()),
            "targetWWNs and wwids can not be specified simultaneously",
        ),
        _ => {}
    }
    if names.is_empty() {
        return;
    }
    match i64_at(source, "lun") {
        None => errors.required(
            &path.field("lun"),
            "lun is required if targetWWNs is specified",
        ),
        Some(lun) if !(0..=255).contains(&lun) => errors.invalid(
            &path.field("lun"),
            &lun.into(),
            "must be between 0 and 255, inclusive",
        ),
        Some(_) => {}
    }
}

fn validate_flex(source: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let options = path.field("options");
    for (key, _) in super::super::common::access::entries_at(source, "options") {
        let mut parts = key.split('/');
        let namespace = match (parts.next(), parts.next(), parts.next()) {
            (Some(namespace), Some(_), None) => namespace,
            _ => key,
        };
        let namespace = format!(".{}", namespace.to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            errors.invalid_str(
                &options.key(key),
                key,
                "kubernetes.io and k8s.io namespaces are reserved",
            );
        }
    }
}

fn validate_azure_disk(source: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    checks::optional_enum(
        source,
        path,
        "cachingMode",
        &["None", "ReadOnly", "ReadWrite"],
        errors,
    );
    checks::optional_enum(
        source,
        path,
        "kind",
        &["Dedicated", "Managed", "Shared"],
        errors,
    );
    let Some(kind) = opt_str_at(source, "kind") else {
        return;
    };
    let uri = str_at(source, "diskURI");
    let (prefix, example) = match kind {
        "Managed" => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        _ => (
            "https://",
            "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",
        ),
    };
    if !uri.starts_with(prefix) {
        errors.not_supported(&path.field("diskURI"), &uri.into(), &[example]);
    }
}

fn validate_storage_os(source: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if checks::required_str(source, path, "volumeName", errors) {
        let name = str_at(source, "volumeName");
        invalid_each(
            errors,
            &path.field("volumeName"),
            name,
            names::dns1123_label(name),
        );
    }
    let namespace = str_at(source, "volumeNamespace");
    if !namespace.is_empty() {
        invalid_each(
            errors,
            &path.field("volumeNamespace"),
            namespace,
            names::dns1123_label(namespace),
        );
    }
    validate_secret_ref(source, "secretRef", path, errors);
}
