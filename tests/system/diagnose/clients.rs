//! What clients do wrong, on servers with nothing the matter.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use serde_json::json;
use tempfile::TempDir;

use super::credentials::{Authority, ISSUER, Keys};
use super::lab::{Lab, Tally, write};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn map(name: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}).to_string()
}

fn pod(name: &str, spec: serde_json::Value) -> String {
    let mut spec = spec;
    spec["containers"] = json!([{"name": "c", "image": "example.test/i:1"}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "a"}}, "spec": spec})
        .to_string()
}

/// Credentials, permissions, admission and malformed requests.
pub(super) fn all() -> Tally {
    let dir = TempDir::new().expect("a temporary folder");
    let keys = Keys::make(dir.path());
    let authority = Authority::new("own");
    let key = dir.path().join("sa.key").display().to_string();
    let ca = write(dir.path(), "ca.pem", authority.pem())
        .display()
        .to_string();
    let flags = [
        "--anonymous-auth=false",
        "--service-account-issuer",
        ISSUER,
        "--service-account-key-file",
        &key,
        "--service-account-signing-key-file",
        &key,
        "--client-ca-file",
        &ca,
        "--enable-bootstrap-token-auth=true",
        "--enable-admission-plugins",
        "NodeRestriction",
    ];
    let mut lab = Lab::start_in(dir, &flags);
    lab.must(
        "POST",
        "/api/v1/namespaces/default/serviceaccounts",
        &json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
        })
        .to_string(),
    );
    tokens(&mut lab, &keys);
    certificates(&mut lab, &authority);
    permissions(&mut lab);
    admission(&mut lab);
    missing_and_conflicting(&mut lab);
    malformed(&mut lab);
    lab.tally
}

fn tokens(lab: &mut Lab, keys: &Keys) {
    let robot =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    let path = "/api/v1/namespaces/default/serviceaccounts";
    let robot = lab.must("POST", path, &robot.to_string());
    let uid = robot["metadata"]["uid"]
        .as_str()
        .expect("a UID")
        .to_string();
    let expiration = "2001-01-01T00:00:00Z";
    let bootstrap = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abc123"},
        "stringData": {
            "token-id": "abc123", "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true", "expiration": expiration,
        },
    });
    lab.must(
        "POST",
        "/api/v1/namespaces/kube-system/secrets",
        &bootstrap.to_string(),
    );

    let good = keys.token(&uid, |_| {});
    let mut tampered = good.clone();
    let last = tampered.pop();
    tampered.push(if last == Some('A') { 'Q' } else { 'A' });
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let cases = [
        ("X-Nothing: 1".to_string(), "no-credentials"),
        (bearer("nonsense"), "unknown-token"),
        (
            bearer(&keys.token(&uid, |c| c["exp"] = json!(1_700_000_001))),
            "expired",
        ),
        (
            bearer(&keys.token(&uid, |c| c["nbf"] = json!(3_900_000_000_u64))),
            "not-yet-valid",
        ),
        (
            bearer(&keys.token(&uid, |c| c["aud"] = json!(["vault"]))),
            "wrong-audience",
        ),
        (
            bearer(&keys.token(&uid, |c| c["iss"] = json!("https://other.test"))),
            "unknown-issuer",
        ),
        (bearer(&keys.token("another-uid", |_| {})), "revoked"),
        (bearer(&keys.foreign(&uid)), "unknown-key"),
        (bearer(&tampered), "bad-signature"),
        (bearer("abc123.0123456789abcdef"), "expired"),
    ];
    let answer = lab.send(MAPS, &["-H", &bearer(&good)]);
    assert_eq!(answer.code, 403, "the good token is good: {}", answer.body);
    for (header, detail) in cases {
        let answer = lab.send(MAPS, &["-H", &header]);
        let explanation = lab.check(&answer, 401, "unauthorized", detail);
        assert_eq!(explanation["detail"], detail, "{explanation}");
        let told = answer.body.to_string();
        assert!(!told.contains(detail), "users.md 27: {told}");
    }
}

fn certificates(lab: &mut Lab, authority: &Authority) {
    let foreign = Authority::new("foreign");
    let cases = [
        (
            authority,
            "expired.pem",
            ClientAuth,
            2021,
            "certificate-expired",
        ),
        (
            authority,
            "purpose.pem",
            ServerAuth,
            2090,
            "certificate-wrong-purpose",
        ),
        (
            &foreign,
            "foreign.pem",
            ClientAuth,
            2090,
            "certificate-unknown-authority",
        ),
    ];
    for (authority, name, usage, last_year, detail) in cases {
        let pem = authority.client(lab.dir.path(), name, usage, last_year);
        let answer = lab.send(MAPS, &["--cert", &pem]);
        lab.check(&answer, 401, "unauthorized", detail);
    }
}

fn permissions(lab: &mut Lab) {
    let answer = lab.as_user("alice", "GET", "/api/v1/namespaces/default/secrets", "");
    let explanation = lab.check(&answer, 403, "forbidden", "no RBAC rule");
    let manifests = explanation["manifests"].as_str().unwrap_or_default();
    assert!(manifests.contains("kind: Role\n"), "{explanation}");
    assert_eq!(explanation["runbook"], "runbooks/forbidden.md");
    let answer = lab.as_user("alice", "GET", "/metrics", "");
    lab.check(&answer, 403, "forbidden", "/metrics");
    let alice = "Authorization: Bearer alice-token";
    let answer = lab.send(MAPS, &["-H", alice, "-H", "Impersonate-User: carol"]);
    lab.check(&answer, 403, "impersonation-refused", "carol");
    let answer = lab.as_user("node", "GET", "/api/v1/namespaces/default/secrets/s", "");
    lab.check(&answer, 403, "node-refused", "Node");
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"}});
    let answer = lab.as_user("node", "POST", "/api/v1/nodes", &node.to_string());
    lab.check(&answer, 403, "node-refused", "NodeRestriction");

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "roles"},
        "rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]}],
    });
    lab.must("POST", &format!("{RBAC}/clusterroles"), &role.to_string());
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "roles"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "roles"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}],
    });
    lab.must(
        "POST",
        &format!("{RBAC}/clusterrolebindings"),
        &binding.to_string(),
    );
    let wish = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "wish"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    });
    let path = format!("{RBAC}/namespaces/default/roles");
    // The authorizer hears of the binding a moment after the write.
    let give_up = Instant::now() + Duration::from_secs(30);
    let answer = loop {
        let answer = lab.as_user("bob", "POST", &path, &wish.to_string());
        let message = answer.body["message"].as_str().unwrap_or_default();
        if !message.contains("cannot create resource") || Instant::now() > give_up {
            break answer;
        }
    };
    lab.check(&answer, 403, "escalation-refused", "");
}

fn admission(lab: &mut Lab) {
    let pods = "/api/v1/namespaces/default/pods";
    let answer = lab.admin("POST", "/api/v1/namespaces/nowhere/configmaps", &map("a"));
    lab.check(&answer, 404, "namespace-gone", "NamespaceLifecycle");
    let namespace = |name: &str, label: serde_json::Value| {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": label}}).to_string()
    };
    lab.must("POST", "/api/v1/namespaces", &namespace("going", json!({})));
    lab.must("DELETE", "/api/v1/namespaces/going", "");
    let answer = lab.admin("POST", "/api/v1/namespaces/going/configmaps", &map("a"));
    lab.check(&answer, 403, "namespace-gone", "NamespaceLifecycle");
    let enforced = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    lab.must("POST", "/api/v1/namespaces", &namespace("strict", enforced));
    let answer = lab.admin(
        "POST",
        "/api/v1/namespaces/strict/pods",
        &pod("p", json!({})),
    );
    // Without the namespace's default service account, that plugin is the first to refuse.
    lab.check(&answer, 403, "admission-denied", "ServiceAccount");
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    lab.must(
        "POST",
        "/api/v1/namespaces/strict/serviceaccounts",
        &account.to_string(),
    );
    let answer = lab.admin(
        "POST",
        "/api/v1/namespaces/strict/pods",
        &pod("p", json!({})),
    );
    lab.check(&answer, 403, "admission-denied", "PodSecurity");
    let answer = lab.admin(
        "POST",
        pods,
        &pod("p", json!({"priorityClassName": "none"})),
    );
    lab.check(&answer, 403, "admission-denied", "Priority");
}

fn missing_and_conflicting(lab: &mut Lab) {
    let answer = lab.admin("GET", &format!("{MAPS}/none"), "");
    lab.check(&answer, 404, "not-found", "no delete of it");
    lab.must("POST", MAPS, &map("brief"));
    lab.must("DELETE", &format!("{MAPS}/brief"), "");
    let answer = lab.admin("GET", &format!("{MAPS}/brief"), "");
    lab.check(&answer, 404, "not-found", "it was deleted: admin");
    let answer = lab.admin("GET", "/apis/nothing.test/v1/things", "");
    lab.check(
        &answer,
        404,
        "unknown-resource",
        "/apis/nothing.test/v1/things",
    );
    let answer = lab.admin("GET", "/api/v1/namespaces/default/things", "");
    lab.check(&answer, 404, "unknown-resource", "");
    let answer = lab.admin("PUT", MAPS, &map("a"));
    lab.check(&answer, 405, "method-not-allowed", "");

    let first = lab.must("POST", MAPS, &map("a"));
    let answer = lab.admin("POST", MAPS, &map("a"));
    lab.check(
        &answer,
        409,
        "already-exists",
        "created or written before: admin",
    );
    let mut stale = first.clone();
    let mut changed = first;
    changed["data"] = json!({"k": "1"});
    lab.must("PUT", &format!("{MAPS}/a"), &changed.to_string());
    stale["data"] = json!({"k": "2"});
    let answer = lab.admin("PUT", &format!("{MAPS}/a"), &stale.to_string());
    lab.check(&answer, 409, "conflict", "written before: admin");
    let options =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
    let answer = lab.admin("DELETE", &format!("{MAPS}/a"), &options.to_string());
    lab.check(&answer, 409, "precondition-failed", "UID");
    let admin = "Authorization: Bearer admin-token";
    let apply = "Content-Type: application/apply-patch+yaml";
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "3"}});
    let path = format!("{MAPS}/a?fieldManager=other");
    let answer = lab.send(
        &path,
        &[
            "-X",
            "PATCH",
            "-H",
            admin,
            "-H",
            apply,
            "-d",
            &body.to_string(),
        ],
    );
    lab.check(&answer, 409, "apply-conflict", ".data.k");
}

fn malformed(lab: &mut Lab) {
    let answer = lab.admin("POST", MAPS, "{");
    lab.check(&answer, 400, "bad-request", "");
    let answer = lab.admin("GET", "/api/v1/namespaces?timeout=bad", "");
    lab.check(&answer, 400, "bad-request", "timeout");
    let answer = lab.admin("POST", MAPS, &map("Bad Name"));
    lab.check(&answer, 422, "invalid", "metadata.name");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": []}});
    let answer = lab.admin(
        "POST",
        "/api/v1/namespaces/default/services",
        &service.to_string(),
    );
    lab.check(&answer, 422, "invalid", "spec.ports");
    let big = write(
        lab.dir.path(),
        "big.json",
        &"x".repeat(3 * 1024 * 1024 + 1000),
    );
    let answer = lab.admin("POST", MAPS, &format!("@{}", big.display()));
    lab.check(&answer, 413, "too-large", "3146728 bytes");
    let admin = "Authorization: Bearer admin-token";
    let plain = "Content-Type: text/plain";
    let answer = lab.send(MAPS, &["-H", admin, "-H", plain, "-d", &map("b")]);
    lab.check(&answer, 415, "media-type", "text/plain");
    let answer = lab.send(
        &format!("{MAPS}/a"),
        &["-H", admin, "-H", "Accept: text/html"],
    );
    lab.check(&answer, 406, "media-type", "accept");
}

/// Limits and deadlines.
pub(super) fn limits() -> Tally {
    let flags = [
        "--enable-priority-and-fairness=false",
        "--max-requests-inflight=1",
        "--max-mutating-requests-inflight=1",
    ];
    let mut lab = Lab::start(&flags);
    lab.must(
        "POST",
        "/api/v1/namespaces/default/serviceaccounts",
        &json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
        })
        .to_string(),
    );
    disruption_budget(&mut lab);
    readers(&mut lab);
    writers(&mut lab);
    lab.tally
}

fn disruption_budget(lab: &mut Lab) {
    lab.must(
        "POST",
        "/api/v1/namespaces/default/pods",
        &pod("p", json!({})),
    );
    let running = json!({"status": {"phase": "Running"}}).to_string();
    let (admin, merge) = (
        "Authorization: Bearer admin-token",
        "Content-Type: application/merge-patch+json",
    );
    let path = "/api/v1/namespaces/default/pods/p/status";
    lab.send(
        path,
        &["-X", "PATCH", "-H", admin, "-H", merge, "-d", &running],
    );
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}},
    });
    lab.must(
        "POST",
        "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
        &budget.to_string(),
    );
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let path = "/api/v1/namespaces/default/pods/p/eviction";
    let answer = lab.admin("POST", path, &eviction.to_string());
    lab.check(&answer, 429, "disruption-budget", "The disruption budget b");
}

/// A list that asks for a version to come waits three seconds, and holds the only place.
fn readers(lab: &mut Lab) {
    let url = format!("{}{MAPS}?resourceVersion=999999999", lab.server.url());
    let mut waiting = Command::new("curl")
        .args([
            "-sk",
            "-o",
            "/dev/null",
            "-H",
            "Authorization: Bearer admin-token",
        ])
        .args(["-H", "Audit-ID: waits-for-a-version", &url])
        .spawn()
        .expect("curl to run");
    let answer = loop {
        let answer = lab.as_user("alice", "GET", MAPS, "");
        match answer.code {
            429 => break answer,
            _ if waiting.try_wait().expect("curl to be watched").is_some() => break answer,
            _ => {}
        }
    };
    lab.check(&answer, 429, "throttled", "readOnly");
    waiting.wait().expect("curl to end");
    let waited = super::lab::Answer {
        id: "waits-for-a-version".into(),
        code: 504,
        body: json!(null),
    };
    lab.check(&waited, 504, "future-version", "999999999");
}

/// A write whose body does not come holds the only place until its deadline.
fn writers(lab: &mut Lab) {
    let url = format!("{}{MAPS}?timeout=4s", lab.server.url());
    let mut stalled = Command::new("curl")
        .args(["-sk", "-o", "/dev/null", "-T", "-", "-X", "POST"])
        .args([
            "-H",
            "Authorization: Bearer admin-token",
            "-H",
            "Content-Type: application/json",
        ])
        .args(["-H", "Audit-ID: stalled", &url])
        .stdin(Stdio::piped())
        .spawn()
        .expect("curl to run");
    let mut body = stalled.stdin.take().expect("a piped standard input");
    body.write_all(b"{").expect("curl to read");
    body.flush().expect("curl to read");
    let answer = loop {
        let answer = lab.as_user("alice", "POST", MAPS, &map("b"));
        match answer.code {
            429 => break answer,
            _ if stalled.try_wait().expect("curl to be watched").is_some() => break answer,
            _ => {}
        }
    };
    lab.check(&answer, 429, "throttled", "mutating");
    let stuck = super::lab::Answer {
        id: "stalled".into(),
        code: 504,
        body: json!(null),
    };
    lab.check(&stuck, 504, "timeout", "read-body");
    drop(body);
    stalled.kill().ok();
    stalled.wait().expect("curl to end");
}
