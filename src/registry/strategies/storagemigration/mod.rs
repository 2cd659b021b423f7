//! Strategies of the storagemigration.k8s.io group (off by default).

use super::common::access::{arr_at, at, get, str_at};
use super::common::{checks, names};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "StorageVersionMigration" => &MigrationStrategy,
        _ => return None,
    })
}

/// Rules of StorageVersionMigration.
pub struct MigrationStrategy;

impl Strategy for MigrationStrategy {
    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let spec = get(object, "spec");
        match (ctx.subresource, old) {
            ("status", Some(old)) => validate_status(object, old, errors),
            (_, Some(old)) => {
                let path = Path::ROOT.field("spec");
                checks::immutable(at(object, "spec"), at(old, "spec"), &path, errors);
            }
            (_, None) => validate_resource(get(spec, "resource"), errors),
        }
    }
}

fn validate_resource(resource: &Value, errors: &mut FieldErrors) {
    let spec = Path::ROOT.field("spec");
    let path = spec.field("resource");
    let plural = str_at(resource, "resource");
    let field = path.field("resource");
    if plural.is_empty() {
        errors.required(&field, "resource is required to be set");
    } else {
        joined(errors, &field, plural, &names::dns1035_label(plural));
    }
    let group = str_at(resource, "group");
    if !group.is_empty() {
        joined(
            errors,
            &path.field("group"),
            group,
            &names::dns1123_subdomain(group),
        );
    }
}

/// All messages as one error.
fn joined<T: AsRef<str>>(errors: &mut FieldErrors, path: &Path<'_>, text: &str, messages: &[T]) {
    if !messages.is_empty() {
        let all: Vec<&str> = messages.iter().map(AsRef::as_ref).collect();
        errors.invalid_str(path, text, all.join(","));
    }
}

fn validate_status(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let (status, stored) = (get(object, "status"), get(old, "status"));
    let path = Path::ROOT.field("status");
    let version = str_at(status, "resourceVersion");
    let before = str_at(stored, "resourceVersion");
    let field = path.field("resourceVersion");
    if !version.is_empty() && version.parse::<u64>().is_err() {
        errors.invalid_str(&field, version, "resource version is not well formed");
    }
    if !before.is_empty() && before != version {
        errors.invalid_str(&field, version, checks::IMMUTABLE);
    }
    let is_true = |status: &Value, kind: &str| {
        let mut conditions = arr_at(status, "conditions").iter();
        conditions.any(|c| str_at(c, "type") == kind && str_at(c, "status") == "True")
    };
    let conditions = path.field("conditions");
    let shown = json!(arr_at(status, "conditions"));
    if is_true(status, "Succeeded") && is_true(status, "Failed") {
        let why = "Both success and failed conditions cannot be true at the same time";
        errors.invalid(&conditions, &shown, why);
    }
    for (kind, why) in [
        (
            "Succeeded",
            "Success condition cannot be set to false once it is true",
        ),
        (
            "Failed",
            "Failed condition cannot be set to false once it is true",
        ),
    ] {
        if is_true(stored, kind) && !is_true(status, kind) {
            errors.invalid(&conditions, &shown, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(object: &Value, old: Option<&Value>, subresource: &str) -> Vec<String> {
        let ctx = WriteContext {
            subresource,
            ..WriteContext::default()
        };
        let mut errors = FieldErrors::default();
        MigrationStrategy.validate(object, old, &ctx, &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn migrations() {
        let good = json!({"spec": {"resource": {"group": "apps", "resource": "deployments"}}});
        assert_eq!(check(&good, None, ""), [""; 0]);
        let missing = json!({"spec": {"resource": {}}});
        assert_eq!(
            check(&missing, None, ""),
            ["spec.resource.resource: Required value: resource is required to be set"]
        );
        assert_eq!(check(&missing, Some(&good), "").len(), 1);
        let done = json!({"status": {"resourceVersion": "5",
            "conditions": [{"type": "Succeeded", "status": "True"}]}});
        let undone = json!({"status": {"resourceVersion": "6",
            "conditions": [{"type": "Failed", "status": "True"}]}});
        let errors = check(&undone, Some(&done), "status");
        assert_eq!(
            errors[0],
            "status.resourceVersion: Invalid value: \"6\": field is immutable"
        );
        assert!(errors[1].ends_with("Success condition cannot be set to false once it is true"));
    }
}
