//! kubectl as people use it, on both stores.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::server::{Server, Store};

const MANIFEST: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: tour}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: tour}
data: {colour: blue}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: tour, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "example.test/web:1", ports: [{containerPort: 80}]}
"#;

/// Runs a command and answers its standard output; panics with everything when it fails.
pub(crate) fn ok(command: &mut Command, input: &str) -> String {
    let (success, stdout, stderr) = run(command, input);
    assert!(success, "{command:?}\n{stdout}\n{stderr}");
    stdout
}

pub(crate) fn run(command: &mut Command, input: &str) -> (bool, String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl to start; install it with: apt-get install kubernetes-client");
    let mut stdin = child.stdin.take().expect("a piped standard input");
    // kubectl may end without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("kubectl to end");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn everyday_commands_on_the_embedded_store() {
    everyday(Store::Embedded);
}

#[test]
fn everyday_commands_on_etcd() {
    everyday(Store::Etcd);
}

fn everyday(store: Store) {
    let server = Server::start(store, &[]);
    let kubectl = |args: &[&str], input: &str| ok(server.kubectl().args(args), input);

    assert_eq!(
        kubectl(&["create", "namespace", "tour"], "").trim(),
        "namespace/tour created"
    );
    let applied = kubectl(&["apply", "-f", "-"], MANIFEST);
    assert!(applied.contains("deployment.apps/web created"), "{applied}");
    let applied = kubectl(&["apply", "-f", "-"], MANIFEST);
    assert!(
        applied.contains("deployment.apps/web unchanged"),
        "{applied}"
    );
    let changed = MANIFEST.replace("blue", "green");
    let applied = kubectl(&["apply", "-f", "-"], &changed);
    assert!(
        applied.contains("configmap/settings configured"),
        "{applied}"
    );

    let table = kubectl(&["-n", "tour", "get", "deployments", "-o", "wide"], "");
    assert!(
        table.starts_with("NAME   READY   UP-TO-DATE   AVAILABLE   AGE"),
        "{table}"
    );
    assert!(table.contains("example.test/web:1"), "{table}");
    let described = kubectl(&["-n", "tour", "describe", "deployment", "web"], "");
    assert!(described.contains("2 desired"), "{described}");

    kubectl(
        &["-n", "tour", "label", "configmap", "settings", "tier=one"],
        "",
    );
    kubectl(
        &[
            "-n",
            "tour",
            "annotate",
            "configmap",
            "settings",
            "note=two",
        ],
        "",
    );
    kubectl(
        &["-n", "tour", "scale", "deployment", "web", "--replicas=5"],
        "",
    );
    kubectl(
        &[
            "-n",
            "tour",
            "patch",
            "deployment",
            "web",
            "-p",
            r#"{"spec":{"paused":true}}"#,
        ],
        "",
    );
    kubectl(
        &[
            "-n",
            "tour",
            "set",
            "image",
            "deployment/web",
            "web=example.test/web:2",
        ],
        "",
    );
    let text = kubectl(
        &["-n", "tour", "get", "deployment", "web", "-o", "json"],
        "",
    );
    let deployment: Value = serde_json::from_str(&text).expect("JSON from kubectl");
    assert_eq!(deployment["spec"]["replicas"], 5);
    assert_eq!(deployment["spec"]["paused"], true);
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "example.test/web:2");
    let selected = kubectl(
        &[
            "-n",
            "tour",
            "get",
            "configmaps",
            "-l",
            "tier=one",
            "-o",
            "name",
        ],
        "",
    );
    assert_eq!(selected.trim(), "configmap/settings");

    let explained = kubectl(&["explain", "deployment.spec.replicas"], "");
    assert!(explained.contains("replicas <integer>"), "{explained}");
    let resources = kubectl(&["api-resources"], "");
    assert!(resources.contains("deployments"), "{resources}");
    assert_eq!(
        kubectl(&["auth", "can-i", "create", "pods"], "").trim(),
        "yes"
    );
    assert!(kubectl(&["auth", "whoami"], "").contains("system:masters"));
    let token = kubectl(&["-n", "tour", "create", "token", "default"], "");
    assert_eq!(token.trim().split('.').count(), 3, "a JWT");
    let as_account = ["--token", token.trim(), "auth", "whoami", "-o", "json"];
    let mut command = Command::new("kubectl");
    let who = ok(
        command
            .env("KUBECONFIG", "/dev/null")
            .env("HOME", server.data().join("home"))
            .args(["--server", &server.url(), "--insecure-skip-tls-verify"])
            .args(as_account),
        "",
    );
    assert!(who.contains("system:serviceaccount:tour:default"), "{who}");

    let waited = kubectl(
        &[
            "-n",
            "tour",
            "wait",
            "--for=jsonpath={.data.colour}=green",
            "configmap/settings",
            "--timeout=20s",
        ],
        "",
    );
    assert!(waited.contains("condition met"), "{waited}");
    let deleted = kubectl(&["-n", "tour", "delete", "configmap", "settings"], "");
    assert!(deleted.contains("deleted"), "{deleted}");

    let refused = run(server.kubectl().args(["--as=nobody", "get", "secrets"]), "");
    assert!(!refused.0 && refused.2.contains("Forbidden"), "{refused:?}");
}

#[test]
fn a_restart_keeps_everything() {
    let mut server = Server::start(Store::Embedded, &[]);
    ok(server.kubectl().args(["create", "namespace", "kept"]), "");
    assert!(server.terminate(), "a clean end");
    server.restart();
    let namespaces = ok(
        server.kubectl().args(["get", "namespaces", "-o", "name"]),
        "",
    );
    assert!(namespaces.contains("namespace/kept"), "{namespaces}");
}
