//! `verbatim collect`: audit events of API servers that are somebody else's.

use std::io::Write as _;
use std::path::Path;

use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::index::{eventually, recorded_by_kube_apiserver, search, verbatim};
use crate::libraries::client;
use crate::server::{Server, Store};

/// A client as the kubeconfig says, but for the path behind the server's address.
async fn sender(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.expect("a valid kubeconfig");
    let mut parts = config.cluster_url.clone().into_parts();
    parts.path_and_query = Some("/".parse().expect("a path"));
    config.cluster_url = parts.try_into().expect("a URL");
    Client::try_from(config).expect("a client")
}

async fn post(client: &Client, path: &str, events: &[Value]) -> Result<Value, kube::Error> {
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events});
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(list.to_string().into_bytes())
        .expect("a valid request");
    client.request(request).await
}

fn events() -> Vec<Value> {
    let lines = recorded_by_kube_apiserver();
    let mut events: Vec<Value> = lines
        .iter()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    for event in &mut events {
        // As upstream's lists have them.
        let members = event.as_object_mut().expect("an object");
        members.remove("kind");
        members.remove("apiVersion");
    }
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_batches_are_kept_once_and_only_from_those_who_may() {
    let mut server =
        Server::collect(&["--webhook-clusters=prod,stage", "--search-index-max-age=0"]);
    let sends = sender(&server.data().join("webhook-prod.kubeconfig")).await;
    let events = events();
    let answer = post(&sends, "/audit/prod", &events)
        .await
        .expect("is taken");
    assert_eq!(answer["received"]["events"], events.len(), "{answer}");
    // The answer was lost, the API server tries again.
    let answer = post(&sends, "/audit/prod", &events)
        .await
        .expect("is taken");
    assert_eq!(answer["received"]["duplicates"], events.len(), "{answer}");
    let error = post(&sends, "/audit/stage", &events[..1]).await;
    let error = error.expect_err("another cluster's path").to_string();
    assert!(error.contains("forbidden"), "{error}");
    assert_eq!(search(&server, "cluster:prod").len(), events.len());
    // What a sender may not: read.
    let request = Request::get("/apis/audit.verbatim.dev/v1alpha1/auditevents");
    let request = request.body(Vec::new()).expect("a request");
    let error = sends
        .request_text(request)
        .await
        .expect_err("is refused")
        .to_string();
    assert!(error.contains("auditevents"), "{error}");

    server.kill();
    server.restart();
    let answer = post(&sends, "/audit/prod", &events)
        .await
        .expect("is taken");
    assert_eq!(answer["received"]["events"], 0, "{answer}");
    assert_eq!(search(&server, "cluster:prod").len(), events.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_the_cluster_s_api_server() {
    let server = Server::collect(&[]);
    let admin = client(&server).await;
    let get = async |path: &str| {
        let request = Request::get(path).body(Vec::new()).expect("a request");
        admin.request_text(request).await
    };
    let groups = get("/apis").await.expect("discovery");
    for (group, is_served) in [
        ("audit.verbatim.dev", true),
        ("rbac.authorization.k8s.io", true),
        ("authorization.k8s.io", true),
        ("\"apps\"", false),
        ("batch", false),
    ] {
        assert_eq!(groups.contains(group), is_served, "{group} in {groups}");
    }
    assert!(get("/api/v1/namespaces/default/pods").await.is_err());
    assert!(get("/readyz").await.is_ok());
    assert!(
        get("/metrics")
            .await
            .expect("metrics")
            .contains("verbatim_search_events_indexed_total")
    );
    // A reader of one namespace, with a token of the collector's own.
    let kubectl = |args: &[&str]| {
        let output = server
            .kubectl()
            .args(args)
            .output()
            .expect("kubectl to run");
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    };
    kubectl(&["create", "namespace", "aud"]);
    kubectl(&["-n", "aud", "create", "serviceaccount", "auditor"]);
    kubectl(&[
        "-n",
        "aud",
        "create",
        "role",
        "reader",
        "--verb=list",
        "--resource=auditevents.audit.verbatim.dev",
    ]);
    kubectl(&[
        "-n",
        "aud",
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        "--serviceaccount=aud:auditor",
    ]);
    let token = kubectl(&["-n", "aud", "create", "token", "auditor"]);
    post(&admin, "/audit", &events()).await.expect("is taken");
    let output = verbatim(
        &server,
        &[
            "search", "-n", "aud", "--token", &token, "--limit", "0", "-o", "jsonl",
        ],
    );
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        lines.lines().count() > 0,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(event["objectRef"]["namespace"], "aud");
    }
    let output = verbatim(&server, &["search", "--token", &token]);
    assert_eq!(
        output.status.code(),
        Some(2),
        "all namespaces are not theirs"
    );
}

#[test]
fn logs_are_followed_across_rotation_and_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("audit.log");
    let lines = recorded_by_kube_apiserver();
    let (first, rest) = lines.split_at(lines.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let append = |lines: &[String]| {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log);
        let text = lines.join("\n") + "\n";
        file.expect("opens")
            .write_all(text.as_bytes())
            .expect("writes");
    };
    append(first);
    let flag = format!("--follow=stage={}", log.display());
    let mut server = Server::collect(&[&flag, "--search-index-max-age=0"]);
    let wait_for = |server: &Server, count: usize| {
        eventually("followed events", || {
            (search(server, "cluster:stage").len() == count).then_some(())
        });
    };
    wait_for(&server, first.len());
    append(second);
    server.kill();
    // Rotated while nobody looked, as lumberjack does it.
    std::fs::rename(
        &log,
        folder.path().join("audit-2026-02-01T11-00-00.000.log"),
    )
    .expect("renames");
    append(third);
    server.restart();
    wait_for(&server, lines.len());
    server.kill();
    server.restart();
    append(&["not an event".to_string()]);
    wait_for(&server, lines.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thread_06_thread_33_a_real_api_server_sends_its_webhook() {
    let collector = Server::collect(&["--webhook-clusters=edge"]);
    let webhook = collector.data().join("webhook-edge.kubeconfig");
    let flag = format!("--audit-webhook-config-file={}", webhook.display());
    let server = Server::start(
        Store::Embedded,
        &[&flag, "--audit-webhook-batch-max-wait=200ms"],
    );
    let run = |args: &[&str]| {
        let output = server
            .kubectl()
            .args(args)
            .output()
            .expect("kubectl to run");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(&["create", "configmap", "doomed"]);
    run(&["delete", "configmap", "doomed"]);
    let found = eventually("the delete to be collected", || {
        let found = search(&collector, "cluster:edge verb:delete name:doomed");
        (!found.is_empty()).then_some(found)
    });
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["user"]["username"], "kubernetes-admin");
}
