//! Resource names, quantities and requirements (contract/validation.md §A6).

use std::borrow::Cow;

use super::access::{Object, arr_at, entries_at, obj_at, str_at};
use super::names::{self, invalid_each};
use crate::api::field::{ErrorType, FieldErrors, Path, go_quote};
use crate::base::tree::Value;

const NANO: i128 = 1_000_000_000;

const STANDARD_RESOURCES: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

const INTEGER_RESOURCES: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// A quantity in billionths; `None` when it is not a quantity.
pub fn nanos(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => nanos_of(text),
        Value::Number(number) => nanos_of(&number.to_string()),
        _ => None,
    }
}

/// A quantity text in billionths, rounded up.
pub fn nanos_of(text: &str) -> Option<i128> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (multiplier, exponent) = suffix_scale(suffix)?;
    let mut digits: i128 = 0;
    for b in whole.bytes().chain(fraction.bytes()) {
        digits = digits.checked_mul(10)?.checked_add(i128::from(b - b'0'))?;
    }
    digits = digits.checked_mul(multiplier)?;
    let power = exponent + 9 - i32::try_from(fraction.len()).ok()?;
    let scaled = if power >= 0 {
        digits.checked_mul(10i128.checked_pow(power.unsigned_abs())?)?
    } else {
        let divisor = 10i128.checked_pow(power.unsigned_abs())?;
        digits.div_euclid(divisor) + i128::from(digits.rem_euclid(divisor) != 0)
    };
    Some(if negative { -scaled } else { scaled })
}

fn suffix_scale(suffix: &str) -> Option<(i128, i32)> {
    let binary = |n: u32| Some((1i128 << (10 * n), 0));
    match suffix {
        "" => Some((1, 0)),
        "n" => Some((1, -9)),
        "u" => Some((1, -6)),
        "m" => Some((1, -3)),
        "k" => Some((1, 3)),
        "M" => Some((1, 6)),
        "G" => Some((1, 9)),
        "T" => Some((1, 12)),
        "P" => Some((1, 15)),
        "E" => Some((1, 18)),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (exponent.abs() <= 20).then_some((1, exponent))
        }
    }
}

/// A quantity as text: strings as they are, numbers printed.
pub fn quantity_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// Prints billionths in the given family: canonical decimal (`500m`, `2k`) or binary (`1Gi`).
pub fn format_nanos(value: i128, binary: bool) -> String {
    if value == 0 {
        return "0".into();
    }
    if binary && value % NANO == 0 {
        let units = value / NANO;
        for (shift, suffix) in [
            (60, "Ei"),
            (50, "Pi"),
            (40, "Ti"),
            (30, "Gi"),
            (20, "Mi"),
            (10, "Ki"),
        ] {
            if units.unsigned_abs() >= 1024 && units % (1i128 << shift) == 0 {
                return format!("{}{suffix}", units >> shift);
            }
        }
        return units.to_string();
    }
    let scales = [
        (27, "E"),
        (24, "P"),
        (21, "T"),
        (18, "G"),
        (15, "M"),
        (12, "k"),
        (9, ""),
        (6, "m"),
        (3, "u"),
        (0, "n"),
    ];
    for (power, suffix) in scales {
        let unit = 10i128.pow(power);
        if value % unit == 0 {
            return format!("{}{suffix}", value / unit);
        }
    }
    format!("{value}n")
}

/// Whether a quantity text is of the binary family.
pub fn is_binary(text: &str) -> bool {
    text.ends_with('i')
}

/// `hugepages-<size>`.
pub fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Without a slash or in a `kubernetes.io/` domain.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// A resource of somebody's own domain.
pub fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Requests may be smaller than limits.
pub fn is_overcommit_allowed(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// A resource the quota or the scheduler knows by itself.
pub fn is_standard(name: &str) -> bool {
    STANDARD_RESOURCES.contains(&name)
        || is_huge_page(name)
        || name.starts_with("requests.hugepages-")
}

/// A resource containers may ask for without a domain.
pub fn is_standard_for_containers(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge_page(name)
}

/// A resource counted in whole units.
pub fn is_integer(name: &str) -> bool {
    INTEGER_RESOURCES.contains(&name) || is_extended(name)
}

/// A resource name: qualified; without a domain it must be standard.
pub fn validate_resource_name(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let messages = names::qualified_name(name);
    if !messages.is_empty() {
        return invalid_each(errors, path, name, messages);
    }
    if !name.contains('/') && !is_standard(name) {
        errors.invalid_str(
            path,
            name,
            "must be a standard resource type or fully qualified",
        );
    }
}

/// A resource name a container may use.
pub fn validate_container_resource_name(name: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_resource_name(name, path, errors);
    if !name.contains('/') {
        if !is_standard_for_containers(name) {
            errors.invalid_str(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid_str(path, name, "doesn't follow extended resource name standard");
    }
}

/// A quantity of a resource: not negative, whole for counted resources.
pub fn validate_quantity_value(
    name: &str,
    quantity: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let Some(amount) = nanos(quantity) else {
        return;
    };
    if amount < 0 {
        errors.invalid_str(path, &quantity_text(quantity), super::checks::NON_NEGATIVE);
    }
    if is_integer(name) && amount % NANO != 0 {
        errors.invalid_str(path, &quantity_text(quantity), "must be an integer");
    }
}

fn validate_huge_page_value(
    name: &str,
    quantity: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let size = name
        .strip_prefix("hugepages-")
        .and_then(nanos_of)
        .filter(|n| *n > 0 && n % NANO == 0);
    let amount = nanos(quantity).unwrap_or_default();
    if size.is_none_or(|size| amount % size != 0) {
        let text = quantity_text(quantity);
        errors.invalid_str(
            path,
            &text,
            format!("{text} is not positive integer multiple of {name}"),
        );
    }
}

/// Names a container's `resources.claims` may refer to: those of the pod's resource claims.
pub type ClaimNames<'a> = &'a [&'a str];

/// `core.ResourceRequirements` of a container, a pod or an overhead.
pub fn validate_requirements(
    requirements: &Value,
    name_rule: fn(&str, &Path<'_>, &mut FieldErrors),
    claims: ClaimNames<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let (limits_path, requests_path) = (path.field("limits"), path.field("requests"));
    let limits = obj_at(requirements, "limits");
    let mut huge_pages = false;
    let mut cpu_or_memory = false;
    let mut one = |name: &str, quantity: &Value, path: &Path<'_>, errors: &mut FieldErrors| {
        name_rule(name, path, errors);
        validate_quantity_value(name, quantity, path, errors);
        huge_pages |= is_huge_page(name);
        cpu_or_memory |= matches!(name, "cpu" | "memory");
    };
    for (name, quantity) in entries_at(requirements, "limits") {
        let path = limits_path.key(name);
        one(name, quantity, &path, errors);
        if is_huge_page(name) {
            validate_huge_page_value(name, quantity, &path, errors);
        }
    }
    for (name, quantity) in entries_at(requirements, "requests") {
        let path = requests_path.key(name);
        one(name, quantity, &path, errors);
        validate_against_limit(
            name,
            quantity,
            limits,
            (&limits_path, &requests_path),
            errors,
        );
        if is_huge_page(name) {
            validate_huge_page_value(name, quantity, &path, errors);
        }
    }
    if huge_pages && !cpu_or_memory {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
    validate_claims(requirements, claims, &path.field("claims"), errors);
}

fn validate_against_limit(
    name: &str,
    request: &Value,
    limits: Option<&Object>,
    (limits_path, requests_path): (&Path<'_>, &Path<'_>),
    errors: &mut FieldErrors,
) {
    let overcommit = is_overcommit_allowed(name);
    let Some(limit) = limits.and_then(|l| l.get(name)) else {
        if !overcommit {
            errors.required(
                limits_path,
                "Limit must be set for non overcommitable resources",
            );
        }
        return;
    };
    let (Some(asked), Some(allowed)) = (nanos(request), nanos(limit)) else {
        return;
    };
    let relation = if asked != allowed && !overcommit {
        "equal to"
    } else if asked > allowed {
        "less than or equal to"
    } else {
        return;
    };
    errors.invalid_str(
        requests_path,
        &quantity_text(request),
        format!(
            "must be {relation} {name} limit of {}",
            quantity_text(limit)
        ),
    );
}

fn validate_claims(
    requirements: &Value,
    known: ClaimNames<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let mut seen: Vec<String> = Vec::new();
    for (i, claim) in arr_at(requirements, "claims").iter().enumerate() {
        let path = path.index(i);
        let name = str_at(claim, "name");
        if name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let request = str_at(claim, "request");
        let mut key = name.to_owned();
        if !request.is_empty() {
            let messages = names::dns1123_label(request);
            invalid_each(errors, &path.field("request"), request, messages);
            key = format!("{name}/{request}");
        }
        if seen.contains(&key) {
            errors.duplicate(&path, &key.into());
        } else {
            seen.push(key);
        }
        if known.contains(&name) {
            continue;
        }
        let mut detail = "must be one of the names in pod.spec.resourceClaims".to_owned();
        if known.is_empty() {
            detail.push_str(" which is empty");
        } else {
            let mut sorted = known.to_vec();
            sorted.sort_unstable();
            detail = format!("{detail}: {}", sorted.join(", "));
        }
        errors.push(ErrorType::NotFound, &path, go_quote(name), detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn quantities() {
        let cases = [
            ("1", Some(NANO)),
            ("500m", Some(NANO / 2)),
            ("1Ki", Some(1024 * NANO)),
            ("1e3", Some(1000 * NANO)),
            ("-1.5", Some(-NANO * 3 / 2)),
            ("0.0000000001", Some(1)),
            ("1Q", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(nanos_of(text), want, "{text}");
        }
        assert_eq!(format_nanos(NANO / 2, false), "500m");
        assert_eq!(format_nanos(2 * NANO, false), "2");
        assert_eq!(format_nanos((1 << 30) * NANO, true), "1Gi");
    }

    #[test]
    fn requirements() {
        let cases = [
            (
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}),
                "",
            ),
            (
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
                "r.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ),
            (
                json!({"requests": {"example.test/gpu": "1"}}),
                "r.limits: Required value: Limit must be set for non overcommitable resources",
            ),
            (
                json!({"limits": {"hugepages-2Mi": "1Mi"}}),
                "r.limits[hugepages-2Mi]: Invalid value: \"1Mi\": 1Mi is not positive integer multiple of hugepages-2Mi\nr: Forbidden: HugePages require cpu or memory",
            ),
            (
                json!({"limits": {"weird": "1"}}),
                "r.limits[weird]: Invalid value: \"weird\": must be a standard resource type or fully qualified\nr.limits[weird]: Invalid value: \"weird\": must be a standard resource for containers",
            ),
            (
                json!({"claims": [{"name": "zz"}]}),
                "r.claims[0]: Not found: \"zz\": must be one of the names in pod.spec.resourceClaims: rc",
            ),
        ];
        for (value, want) in cases {
            let mut errors = FieldErrors::default();
            validate_requirements(
                &value,
                validate_container_resource_name,
                &["rc"],
                &Path::ROOT.field("r"),
                &mut errors,
            );
            let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            assert_eq!(texts.join("\n"), want, "{value}");
        }
    }
}
