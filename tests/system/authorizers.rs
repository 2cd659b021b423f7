//! ABAC and webhook authorizers, as users configure them, and what `why` says of their refusals.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kubectl::run;
use crate::server::{Server, Store};

fn write(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("a file to be written");
    path.display().to_string()
}

/// `kubectl get PLURAL` as somebody (impersonated by the administrator): whether it succeeded, and what it said.
fn get(server: &Server, user: &str, plural: &str) -> (bool, String) {
    let mut kubectl = server.kubectl();
    kubectl.args(["--as", user, "get", plural]);
    let (success, _, stderr) = run(&mut kubectl, "");
    (success, stderr)
}

/// What `verbatim why` says of the last refusal, once it says something.
fn why(server: &Server, expected: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let output = Command::new(env!("CARGO_BIN_EXE_verbatim"))
            .args(["why", "--last", "--kubeconfig"])
            .arg(server.kubeconfig())
            .output();
        let Output { stdout, stderr, .. } = output.expect("the verbatim program to run");
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        if said.contains(expected) {
            return;
        }
        assert!(Instant::now() < until, "{said}");
    }
}

/// An authorization webhook: lets alice get pods, denies bob config maps, has no other opinion.
fn webhook(runtime: &tokio::runtime::Runtime) -> (u16, Arc<Mutex<Vec<Value>>>) {
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let copy = asked.clone();
    let answer = move |body: Bytes| {
        let review: Value = serde_json::from_slice(&body).expect("a review");
        copy.lock().expect("no panic").push(review.clone());
        let spec = &review["spec"];
        let resource = &spec["resourceAttributes"]["resource"];
        let status = match (spec["user"].as_str(), resource.as_str()) {
            (Some("alice"), Some("pods")) => json!({"allowed": true}),
            (Some("bob"), Some("configmaps")) => {
                json!({"allowed": false, "denied": true, "reason": "not on Fridays"})
            }
            _ => json!({"allowed": false}),
        };
        let answer = json!({
            "kind": "SubjectAccessReview", "apiVersion": review["apiVersion"], "status": status,
        });
        async move { answer.to_string() }
    };
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let router = Router::new().route("/authorize", post(answer));
    runtime.spawn(async move { axum::serve(listener, router).await });
    (port, asked)
}

fn kubeconfig(port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: w, user: u}}}}]\nclusters: [{{name: w, cluster: {{server: 'http://127.0.0.1:{port}/authorize'}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
    )
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

#[test]
fn abac_allows_what_its_file_says() {
    let dir = TempDir::new().expect("a folder");
    let policies = write(
        &dir,
        "policies.jsonl",
        r#"{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "alice", "namespace": "*", "resource": "pods", "readonly": true}}
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"group": "*", "nonResourcePath": "*", "readonly": true}}
"#,
    );
    let flags = ["--authorization-mode", "ABAC"];
    let flags = [&flags[..], &["--authorization-policy-file", &policies]].concat();
    let server = Server::start(Store::Embedded, &flags);
    let (success, stderr) = get(&server, "alice", "pods");
    assert!(success, "{stderr}");
    let (success, stderr) = get(&server, "alice", "configmaps");
    assert!(!success);
    assert!(stderr.contains("cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\": No policy matched."), "{stderr}");
    why(&server, "(had nothing to say: ABAC)");
}

#[test]
fn a_webhook_is_asked_and_its_answers_are_kept() {
    let runtime = runtime();
    let (port, asked) = webhook(&runtime);
    let dir = TempDir::new().expect("a folder");
    let config = write(&dir, "webhook.kubeconfig", &kubeconfig(port));
    let server = Server::start(
        Store::Embedded,
        &[
            "--authorization-mode",
            "Webhook,RBAC",
            "--authorization-webhook-config-file",
            &config,
        ],
    );
    let lists = || {
        let asked = asked.lock().expect("no panic");
        let lists = asked.iter().filter(|review| {
            let attributes = &review["spec"]["resourceAttributes"];
            attributes["resource"] == "pods" && attributes["verb"] == "list"
        });
        lists.cloned().collect::<Vec<Value>>()
    };
    for _ in 0..2 {
        let (success, stderr) = get(&server, "alice", "pods");
        assert!(success, "{stderr}");
    }
    let lists = lists();
    assert_eq!(lists.len(), 1, "{lists:?}");
    assert_eq!(lists[0]["apiVersion"], "authorization.k8s.io/v1beta1");
    assert_eq!(lists[0]["spec"]["user"], "alice");
    let (success, stderr) = get(&server, "bob", "configmaps");
    assert!(!success);
    assert!(stderr.contains(": not on Fridays"), "{stderr}");
    why(&server, "Webhook default denied it: not on Fridays");
}

/// A configuration in which the webhook is asked about config maps only.
fn configuration(file: &Path, policy: &str) -> String {
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {{type: RBAC, name: rbac}}\n- type: Webhook\n  name: fridays\n  webhook:\n    timeout: 3s\n    authorizedTTL: 1s\n    unauthorizedTTL: 1s\n    subjectAccessReviewVersion: v1\n    matchConditionSubjectAccessReviewVersion: v1\n    failurePolicy: {policy}\n    connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {}}}\n    matchConditions:\n    - expression: has(request.resourceAttributes) && request.resourceAttributes.resource == 'configmaps'\n",
        file.display()
    )
}

#[test]
fn a_configuration_with_conditions_is_reloaded() {
    let runtime = runtime();
    let (port, asked) = webhook(&runtime);
    let dir = TempDir::new().expect("a folder");
    let kube = write(&dir, "webhook.kubeconfig", &kubeconfig(port));
    // Nobody listens there.
    let nobody = write(&dir, "nobody.kubeconfig", &kubeconfig(1));
    let config = write(&dir, "authz.yaml", &configuration(Path::new(&kube), "Deny"));
    let flags = ["--authorization-config", &config];
    let server = Server::start(Store::Embedded, &flags);
    let (success, stderr) = get(&server, "alice", "pods");
    assert!(!success, "{stderr}");
    let (success, stderr) = get(&server, "bob", "configmaps");
    assert!(!success);
    assert!(stderr.contains(": not on Fridays"), "{stderr}");
    for review in asked.lock().expect("no panic").iter() {
        assert_eq!(review["apiVersion"], "authorization.k8s.io/v1");
        assert_eq!(
            review["spec"]["resourceAttributes"]["resource"],
            "configmaps"
        );
    }
    // A webhook that does not answer makes a refusal an error.
    write(
        &dir,
        "authz.yaml",
        &configuration(Path::new(&nobody), "Deny"),
    );
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let (success, stderr) = get(&server, "bob", "configmaps");
        assert!(!success);
        if stderr.contains("Internal Server Error") || stderr.contains("InternalError") {
            break;
        }
        assert!(Instant::now() < until, "{stderr}");
    }
}
