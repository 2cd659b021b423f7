//! The index over real log files.

use std::io::Write;
use std::path::PathBuf;

use super::*;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Bench {
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("audit.log")
    }

    fn open(&self) -> Arc<Index> {
        Index::open(
            &self.dir.path().join("index"),
            &self.log(),
            IndexOptions::default(),
        )
        .expect("opens")
    }

    fn append(&self, lines: &str) {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("opens");
        file.write_all(lines.as_bytes()).expect("writes");
    }
}

fn event(n: u32, user: &str, verb: &str, namespace: &str, code: u16) -> String {
    let day = 1 + n / 10;
    let time = format!("2026-01-{day:02}T10:00:{:02}.000000Z", n % 10);
    let late = format!("2026-01-{day:02}T10:00:{:02}.{:06}Z", n % 10, n * 10_000);
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"id-{n}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/{namespace}/secrets/s{n}","verb":"{verb}","user":{{"username":"{user}","groups":["dev","system:authenticated"]}},"sourceIPs":["10.0.0.1"],"userAgent":"kubectl/v1.33 (linux)","objectRef":{{"resource":"secrets","namespace":"{namespace}","name":"s{n}","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},"code":{code}}},"requestObject":{{"data":{{"note":"Fifteen men"}}}},"requestReceivedTimestamp":"{time}","stageTimestamp":"{late}","annotations":{{"authorization.k8s.io/decision":"allow","pod-security.kubernetes.io/exempt":"user"}}}}
"#
    )
}

async fn find(index: &Index, query: &str) -> Vec<String> {
    let search = Search {
        query: query.into(),
        limit: 100,
        ..Search::default()
    };
    let page = index.search(search).await.expect(query);
    page.hits.iter().map(name).collect()
}

fn name(hit: &Hit) -> String {
    let tree: serde_json::Value = serde_json::from_slice(&hit.event).expect("JSON");
    tree["auditID"]
        .as_str()
        .expect("an ID")
        .trim_start_matches("id-")
        .into()
}

#[tokio::test]
async fn what_was_just_written_is_found() {
    let bench = Bench::new();
    let index = bench.open();
    for (n, user, verb, ns, code) in [
        (1, "alice", "delete", "a", 200),
        (2, "bob", "get", "a", 404),
        (13, "alice", "get", "b", 403),
        (24, "system:serviceaccount:b:x", "update", "b", 500),
    ] {
        bench.append(&event(n, user, verb, ns, code));
    }
    for (query, expected) in [
        ("", "24 13 2 1"),
        ("user:alice", "13 1"),
        ("user:alice verb:delete", "1"),
        ("user:alice AND verb:DELETE", "1"),
        ("user:alice OR user:bob", "13 2 1"),
        ("user:(alice OR bob)", "13 2 1"),
        ("NOT user:alice", "24 2"),
        ("-user:alice code:404", "2"),
        ("user:system:serviceaccount:*", "24"),
        ("user:\"system:serviceaccount:b:x\"", "24"),
        ("code:[400 TO 499]", "13 2"),
        ("code:>=400", "24 13 2"),
        ("code:{403 TO *}", "24 2"),
        ("latency:>100ms", "24 13"),
        ("latency:<=20ms", "2 1"),
        ("name:s?", "2 1"),
        ("fifteen", "24 13 2 1"),
        ("\"fifteen men\" ns:b", "24 13"),
        ("fift* ns:b", "24 13"),
        ("fourteen", ""),
        (
            "annotation:\"pod-security.kubernetes.io/exempt=user\" code:500",
            "24",
        ),
        ("annotation:pod-security* code:500", "24"),
        ("userGroup:dev (code:403 OR code:404)", "13 2"),
        ("stage:responsecomplete id:id-2", "2"),
        ("group:*", ""),
        ("ns:*", "24 13 2 1"),
    ] {
        assert_eq!(find(&index, query).await.join(" "), expected, "{query}");
    }
}

#[tokio::test]
async fn pages_and_windows() {
    let bench = Bench::new();
    let index = bench.open();
    let lines: String = (0..25).map(|n| event(n, "u", "get", "a", 200)).collect();
    bench.append(&lines);
    let mut search = Search {
        limit: 7,
        ..Search::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = index.search(search.clone()).await.expect("searches");
        seen.extend(page.hits.iter().map(name));
        search.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
    search.window = Window {
        from: "2026-01-02T00:00:00Z".parse().expect("a time"),
        to: "2026-01-02T10:00:03Z".parse().expect("a time"),
    };
    let page = index.search(search.clone()).await.expect("searches");
    assert_eq!(page.hits.len(), 3);
    search.namespace = Some("b".into());
    search.window = Window::all();
    search.query = "ns:a OR user:u".into();
    let page = index.search(search).await.expect("searches");
    assert!(page.hits.is_empty(), "another namespace is never shown");
}

#[tokio::test]
async fn restarts_neither_lose_nor_double() {
    let bench = Bench::new();
    let mut n = 0;
    for round in 0..4 {
        let index = bench.open();
        for _ in 0..5 {
            bench.append(&event(n, "u", "get", "a", 200));
            n += 1;
        }
        assert_eq!(find(&index, "").await.len(), n as usize, "round {round}");
        drop(index);
        if round == 1 {
            // The crash came between the commit and the checkpoint.
            std::thread::sleep(std::time::Duration::from_millis(600));
            std::fs::remove_file(bench.dir.path().join("index/checkpoint.json"))
                .expect("was there");
        }
        // The thread that had the index must let go of its locks.
        std::thread::sleep(std::time::Duration::from_millis(600));
    }
    let index = bench.open();
    bench.append("not an event\n");
    assert_eq!(find(&index, "").await.len(), n as usize);
    assert_eq!(index.counts().1, 1);
}

#[tokio::test]
async fn a_corrupt_day_is_built_anew() {
    let bench = Bench::new();
    let lines: String = (0..20).map(|n| event(n, "u", "get", "a", 200)).collect();
    bench.append(&lines);
    let index = bench.open();
    assert_eq!(find(&index, "").await.len(), 20);
    drop(index);
    std::thread::sleep(std::time::Duration::from_millis(600));
    let meta = bench.dir.path().join("index/2026-01-01/meta.json");
    std::fs::write(meta, "garbage").expect("writes");
    let index = bench.open();
    assert_eq!(find(&index, "").await.len(), 20);
}
