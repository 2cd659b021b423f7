//! `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` of a service.

use super::super::super::common::access::{arr_at, at, opt_str_at, str_at};
use super::super::super::common::net;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::services::{is_headless, kind};

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const NONE: &str = "None";
const FIXED: &str = "may not change once set";

/// Validates the four fields against each other.
pub fn validate(object: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    if kind(object) == "ExternalName" {
        return;
    }
    let null = Value::Null;
    let spec = at(object, "spec").unwrap_or(&null);
    let path = Path::ROOT.field("spec");
    let ips_path = path.field("clusterIPs");
    let ips = arr_at(spec, "clusterIPs");
    let before = errors.0.len();
    validate_first(str_at(spec, "clusterIP"), ips, &ips_path, errors);
    validate_families(spec, &path.field("ipFamilies"), errors);
    if let Some(policy) = opt_str_at(spec, "ipFamilyPolicy")
        && !POLICIES.contains(&policy)
    {
        errors.not_supported(&path.field("ipFamilyPolicy"), &policy.into(), &POLICIES);
    }
    let invalid = validate_ips(ips, old, &ips_path, errors);
    if ips.len() > 2 {
        errors.invalid(&ips_path, &json!(ips), "may only hold up to 2 values");
    }
    if invalid {
        return;
    }
    let is_v4 = |ip: &Value| {
        let parsed = net::parse_ip(ip.as_str().unwrap_or_default());
        parsed.map(|ip| ip.addr.is_ipv4() || ip.is_mapped())
    };
    if ips.len() > 1 {
        let dual = ips.iter().any(|ip| is_v4(ip) == Some(true))
            && ips.iter().any(|ip| is_v4(ip) == Some(false));
        if !dual {
            let text = "may specify no more than one IP for each IP family";
            errors.invalid(&ips_path, &json!(ips), text);
        }
    }
    if is_headless(object) || errors.0.len() > before {
        return;
    }
    for (i, (ip, family)) in ips.iter().zip(arr_at(spec, "ipFamilies")).enumerate() {
        let wrong = match family.as_str() {
            Some("IPv4") => is_v4(ip) == Some(false),
            Some("IPv6") => is_v4(ip) == Some(true),
            _ => false,
        };
        if wrong {
            let family = family.as_str().unwrap_or_default();
            let text = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(&ips_path.index(i), ip, text);
        }
    }
}

fn validate_first(ip: &str, ips: &[Value], path: &Path<'_>, errors: &mut FieldErrors) {
    match (ip, ips.first()) {
        ("", Some(_)) => {
            let text = "must be empty when `clusterIP` is not specified";
            errors.invalid(path, &json!(ips), text);
        }
        ("", None) => {}
        (_, None) => errors.required(path, ""),
        (ip, Some(first)) if first != ip => {
            errors.invalid(path, &json!(ips), "first value must match `clusterIP`");
        }
        _ => {}
    }
}

fn validate_families(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let families = arr_at(spec, "ipFamilies");
    for (i, family) in families.iter().enumerate() {
        if !FAMILIES.contains(&family.as_str().unwrap_or_default()) {
            errors.not_supported(&path.index(i), family, &FAMILIES);
        }
        if families[..i].contains(family) {
            errors.duplicate(&path.index(i), family);
        }
    }
}

/// Each address by itself. Returns whether one is invalid, which makes other checks pointless.
fn validate_ips(
    ips: &[Value],
    old: Option<&Value>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) -> bool {
    let stored: Vec<&str> = old
        .and_then(|old| at(old, "spec"))
        .map_or(&[][..], |spec| arr_at(spec, "clusterIPs"))
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let before = errors.0.len();
    for (i, ip) in ips.iter().enumerate() {
        let text = ip.as_str().unwrap_or_default();
        if i == 0 && text == NONE {
            if ips.len() > 1 {
                errors.invalid(path, &json!(ips), "'None' must be the first and only value");
            }
            continue;
        }
        net::validate_ip(&path.index(i), text, &stored, errors);
    }
    errors.0.len() > before
}

/// Primary and secondary address and family never change; the second may be added, or released by
/// going to single stack.
pub(super) fn validate_update(object: &Value, old: &Value, errors: &mut FieldErrors) {
    if kind(object) == "ExternalName" || kind(old) == "ExternalName" {
        return;
    }
    let headless = is_headless(object) && is_headless(old);
    if !headless {
        validate_list(object, old, "clusterIPs", "clusterIP", errors);
    }
    if !headless {
        validate_list(object, old, "ipFamilies", "ipFamily", errors);
    }
}

fn validate_list(
    object: &Value,
    old: &Value,
    field: &'static str,
    one: &str,
    errors: &mut FieldErrors,
) {
    let null = Value::Null;
    let spec = at(object, "spec").unwrap_or(&null);
    let new_list = arr_at(spec, field);
    let old_list = at(old, "spec").map_or(&[][..], |spec| arr_at(spec, field));
    let parent = Path::ROOT.field("spec");
    let path = parent.field(field);
    let (Some(first), Some(stored)) = (new_list.first(), old_list.first()) else {
        if !old_list.is_empty() && new_list.is_empty() {
            let text = format!("primary {one} can not be unset");
            errors.invalid(&path.index(0), &json!(new_list), text);
        }
        return;
    };
    if first != stored {
        errors.invalid(&path.index(0), &json!(new_list), FIXED);
    }
    match (new_list.get(1), old_list.get(1)) {
        (Some(second), Some(stored)) if second != stored => {
            errors.invalid(&path.index(1), &json!(new_list), FIXED);
        }
        (None, Some(_)) if str_at(spec, "ipFamilyPolicy") != "SingleStack" => {
            let policy = spec.get("ipFamilyPolicy").unwrap_or(&null);
            errors.invalid(
                &parent.field("ipFamilyPolicy"),
                policy,
                format!("must be set to 'SingleStack' when releasing the secondary {one}"),
            );
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_agree() {
        let cases = [
            (
                json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}),
                "",
            ),
            (
                json!({"clusterIPs": ["10.0.0.1"]}),
                "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not specified",
            ),
            (
                json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv6"]}),
                "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`",
            ),
            (
                json!({"ipFamilies": ["IPv4", "IPv4"]}),
                "spec.ipFamilies[1]: Duplicate value: \"IPv4\"",
            ),
        ];
        for (spec, want) in cases {
            let mut errors = FieldErrors::default();
            validate(&json!({"spec": spec}), None, &mut errors);
            let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            assert_eq!(texts.join("\n"), want, "{spec}");
        }
    }
}
