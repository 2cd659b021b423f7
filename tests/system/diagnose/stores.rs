//! What happens to etcd: stopped, killed, full, locked, without a majority.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lab::{Answer, Lab, Tally, write};
use crate::etcd::{Etcd, binary};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, size: usize) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "x".repeat(size)},
    })
    .to_string()
}

fn start(flags: &[&str]) -> (Etcd, Lab) {
    let etcd = Etcd::start_binary(&binary(), flags);
    let lab = Lab::start(&["--etcd-servers", etcd.endpoint()]);
    (etcd, lab)
}

/// Calls etcd's JSON gateway.
fn gateway(etcd: &Etcd, path: &str, body: &Value) -> Value {
    let output = Command::new("curl")
        .args(["-s", "--max-time", "20", "-d", &body.to_string()])
        .arg(format!("{}{path}", etcd.endpoint()))
        .output()
        .expect("curl to run; install it with: apt-get install curl");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Repeats a request until it is answered with `code`, at most a minute.
fn until(lab: &mut Lab, code: u16, mut request: impl FnMut(&mut Lab) -> Answer) -> Answer {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = request(lab);
        if answer.code == code || Instant::now() > give_up {
            return answer;
        }
    }
}

/// SIGSTOP, as a hanging disk would; then SIGKILL.
pub(super) fn slow_then_gone() -> Tally {
    let (etcd, mut lab) = start(&[]);
    lab.must("POST", MAPS, &map("a", 1));
    etcd.signal("STOP");
    let answer = lab.admin("POST", &format!("{MAPS}?timeout=1s"), &map("b", 1));
    lab.check(&answer, 504, "store-timeout", "store/create");
    let answer = lab.admin("GET", &format!("{MAPS}/a?timeout=1s"), "");
    lab.check(&answer, 504, "store-timeout", "cache/get");
    let answer = lab.admin("DELETE", &format!("{MAPS}/a?timeout=1s"), "");
    lab.check(&answer, 504, "store-timeout", "store/get");
    let answer = lab.admin("POST", MAPS, &map("c", 1));
    lab.check(&answer, 500, "store-timeout", "does not answer");
    etcd.signal("CONT");
    drop(etcd);
    let answer = until(&mut lab, 503, |lab| lab.admin("POST", MAPS, &map("d", 1)));
    lab.check(&answer, 503, "store-unreachable", "does not answer");
    let answer = lab.admin("GET", &format!("{MAPS}/a"), "");
    lab.check(&answer, 503, "store-unreachable", "");
    let answer = lab.admin("GET", &format!("{MAPS}?limit=1"), "");
    lab.check(&answer, 503, "store-unreachable", "");
    lab.tally
}

/// A small quota, filled.
pub(super) fn full() -> Tally {
    let (_etcd, mut lab) = start(&["--quota-backend-bytes=8388608"]);
    // More than etcd takes in one request, in a field whose size nobody limits.
    let template = json!({
        "apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "t"},
        "template": {"spec": {"containers": [
            {"name": "c", "image": "example.test/i:1", "args": ["x".repeat(2 * 1024 * 1024)]},
        ]}},
    });
    let file = write(lab.dir.path(), "template.json", &template.to_string());
    let body = format!("@{}", file.display());
    let answer = lab.admin("POST", "/api/v1/namespaces/default/podtemplates", &body);
    lab.check(&answer, 500, "store-too-large", "");

    let large = map("large", 900 * 1024);
    let file = write(lab.dir.path(), "large.json", &large);
    let body = format!("@{}", file.display());
    let answer = until(&mut lab, 500, |lab| {
        let answer = lab.admin("POST", MAPS, &body);
        if answer.code == 409 {
            lab.admin("DELETE", &format!("{MAPS}/large"), "");
        }
        answer
    });
    lab.check(&answer, 500, "store-no-space", "NOSPACE");
    lab.tally
}

/// etcd asks for credentials that this server does not have.
pub(super) fn locked() -> Tally {
    let (etcd, mut lab) = start(&[]);
    lab.must("POST", MAPS, &map("a", 1));
    compacted(&etcd, &mut lab);
    for (path, body) in [
        (
            "/v3/auth/user/add",
            json!({"name": "root", "password": "secret"}),
        ),
        ("/v3/auth/role/add", json!({"name": "root"})),
        (
            "/v3/auth/user/grant",
            json!({"user": "root", "role": "root"}),
        ),
        ("/v3/auth/enable", json!({})),
    ] {
        let answer = gateway(&etcd, path, &body);
        assert!(answer["header"].is_object(), "{path}: {answer}");
    }
    let answer = lab.admin("POST", MAPS, &map("b", 1));
    lab.check(&answer, 503, "store-permission-denied", "");
    let answer = lab.admin("GET", &format!("{MAPS}/a"), "");
    lab.check(&answer, 503, "store-permission-denied", "");
    lab.tally
}

/// History is forgotten, by etcd and, after a restart, by the watch cache.
fn compacted(etcd: &Etcd, lab: &mut Lab) {
    let head = gateway(etcd, "/v3/kv/range", &json!({"key": "AA=="}));
    let revision = head["header"]["revision"].as_str().expect("a revision");
    gateway(etcd, "/v3/kv/compaction", &json!({"revision": revision}));
    lab.server.kill();
    lab.server.restart();
    let path = format!("{MAPS}?resourceVersion=2&resourceVersionMatch=Exact");
    let answer = lab.admin("GET", &path, "");
    lab.check(&answer, 410, "gone", "compacted");
}

/// A second member that never comes: one of two is no majority.
pub(super) fn without_a_leader() -> Tally {
    let (etcd, mut lab) = start(&[]);
    lab.must("POST", MAPS, &map("a", 1));
    let peers = json!({"peerURLs": ["http://127.0.0.1:9"]});
    let answer = gateway(&etcd, "/v3/cluster/member/add", &peers);
    assert!(answer["member"].is_object(), "{answer}");
    // Until etcd has noticed, requests just wait.
    let answer = until(&mut lab, 503, |lab| {
        lab.admin("GET", &format!("{MAPS}/a?timeout=3s"), "")
    });
    lab.check(&answer, 503, "store-no-leader", "the store now");
    let answer = lab.admin("POST", MAPS, &map("b", 1));
    lab.check(&answer, 503, "store-no-leader", "");
    lab.tally
}
