//! Why RBAC does not allow something: the nearest misses and the smallest role that would.
//!
//! Called by `diagnose` for `verbatim why`. Reads all roles and bindings; never called on the
//! request path, and shown only to those who may see roles and bindings.

use serde::Serialize;

use crate::authorization::Verdict;
use crate::authorization::rbac::index::{Binding, Index};
use crate::authorization::rbac::{GROUP, PolicyRule, Rbac};
use crate::base::tree::{Value, json};
use crate::request::Attributes;

/// How many near misses an explanation lists.
const NEAR_MISSES_MAX: usize = 10;

/// Why a request is or is not allowed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Whether RBAC allows it now.
    pub allowed: bool,
    /// RBAC's reason text; may be empty.
    pub reason: String,
    /// The question in words: `alice may not get pods in namespace x`.
    pub question: String,
    /// What comes nearest to allowing it, best first.
    pub near_misses: Vec<NearMiss>,
    /// What would allow it; `None` when it is allowed already.
    pub suggestion: Option<Suggestion>,
}

/// One binding that nearly allows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NearMiss {
    /// What is in the way.
    pub miss: Miss,
    /// `RoleBinding` or `ClusterRoleBinding`.
    pub binding_kind: &'static str,
    /// Namespace of the binding, or empty.
    pub binding_namespace: String,
    /// Name of the binding.
    pub binding: String,
    /// `Role` or `ClusterRole`.
    pub role_kind: &'static str,
    /// Name of the role.
    pub role: String,
    /// The rule that comes nearest.
    pub rule: Option<PolicyRule>,
    /// The sentence for people.
    pub text: String,
}

/// What keeps a binding from allowing something, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Miss {
    /// The binding is the user's, but its role does not exist.
    RoleMissing,
    /// Everything fits but the verb.
    Verb,
    /// Everything fits but the object name.
    ResourceName,
    /// Everything fits but the subresource.
    Subresource,
    /// Everything fits but the API group.
    ApiGroup,
    /// The user's, and it allows it, but in another namespace.
    OtherNamespace,
    /// It allows it here, but to others.
    OtherSubject,
}

/// The smallest grant.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    /// Role (or ClusterRole) and its binding, ready to apply.
    pub manifests: Vec<Value>,
    /// The same as kubectl commands.
    pub commands: Vec<String>,
}

impl Rbac {
    /// Explains the decision for `attributes`.
    pub fn explain(&self, attributes: &Attributes<'_>) -> Explanation {
        let decision = self.decide(attributes);
        let allowed = decision.verdict == Verdict::Allow;
        let mut near_misses = Vec::new();
        if !allowed {
            near_misses = misses(&self.index.read(), attributes);
        }
        Explanation {
            allowed,
            reason: decision.reason,
            question: question(attributes, allowed),
            near_misses,
            suggestion: (!allowed).then(|| suggestion(attributes)),
        }
    }
}

fn misses(index: &Index, attributes: &Attributes<'_>) -> Vec<NearMiss> {
    let mut found: Vec<NearMiss> = index
        .all_bindings()
        .filter_map(|(binding, rules)| {
            let (miss, rule) = miss_of(binding, rules.map(|r| &**r), attributes)?;
            Some(NearMiss {
                miss,
                binding_kind: binding.kind(),
                binding_namespace: binding.namespace.clone(),
                binding: binding.name.clone(),
                role_kind: binding.role_kind(),
                role: binding.role.clone(),
                text: sentence(miss, binding, rule, attributes),
                rule: rule.cloned(),
            })
        })
        .collect();
    found.sort_by(|a, b| {
        let key = |n: &NearMiss| (n.miss, n.binding_namespace.clone(), n.binding.clone());
        key(a).cmp(&key(b))
    });
    found.truncate(NEAR_MISSES_MAX);
    found
}

fn miss_of<'r>(
    binding: &Binding,
    rules: Option<&'r [PolicyRule]>,
    attributes: &Attributes<'_>,
) -> Option<(Miss, Option<&'r PolicyRule>)> {
    let is_users = binding.subjects.iter().any(|s| s.is(attributes.user));
    let is_here = binding.namespace.is_empty() || binding.namespace == attributes.namespace;
    let Some(rules) = rules else {
        return (is_users && is_here).then_some((Miss::RoleMissing, None));
    };
    let allowing = rules.iter().find(|rule| rule.allows(attributes));
    if let Some(rule) = allowing {
        let reaches = binding.namespace.is_empty() || attributes.is_resource;
        return match (is_users, is_here) {
            (true, false) if reaches => Some((Miss::OtherNamespace, Some(rule))),
            (false, true) => Some((Miss::OtherSubject, Some(rule))),
            _ => None,
        };
    }
    if !is_users || !is_here {
        return None;
    }
    rules
        .iter()
        .filter_map(|rule| Some((rule_miss(rule, attributes)?, Some(rule))))
        .min_by_key(|(miss, _)| *miss)
}

/// What single thing keeps `rule` from allowing it; `None` when there are several.
fn rule_miss(rule: &PolicyRule, attributes: &Attributes<'_>) -> Option<Miss> {
    if !attributes.is_resource {
        return rule.has_path(attributes.path).then_some(Miss::Verb);
    }
    let resource = rule.has_resource(attributes.resource, attributes.subresource);
    let fits = [
        rule.has_verb(attributes.verb),
        rule.has_name(attributes.name),
        resource,
        rule.has_group(attributes.group),
    ];
    match fits {
        [false, true, true, true] => Some(Miss::Verb),
        [true, false, true, true] => Some(Miss::ResourceName),
        [true, true, false, true] if same_resource(rule, attributes) => Some(Miss::Subresource),
        [true, true, true, false] => Some(Miss::ApiGroup),
        _ => None,
    }
}

fn same_resource(rule: &PolicyRule, attributes: &Attributes<'_>) -> bool {
    rule.resources
        .iter()
        .any(|r| r.split('/').next() == Some(attributes.resource))
}

fn sentence(
    miss: Miss,
    binding: &Binding,
    rule: Option<&PolicyRule>,
    attributes: &Attributes<'_>,
) -> String {
    let place = match binding.namespace.as_str() {
        "" => String::new(),
        namespace => format!(" in namespace {namespace}"),
    };
    let by = format!(
        "{} {}{place} gives {} {}",
        binding.kind(),
        binding.name,
        binding.role_kind(),
        binding.role
    );
    let list = |values: Option<&Vec<String>>| values.map(|v| v.join(", ")).unwrap_or_default();
    match miss {
        Miss::RoleMissing => format!("{by}, but that role does not exist"),
        Miss::Verb => format!(
            "{by}, which has the verbs {} but not {}",
            list(rule.map(|r| &r.verbs)),
            attributes.verb
        ),
        Miss::ResourceName => format!(
            "{by}, but only for the names {}",
            list(rule.map(|r| &r.resource_names))
        ),
        Miss::Subresource => format!(
            "{by}, which covers {} but not {}",
            list(rule.map(|r| &r.resources)),
            attributes.full_resource()
        ),
        Miss::ApiGroup => format!(
            "{by}, but for the API groups {:?}, not {:?}",
            list(rule.map(|r| &r.api_groups)),
            attributes.group
        ),
        Miss::OtherNamespace => format!("{by}, which would allow it, but only there"),
        Miss::OtherSubject => {
            let subjects: Vec<String> = binding.subjects.iter().map(|s| s.to_string()).collect();
            let to = match subjects.is_empty() {
                true => "nobody".to_string(),
                false => subjects.join(", "),
            };
            format!("{by}, which would allow it, but to {to}")
        }
    }
}

fn question(attributes: &Attributes<'_>, allowed: bool) -> String {
    let may = if allowed { "may" } else { "may not" };
    let user = &attributes.user.username;
    if !attributes.is_resource {
        return format!("{user} {may} {} path {}", attributes.verb, attributes.path);
    }
    let name = match attributes.name {
        "" => String::new(),
        name => format!(" {name}"),
    };
    let place = match attributes.namespace {
        "" => "in the cluster".to_string(),
        namespace => format!("in namespace {namespace}"),
    };
    let resource = attributes.full_resource();
    format!("{user} {may} {} {resource}{name} {place}", attributes.verb)
}

/// The smallest role and binding that would allow something, whatever there is already.
pub fn suggestion(attributes: &Attributes<'_>) -> Suggestion {
    let is_namespaced = attributes.is_resource && !attributes.namespace.is_empty();
    let prefix = if is_namespaced { "" } else { "Cluster" };
    let name = suggested_name(attributes);
    let mut metadata = json!({"name": name});
    if is_namespaced {
        metadata["namespace"] = json!(attributes.namespace);
    }
    let api_version = format!("{GROUP}/v1");
    let role = json!({
        "apiVersion": api_version,
        "kind": format!("{prefix}Role"),
        "metadata": metadata,
        "rules": [rule_for(attributes)],
    });
    let binding = json!({
        "apiVersion": api_version,
        "kind": format!("{prefix}RoleBinding"),
        "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": format!("{prefix}Role"), "name": name},
        "subjects": [subject_for(attributes)],
    });
    Suggestion {
        manifests: vec![role, binding],
        commands: commands(attributes, &name, is_namespaced),
    }
}

fn rule_for(attributes: &Attributes<'_>) -> PolicyRule {
    if !attributes.is_resource {
        return PolicyRule {
            verbs: vec![attributes.verb.into()],
            non_resource_urls: vec![attributes.path.into()],
            ..PolicyRule::default()
        };
    }
    let by_name = !attributes.name.is_empty() && attributes.verb != "create";
    PolicyRule {
        verbs: vec![attributes.verb.into()],
        api_groups: vec![attributes.group.into()],
        resources: vec![attributes.full_resource()],
        resource_names: by_name
            .then(|| attributes.name.into())
            .into_iter()
            .collect(),
        ..PolicyRule::default()
    }
}

fn subject_for(attributes: &Attributes<'_>) -> Value {
    match attributes.user.service_account() {
        Some((namespace, name)) => {
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
        None => json!({"apiGroup": GROUP, "kind": "User", "name": attributes.user.username}),
    }
}

/// A valid object name that says what the role is for.
fn suggested_name(attributes: &Attributes<'_>) -> String {
    let what = match attributes.is_resource {
        true => attributes.full_resource(),
        false => attributes.path.to_string(),
    };
    let raw = format!("{}-{}-{what}", attributes.user.username, attributes.verb);
    let mut name: String = raw
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    name.truncate(63);
    while name.contains("--") {
        name = name.replace("--", "-");
    }
    name.trim_matches('-').to_string()
}

fn commands(attributes: &Attributes<'_>, name: &str, is_namespaced: bool) -> Vec<String> {
    let (kind, place) = match is_namespaced {
        true => ("role", format!(" --namespace={}", attributes.namespace)),
        false => ("clusterrole", String::new()),
    };
    let what = match attributes.is_resource {
        false => format!("--non-resource-url={}", attributes.path),
        true => {
            let group = match attributes.group {
                "" => String::new(),
                group => format!(".{group}"),
            };
            let sub = match attributes.subresource {
                "" => String::new(),
                sub => format!("/{sub}"),
            };
            format!("--resource={}{group}{sub}", attributes.resource)
        }
    };
    let names = match rule_for(attributes).resource_names.first() {
        Some(object) => format!(" --resource-name={object}"),
        None => String::new(),
    };
    let subject = match attributes.user.service_account() {
        Some((namespace, sa)) => format!("--serviceaccount={namespace}:{sa}"),
        None => format!("--user={}", attributes.user.username),
    };
    vec![
        format!(
            "kubectl create {kind} {name} --verb={} {what}{names}{place}",
            attributes.verb
        ),
        format!("kubectl create {kind}binding {name} --{kind}={name} {subject}{place}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::UserInfo;

    #[test]
    fn nearest_first() {
        let rbac = Rbac::new();
        let binding = |ns: &str, name: &str, role: &str, user: &str| {
            json!({"kind": "RoleBinding", "metadata": {"namespace": ns, "name": name},
                "roleRef": {"kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "User", "name": user}]})
        };
        for object in [
            json!({"kind": "ClusterRole", "metadata": {"name": "view"}, "rules": [
                {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]}),
            json!({"kind": "ClusterRole", "metadata": {"name": "edit"}, "rules": [
                {"verbs": ["delete"], "apiGroups": [""], "resources": ["pods"]}]}),
            binding("a", "view-a", "view", "alice"),
            binding("a", "edit-bob", "edit", "bob"),
            binding("b", "edit-b", "edit", "alice"),
            binding("a", "gone", "none", "alice"),
        ] {
            rbac.put_object(&object);
        }
        let alice = UserInfo {
            username: "alice".into(),
            ..UserInfo::default()
        };
        let ask = Attributes::resource(&alice, "delete", "", "pods", "a", "x");
        let explanation = rbac.explain(&ask);
        let misses: Vec<(Miss, &str)> = explanation
            .near_misses
            .iter()
            .map(|n| (n.miss, n.binding.as_str()))
            .collect();
        assert_eq!(
            misses,
            [
                (Miss::RoleMissing, "gone"),
                (Miss::Verb, "view-a"),
                (Miss::OtherNamespace, "edit-b"),
                (Miss::OtherSubject, "edit-bob"),
            ]
        );
        let suggestion = explanation.suggestion.expect("not allowed");
        for manifest in &suggestion.manifests {
            rbac.put_object(manifest);
        }
        assert!(rbac.explain(&ask).allowed, "the suggested role is enough");
        assert_eq!(
            suggestion.commands[0],
            "kubectl create role alice-delete-pods --verb=delete --resource=pods --resource-name=x --namespace=a"
        );
    }
}
