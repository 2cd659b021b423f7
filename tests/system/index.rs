//! The index of a running server: kill -9, damage, imports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use kube::Client;
use serde_json::Value;

use crate::libraries::client;
use crate::server::{Server, Store, project};

/// Longest wait for something that happens in the background.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the hand tool against a server.
pub(crate) fn verbatim(server: &Server, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_verbatim"))
        .args(args)
        .arg("--kubeconfig")
        .arg(server.kubeconfig())
        .output()
        .expect("the verbatim program to run")
}

/// All events that match, as the hand tool prints them.
pub(crate) fn search(server: &Server, query: &str) -> Vec<Value> {
    let output = verbatim(server, &["search", query, "--limit", "0", "-o", "jsonl"]);
    let code = output.status.code();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(code.is_some_and(|c| c < 2), "{query}: {stderr}");
    let text = String::from_utf8_lossy(&output.stdout);
    let events = text.lines().map(|l| serde_json::from_str(l).expect("JSON"));
    events.collect()
}

/// Polls until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(Instant::now() < give_up, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How often each event (audit ID and stage) stands in the log of a server.
fn logged(server: &Server) -> BTreeMap<(String, String), usize> {
    let folder = server.data().join("audit");
    let mut counts = BTreeMap::new();
    for file in std::fs::read_dir(folder)
        .expect("the audit folder")
        .flatten()
    {
        if file.path().extension().is_none_or(|e| e != "log") {
            continue;
        }
        let text = std::fs::read_to_string(file.path()).expect("an audit log");
        let events = text.lines().filter_map(|l| serde_json::from_str(l).ok());
        count(events, &mut counts);
    }
    counts
}

fn count(events: impl IntoIterator<Item = Value>, counts: &mut BTreeMap<(String, String), usize>) {
    for event in events {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_string();
        *counts.entry((text("auditID"), text("stage"))).or_default() += 1;
    }
}

/// Creates config maps until told to stop or the server is gone.
async fn load(client: Client, name: String, stop: Arc<AtomicBool>) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let body = format!(r#"{{"metadata":{{"name":"{name}-{number}"}},"data":{{"k":"v"}}}}"#);
        let request = Request::post("/api/v1/namespaces/default/configmaps")
            .header("content-type", "application/json")
            .body(body.into_bytes())
            .expect("a valid request");
        if client.request_text(request).await.is_err() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_and_doubles_nothing() {
    let mut server = Server::start(Store::Embedded, &[]);
    for round in 0..6u64 {
        let client = client(&server).await;
        let stop = Arc::new(AtomicBool::new(false));
        let load = (0..4).map(|n| {
            let name = format!("r{round}-{n}");
            tokio::spawn(load(client.clone(), name, stop.clone()))
        });
        let load: Vec<_> = load.collect();
        // Searches commit, so that kills hit commits, too.
        let until = Instant::now() + Duration::from_millis(300 + 170 * round);
        while Instant::now() < until {
            search(
                &server,
                "verb:create resource:configmaps code:201 name:r0-0-0",
            );
        }
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for task in load {
            task.await.expect("a client that did not panic");
        }
        if round == 3 {
            // A crash tore the checkpoint: the log is read from its start.
            let checkpoint = server.data().join("index/checkpoint.json");
            std::fs::write(checkpoint, r#"{"log":{"fi"#).expect("writes");
        }
        server.restart();
    }
    let found = search(&server, "resource:configmaps verb:create");
    let mut indexed = BTreeMap::new();
    count(found, &mut indexed);
    let logged = logged(&server);
    assert!(
        logged.len() > 100,
        "only {} events were logged",
        logged.len()
    );
    for (event, times) in &indexed {
        assert_eq!(*times, 1, "{event:?} is there {times} times");
    }
    let creates = logged.keys().filter(|key| {
        // Only creates of config maps are asked for; those are what the index must have.
        indexed.contains_key(*key)
    });
    assert_eq!(
        creates.count(),
        indexed.len(),
        "found what is not in the log"
    );
    let text = verbatim(
        &server,
        &["search", "type:request", "--limit", "0", "-o", "jsonl"],
    );
    let mut all = BTreeMap::new();
    let lines = String::from_utf8_lossy(&text.stdout).into_owned();
    count(
        lines
            .lines()
            .map(|l| serde_json::from_str(l).expect("JSON")),
        &mut all,
    );
    let missing: Vec<_> = logged.keys().filter(|k| !all.contains_key(*k)).collect();
    assert!(missing.is_empty(), "in the log and not found: {missing:?}");
}

/// A metric's value, without labels.
async fn metric(server: &Server, name: &str) -> Option<f64> {
    let request = Request::get("/metrics").body(Vec::new()).ok()?;
    let text = client(server).await.request_text(request).await.ok()?;
    let line = text.lines().find(|l| l.starts_with(&format!("{name} ")))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_index_is_noticed_while_reading_and_built_anew() {
    let mut server = Server::start(Store::Embedded, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(load(client(&server).await, "w".into(), stop.clone()));
    tokio::time::sleep(Duration::from_millis(700)).await;
    stop.store(true, Ordering::Relaxed);
    load.await.expect("a client that did not panic");
    let before = search(&server, "name:w-* verb:create").len();
    assert!(before > 10, "{before} events");
    server.kill();
    let damaged = damage(&server.data().join("index"));
    assert!(damaged > 0, "no stored events to damage");
    server.restart();
    eventually("the day to be built anew", || {
        let output = verbatim(
            &server,
            &[
                "search",
                "name:w-* verb:create",
                "--limit",
                "0",
                "-o",
                "jsonl",
            ],
        );
        let lines = String::from_utf8_lossy(&output.stdout).lines().count();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            lines == before || said.contains("built anew") || !output.status.success(),
            "{lines} of {before} events, and nothing says that some are missing: {said}"
        );
        (lines == before).then_some(())
    });
    assert_eq!(
        metric(&server, "verbatim_search_partitions_set_aside_total").await,
        Some(1.0)
    );
    let aside = std::fs::read_dir(server.data().join("index")).expect("reads");
    let aside = aside
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().contains(".corrupt-"));
    assert_eq!(
        aside.count(),
        1,
        "the damaged files are kept for whoever wants to look"
    );
}

/// Overwrites the middle of every file of stored events. Answers how many there were.
fn damage(root: &Path) -> usize {
    let mut count = 0;
    for day in std::fs::read_dir(root).expect("reads").flatten() {
        let files = std::fs::read_dir(day.path())
            .into_iter()
            .flatten()
            .flatten();
        for file in files.filter(|f| f.path().extension().is_some_and(|e| e == "store")) {
            let mut bytes = std::fs::read(file.path()).expect("reads");
            let middle = bytes.len() / 2;
            let end = (middle + 200).min(bytes.len());
            bytes[middle / 4..end].fill(0x5a);
            std::fs::remove_file(file.path()).expect("removes");
            std::fs::write(file.path(), bytes).expect("writes");
            count += 1;
        }
    }
    count
}

/// The events that a real kube-apiserver wrote, with times in place of the recording's marks.
pub(crate) fn recorded_by_kube_apiserver() -> Vec<String> {
    let path = project().join("tests/golden/recorded/70-audit.events.json");
    let text = std::fs::read_to_string(path).expect("the recording");
    let groups: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let mut lines = Vec::new();
    for group in &groups {
        for event in group["events"].as_array().expect("events") {
            let mut event = event.clone();
            let n = lines.len();
            let time = format!("2026-02-01T10:{:02}:{:02}.{n:06}Z", n / 60 % 60, n % 60);
            for key in ["requestReceivedTimestamp", "stageTimestamp"] {
                event[key] = time.as_str().into();
            }
            lines.push(event.to_string());
        }
    }
    lines
}

fn write(folder: &Path, name: &str, text: String) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("writes");
    path
}

#[test]
fn thread_32_thread_33_a_log_of_kube_apiserver_is_imported_and_says_who_deleted_it() {
    let server = Server::start(Store::Embedded, &["--search-index-max-age=0"]);
    let folder = tempfile::tempdir().expect("a folder");
    let lines = recorded_by_kube_apiserver();
    let log = write(
        folder.path(),
        "audit.log",
        lines.join("\n") + "\nnot an event\n",
    );
    let log = log.display().to_string();
    let import = |args: &[&str]| {
        let mut all = vec!["import", &log, "--of-cluster", "old", "-o", "json"];
        all.extend_from_slice(args);
        let output = verbatim(&server, &all);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let summary: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"));
        (output.status.code(), summary)
    };
    let (code, summary) = import(&[]);
    assert_eq!(code, Some(1), "one line is bad: {summary}");
    assert_eq!(summary["events"], lines.len());
    assert_eq!(summary["bad"], 1);
    assert_eq!(summary["problems"][0]["line"], lines.len() + 1, "{summary}");
    let found = search(&server, "cluster:old");
    assert_eq!(found.len(), lines.len());
    let deleted = search(
        &server,
        "cluster:old verb:delete stage:ResponseComplete resource:configmaps",
    );
    assert!(!deleted.is_empty());
    assert!(deleted.iter().all(|e| e["user"]["username"].is_string()));
    // The same file again: nothing twice.
    let (_, again) = import(&[]);
    assert_eq!(again["events"], 0, "{again}");
    assert_eq!(again["duplicates"], lines.len());
    assert_eq!(search(&server, "cluster:old").len(), lines.len());
    // The server's own record is another log.
    let own = std::fs::read_to_string(server.data().join("audit/audit.log")).expect("reads");
    assert!(!own.contains("audit-case-001"));
}

/// What `why` says of a request.
fn why(server: &Server, args: &[&str]) -> Value {
    let mut all = vec!["why", "-o", "json"];
    all.extend_from_slice(args);
    let output = verbatim(server, &all);
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {stderr}"))
}

#[test]
fn thread_32_a_log_of_kube_apiserver_is_explained() {
    let server = Server::start(Store::Embedded, &["--search-index-max-age=0"]);
    let folder = tempfile::tempdir().expect("a folder");
    let lines = recorded_by_kube_apiserver();
    let log = write(folder.path(), "audit.log", lines.join("\n") + "\n");
    let log = log.display().to_string();
    let output = verbatim(&server, &["import", &log, "--of-cluster", "old"]);
    assert!(output.status.success(), "{output:?}");

    // All that was refused in that log, what the cause is, and a part of its words.
    let expected = [
        (
            "011",
            "already-exists",
            "certain",
            "an object of that name exists",
        ),
        ("012", "invalid", "certain", "Bad Name"),
        ("013", "bad-request", "certain", "unexpected end of JSON"),
        ("014", "not-found", "certain", "there is no such object"),
        ("015", "forbidden", "certain", "no authorizer allowed it"),
        ("016", "forbidden", "certain", "no authorizer allowed it"),
        // What was wrong with the token kube-apiserver does not tell.
        ("017", "unknown", "unknown", "does not say why"),
        (
            "020",
            "unknown-resource",
            "certain",
            "nothing is served at /nothing",
        ),
        // The pod is there, the node that it names is not.
        (
            "027",
            "not-found",
            "certain",
            "what it refers to does not exist",
        ),
        ("030", "forbidden", "certain", "no authorizer allowed it"),
        ("032", "impersonation-refused", "likely", "may not act as"),
        ("039", "media-type", "certain", "accepts none"),
        ("040", "media-type", "certain", "Content-Type"),
        ("041", "method-not-allowed", "certain", "that method"),
        ("042", "method-not-allowed", "certain", "that method"),
        ("047", "bad-request", "certain", "invalid timeout"),
        ("048", "not-found", "certain", "there is no such object"),
        ("049", "invalid", "certain", "scaleTargetRef"),
        ("050", "not-found", "certain", "there is no such object"),
    ];
    let failed = search(&server, "cluster:old code:>=400");
    let mut failed: Vec<&str> = failed
        .iter()
        .filter_map(|e| e["auditID"].as_str())
        .collect();
    failed.sort_unstable();
    failed.dedup();
    let cases = expected.map(|(case, ..)| format!("audit-case-{case}"));
    assert_eq!(failed, cases);
    for (id, (_, class, certainty, text)) in cases.iter().zip(expected) {
        let found = why(&server, &[id]);
        assert_eq!(found["class"], class, "{id}: {found:#}");
        assert_eq!(found["certainty"], certainty, "{id}: {found:#}");
        let cause = found["cause"].as_str().unwrap_or_default();
        assert!(cause.contains(text), "{id}: {cause}");
        assert_eq!(found["cluster"], "old");
        // Of the other cluster's rules, store and load this server knows nothing.
        for evidence in found["evidence"].as_array().expect("evidence") {
            let kind = evidence["kind"].as_str().unwrap_or_default();
            assert!(
                !["rbac", "store", "metric"].contains(&kind),
                "{id}: {evidence}"
            );
        }
    }
    let found = why(&server, &["audit-case-030"]);
    assert_eq!(found["caller"]["impersonating"], "eve");
    let manifests = found["manifests"].as_str().unwrap_or_default();
    assert!(manifests.contains("name: eve"), "{manifests}");
    let found = why(&server, &["audit-case-048"]);
    assert!(
        found["evidence"].to_string().contains("it was deleted"),
        "{found:#}"
    );
    // Nothing failed there that was answered.
    let found = why(&server, &["audit-case-001"]);
    assert_eq!(found["class"], "success", "{found:#}");

    // The same from the file alone.
    let output = Command::new(env!("CARGO_BIN_EXE_verbatim"))
        .args(["why", "--last", "-o", "json", "--file", &log])
        .output()
        .expect("the verbatim program to run");
    let last: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(last["metadata"]["name"], "audit-case-050");
    let args = [
        "diagnose",
        "forbidden",
        "cluster:old",
        "--from",
        "2026-02-01",
        "-o",
        "json",
    ];
    let output = verbatim(&server, &args);
    let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let groups = summary["groups"].as_array().expect("groups").iter();
    let groups = groups.map(|g| (g["class"].as_str().unwrap_or_default(), g["count"].as_u64()));
    let groups: Vec<_> = groups.collect();
    assert_eq!(
        groups,
        [("forbidden", Some(3)), ("impersonation-refused", Some(1))]
    );
}

#[test]
fn imports_into_the_data_of_a_server_that_does_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = recorded_by_kube_apiserver();
    let list: Vec<Value> = lines
        .iter()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    let list =
        serde_json::json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": list});
    let file = write(folder.path(), "list.json", format!("{list:#}"));
    let mut server = Server::start(Store::Embedded, &["--search-index-max-age=0"]);
    let data = server.data().display().to_string();
    let import = || {
        let output = Command::new(env!("CARGO_BIN_EXE_verbatim"))
            .args(["import", "--data-dir", &data, "-o", "json"])
            .arg(&file)
            .output()
            .expect("the verbatim program to run");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, _, stderr) = import();
    assert_eq!(code, Some(2), "the server has the index");
    assert!(stderr.contains("in use"), "{stderr}");
    server.kill();
    let (code, stdout, stderr) = import();
    assert_eq!(code, Some(0), "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(summary["events"], lines.len());
    server.restart();
    assert_eq!(search(&server, "user:tokenadmin time:<2026-03-01").len(), {
        let by_admin = lines
            .iter()
            .filter(|l| l.contains(r#""username":"tokenadmin""#));
        by_admin.count()
    });
}
