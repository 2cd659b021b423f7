//! `status` of a ResourceClaim.

use super::super::common::access::{arr_at, at, get, is_true, semantic_equal, str_at};
use super::super::common::checks;
use super::{names, validate_raw, within};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const RESERVED_MAX: usize = 256;
const CONDITIONS_MAX: usize = 8;
const INTERFACE_MAX: usize = 256;
const HARDWARE_MAX: usize = 128;
const IPS_MAX: usize = 16;

/// The allocated devices of a status.
pub fn results(status: &Value) -> &[Value] {
    arr_at(get(get(status, "allocation"), "devices"), "results")
}

/// Validates a status write.
pub fn validate(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let (status, stored) = (get(object, "status"), get(old, "status"));
    let path = Path::ROOT.field("status");
    validate_reserved(object, stored, &path, errors);
    let allocation = at(status, "allocation");
    if allocation.is_some()
        && at(stored, "allocation").is_some()
        && !semantic_equal(allocation, at(stored, "allocation"))
    {
        errors.invalid(
            &path.field("allocation"),
            allocation.unwrap_or(&Value::Null),
            checks::IMMUTABLE,
        );
    }
    let list = path.field("devices");
    for (i, device) in arr_at(status, "devices").iter().enumerate() {
        validate_device(device, results(status), &list.index(i), errors);
    }
}

fn validate_reserved(object: &Value, stored: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let status = get(object, "status");
    let reserved = arr_at(status, "reservedFor");
    let list = path.field("reservedFor");
    if within(status, "reservedFor", RESERVED_MAX, &list, errors) {
        for (i, consumer) in reserved.iter().enumerate() {
            let path = list.index(i);
            for field in ["resource", "name", "uid"] {
                checks::required_str(consumer, &path, field, errors);
            }
            let uid = str_at(consumer, "uid");
            if reserved[..i].iter().any(|c| str_at(c, "uid") == uid) {
                errors.duplicate(&path.field("uid"), &uid.into());
            }
        }
    }
    if reserved.is_empty() {
        return;
    }
    if at(status, "allocation").is_none() {
        errors.forbidden(&list, "may not be specified when `allocated` is not set");
        return;
    }
    let leaving = at(get(object, "metadata"), "deletionTimestamp").is_some()
        || is_true(status, "deallocationRequested");
    let known = arr_at(stored, "reservedFor");
    let added = reserved
        .iter()
        .any(|c| !known.iter().any(|k| str_at(k, "uid") == str_at(c, "uid")));
    if leaving && added {
        errors.forbidden(&list, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
    }
}

fn validate_device(device: &Value, allocated: &[Value], path: &Path<'_>, errors: &mut FieldErrors) {
    names::driver(str_at(device, "driver"), &path.field("driver"), errors);
    names::pool(str_at(device, "pool"), &path.field("pool"), errors);
    names::label(str_at(device, "device"), &path.field("device"), errors);
    let known = allocated.iter().any(|result| {
        ["driver", "pool", "device"]
            .iter()
            .all(|key| str_at(result, key) == str_at(device, key))
    });
    if !known {
        errors.invalid(path, device, "must be an allocated device in the claim");
    }
    let conditions = path.field("conditions");
    within(device, "conditions", CONDITIONS_MAX, &conditions, errors);
    validate_raw(device, "data", false, path, errors);
    let network = get(device, "networkData");
    let path = path.field("networkData");
    for (field, max) in [
        ("interfaceName", INTERFACE_MAX),
        ("hardwareAddress", HARDWARE_MAX),
    ] {
        if str_at(network, field).len() > max {
            errors.too_long(&path.field(field), max);
        }
    }
    let list = path.field("ips");
    let ips = arr_at(network, "ips");
    if within(network, "ips", IPS_MAX, &list, errors) {
        for (i, ip) in ips.iter().enumerate() {
            if ips[..i].contains(ip) {
                errors.duplicate(&list.index(i), ip);
            }
        }
    }
}
