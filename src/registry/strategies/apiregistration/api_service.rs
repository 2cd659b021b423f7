//! APIService (contract/crd.md §6).

use base64::Engine;

use super::super::common::access::{
    at, default_nil, ensure_object, get, i64_at, int_at, is_true, set_or_remove, str_at,
};
use super::super::common::names::{self, NameRule, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

/// Metadata that a status write keeps.
const KEPT: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];

/// Rules of APIService.
pub struct ApiServiceStrategy;

impl Strategy for ApiServiceStrategy {
    /// The name is made of version and group; the strategy looks itself.
    fn name_rule(&self) -> NameRule {
        NameRule::Any
    }

    fn default(&self, object: &mut Value) {
        if at(get(object, "spec"), "service").is_some() {
            let spec = ensure_object(object, "spec");
            default_nil(ensure_object(spec, "service"), "port", 443);
        }
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        object["status"] = if at(get(object, "spec"), "service").is_some() {
            json!({})
        } else {
            json!({"conditions": [{
                "type": "Available",
                "status": "True",
                "lastTransitionTime": crate::api::time::now(),
                "reason": "Local",
                "message": "Local APIServices are always available",
            }]})
        };
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource != "status" {
            return;
        }
        let metadata = ensure_object(object, "metadata");
        for member in KEPT {
            let stored = at(get(old, "metadata"), member).cloned();
            set_or_remove(metadata, member, stored);
        }
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let spec = get(object, "spec");
        validate_name(object, spec, errors);
        let path = Path::ROOT.field("spec");
        if ctx.subresource == "status" {
            return;
        }
        validate_group_version(spec, &path, errors);
        validate_priority(spec, "groupPriorityMinimum", 20000, &path, errors);
        validate_priority(spec, "versionPriority", 1000, &path, errors);
        validate_backend(spec, &path, errors);
    }
}

fn validate_name(object: &Value, spec: &Value, errors: &mut FieldErrors) {
    let name = str_at(get(object, "metadata"), "name");
    let wanted = format!("{}.{}", str_at(spec, "version"), str_at(spec, "group"));
    if name != wanted {
        let metadata = Path::ROOT.field("metadata");
        errors.invalid_str(
            &metadata.field("name"),
            name,
            format!("must be `spec.version+\".\"+spec.group`: \"{wanted}\""),
        );
    }
}

fn validate_group_version(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let (group, version) = (str_at(spec, "group"), str_at(spec, "version"));
    if group.is_empty() {
        // Only the legacy core group has no name, and only in v1.
        if version != "v1" {
            errors.required(
                &path.field("group"),
                "only v1 may have an empty group and it better be legacy kube",
            );
        }
    } else {
        let messages = names::dns1123_subdomain(group);
        invalid_each(errors, &path.field("group"), group, messages);
    }
    let messages = names::dns1035_label(version);
    invalid_each(errors, &path.field("version"), version, messages);
}

fn validate_priority(
    spec: &Value,
    field: &str,
    max: i64,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let n = int_at(spec, field);
    if n <= 0 || n > max {
        errors.invalid(
            &path.field(field),
            &n.into(),
            format!("must be positive and less than {max}"),
        );
    }
}

fn validate_backend(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let bundle = str_at(spec, "caBundle");
    let Some(service) = at(spec, "service") else {
        if !bundle.is_empty() {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(bundle)
                .map_or(0, |b| b.len());
            errors.invalid_str(
                &path.field("caBundle"),
                &format!("{bytes} bytes"),
                "local APIServices may not have a caBundle",
            );
        }
        if is_true(spec, "insecureSkipTLSVerify") {
            errors.invalid(
                &path.field("insecureSkipTLSVerify"),
                &true.into(),
                "local APIServices may not have insecureSkipTLSVerify",
            );
        }
        return;
    };
    let service_path = path.field("service");
    for field in ["namespace", "name"] {
        if str_at(service, field).is_empty() {
            errors.required(&service_path.field(field), "");
        }
    }
    if let Some(port) = i64_at(service, "port") {
        for message in names::port_number(port) {
            errors.invalid(
                &service_path.field("port"),
                &port.into(),
                format!("port is not valid: {message}"),
            );
        }
    }
    if is_true(spec, "insecureSkipTLSVerify") && !bundle.is_empty() {
        errors.invalid(
            &path.field("insecureSkipTLSVerify"),
            &true.into(),
            "may not be true if caBundle is present",
        );
    }
}
