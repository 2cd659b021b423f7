//! The log as tools for upstream's log read it: audit2rbac and the like.
//!
//! A strict reader (upstream's types, no field more) takes every line; roles are derived from the log
//! the way audit2rbac derives them and then tried: they allow what was done, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};

use crate::server::{Server, Store};

const TOKENS: &str =
    "admin-token,admin,1,\"system:masters\"\nrobot-token,robot,2\nclone-token,clone,3\n";
const POLICY: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]\n";

/// `audit.k8s.io/v1` Event as upstream declares it: names, order and types.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Event {
    kind: String,
    api_version: String,
    level: String,
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(rename = "authenticationMetadata")]
    _authentication_metadata: Option<AuthenticationMetadata>,
    #[serde(rename = "sourceIPs", default)]
    source_ips: Vec<std::net::IpAddr>,
    #[serde(rename = "userAgent")]
    _user_agent: Option<String>,
    object_ref: Option<ObjectReference>,
    response_status: Option<Status>,
    request_object: Option<Value>,
    response_object: Option<Value>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Its fields, in the order in which Go writes them.
const FIELDS: [&str; 19] = [
    "kind",
    "apiVersion",
    "level",
    "auditID",
    "stage",
    "requestURI",
    "verb",
    "user",
    "impersonatedUser",
    "authenticationMetadata",
    "sourceIPs",
    "userAgent",
    "objectRef",
    "responseStatus",
    "requestObject",
    "responseObject",
    "requestReceivedTimestamp",
    "stageTimestamp",
    "annotations",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(rename = "uid")]
    _uid: Option<String>,
    #[serde(rename = "groups")]
    _groups: Option<Vec<String>>,
    #[serde(rename = "extra")]
    _extra: Option<BTreeMap<String, Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthenticationMetadata {
    #[serde(rename = "impersonationConstraint")]
    _impersonation_constraint: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct ObjectReference {
    resource: String,
    namespace: String,
    name: String,
    #[serde(rename = "uid")]
    _uid: String,
    api_group: String,
    api_version: String,
    #[serde(rename = "resourceVersion")]
    _resource_version: String,
    subresource: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    metadata: serde_json::Map<String, Value>,
    #[serde(rename = "status")]
    _status: Option<String>,
    #[serde(rename = "message")]
    _message: Option<String>,
    #[serde(rename = "reason")]
    _reason: Option<String>,
    #[serde(rename = "details")]
    _details: Option<Value>,
    code: Option<u16>,
}

/// The keys of an object in their order.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Keys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// contract/audit.md §4, over one line.
fn check_line(line: &str) -> Event {
    let event: Event = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let Keys(keys) = serde_json::from_str(line).expect("an object");
    let places: Vec<_> = keys
        .iter()
        .map(|k| FIELDS.iter().position(|f| f == k))
        .collect();
    assert!(places.is_sorted(), "order of {keys:?}");
    assert!(
        line.starts_with(r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#),
        "{line}"
    );
    assert_eq!(
        (event.kind.as_str(), event.api_version.as_str()),
        ("Event", "audit.k8s.io/v1")
    );
    assert_eq!(event.level, "RequestResponse");
    assert!(event.request_uri.starts_with('/'), "{line}");
    assert!(!event.source_ips.is_empty(), "{line}");
    assert!(
        !event.verb.is_empty() && event.verb == event.verb.to_lowercase(),
        "{line}"
    );
    for time in [&event.request_received_timestamp, &event.stage_timestamp] {
        // metav1.MicroTime: six digits, UTC.
        let (_, fraction) = time.split_once('.').expect("a fraction");
        assert!(fraction.len() == 7 && fraction.ends_with('Z'), "{time}");
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
    }
    let tree: Value = serde_json::from_str(line).expect("JSON");
    for part in ["user", "impersonatedUser", "objectRef", "annotations"] {
        // Go's omitempty writes nothing that is empty.
        let members = tree[part].as_object().into_iter().flatten();
        for (key, value) in members.filter(|_| part != "annotations") {
            let is_empty = [json!(""), json!([]), json!({}), Value::Null].contains(value);
            assert!(!is_empty, "{part}.{key} in {line}");
        }
    }
    assert_ne!(tree["annotations"], json!({}), "{line}");
    check_stage(&event, line);
    event
}

/// What may stand in which stage.
fn check_stage(event: &Event, line: &str) {
    let is_first = event.stage == "RequestReceived";
    assert!(
        ["RequestReceived", "ResponseStarted", "ResponseComplete"].contains(&event.stage.as_str()),
        "{line}"
    );
    assert_eq!(event.response_status.is_none(), is_first, "{line}");
    if is_first {
        assert!(event.impersonated_user.is_none(), "{line}");
        assert!(
            event.request_object.is_none() && event.response_object.is_none(),
            "{line}"
        );
        assert_eq!(event.request_received_timestamp, event.stage_timestamp);
    }
    if let Some(status) = &event.response_status {
        assert!(
            status.metadata.is_empty() && status.code.is_some(),
            "{line}"
        );
    }
    let decision = event.annotations.get("authorization.k8s.io/decision");
    assert_eq!(decision.is_some(), !is_first, "{line}");
    if let Some(object) = &event.object_ref {
        assert!(
            !object.resource.is_empty() && !object.api_version.is_empty(),
            "{line}"
        );
        // The core group is no group, and the version is without one.
        assert!(
            !object.api_version.contains('/') && object.api_group != "core",
            "{line}"
        );
    }
    if event.verb == "watch" {
        assert!(event.response_object.is_none(), "{line}");
    }
}

/// What one request asked for, as audit2rbac takes it from an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    verb: String,
    group: String,
    /// With its subresource; empty for a path.
    resource: String,
    namespace: String,
    name: String,
    path: String,
}

fn asked(event: &Event) -> Asked {
    let of = |text: &str| text.to_string();
    let empty = ObjectReference::default();
    let object = event.object_ref.as_ref().unwrap_or(&empty);
    Asked {
        verb: of(&event.verb),
        group: of(&object.api_group),
        resource: match object.subresource.as_str() {
            "" => of(&object.resource),
            subresource => format!("{}/{subresource}", object.resource),
        },
        namespace: of(&object.namespace),
        name: of(&object.name),
        path: match event.object_ref {
            Some(_) => String::new(),
            None => of(&event.request_uri),
        },
    }
}

/// Namespace (none for cluster roles), group, resource and name; or a path alone.
type Target = (String, String, String, String, String);
type Grants = BTreeMap<Target, BTreeSet<String>>;

/// Roles as audit2rbac derives them: by the user in whose name a request ran, of all stages; several
/// names or namespaces become all; who lists may watch; what everybody may is left out.
fn derive(events: &[Event], username: &str) -> Grants {
    let ran_as = |e: &&Event| e.impersonated_user.as_ref().unwrap_or(&e.user).username == username;
    let all: BTreeSet<Asked> = events.iter().filter(ran_as).map(asked).collect();
    let mut grants = Grants::new();
    for one in &all {
        let is_for_everybody =
            one.path == "/version" || one.path == "/healthz" || one.path.starts_with("/api");
        if is_for_everybody {
            continue;
        }
        let alike = all.iter().filter(|other| {
            (&other.verb, &other.group, &other.resource) == (&one.verb, &one.group, &one.resource)
        });
        let differs = |of: fn(&Asked) -> &str| {
            let mine = of(one).to_string();
            move |other: &&Asked| !of(other).is_empty() && of(other) != mine
        };
        let (mut namespace, mut name) = (one.namespace.clone(), one.name.clone());
        if alike.clone().any(|o| differs(|a| &a.namespace)(&o)) {
            namespace.clear();
        }
        if alike.clone().any(|o| differs(|a| &a.name)(&o)) {
            name.clear();
        }
        let more: &[&str] = match one.verb.as_str() {
            "watch" => &["get", "list"],
            "list" => &["get", "watch"],
            "update" => &["get", "patch"],
            "patch" => &["get", "update"],
            _ => &[],
        };
        let target = (
            namespace,
            one.group.clone(),
            one.resource.clone(),
            name,
            one.path.clone(),
        );
        let verbs = grants.entry(target).or_default();
        verbs.insert(one.verb.clone());
        if one.path.is_empty() {
            verbs.extend(more.iter().map(|v| v.to_string()));
        }
    }
    without_doubles(grants)
}

/// What a grant without name or namespace gives already is left out of the narrower ones.
fn without_doubles(grants: Grants) -> Grants {
    let mut kept = Grants::new();
    for ((namespace, group, resource, name, path), verbs) in &grants {
        let mut verbs = verbs.clone();
        for (namespace_of_wider, name_of_wider) in [(namespace.as_str(), ""), ("", name), ("", "")]
        {
            let wider = (
                namespace_of_wider.to_string(),
                group.clone(),
                resource.clone(),
                name_of_wider.to_string(),
                path.clone(),
            );
            let is_itself =
                (namespace_of_wider, name_of_wider) == (namespace.as_str(), name.as_str());
            if let Some(given) = grants.get(&wider).filter(|_| !is_itself) {
                verbs.retain(|v| !given.contains(v));
            }
        }
        if !verbs.is_empty() {
            let target = (
                namespace.clone(),
                group.clone(),
                resource.clone(),
                name.clone(),
                path.clone(),
            );
            kept.insert(target, verbs);
        }
    }
    kept
}

/// Roles and bindings that give these grants to a user.
fn manifests(grants: &Grants, username: &str) -> Vec<Value> {
    let mut rules: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for ((namespace, group, resource, name, path), verbs) in grants {
        let rule = match path.as_str() {
            "" if name.is_empty() => {
                json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
            }
            "" => {
                json!({"apiGroups": [group], "resources": [resource], "resourceNames": [name], "verbs": verbs})
            }
            path => json!({"nonResourceURLs": [path], "verbs": verbs}),
        };
        rules.entry(namespace).or_default().push(rule);
    }
    let mut out = Vec::new();
    for (namespace, rules) in rules {
        let prefix = if namespace.is_empty() { "Cluster" } else { "" };
        let mut metadata = json!({"name": format!("derived-{username}")});
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        let of = "rbac.authorization.k8s.io";
        out.push(json!({"apiVersion": format!("{of}/v1"), "kind": format!("{prefix}Role"), "metadata": metadata, "rules": rules}));
        out.push(json!({
            "apiVersion": format!("{of}/v1"), "kind": format!("{prefix}RoleBinding"), "metadata": metadata,
            "roleRef": {"apiGroup": of, "kind": format!("{prefix}Role"), "name": metadata["name"]},
            "subjects": [{"kind": "User", "apiGroup": of, "name": username}],
        }));
    }
    out
}

/// Sends a request, answers the status code. `user` is of [`TOKENS`].
fn send(server: &Server, user: &str, method: &str, path: &str, more: &[&str]) -> u16 {
    let output = Command::new("curl")
        .args([
            "-sk",
            "--max-time",
            "60",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
        ])
        .args(["-H", &format!("Authorization: Bearer {user}-token")])
        .args(if method == "HEAD" {
            vec!["-I"]
        } else {
            vec!["-X", method]
        })
        .args(more)
        .arg(format!("{}{path}", server.url()))
        .output()
        .expect("curl to run; install it with: apt-get install curl");
    let code = String::from_utf8_lossy(&output.stdout).into_owned();
    code.parse()
        .unwrap_or_else(|_| panic!("{method} {path}: {code:?}"))
}

/// Method, path, content type and body of what the robot does.
const DONE: [(&str, &str, &str, &str); 20] = [
    ("GET", "/api/v1/namespaces/n/configmaps/a", "", ""),
    ("GET", "/api/v1/namespaces/n/configmaps/b", "", ""),
    ("HEAD", "/api/v1/namespaces/n/configmaps/b", "", ""),
    ("GET", "/api/v1/namespaces/n/secrets/s", "", ""),
    (
        "POST",
        "/api/v1/namespaces/n/configmaps",
        "json",
        r#"{"metadata":{"name":"new"}}"#,
    ),
    (
        "PATCH",
        "/api/v1/namespaces/n/configmaps/new",
        "merge-patch+json",
        r#"{"data":{"k":"v"}}"#,
    ),
    (
        "PUT",
        "/api/v1/namespaces/n/configmaps/new",
        "json",
        r#"{"metadata":{"name":"new"}}"#,
    ),
    ("DELETE", "/api/v1/namespaces/n/configmaps/new", "", ""),
    (
        "GET",
        "/api/v1/namespaces/n/configmaps?fieldSelector=metadata.name%3Da",
        "",
        "",
    ),
    (
        "GET",
        "/api/v1/namespaces/n/configmaps?watch=true&timeoutSeconds=1",
        "",
        "",
    ),
    (
        "PATCH",
        "/apis/apps/v1/namespaces/n/deployments/d/scale",
        "merge-patch+json",
        r#"{"spec":{"replicas":2}}"#,
    ),
    (
        "GET",
        "/apis/apps/v1/namespaces/n/deployments/d/status",
        "",
        "",
    ),
    ("GET", "/api/v1/namespaces/n/pods/p/log", "", ""),
    (
        "POST",
        "/api/v1/namespaces/n/serviceaccounts/default/token",
        "json",
        "{}",
    ),
    (
        "DELETE",
        "/api/v1/namespaces/n/pods?labelSelector=none%3Dsuch",
        "",
        "",
    ),
    ("GET", "/api/v1/nodes", "", ""),
    (
        "GET",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/view",
        "",
        "",
    ),
    ("GET", "/metrics", "", ""),
    ("GET", "/healthz", "", ""),
    ("GET", "/version", "", ""),
];

fn do_all(server: &Server, user: &str) -> Vec<u16> {
    let send = |(method, path, content, body): &(&str, &str, &str, &str)| {
        let content = format!("Content-Type: application/{content}");
        let more = ["-H", content.as_str(), "--data-binary", body];
        let more = if body.is_empty() { &more[..0] } else { &more };
        send(server, user, method, path, more)
    };
    DONE.iter().map(send).collect()
}

fn create(server: &Server, object: &Value) {
    let output = server
        .kubectl()
        .args(["create", "-f", "-"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut child =
        output.expect("kubectl to run; install it with: apt-get install kubernetes-client");
    let mut stdin = child.stdin.take().expect("an input");
    std::io::Write::write_all(&mut stdin, object.to_string().as_bytes()).expect("kubectl reads");
    drop(stdin);
    let output = child.wait_with_output().expect("kubectl to end");
    assert!(
        output.status.success(),
        "{object}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What the robot works on.
fn objects() -> Vec<Value> {
    let object = |version: &str, kind: &str, namespace: &str, name: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
    let containers = json!([{"name": "c", "image": "example.test/i:1"}]);
    let mut pod = object("v1", "Pod", "n", "p");
    pod["spec"] = json!({"containers": containers, "serviceAccountName": "default", "automountServiceAccountToken": false});
    let mut deployment = object("apps/v1", "Deployment", "n", "d");
    deployment["spec"] = json!({
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}},
    });
    let mut binding = object(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "",
        "robot",
    );
    binding["roleRef"] = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    binding["subjects"] =
        json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "robot"}]);
    let mut all = vec![
        object("v1", "Namespace", "", "n"),
        object("v1", "Namespace", "", "m"),
        object("v1", "ServiceAccount", "n", "default"),
        object("v1", "ConfigMap", "n", "a"),
        object("v1", "ConfigMap", "n", "b"),
        object("v1", "ConfigMap", "n", "c"),
        object("v1", "Secret", "n", "s"),
        pod,
        deployment,
        binding,
    ];
    for one in &mut all {
        if one["metadata"]["namespace"] == "" {
            one["metadata"]
                .as_object_mut()
                .expect("metadata")
                .remove("namespace");
        }
    }
    all
}

fn read(log: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(log).expect("the log");
    text.lines().map(check_line).collect()
}

/// `namespace group/resource[name] path: verbs`, for people.
fn printed(grants: &Grants) -> Vec<String> {
    let line = |((namespace, group, resource, name, path), verbs): (&Target, &BTreeSet<String>)| {
        let verbs: Vec<&str> = verbs.iter().map(String::as_str).collect();
        format!(
            "{namespace} {group}/{resource}[{name}]{path}: {}",
            verbs.join(",")
        )
    };
    grants.iter().map(line).collect()
}

#[test]
fn the_log_is_read_by_tools_for_upstream_s() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path.display().to_string()
    };
    let log = dir.path().join("audit.log");
    let mut server = Server::start(
        Store::Embedded,
        &[
            "--token-auth-file",
            &file("tokens.csv", TOKENS),
            "--audit-policy-file",
            &file("policy.yaml", POLICY),
            "--audit-log-path",
            &log.display().to_string(),
        ],
    );
    for object in objects() {
        // A controller may have made the service account.
        match object["kind"] == "ServiceAccount" {
            true => drop(
                server
                    .kubectl()
                    .args(["-n", "n", "create", "serviceaccount", "default"])
                    .output(),
            ),
            false => create(&server, &object),
        }
    }
    let codes = do_all(&server, "robot");
    assert!(!codes.contains(&403) && !codes.contains(&404), "{codes:?}");
    let as_puppet = ["-H", "Impersonate-User: puppet"];
    let list = "/api/v1/namespaces/m/configmaps";
    assert_eq!(send(&server, "admin", "GET", list, &as_puppet), 403);
    assert!(server.terminate(), "a clean end");

    let events = read(&log);
    check_requests(&events);
    let robot = derive(&events, "robot");
    assert_eq!(
        printed(&robot),
        [
            " /[]/metrics: get",
            " /nodes[]: get,list,watch",
            " rbac.authorization.k8s.io/clusterroles[view]: get",
            "n /configmaps[]: create,get,list,watch",
            "n /configmaps[new]: delete,patch,update",
            "n /pods[]: deletecollection",
            "n /pods/log[p]: get",
            "n /secrets[s]: get",
            "n /serviceaccounts/token[default]: create",
            "n apps/deployments/scale[d]: get,patch,update",
            "n apps/deployments/status[d]: get",
        ]
    );
    let puppet = derive(&events, "puppet");
    assert_eq!(printed(&puppet), ["m /configmaps[]: get,list,watch"]);

    // Who has these roles may do the same, and no more.
    server.restart();
    for object in [manifests(&robot, "clone"), manifests(&puppet, "puppet")].concat() {
        create(&server, &object);
    }
    assert_eq!(do_all(&server, "clone"), codes);
    assert_eq!(send(&server, "admin", "GET", list, &as_puppet), 200);
    for (method, path) in [
        ("GET", "/api/v1/namespaces/n/secrets"),
        ("DELETE", "/api/v1/namespaces/n/configmaps/a"),
        ("GET", "/api/v1/namespaces/m/configmaps/a"),
        ("GET", "/apis/apps/v1/namespaces/n/deployments/d"),
    ] {
        assert_eq!(
            send(&server, "clone", method, path, &[]),
            403,
            "{method} {path}"
        );
    }
}

/// Stages, users and objects of single requests.
fn check_requests(events: &[Event]) {
    let mut requests: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        requests.entry(&event.audit_id).or_default().push(event);
    }
    for stages in requests.values() {
        let names: Vec<&str> = stages.iter().map(|e| e.stage.as_str()).collect();
        let last = stages.last().expect("a stage");
        let is_long = last.verb == "watch"
            || last
                .object_ref
                .as_ref()
                .is_some_and(|o| o.subresource == "log");
        let expected: &[&str] = match is_long {
            true => &["RequestReceived", "ResponseStarted", "ResponseComplete"],
            false => &["RequestReceived", "ResponseComplete"],
        };
        assert_eq!(names, expected, "{}", last.request_uri);
    }
    let one = |user: &str, uri: &str, verb: &str| {
        let is_it = |e: &&Event| {
            e.user.username == user
                && e.request_uri == uri
                && e.verb == verb
                && e.stage == "ResponseComplete"
        };
        events
            .iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("no {verb} {uri}"))
    };
    let object = |event: &'_ Event| {
        let object = event.object_ref.as_ref().expect("an object");
        [
            &object.api_group,
            &object.api_version,
            &object.resource,
            &object.namespace,
            &object.name,
            &object.subresource,
        ]
        .map(String::clone)
    };
    let created = one("robot", "/api/v1/namespaces/n/configmaps", "create");
    assert_eq!(object(created), ["", "v1", "configmaps", "n", "new", ""]);
    assert!(created.request_object.is_some() && created.response_object.is_some());
    let selected = one("robot", DONE[8].1, "list");
    assert_eq!(object(selected), ["", "v1", "configmaps", "n", "a", ""]);
    let scaled = one("robot", DONE[10].1, "patch");
    assert_eq!(
        object(scaled),
        ["apps", "v1", "deployments", "n", "d", "scale"]
    );
    // A HEAD is a get, a path has no object.
    one("robot", "/api/v1/namespaces/n/configmaps/b", "get");
    assert!(one("robot", "/metrics", "get").object_ref.is_none());
    let refused = one("admin", "/api/v1/namespaces/m/configmaps", "list");
    let puppet = refused
        .impersonated_user
        .as_ref()
        .expect("an impersonated user");
    assert_eq!(puppet.username, "puppet");
    assert_eq!(
        refused.annotations["authorization.k8s.io/decision"],
        "forbid"
    );
}
