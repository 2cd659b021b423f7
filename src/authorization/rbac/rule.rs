//! `PolicyRule`: one rule of a Role or ClusterRole, matching and covering.

use serde::{Deserialize, Deserializer, Serialize};

use crate::api::field::go_quote;
use crate::base::tree::{Value, from_value};
use crate::request::Attributes;

/// Stands for every verb, group, resource or path.
const ALL: &str = "*";

/// One rule. Field names are those of `rbac.authorization.k8s.io/v1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// Verbs, `*` for all.
    #[serde(deserialize_with = "null_as_empty")]
    pub verbs: Vec<String>,
    /// API groups, `*` for all; empty text is the core group.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_empty"
    )]
    pub api_groups: Vec<String>,
    /// `*`, `resource`, `resource/subresource` or `*/subresource`.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_empty"
    )]
    pub resources: Vec<String>,
    /// Object names; empty for all.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_empty"
    )]
    pub resource_names: Vec<String>,
    /// `*`, an exact path, or a prefix ending in `*`.
    #[serde(
        rename = "nonResourceURLs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_empty"
    )]
    pub non_resource_urls: Vec<String>,
}

fn null_as_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl PolicyRule {
    /// All rules of a role object. Rules that are not rules at all grant nothing.
    pub fn of_role(role: &Value) -> Vec<PolicyRule> {
        let rules = role.get("rules").and_then(Value::as_array);
        rules
            .into_iter()
            .flatten()
            .filter_map(|rule| from_value::<PolicyRule>(rule.clone()).ok())
            .collect()
    }

    /// Everything: all verbs on all resources.
    pub fn all_resources() -> Self {
        PolicyRule {
            verbs: vec![ALL.into()],
            api_groups: vec![ALL.into()],
            resources: vec![ALL.into()],
            ..PolicyRule::default()
        }
    }

    /// Everything that is not a resource.
    pub fn all_paths() -> Self {
        PolicyRule {
            verbs: vec![ALL.into()],
            non_resource_urls: vec![ALL.into()],
            ..PolicyRule::default()
        }
    }

    /// Whether the rule is about resources.
    pub fn is_resource_rule(&self) -> bool {
        !self.resources.is_empty()
    }

    /// Whether the rule allows what is asked.
    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        if !attributes.is_resource {
            return self.has_verb(attributes.verb) && self.has_path(attributes.path);
        }
        self.has_verb(attributes.verb)
            && self.has_group(attributes.group)
            && self.has_resource(attributes.resource, attributes.subresource)
            && self.has_name(attributes.name)
    }

    /// Whether the rule names the verb.
    pub fn has_verb(&self, verb: &str) -> bool {
        contains_or_all(&self.verbs, verb)
    }

    /// Whether the rule names the group.
    pub fn has_group(&self, group: &str) -> bool {
        contains_or_all(&self.api_groups, group)
    }

    /// Whether the rule names the resource and subresource.
    pub fn has_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|rule| {
            if rule == ALL {
                return true;
            }
            if subresource.is_empty() {
                return rule == resource;
            }
            match rule.split_once('/') {
                Some((r, s)) => s == subresource && (r == ALL || r == resource),
                None => false,
            }
        })
    }

    /// Whether the rule covers the object name.
    pub fn has_name(&self, name: &str) -> bool {
        self.resource_names.is_empty() || self.resource_names.iter().any(|n| n == name)
    }

    /// Whether the rule covers the path.
    pub fn has_path(&self, path: &str) -> bool {
        self.non_resource_urls.iter().any(|rule| {
            rule == ALL
                || rule == path
                || rule
                    .strip_suffix('*')
                    .is_some_and(|prefix| path.starts_with(prefix))
        })
    }

    /// Whether this rule alone holds all of `atom`, which names one of each thing.
    fn covers_atom(&self, atom: &PolicyRule) -> bool {
        let all_in = |have: &[String], want: &[String]| {
            have.iter().any(|h| h == ALL) || want.iter().all(|w| have.contains(w))
        };
        if !all_in(&self.verbs, &atom.verbs) {
            return false;
        }
        if let Some(path) = atom.non_resource_urls.first() {
            return self.non_resource_urls.iter().any(|have| {
                have == ALL
                    || have == path
                    || have
                        .strip_suffix('*')
                        .is_some_and(|prefix| path.starts_with(prefix))
            });
        }
        let resources = self.resources.iter().any(|h| h == ALL)
            || atom.resources.iter().all(|want| {
                self.resources.contains(want)
                    || want
                        .split_once('/')
                        .is_some_and(|(_, sub)| self.covers_any_with(sub))
            });
        let names = self.resource_names.is_empty()
            || !atom.resource_names.is_empty() && all_names(&self.resource_names, atom);
        all_in(&self.api_groups, &atom.api_groups) && resources && names
    }

    fn covers_any_with(&self, subresource: &str) -> bool {
        self.resources
            .iter()
            .any(|r| r.split_once('/') == Some((ALL, subresource)))
    }

    /// One rule per verb, group, resource and name, or per verb and path.
    fn atoms(&self) -> Vec<PolicyRule> {
        let mut atoms = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let atom = |names: Vec<String>| PolicyRule {
                        verbs: vec![verb.clone()],
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        resource_names: names,
                        ..PolicyRule::default()
                    };
                    if self.resource_names.is_empty() {
                        atoms.push(atom(Vec::new()));
                    }
                    for name in &self.resource_names {
                        atoms.push(atom(vec![name.clone()]));
                    }
                }
            }
        }
        for path in &self.non_resource_urls {
            for verb in &self.verbs {
                atoms.push(PolicyRule {
                    verbs: vec![verb.clone()],
                    non_resource_urls: vec![path.clone()],
                    ..PolicyRule::default()
                });
            }
        }
        atoms
    }

    /// The rule as escalation errors print it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    pub fn compact(&self) -> String {
        let list = |label: &str, values: &[String]| {
            (!values.is_empty()).then(|| {
                let quoted: Vec<String> = values.iter().map(|v| go_quote(v)).collect();
                format!("{label}:[{}]", quoted.join(" "))
            })
        };
        let parts: Vec<String> = [
            list("APIGroups", &self.api_groups),
            list("Resources", &self.resources),
            list("NonResourceURLs", &self.non_resource_urls),
            list("ResourceNames", &self.resource_names),
            list("Verbs", &self.verbs),
        ]
        .into_iter()
        .flatten()
        .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

fn contains_or_all(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ALL || item == wanted)
}

fn all_names(have: &[String], atom: &PolicyRule) -> bool {
    atom.resource_names.iter().all(|want| have.contains(want))
}

/// What of `wanted` is not held by `held`, merged per resource and sorted as printed; empty when all
/// is held.
pub fn uncovered(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<String> {
    let mut missing: Vec<PolicyRule> = Vec::new();
    for atom in wanted.iter().flat_map(PolicyRule::atoms) {
        if held.iter().any(|rule| rule.covers_atom(&atom)) {
            continue;
        }
        let same_but_verbs = |other: &&mut PolicyRule| {
            other.api_groups == atom.api_groups
                && other.resources == atom.resources
                && other.resource_names == atom.resource_names
                && other.is_resource_rule()
        };
        match missing.iter_mut().find(same_but_verbs) {
            Some(rule) if rule.verbs.contains(&atom.verbs[0]) => {}
            Some(rule) => rule.verbs.extend(atom.verbs),
            None => missing.push(atom),
        }
    }
    let mut texts: Vec<String> = missing.iter().map(PolicyRule::compact).collect();
    texts.sort();
    texts.dedup();
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;
    use crate::request::UserInfo;

    fn rule(value: Value) -> PolicyRule {
        from_value(value).expect("a rule")
    }

    #[test]
    fn matching() {
        let user = UserInfo::default();
        let ask = |verb, group, resource, subresource, name| {
            let mut a = Attributes::resource(&user, verb, group, resource, "ns", name);
            a.subresource = subresource;
            a
        };
        let cases = [
            (
                json!({"verbs":["get"],"apiGroups":[""],"resources":["pods"]}),
                ask("get", "", "pods", "", "x"),
                true,
            ),
            (
                json!({"verbs":["get"],"apiGroups":[""],"resources":["pods"]}),
                ask("get", "", "pods", "log", "x"),
                false,
            ),
            (
                json!({"verbs":["get"],"apiGroups":[""],"resources":["pods/*"]}),
                ask("get", "", "pods", "log", "x"),
                false,
            ),
            (
                json!({"verbs":["*"],"apiGroups":["*"],"resources":["*/status"]}),
                ask("get", "batch", "jobs", "status", "x"),
                true,
            ),
            (
                json!({"verbs":["get"],"apiGroups":[""],"resources":["pods"],"resourceNames":["a"]}),
                ask("list", "", "pods", "", ""),
                false,
            ),
            (
                json!({"verbs":["get"],"apiGroups":[""],"resources":["pods"],"resourceNames":["a"]}),
                ask("get", "", "pods", "", "a"),
                true,
            ),
            (
                json!({"verbs":["get"],"apiGroups":["apps"],"resources":["*"]}),
                ask("get", "", "pods", "", "a"),
                false,
            ),
            (
                json!({"verbs":null,"apiGroups":["*"],"resources":["*"]}),
                ask("get", "", "pods", "", "a"),
                false,
            ),
        ];
        for (value, attributes, expected) in cases {
            assert_eq!(rule(value.clone()).allows(&attributes), expected, "{value}");
        }
    }

    #[test]
    fn paths() {
        let rule = rule(json!({"verbs":["get"],"nonResourceURLs":["/rbx","/rby/*"]}));
        for (path, expected) in [
            ("/rbx", true),
            ("/rby/a/b", true),
            ("/rby", false),
            ("/rbx/a", false),
        ] {
            assert_eq!(rule.has_path(path), expected, "{path}");
        }
    }

    #[test]
    fn escalation_texts() {
        let held = [rule(
            json!({"verbs":["create","update","get","list"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings"]}),
        )];
        let wanted = [
            rule(
                json!({"verbs":["get","delete"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"]}),
            ),
            rule(json!({"verbs":["get"],"apiGroups":["x"],"resources":["a","b"]})),
            rule(
                json!({"verbs":["get"],"apiGroups":[""],"resources":["pods"],"resourceNames":["q"]}),
            ),
        ];
        assert_eq!(
            uncovered(&held, &wanted),
            [
                r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["q"], Verbs:["get"]}"#,
                r#"{APIGroups:["rbac.authorization.k8s.io"], Resources:["roles"], Verbs:["delete"]}"#,
                r#"{APIGroups:["x"], Resources:["a"], Verbs:["get"]}"#,
                r#"{APIGroups:["x"], Resources:["b"], Verbs:["get"]}"#,
            ]
        );
        assert!(uncovered(&[PolicyRule::all_resources()], &wanted).is_empty());
        let all = [PolicyRule::all_resources(), PolicyRule::all_paths()];
        assert_eq!(
            uncovered(&held, &all),
            [
                r#"{APIGroups:["*"], Resources:["*"], Verbs:["*"]}"#,
                r#"{NonResourceURLs:["*"], Verbs:["*"]}"#,
            ]
        );
    }
}
