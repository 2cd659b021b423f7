//! The access reviews: SubjectAccessReview and its three sisters, answered in place.
//!
//! Called by the registry when one of them is created; nothing is stored. The functions take the
//! decoded object and fill its `status`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::api::field::{FieldErrors, Path};
use crate::api::names::GroupKind;
use crate::api::status::Status;
use crate::authorization::rbac::PolicyRule;
use crate::authorization::{Authorizer, RuleResolver, Verdict};
use crate::base::tree::{Value, json};
use crate::request::{Attributes, UserInfo};

/// Answers a SubjectAccessReview.
pub async fn subject_access_review(
    authorizer: &dyn Authorizer,
    review: &mut Value,
) -> Result<(), Status> {
    validate(review, Who::InSpec, None)?;
    let user = user_of(review);
    answer(authorizer, &user, review).await;
    Ok(())
}

/// Answers a LocalSubjectAccessReview created in `namespace`.
pub async fn local_subject_access_review(
    authorizer: &dyn Authorizer,
    namespace: &str,
    review: &mut Value,
) -> Result<(), Status> {
    validate(review, Who::InSpec, Some(namespace))?;
    let user = user_of(review);
    answer(authorizer, &user, review).await;
    Ok(())
}

/// Answers a SelfSubjectAccessReview for `user`.
pub async fn self_subject_access_review(
    authorizer: &dyn Authorizer,
    user: &UserInfo,
    review: &mut Value,
) -> Result<(), Status> {
    validate(review, Who::Requester, None)?;
    answer(authorizer, user, review).await;
    Ok(())
}

/// Answers a SelfSubjectRulesReview for `user`.
pub fn self_subject_rules_review(
    resolver: &dyn RuleResolver,
    user: &UserInfo,
    review: &mut Value,
) -> Result<(), Status> {
    let namespace = text(review, "/spec/namespace").to_string();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let resolved = resolver.rules_for(user, &namespace);
    let (resource, path): (Vec<_>, Vec<_>) = resolved
        .rules
        .iter()
        .partition(|rule| rule.is_resource_rule());
    let resource: Vec<Value> = resource.into_iter().map(resource_rule).collect();
    let path: Vec<Value> = path
        .into_iter()
        .filter(|rule| !rule.non_resource_urls.is_empty())
        .map(|rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}))
        .collect();
    let mut status = json!({
        "resourceRules": resource,
        "nonResourceRules": path,
        "incomplete": resolved.incomplete,
    });
    if !resolved.errors.is_empty() {
        status["evaluationError"] = json!(resolved.errors.join(", "));
    }
    review["spec"] = json!({});
    review["status"] = status;
    Ok(())
}

fn resource_rule(rule: &PolicyRule) -> Value {
    let mut out = json!({
        "verbs": rule.verbs,
        "apiGroups": rule.api_groups,
        "resources": rule.resources,
    });
    if !rule.resource_names.is_empty() {
        out["resourceNames"] = json!(rule.resource_names);
    }
    out
}

/// Whose access is reviewed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    InSpec,
    Requester,
}

fn validate(review: &Value, who: Who, local: Option<&str>) -> Result<(), Status> {
    let mut errors = FieldErrors::default();
    let root = Path::ROOT.field("spec");
    let resource = present(review, "/spec/resourceAttributes");
    let path = present(review, "/spec/nonResourceAttributes");
    let resource_path = root.field("resourceAttributes");
    let non_resource_path = root.field("nonResourceAttributes");
    match (resource, path) {
        (Some(_), Some(path)) => errors.invalid(
            &non_resource_path,
            &go_path(path),
            "cannot be specified in combination with resourceAttributes",
        ),
        (None, None) => errors.invalid(
            &resource_path,
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        _ => {}
    }
    let no_groups = review
        .pointer("/spec/groups")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty);
    if who == Who::InSpec && text(review, "/spec/user").is_empty() && no_groups {
        errors.invalid_str(
            &root.field("user"),
            "",
            "at least one of user or group must be specified",
        );
    }
    if let Some(resource) = resource {
        validate_selectors(resource, &resource_path, &mut errors);
    }
    let metadata = stray_metadata(review, local.is_some());
    if let Some(metadata) = metadata {
        errors.invalid(&Path::ROOT.field("metadata"), &metadata, "must be empty");
    }
    if let Some(namespace) = local {
        let own = text(review, "/spec/resourceAttributes/namespace");
        if resource.is_some() && own != namespace {
            let at = resource_path.field("namespace");
            errors.invalid_str(&at, own, "must match metadata.namespace");
        }
        if let Some(path) = path {
            errors.invalid(
                &non_resource_path,
                &go_path(path),
                "disallowed on this kind of request",
            );
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let kind = GroupKind::new("authorization.k8s.io", "");
    Err(Status::invalid(&kind, "", &errors))
}

fn validate_selectors(resource: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for name in ["fieldSelector", "labelSelector"] {
        let Some(selector) = resource.get(name).filter(|s| !s.is_null()) else {
            continue;
        };
        let at = path.field(name);
        let raw = text(selector, "/rawSelector");
        let requirements = selector.get("requirements").and_then(Value::as_array);
        let count = requirements.map_or(0, Vec::len);
        if !raw.is_empty() && count > 0 {
            let raw_path = at.field("rawSelector");
            errors.invalid_str(
                &raw_path,
                raw,
                "may not specified at the same time as requirements",
            );
        }
        if raw.is_empty() && count == 0 {
            let at = at.field("requirements");
            errors.required(
                &at,
                format!(
                    "when {} is specified, requirements or rawSelector is required",
                    at_label(path, name)
                ),
            );
        }
    }
}

fn at_label(path: &Path<'_>, name: &str) -> String {
    path.field(name).to_string()
}

/// What of the metadata must not be there, in the order Go prints it.
fn stray_metadata(review: &Value, namespace_allowed: bool) -> Option<Value> {
    let metadata = review.get("metadata")?.as_object()?;
    let is_stray = |key: &str, value: &Value| {
        let is_empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        let ignored = matches!(key, "managedFields" | "creationTimestamp")
            || namespace_allowed && key == "namespace";
        !is_empty && !ignored
    };
    metadata
        .iter()
        .any(|(key, value)| is_stray(key, value))
        .then(|| {
            let mut copy = metadata.clone();
            copy.retain(|key, value| !value.is_null() && key != "creationTimestamp");
            Value::Object(copy)
        })
}

/// Path attributes as Go prints the internal type.
fn go_path(path: &Value) -> Value {
    json!({"Path": text(path, "/path"), "Verb": text(path, "/verb")})
}

fn present<'a>(review: &'a Value, pointer: &str) -> Option<&'a Value> {
    review.pointer(pointer).filter(|v| !v.is_null())
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn user_of(review: &Value) -> UserInfo {
    let strings = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items
            .filter_map(|v| v.as_str().map(str::to_string))
            .collect()
    };
    let extra: BTreeMap<String, Vec<String>> = review
        .pointer("/spec/extra")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.to_string(), strings(values)))
        .collect();
    UserInfo {
        username: text(review, "/spec/user").into(),
        uid: text(review, "/spec/uid").into(),
        groups: review
            .pointer("/spec/groups")
            .map(strings)
            .unwrap_or_default(),
        extra,
    }
}

async fn answer(authorizer: &dyn Authorizer, user: &UserInfo, review: &mut Value) {
    let mut evaluation_errors = Vec::new();
    let field_selector = selector(review, "fieldSelector", &mut evaluation_errors);
    let label_selector = selector(review, "labelSelector", &mut evaluation_errors);
    let attributes = match present(review, "/spec/resourceAttributes") {
        Some(resource) => Attributes {
            user,
            verb: text(resource, "/verb"),
            is_resource: true,
            group: text(resource, "/group"),
            version: text(resource, "/version"),
            resource: text(resource, "/resource"),
            subresource: text(resource, "/subresource"),
            namespace: text(resource, "/namespace"),
            name: text(resource, "/name"),
            path: "",
            field_selector: &field_selector,
            label_selector: &label_selector,
        },
        None => Attributes {
            is_resource: false,
            path: text(review, "/spec/nonResourceAttributes/path"),
            verb: text(review, "/spec/nonResourceAttributes/verb"),
            ..Attributes::resource(user, "", "", "", "", "")
        },
    };
    let decision = authorizer.authorize(&attributes).await;
    evaluation_errors.extend(decision.errors);
    let mut status = json!({"allowed": decision.verdict == Verdict::Allow});
    if decision.verdict == Verdict::Deny {
        status["denied"] = json!(true);
    }
    if !decision.reason.is_empty() {
        status["reason"] = json!(decision.reason);
    }
    if !evaluation_errors.is_empty() {
        status["evaluationError"] = json!(evaluation_errors.join(", "));
    }
    review["status"] = status;
}

/// A selector of the review as text; one that cannot be understood asks for everything.
fn selector(review: &Value, name: &str, errors: &mut Vec<String>) -> String {
    let Some(selector) = present(review, "/spec/resourceAttributes").and_then(|r| r.get(name))
    else {
        return String::new();
    };
    let raw = text(selector, "/rawSelector");
    if !raw.is_empty() {
        return raw.to_string();
    }
    let requirements = selector.get("requirements").and_then(Value::as_array);
    let mut terms: Vec<Cow<'_, str>> = Vec::new();
    let mut bad = false;
    for requirement in requirements.into_iter().flatten() {
        match requirement_text(requirement, name == "fieldSelector") {
            Some(term) => terms.push(term),
            None => bad = true,
        }
    }
    if bad && terms.is_empty() {
        errors.push(format!(
            "spec.resourceAttributes.{name} ignored due to parse error"
        ));
    } else if bad {
        errors.push(format!(
            "spec.resourceAttributes.{name} partially ignored due to parse error"
        ));
    }
    terms.join(",")
}

fn requirement_text(requirement: &Value, is_field: bool) -> Option<Cow<'static, str>> {
    let key = requirement.get("key")?.as_str()?;
    let values: Vec<&str> = requirement
        .get("values")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let operator = requirement.get("operator")?.as_str()?;
    match (operator, values.as_slice(), is_field) {
        ("In", [one], _) => Some(format!("{key}={one}").into()),
        ("NotIn", [one], _) => Some(format!("{key}!={one}").into()),
        ("In", [_, ..], false) => Some(format!("{key} in ({})", values.join(",")).into()),
        ("NotIn", [_, ..], false) => Some(format!("{key} notin ({})", values.join(",")).into()),
        ("Exists", [], false) => Some(key.to_string().into()),
        ("DoesNotExist", [], false) => Some(format!("!{key}").into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::AlwaysDeny;

    async fn review(spec: Value) -> Result<Value, String> {
        let mut review = json!({"metadata": {}, "spec": spec});
        subject_access_review(&AlwaysDeny, &mut review)
            .await
            .map_err(|s| s.message)?;
        Ok(review["status"].clone())
    }

    #[tokio::test]
    async fn validation() {
        let prefix = ".authorization.k8s.io \"\" is invalid: ";
        let cases = [
            (
                json!({"user": "u"}),
                "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ),
            (
                json!({"user": "u", "resourceAttributes": {}, "nonResourceAttributes": {"path": "/x", "verb": "get"}}),
                "spec.nonResourceAttributes: Invalid value: {\"Path\":\"/x\",\"Verb\":\"get\"}: cannot be specified in combination with resourceAttributes",
            ),
            (
                json!({"resourceAttributes": {}}),
                "spec.user: Invalid value: \"\": at least one of user or group must be specified",
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(review(spec).await, Err(format!("{prefix}{expected}")));
        }
    }

    #[tokio::test]
    async fn selectors() {
        let spec = json!({"user": "u", "resourceAttributes": {"verb": "list", "resource": "pods",
            "fieldSelector": {"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["x"]}]},
            "labelSelector": {"requirements": [{"key": "a", "operator": "Bad"}]}}});
        let status = review(spec).await.expect("a valid review");
        assert_eq!(
            status["evaluationError"],
            "spec.resourceAttributes.labelSelector ignored due to parse error"
        );
        assert_eq!(status["allowed"], false);
    }
}
