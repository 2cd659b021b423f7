//! What the record can be proven by, and where else it goes: checkpoints sent away, standard output.

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::Value;

use crate::index::search;
use crate::server::{Server, Store};

const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";

fn verbatim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_verbatim"))
        .args(args)
        .output()
        .expect("the verbatim program to run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A receiver of checkpoints, and the lines that it got.
fn receiver(runtime: &tokio::runtime::Runtime) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let taken: Arc<Mutex<Vec<u8>>> = Arc::default();
    let copy = taken.clone();
    let take = move |body: Bytes| {
        let taken = copy.clone();
        async move { taken.lock().expect("no panic").extend_from_slice(&body) }
    };
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let router = Router::new().route("/checkpoints", post(take));
    runtime.spawn(async move { axum::serve(listener, router).await });
    (port, taken)
}

#[test]
fn thread_31_checkpoints_that_were_sent_away_prove_a_log_that_was_cut_with_all_beside_it() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (port, taken) = receiver(&runtime);
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\nclusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{port}/checkpoints'}}}}]\nusers: [{{name: a, user: {{}}}}]\n"
    );
    std::fs::write(path("receiver.kubeconfig"), kubeconfig).expect("writes");
    let config = path("receiver.kubeconfig");
    let mut server = Server::start(
        Store::Embedded,
        &["--audit-checkpoint-webhook-config-file", &config],
    );
    let get = |server: &Server| {
        let output = server.kubectl().args(["get", "namespaces"]).output();
        let output =
            output.expect("kubectl to run; install it with: apt-get install kubernetes-client");
        assert!(output.status.success());
    };
    get(&server);
    let folder = server.data().join("audit");
    let folder = folder.display().to_string();
    let files = ["audit.log", "audit.log.chain", "audit.log.checkpoints"];
    let place = |name: &str| std::path::Path::new(&folder).join(name);
    assert!(server.terminate(), "a clean end");
    let early = files.map(|name| std::fs::read(place(name)).expect("a file of the log"));
    server.restart();
    get(&server);
    assert!(server.terminate(), "a clean end");

    let received = taken.lock().expect("no panic").clone();
    let last = text(&received);
    assert!(
        last.lines()
            .last()
            .is_some_and(|l| l.contains("\"shutdown\"")),
        "{last}"
    );
    std::fs::write(path("received"), &received).expect("writes");

    // The key, from wherever it can be had, is the one beside the private key.
    let key = std::fs::read(server.data().join("pki/audit-checkpoint.pub")).expect("the key");
    std::fs::write(path("key.pub"), &key).expect("writes");
    for from in [&folder, &path("received"), &path("key.pub")] {
        let output = verbatim(&["verify", "--print-key", from]);
        assert!(output.status.success(), "{from}: {}", text(&output.stderr));
        assert_eq!(output.stdout, key, "{from}");
    }
    let (copy, public) = (path("received"), path("key.pub"));
    let with_copy = [
        "verify",
        &folder,
        "--checkpoints",
        &copy,
        "--public-key",
        &public,
    ];
    let output = verbatim(&with_copy);
    assert!(output.status.success(), "{}", text(&output.stdout));

    // The folder as it was an hour ago looks whole by itself.
    for (name, bytes) in files.iter().zip(early) {
        std::fs::write(place(name), bytes).expect("writes");
    }
    let output = verbatim(&["verify", &folder]);
    assert!(output.status.success(), "{}", text(&output.stdout));
    let output = verbatim(&with_copy);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("the end was cut off"), "{said}");
}

/// An HTTP proxy for one connection at a time. Answers its port and what it was asked.
fn proxy() -> (u16, Arc<Mutex<Vec<String>>>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let copy = asked.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut client = client;
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                head.extend_from_slice(&byte);
            }
            let head = text(&head);
            let line = head.lines().next().unwrap_or_default().to_string();
            let target = line.split(' ').nth(1).unwrap_or_default().to_string();
            copy.lock().expect("no panic").push(line);
            let Ok(mut server) = std::net::TcpStream::connect(target) else {
                continue;
            };
            client
                .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
                .expect("writes");
            let (mut from, mut to) = (
                client.try_clone().expect("a socket"),
                server.try_clone().expect("a socket"),
            );
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            std::thread::spawn(move || std::io::copy(&mut server, &mut client));
        }
    });
    (port, asked)
}

#[test]
fn the_hand_tool_goes_through_the_proxy_of_its_kubeconfig() {
    let server = Server::start(Store::Embedded, &[]);
    let (port, asked) = proxy();
    let kubeconfig = std::fs::read_to_string(server.kubeconfig()).expect("the kubeconfig");
    let url = server.url();
    let own = format!("server: {url}");
    assert!(kubeconfig.contains(&own), "{kubeconfig}");
    let with_proxy = format!("proxy-url: http://127.0.0.1:{port}\n    {own}");
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("kubeconfig");
    std::fs::write(&file, kubeconfig.replace(&own, &with_proxy)).expect("writes");
    let file = file.display().to_string();
    let output = verbatim(&["stats", "--kubeconfig", &file]);
    assert!(output.status.code() < Some(2), "{}", text(&output.stderr));
    let asked = asked.lock().expect("no panic").clone();
    let expected = format!("CONNECT 127.0.0.1:{} HTTP/1.1", server.port);
    assert!(asked.contains(&expected), "{asked:?}");
}

#[test]
fn the_log_on_standard_output_is_lines_of_events_and_is_searched() {
    let dir = tempfile::tempdir().expect("a folder");
    let policy = dir.path().join("policy.yaml");
    std::fs::write(&policy, POLICY).expect("writes");
    let policy = policy.display().to_string();
    let flags = ["--audit-log-path=-", "--audit-policy-file", &policy];
    let server = Server::start(Store::Embedded, &flags);
    let output = server
        .kubectl()
        .args(["get", "namespace", "default"])
        .output();
    let output =
        output.expect("kubectl to run; install it with: apt-get install kubernetes-client");
    assert!(output.status.success());
    let found = search(&server, "resource:namespaces name:default verb:get");
    let id = found[0]["auditID"]
        .as_str()
        .expect("an audit ID")
        .to_string();
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        let printed = server.stdout();
        let whole = printed.rfind('\n').map_or("", |end| &printed[..end]);
        let events = whole.lines().map(|line| {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(event["kind"], "Event", "{line}");
            event
        });
        let stages: Vec<Value> = events
            .filter(|e| e["auditID"] == id.as_str())
            .map(|e| e["stage"].clone())
            .collect();
        if stages == ["RequestReceived", "ResponseComplete"] {
            break;
        }
        assert!(Instant::now() < give_up, "{stages:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
