//! Strategies of the resource.k8s.io group (dynamic resource allocation). CEL selectors are checked for
//! presence and length here, not compiled.

pub mod attributes;
pub mod claim;
pub mod claim_status;
pub mod device;
pub mod names;
pub mod request;
pub mod slice;

use serde_json::Value;

use super::common::access::{arr_at, at, get, str_at};
use crate::api::field::{FieldErrors, Path};
use crate::registry::strategy::{Strategy, WriteContext};

const SELECTORS_MAX: usize = 32;
const EXPRESSION_MAX: usize = 10 * 1024;
const LIST_MAX: usize = 32;

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "DeviceClass" => &DeviceClassStrategy,
        "ResourceClaim" => &claim::ClaimStrategy,
        "ResourceClaimTemplate" => &claim::TemplateStrategy,
        "ResourceSlice" => &slice::SliceStrategy,
        _ => return None,
    })
}

/// Rules of DeviceClass.
struct DeviceClassStrategy;

impl Strategy for DeviceClassStrategy {
    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let spec = get(object, "spec");
        let path = Path::ROOT.field("spec");
        validate_selectors(spec, &path, errors);
        let list = path.field("config");
        if within(spec, "config", LIST_MAX, &list, errors) {
            for (i, config) in arr_at(spec, "config").iter().enumerate() {
                validate_opaque(config, &list.index(i), errors);
            }
        }
        if let Some(name) = at(spec, "extendedResourceName").and_then(Value::as_str)
            && !super::common::resources::is_extended(name)
        {
            errors.invalid_str(
                &path.field("extendedResourceName"),
                name,
                "must be a valid extended resource name",
            );
        }
    }
}

/// Whether the list `key` is not too long; else that is all that is said about it.
fn within(owner: &Value, key: &str, max: usize, path: &Path<'_>, errors: &mut FieldErrors) -> bool {
    let count = arr_at(owner, key).len();
    if count > max {
        errors.too_many(path, count, max);
    }
    count <= max
}

/// `selectors` of a class or a request.
fn validate_selectors(owner: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("selectors");
    if !within(owner, "selectors", SELECTORS_MAX, &list, errors) {
        return;
    }
    for (i, selector) in arr_at(owner, "selectors").iter().enumerate() {
        let path = list.index(i);
        let path = path.field("cel");
        let Some(cel) = at(selector, "cel") else {
            errors.required(&path, "");
            continue;
        };
        let expression = str_at(cel, "expression");
        let path = path.field("expression");
        if expression.is_empty() {
            errors.required(&path, "");
        } else if expression.len() > EXPRESSION_MAX {
            errors.too_long(&path, EXPRESSION_MAX);
        }
    }
}

/// A DeviceConfiguration: parameters for one driver.
fn validate_opaque(config: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.field("opaque");
    let Some(opaque) = at(config, "opaque") else {
        errors.required(&path, "");
        return;
    };
    names::driver(str_at(opaque, "driver"), &path.field("driver"), errors);
    validate_raw(opaque, "parameters", true, &path, errors);
}

/// A raw JSON object of at most 10 KiB.
fn validate_raw(owner: &Value, key: &str, needed: bool, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.field(key);
    match at(owner, key) {
        None if needed => errors.required(&path, ""),
        None => {}
        Some(raw) if raw.to_string().len() > EXPRESSION_MAX => {
            errors.too_long(&path, EXPRESSION_MAX);
        }
        Some(raw) if !raw.is_object() => {
            errors.push(
                crate::api::field::ErrorType::Invalid,
                &path,
                "\"<value omitted>\"".into(),
                "must be a valid JSON object",
            );
        }
        Some(_) => {}
    }
}
