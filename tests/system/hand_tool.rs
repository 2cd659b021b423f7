//! The hand tool, as people type it, against a running server.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kubectl::{ok, run};
use crate::record_resources::Lines;
use crate::server::{Server, Store};

const DEPLOYMENT: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.test/web:1"}]}
"#;

fn tool(server: &Server) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbatim"));
    command.env("KUBECONFIG", server.kubeconfig());
    command.env("HOME", server.data().join("home"));
    command
}

/// Exit code, standard output and standard error.
fn verbatim(server: &Server, args: &[&str]) -> (i32, String, String) {
    let output = tool(server).args(args).output().expect("verbatim to run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let out = text(&output.stdout);
    // Piped: no colours, whatever is printed.
    assert!(!out.contains('\x1b'), "{args:?}: {out}");
    let code = output.status.code().expect("an exit code");
    (code, out, text(&output.stderr))
}

fn found(server: &Server, args: &[&str]) -> String {
    let (code, out, error) = verbatim(server, args);
    assert_eq!(code, 0, "{args:?}\n{out}\n{error}");
    out
}

fn json(server: &Server, args: &[&str]) -> Value {
    let out = found(server, &[args, &["-o", "json"]].concat());
    serde_json::from_str(&out).expect("JSON")
}

fn kubectl(server: &Server, args: &[&str]) -> (bool, String, String) {
    run(server.kubectl().args(args), "")
}

fn patch(server: &Server, body: &str, more: &[&str]) -> (bool, String, String) {
    let args = ["-n", "shop", "patch", "deployment", "web", "-p", body];
    kubectl(server, &[&args, more].concat())
}

/// A server with a deployment.
fn shop() -> Server {
    let server = Server::start(Store::Embedded, &[]);
    ok(server.kubectl().args(["apply", "-f", "-"]), DEPLOYMENT);
    server
}

const TIMELINE: [&str; 4] = ["timeline", "deploy/web", "-n", "shop"];

#[test]
fn thread_21_a_patch_shows_before_and_after() {
    let server = shop();
    assert!(patch(&server, r#"{"spec":{"replicas":3}}"#, &[]).0);
    let text = found(&server, &TIMELINE);
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}:\n{text}"));
    assert!(at("\n+   ") < at("\n~   "), "{text}");
    assert!(
        at("- spec.replicas: 2") < at("+ spec.replicas: 3"),
        "{text}"
    );
    assert!(text.contains("kubectl/"), "{text}");
    let tree = json(&server, &TIMELINE);
    let change = &tree["steps"][1]["changes"][0];
    assert_eq!(change["path"], "spec.replicas", "{tree}");
    assert_eq!(
        (&change["before"], &change["after"]),
        (&"2".into(), &"3".into())
    );
}

#[test]
fn thread_22_writes_that_change_nothing_are_told_apart() {
    let server = shop();
    assert!(patch(&server, r#"{"spec":{"replicas":2}}"#, &[]).0);
    let tree = json(&server, &TIMELINE);
    assert_eq!(tree["steps"][1]["outcome"], "unchanged", "{tree}");
    assert!(found(&server, &TIMELINE).contains("\n=   "));
    let events = json(&server, &["search", "noOp:true resource:deployments"]);
    assert_eq!(
        events["items"].as_array().map(Vec::len),
        Some(1),
        "{events}"
    );
}

#[test]
fn thread_23_rejected_writes_show_what_they_wanted() {
    let server = shop();
    assert!(!patch(&server, r#"{"spec":{"replicas":-1}}"#, &[]).0);
    let text = found(&server, &TIMELINE);
    let rejected = text
        .split("\n!   ")
        .nth(1)
        .unwrap_or_else(|| panic!("{text}"));
    assert!(
        rejected.contains("422") && rejected.contains("rejected: "),
        "{text}"
    );
    assert!(rejected.contains("+ spec.replicas: -1"), "{text}");
}

#[test]
fn thread_24_dry_runs_are_told_apart() {
    let server = shop();
    let tried = patch(&server, r#"{"spec":{"replicas":7}}"#, &["--dry-run=server"]);
    assert!(tried.0, "{}", tried.2);
    let tree = json(&server, &TIMELINE);
    assert_eq!(tree["steps"][1]["outcome"], "dryRun", "{tree}");
    let text = found(&server, &TIMELINE);
    assert!(
        text.contains("dry run: nothing was stored") && text.contains("+ spec.replicas: 7"),
        "{text}"
    );
    let events = json(&server, &["search", "dryRun:true"]);
    assert_eq!(events["items"][0]["objectRef"]["name"], "web");
}

#[test]
fn thread_33_who_deleted_it_and_who_made_it_again() {
    let server = shop();
    let deleted = kubectl(
        &server,
        &[
            "--as=mallory",
            "--as-group=system:masters",
            "-n",
            "shop",
            "delete",
            "deployment",
            "web",
        ],
    );
    assert!(deleted.0, "{}", deleted.2);
    ok(server.kubectl().args(["apply", "-f", "-"]), DEPLOYMENT);
    let tree = json(&server, &TIMELINE);
    let steps = tree["steps"].as_array().expect("steps");
    let outcomes: Vec<&Value> = steps.iter().map(|s| &s["outcome"]).collect();
    assert_eq!(outcomes, ["created", "deleted", "created"], "{tree}");
    assert!(
        steps[1]["user"]
            .as_str()
            .is_some_and(|u| u.ends_with("→mallory")),
        "{tree}"
    );
    let (first, second) = (&steps[0]["uid"], &steps[2]["uid"]);
    assert!(
        first.is_string() && second.is_string() && first != second,
        "{tree}"
    );
    assert_eq!(&steps[1]["uid"], first);
    // By UID, with the life before.
    let text = found(
        &server,
        &["timeline", "--uid", second.as_str().expect("a UID")],
    );
    assert!(
        text.contains("← asked for") && text.contains("→mallory"),
        "{text}"
    );
    assert_eq!(text.matches("── uid ").count(), 2, "{text}");
}

#[test]
fn thread_10_a_client_that_is_refused_all_the_time_is_named() {
    let server = shop();
    for _ in 0..3 {
        assert!(!kubectl(&server, &["--as=nobody", "get", "secrets"]).0);
    }
    let status = json(
        &server,
        &["top", "code:403", "--by", "client,user,resource"],
    );
    let group = &status["groups"][0];
    assert_eq!(group["key"]["user"], "nobody", "{status}");
    assert_eq!(group["key"]["resource"], "secrets");
    assert!(
        group["key"]["client"]
            .as_str()
            .is_some_and(|c| c.starts_with("kubectl/"))
    );
    assert_eq!(
        (&group["requests"], &group["failures"]),
        (&3.into(), &3.into())
    );
    let causes = found(&server, &["diagnose", "forbidden", "--since", "1h"]);
    for part in [
        "3 requests",
        "nobody (3)",
        "list secrets (3)",
        "runbooks/forbidden.md",
    ] {
        assert!(causes.contains(part), "{part}:\n{causes}");
    }
    let table = found(&server, &["top", "code:403", "--by", "user"]);
    assert!(
        table.starts_with("USER") && table.contains("nobody"),
        "{table}"
    );
}

#[test]
fn thread_35_which_client_asks_for_a_resource() {
    let server = shop();
    let raw = [
        "get",
        "--raw",
        "/apis/apps/v1/namespaces/shop/deployments/web",
    ];
    assert!(kubectl(&server, &raw).0);
    let table = found(
        &server,
        &["top", "resource:deployments verb:get", "--by", "client"],
    );
    assert!(table.contains("kubectl/"), "{table}");
    let stages = found(&server, &["top", "--by", "stage"]);
    assert!(
        stages.starts_with("STAGE") && stages.contains("authorization"),
        "{stages}"
    );
    let stats = found(&server, &["stats", "--interval", "1h"]);
    for part in [
        "all requests",
        "get deployments.apps",
        "P99",
        "authorization",
        "█",
    ] {
        assert!(stats.contains(part), "{part}:\n{stats}");
    }
    let csv = found(&server, &["top", "--by", "verb", "-o", "csv"]);
    assert!(csv.starts_with("verb,requests,failures,"), "{csv}");
}

#[test]
fn searches_print_in_every_form_and_exit_as_documented() {
    let server = shop();
    let query = "verb:create resource:deployments";
    let table = found(&server, &["search", query]);
    assert!(table.starts_with("TIME"), "{table}");
    assert!(found(&server, &["search", query, "-o", "wide"]).contains("CLIENT"));
    assert!(found(&server, &["search", query, "-o", "yaml"]).starts_with("apiVersion:"));
    let lines = found(&server, &["search", "*", "-o", "jsonl", "--limit", "3"]);
    assert_eq!(lines.lines().count(), 3);
    let reversed = found(
        &server,
        &["search", "*", "-o", "jsonl", "--limit", "3", "--reverse"],
    );
    let first: Value =
        serde_json::from_str(reversed.lines().next().unwrap_or_default()).expect("JSON");
    let last: Value =
        serde_json::from_str(reversed.lines().last().unwrap_or_default()).expect("JSON");
    assert!(first["stageTimestamp"].as_str() < last["stageTimestamp"].as_str());
    let (code, _, error) = verbatim(&server, &["search", "verb:nothing"]);
    assert_eq!((code, error.trim()), (1, "nothing found"));
    let (code, _, error) = verbatim(&server, &["search", "usr:alice"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("did you mean \"user\"?\n  usr:alice\n  ^"),
        "{error}"
    );
    let (code, _, error) = verbatim(&server, &["search", "--as", "nobody"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("forbidden") && error.contains("--namespace"),
        "{error}"
    );

    let exported = found(&server, &["export", "--format", "khi"]);
    for line in exported.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON lines");
        assert_eq!(event["kind"], "Event", "{event}");
        assert_eq!(event["apiVersion"], "audit.k8s.io/v1");
        assert_eq!(event["stage"], "ResponseComplete");
        assert!(event["metadata"].is_null());
        assert!(event["annotations"]["audit.verbatim.dev/stages"].is_null());
    }
    assert!(exported.lines().count() > 3, "{exported}");
    let file = server.data().join("out.csv");
    found(
        &server,
        &[
            "export",
            "--format",
            "csv",
            "--out",
            &file.display().to_string(),
        ],
    );
    let csv = std::fs::read_to_string(file).expect("the export");
    assert!(csv.starts_with("Time,User,Verb,Object"), "{csv}");
}

#[test]
fn files_are_asked_as_a_server_is() {
    let server = shop();
    assert!(patch(&server, r#"{"spec":{"replicas":3}}"#, &[]).0);
    let logs = server.data().join("audit").display().to_string();
    // No server: the files say it all.
    let ask = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verbatim"));
        command.env_remove("KUBECONFIG").env("HOME", "/nonexistent");
        command.current_dir(server.data());
        ok(command.args(args).args(["--file", &logs]), "")
    };
    assert!(ask(&["search", "verb:patch"]).contains("deployments.apps/web"));
    assert!(ask(&["top", "--by", "verb"]).contains("patch"));
    let text = ask(&["timeline", "deployment/web", "-n", "shop"]);
    assert!(
        text.contains("- spec.replicas: 2") && text.contains("+ spec.replicas: 3"),
        "{text}"
    );
}

#[test]
fn tail_shows_what_happens() {
    let server = shop();
    let mut command = tool(&server);
    let lines =
        Lines::of(command.args(["tail", "verb:create resource:namespaces", "--limit", "1"]));
    let ends_at = Instant::now() + Duration::from_secs(30);
    let mut number = 0;
    // It begins at some moment; what comes after that is shown.
    while !lines.is_finished() {
        assert!(Instant::now() < ends_at, "tail shows nothing");
        number += 1;
        assert!(kubectl(&server, &["create", "namespace", &format!("n{number}")]).0);
    }
    lines.expect(&["TIME"]);
    lines.expect(&["create", "namespaces/n"]);
    let past = [
        "tail",
        "verb:create resource:namespaces",
        "--lines",
        "1",
        "--limit",
        "1",
        "-o",
        "jsonl",
    ];
    let event: Value = serde_json::from_str(&found(&server, &past)).expect("an event");
    assert_eq!(event["verb"], "create");
}

/// What sally may do, more than she does.
const SALLY: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: much, namespace: shop}
rules:
- {apiGroups: [apps], resources: [deployments, statefulsets], verbs: [get, list, patch, delete]}
- {apiGroups: [""], resources: [configmaps], verbs: [create, get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: sally, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: much}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: sally}]
"#;

#[test]
fn the_least_role_is_what_was_used() {
    let server = shop();
    ok(server.kubectl().args(["apply", "-f", "-"]), SALLY);
    let sally = |args: &[&str]| kubectl(&server, &[&["--as=sally", "-n", "shop"], args].concat());
    let ends_at = Instant::now() + Duration::from_secs(30);
    while !sally(&["get", "deployment", "web"]).0 {
        assert!(Instant::now() < ends_at, "the binding does not work");
    }
    assert!(sally(&["create", "configmap", "made"]).0);
    assert!(!sally(&["get", "secrets"]).0);

    let uses = found(&server, &["used-by", "sally"]);
    assert!(
        uses.contains("deployments.apps") && !uses.contains("secrets"),
        "{uses}"
    );
    let least = found(&server, &["used-by", "user:sally", "-o", "yaml"]);
    let unused = found(&server, &["unused", "sally"]);
    for part in [
        "RoleBinding shop/sally",
        "statefulsets.apps",
        "list,patch,delete",
    ] {
        assert!(unused.contains(part), "{part}:\n{unused}");
    }

    assert!(kubectl(&server, &["-n", "shop", "delete", "rolebinding", "sally"]).0);
    ok(server.kubectl().args(["apply", "-f", "-"]), &least);
    let may = |args: &[&str]| {
        kubectl(
            &server,
            &[&["auth", "can-i", "--as=sally", "-n", "shop"], args].concat(),
        )
        .0
    };
    let ends_at = Instant::now() + Duration::from_secs(30);
    while !may(&["get", "deployments.apps/web"]) || may(&["delete", "deployments.apps/web"]) {
        assert!(Instant::now() < ends_at, "{least}");
    }
    // liggitt/audit2rbac#24: a creation is not allowed by name.
    assert!(may(&["create", "configmaps"]), "{least}");
    assert!(
        !may(&["get", "configmaps"]) && !may(&["get", "deployments.apps/other"]),
        "{least}"
    );
    assert_eq!(verbatim(&server, &["used-by", "nobody-at-all"]).0, 1);
}

#[test]
fn kubectl_verbatim_is_a_plugin() {
    let server = shop();
    let bin = server.data().join("bin");
    std::fs::create_dir_all(&bin).expect("a folder");
    for name in ["kubectl-verbatim", "kubectl_complete-verbatim"] {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_verbatim"), bin.join(name)).expect("a link");
    }
    let path = format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut command = Command::new("kubectl");
    command
        .env("PATH", &path)
        .env("KUBECONFIG", server.kubeconfig());
    let out = ok(
        command.args(["verbatim", "search", "resource:deployments verb:create"]),
        "",
    );
    assert!(out.contains("deployments.apps/web"), "{out}");
    let mut command = Command::new("kubectl");
    command.env("PATH", &path);
    let help = ok(command.args(["verbatim", "--help"]), "");
    assert!(help.contains("Usage: kubectl verbatim"), "{help}");
    let mut command = Command::new(bin.join("kubectl_complete-verbatim"));
    let offered = ok(command.args(["top", "--by", "cl"]), "");
    assert_eq!(offered, "client\nclass\n:4\n");
    let mut command = Command::new(bin.join("kubectl-verbatim"));
    let script = ok(command.args(["completion", "bash"]), "");
    assert!(
        script.contains("kubectl-verbatim") && script.contains("timeline"),
        "{script}"
    );
}
