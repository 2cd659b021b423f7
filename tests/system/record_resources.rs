//! The record as resources of group `audit.verbatim.dev`, asked for with kubectl.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kubectl::{ok, run};
use crate::server::{Server, Store};

/// Longest wait for what must come.
const DEADLINE: Duration = Duration::from_secs(30);

/// A namespace with a config map that came and went.
const TENANT: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAME}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: NAME}\ndata: {a: b}\n";

/// Lets tina see the record of one namespace.
const TINA: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: auditor, namespace: red}
rules:
- {apiGroups: [audit.verbatim.dev], resources: [auditevents], verbs: [get, list, watch]}
- {apiGroups: [audit.verbatim.dev], resources: [localauditsummaries], verbs: [create]}
- {apiGroups: [audit.verbatim.dev], resources: [localexplanations], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tina, namespace: red}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: auditor}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: tina}]
"#;

fn kubectl(server: &Server, args: &[&str]) -> String {
    ok(server.kubectl().args(args), "")
}

fn json(server: &Server, args: &[&str]) -> Value {
    let text = ok(server.kubectl().args(args).args(["-o", "json"]), "");
    serde_json::from_str(&text).expect("JSON")
}

fn tenants(server: &Server) {
    for name in ["red", "blue"] {
        let manifest = TENANT.replace("NAME", name);
        ok(server.kubectl().args(["apply", "-f", "-"]), &manifest);
        kubectl(server, &["-n", name, "delete", "configmap", "settings"]);
    }
}

fn items(list: &Value) -> &Vec<Value> {
    list["items"].as_array().expect("a list")
}

/// Lines of a running command.
pub(crate) struct Lines {
    child: std::cell::RefCell<Child>,
    lines: Receiver<String>,
}

impl Lines {
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .expect("the command to start");
        let stdout = child.stdout.take().expect("a piped standard output");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Lines {
            child: child.into(),
            lines,
        }
    }

    /// Whether the command has ended.
    pub(crate) fn is_finished(&self) -> bool {
        let status = self.child.borrow_mut().try_wait();
        status.expect("the command can be asked").is_some()
    }

    /// The next line that holds all of `parts`.
    pub(crate) fn expect(&self, parts: &[&str]) -> String {
        let ends_at = Instant::now() + DEADLINE;
        let mut seen = String::new();
        loop {
            let left = ends_at.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line =
                line.unwrap_or_else(|_| panic!("no line with {parts:?} came, only:\n{seen}"));
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn kubectl_knows_the_record() {
    let server = Server::start(Store::Embedded, &[]);
    tenants(&server);
    let resources = kubectl(
        &server,
        &["api-resources", "--api-group=audit.verbatim.dev"],
    );
    for part in [
        "auditevents",
        "auditsummaries",
        "explanations",
        "AuditEvent",
    ] {
        assert!(resources.contains(part), "{part}: {resources}");
    }
    let explained = kubectl(&server, &["explain", "auditevents"]);
    for part in ["KIND:", "AuditEvent", "userAgent", "objectRef"] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    let explained = kubectl(&server, &["explain", "auditsummary.spec.by"]);
    assert!(explained.contains("deployments.apps/scale"), "{explained}");

    let table = kubectl(
        &server,
        &[
            "-n",
            "red",
            "get",
            "auditevents",
            "--field-selector",
            "verb=delete,resource=configmaps",
        ],
    );
    let header = table.lines().next().unwrap_or_default();
    assert!(header.starts_with("TIME"), "{table}");
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains("configmaps/settings"), "{table}");
    let wide = kubectl(&server, &["get", "ae", "-A", "-o", "wide"]);
    let header = wide.lines().next().unwrap_or_default();
    assert!(
        header.starts_with("NAMESPACE") && header.contains("CLIENT"),
        "{wide}"
    );

    let selected = ["-l", "verb=delete,code-class=2xx,resource=configmaps"];
    let list = json(
        &server,
        &[&["get", "auditevents", "-A"], &selected[..]].concat(),
    );
    assert_eq!(items(&list).len(), 2, "{list}");
    let none = json(
        &server,
        &[
            "get",
            "auditevents",
            "-A",
            "-l",
            "verb in (delete),code=404,resource=configmaps",
        ],
    );
    assert!(items(&none).is_empty(), "{none}");
    let other = json(
        &server,
        &[
            "get",
            "auditevents",
            "-A",
            "-l",
            "resource=configmaps,verb notin (delete)",
        ],
    );
    assert!(items(&other).iter().all(|i| i["verb"] != "delete") && !items(&other).is_empty());

    let event = &items(&list)[0];
    let text = |value: &Value| value.as_str().expect("a text").to_string();
    let (name, namespace) = (
        text(&event["metadata"]["name"]),
        text(&event["metadata"]["namespace"]),
    );
    let described = kubectl(
        &server,
        &["-n", &namespace, "describe", "auditevent", &name],
    );
    assert!(
        described.contains("User Agent:") && described.contains(&name),
        "{described}"
    );
    let yaml = kubectl(
        &server,
        &["-n", &namespace, "get", "auditevent", &name, "-o", "yaml"],
    );
    assert!(
        yaml.contains("kind: AuditEvent") && yaml.contains("stage: ResponseComplete"),
        "{yaml}"
    );
    let names = kubectl(
        &server,
        &[&["get", "auditevents", "-A", "-o", "name"], &selected[..]].concat(),
    );
    assert!(
        names.contains(&format!("auditevent.audit.verbatim.dev/{name}")),
        "{names}"
    );
    let columns = kubectl(
        &server,
        &[
            &[
                "get",
                "auditevents",
                "-A",
                "-o",
                "custom-columns=V:.verb,W:.user.username",
            ],
            &selected[..],
        ]
        .concat(),
    );
    assert!(columns.contains("delete   "), "{columns}");
    // Page by page it is the same.
    let pages = kubectl(
        &server,
        &[
            &["get", "auditevents", "-A", "-o", "name", "--chunk-size=1"],
            &selected[..],
        ]
        .concat(),
    );
    assert_eq!(pages, names);

    let id = text(&event["auditID"]);
    let explanation = kubectl(&server, &["get", "explanation", &id]);
    assert!(explanation.contains(&id), "{explanation}");
    let unknown = run(
        server
            .kubectl()
            .args(["get", "auditevents", "--field-selector", "usr=x"]),
        "",
    );
    assert!(
        unknown.2.contains("field label not supported: usr"),
        "{}",
        unknown.2
    );
}

#[test]
fn summaries_are_created_to_be_read() {
    let server = Server::start(Store::Embedded, &[]);
    tenants(&server);
    let create = |manifest: &str| {
        let mut command = server.kubectl();
        run(command.args(["create", "-o", "json", "-f", "-"]), manifest)
    };
    let (_, answer, error) = create(
        "apiVersion: audit.verbatim.dev/v1alpha1\nkind: AuditSummary\nmetadata: {name: x}\nspec: {query: 'resource:configmaps', by: [verb, namespace], interval: 1h, percentiles: [50]}\n",
    );
    let summary: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{error}"));
    let status = &summary["status"];
    assert_eq!(status["complete"], true, "{summary}");
    let groups = status["groups"].as_array().expect("groups");
    let deletes: Vec<&Value> = groups
        .iter()
        .filter(|g| g["key"]["verb"] == "delete")
        .collect();
    assert_eq!(deletes.len(), 2, "{summary}");
    assert_eq!(deletes[0]["requests"], 1);
    assert!(status["latency"]["percentiles"]["50"].is_u64(), "{summary}");
    let stages = status["stages"].as_array().expect("stages");
    assert!(
        stages.iter().any(|s| s["stage"] == "authorization"),
        "{summary}"
    );
    let total: u64 = status["histogram"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|b| b["requests"].as_u64())
        .sum();
    assert_eq!(Some(total), status["requests"].as_u64());

    let (_, answer, error) = create(
        "apiVersion: audit.verbatim.dev/v1alpha1\nkind: AuditSummary\nmetadata: {name: x}\nspec: {query: 'resource:configmaps', facets: [verb], skipStages: true}\n",
    );
    let summary: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{error}"));
    let status = &summary["status"];
    let verbs = status["facets"]["verb"]["values"].as_array();
    let deletes = verbs.into_iter().flatten().find(|v| v["value"] == "delete");
    assert_eq!(
        deletes.map(|v| &v["requests"]),
        Some(&json!(2)),
        "{summary}"
    );
    assert!(status.get("stages").is_none(), "{summary}");

    let (is_ok, _, error) = create(
        "apiVersion: audit.verbatim.dev/v1alpha1\nkind: AuditSummary\nmetadata: {name: x}\nspec: {by: [nobody], from: yesterday}\n",
    );
    assert!(
        !is_ok && error.contains("spec.by[0]: Unsupported value") && error.contains("spec.from"),
        "{error}"
    );
}

#[test]
fn a_watch_shows_events_as_they_are_recorded_and_goes_on_after_a_restart() {
    let mut server = Server::start(Store::Embedded, &[]);
    let mut command = server.kubectl();
    let lines = Lines::of(command.args([
        "get",
        "auditevents",
        "-A",
        "-w",
        "--field-selector",
        "verb=delete,objectRef.resource=configmaps",
    ]));
    tenants(&server);
    lines.expect(&["red", "configmaps/settings"]);
    lines.expect(&["blue", "configmaps/settings"]);
    drop(lines);

    const EVENTS: &str = "/apis/audit.verbatim.dev/v1alpha1/auditevents?";
    let raw = |server: &Server, query: &str| {
        kubectl(server, &["get", "--raw", &format!("{EVENTS}{query}")])
    };
    let list: Value = serde_json::from_str(&raw(&server, "limit=1")).expect("a list");
    let version = list["metadata"]["resourceVersion"]
        .as_str()
        .expect("a version")
        .to_string();
    for name in ["one", "two", "three"] {
        kubectl(&server, &["create", "namespace", name]);
    }
    let watch = |server: &Server, version: &str| -> Vec<(String, String)> {
        let query = format!(
            "watch=true&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={version}&fieldSelector=verb%3Dcreate,resource%3Dnamespaces"
        );
        let frames = raw(server, &query);
        let frames = frames
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).expect("a frame"));
        frames
            .map(|frame| {
                let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
                assert_eq!(frame["type"], "ADDED", "{frame}");
                let object = &frame["object"];
                (
                    text(&object["objectRef"]["name"]),
                    text(&object["metadata"]["resourceVersion"]),
                )
            })
            .collect()
    };
    let names = |seen: &[(String, String)]| seen.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    let seen = watch(&server, &version);
    assert_eq!(names(&seen), ["one", "two", "three"]);
    assert!(server.terminate());
    server.restart();
    assert_eq!(watch(&server, &version), seen);
    assert_eq!(names(&watch(&server, &seen[0].1)), ["two", "three"]);
    let gone = raw(&server, "watch=true&timeoutSeconds=1&resourceVersion=1");
    assert!(
        gone.contains("\"code\":410") || gone.contains("\"ADDED\""),
        "{gone}"
    );
}

#[test]
fn thread_06_tenants_see_the_record_of_their_namespace_only() {
    let server = Server::start(Store::Embedded, &[]);
    tenants(&server);
    ok(server.kubectl().args(["apply", "-f", "-"]), TINA);
    let tina = |args: &[&str]| run(server.kubectl().arg("--as=tina").args(args), "");
    let deadline = Instant::now() + DEADLINE;
    // The binding reaches the authorizer through a watch.
    while !tina(&["-n", "red", "get", "auditevents"]).0 {
        assert!(
            Instant::now() < deadline,
            "{}",
            tina(&["-n", "red", "get", "auditevents"]).2
        );
    }
    let (is_ok, list, error) = tina(&["-n", "red", "get", "auditevents", "-o", "json"]);
    assert!(is_ok, "{error}");
    let list: Value = serde_json::from_str(&list).expect("a list");
    assert!(!items(&list).is_empty());
    for item in items(&list) {
        assert_eq!(item["objectRef"]["namespace"], "red", "{item}");
    }
    // Whatever the query says, it stays in the namespace.
    let path = "/apis/audit.verbatim.dev/v1alpha1/namespaces/red/auditevents?query=namespace:blue%20OR%20*";
    let (_, raw, _) = tina(&["get", "--raw", path]);
    assert!(
        raw.contains("\"red\"") && !raw.contains("\"blue\""),
        "{raw}"
    );
    for elsewhere in [
        &["get", "auditevents", "-A"][..],
        &["-n", "blue", "get", "auditevents"],
        &["get", "explanation", "last"],
    ] {
        let (is_ok, _, error) = tina(elsewhere);
        assert!(
            !is_ok && error.contains("forbidden"),
            "{elsewhere:?}: {error}"
        );
    }
    let id = items(&list)[0]["auditID"]
        .as_str()
        .expect("an ID")
        .to_string();
    let (is_ok, _, error) = tina(&["-n", "red", "get", "localexplanation", &id]);
    assert!(is_ok, "{error}");
    let summary = "apiVersion: audit.verbatim.dev/v1alpha1\nkind: LocalAuditSummary\nmetadata: {name: x, namespace: NS}\nspec: {by: [namespace]}\n";
    let create = |namespace: &str| {
        let mut command = server.kubectl();
        // To validate, kubectl would look for a CRD, which tina may not.
        let command = command.args([
            "--as=tina",
            "create",
            "--validate=false",
            "-o",
            "json",
            "-f",
            "-",
        ]);
        run(command, &summary.replace("NS", namespace))
    };
    let counted: Value = serde_json::from_str(&create("red").1).expect("a summary");
    let groups = counted["status"]["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 1, "{counted}");
    assert_eq!(groups[0]["key"]["namespace"], "red");
    assert!(create("blue").2.contains("forbidden"));

    let mut command = server.kubectl();
    let lines = Lines::of(command.args([
        "--as=tina",
        "-n",
        "red",
        "get",
        "auditevents",
        "-w",
        "--field-selector",
        "verb=create",
    ]));
    kubectl(&server, &["-n", "blue", "create", "configmap", "wx-plan"]);
    kubectl(&server, &["-n", "red", "create", "configmap", "wx-seen"]);
    let line = lines.expect(&["configmaps/wx-"]);
    assert!(line.contains("configmaps/wx-seen"), "{line}");
}
