//! FlowSchemas and PriorityLevelConfigurations, compiled: which flow a request belongs to, and which
//! limits its level has (contract/flow_control.md §1 and §3).
//!
//! Pure: objects in, a classification out. `super` keeps the levels that live between two
//! configurations.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::base::tree::{Value, from_value};
use crate::flowcontrol::mandatory;
use crate::request::{RequestInfo, UserInfo};

/// `matchingPrecedence` of schemas that name none.
const DEFAULT_PRECEDENCE: i64 = 1000;

/// The part of a FlowSchema that classifies.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) level: String,
    precedence: i64,
    distinguisher: Distinguisher,
    rules: Vec<Rule>,
}

/// What tells apart the flows of one schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distinguisher {
    None,
    User,
    Namespace,
}

/// What a level promises.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LevelSpec {
    pub(super) uid: String,
    pub(super) shares: u32,
    pub(super) lendable_percent: u32,
    /// `None`: as much as there is.
    pub(super) borrowing_percent: Option<u32>,
    pub(super) mode: Mode,
}

/// What happens to requests for which there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// There always is one.
    Exempt,
    /// They are refused.
    Reject,
    /// They wait.
    Queue {
        /// How many queues.
        queues: u32,
        /// How many of them a flow may use.
        hand_size: u32,
        /// How many requests wait in one.
        length_limit: u32,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SchemaSpec {
    priority_level_configuration: Named,
    matching_precedence: Option<i64>,
    distinguisher_method: Option<Typed>,
    #[serde(deserialize_with = "null_as_default")]
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    #[serde(deserialize_with = "null_as_default")]
    subjects: Vec<Subject>,
    #[serde(deserialize_with = "null_as_default")]
    resource_rules: Vec<ResourceRule>,
    #[serde(deserialize_with = "null_as_default")]
    non_resource_rules: Vec<NonResourceRule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Subject {
    kind: SubjectKind,
    user: Option<Named>,
    group: Option<Named>,
    service_account: Option<Account>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum SubjectKind {
    User,
    Group,
    ServiceAccount,
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Typed {
    r#type: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Account {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResourceRule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    cluster_scope: bool,
    #[serde(deserialize_with = "null_as_default")]
    namespaces: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NonResourceRule {
    verbs: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    urls: Vec<String>,
}

fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// All schemas that name a level of `levels`, in the order they are tried. The mandatory ones are
/// there even when their objects are not.
pub(super) fn schemas(
    objects: &BTreeMap<String, Value>,
    levels: &BTreeMap<String, LevelSpec>,
) -> Vec<Schema> {
    let mut schemas: Vec<Schema> = objects.values().filter_map(schema).collect();
    for name in mandatory::NAMES {
        if !objects.contains_key(name)
            && let Some(spec) = mandatory::schema(name)
        {
            schemas.extend(schema_of(name, "", spec));
        }
    }
    schemas.retain(|schema| levels.contains_key(&schema.level));
    schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
    schemas
}

/// All levels by name, the mandatory ones included.
pub(super) fn levels(objects: &BTreeMap<String, Value>) -> BTreeMap<String, LevelSpec> {
    let of = |(name, object): (&String, &Value)| {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        (name.clone(), level_of(uid, &object["spec"]))
    };
    let mut levels: BTreeMap<String, LevelSpec> = objects.iter().map(of).collect();
    for name in mandatory::NAMES {
        if let Some(spec) = mandatory::level(name) {
            levels
                .entry(name.into())
                .or_insert_with(|| level_of("", spec));
        }
    }
    levels
}

fn schema(object: &Value) -> Option<Schema> {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    schema_of(text("name"), text("uid"), &object["spec"])
}

fn schema_of(name: &str, uid: &str, spec: &Value) -> Option<Schema> {
    let spec = from_value::<SchemaSpec>(spec.clone()).ok()?;
    let by = spec.distinguisher_method.map(|method| method.r#type);
    Some(Schema {
        name: name.into(),
        uid: uid.into(),
        level: spec.priority_level_configuration.name,
        precedence: spec.matching_precedence.unwrap_or(DEFAULT_PRECEDENCE),
        distinguisher: match by.as_deref() {
            Some("ByUser") => Distinguisher::User,
            Some("ByNamespace") => Distinguisher::Namespace,
            _ => Distinguisher::None,
        },
        rules: spec.rules,
    })
}

fn level_of(uid: &str, spec: &Value) -> LevelSpec {
    let is_exempt = spec["type"] == "Exempt";
    let part = match is_exempt {
        true => &spec["exempt"],
        false => &spec["limited"],
    };
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    let response = &part["limitResponse"];
    let queuing = |key: &str, or: u32| number(&response["queuing"][key]).unwrap_or(or);
    LevelSpec {
        uid: uid.into(),
        shares: number(&part["nominalConcurrencyShares"]).unwrap_or(match is_exempt {
            true => 0,
            false => 30,
        }),
        lendable_percent: number(&part["lendablePercent"]).unwrap_or(0),
        borrowing_percent: number(&part["borrowingLimitPercent"]),
        mode: match (is_exempt, response["type"].as_str()) {
            (true, _) => Mode::Exempt,
            (false, Some("Queue")) => Mode::Queue {
                queues: queuing("queues", 64).max(1),
                hand_size: queuing("handSize", 8).max(1),
                length_limit: queuing("queueLengthLimit", 50).max(1),
            },
            (false, _) => Mode::Reject,
        },
    }
}

impl Schema {
    /// Whether the request is one of this schema's.
    pub(super) fn matches(&self, info: &RequestInfo, user: &UserInfo) -> bool {
        self.rules.iter().any(|rule| {
            rule.subjects.iter().any(|subject| subject.is(user))
                && match info.is_resource {
                    true => rule.resource_rules.iter().any(|r| r.matches(info)),
                    false => rule.non_resource_rules.iter().any(|r| r.matches(info)),
                }
        })
    }

    /// What tells this request's flow from others of the schema.
    pub(super) fn flow<'a>(&self, info: &'a RequestInfo, user: &'a UserInfo) -> &'a str {
        match self.distinguisher {
            Distinguisher::None => "",
            Distinguisher::User => &user.username,
            Distinguisher::Namespace => &info.namespace,
        }
    }
}

impl Subject {
    fn is(&self, user: &UserInfo) -> bool {
        match (self.kind, &self.user, &self.group) {
            (SubjectKind::User, Some(named), _) => named.name == "*" || named.name == user.username,
            (SubjectKind::Group, _, Some(named)) => named.name == "*" || user.in_group(&named.name),
            (SubjectKind::ServiceAccount, ..) => {
                match (&self.service_account, user.service_account()) {
                    (Some(wanted), Some((namespace, name))) => {
                        wanted.namespace == namespace && (wanted.name == "*" || wanted.name == name)
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry == wanted)
}

impl ResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        has(&self.verbs, &info.verb)
            && has(&self.api_groups, &info.group)
            && match info.namespace.is_empty() {
                true => self.cluster_scope,
                false => has(&self.namespaces, &info.namespace),
            }
            && self.resources.iter().any(|entry| {
                let (resource, subresource) = entry.split_once('/').unwrap_or((entry, ""));
                entry == "*" || (resource == info.resource && subresource == info.subresource)
            })
    }
}

impl NonResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        has(&self.verbs, &info.verb)
            && self.urls.iter().any(|url| match url.strip_suffix('*') {
                Some(prefix) => info.path.starts_with(prefix),
                None => *url == info.path,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    use crate::base::tree::json;

    fn user(name: &str, groups: &[&str]) -> UserInfo {
        UserInfo {
            username: name.into(),
            groups: groups.iter().map(|g| g.to_string()).collect(),
            ..UserInfo::default()
        }
    }

    fn config() -> Vec<Schema> {
        let schema = |name: &str, precedence: u32, rule: Value| {
            let object = json!({"metadata": {"name": name, "uid": "u"}, "spec": {
                "priorityLevelConfiguration": {"name": "catch-all"},
                "matchingPrecedence": precedence, "rules": [rule]}});
            (name.to_string(), object)
        };
        let objects = BTreeMap::from([
            schema(
                "leases",
                5,
                json!({"subjects": [{"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}}],
                    "resourceRules": [{"verbs": ["get"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                        "namespaces": ["*"]}]}),
            ),
            schema(
                "status",
                6,
                json!({"subjects": [{"kind": "Group", "group": {"name": "system:nodes"}}],
                    "resourceRules": [{"verbs": ["*"], "apiGroups": [""], "resources": ["nodes/status"], "clusterScope": true}]}),
            ),
            schema(
                "probes",
                7,
                json!({"subjects": [{"kind": "User", "user": {"name": "*"}}],
                    "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez/*"]}]}),
            ),
        ]);
        schemas(&objects, &levels(&BTreeMap::new()))
    }

    #[test]
    fn requests_find_their_schema() {
        let schemas = config();
        for (name, groups, method, path, wanted) in [
            (
                "a",
                &["system:masters"][..],
                Method::GET,
                "/api/v1/pods",
                "exempt",
            ),
            (
                "system:serviceaccount:kube-system:x",
                &["system:authenticated"],
                Method::GET,
                "/apis/coordination.k8s.io/v1/namespaces/n/leases/l",
                "leases",
            ),
            (
                "system:serviceaccount:other:x",
                &["system:authenticated"],
                Method::GET,
                "/apis/coordination.k8s.io/v1/namespaces/n/leases/l",
                "catch-all",
            ),
            (
                "n",
                &["system:nodes", "system:authenticated"],
                Method::PATCH,
                "/api/v1/nodes/n/status",
                "status",
            ),
            (
                "n",
                &["system:nodes", "system:authenticated"],
                Method::PATCH,
                "/api/v1/nodes/n",
                "catch-all",
            ),
            (
                "a",
                &["system:unauthenticated"],
                Method::GET,
                "/healthz",
                "probes",
            ),
            (
                "a",
                &["system:authenticated"],
                Method::GET,
                "/livez/ping",
                "probes",
            ),
            (
                "a",
                &["system:authenticated"],
                Method::GET,
                "/version",
                "catch-all",
            ),
        ] {
            let info = RequestInfo::parse(&method, path, "").expect("a path");
            let user = user(name, groups);
            let found = schemas.iter().find(|s| s.matches(&info, &user));
            assert_eq!(
                found.map(|s| s.name.as_str()),
                Some(wanted),
                "{name} {path}"
            );
        }
    }

    #[test]
    fn a_schema_without_its_level_is_ignored() {
        let dangling = json!({"metadata": {"name": "d"}, "spec": {"priorityLevelConfiguration": {"name": "none"},
            "rules": [{"subjects": [{"kind": "User", "user": {"name": "*"}}]}]}});
        let objects = BTreeMap::from([("d".to_string(), dangling)]);
        let schemas = schemas(&objects, &levels(&BTreeMap::new()));
        let names: Vec<&str> = schemas.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["exempt", "catch-all"]);
    }
}
