//! What kube-apiserver accepts in a policy although it cannot be meant (kubernetes/kubernetes#107759,
//! kubernetes/website#37958; users.md thread 4).

use http::Method;

use super::cover::{covers, matches_everything};
use crate::api::resource::Resource;
use crate::audit::config::View;
use crate::audit::policy::{Policy, ResourcePattern, Rule};
use crate::audit::redact::{DefaultSet, FieldRule, Rules};
use crate::audit::{STAGES, Stage};
use crate::registry::table;
use crate::request::{AuditLevel, RequestInfo, UserInfo};

/// Verbs of requests for resources.
const RESOURCE_VERBS: [&str; 9] = [
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
/// Verbs of other requests: HTTP methods in lower case.
const PATH_VERBS: [&str; 9] = [
    "connect", "delete", "get", "head", "options", "patch", "post", "put", "trace",
];
/// Verbs that only RBAC knows.
const RBAC_VERBS: [&str; 7] = [
    "approve",
    "attest",
    "bind",
    "escalate",
    "impersonate",
    "sign",
    "use",
];
/// Subresources that clients reach by GET (WebSocket) and by POST (SPDY).
const SESSIONS: [&str; 4] = ["attach", "exec", "portforward", "proxy"];
/// What holds secrets: group, resource, subresource.
const SENSITIVE: [(&str, &str, &str); 3] = [
    ("", "secrets", ""),
    ("", "serviceaccounts", "token"),
    ("authentication.k8s.io", "tokenreviews", ""),
];

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Field of the policy: `rules[0].verbs[1]`.
    pub(super) path: String,
    message: String,
}

impl Mistake {
    /// The mistake, with the rule's name if it has one.
    pub(super) fn text(&self, policy: &Policy) -> String {
        let index = self.path.strip_prefix("rules[").and_then(|rest| {
            let (index, _) = rest.split_once(']')?;
            index.parse::<usize>().ok()
        });
        let rule = index.and_then(|index| policy.rules.get(index));
        match rule.and_then(|rule| rule.name.as_deref()) {
            Some(name) => format!("{} ({name}): {}", self.path, self.message),
            None => format!("{}: {}", self.path, self.message),
        }
    }
}

/// Everything that is wrong with what a sink sees.
pub(super) fn mistakes(view: &View) -> Vec<Mistake> {
    let policy = &*view.policy;
    let mut linter = Linter { out: Vec::new() };
    for (index, rule) in policy.rules.iter().enumerate() {
        let path = format!("rules[{index}]");
        linter.verbs(&path, rule);
        linter.subjects(&path, rule);
        linter.resources(&path, rule);
        linter.names(&path, rule);
        linter.namespaces(&path, rule);
        linter.urls(&path, rule);
        linter.sessions(&path, rule);
        linter.effect(&path, rule);
        linter.reach(&path, index, policy);
        linter.secrets(&path, index, view);
    }
    let has_last = policy.rules.iter().any(matches_everything);
    if !has_last {
        linter.warn(
            "rules",
            "no rule matches everything that is left, and what no rule matches is not recorded; end with - level: Metadata, or with - level: None if that is meant",
        );
    }
    linter.out
}

struct Linter {
    out: Vec<Mistake>,
}

impl Linter {
    fn warn(&mut self, path: &str, message: impl Into<String>) {
        self.out.push(Mistake {
            path: path.to_string(),
            message: message.into(),
        });
    }

    fn verbs(&mut self, path: &str, rule: &Rule) {
        let is_resource = !rule.resources.is_empty() || !rule.namespaces.is_empty();
        let is_path = !rule.non_resource_urls.is_empty();
        for (index, verb) in rule.verbs.iter().enumerate() {
            let path = format!("{path}.verbs[{index}]");
            let lower = verb.to_ascii_lowercase();
            let v = verb.as_str();
            if v == "*" {
                self.warn(&path, "\"*\" never matches; leave verbs out to match all");
            } else if RBAC_VERBS.contains(&v) {
                let message =
                    format!("{verb:?} is a permission in RBAC, not the verb of a request");
                self.warn(&path, message);
            } else if is_resource && !RESOURCE_VERBS.contains(&v) && PATH_VERBS.contains(&v) {
                let message = format!(
                    "{verb:?} is an HTTP method; requests for resources have verbs like {}",
                    verb_of(v)
                );
                self.warn(&path, message);
            } else if is_path && !PATH_VERBS.contains(&v) && RESOURCE_VERBS.contains(&v) {
                self.warn(&path, format!("requests for paths are never {verb:?}; their verbs are HTTP methods in lower case"));
            } else if !RESOURCE_VERBS.contains(&v) && !PATH_VERBS.contains(&v) {
                let hint = match RESOURCE_VERBS.contains(&&*lower) || PATH_VERBS.contains(&&*lower)
                {
                    true => format!("; write {lower:?}"),
                    false => String::new(),
                };
                self.warn(&path, format!("{verb:?} is no verb of any request{hint}"));
            }
        }
    }

    fn subjects(&mut self, path: &str, rule: &Rule) {
        for (index, user) in rule.users.iter().enumerate() {
            let path = format!("{path}.users[{index}]");
            let account = user.strip_prefix("system:serviceaccount:");
            if user.contains('*') {
                self.warn(
                    &path,
                    "user names have no wildcards; this matches a user of exactly this name",
                );
            } else if account.is_some_and(|a| a.split(':').count() != 2) {
                self.warn(
                    &path,
                    "a service account is system:serviceaccount:NAMESPACE:NAME",
                );
            } else if user.starts_with("system:serviceaccounts") || is_group(user) {
                self.warn(
                    &path,
                    format!("{user:?} is a group; write it under userGroups"),
                );
            }
        }
        for (index, group) in rule.groups.iter().enumerate() {
            let path = format!("{path}.userGroups[{index}]");
            if group.contains('*') {
                self.warn(
                    &path,
                    "group names have no wildcards; this matches a group of exactly this name",
                );
            } else if group.starts_with("system:serviceaccount:") {
                self.warn(&path, format!("{group:?} is a user; write it under users"));
            }
        }
    }

    fn resources(&mut self, path: &str, rule: &Rule) {
        for (index, entry) in rule.resources.iter().enumerate() {
            let path = format!("{path}.resources[{index}]");
            if entry.group == "core" || entry.group == "v1" {
                self.warn(
                    &path,
                    format!(
                        "group {:?} does not exist; the core group is \"\"",
                        entry.group
                    ),
                );
                continue;
            }
            let is_known_group = entry.group == "*" || rows_of(&entry.group).next().is_some();
            if !is_known_group && !entry.group.contains('.') {
                let hint = groups_like(&entry.group);
                self.warn(
                    &path,
                    format!("group {:?} does not exist{hint}", entry.group),
                );
                continue;
            }
            let has_all = entry.resources.contains(&ResourcePattern::All);
            if has_all && entry.resources.len() > 1 {
                self.warn(
                    &path,
                    "\"*\" matches everything; the other entries do nothing",
                );
            }
            for (number, pattern) in entry.resources.iter().enumerate() {
                let path = format!("{path}.resources[{number}]");
                if let Some(message) = pattern_mistake(&entry.group, pattern, is_known_group) {
                    self.warn(&path, message);
                }
            }
        }
    }

    fn names(&mut self, path: &str, rule: &Rule) {
        let has = |verb: &str| rule.verbs.iter().any(|v| v == verb);
        for (index, entry) in rule.resources.iter().enumerate() {
            let path = format!("{path}.resources[{index}].resourceNames");
            if entry.names.is_empty() {
                continue;
            }
            let is_whole = |p: &ResourcePattern| {
                matches!(p, ResourcePattern::Resource(_) | ResourcePattern::All)
            };
            if has("create") && entry.resources.iter().any(is_whole) {
                self.warn(
                    &path,
                    "creates have no name in the URL, so this rule never matches them",
                );
            }
            if has("deletecollection") {
                self.warn(
                    &path,
                    "deletecollection has no name, so this rule never matches it",
                );
            }
            if has("list") || has("watch") {
                self.warn(&path, "lists and watches have a name only with fieldSelector=metadata.name=NAME; others of this object get past this rule");
            }
            if entry.names.iter().any(|n| n.contains('*')) {
                self.warn(&path, "names have no wildcards");
            }
        }
    }

    fn namespaces(&mut self, path: &str, rule: &Rule) {
        let path = format!("{path}.namespaces");
        if rule.namespaces.iter().any(|n| n.contains('*')) {
            self.warn(
                &path,
                "namespaces have no wildcards; leave namespaces out to match all",
            );
        }
        if rule.namespaces.is_empty() || rule.namespaces.iter().any(String::is_empty) {
            return;
        }
        for entry in &rule.resources {
            for pattern in &entry.resources {
                let Some(name) = resource_of(pattern) else {
                    continue;
                };
                let mut rows = rows_of(&entry.group)
                    .filter(|row| *row.plural == *name)
                    .peekable();
                let is_known = rows.peek().is_some();
                // A namespace's own requests are in it.
                if is_known && name != "namespaces" && rows.all(|row| !row.namespaced) {
                    let message = format!(
                        "{name} are in no namespace, so this rule never matches them; \"\" stands for none"
                    );
                    self.warn(&path, message);
                }
            }
        }
    }

    fn urls(&mut self, path: &str, rule: &Rule) {
        for (index, url) in rule.non_resource_urls.iter().enumerate() {
            let fixed = url.trim_end_matches('*');
            let info = RequestInfo::parse(&Method::GET, fixed, "").unwrap_or_default();
            let is_resource = info.is_resource && !info.resource.is_empty();
            if is_resource {
                let path = format!("{path}.nonResourceURLs[{index}]");
                self.warn(&path, format!("{url:?} is the path of a resource, which nonResourceURLs never match; write it under resources"));
            }
        }
    }

    fn sessions(&mut self, path: &str, rule: &Rule) {
        let has = |verb: &str| rule.verbs.iter().any(|v| v == verb);
        let names_session = rule.resources.iter().flat_map(|e| &e.resources).any(|p| {
            matches!(p, ResourcePattern::Subresource(_, s) | ResourcePattern::AnySubresource(s) if SESSIONS.contains(&s.as_str()))
        });
        if rule.verbs.is_empty() || !names_session || has("get") == has("create") {
            return;
        }
        let missing = if has("get") { "create" } else { "get" };
        let message = format!(
            "sessions are opened by get (WebSocket, kubectl since 1.31) and by create (SPDY); {missing:?} is missing"
        );
        self.warn(&format!("{path}.verbs"), message);
    }

    fn effect(&mut self, path: &str, rule: &Rule) {
        let omits = |stage: Stage| rule.omit_stages & stage.bit() != 0;
        let leaves_nothing = STAGES.into_iter().filter(|s| *s != Stage::Panic).all(omits);
        if leaves_nothing && rule.level > AuditLevel::None {
            let message = "all stages but Panic are omitted: nothing is recorded";
            self.warn(&format!("{path}.omitStages"), message);
        }
        if rule.level == AuditLevel::None && rule.sampled_percent.is_some() {
            let message = "nothing is recorded at level None, so there is nothing to sample";
            self.warn(&format!("{path}.sampling"), message);
        }
    }

    fn reach(&mut self, path: &str, index: usize, policy: &Policy) {
        let rule = &policy.rules[index];
        let earlier = policy.rules[..index].iter().position(|e| covers(e, rule));
        if let Some(earlier) = earlier {
            let label = policy.rules[earlier].label(earlier);
            let what = match matches_everything(&policy.rules[earlier]) {
                true => "everything",
                false => "all that this rule does",
            };
            self.warn(
                path,
                format!("is never reached: {label} before it matches {what}"),
            );
        }
    }

    /// Asks the policy itself what it records of secrets and tokens.
    fn secrets(&mut self, path: &str, index: usize, view: &View) {
        let rule = &view.policy.rules[index];
        if rule.level < AuditLevel::Request {
            return;
        }
        for (group, resource, subresource) in SENSITIVE {
            if is_redacted(&view.redaction.rules, resource) {
                continue;
            }
            let shows = witnesses(rule, group, resource, subresource)
                .any(|(info, user)| view.policy.evaluate(&info, Some(&user)).rule == Some(index));
            if shows {
                let what = match subresource {
                    "" => resource.to_string(),
                    subresource => format!("{resource}/{subresource}"),
                };
                self.warn(path, format!("records bodies of {what}; give secrets, configmaps, serviceaccounts/token and tokenreviews a rule at Metadata before this one"));
            }
        }
    }
}

/// Requests for a resource as a rule's own conditions describe them.
fn witnesses<'a>(
    rule: &'a Rule,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
) -> impl Iterator<Item = (RequestInfo, UserInfo)> + 'a {
    let user = UserInfo {
        username: rule
            .users
            .first()
            .cloned()
            .unwrap_or_else(|| "somebody".into()),
        groups: match rule.groups.first() {
            Some(group) => vec![group.clone()],
            None => vec!["system:authenticated".into()],
        },
        ..UserInfo::default()
    };
    let namespace = rule.namespaces.first().cloned();
    let verbs: &[&str] = match (resource, subresource) {
        ("secrets", _) => &["create", "get", "list", "patch", "update"],
        _ => &["create"],
    };
    verbs.iter().map(move |verb| {
        let info = RequestInfo {
            is_resource: true,
            verb: (*verb).into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.clone().unwrap_or_else(|| "somewhere".into()),
            name: match *verb {
                "create" | "list" => String::new(),
                _ => "something".into(),
            },
            ..RequestInfo::default()
        };
        (info, user.clone())
    })
}

/// Whether the rules of redaction are about what such bodies hold.
fn is_redacted(rules: &Rules, resource: &str) -> bool {
    let set = match resource {
        "secrets" => DefaultSet::Secrets,
        _ => DefaultSet::Tokens,
    };
    let wanted = Rules::of(&[set], rules.uri_action).fields;
    let has = |field: &FieldRule| {
        let mut fields = rules.fields.iter();
        fields.any(|f| f.paths == field.paths && f.resources == field.resources)
    };
    wanted.iter().all(has)
}

fn is_group(name: &str) -> bool {
    matches!(
        name,
        "system:authenticated" | "system:unauthenticated" | "system:masters" | "system:nodes"
    )
}

fn verb_of(method: &str) -> &'static str {
    match method {
        "post" => "create",
        "put" => "update",
        "head" => "get",
        _ => "get, list, create",
    }
}

fn rows_of(group: &str) -> impl Iterator<Item = &'static Resource> + '_ {
    let rows = table::builtin().iter().map(|row| &**row);
    rows.filter(move |row| group == "*" || *row.group == *group)
}

fn resource_of(pattern: &ResourcePattern) -> Option<&str> {
    match pattern {
        ResourcePattern::Resource(name)
        | ResourcePattern::Subresource(name, _)
        | ResourcePattern::WithSubresources(name) => Some(name),
        ResourcePattern::All | ResourcePattern::AnySubresource(_) => None,
    }
}

fn groups_like(group: &str) -> String {
    let lower = group.to_ascii_lowercase();
    let rows = table::builtin().iter();
    let mut groups = rows.map(|row| &*row.group).filter(|g| !g.is_empty());
    let near = groups.find(|g| g.starts_with(&lower) || lower.starts_with(*g));
    match near {
        Some(near) => format!("; is {near:?} meant?"),
        None => String::new(),
    }
}

fn pattern_mistake(group: &str, pattern: &ResourcePattern, is_builtin: bool) -> Option<String> {
    let name = match pattern {
        ResourcePattern::AnySubresource(sub) => {
            let known = |row: &Resource| row.subresources.iter().any(|s| *s.name == **sub);
            let is_known = table::builtin().iter().any(|row| known(row));
            let is_odd = is_builtin && !is_known && sub != "*";
            return is_odd.then(|| format!("no built-in resource has the subresource {sub:?}"));
        }
        ResourcePattern::All => return None,
        other => resource_of(other)?,
    };
    if name.contains('*') {
        return Some(format!(
            "{name:?}: wildcards stand alone; write \"*\", \"{}/*\" or \"*/SUBRESOURCE\"",
            name.trim_matches('*')
        ));
    }
    if let Some((plural, suffix)) = name.split_once('.') {
        return Some(format!(
            "{name:?} never matches; write resource {plural:?} under group {suffix:?}"
        ));
    }
    let mut rows = rows_of(group);
    if let Some(row) = rows_of(group).find(|row| *row.plural == *name) {
        return subresource_mistake(row, pattern);
    }
    let by_other_name = rows.find(|row| {
        *row.singular == *name || *row.kind == *name || row.short_names.iter().any(|s| **s == *name)
    });
    if let Some(row) = by_other_name {
        return Some(format!(
            "{name:?} never matches; resources are plural and in lower case: {:?}",
            &*row.plural
        ));
    }
    if name.chars().any(|c| c.is_ascii_uppercase()) {
        return Some(format!(
            "{name:?} never matches; resources are plural and in lower case"
        ));
    }
    if !is_builtin {
        return None;
    }
    let elsewhere = table::builtin().iter().find(|row| *row.plural == *name);
    match (elsewhere, group) {
        (Some(row), _) => Some(format!("{name:?} is in group {:?}", &*row.group)),
        (None, "*") => None,
        (None, _) => Some(format!("group {group:?} has no resource {name:?}")),
    }
}

fn subresource_mistake(row: &Resource, pattern: &ResourcePattern) -> Option<String> {
    let ResourcePattern::Subresource(_, sub) = pattern else {
        return None;
    };
    if row.subresources.iter().any(|s| *s.name == **sub) {
        return None;
    }
    let known: Vec<&str> = row.subresources.iter().map(|s| &*s.name).collect();
    Some(match known.is_empty() {
        true => format!("{} have no subresources", row.plural),
        false => format!(
            "{} have no subresource {sub:?}; they have {}",
            row.plural,
            known.join(", ")
        ),
    })
}
