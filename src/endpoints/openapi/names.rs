//! Names in OpenAPI documents: definitions, operation ids, tags.

/// Where each built-in group's types live.
fn package(group: &str) -> String {
    match group {
        "" => "io.k8s.api.core".into(),
        "apiextensions.k8s.io" => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions".into(),
        "apiregistration.k8s.io" => "io.k8s.kube-aggregator.pkg.apis.apiregistration".into(),
        "internal.apiserver.k8s.io" => "io.k8s.api.apiserverinternal".into(),
        other => format!("io.k8s.api.{}", other.split('.').next().unwrap_or(other)),
    }
}

/// The definition of a kind: `io.k8s.api.apps.v1.Deployment`; of a custom resource its group
/// reversed: `test.crd.v1.Widget`.
pub(super) fn definition_name(custom: bool, group: &str, version: &str, kind: &str) -> String {
    if custom {
        let reversed: Vec<&str> = group.split('.').rev().collect();
        return format!("{}.{version}.{kind}", reversed.join("."));
    }
    format!("{}.{version}.{kind}", package(group))
}

/// The group's labels without `k8s.io`.
fn labels(group: &str) -> impl Iterator<Item = &str> {
    let group = if group.is_empty() {
        "core"
    } else {
        group.strip_suffix(".k8s.io").unwrap_or(group)
    };
    group.split(['.', '-'])
}

/// `AppsV1`, `RbacAuthorizationV1`, `CoreV1`.
pub(super) fn operation_prefix(group: &str, version: &str) -> String {
    format!("{}{}", group_title(group), title(version))
}

/// `Apps`, `RbacAuthorization`, `Core`.
pub(super) fn group_title(group: &str) -> String {
    labels(group).map(title).collect()
}

/// `apps`, `rbacAuthorization`, `core`.
pub(super) fn group_tag(group: &str) -> String {
    let text = group_title(group);
    let mut chars = text.chars();
    match chars.next() {
        None => String::new(),
        Some(first) => first.to_ascii_lowercase().to_string() + chars.as_str(),
    }
}

/// `apps_v1`.
pub(super) fn tag(group: &str, version: &str) -> String {
    format!("{}_{version}", group_tag(group))
}

fn title(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        None => String::new(),
        Some(first) => first.to_ascii_uppercase().to_string() + chars.as_str(),
    }
}
