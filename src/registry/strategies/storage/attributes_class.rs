//! VolumeAttributesClass.

use super::super::common::access::{at, semantic_equal, str_at};
use super::names;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of VolumeAttributesClass.
pub struct AttributesClassStrategy;

impl Strategy for AttributesClassStrategy {
    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let root = Path::ROOT;
        if let Some(old) = old {
            for field in ["driverName", "parameters"] {
                if !semantic_equal(at(object, field), at(old, field)) {
                    errors.forbidden(
                        &root.field(field),
                        format!("updates to {field} are forbidden."),
                    );
                }
            }
            return;
        }
        let driver = str_at(object, "driverName");
        names::provisioner(driver, &root.field("driverName"), errors);
        let path = root.field("parameters");
        names::parameters(object, "parameters", false, &path, errors);
    }
}
