//! Rules that several storage kinds share: driver names, provisioners and parameter maps.

use super::super::common::access::strings_at;
use super::super::common::names::{self, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

/// Most characters of a CSI driver's name.
const DRIVER_NAME_MAX: usize = 63;
/// Most parameters of a class.
const PARAMETERS_MAX: usize = 512;
/// Most bytes of all parameters.
const PARAMETERS_BYTES_MAX: usize = 256 * 1024;

/// A CSI driver's name: a DNS subdomain in any case, at most 63 bytes.
pub fn driver_name(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    if name.len() > DRIVER_NAME_MAX {
        errors.too_long(path, DRIVER_NAME_MAX);
    }
    let messages = names::dns1123_subdomain(&name.to_lowercase());
    invalid_each(errors, path, name, messages);
}

/// A provisioner: a qualified name in any case. The lower-cased text is what is reported.
pub fn provisioner(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    let lower = name.to_lowercase();
    invalid_each(errors, path, &lower, names::qualified_name(&lower));
}

/// The map `key` of a class. `may_be_empty` is false where at least one pair is needed.
pub fn parameters(
    object: &Value,
    key: &str,
    may_be_empty: bool,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let count = strings_at(object, key).count();
    if count > PARAMETERS_MAX {
        errors.too_long(path, PARAMETERS_MAX);
        return;
    }
    if count == 0 && !may_be_empty {
        errors.required(path, "must contain at least one key/value pair");
    }
    let mut bytes = 0;
    for (name, value) in strings_at(object, key) {
        if name.is_empty() {
            errors.invalid_str(path, name, "field can not be empty.");
        }
        bytes += name.len() + value.len();
    }
    if bytes > PARAMETERS_BYTES_MAX {
        errors.too_long(path, PARAMETERS_BYTES_MAX);
    }
}
