//! ResourceSlice: the devices of a pool on a node.

use super::super::common::access::{
    arr_at, at, at_mut, default_nil, ensure_object, entries_at, get, int_at, is_true, items_mut,
    remove, str_at,
};
use super::super::common::checks;
use super::super::common::names::{self as rules, invalid_each};
use super::{device, names, within};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

const DEVICES_MAX: usize = 128;
/// Most devices where some have taints, counters or lists.
const RICH_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const CHOICES: [&str; 4] = [
    "nodeName",
    "nodeSelector",
    "allNodes",
    "perDeviceNodeSelection",
];
const ONE_CHOICE: &str =
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
/// Forms of attributes that a gate which is off would allow.
const LIST_FORMS: [&str; 4] = ["bools", "ints", "strings", "versions"];

/// Rules of ResourceSlice.
pub struct SliceStrategy;

impl Strategy for SliceStrategy {
    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        for device in items_mut(spec, "devices") {
            // v1beta1 has what it says of a device one step deeper.
            let device = if device.get("basic").is_some() {
                &mut device["basic"]
            } else {
                device
            };
            for taint in items_mut(device, "taints") {
                default_nil(taint, "timeAdded", crate::api::time::now());
            }
        }
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        drop_gated(object);
    }

    fn prepare_for_update(&self, object: &mut Value, _old: &Value, _ctx: &WriteContext<'_>) {
        drop_gated(object);
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
        names::driver(str_at(spec, "driver"), &path.field("driver"), errors);
        validate_pool(get(spec, "pool"), &path.field("pool"), errors);
        validate_choice(spec, &path, errors);
        if !arr_at(spec, "sharedCounters").is_empty() && !arr_at(spec, "devices").is_empty() {
            errors.invalid(
                &path,
                &Value::Null,
                "only one of `sharedCounters` or `devices` is allowed",
            );
        }
        validate_devices(spec, &path, errors);
        validate_counters(spec, &path, errors);
        if let Some(old) = old {
            let stored = get(old, "spec");
            let pool = path.field("pool");
            for (new, old, path) in [
                (
                    at(spec, "driver"),
                    at(stored, "driver"),
                    path.field("driver"),
                ),
                (
                    at(get(spec, "pool"), "name"),
                    at(get(stored, "pool"), "name"),
                    pool.field("name"),
                ),
                (
                    at(spec, "nodeName"),
                    at(stored, "nodeName"),
                    path.field("nodeName"),
                ),
            ] {
                checks::immutable(new, old, &path, errors);
            }
        }
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let driver = str_at(get(object, "spec"), "driver");
        if driver == driver.to_lowercase() {
            return Vec::new();
        }
        vec![format!(
            "spec.driver: driver names should be lowercase; \"{driver}\" contains uppercase characters"
        )]
    }
}

fn drop_gated(object: &mut Value) {
    for device in items_mut(ensure_object(object, "spec"), "devices") {
        remove(device, "nodeAllocatableResourceMappings");
        let attributes = at_mut(device, "attributes").and_then(Value::as_object_mut);
        for attribute in attributes.into_iter().flat_map(|map| map.values_mut()) {
            for form in LIST_FORMS {
                remove(attribute, form);
            }
        }
    }
}

fn validate_pool(pool: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    names::pool(str_at(pool, "name"), &path.field("name"), errors);
    let count = int_at(pool, "resourceSliceCount");
    if count <= 0 {
        let path = path.field("resourceSliceCount");
        errors.invalid(&path, &count.into(), "must be greater than zero");
    }
    let generation = int_at(pool, "generation");
    if generation < 0 {
        errors.invalid(
            &path.field("generation"),
            &generation.into(),
            "must be greater than or equal to zero",
        );
    }
}

fn validate_choice(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let mut chosen: Vec<String> = Vec::new();
    for field in CHOICES {
        let Some(value) = at(spec, field) else {
            continue;
        };
        let field_path = path.field(field);
        chosen.push(format!("`{field}`"));
        match field {
            "nodeName" => {
                let name = value.as_str().unwrap_or_default();
                if name.is_empty() {
                    errors.invalid(
                        &field_path,
                        value,
                        "must be either unset or set to a non-empty string",
                    );
                } else {
                    invalid_each(errors, &field_path, name, rules::dns1123_subdomain(name));
                }
            }
            "nodeSelector" => validate_selector(value, &field_path, errors),
            _ => {
                if value != &Value::Bool(true) {
                    errors.invalid(&field_path, value, "must be either unset or set to true");
                }
            }
        }
    }
    match chosen.len() {
        0 => errors.required(path, ONE_CHOICE),
        1 => {}
        _ => errors.invalid_str(
            path,
            &format!("{{{}}}", chosen.join(", ")),
            format!("{ONE_CHOICE}, but multiple fields are set"),
        ),
    }
}

/// A node selector of exactly one term.
pub fn validate_selector(selector: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if arr_at(selector, "nodeSelectorTerms").len() != 1 {
        errors.invalid(
            &path.field("nodeSelectorTerms"),
            &json!(arr_at(selector, "nodeSelectorTerms")),
            "must have exactly one node selector term",
        );
    }
}

fn validate_devices(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("devices");
    let devices = arr_at(spec, "devices");
    let rich = devices.iter().any(|device| {
        !arr_at(device, "taints").is_empty() || !arr_at(device, "consumesCounters").is_empty()
    });
    let max = if rich { RICH_DEVICES_MAX } else { DEVICES_MAX };
    if !within(spec, "devices", max, &list, errors) {
        return;
    }
    let per_device = is_true(spec, "perDeviceNodeSelection");
    for (i, item) in devices.iter().enumerate() {
        let path = list.index(i);
        device::validate(item, per_device, &path, errors);
        let name = str_at(item, "name");
        if devices[..i].iter().any(|d| str_at(d, "name") == name) {
            errors.duplicate(&path, &name.into());
        }
    }
}

fn validate_counters(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("sharedCounters");
    let sets = arr_at(spec, "sharedCounters");
    if !within(spec, "sharedCounters", COUNTER_SETS_MAX, &list, errors) {
        return;
    }
    for (i, set) in sets.iter().enumerate() {
        let path = list.index(i);
        validate_counter_set(set, "name", &path, errors);
        let name = str_at(set, "name");
        if sets[..i].iter().any(|s| str_at(s, "name") == name) {
            errors.duplicate(&path, &name.into());
        }
    }
}

/// A named set of counters; `name` is the member with its name.
pub fn validate_counter_set(set: &Value, name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let text = str_at(set, name);
    if text.is_empty() {
        errors.required(&path.field(name), "");
    } else {
        names::label(text, &path.field(name), errors);
    }
    let counters = path.field("counters");
    let count = entries_at(set, "counters").count();
    if count == 0 {
        errors.required(&counters, "");
    } else if count > COUNTERS_MAX {
        errors.too_many(&counters, count, COUNTERS_MAX);
    }
    for (key, _) in entries_at(set, "counters") {
        names::label(key, &counters, errors);
    }
}
