//! ControllerRevision: an immutable snapshot.

use super::super::common::access::at;
use super::super::common::checks;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of ControllerRevision.
pub struct ControllerRevisionStrategy;

impl Strategy for ControllerRevisionStrategy {
    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        checks::non_negative(object, &Path::ROOT, "revision", errors);
        let path = Path::ROOT.field("data");
        match at(object, "data") {
            None => errors.required(&path, "data is mandatory"),
            Some(Value::Object(_)) => {}
            Some(_) => errors.required(&path, "data must be a valid JSON object"),
        }
        if let Some(old) = old {
            let (new, old) = (at(object, "data"), at(old, "data"));
            if new != old {
                errors.invalid(&path, new.unwrap_or(&Value::Null), checks::IMMUTABLE);
            }
        }
    }
}
