//! Summaries over real log files, several segments and days.

use super::*;
use crate::search::IndexOptions;

fn line(n: u32, user: &str, code: u32, micros: u32, verb: &str) -> String {
    let trace = format!(
        "{{\\\"us\\\":{micros},\\\"stages\\\":[[\\\"store/get\\\",0,{},\\\"ok\\\"]]}}",
        micros / 2
    );
    format!(
        "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"auditID\":\"i{n}\",\"stage\":\"ResponseComplete\",\"verb\":\"{verb}\",\"user\":{{\"username\":\"{user}\"}},\"objectRef\":{{\"resource\":\"pods\",\"namespace\":\"n\"}},\"responseStatus\":{{\"metadata\":{{}},\"code\":{code}}},\"requestReceivedTimestamp\":\"2026-01-01T00:00:{n:02}.000000Z\",\"stageTimestamp\":\"2026-01-01T00:00:{n:02}.{micros:06}Z\",\"annotations\":{{\"audit.verbatim.dev/stages\":\"{trace}\"}}}}\n"
    )
}

#[tokio::test]
async fn counts_times_and_bars() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("audit.log");
    let mut text: String = (1..=10)
        .map(|n| line(n, "alice", 200, n * 100, "get"))
        .collect();
    text += &line(11, "bob", 403, 50, "delete");
    text += &line(12, "bob", 200, 999_999, "watch");
    std::fs::write(&log, text).expect("writes");
    let index = Index::open(&dir.path().join("index"), &log, IndexOptions::default());
    let index = index.expect("opens");
    let spec = json!({"by": ["user", "resource"], "interval": "10s", "percentiles": [50, 100]});
    let spec = Spec::parse(&spec).expect("a spec");
    let status = count(&index, &spec, None).await.expect("counts");
    assert_eq!(status["requests"], 12);
    assert_eq!(status["failures"], 1);
    assert_eq!(status["complete"], true);
    // The watch is counted, but says nothing about latency.
    assert_eq!(
        status["latency"],
        json!({"min": 50, "max": 1000, "mean": 504, "total": 5550, "percentiles": {"50": 500, "100": 1000}})
    );
    let alice = &status["groups"][0];
    assert_eq!(alice["key"], json!({"user": "alice", "resource": "pods"}));
    assert_eq!(
        (&alice["requests"], &alice["example"]),
        (&json!(10), &json!("i10"))
    );
    assert_eq!(alice["latency"]["percentiles"]["50"], 500);
    assert_eq!(status["stages"][0]["stage"], "store/get");
    assert_eq!(status["stages"][0]["requests"], 11);
    let bars: Vec<_> = status["histogram"]
        .as_array()
        .expect("bars")
        .iter()
        .map(|b| b["requests"].as_u64())
        .collect();
    assert_eq!(bars, [Some(9), Some(3)]);
    let elsewhere = count(&index, &spec, Some("other")).await.expect("counts");
    assert_eq!(elsewhere["requests"], 0);
}

#[test]
fn bad_specs_name_the_field() {
    for (spec, field) in [
        (json!({"by": ["usr"]}), "spec.by[0]"),
        (json!({"interval": "5"}), "spec.interval"),
        (json!({"from": "yesterday"}), "spec.from"),
        (json!({"percentiles": [101]}), "spec.percentiles[0]"),
        (json!({"limit": -1}), "spec.limit"),
    ] {
        let error = Spec::parse(&spec).expect_err("refused");
        let SpecError::Invalid(errors) = error else {
            panic!("{spec}: {error:?}");
        };
        assert!(
            errors.to_aggregate().contains(field),
            "{spec}: {}",
            errors.to_aggregate()
        );
    }
    let error = Spec::parse(&json!({"query": "usr:x"})).expect_err("refused");
    assert!(matches!(error, SpecError::Query(_)));
}

/// Event `n` of 300 over three days: five users, three verbs, two namespaces or none.
fn various(n: u32) -> String {
    let user = ["alice", "bob", "carol", "dave", "eve"][n as usize % 5];
    let verb = ["get", "list", "create"][n as usize % 3];
    let (day, second) = (1 + n / 100, n % 60);
    let micros = n % 7 * 1000;
    let object = match n % 4 {
        0 => r#""resource":"nodes""#.to_string(),
        1 => format!(
            r#""resource":"deployments","apiGroup":"apps","subresource":"scale","namespace":"ns-{}""#,
            n % 2
        ),
        _ => format!(r#""resource":"pods","namespace":"ns-{}""#, n % 2),
    };
    let acted_as = match user {
        "eve" => r#","impersonatedUser":{"username":"root"}"#,
        _ => "",
    };
    let trace = format!(
        r#"{{\"stages\":[[\"authentication\",0,10,\"ok\"],[\"store/get\",10,{micros},\"{}\"]]}}"#,
        if n % 2 == 1 { "notFound" } else { "ok" },
    );
    format!(
        r#"{{"auditID":"id-{n}","stage":"ResponseComplete","verb":"{verb}","user":{{"username":"{user}"}}{acted_as},"objectRef":{{{object}}},"responseStatus":{{"code":{}}},"requestReceivedTimestamp":"2026-01-{day:02}T00:00:{second:02}.000000Z","stageTimestamp":"2026-01-{day:02}T00:00:{second:02}.{micros:06}Z","annotations":{{"audit.verbatim.dev/stages":"{trace}"}}}}
"#,
        200 + n % 2 * 204,
    )
}

/// What does not count beside its request.
const OTHERS: &str = r#"{"auditID":"id-1","stage":"RequestReceived","verb":"get","user":{"username":"alice"},"objectRef":{"resource":"pods"},"requestReceivedTimestamp":"2026-01-01T00:00:01Z","stageTimestamp":"2026-01-01T00:00:01Z"}
{"auditID":"w","stage":"ResponseStarted","verb":"watch","user":{"username":"alice"},"objectRef":{"resource":"pods"},"requestReceivedTimestamp":"2026-01-01T00:00:01Z","stageTimestamp":"2026-01-01T00:00:01Z"}
"#;

async fn counted(spec: Value, namespace: Option<&str>) -> Value {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("audit.log");
    std::fs::write(&log, OTHERS).expect("writes");
    let index = Index::open(&dir.path().join("index"), &log, IndexOptions::default());
    let index = index.expect("opens");
    for part in 0..6 {
        // A commit, and so a segment, for each part.
        let mut text = std::fs::read_to_string(&log).expect("reads");
        text.extend((part * 50..part * 50 + 50).map(various));
        std::fs::write(&log, text).expect("writes");
        index.flush().await;
    }
    let spec = Spec::parse(&spec).expect("a spec");
    count(&index, &spec, namespace).await.expect("counts")
}

fn facet_of<'s>(status: &'s Value, key: &str) -> Vec<(&'s str, u64, u64)> {
    let values = status["facets"][key]["values"].as_array();
    let values = values.into_iter().flatten();
    let number = |value: &Value, name: &str| value[name].as_u64().expect("a number");
    values
        .map(|v| {
            let text = v["value"].as_str().expect("a text");
            (text, number(v, "requests"), number(v, "failures"))
        })
        .collect()
}

#[tokio::test]
async fn facets_are_exact() {
    let spec = json!({"facets": ["user", "authenticated", "code", "class", "resource", "namespace"], "skipStages": true});
    let status = counted(spec, None).await;
    assert_eq!(
        (&status["requests"], &status["failures"]),
        (&json!(300), &json!(150))
    );
    assert_eq!(
        facet_of(&status, "user"),
        [
            ("alice", 60, 30),
            ("bob", 60, 30),
            ("carol", 60, 30),
            ("dave", 60, 30),
            ("root", 60, 30)
        ]
    );
    assert!(facet_of(&status, "authenticated").contains(&("eve", 60, 30)));
    assert_eq!(
        facet_of(&status, "code"),
        [("200", 150, 0), ("404", 150, 150)]
    );
    assert_eq!(
        facet_of(&status, "class"),
        [("2xx", 150, 0), ("4xx", 150, 150)]
    );
    assert_eq!(
        facet_of(&status, "resource"),
        [
            ("pods", 150, 75),
            ("deployments.apps/scale", 75, 75),
            ("nodes", 75, 0)
        ]
    );
    assert_eq!(
        facet_of(&status, "namespace"),
        [("ns-1", 150, 150), ("", 75, 0), ("ns-0", 75, 0)]
    );
    assert!(status.get("stages").is_none() && status.get("groups").is_none());
}

#[tokio::test]
async fn only_what_matches_in_time_and_namespace_counts() {
    let spec = json!({
        "query": "user:alice", "from": "2026-01-02", "to": "2026-01-03",
        "by": ["namespace", "verb"], "facets": ["namespace"],
    });
    let status = counted(spec, Some("ns-1")).await;
    let expected = (100..200).filter(|n| n % 5 == 0 && n % 4 != 0 && n % 2 == 1);
    let expected = expected.count() as u64;
    assert_eq!(status["requests"], expected);
    assert_eq!(
        facet_of(&status, "namespace"),
        [("ns-1", expected, expected)]
    );
    let groups = status["groups"].as_array().expect("groups");
    assert_eq!(status["groupsTotal"], 3);
    let sum: u64 = groups.iter().filter_map(|g| g["requests"].as_u64()).sum();
    assert_eq!(sum, expected);
    let id = groups[0]["example"].as_str().expect("a text");
    let n: u32 = id[3..].parse().expect("a number");
    assert!((100..200).contains(&n) && n.is_multiple_of(5), "{id}");
}

#[tokio::test]
async fn bars_and_stages_over_days() {
    let status = counted(json!({"interval": "24h", "by": ["verb"]}), None).await;
    let bars = status["histogram"].as_array().expect("bars");
    assert_eq!(bars.len(), 3);
    assert_eq!(
        bars[0],
        json!({"from": "2026-01-01T00:00:00.000000Z", "requests": 100, "failures": 50})
    );
    let stages = status["stages"].as_array().expect("stages");
    let names: Vec<&Value> = stages.iter().map(|s| &s["stage"]).collect();
    assert_eq!(names, ["store/get", "authentication"]);
    assert_eq!(
        (&stages[0]["requests"], &stages[0]["failures"]),
        (&json!(300), &json!(150))
    );
    assert_eq!(stages[0]["latency"]["max"], 6000);
    assert_eq!(stages[1]["latency"]["percentiles"]["99"], 10);
    let groups = status["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 3);
    assert!(
        groups.iter().all(|g| g["latency"]["max"] == 6000),
        "{status}"
    );
}
