//! `spec.rules` of a FlowSchema: whom and what it matches.

use super::super::common::access::{arr_at, at, get, is_true, str_at};
use super::super::common::names::{self, invalid_each};
use crate::api::field::{ErrorType, FieldErrors, Path, print_value};
use crate::base::tree::Value;

const VERBS: [&str; 9] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];

/// Kinds of subjects and the member each needs, in the order they are checked.
const MEMBERS: [(&str, &str); 3] = [
    ("ServiceAccount", "serviceAccount"),
    ("User", "user"),
    ("Group", "group"),
];

/// One PolicyRulesWithSubjects.
pub fn validate(rule: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let subjects = path.field("subjects");
    if arr_at(rule, "subjects").is_empty() {
        errors.required(&subjects, "subjects must contain at least one value");
    }
    for (i, subject) in arr_at(rule, "subjects").iter().enumerate() {
        validate_subject(subject, &subjects.index(i), errors);
    }
    let (resources, urls) = (
        arr_at(rule, "resourceRules"),
        arr_at(rule, "nonResourceRules"),
    );
    if resources.is_empty() && urls.is_empty() {
        errors.required(
            path,
            "at least one of resourceRules and nonResourceRules has to be non-empty",
        );
    }
    let list = path.field("resourceRules");
    for (i, rule) in resources.iter().enumerate() {
        validate_resource_rule(rule, &list.index(i), errors);
    }
    let list = path.field("nonResourceRules");
    for (i, rule) in urls.iter().enumerate() {
        validate_url_rule(rule, &list.index(i), errors);
    }
}

fn validate_subject(subject: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let kind = str_at(subject, "kind");
    let Some((_, own)) = MEMBERS.iter().find(|(known, _)| *known == kind) else {
        errors.not_supported(
            &path.field("kind"),
            &kind.into(),
            &["Group", "ServiceAccount", "User"],
        );
        return;
    };
    match at(subject, own) {
        None => errors.required(
            &path.field(own),
            format!("{own} is required when subject kind is '{kind}'"),
        ),
        Some(member) if *own == "serviceAccount" => {
            validate_account(member, &path.field(own), errors);
        }
        Some(member) => {
            if str_at(member, "name").is_empty() {
                let path = path.field(own);
                errors.required(&path.field("name"), "");
            }
        }
    }
    let others = ["user", "group", "serviceAccount"];
    for other in others.iter().filter(|other| *other != own) {
        let other_kind = MEMBERS
            .iter()
            .find(|(_, member)| member == other)
            .map_or("", |(kind, _)| kind);
        if at(subject, other).is_some() {
            errors.forbidden(
                &path.field(other),
                format!("{other} is forbidden when subject kind is not '{other_kind}'"),
            );
        }
    }
}

fn validate_account(account: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let name = str_at(account, "name");
    let name_path = path.field("name");
    if name.is_empty() {
        errors.required(&name_path, "");
    } else if name != "*" {
        invalid_each(errors, &name_path, name, names::dns1123_subdomain(name));
    }
    let namespace = str_at(account, "namespace");
    let namespace_path = path.field("namespace");
    if namespace.is_empty() {
        errors.required(
            &namespace_path,
            "must specify namespace for service account",
        );
    } else {
        let messages = names::dns1123_label(namespace);
        invalid_each(errors, &namespace_path, namespace, messages);
    }
}

/// Whether a wildcard stands beside other values; then an error is reported.
fn wildcard_alone(
    rule: &Value,
    field: &str,
    what: &str,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) -> bool {
    let values = arr_at(rule, field);
    let mixed = values.len() > 1 && values.iter().any(|v| v == "*");
    if mixed {
        errors.invalid(
            &path.field(field),
            get(rule, field),
            format!("if '*' is present, must not specify other {what}"),
        );
    }
    !mixed
}

fn validate_verbs(rule: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let verbs = arr_at(rule, "verbs");
    let verbs_path = path.field("verbs");
    if verbs.is_empty() {
        errors.required(&verbs_path, "verbs must contain at least one value");
        return;
    }
    if !wildcard_alone(rule, "verbs", "verbs", path, errors) {
        return;
    }
    let known = |v: &Value| v == "*" || VERBS.contains(&v.as_str().unwrap_or_default());
    if !verbs.iter().all(known) {
        let list: Vec<String> = VERBS.iter().map(|v| format!("\"{v}\"")).collect();
        errors.push(
            ErrorType::NotSupported,
            &verbs_path,
            print_value(get(rule, "verbs")),
            format!("supported values: {}", list.join(", ")),
        );
    }
}

fn validate_resource_rule(rule: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_verbs(rule, path, errors);
    for (field, one, what) in [
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ] {
        if arr_at(rule, field).is_empty() {
            errors.required(
                &path.field(field),
                format!("resource rules must supply at least one {one}"),
            );
        } else {
            wildcard_alone(rule, field, what, path, errors);
        }
    }
    let namespaces = arr_at(rule, "namespaces");
    let list = path.field("namespaces");
    if namespaces.is_empty() && !is_true(rule, "clusterScope") {
        errors.required(
            &list,
            "resource rules that are not cluster scoped must supply at least one namespace",
        );
    } else if wildcard_alone(rule, "namespaces", "namespaces", path, errors) {
        for (i, namespace) in namespaces.iter().enumerate() {
            let text = namespace.as_str().unwrap_or_default();
            if text != "*" {
                invalid_each(errors, &list.index(i), text, names::dns1123_label(text));
            }
        }
    }
}

fn validate_url_rule(rule: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_verbs(rule, path, errors);
    let list = path.field("nonResourceURLs");
    let urls = arr_at(rule, "nonResourceURLs");
    if urls.is_empty() {
        errors.required(&list, "nonResourceURLs must contain at least one value");
    } else if wildcard_alone(rule, "nonResourceURLs", "non-resource URLs", path, errors) {
        for (i, url) in urls.iter().enumerate() {
            let url = url.as_str().unwrap_or_default();
            if url != "*"
                && let Some(message) = url_error(url)
            {
                errors.invalid_str(&list.index(i), url, message);
            }
        }
    }
}

fn url_error(url: &str) -> Option<&'static str> {
    if url.is_empty() {
        Some("must not be empty")
    } else if url == "/" {
        None
    } else if !url.starts_with('/') {
        Some("must start with slash")
    } else if url.contains(' ') {
        Some("must not contain white-space")
    } else if url.contains("//") {
        Some("must not contain double slash")
    } else if url
        .find('*')
        .is_some_and(|i| i + 1 != url.len() || !url.ends_with("/*"))
    {
        Some("wildcard can only do suffix matching")
    } else {
        None
    }
}
