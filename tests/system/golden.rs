//! Plays tests/golden (exchanges recorded from a real kube-apiserver) against a fresh server on
//! each store. `tests/golden/floors.tsv` says how many steps of each topic must be identical and
//! have the same status (`70-audit/events`: how many audit events); the numbers may only rise. Topics without a floor are not served yet;
//! `make golden` plays them all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use crate::server::{Server, Store, project};

/// Identical steps and steps with the same status.
type Counts = (u32, u32);

#[test]
fn golden_on_the_embedded_store() {
    play(Store::Embedded);
}

#[test]
fn golden_on_etcd() {
    play(Store::Etcd);
}

fn play(store: Store) {
    let floors = floors();
    for is_alone in [false, true] {
        let floors: BTreeMap<_, _> = floors
            .iter()
            .filter(|(_, floor)| floor.is_alone == is_alone)
            .collect();
        let mut refused = String::new();
        let tries = if is_alone { TRIES_ALONE } else { 1 };
        for _ in 0..tries {
            refused = below(&floors, store);
            if refused.is_empty() {
                break;
            }
            eprintln!("below the floor on {store:?}:\n{refused}");
        }
        assert!(refused.is_empty(), "below the floor on {store:?}");
    }
}

/// The services are played again when they fall short: some steps ask for an address or a port that
/// the steps before them may have been given by chance, as on kube-apiserver (one address of 238
/// for the first service, and all that follows then differs).
const TRIES_ALONE: usize = 3;

/// Plays topics; answers what falls short and the table, or nothing.
fn below(floors: &BTreeMap<&String, &Floor>, store: Store) -> String {
    let topics: Vec<&str> = floors.keys().map(|topic| topic.as_str()).collect();
    let table = replay(store, &topics.join(","));
    let counts = parse(&table);
    let mut short = String::new();
    for (topic, floor) in floors {
        let got = counts.get(*topic).copied().unwrap_or_default();
        if got.0 < floor.counts.0 || got.1 < floor.counts.1 {
            let _ = writeln!(
                short,
                "{topic}: identical {} of at least {}, same status {} of at least {}",
                got.0, floor.counts.0, got.1, floor.counts.1
            );
        }
    }
    if short.is_empty() {
        return short;
    }
    format!("{short}\n{table}")
}

/// Plays some topics against a fresh server; answers the table and what went wrong.
fn replay(store: Store, topics: &str) -> String {
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    let golden = project().join("tests/golden");
    let keys = service_account_keys(dir.path());
    let policy = dir.path().join("policy.yaml");
    let rules = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n";
    std::fs::write(&policy, rules).expect("the policy to be written");
    let text = |path: &std::path::Path| path.display().to_string();
    let audit_log = dir.path().join("audit.log");
    let server = Server::start(
        store,
        &[
            "--token-auth-file",
            &text(&golden.join("tokens.csv")),
            "--authorization-mode",
            "Node,RBAC",
            "--enable-admission-plugins",
            "NodeRestriction",
            "--service-account-issuer",
            "https://kubernetes.default.svc",
            "--service-account-key-file",
            &keys.1,
            "--service-account-signing-key-file",
            &keys.0,
            "--service-cluster-ip-range",
            "10.0.0.0/24",
            "--allow-privileged=true",
            "--enable-bootstrap-token-auth=true",
            "--audit-policy-file",
            &text(&policy),
            "--audit-log-path",
            &text(&audit_log),
            // The group that kube-apiserver does not have, so that discovery can be compared.
            "--runtime-config",
            "audit.verbatim.dev/v1alpha1=false",
        ],
    );
    let output = Command::new("python3")
        .arg(golden.join("replay.py"))
        .args(["--url", &server.url(), "--show", "0", "--only", topics])
        .arg("--audit-log")
        .arg(&audit_log)
        .args(["--own-annotation", "audit.verbatim.dev/stages"])
        .output()
        .expect("python3 to run; install it with: apt-get install python3 python3-yaml");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n", text(&output.stdout), text(&output.stderr))
}

/// Lines like `10-crud   100/368 identical, 200 same status`.
fn parse(table: &str) -> BTreeMap<String, Counts> {
    let rows = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let topic = words.next()?;
        let (identical, _) = words.next()?.split_once('/')?;
        let same = line.split("identical,").nth(1)?.split_whitespace().next()?;
        Some((
            topic.to_string(),
            (identical.parse().ok()?, same.parse().ok()?),
        ))
    });
    rows.collect()
}

/// What a topic must reach.
struct Floor {
    counts: Counts,
    /// It has a server of its own.
    is_alone: bool,
}

fn floors() -> BTreeMap<String, Floor> {
    let text = include_str!("../golden/floors.tsv");
    let rows = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let number = |i: usize| columns[i].parse().expect("a number in floors.tsv");
        let floor = Floor {
            counts: (number(1), number(2)),
            is_alone: columns.get(3) == Some(&"alone"),
        };
        (columns[0].to_string(), floor)
    })
    .collect()
}

/// An RSA key pair as kubeadm makes it: paths of the private and the public key.
fn service_account_keys(dir: &std::path::Path) -> (String, String) {
    let (private, public) = (dir.join("sa.key"), dir.join("sa.pub"));
    let run = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output();
        let output = output.expect("openssl to run; install it with: apt-get install openssl");
        assert!(output.status.success(), "openssl {args:?}");
    };
    let (private, public) = (private.display().to_string(), public.display().to_string());
    run(&["genrsa", "-out", &private, "2048"]);
    run(&["rsa", "-in", &private, "-pubout", "-out", &public]);
    (private, public)
}
