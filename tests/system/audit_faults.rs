//! What happens to the audit log when its disk is full, when somebody deletes, replaces or cuts it,
//! when its folder is gone, and when the server is killed: nothing acknowledged is missing without
//! being counted, and `verbatim verify` says what happened and where.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use kube::Client;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;

use crate::libraries::client;
use crate::server::{Server, Store};

/// Only what the tests do is recorded.
const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n\
                      - {level: Metadata, resources: [{group: '', resources: [configmaps]}], namespaces: [default]}\n\
                      - {level: None}\n";
/// A fault is noticed within this time.
const NOTICED: Duration = Duration::from_secs(1);
/// How long anything else may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const KILLS: usize = 20;
const WRITERS: usize = 6;

/// A server with an audit log in a folder of the test's own.
struct Subject {
    server: Server,
    client: Client,
    folder: PathBuf,
    next: usize,
    _dir: TempDir,
}

impl Subject {
    async fn start(extra: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let folder = dir.path().join("audit");
        Self::start_in(dir, folder, extra).await
    }

    async fn start_in(dir: TempDir, folder: PathBuf, extra: &[&str]) -> Self {
        let policy = dir.path().join("policy.yaml");
        fs::write(&policy, POLICY).expect("the policy to be written");
        let text = |path: &Path| path.display().to_string();
        let (policy, log) = (text(&policy), text(&folder.join("audit.log")));
        let mut args = vec!["--audit-policy-file", &policy, "--audit-log-path", &log];
        args.extend_from_slice(extra);
        let server = Server::start(Store::Embedded, &args);
        Subject {
            client: client(&server).await,
            server,
            folder,
            next: 0,
            _dir: dir,
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Creates a config map; answers its name, which is its audit ID too, or the refusal.
    async fn create(&mut self) -> Result<String, String> {
        self.next += 1;
        create(&self.client, &format!("w-{}", self.next)).await
    }

    async fn create_some(&mut self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(self.create().await.expect("an acknowledged write"));
        }
        names
    }

    async fn get(&self, path: &str) -> Result<String, String> {
        get(&self.client, path).await
    }

    /// The sum of a metric over the label sets that contain `label`.
    async fn metric(&self, name: &str, label: &str) -> u64 {
        let text = self.get("/metrics").await.expect("the metrics");
        let lines = text.lines().filter(|l| {
            l.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        });
        let values = lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum::<f64>() as u64
    }

    /// Waits until `is_so`, and fails if that takes longer than `limit`.
    async fn within(&self, limit: Duration, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self).await {
            assert!(began.elapsed() < limit + PATIENCE, "never: {what}");
        }
    }

    fn verify(&self, extra: &[&str]) -> (i32, Value) {
        verify(&self.folder, extra)
    }

    /// Audit IDs of the stage in all files of the log.
    fn recorded(&self, stage: &str) -> BTreeSet<String> {
        let events = events(&self.folder);
        let of_stage = events.iter().filter(|e| e["stage"] == stage);
        of_stage
            .filter_map(|e| Some(e["auditID"].as_str()?.to_string()))
            .collect()
    }
}

async fn create(client: &Client, name: &str) -> Result<String, String> {
    let body = format!(r#"{{"metadata":{{"name":"{name}"}},"data":{{"k":"v"}}}}"#);
    let request = Request::post("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/json")
        .header("audit-id", name)
        .body(body.into_bytes())
        .expect("a valid request");
    match client.request_text(request).await {
        Ok(_) => Ok(name.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

async fn get(client: &Client, path: &str) -> Result<String, String> {
    let request = Request::get(path)
        .body(Vec::new())
        .expect("a valid request");
    client
        .request_text(request)
        .await
        .map_err(|e| e.to_string())
}

fn verify(folder: &Path, extra: &[&str]) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_verbatim"))
        .args(["verify", "-o", "json"])
        .arg(folder)
        .args(extra)
        .output()
        .expect("the verbatim program to run");
    let code = output.status.code().expect("an exit code");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (code, report)
}

/// All events of all files, plain and compressed.
fn events(folder: &Path) -> Vec<Value> {
    let mut events = Vec::new();
    for entry in fs::read_dir(folder).expect("the audit folder").flatten() {
        let path = entry.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let mut text = String::new();
        let file = || fs::File::open(&path).expect("an audit log");
        match &*extension {
            "log" => file().read_to_string(&mut text),
            "gz" => flate2::read::MultiGzDecoder::new(file()).read_to_string(&mut text),
            _ => continue,
        }
        .expect("an audit log of text");
        events.extend(text.lines().filter_map(|l| serde_json::from_str(l).ok()));
    }
    events
}

fn is_of_the_server(event: &Value) -> bool {
    event["requestURI"]
        .as_str()
        .is_some_and(|uri| uri.starts_with("/audit.verbatim.dev/"))
}

fn lost_by_gaps(report: &Value) -> u64 {
    let logs = report["logs"].as_array().expect("logs");
    let gaps = logs
        .iter()
        .flat_map(|log| log["gaps"].as_array().expect("gaps"));
    gaps.map(|gap| gap["lost"].as_u64().expect("a number"))
        .sum()
}

/// A small disk. It goes when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Self {
        fs::create_dir(&at).expect("a mount point");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(&at)
            .status();
        let is_mounted = mounted.is_ok_and(|status| status.success());
        assert!(
            is_mounted,
            "mounting a small disk failed; run this test as root"
        );
        SmallDisk(at)
    }

    fn fill(&self) {
        let ballast = fs::write(self.0.join("ballast"), vec![0; 1 << 20]);
        assert!(ballast.is_err(), "the disk is small");
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("ballast")).expect("the ballast goes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thread_13_a_full_disk_in_blocking_mode_is_told_once_and_every_loss_is_counted() {
    let dir = TempDir::new().expect("a temporary folder");
    let disk = SmallDisk::mount(dir.path().join("audit"));
    let mut subject = Subject::start_in(dir, disk.0.clone(), &[]).await;
    let mut acknowledged = subject.create_some(5).await;
    disk.fill();
    // What fits into the last page is still written.
    subject
        .within(PATIENCE, "events are lost", async |s| {
            s.metric("verbatim_audit_lost_events_total", "write_failed")
                .await
                > 0
                || create(&s.client, &format!("filler-{:?}", Instant::now()))
                    .await
                    .is_err()
        })
        .await;
    acknowledged.extend(subject.create_some(10).await);
    subject
        .within(NOTICED, "readyz tells", async |s| {
            s.get("/readyz/audit-log").await.is_err()
        })
        .await;
    let told = subject
        .get("/readyz/audit-log")
        .await
        .expect_err("readyz tells");
    assert!(told.contains("No space left"), "{told}");
    assert!(subject.get("/readyz").await.is_ok(), "readyz reports only");
    assert_eq!(
        subject.metric("verbatim_audit_sink_problem", "log").await,
        1
    );
    let text = subject.server.log.lock().expect("the log").clone();
    let told = text.matches("writing the audit log failed").count();
    assert!(
        (1..=3).contains(&told),
        "told {told} times, not with each event:\n{text}"
    );
    disk.make_room();
    // The record of the gap is written without any request.
    subject
        .within(NOTICED, "the disk is used again", async |s| {
            s.get("/readyz/audit-log").await.is_ok()
        })
        .await;
    acknowledged.extend(subject.create_some(5).await);

    let lost = subject
        .metric("verbatim_audit_lost_events_total", "sink=\"log\"")
        .await;
    let emitted = subject.metric("apiserver_audit_event_total", "").await;
    let events = events(&subject.folder);
    let kept = events.iter().filter(|e| !is_of_the_server(e)).count() as u64;
    assert_eq!(
        emitted,
        kept + lost,
        "every event is in the log or counted as lost"
    );
    let recorded = subject.recorded("ResponseComplete");
    let missing = acknowledged
        .iter()
        .filter(|n| !recorded.contains(*n))
        .count() as u64;
    assert!(missing > 0 && missing <= lost, "{missing} of {lost}");
    let (code, report) = subject.verify(&[]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(lost_by_gaps(&report), lost, "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thread_18_a_full_disk_in_strict_mode_refuses_requests() {
    let dir = TempDir::new().expect("a temporary folder");
    let disk = SmallDisk::mount(dir.path().join("audit"));
    let flags = [
        "--audit-log-mode=blocking-strict",
        "--audit-log-readyz=fail",
    ];
    let mut subject = Subject::start_in(dir, disk.0.clone(), &flags).await;
    let mut acknowledged = subject.create_some(5).await;
    disk.fill();
    let mut refusal = None;
    for _ in 0..50 {
        match subject.create().await {
            Ok(name) => acknowledged.push(name),
            Err(error) => {
                refusal = Some(error);
                break;
            }
        }
    }
    let refusal = refusal.expect("a request is refused");
    assert!(refusal.contains("failed to store audit event"), "{refusal}");
    assert!(
        subject
            .metric("apiserver_audit_requests_rejected_total", "")
            .await
            > 0
    );
    subject
        .within(NOTICED, "readyz fails", async |s| {
            s.get("/readyz").await.is_err()
        })
        .await;
    disk.make_room();
    subject
        .within(NOTICED, "readyz is well again", async |s| {
            s.get("/readyz").await.is_ok()
        })
        .await;
    acknowledged.extend(subject.create_some(5).await);
    let received = subject.recorded("RequestReceived");
    let missing: Vec<&String> = acknowledged
        .iter()
        .filter(|n| !received.contains(*n))
        .collect();
    assert!(
        missing.is_empty(),
        "acknowledged without a record: {missing:?}"
    );
    let (code, report) = subject.verify(&[]);
    assert_eq!(code, 0, "{report:#}");
    let lost = subject
        .metric("verbatim_audit_lost_events_total", "sink=\"log\"")
        .await;
    assert_eq!(lost_by_gaps(&report), lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thread_18_a_deleted_log_is_noticed_within_a_second() {
    let flags = [
        "--audit-log-mode=blocking-strict",
        "--audit-log-readyz=fail",
    ];
    let mut subject = Subject::start(&flags).await;
    subject.create_some(4).await;
    let before = events(&subject.folder).len();
    fs::remove_file(subject.log()).expect("deletes the log");
    subject
        .within(NOTICED, "the deletion is counted", async |s| {
            s.metric("verbatim_audit_log_incidents_total", "deleted")
                .await
                == 1
        })
        .await;
    let told = subject
        .get("/readyz/audit-log")
        .await
        .expect_err("readyz tells");
    assert!(told.contains("was deleted with"), "{told}");
    assert!(
        subject.get("/readyz").await.is_err(),
        "readyz fails, as asked for"
    );
    let lost = subject
        .metric("verbatim_audit_lost_events_total", "replaced")
        .await;
    assert_eq!(lost, before as u64);
    let after = subject.create_some(3).await;
    let recorded = subject.recorded("ResponseComplete");
    assert!(
        after.iter().all(|n| recorded.contains(n)),
        "a new file is written"
    );

    let (code, report) = subject.verify(&[]);
    assert_eq!(code, 1, "{report:#}");
    let found = &report["logs"][0]["problems"][0];
    assert_eq!(
        (&found["kind"], &found["event"]),
        (&"missing".into(), &1.into()),
        "{report:#}"
    );
    let message = found["message"].as_str().expect("words");
    assert!(
        message.contains("the server noticed that the file was deleted"),
        "{message}"
    );
    assert_eq!(lost_by_gaps(&report), lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thread_17_a_log_that_is_replaced_or_cut_is_noticed_within_a_second() {
    let mut subject = Subject::start(&[]).await;
    subject.create_some(3).await;
    // As an outside logrotate does it, in both of its ways.
    let moved = subject.folder.join("audit.log.1");
    fs::rename(subject.log(), &moved).expect("renames the log");
    fs::write(subject.log(), "").expect("a file in its place");
    subject
        .within(NOTICED, "the move is counted", async |s| {
            s.metric("verbatim_audit_log_incidents_total", "moved")
                .await
                == 1
        })
        .await;
    subject.create_some(3).await;
    let cut = fs::OpenOptions::new()
        .write(true)
        .open(subject.log())
        .expect("opens");
    cut.set_len(0).expect("cuts the log");
    subject
        .within(NOTICED, "the cut is counted", async |s| {
            s.metric("verbatim_audit_log_incidents_total", "truncated")
                .await
                == 1
        })
        .await;
    let after = subject.create_some(3).await;
    let recorded = subject.recorded("ResponseComplete");
    assert!(after.iter().all(|n| recorded.contains(n)));
    let lost = subject
        .metric("verbatim_audit_lost_events_total", "truncated")
        .await;
    // Three writes of two events, and the record of the move.
    assert_eq!(lost, 7);
    let (code, report) = subject.verify(&[]);
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(lost_by_gaps(&report), lost, "{report:#}");
    let problems = report["logs"][0]["problems"].as_array().expect("problems");
    let messages: Vec<&str> = problems
        .iter()
        .filter_map(|p| p["message"].as_str())
        .collect();
    for part in ["that the file was moved away", "that the file was cut"] {
        assert!(
            messages.iter().any(|m| m.contains(part)),
            "{part}: {messages:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thread_18_a_folder_that_cannot_be_written_refuses_requests_in_strict_mode() {
    let mut subject = Subject::start(&["--audit-log-mode=blocking-strict"]).await;
    subject.create_some(3).await;
    // Where the folder was stands a file: nobody, root neither, can write a log there.
    fs::remove_dir_all(&subject.folder).expect("deletes the folder");
    fs::write(&subject.folder, "in the way").expect("a file in its place");
    let refusal = subject.create().await.expect_err("the request is refused");
    assert!(refusal.contains("failed to store audit event"), "{refusal}");
    subject
        .within(NOTICED, "readyz tells", async |s| {
            s.get("/readyz/audit-log").await.is_err()
        })
        .await;
    assert!(
        subject
            .metric("verbatim_audit_lost_events_total", "write_failed")
            .await
            > 0
    );
    fs::remove_file(&subject.folder).expect("the way is free");
    let name = subject.create().await.expect("the folder is made again");
    assert!(subject.recorded("ResponseComplete").contains(&name));
    let (code, report) = subject.verify(&[]);
    assert_eq!(code, 1, "what was deleted is missing: {report:#}");
    let lost = subject
        .metric("verbatim_audit_lost_events_total", "sink=\"log\"")
        .await;
    assert_eq!(lost_by_gaps(&report), lost, "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thread_17_kill_at_twenty_random_instants_loses_nothing_acknowledged() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let flags = ["--audit-log-maxsize=1", "--audit-log-compress"];
    let mut subject = Subject::start(&flags).await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..KILLS {
        let stop = Arc::new(AtomicBool::new(false));
        let client = client(&subject.server).await;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(client.clone(), round, writer, stop.clone())))
            .collect();
        // An instant among writes, not before the first.
        let instant = Duration::from_micros(rng.random_range(20_000..250_000));
        tokio::time::sleep(instant).await;
        subject.server.kill();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            acknowledged.extend(writer.await.expect("a writer that did not panic"));
        }
        let (code, report) = subject.verify(&[]);
        assert_eq!(code, 0, "seed {seed}, kill {round}: {report:#}");
        let recorded = subject.recorded("ResponseComplete");
        let missing: Vec<&String> = acknowledged.difference(&recorded).collect();
        assert!(missing.is_empty(), "seed {seed}, kill {round}: {missing:?}");
        subject.server.restart();
    }
    assert!(
        acknowledged.len() > KILLS,
        "only {} writes",
        acknowledged.len()
    );
    assert!(subject.server.terminate(), "a clean end");
    let (code, report) = subject.verify(&[]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(lost_by_gaps(&report), 0);
    let log = &report["logs"][0];
    assert!(
        log["checkpoints"]
            .as_u64()
            .is_some_and(|n| n > KILLS as u64),
        "{log:#}"
    );
}

/// Creates config maps until told to stop or the server is gone; answers the acknowledged names.
async fn write(client: Client, round: usize, writer: usize, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match create(&client, &format!("k-{round}-{writer}-{number}")).await {
            Ok(name) => acknowledged.push(name),
            Err(_) => break,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thread_31_verify_names_the_first_altered_event() {
    let dir = TempDir::new().expect("a temporary folder");
    let copy = dir.path().join("kept-elsewhere");
    let folder = dir.path().join("audit");
    let flag = format!("--audit-checkpoint-copy={}", copy.display());
    let mut subject = Subject::start_in(dir, folder, &[&flag]).await;
    let names = subject.create_some(5).await;
    assert!(subject.server.terminate(), "a clean end");
    let key = subject.server.data().join("pki/audit-checkpoint.pub");
    let (copy, key) = (copy.display().to_string(), key.display().to_string());
    let by = ["--checkpoints", &copy, "--public-key", &key];
    let (code, report) = subject.verify(&by);
    assert_eq!(code, 0, "{report:#}");

    let untouched = fs::read_to_string(subject.log()).expect("the log");
    let altered = untouched.replacen(&names[2], "someone", 1);
    fs::write(subject.log(), &altered).expect("alters the log");
    let line = 1 + untouched
        .lines()
        .position(|l| l.contains(&names[2]))
        .expect("the line");
    let output = Command::new(env!("CARGO_BIN_EXE_verbatim"))
        .arg("verify")
        .arg(&subject.folder)
        .args(by)
        .output()
        .expect("the verbatim program to run");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    let place = format!(
        "BROKEN first at {}:{line}: this line was altered",
        subject.log().display()
    );
    assert!(text.contains(&place), "{place}\n{text}");
    assert!(
        text.contains("last good checkpoint before it: 20"),
        "{text}"
    );

    // Cut together with its chain: only the copy knows.
    let chain = subject.folder.join("audit.log.chain");
    let entries = fs::read_to_string(&chain).expect("the chain");
    let lines =
        |text: &str, keep: usize| -> String { text.split_inclusive('\n').take(keep).collect() };
    fs::write(subject.log(), lines(&untouched, 4)).expect("cuts the log");
    fs::write(&chain, lines(&entries, 5)).expect("cuts the chain");
    fs::remove_file(subject.folder.join("audit.log.checkpoints")).expect("deletes");
    assert_eq!(subject.verify(&[]).0, 0, "nothing beside the log can tell");
    let (code, report) = subject.verify(&by);
    assert_eq!(code, 1, "{report:#}");
    let found = &report["logs"][0]["problems"][0];
    assert_eq!(
        (&found["kind"], &found["event"]),
        (&"cutOff".into(), &5.into()),
        "{found:#}"
    );
    let missing = subject.folder.join("nowhere");
    assert_eq!(
        verify(&missing, &[]).0,
        2,
        "what cannot be read is not called broken"
    );
}
