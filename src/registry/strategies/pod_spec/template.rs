//! `PodTemplateSpec`: metadata and spec of the pods a workload makes.

use super::super::common::access::{arr_at, at, path_at};
use super::super::common::{checks, meta};
use super::{Owner, validate_pod_spec_with};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

/// Validates a template at `path`. `extra_volumes` come from claim templates.
pub fn validate_template(
    template: &Value,
    extra_volumes: &[(&str, &Value)],
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let null = Value::Null;
    let metadata = at(template, "metadata").unwrap_or(&null);
    checks::labels(metadata.get("labels"), &path.field("labels"), errors);
    let annotations = path.field("annotations");
    meta::validate_annotations(metadata, &annotations, errors);
    let spec = at(template, "spec").unwrap_or(&null);
    super::super::core::annotations::validate(metadata, spec, &annotations, errors);
    let spec_path = path.field("spec");
    validate_pod_spec_with(spec, Owner::Template, extra_volumes, &spec_path, errors);
    super::super::core::annotations::validate_seccomp_match(metadata, spec, &spec_path, errors);
    if !arr_at(spec, "ephemeralContainers").is_empty() {
        errors.forbidden(
            &spec_path.field("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

/// The labels of a template.
pub fn labels(template: &Value) -> Option<&Value> {
    path_at(template, &["metadata", "labels"])
}
