//! `pods/ephemeralcontainers`: adding debug containers to a running pod.

use super::super::common::access::{
    arr_at, at, ensure_object, semantic_equal, set_or_remove, str_at,
};
use super::super::common::diff;
use super::super::common::golang;
use super::super::common::gotypes::EPHEMERAL_CONTAINER;
use super::annotations::{self, MIRROR, annotation};
use super::pod::{spec_of, validate_annotations_and_spec};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

/// Takes only the ephemeral containers from the body.
pub fn prepare(new: &mut Value, old: &Value) {
    let containers = at(spec_of(new), "ephemeralContainers").cloned();
    let mut spec = spec_of(old).clone();
    set_or_remove(&mut spec, "ephemeralContainers", containers);
    *ensure_object(new, "spec") = spec;
    set_or_remove(new, "status", old.get("status").cloned());
}

/// Validates the update: containers may be added only.
pub fn validate(new: &Value, old: &Value, errors: &mut FieldErrors) {
    validate_annotations_and_spec(new, errors);
    let meta = Path::ROOT.field("metadata");
    annotations::validate_update(new, old, &meta.field("annotations"), errors);
    if annotation(old, MIRROR).is_some() {
        errors.0.clear();
        errors.forbidden(
            &Path::ROOT.key(""),
            "static pods do not support ephemeral containers",
        );
        return;
    }
    let spec = Path::ROOT.field("spec");
    let path = spec.field("ephemeralContainers");
    let containers = arr_at(spec_of(new), "ephemeralContainers");
    for before in arr_at(spec_of(old), "ephemeralContainers") {
        let name = str_at(before, "name");
        let Some(now) = containers.iter().find(|c| str_at(c, "name") == name) else {
            errors.forbidden(
                &path,
                format!("existing ephemeral containers {name:?} may not be removed\n"),
            );
            continue;
        };
        if !semantic_equal(Some(now), Some(before)) {
            let diff = diff::unified(
                &golang::indented(Some(before), EPHEMERAL_CONTAINER),
                &golang::indented(Some(now), EPHEMERAL_CONTAINER),
            );
            errors.forbidden(
                &path,
                format!("existing ephemeral containers {name:?} may not be changed\n{diff}"),
            );
        }
    }
}
