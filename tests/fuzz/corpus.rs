//! Seeds: what the golden recordings hold, and hand-written lines for the small languages.

use std::path::Path;
use std::sync::LazyLock;

use verbatim::base::tree::{Value, from_value};

/// Seeds of one kind are that many at most, spread over all there are.
const SEEDS_MAX: usize = 1_500;

fn golden() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"))
}

fn files(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(golden().join(folder)).expect("the golden recordings");
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let texts = paths.iter().map(std::fs::read_to_string);
    texts.map(|text| text.expect("a text file")).collect()
}

/// Steps of the cases.
static STEPS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let parsed = files("cases").into_iter().filter_map(|text| {
        // A few cases hold what only Python's reader takes.
        let mut case = serde_saphyr::from_str::<Value>(&text).ok()?;
        let steps = match case.is_array() {
            true => case,
            false => case["steps"].take(),
        };
        from_value::<Vec<Value>>(steps).ok()
    });
    parsed.flatten().collect()
});

/// Objects that the reference answered.
static ANSWERED: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let answers = files("recorded")
        .into_iter()
        .flat_map(|text| serde_json::from_str::<Vec<Value>>(&text).unwrap_or_default());
    let bodies = answers.filter_map(|mut answer| match answer["body"].take() {
        body if body["kind"].is_string() && body["metadata"].is_object() => Some(body),
        _ => None,
    });
    bodies.filter(|body| body["kind"] != "Status").collect()
});

fn spread(all: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let step = all.len() / SEEDS_MAX + 1;
    all.into_iter().step_by(step).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn method(step: &Value) -> &str {
    let what = step["do"].as_str().unwrap_or_default();
    what.split(' ').next().unwrap_or_default()
}

/// Objects as sent and as answered.
pub(crate) fn objects() -> Vec<Vec<u8>> {
    let sent = STEPS.iter().map(|step| &step["body"]);
    let sent = sent.filter(|body| body["kind"].is_string());
    let all: Vec<Vec<u8>> = sent.chain(ANSWERED.iter()).map(bytes).collect();
    assert!(all.len() > 500, "the golden cases were read: {}", all.len());
    spread(all)
}

/// The same in YAML, and raw YAML bodies.
pub(crate) fn yaml() -> Vec<Vec<u8>> {
    let raw = STEPS.iter().filter_map(|step| step["raw"].as_str());
    let mut all: Vec<Vec<u8>> = raw.map(|text| text.as_bytes().to_vec()).collect();
    let bodies = STEPS.iter().map(|step| &step["body"]);
    let bodies = bodies.filter(|body| body.is_object());
    all.extend(bodies.map(verbatim::api::json::to_yaml));
    spread(all)
}

/// The same in protobuf.
pub(crate) fn protobuf() -> Vec<Vec<u8>> {
    let encoded = ANSWERED.iter().filter_map(|object| {
        let mut object = object.clone();
        let gvk = crate::targets::kind_of(&object)?;
        let schema = verbatim::api::schema::builtin(&gvk)?;
        verbatim::api::schema::normalise(&mut object, schema);
        verbatim::api::protobuf::encode(&object)
    });
    spread(encoded.map(|bytes| bytes.to_vec()).collect())
}

/// Merge and strategic patches.
pub(crate) fn patches() -> Vec<Vec<u8>> {
    let steps = STEPS.iter().filter(|step| method(step) == "PATCH");
    let bodies = steps.map(|step| &step["body"]);
    spread(bodies.filter(|body| body.is_object()).map(bytes).collect())
}

/// JSON patches.
pub(crate) fn json_patches() -> Vec<Vec<u8>> {
    let own = lines(&[
        r#"[{"op":"replace","path":"/metadata/labels/a","value":"c"},{"op":"test","path":"/kind","value":"Pod"}]"#,
        r#"[{"op":"add","path":"/spec/containers/-","value":{"name":"e","image":"i"}},{"op":"remove","path":"/spec/volumes/0"}]"#,
        r#"[{"op":"copy","from":"/spec/containers/0","path":"/spec/containers/1"},{"op":"move","from":"/metadata/labels/a","path":"/metadata/labels/a~1b~0c"}]"#,
        r#"[{"op":"add","path":"","value":null}]"#,
    ]);
    let steps = STEPS.iter().filter(|step| method(step) == "PATCH");
    let bodies = steps.map(|step| &step["body"]);
    let recorded = bodies.filter(|body| body.is_array()).map(bytes);
    own.into_iter().chain(recorded).collect()
}

/// `fieldsV1` trees.
pub(crate) fn field_sets() -> Vec<Vec<u8>> {
    let entries = ANSWERED
        .iter()
        .filter_map(|object| object["metadata"]["managedFields"].as_array());
    let sets = entries.flatten().map(|entry| bytes(&entry["fieldsV1"]));
    spread(sets.collect())
}

/// Paths with their queries.
pub(crate) fn paths() -> Vec<Vec<u8>> {
    let lines = STEPS.iter().filter_map(|step| step["do"].as_str());
    let paths = lines.filter_map(|line| line.split_once(' '));
    spread(paths.map(|(_, path)| path.as_bytes().to_vec()).collect())
}

/// Queries.
pub(crate) fn queries() -> Vec<Vec<u8>> {
    let lines = STEPS.iter().filter_map(|step| step["do"].as_str());
    let queries = lines.filter_map(|line| line.split_once('?'));
    spread(
        queries
            .map(|(_, query)| query.as_bytes().to_vec())
            .collect(),
    )
}

/// Label and field selectors.
pub(crate) fn selectors() -> Vec<Vec<u8>> {
    let own = [
        "a=b,c!=d,e in (f,g),h notin (i),j,!k",
        "x.test/y in (,)",
        "metadata.name=a,status.phase!=Running",
        "a\\=b=c\\,d",
        "a>1,b<2",
    ];
    let recorded = queries().into_iter().flat_map(|query| {
        let pairs = form_urlencoded::parse(&query).into_owned();
        let selectors = pairs.filter(|(name, _)| name.ends_with("Selector"));
        selectors
            .map(|(_, value)| value.into_bytes())
            .collect::<Vec<_>>()
    });
    own.iter()
        .map(|s| s.as_bytes().to_vec())
        .chain(recorded)
        .collect()
}

fn lines(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|line| line.as_bytes().to_vec()).collect()
}

/// Quantities, durations, times, names.
pub(crate) fn scalars() -> Vec<Vec<u8>> {
    lines(&[
        "100m",
        "1.5Gi",
        "12e6",
        "-3",
        "0.000000001",
        "1h2m3.5s",
        "-250ms",
        "2024-02-29T23:59:60Z",
        "2024-01-01T00:00:00.123456+01:00",
        "a-b.c",
        "example.com/name",
        "*.x.test",
        "10.0.0.1",
        "::ffff:1.2.3.4",
        "10.0.0.0/8",
        "*/5 1-3,7 * JAN MON#2",
        "CRON_TZ=UTC @daily",
        "https://a.test:1/p?q#f",
        "25%",
    ])
}

/// Questions to the audit index.
pub(crate) fn audit_queries() -> Vec<Vec<u8>> {
    lines(&[
        "user:alice verb:(create OR update) -namespace:kube-*",
        "code:>=400 AND NOT user:\"system:serviceaccount:a:b\"",
        "time:[2024-01-01T00:00:00Z TO *} duration:>1s",
        "resource:pods/exec name:\"a b\\\"c\" free text",
        "((a OR b) AND (c OR NOT d))",
        "code:[400 TO 499] uri:/api/v1/*",
    ])
}

/// Audit policies.
pub(crate) fn audit_policies() -> Vec<Vec<u8>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/audit-policies"));
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)
        .expect("the ready policies")
        .flatten()
    {
        let is_yaml = entry.path().extension().is_some_and(|e| e == "yaml");
        if is_yaml {
            all.push(std::fs::read(entry.path()).expect("a policy"));
        }
    }
    let whole = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Request\n  users: [a]\n  userGroups: ['system:*']\n  verbs: [get]\n  resources:\n  - {group: '', resources: [pods, 'pods/*', '*/status'], resourceNames: [x]}\n  namespaces: ['']\n- level: Metadata\n  nonResourceURLs: ['/healthz*', '*']\n  omitStages: [ResponseStarted]\n  omitManagedFields: true\n";
    all.push(whole.as_bytes().to_vec());
    all
}

/// Audit events, some with the trace that this server adds.
pub(crate) fn audit_lines() -> Vec<Vec<u8>> {
    let recorded = golden().join("recorded/70-audit.events.json");
    let text = std::fs::read_to_string(recorded).expect("the recorded events");
    let requests: Vec<Value> = serde_json::from_str(&text).expect("the events of requests");
    let events = requests.into_iter().flat_map(|mut request| {
        from_value::<Vec<Value>>(request["events"].take()).unwrap_or_default()
    });
    let trace = r#"{"us":5802,"by":"x509","rule":9,"ruleName":"writes","fieldManager":"m","stages":[["authentication",14,4,"ok","x509"],["flow-control",49,5,"ok","schema \"exempt\""],["store/create",399,5334,"error","a\\b\n"]],"running":["encode",3]}"#;
    let all = events.enumerate().map(|(at, mut event)| {
        for time in ["requestReceivedTimestamp", "stageTimestamp"] {
            event[time] = "2026-01-01T00:00:00.000000Z".into();
        }
        if at % 2 == 0 {
            event["annotations"]["audit.verbatim.dev/stages"] = trace.into();
        }
        bytes(&event)
    });
    spread(all.collect())
}
