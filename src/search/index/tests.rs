//! The index over real log files.

use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::search::partition::FORMAT;

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
    let tree: crate::base::tree::Value = serde_json::from_slice(&hit.event).expect("JSON");
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
    let page = index.search(Search::default()).await.expect("searches");
    assert!(!page.is_behind, "{page:?}");
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
async fn what_could_not_be_indexed_is_told_and_found_later() {
    let bench = Bench::new();
    let index = bench.open();
    // Where the index of a day should be something else stands.
    let there = bench.dir.path().join("index/2026-01-03");
    std::fs::write(&there, "in the way").expect("writes");
    for n in [1, 13, 24] {
        bench.append(&event(n, "u", "get", "a", 200));
    }
    let page = index.search(Search::default()).await.expect("searches");
    assert!(page.is_behind, "{page:?}");
    std::fs::remove_file(&there).expect("deletes");
    let page = loop {
        let search = Search {
            limit: 10,
            ..Search::default()
        };
        let page = index.search(search).await.expect("searches");
        if !page.is_behind {
            break page;
        }
    };
    let found: Vec<String> = page.hits.iter().map(name).collect();
    assert_eq!(found, ["24", "13", "1"]);
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
            drop(bench.open());
            std::fs::remove_file(bench.dir.path().join("index/checkpoint.json"))
                .expect("was there");
        }
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
    drop(bench.open());
    let meta = bench.dir.path().join("index/2026-01-01/meta.json");
    std::fs::write(meta, "garbage").expect("writes");
    let index = bench.open();
    assert_eq!(find(&index, "").await.len(), 20);
}

#[tokio::test]
async fn a_day_of_another_format_is_built_anew() {
    let bench = Bench::new();
    let lines: String = (0..20).map(|n| event(n, "u", "get", "a", 200)).collect();
    bench.append(&lines);
    let index = bench.open();
    assert_eq!(find(&index, "").await.len(), 20);
    drop(index);
    drop(bench.open());
    let meta = bench.dir.path().join("index/2026-01-01/meta.json");
    let text = std::fs::read_to_string(&meta).expect("reads");
    let older = text.replace(&format!(r#"\"format\":{FORMAT},"#), "");
    assert_ne!(older, text);
    std::fs::write(meta, older).expect("writes");
    let index = bench.open();
    assert_eq!(find(&index, "").await.len(), 20);
    assert_eq!(index.shared.metrics.set_aside.get(), 1);
}

/// An event of a day before today, with the audit ID `id-<days>-<n>`.
fn recent(days_ago: i64, n: u32) -> String {
    let time = Utc::now() - chrono::Duration::days(days_ago);
    let time = time.format("%Y-%m-%dT%H:%M:%S%.6fZ");
    format!(
        r#"{{"auditID":"id-{days_ago}-{n}","stage":"ResponseComplete","verb":"get","requestReceivedTimestamp":"{time}","stageTimestamp":"{time}"}}
"#
    )
}

async fn reopened(bench: &Bench, options: IndexOptions) -> Arc<Index> {
    Index::open(&bench.dir.path().join("index"), &bench.log(), options).expect("opens")
}

#[tokio::test]
async fn thread_09_events_stay_as_long_as_they_should() {
    let bench = Bench::new();
    for days_ago in [6, 3, 1, 0] {
        bench.append(&recent(days_ago, 0));
    }
    let index = bench.open();
    assert_eq!(find(&index, "").await.len(), 4);
    drop(index);
    let options = IndexOptions {
        max_age_days: 3,
        ..IndexOptions::default()
    };
    let index = reopened(&bench, options.clone()).await;
    assert_eq!(find(&index, "").await, ["0-0", "1-0", "3-0"]);
    // What is too old already does not come back, not even from a log that is read anew.
    bench.append(&recent(5, 1));
    assert_eq!(find(&index, "").await.len(), 3);
    drop(index);
    std::fs::remove_file(bench.dir.path().join("index/checkpoint.json")).expect("was there");
    let index = reopened(&bench, options).await;
    assert_eq!(find(&index, "").await.len(), 3);
    drop(index);
    // Too large: the oldest days go, today never.
    let options = IndexOptions {
        max_bytes: 1,
        ..IndexOptions::default()
    };
    let index = reopened(&bench, options).await;
    assert_eq!(find(&index, "").await, ["0-0"]);
    let log = std::fs::read_to_string(bench.log()).expect("reads");
    assert_eq!(log.lines().count(), 5, "the log has its own limits");
}

#[tokio::test]
async fn what_cannot_be_written_now_is_indexed_later() {
    let bench = Bench::new();
    let index = bench.open();
    bench.append(&event(0, "u", "get", "a", 200));
    assert_eq!(find(&index, "").await.len(), 1);
    // Where the next day should be made there is something in the way, as a full disk would be.
    let obstacle = bench.dir.path().join("index/2026-01-02");
    std::fs::write(&obstacle, "in the way").expect("writes");
    bench.append(&event(1, "u", "get", "a", 200));
    bench.append(&event(12, "u", "get", "a", 200));
    let found = find(&index, "").await;
    assert!(!found.contains(&"12".to_string()), "{found:?}");
    std::fs::remove_file(&obstacle).expect("removes");
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while find(&index, "").await.len() < 3 {
        assert!(std::time::Instant::now() < give_up, "never indexed");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(find(&index, "").await, ["12", "1", "0"]);
}

#[tokio::test]
async fn a_day_that_is_damaged_under_us_is_noticed_and_built_anew() {
    let bench = Bench::new();
    let lines: String = (0..20).map(|n| event(n, "u", "get", "a", 200)).collect();
    bench.append(&lines);
    let index = bench.open();
    assert_eq!(find(&index, "").await.len(), 20);
    drop(index);
    let day = bench.dir.path().join("index/2026-01-01");
    let index = bench.open();
    for file in std::fs::read_dir(&day).expect("reads").flatten() {
        if file.path().extension().is_some_and(|e| e == "store") {
            let mut bytes = std::fs::read(file.path()).expect("reads");
            let end = bytes.len().min(200);
            bytes[8..end - 40].fill(0x5a);
            std::fs::write(file.path(), bytes).expect("writes");
        }
    }
    bench.append(&event(25, "late", "get", "a", 200));
    let search = Search {
        limit: 100,
        ..Search::default()
    };
    // The first search finds the damage; from then on the day is there again, or said to be missing.
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let page = index.search(search.clone()).await.expect("searches");
        if page.hits.len() == 21 && page.rebuilding.is_empty() {
            break;
        }
        assert!(
            !page.rebuilding.is_empty(),
            "events are missing and nobody says so"
        );
        assert!(std::time::Instant::now() < give_up, "never built anew");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(index.shared.metrics.set_aside.get(), 1);
    drop(index);
    let index = bench.open();
    assert_eq!(find(&index, "").await.len(), 21);
}

#[tokio::test]
async fn several_logs_and_either_order() {
    let bench = Bench::new();
    let other = bench.dir.path().join("other.log");
    bench.append(&event(1, "u", "get", "a", 200));
    std::fs::write(
        &other,
        event(2, "u", "get", "b", 200) + &event(2, "u", "get", "b", 200),
    )
    .expect("writes");
    let source = |name: &str, path: PathBuf, cluster: Option<&str>| Source {
        name: name.into(),
        path,
        cluster: cluster.map(str::to_string),
        may_repeat: cluster.is_some(),
    };
    let sources = vec![
        source("log", bench.log(), None),
        source("other", other.clone(), Some("east")),
    ];
    let root = bench.dir.path().join("index");
    for _ in 0..2 {
        let index = Index::follow(&root, sources.clone(), IndexOptions::default());
        let index = index.expect("opens");
        assert_eq!(find(&index, "").await, ["2", "1"]);
        assert_eq!(find(&index, "cluster:east").await, ["2"]);
        assert_eq!(find(&index, "-cluster:*").await, ["1"]);
        let search = Search {
            limit: 1,
            ..Search::default()
        };
        let first = index
            .search_in(search.clone(), Direction::OldestFirst)
            .await;
        let first = first.expect("searches");
        assert_eq!(name(&first.hits[0]), "1");
        let after = Search {
            after: first.next,
            ..search
        };
        let second = index.search_in(after, Direction::OldestFirst).await;
        assert_eq!(name(&second.expect("searches").hits[0]), "2");
    }
}

#[tokio::test]
async fn events_of_one_instant_are_all_paged_through() {
    let bench = Bench::new();
    let index = bench.open();
    let line = |n: u32| {
        format!(
            "{{\"auditID\":\"id-{n}\",\"stage\":\"ResponseComplete\",\"stageTimestamp\":\"2026-01-01T00:00:00Z\"}}\n"
        )
    };
    bench.append(&(0..700).map(line).collect::<String>());
    let mut search = Search {
        limit: 9,
        ..Search::default()
    };
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let page = index.search(search.clone()).await.expect("searches");
        seen.extend(page.hits.iter().map(name));
        search.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 700);
}
