//! Audit policies in force: hot reload, several sinks, redaction, and the commands about them.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;

use crate::server::{Server, Store, project};

const OURS: &str = "apiVersion: audit.verbatim.dev/v1alpha1\nkind: AuditConfiguration\n";
const TRACE: &str = "audit.verbatim.dev/stages";

fn verbatim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_verbatim"))
        .args(args)
        .output()
        .expect("the verbatim program to run")
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}

fn kubectl(server: &Server, args: &[&str]) -> Output {
    let output = server.kubectl().args(args).output();
    output.expect("kubectl to run; install it with: apt-get install kubernetes-client")
}

fn apply(server: &Server, dir: &Path, manifest: &str) {
    let path = dir.join("manifest.yaml");
    std::fs::write(&path, manifest).expect("the manifest to be written");
    let output = kubectl(server, &["apply", "-f", &path.display().to_string()]);
    assert!(output.status.success(), "{}", text(&output));
}

/// Waits for something that happens soon.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn events(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let events = text.lines().map(serde_json::from_str);
    events.collect::<Result<_, _>>().expect("lines of JSON")
}

/// A folder as a mounted config map: `policy.yaml` is a link through the link `..data`.
fn mount(dir: &Path, version: &str, policy: &str) {
    let data = dir.join(version);
    std::fs::create_dir(&data).expect("a folder");
    std::fs::write(data.join("policy.yaml"), policy).expect("the policy to be written");
    let link = dir.join("..data_tmp");
    std::os::unix::fs::symlink(version, &link).expect("a link");
    std::fs::rename(&link, dir.join("..data")).expect("the links to be swapped");
}

#[test]
fn thread_02_a_changed_policy_is_in_force_without_a_restart() {
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    let path = dir.path().join("policy.yaml");
    std::os::unix::fs::symlink("..data/policy.yaml", &path).expect("a link");
    let policy = |level: &str| {
        format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{{level: {level}}}]\n")
    };
    mount(dir.path(), "1", &policy("None"));
    let log = dir.path().join("audit.log");
    let server = Server::start(
        Store::Embedded,
        &[
            "--audit-policy-file",
            &path.display().to_string(),
            "--audit-log-path",
            &log.display().to_string(),
        ],
    );
    let _ = kubectl(&server, &["create", "configmap", "before"]);
    mount(dir.path(), "2", &policy("Metadata"));
    let notes = |word: &str| {
        let events = events(&log);
        let notes = events.iter().filter(|e| e["verb"] == "policy");
        notes.filter(|e| e.to_string().contains(word)).count()
    };
    until("the change is recorded", || notes("changed") == 1);
    let _ = kubectl(&server, &["create", "configmap", "after"]);
    mount(dir.path(), "3", &policy("Some"));
    until("the refusal is recorded", || notes("rejected") == 1);
    let _ = kubectl(&server, &["create", "configmap", "later"]);
    let names: Vec<String> = events(&log)
        .iter()
        .filter(|e| e["verb"] == "create" && e["objectRef"]["resource"] == "configmaps")
        .filter_map(|e| e["objectRef"]["name"].as_str().map(str::to_string))
        .collect();
    assert!(!names.contains(&"before".to_string()), "{names:?}");
    for name in ["after", "later"] {
        assert!(names.contains(&name.to_string()), "{name} in {names:?}");
    }
}

/// A receiver that takes events, and whose authorization headers are kept too.
fn receiver(runtime: &tokio::runtime::Runtime) -> (u16, Arc<Mutex<Vec<Value>>>) {
    let taken: Arc<Mutex<Vec<Value>>> = Arc::default();
    let copy = taken.clone();
    let take = move |headers: HeaderMap, body: Bytes| {
        let taken = copy.clone();
        async move {
            if headers
                .get("authorization")
                .is_none_or(|v| v != "Bearer of-audit")
            {
                return StatusCode::UNAUTHORIZED;
            }
            let mut list: Value = serde_json::from_slice(&body).expect("an EventList");
            assert_eq!(list["kind"], "EventList");
            let items = list["items"].as_array_mut().expect("items");
            taken.lock().expect("no panic").append(items);
            StatusCode::OK
        }
    };
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let router = Router::new().route("/audit", post(take));
    runtime.spawn(async move { axum::serve(listener, router).await });
    (port, taken)
}

const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: hunter2}\n";
/// `hunter2` as a secret's data shows it.
const ENCODED: &str = "aHVudGVyMg==";

#[test]
fn thread_05_sinks_have_their_own_policies_and_redaction() {
    // users.md threads 19 and 20 too: what the log and the index show of secrets and commands.
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (port, siem) = receiver(&runtime);
    std::fs::write(
        dir.path().join("siem.kubeconfig"),
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\nclusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{port}/audit'}}}}]\nusers: [{{name: a, user: {{token: of-audit}}}}]\n"
        ),
    )
    .expect("the kubeconfig to be written");
    let policy = dir.path().join("configuration.yaml");
    std::fs::write(
        &policy,
        format!(
            "{OURS}redaction: {{}}
policy:
  rules:
  - {{name: half-of-config-maps, level: Metadata, resources: [{{resources: [configmaps]}}], sampling: {{percent: 50}}}}
  - {{name: bodies, level: RequestResponse}}
sinks:
- name: archive
  log: {{path: archive.log}}
  mode: BlockingStrict
  policy: {{rules: [{{level: Request, name: all}}]}}
  redaction: {{defaults: []}}
- name: siem
  webhook: {{kubeconfig: siem.kubeconfig, initialBackoff: 100ms}}
  batch: {{maxWait: 100ms}}
  policy: {{rules: [{{level: RequestResponse, name: secrets, resources: [{{resources: [secrets]}}]}}, {{level: None}}]}}
"
        ),
    )
    .expect("the configuration to be written");
    let policy = policy.display().to_string();
    let mut server = Server::start(Store::Embedded, &["--audit-policy-file", &policy]);
    apply(&server, dir.path(), SECRET);
    let exec = "/api/v1/namespaces/default/pods/none/exec?command=cat&command=hunter2";
    let _ = kubectl(&server, &["get", "--raw", exec]);
    for n in 0..20 {
        let name = format!("map-{n}");
        assert!(
            kubectl(&server, &["create", "configmap", &name])
                .status
                .success()
        );
    }
    let metrics = text(&kubectl(&server, &["get", "--raw", "/metrics"]));
    let rule = r#"verbatim_audit_rule_requests_total{level="Metadata",rule="half-of-config-maps",sink="log"}"#;
    assert!(metrics.contains(rule), "{metrics}");
    let search = ["search", "resource:secrets", "-o", "json", "--kubeconfig"];
    let found = verbatim(&[&search[..], &[&server.kubeconfig().display().to_string()]].concat());
    assert!(
        text(&found).contains("redacted/hmacsha256/"),
        "{}",
        text(&found)
    );
    assert!(
        !text(&found).contains(ENCODED),
        "the index sees what the log shows"
    );
    assert!(server.terminate(), "a clean end");

    let own = std::fs::read_to_string(server.data().join("audit/audit.log")).expect("a log");
    for secret in [ENCODED, "hunter2"] {
        assert!(!own.contains(secret), "{secret} is in the log");
    }
    let archive = std::fs::read_to_string(dir.path().join("archive.log")).expect("a log");
    assert!(archive.contains(ENCODED) && archive.contains("command=hunter2"));
    let siem = siem.lock().expect("no panic");
    assert!(!siem.is_empty(), "drained on shutdown");
    assert!(
        siem.iter().all(|e| e["objectRef"]["resource"] == "secrets"),
        "{siem:?}"
    );
    let create = siem
        .iter()
        .find(|e| e["verb"] == "create")
        .expect("the create");
    let sent = &create["requestObject"]["data"]["password"];
    assert_eq!(
        *sent, create["responseObject"]["data"]["password"],
        "equal values, equal hashes"
    );

    let own: Vec<Value> = events(&server.data().join("audit/audit.log"));
    check_sampling(&own);
    check_explanations(&policy, dir.path(), &own);
}

/// About half of the config maps, each with all of its stages, and the rate on every event.
fn check_sampling(events: &[Value]) {
    let maps = events
        .iter()
        .filter(|e| e["objectRef"]["resource"] == "configmaps" && e["verb"] == "create");
    let mut stages: std::collections::BTreeMap<&str, usize> = Default::default();
    for event in maps {
        let trace = event["annotations"][TRACE].as_str().unwrap_or_default();
        assert!(trace.contains(r#""sampledPercent":50"#), "{event}");
        assert!(
            trace.contains(r#""ruleName":"half-of-config-maps""#),
            "{event}"
        );
        *stages
            .entry(event["auditID"].as_str().unwrap_or_default())
            .or_default() += 1;
    }
    assert!(stages.values().all(|n| *n == 2), "{stages:?}");
    assert!((1..20).contains(&stages.len()), "{} of 20", stages.len());
}

/// `policy explain` names the rule that the server itself names in each event.
fn check_explanations(policy: &str, dir: &Path, events: &[Value]) {
    let traced: Vec<(&Value, Value)> = events
        .iter()
        .filter_map(|event| {
            let trace = event["annotations"][TRACE].as_str()?;
            let trace: Value = serde_json::from_str(trace).ok()?;
            trace["rule"].is_u64().then_some((event, trace))
        })
        .collect();
    let file = dir.join("events.jsonl");
    let lines: Vec<String> = traced.iter().map(|(event, _)| event.to_string()).collect();
    std::fs::write(&file, lines.join("\n")).expect("the events to be written");
    let file = file.display().to_string();
    let args = [
        "policy", "explain", policy, "--sink", "default", "--event", &file, "-o", "json",
    ];
    let output = verbatim(&args);
    let explained: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    let explained = explained.as_array().expect("one per event");
    assert_eq!(explained.len(), traced.len());
    for (answer, (event, trace)) in explained.iter().zip(&traced) {
        assert_eq!(answer["matched"]["rule"], trace["rule"], "{event}");
        assert_eq!(answer["level"], event["level"], "{event}");
    }
}

#[test]
fn thread_04_the_commands_tell_by_their_exit_codes() {
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("the file to be written");
        path.display().to_string()
    };
    let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n";
    let clean = write("clean.yaml", &format!("{head}- level: Metadata\n"));
    let odd = write(
        "odd.yaml",
        &format!("{head}- level: None\n  verbs: ['*']\n- level: Metadata\n"),
    );
    let bad = write("bad.yaml", &format!("{head}- level: Some\n"));
    for (file, code, expected) in [
        (&clean, 0, "1 rules, 0 warnings"),
        (
            &odd,
            1,
            "odd.yaml:5: warning: rules[0].verbs[0]: \"*\" never matches",
        ),
        (
            &bad,
            2,
            "bad.yaml:4: error: rules[0].level: Unsupported value: \"Some\"",
        ),
    ] {
        let output = verbatim(&["policy", "check", file]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
    let output = verbatim(&["policy", "check", &odd, "-o", "json"]);
    let tree: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(tree["warnings"][0]["line"], 5);

    let output = verbatim(&[
        "policy",
        "explain",
        &odd,
        "--as",
        "alice",
        "get",
        "secrets/db",
        "-n",
        "prod",
    ]);
    for expected in [
        "for verbs *; this is get",
        "rules[1]",
        "recorded at Metadata: no bodies",
    ] {
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
    let cases =
        "cases:\n- request: {user: a, verb: get, resource: pods}\n  expect: {level: LEVEL}\n";
    for (level, code, expected) in [
        ("Metadata", 0, "1 cases, 0 failed"),
        ("Request", 1, "level is \"Metadata\", not \"Request\""),
    ] {
        let cases = write("cases.yaml", &cases.replace("LEVEL", level));
        let output = verbatim(&["policy", "test", &clean, &cases]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
    let shipped = project().join("audit-policies/pci-dss.yaml");
    let output = verbatim(&["policy", "test", &shipped.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}
