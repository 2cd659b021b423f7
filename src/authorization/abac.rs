//! ABAC: who may do what, line by line in a file (`--authorization-policy-file`).
//!
//! The file is read at the start. A line is a Policy of `abac.authorization.kubernetes.io/v1beta1`,
//! or one of the older kind that says neither version nor kind and means a little more. The first
//! policy that matches allows; what none matches is left to the next authorizer.

use std::time::Instant;

use async_trait::async_trait;
use serde::Deserialize;

use super::rbac::PolicyRule;
use super::{Asked, Authorizer, Decision, ResolvedRules, RuleResolver};
use crate::request::{Attributes, UserInfo};

const API_VERSION: &str = "abac.authorization.kubernetes.io/v1beta1";
const AUTHENTICATED: &str = "system:authenticated";
const READING: [&str; 3] = ["get", "list", "watch"];

/// The policies of a file.
#[derive(Debug)]
pub struct Abac {
    policies: Vec<Policy>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {text}: {why}")]
pub struct PolicyError {
    /// Counted from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// One line. Fields that are not set match nothing, save user and group, of which one is enough.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Policy {
    user: String,
    group: String,
    readonly: bool,
    api_group: String,
    resource: String,
    namespace: String,
    non_resource_path: String,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    kind: String,
    #[serde(default, rename = "apiVersion")]
    api_version: String,
    #[serde(default)]
    spec: Policy,
    /// The members of the older kind.
    #[serde(flatten)]
    unversioned: Policy,
}

impl Abac {
    /// Reads the policies of a file.
    ///
    /// # Errors
    /// The first line that is no policy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut policies = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let policy = Policy::parse(trimmed).map_err(|why| PolicyError {
                line: number,
                text: line.to_string(),
                why,
            })?;
            policies.push(policy);
        }
        Ok(Abac { policies })
    }
}

impl Policy {
    fn parse(line: &str) -> Result<Self, String> {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        match (line.api_version.as_str(), line.kind.as_str()) {
            ("", "") => Ok(line.unversioned.with_everything_unsaid()),
            (API_VERSION, "Policy") => Ok(line.spec.with_wildcards()),
            (version, kind) => Err(format!(
                "no kind \"{kind}\" is registered for version \"{version}\""
            )),
        }
    }

    /// `*` is everybody who is authenticated.
    fn with_wildcards(mut self) -> Self {
        if self.user == "*" || self.group == "*" {
            self.user.clear();
            self.group = AUTHENTICATED.into();
        }
        self
    }

    /// What the older kind does not say is everything.
    fn with_everything_unsaid(mut self) -> Self {
        if self.user.is_empty() && self.group.is_empty() {
            self.group = AUTHENTICATED.into();
        }
        self.non_resource_path = match self.namespace.is_empty() && self.resource.is_empty() {
            true => "*".into(),
            false => String::new(),
        };
        for field in [&mut self.namespace, &mut self.resource] {
            if field.is_empty() {
                *field = "*".into();
            }
        }
        self.api_group = "*".into();
        self.with_wildcards()
    }

    fn is_about(&self, user: &UserInfo) -> bool {
        if self.user.is_empty() && self.group.is_empty() {
            return false;
        }
        (self.user.is_empty() || self.user == user.username)
            && (self.group.is_empty() || user.in_group(&self.group))
    }

    fn matches(&self, attributes: &Attributes<'_>) -> bool {
        if !self.is_about(attributes.user) {
            return false;
        }
        if self.readonly && !READING.contains(&attributes.verb) {
            return false;
        }
        let is = |wanted: &str, found: &str| wanted == "*" || wanted == found;
        match attributes.is_resource {
            true => {
                is(&self.namespace, attributes.namespace)
                    && is(&self.resource, attributes.resource)
                    && is(&self.api_group, attributes.group)
            }
            false => {
                let path = self.non_resource_path.as_str();
                is(path, attributes.path)
                    || (path.ends_with('*')
                        && attributes.path.starts_with(path.trim_end_matches('*')))
            }
        }
    }

    fn verbs(&self) -> Vec<String> {
        match self.readonly {
            true => READING.map(String::from).to_vec(),
            false => vec!["*".into()],
        }
    }
}

#[async_trait]
impl Authorizer for Abac {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let began = Instant::now();
        if self.policies.iter().any(|p| p.matches(attributes)) {
            return Decision::allow();
        }
        let reason = "No policy matched.";
        Decision::no_opinion(reason).asked(Asked {
            authorizer: "ABAC".into(),
            outcome: "no-opinion",
            reason: reason.into(),
            began,
        })
    }
}

impl RuleResolver for Abac {
    fn rules_for(&self, user: &UserInfo, namespace: &str) -> ResolvedRules {
        let mut rules = Vec::new();
        for policy in self.policies.iter().filter(|p| p.is_about(user)) {
            if policy.namespace != "*" && policy.namespace != namespace {
                continue;
            }
            if !policy.resource.is_empty() {
                rules.push(PolicyRule {
                    verbs: policy.verbs(),
                    api_groups: vec![policy.api_group.clone()],
                    resources: vec![policy.resource.clone()],
                    ..PolicyRule::default()
                });
            }
            if !policy.non_resource_path.is_empty() {
                rules.push(PolicyRule {
                    verbs: policy.verbs(),
                    non_resource_urls: vec![policy.non_resource_path.clone()],
                    ..PolicyRule::default()
                });
            }
        }
        ResolvedRules {
            rules,
            ..ResolvedRules::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::Verdict;

    fn user(name: &str, groups: &[&str]) -> UserInfo {
        UserInfo {
            username: name.into(),
            groups: groups.iter().map(|g| (*g).to_string()).collect(),
            ..UserInfo::default()
        }
    }

    #[tokio::test]
    async fn policies_allow_what_they_say() {
        let abac = Abac::parse(
            r#"
# comments and empty lines are skipped
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "alice", "namespace": "*", "resource": "*", "apiGroup": "*"}}
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "bob", "namespace": "dev", "resource": "pods", "readonly": true}}
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"group": "*", "nonResourcePath": "/api*", "readonly": true}}
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"namespace": "*", "resource": "*", "apiGroup": "*"}}
{"user": "old", "namespace": "dev"}
"#,
        )
        .expect("policies");
        let (alice, bob) = (user("alice", &[]), user("bob", &["system:authenticated"]));
        let old = user("old", &[]);
        for (user, verb, group, resource, namespace, want) in [
            (&alice, "delete", "apps", "deployments", "prod", true),
            (&bob, "get", "", "pods", "dev", true),
            (&bob, "create", "", "pods", "dev", false),
            (&bob, "get", "", "pods", "prod", false),
            (&bob, "get", "apps", "pods", "dev", false),
            (&old, "create", "apps", "deployments", "dev", true),
            (&old, "create", "apps", "deployments", "prod", false),
        ] {
            let ask = Attributes::resource(user, verb, group, resource, namespace, "");
            let decision = abac.authorize(&ask).await;
            assert_eq!(decision.verdict == Verdict::Allow, want, "{ask:?}");
            if !want {
                assert_eq!(decision.reason, "No policy matched.");
            }
        }
        for (user, path, want) in [
            (&bob, "/apis/apps", true),
            (&bob, "/metrics", false),
            (&alice, "/api", false),
        ] {
            let ask = Attributes {
                is_resource: false,
                path,
                ..Attributes::resource(user, "get", "", "", "", "")
            };
            let decision = abac.authorize(&ask).await;
            assert_eq!(decision.verdict == Verdict::Allow, want, "{path}");
        }
        let rules = abac.rules_for(&bob, "dev").rules;
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].verbs, ["get", "list", "watch"]);
    }

    #[test]
    fn bad_lines() {
        let error =
            Abac::parse("\n{\"kind\": \"X\", \"apiVersion\": \"y\"}").expect_err("no policy");
        assert_eq!(error.line, 2);
        assert_eq!(error.why, "no kind \"X\" is registered for version \"y\"");
        assert_eq!(Abac::parse("{").expect_err("no JSON").line, 1);
    }
}
