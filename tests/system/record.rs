//! Asking the server: who did that, and why was it refused.

use std::process::Command;

use crate::server::{Server, Store};

fn verbatim(server: &Server, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_verbatim"))
        .args(args)
        .arg("--kubeconfig")
        .arg(server.kubeconfig())
        .output()
        .expect("the verbatim program to run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_refusal_is_found_and_explained() {
    let server = Server::start(Store::Embedded, &[]);
    let mut refused = server.kubectl();
    let refused = refused.args(["--as=nobody", "get", "secrets"]).output();
    let refused =
        refused.expect("kubectl to run; install it with: apt-get install kubernetes-client");
    assert!(!refused.status.success());

    let query = ["search", "code:403 resource:secrets", "-o", "json"];
    let found: serde_json::Value = serde_json::from_str(&verbatim(&server, &query)).expect("JSON");
    let event = &found["items"][0];
    assert_eq!(event["impersonatedUser"]["username"], "nobody", "{found}");
    let constraint = &event["authenticationMetadata"]["impersonationConstraint"];
    assert_eq!(constraint, "impersonate:user-info", "{event}");
    let id = event["auditID"].as_str().expect("an audit ID");

    let why = verbatim(&server, &["why", id]);
    for expected in [
        "nobody",
        "secrets",
        "list",
        "kind: Role",
        "kind: RoleBinding",
    ] {
        assert!(why.contains(expected), "{expected} is missing in:\n{why}");
    }
}
