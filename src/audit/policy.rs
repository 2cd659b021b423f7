//! `Policy` (`audit.k8s.io/v1`): which requests are recorded, and how much of them.
//!
//! Loaded by `server` from `--audit-policy-file` (or the built-in default) and asked once per
//! request by [`crate::audit::Recorder`]. Matching is upstream's, entry by entry
//! (contract/audit.md §1); loading is in [`super::policy_file`]. Names and sampling of rules are
//! ours; only an `AuditConfiguration` can set them.

use std::sync::Arc;

use crate::audit::Stage;
pub use crate::request::AuditDecision as Decision;
use crate::request::{AuditLevel, RequestInfo, UserInfo};

/// A loaded policy. Rules are tried in order; the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Rules in order.
    pub rules: Vec<Rule>,
    /// What was wrong with the file but not fatal (unknown and duplicate fields).
    pub warnings: Vec<String>,
}

/// One rule, with the policy-wide settings merged in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// What the rule is called; shown where a decision is shown.
    pub name: Option<Arc<str>>,
    /// What to record of matching requests.
    pub level: AuditLevel,
    /// Exact user names; empty for all.
    pub users: Vec<String>,
    /// Groups, one of which must be among the user's; empty for all.
    pub groups: Vec<String>,
    /// Exact verbs; empty for all. There is no wildcard.
    pub verbs: Vec<String>,
    /// Resources; empty for all.
    pub resources: Vec<GroupResources>,
    /// Exact namespaces, `""` for none; empty for all.
    pub namespaces: Vec<String>,
    /// Paths, `*` at the end matches any rest.
    pub non_resource_urls: Vec<String>,
    /// Set of [`Stage`] bits not to emit.
    pub omit_stages: u8,
    /// Leave `metadata.managedFields` out of bodies.
    pub omit_managed_fields: bool,
    /// Keep only this percentage of the matching requests.
    pub sampled_percent: Option<f64>,
}

/// Resources of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupResources {
    /// API group, `*` for any.
    pub group: String,
    /// Patterns; empty for every resource and subresource of the group.
    pub resources: Vec<ResourcePattern>,
    /// Exact object names; empty for any.
    pub names: Vec<String>,
}

/// One entry of `resources`, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourcePattern {
    /// `*`: everything.
    All,
    /// `pods`: the resource without its subresources.
    Resource(String),
    /// `pods/log`: exactly that subresource.
    Subresource(String, String),
    /// `pods/*`: the resource and all its subresources.
    WithSubresources(String),
    /// `*/status`: that subresource of any resource.
    AnySubresource(String),
}

impl Decision {
    /// Whether an event of `stage` is to be emitted.
    pub fn wants(&self, stage: Stage) -> bool {
        self.level > AuditLevel::None && self.omit_stages & stage.bit() == 0
    }
}

/// Why a rule does not match, for `policy explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The user is not listed.
    User,
    /// None of the user's groups is listed.
    Group,
    /// The verb is not listed.
    Verb,
    /// The rule is about resources and the request is not, or the reverse.
    Kind,
    /// The namespace is not listed.
    Namespace,
    /// No resource entry fits.
    Resource,
    /// No path fits.
    Path,
}

impl Policy {
    /// Decides about a request. `user` is the original one, before impersonation.
    pub fn evaluate(&self, info: &RequestInfo, user: Option<&UserInfo>) -> Decision {
        let matched = self.rules.iter().position(|r| r.matches(info, user));
        match matched {
            None => Decision::default(),
            Some(index) => {
                let rule = &self.rules[index];
                Decision {
                    level: rule.level,
                    omit_stages: rule.omit_stages,
                    omit_managed_fields: rule.omit_managed_fields,
                    rule: Some(index),
                    rule_name: rule.name.clone(),
                    sampled_percent: rule.sampled_percent,
                }
            }
        }
    }
}

impl Rule {
    /// The name, or `rules[index]` for a rule that has none.
    pub fn label(&self, index: usize) -> Arc<str> {
        match &self.name {
            Some(name) => name.clone(),
            None => format!("rules[{index}]").into(),
        }
    }

    /// Whether the rule is about this request.
    pub fn matches(&self, info: &RequestInfo, user: Option<&UserInfo>) -> bool {
        self.mismatch(info, user).is_none()
    }

    /// The first condition that fails, in the order they are tried.
    pub fn mismatch(&self, info: &RequestInfo, user: Option<&UserInfo>) -> Option<Mismatch> {
        if !self.users.is_empty() && !user.is_some_and(|u| self.users.contains(&u.username)) {
            return Some(Mismatch::User);
        }
        if !self.groups.is_empty()
            && !user.is_some_and(|u| self.groups.iter().any(|g| u.in_group(g)))
        {
            return Some(Mismatch::Group);
        }
        if !self.verbs.is_empty() && !self.verbs.contains(&info.verb) {
            return Some(Mismatch::Verb);
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return self.resource_mismatch(info);
        }
        if !self.non_resource_urls.is_empty() {
            if info.is_resource {
                return Some(Mismatch::Kind);
            }
            if !self
                .non_resource_urls
                .iter()
                .any(|p| path_matches(p, &info.path))
            {
                return Some(Mismatch::Path);
            }
        }
        None
    }

    fn resource_mismatch(&self, info: &RequestInfo) -> Option<Mismatch> {
        if !info.is_resource {
            return Some(Mismatch::Kind);
        }
        if !self.namespaces.is_empty() && !self.namespaces.contains(&info.namespace) {
            return Some(Mismatch::Namespace);
        }
        if !self.resources.is_empty() && !self.resources.iter().any(|r| r.matches(info)) {
            return Some(Mismatch::Resource);
        }
        None
    }
}

impl GroupResources {
    /// Whether the entry is about the resource that is asked for.
    pub fn matches(&self, info: &RequestInfo) -> bool {
        if self.group != info.group && self.group != "*" {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        (self.names.is_empty() || self.names.contains(&info.name))
            && self.resources.iter().any(|r| r.matches(info))
    }
}

impl ResourcePattern {
    /// Parses one entry.
    pub fn parse(text: &str) -> Self {
        match text.split_once('/') {
            None if text == "*" => ResourcePattern::All,
            None => ResourcePattern::Resource(text.into()),
            Some(("*", sub)) => ResourcePattern::AnySubresource(sub.into()),
            Some((resource, "*")) => ResourcePattern::WithSubresources(resource.into()),
            Some((resource, sub)) => ResourcePattern::Subresource(resource.into(), sub.into()),
        }
    }

    fn matches(&self, info: &RequestInfo) -> bool {
        match self {
            ResourcePattern::All => true,
            ResourcePattern::Resource(r) => *r == info.resource && info.subresource.is_empty(),
            ResourcePattern::Subresource(r, s) => {
                // `pods/` is a subresource without a name, which no request has.
                !info.subresource.is_empty() && *r == info.resource && *s == info.subresource
            }
            ResourcePattern::WithSubresources(r) => *r == info.resource,
            ResourcePattern::AnySubresource(s) => {
                !info.subresource.is_empty() && *s == info.subresource
            }
        }
    }
}

impl std::fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ResourcePattern::All => f.write_str("*"),
            ResourcePattern::Resource(resource) => f.write_str(resource),
            ResourcePattern::Subresource(resource, sub) => write!(f, "{resource}/{sub}"),
            ResourcePattern::WithSubresources(resource) => write!(f, "{resource}/*"),
            ResourcePattern::AnySubresource(sub) => write!(f, "*/{sub}"),
        }
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::audit::policy_file;

    fn decide(policy: &str, method: Method, uri: &str, user: Option<&str>) -> Decision {
        let policy = policy_file::parse(policy).expect("a valid policy");
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let info = RequestInfo::parse(&method, path, query).expect("a valid path");
        let user = user.map(|u| UserInfo {
            username: u.into(),
            groups: vec!["g".into()],
            ..UserInfo::default()
        });
        policy.evaluate(&info, user.as_ref())
    }

    fn one(rule: &str) -> String {
        format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n{rule}")
    }

    #[test]
    fn resources() {
        for (entry, uri, expected) in [
            ("pods", "/api/v1/namespaces/n/pods/p", true),
            ("pods", "/api/v1/namespaces/n/pods/p/log", false),
            ("pods/log", "/api/v1/namespaces/n/pods/p/log", true),
            ("pods/*", "/api/v1/namespaces/n/pods/p", true),
            ("pods/*", "/api/v1/namespaces/n/pods/p/log", true),
            ("'*/status'", "/api/v1/namespaces/n/pods/p/status", true),
            ("'*/status'", "/api/v1/namespaces/n/pods/p", false),
            ("'*'", "/api/v1/namespaces/n/pods/p/log", true),
            ("pods/", "/api/v1/namespaces/n/pods/p", false),
            ("'*/*'", "/api/v1/namespaces/n/pods/p/log", false),
            ("'*'", "/apis/apps/v1/deployments", false),
            ("'*'", "/healthz", false),
        ] {
            let policy = one(&format!(
                "  resources: [{{group: '', resources: [{entry}]}}]"
            ));
            let decision = decide(&policy, Method::GET, uri, None);
            assert_eq!(decision.rule.is_some(), expected, "{entry} {uri}");
        }
    }

    #[test]
    fn conditions() {
        let pod = "/api/v1/namespaces/n/pods/p";
        for (rule, uri, user, expected) in [
            ("  users: [a]", pod, Some("a"), true),
            ("  users: [a]", pod, Some("b"), false),
            ("  users: [a]", pod, None, false),
            ("  userGroups: [g]", pod, Some("a"), true),
            ("  userGroups: [g]", pod, None, false),
            ("  verbs: [get]", pod, None, true),
            ("  verbs: ['*']", pod, None, false),
            ("  namespaces: ['n']", pod, None, true),
            ("  namespaces: ['']", pod, None, false),
            ("  namespaces: ['']", "/api/v1/nodes", None, true),
            ("  namespaces: ['']", "/healthz", None, false),
            (
                "  nonResourceURLs: ['/healthz*']",
                "/healthz/etcd",
                None,
                true,
            ),
            (
                "  nonResourceURLs: ['/healthz']",
                "/healthz/etcd",
                None,
                false,
            ),
            ("  nonResourceURLs: ['*']", pod, None, false),
            ("  resources: [{group: '*'}]", pod, None, true),
            (
                "  resources: [{resources: [pods], resourceNames: [p]}]",
                pod,
                None,
                true,
            ),
            (
                "  resources: [{resources: [pods], resourceNames: [p]}]",
                "/api/v1/namespaces/n/pods",
                None,
                false,
            ),
        ] {
            let decision = decide(&one(rule), Method::GET, uri, user);
            assert_eq!(decision.rule.is_some(), expected, "{rule} {uri}");
        }
    }

    #[test]
    fn omitted_stages_and_managed_fields_are_merged() {
        let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nomitManagedFields: true\nrules:\n- {level: Request, omitStages: [Panic], verbs: [get]}\n- {level: None, omitManagedFields: false}";
        let first = decide(policy, Method::GET, "/healthz", None);
        assert!(!first.wants(Stage::RequestReceived) && !first.wants(Stage::Panic));
        assert!(first.wants(Stage::ResponseComplete) && first.omit_managed_fields);
        let second = decide(policy, Method::POST, "/healthz", None);
        assert_eq!(
            (second.level, second.omit_managed_fields),
            (AuditLevel::None, false)
        );
        assert!(!second.wants(Stage::ResponseComplete));
    }
}
