//! Strategies of the resource.k8s.io group (dynamic resource allocation). CEL selectors must
//! compile; the scheduler evaluates them.
//! The rules are written for v1; v1beta1, whose requests and devices have another form, is converted
//! ([`convert`]).

pub mod attributes;
pub mod claim;
pub mod claim_status;
pub mod convert;
pub mod device;
pub mod names;
pub mod request;
pub mod slice;
pub mod taint_rule;

use std::sync::LazyLock;

use super::common::access::{arr_at, at, get, str_at};
use crate::api::cel::{Env, Type, compile};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const SELECTORS_MAX: usize = 32;
const EXPRESSION_MAX: usize = 10 * 1024;
const LIST_MAX: usize = 32;

/// The strategy of a kind of the group.
pub fn strategy_for(version: &str, kind: &str) -> Option<&'static dyn Strategy> {
    if version == "v1beta1" {
        match kind {
            "ResourceClaim" => return Some(&convert::CLAIM),
            "ResourceClaimTemplate" => return Some(&convert::TEMPLATE),
            "ResourceSlice" => return Some(&convert::SLICE),
            _ => {}
        }
    }
    Some(match kind {
        "DeviceClass" => &DeviceClassStrategy,
        "ResourceClaim" => &claim::ClaimStrategy,
        "ResourceClaimTemplate" => &claim::TemplateStrategy,
        "ResourceSlice" => &slice::SliceStrategy,
        "DeviceTaintRule" => &taint_rule::TaintRuleStrategy,
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
        } else if let Err(error) = compile_selector(expression) {
            errors.invalid_str(&path, expression, error);
        }
    }
}

/// What selectors see. Attributes may be of any type.
static DEVICE_ENV: LazyLock<Env> = LazyLock::new(|| {
    let by_domain = |value: Type| {
        let by_name = Type::map(Type::String, value);
        Type::map(Type::String, by_name)
    };
    let fields = vec![
        ("driver", Type::String),
        ("allowMultipleAllocations", Type::Bool),
        ("attributes", by_domain(Type::Dyn)),
        ("capacity", by_domain(Type::Opaque("kubernetes.Quantity"))),
    ];
    let device = Type::object("kubernetes.DRADevice", fields);
    Env::new().with("device", device).for_devices()
});

/// Compiles a selector, which must answer yes or no, or what is known only when it runs.
fn compile_selector(expression: &str) -> Result<(), String> {
    let program =
        compile(expression, &DEVICE_ENV).map_err(|error| format!("compilation failed: {error}"))?;
    match program.output {
        Type::Bool | Type::Dyn => Ok(()),
        other => Err(format!(
            "must evaluate to bool or the unknown type, not {other}"
        )),
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

#[cfg(test)]
mod tests {
    use super::compile_selector;

    #[test]
    fn selectors() {
        for good in [
            "device.driver == 'd.test'",
            "device.attributes['d.test'].model == 'x'",
            "device.attributes['d.test'].flag",
            "'size' in device.capacity['d.test'] && device.capacity['d.test'].size.isGreaterThan(quantity('1Gi'))",
            "cel.bind(d, device.attributes['d.test'], d.a && semver('1.2.3').isLessThan(d.version))",
            "device.attributes['d.test'].models.includes('x')",
            "device.allowMultipleAllocations",
        ] {
            assert_eq!(compile_selector(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("1", "must evaluate to bool or the unknown type, not int"),
            ("device.nope == 1", "undefined field 'nope'"),
            ("jsonpatch.escapeKey('a') == ''", "undeclared reference"),
        ] {
            let error = compile_selector(bad).expect_err(bad);
            assert!(error.contains(part), "{error}");
        }
    }
}
