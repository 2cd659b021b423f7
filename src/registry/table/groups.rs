//! The order of groups and versions in discovery (contract/discovery_openapi.md §3).

use std::cmp::Ordering;

use crate::api::names::Name;

/// The group that is listed before all others; it has no priority of its own.
const FIRST: &str = "apiregistration.k8s.io";
/// Priority of groups that custom resources bring.
const CUSTOM_GROUP: i32 = 1000;
/// Priority of versions that custom resources bring.
const CUSTOM_VERSION: i32 = 100;

/// Group and its priority.
const GROUPS: &[(&str, i32)] = &[
    ("", 18000),
    ("apps", 17800),
    ("events.k8s.io", 17750),
    ("authentication.k8s.io", 17700),
    ("authorization.k8s.io", 17600),
    ("autoscaling", 17500),
    ("batch", 17400),
    ("certificates.k8s.io", 17300),
    ("networking.k8s.io", 17200),
    ("policy", 17100),
    ("rbac.authorization.k8s.io", 17000),
    ("storage.k8s.io", 16800),
    ("apiextensions.k8s.io", 16700),
    ("admissionregistration.k8s.io", 16700),
    ("scheduling.k8s.io", 16600),
    ("coordination.k8s.io", 16500),
    ("node.k8s.io", 16300),
    ("discovery.k8s.io", 16200),
    ("resource.k8s.io", 16200),
    ("flowcontrol.apiserver.k8s.io", 16100),
    ("internal.apiserver.k8s.io", 16000),
    ("storagemigration.k8s.io", 15800),
];

/// Versions whose priority is not the 15 of most.
const VERSIONS: &[(&str, &str, i32)] = &[
    ("", "v1", 1),
    ("autoscaling", "v2", 30),
    ("certificates.k8s.io", "v1beta1", 9),
    ("certificates.k8s.io", "v1alpha1", 1),
    ("networking.k8s.io", "v1beta1", 9),
    ("storage.k8s.io", "v1beta1", 9),
    ("storage.k8s.io", "v1alpha1", 1),
    ("admissionregistration.k8s.io", "v1beta1", 12),
    ("admissionregistration.k8s.io", "v1alpha1", 9),
    ("scheduling.k8s.io", "v1alpha2", 2),
    ("coordination.k8s.io", "v1beta1", 13),
    ("coordination.k8s.io", "v1alpha2", 12),
    ("resource.k8s.io", "v1", 21),
    ("resource.k8s.io", "v1beta1", 9),
    ("resource.k8s.io", "v1alpha3", 1),
    ("flowcontrol.apiserver.k8s.io", "v1", 21),
    ("internal.apiserver.k8s.io", "v1alpha1", 9),
    ("storagemigration.k8s.io", "v1beta1", 9),
];

/// Whether a group is one of the built-in ones.
pub fn is_builtin_group(group: &str) -> bool {
    group == FIRST || GROUPS.iter().any(|(name, _)| *name == group)
}

/// `groupPriorityMinimum` of the group's APIServices.
pub fn group_priority(group: &str) -> i32 {
    GROUPS
        .iter()
        .find(|(name, _)| *name == group)
        .map_or(CUSTOM_GROUP, |(_, priority)| *priority)
}

/// `versionPriority` of the APIService of a group and version.
pub fn version_priority(group: &str, version: &str) -> i32 {
    if !is_builtin_group(group) {
        return CUSTOM_VERSION;
    }
    VERSIONS
        .iter()
        .find(|(g, v, _)| *g == group && *v == version)
        .map_or(15, |(_, _, priority)| *priority)
}

/// Order of groups in `/apis`.
pub fn compare_groups(a: &Name, b: &Name) -> Ordering {
    let first = |group: &Name| group == FIRST;
    first(b)
        .cmp(&first(a))
        .then_with(|| group_priority(b).cmp(&group_priority(a)))
        .then_with(|| a.cmp(b))
}

/// Order of a group's versions, the preferred one first.
pub fn compare_versions(group: &str, a: &str, b: &str) -> Ordering {
    version_priority(group, b)
        .cmp(&version_priority(group, a))
        .then_with(|| compare_kube_versions(a, b))
}

/// Kubernetes' order of version names, newest first: GA before beta before alpha, higher numbers
/// first, anything else last and by name.
pub fn compare_kube_versions(a: &str, b: &str) -> Ordering {
    match (parse_version(a), parse_version(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major, minor; greater is newer.
fn parse_version(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let major = positive(&rest[..digits])?;
    let tail = &rest[digits..];
    if tail.is_empty() {
        return Some((2, major, 0));
    }
    let (stability, minor) = match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
        (Some(minor), _) => (1, minor),
        (_, Some(minor)) => (0, minor),
        _ => return None,
    };
    Some((stability, major, positive(minor)?))
}

fn positive(digits: &str) -> Option<u64> {
    (!digits.starts_with('0')).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kube_versions_newest_first() {
        let mut versions = vec![
            "v1alpha1", "foo", "v2", "v11beta2", "v10", "v1", "v10beta3", "v3beta1", "v0",
        ];
        versions.sort_by(|a, b| compare_kube_versions(a, b));
        assert_eq!(
            versions,
            [
                "v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v1alpha1", "foo", "v0"
            ]
        );
    }

    #[test]
    fn preferred_versions() {
        assert_eq!(compare_versions("autoscaling", "v2", "v1"), Ordering::Less);
        assert_eq!(
            compare_versions("resource.k8s.io", "v1beta2", "v1alpha3"),
            Ordering::Less
        );
        assert_eq!(compare_versions("x.test", "v1", "v2"), Ordering::Greater);
    }
}
