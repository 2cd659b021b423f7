//! IP families and dual stack: what a service asked for, made complete for this cluster.

use super::{is_headless, kind};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategies::common::access::{
    arr_at, at, ensure_object, is_zero, object_mut, opt_str_at, semantic_equal, str_at,
};
use crate::registry::strategies::common::net::parse_ip;
use crate::registry::strategies::core::service::cluster_ips;

const SINGLE: &str = "SingleStack";
const REQUIRE: &str = "RequireDualStack";
const PREFER: &str = "PreferDualStack";

/// The family of an address.
pub(super) fn family_of(ip: &str) -> Option<&'static str> {
    let v4 = parse_ip(ip)?.addr.is_ipv4();
    Some(if v4 { "IPv4" } else { "IPv6" })
}

/// Fills `ipFamilyPolicy` and `ipFamilies`; `cluster` are the cluster's families, the primary first.
pub(super) fn complete(
    object: &mut Value,
    old: Option<&Value>,
    cluster: &[&'static str],
    errors: &mut FieldErrors,
) {
    if kind(object) == "ExternalName" {
        return;
    }
    let headless = is_headless(object);
    let old_spec = old
        .filter(|old| kind(old) != "ExternalName")
        .and_then(|old| at(old, "spec"));
    if old_spec.is_some_and(|old| unchanged_preference(&object["spec"], old)) {
        return;
    }
    if let Some(old) = old_spec {
        trim(ensure_object(object, "spec"), old);
    }
    cluster_ips::validate(object, old, errors);
    if !errors.is_empty() {
        return;
    }
    let spec = ensure_object(object, "spec");
    validate_policy(spec, old_spec, errors);
    if !errors.is_empty() {
        return;
    }
    let without_selector = headless && is_zero(spec.get("selector"));
    let policy = match opt_str_at(spec, "ipFamilyPolicy") {
        Some(policy) => policy.to_string(),
        None if without_selector => REQUIRE.to_string(),
        None => SINGLE.to_string(),
    };
    object_mut(spec).insert("ipFamilyPolicy".into(), policy.clone().into());
    let families = families(spec, &policy, without_selector, cluster);
    if !without_selector {
        validate_families(spec, &families, &policy, cluster, errors);
    }
    object_mut(spec).insert("ipFamilies".into(), json!(families));
}

/// A stored preference for dual stack is not judged again when the cluster changes.
fn unchanged_preference(spec: &Value, old: &Value) -> bool {
    str_at(spec, "ipFamilyPolicy") == PREFER
        && ["ipFamilyPolicy", "clusterIPs", "ipFamilies"]
            .iter()
            .all(|field| semantic_equal(spec.get(*field), old.get(*field)))
}

/// Going to single stack with the lists as they were drops the second of each.
fn trim(spec: &mut Value, old: &Value) {
    let becomes_single =
        str_at(spec, "ipFamilyPolicy") == SINGLE && str_at(old, "ipFamilyPolicy") != SINGLE;
    if !becomes_single {
        return;
    }
    for field in ["clusterIPs", "ipFamilies"] {
        if semantic_equal(spec.get(field), old.get(field))
            && let Some(list) = spec.get_mut(field).and_then(Value::as_array_mut)
        {
            list.truncate(1);
        }
    }
}

fn validate_policy(spec: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let parent = Path::ROOT.field("spec");
    let path = parent.field("ipFamilyPolicy");
    let policy = opt_str_at(spec, "ipFamilyPolicy");
    let printed = policy.map_or(Value::Null, Value::from);
    let len = |spec: &Value, field: &str| arr_at(spec, field).len();
    let lists = [
        ("clusterIPs", "multiple cluster IPs", "secondary cluster IP"),
        ("ipFamilies", "multiple IP families", "secondary IP family"),
    ];
    let single = policy.is_none_or(|policy| policy == SINGLE);
    for (field, several, secondary) in lists {
        if single && len(spec, field) == 2 {
            let text = format!(
                "must be 'RequireDualStack' or 'PreferDualStack' when {several} are specified"
            );
            errors.invalid(&path, &printed, text);
        }
        if !single && old.is_some_and(|old| len(old, field) == 2) && len(spec, field) == 1 {
            let text = format!("must be 'SingleStack' to release the {secondary}");
            errors.invalid(&path, &printed, text);
        }
    }
}

fn families(
    spec: &Value,
    policy: &str,
    without_selector: bool,
    cluster: &[&'static str],
) -> Vec<String> {
    let given = arr_at(spec, "ipFamilies").iter().filter_map(Value::as_str);
    let mut families: Vec<String> = given.map(str::to_string).collect();
    for (i, ip) in arr_at(spec, "clusterIPs").iter().enumerate() {
        if i >= families.len()
            && let Some(family) = ip.as_str().and_then(family_of)
        {
            families.push(family.into());
        }
    }
    let primary = cluster.first().copied().unwrap_or("IPv4");
    if families.is_empty() {
        families.push(primary.into());
    }
    let both = without_selector || cluster.len() > 1;
    if policy != SINGLE && both && families.len() == 1 {
        let other = if families[0] == "IPv4" {
            "IPv6"
        } else {
            "IPv4"
        };
        families.push(other.into());
    }
    families
}

fn validate_families(
    spec: &Value,
    families: &[String],
    policy: &str,
    cluster: &[&'static str],
    errors: &mut FieldErrors,
) {
    let parent = Path::ROOT.field("spec");
    let has = |family: &str| cluster.contains(&family);
    let (ips_path, families_path) = (parent.field("clusterIPs"), parent.field("ipFamilies"));
    for (i, ip) in arr_at(spec, "clusterIPs").iter().enumerate() {
        let text = ip.as_str().unwrap_or_default();
        if let Some(family) = family_of(text).filter(|family| !has(family)) {
            let why = format!("{family} is not configured on this cluster");
            errors.invalid_str(&ips_path.index(i), text, why);
        }
    }
    if policy == REQUIRE && cluster.len() < 2 {
        errors.invalid_str(
            &parent.field("ipFamilyPolicy"),
            policy,
            "this cluster is not configured for dual-stack services",
        );
    }
    for (i, family) in families.iter().enumerate() {
        if !has(family) && i < arr_at(spec, "ipFamilies").len() {
            let why = "not configured on this cluster";
            errors.invalid_str(&families_path.index(i), family, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion() {
        let v4: &[&str] = &["IPv4"];
        let dual: &[&str] = &["IPv4", "IPv6"];
        let cases = [
            (json!({}), v4, json!(["IPv4"]), 0),
            (
                json!({"ipFamilyPolicy": "PreferDualStack"}),
                v4,
                json!(["IPv4"]),
                0,
            ),
            (
                json!({"ipFamilyPolicy": "PreferDualStack"}),
                dual,
                json!(["IPv4", "IPv6"]),
                0,
            ),
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                v4,
                json!(["IPv4"]),
                1,
            ),
            (
                json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}),
                v4,
                json!(["IPv4", "IPv6"]),
                2,
            ),
            (json!({"ipFamilies": ["IPv6"]}), v4, json!(["IPv6"]), 1),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None"]}),
                v4,
                json!(["IPv4", "IPv6"]),
                0,
            ),
        ];
        for (mut spec, cluster, want, count) in cases {
            spec["type"] = "ClusterIP".into();
            let mut object = json!({"spec": spec});
            let mut errors = FieldErrors::default();
            complete(&mut object, None, cluster, &mut errors);
            assert_eq!(object["spec"]["ipFamilies"], want, "{object}");
            assert_eq!(errors.0.len(), count, "{object}");
        }
    }
}
