//! Aggregations over several segments and days.

use std::collections::BTreeMap;

use super::*;
use crate::search::{Index, IndexOptions, Search, Window};

const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "eve"];
const VERBS: [&str; 3] = ["get", "list", "create"];

fn line(n: u32) -> String {
    let (user, verb) = (USERS[n as usize % 5], VERBS[n as usize % 3]);
    let (day, second) = (1 + n / 100, n % 60);
    let micros = n % 7 * 1000;
    let cluster_scoped = n.is_multiple_of(4);
    let namespace = match cluster_scoped {
        true => String::new(),
        false => format!(r#","namespace":"ns-{}""#, n % 2),
    };
    let trace = format!(
        r#"{{\"stages\":[[\"authentication\",0,10,\"ok\"],[\"store/get\",10,{micros},\"ok\"]]}}"#
    );
    format!(
        r#"{{"auditID":"id-{n}","stage":"ResponseComplete","verb":"{verb}","user":{{"username":"{user}","groups":["all","g{}"]}},"objectRef":{{"resource":"pods"{namespace}}},"responseStatus":{{"code":{}}},"requestReceivedTimestamp":"2026-01-{day:02}T00:00:{second:02}.000000Z","stageTimestamp":"2026-01-{day:02}T00:00:{second:02}.{micros:06}Z","annotations":{{"audit.verbatim.dev/stages":"{trace}"}}}}
"#,
        n % 2,
        200 + n % 2 * 204,
    )
}

async fn asked(search: Search, wanted: Vec<Aggregation>) -> Aggregated {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("audit.log");
    std::fs::write(&log, "").expect("writes");
    let index = Index::open(&dir.path().join("index"), &log, IndexOptions::default());
    let index = index.expect("opens");
    for part in 0..6 {
        // A commit, and so a segment, for each part.
        let mut text = std::fs::read_to_string(&log).expect("reads");
        text.extend((part * 50..part * 50 + 50).map(line));
        std::fs::write(&log, text).expect("writes");
        index.flush().await;
    }
    index.aggregate(search, wanted).await.expect("aggregates")
}

fn top(by: &[&str], limit: usize) -> Aggregation {
    Aggregation::Top {
        by: by.iter().map(|b| b.to_string()).collect(),
        limit,
    }
}

fn rows(outcome: &Outcome) -> BTreeMap<String, u64> {
    let Outcome::Top { rows, .. } = outcome else {
        panic!("not a top list: {outcome:?}");
    };
    rows.iter().map(|r| (r.values.join("/"), r.count)).collect()
}

#[tokio::test]
async fn tops_are_exact() {
    let wanted = vec![
        top(&["user"], 2),
        top(&["namespace"], 0),
        top(&["verb", "code"], 0),
        top(&["userGroup"], 0),
    ];
    let found = asked(Search::default(), wanted).await;
    assert_eq!(found.matched, 300);
    let Outcome::Top {
        rows: users,
        distinct,
    } = &found.outcomes[0]
    else {
        panic!("not a top list");
    };
    assert_eq!((users.len(), *distinct), (2, 5));
    assert_eq!((users[0].values[0].as_str(), users[0].count), ("alice", 60));
    let namespaces = rows(&found.outcomes[1]);
    assert_eq!(namespaces[""], 75);
    assert_eq!(namespaces["ns-0"] + namespaces["ns-1"], 225);
    let pairs = rows(&found.outcomes[2]);
    assert_eq!(pairs.len(), 6);
    assert_eq!(pairs["get/200"], 50);
    assert_eq!(rows(&found.outcomes[3])["all"], 300);
}

#[tokio::test]
async fn only_matches_in_the_window_and_namespace_count() {
    let search = Search {
        query: "user:alice".into(),
        window: Window {
            from: "2026-01-02T00:00:00Z".parse().expect("a time"),
            to: "2026-01-03T00:00:00Z".parse().expect("a time"),
        },
        namespace: Some("ns-1".into()),
        ..Search::default()
    };
    let found = asked(search, vec![top(&["namespace"], 0), top(&["user"], 0)]).await;
    let expected = (100..200).filter(|n| n % 5 == 0 && n % 4 != 0 && n % 2 == 1);
    let expected = expected.count() as u64;
    assert_eq!(found.matched, expected);
    assert_eq!(
        rows(&found.outcomes[0]),
        BTreeMap::from([("ns-1".to_string(), expected)])
    );
    assert_eq!(rows(&found.outcomes[1])["alice"], expected);
}

#[tokio::test]
async fn histograms_and_durations() {
    let wanted = vec![
        Aggregation::Histogram {
            interval: Duration::days(1),
            by: Some("verb".into()),
        },
        Aggregation::Durations {
            of: Measure::Latency,
            by: vec!["verb".into()],
        },
        Aggregation::Durations {
            of: Measure::PipelineStage,
            by: Vec::new(),
        },
    ];
    let found = asked(Search::default(), wanted).await;
    let Outcome::Histogram(bars) = &found.outcomes[0] else {
        panic!("not a histogram");
    };
    assert_eq!(bars.len(), 9);
    assert_eq!(bars.iter().map(|b| b.count).sum::<u64>(), 300);
    assert_eq!(bars[0].from.to_rfc3339(), "2026-01-01T00:00:00+00:00");
    let Outcome::Durations(by_verb) = &found.outcomes[1] else {
        panic!("not durations");
    };
    assert_eq!(by_verb.len(), 3);
    assert_eq!(by_verb[0].durations.most().as_micros(), 6000);
    let Outcome::Durations(by_stage) = &found.outcomes[2] else {
        panic!("not durations");
    };
    let names: Vec<&str> = by_stage.iter().map(|r| r.values[0].as_str()).collect();
    assert_eq!(names, ["authentication", "store/get"]);
    assert_eq!(by_stage[0].durations.most().as_micros(), 10);
    assert_eq!(by_stage[1].durations.most().as_micros(), 6000);
    assert_eq!(by_stage[1].durations.count(), 300);
}

#[tokio::test]
async fn what_cannot_be_grouped_by_is_said() {
    for (field, reason) in [
        ("usr", "unknown field"),
        ("uri", "events cannot be grouped by"),
        ("text", "events cannot be grouped by"),
    ] {
        let error = check_field(field).expect_err(field).message;
        assert!(error.starts_with(reason), "{field}: {error}");
    }
    assert_eq!(check_field("username"), Ok("user"));
}
