//! CSINode.

use super::super::common::access::{arr_at, get, i64_at, remove, str_at};
use super::super::common::golang::{self, Field, Ty};
use super::super::common::names::{self as rules, invalid_each};
use super::super::common::{access, checks};
use super::names;
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const NODE_ID_MAX: usize = 256;

const DRIVER: &[Field] = &[
    ("Name", "name", Ty::Str),
    ("NodeID", "nodeID", Ty::Str),
    ("TopologyKeys", "topologyKeys", Ty::Nil),
    (
        "Allocatable",
        "allocatable",
        Ty::Ptr(&[("Count", "count", Ty::Nil)]),
    ),
];

/// Rules of CSINode.
pub struct CsiNodeStrategy;

impl Strategy for CsiNodeStrategy {
    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let drivers = arr_at(get(object, "spec"), "drivers");
        let spec = Path::ROOT.field("spec");
        let list = spec.field("drivers");
        for (i, driver) in drivers.iter().enumerate() {
            let path = list.index(i);
            validate_driver(driver, &path, errors);
            let name = str_at(driver, "name");
            let seen = drivers.iter().take(i).any(|d| str_at(d, "name") == name);
            if seen {
                errors.duplicate(&path.field("name"), &name.into());
            }
        }
        if let Some(old) = old {
            validate_kept(drivers, arr_at(get(old, "spec"), "drivers"), errors);
        }
    }
}

fn validate_driver(driver: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    names::driver_name(str_at(driver, "name"), &path.field("name"), errors);
    let id = str_at(driver, "nodeID");
    let id_path = path.field("nodeID");
    if id.is_empty() {
        errors.required(&id_path, "");
    } else if id.len() > NODE_ID_MAX {
        errors.invalid_str(
            &id_path,
            id,
            format!("must be {NODE_ID_MAX} characters or less"),
        );
    }
    if let Some(count) = i64_at(get(driver, "allocatable"), "count")
        && count < 0
    {
        let allocatable = path.field("allocatable");
        errors.invalid(
            &allocatable.field("count"),
            &count.into(),
            checks::NON_NEGATIVE,
        );
    }
    let keys_path = path.field("topologyKeys");
    let keys = arr_at(driver, "topologyKeys");
    for (i, key) in keys.iter().enumerate() {
        let text = key.as_str().unwrap_or_default();
        if text.is_empty() {
            errors.required(&keys_path, text);
        }
        if keys.iter().take(i).any(|seen| seen == key) {
            errors.duplicate(&keys_path, key);
        }
        for message in rules::qualified_name(text) {
            errors.invalid(&keys_path, get(driver, "topologyKeys"), message);
        }
    }
}

/// Drivers that stay may change nothing but what is allocatable.
fn validate_kept(new: &[Value], old: &[Value], errors: &mut FieldErrors) {
    let without_allocatable = |driver: &Value| {
        let mut driver = driver.clone();
        remove(&mut driver, "allocatable");
        driver
    };
    for driver in new {
        let same = old
            .iter()
            .find(|d| str_at(d, "name") == str_at(driver, "name"));
        if let Some(stored) = same
            && !access::semantic_equal(
                Some(&without_allocatable(driver)),
                Some(&without_allocatable(stored)),
            )
        {
            errors.push(
                ErrorType::Invalid,
                &Path::ROOT.field("CSINodeDriver"),
                golang::compact_zero(Some(driver), DRIVER),
                checks::IMMUTABLE,
            );
        }
    }
}

/// Reports every message of a node name's rule.
pub fn node_name(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    invalid_each(errors, path, name, rules::dns1123_subdomain(name));
}
