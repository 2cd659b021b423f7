//! VolumeAttachment.

use super::super::common::access::{at, ensure_object, get, str_at};
use super::super::common::checks;
use super::super::common::golang::{self, Field, Ty};
use super::super::common::names::{self as rules, invalid_each};
use super::{csi_node, names};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const ERROR_MAX: usize = 1024;
const ONE_SOURCE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";

const SPEC: &[Field] = &[
    ("Attacher", "attacher", Ty::Str),
    (
        "Source",
        "source",
        Ty::Struct(&[
            ("PersistentVolumeName", "persistentVolumeName", Ty::Nil),
            ("InlineVolumeSpec", "inlineVolumeSpec", Ty::Nil),
        ]),
    ),
    ("NodeName", "nodeName", Ty::Str),
];

/// Rules of VolumeAttachment.
pub struct VolumeAttachmentStrategy;

impl Strategy for VolumeAttachmentStrategy {
    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource == "status" {
            keep_metadata(object, old);
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let spec = get(object, "spec");
        let path = Path::ROOT.field("spec");
        let attacher = str_at(spec, "attacher");
        names::driver_name(attacher, &path.field("attacher"), errors);
        validate_source(get(spec, "source"), &path.field("source"), errors);
        csi_node::node_name(str_at(spec, "nodeName"), &path.field("nodeName"), errors);
        validate_status(get(object, "status"), errors);
        if let Some(old) = old {
            checks::immutable_as(
                at(object, "spec"),
                at(old, "spec"),
                &path,
                |spec| golang::compact_zero(spec, SPEC),
                errors,
            );
        }
    }
}

/// A status write of some kinds keeps all metadata but `managedFields` and the resourceVersion.
pub fn keep_metadata(object: &mut Value, old: &Value) {
    let written = get(object, "metadata").clone();
    let metadata = ensure_object(object, "metadata");
    *metadata = get(old, "metadata").clone();
    for member in ["managedFields", "resourceVersion"] {
        let member_value = written.get(member).cloned();
        super::super::common::access::set_or_remove(metadata, member, member_value);
    }
}

fn validate_source(source: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let name = at(source, "persistentVolumeName").and_then(Value::as_str);
    let inline = at(source, "inlineVolumeSpec");
    match (name, inline) {
        (None, None) => errors.required(path, ONE_SOURCE),
        (Some(_), Some(_)) => errors.forbidden(path, ONE_SOURCE),
        (Some(""), None) => errors.required(&path.field("persistentVolumeName"), ""),
        (Some(name), None) => {
            let path = path.field("persistentVolumeName");
            invalid_each(errors, &path, name, rules::dns1123_subdomain(name));
        }
        (None, Some(spec)) => {
            if at(spec, "csi").is_none() {
                let inline = path.field("inlineVolumeSpec");
                errors.required(&inline.field("csi"), "");
            }
        }
    }
}

fn validate_status(status: &Value, errors: &mut FieldErrors) {
    let path = Path::ROOT.field("status");
    let metadata = path.field("attachmentMetadata");
    names::parameters(status, "attachmentMetadata", true, &metadata, errors);
    for field in ["attachError", "detachError"] {
        if str_at(get(status, field), "message").len() > ERROR_MAX {
            let path = path.field(field);
            errors.too_long(&path.field("message"), ERROR_MAX);
        }
    }
}
