//! kill -9 under concurrent writes: nothing acknowledged is lost, in the store or in the record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use crate::libraries::client;
use crate::server::{Server, Store};

const KILLS: usize = 10;
const WRITERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    let mut server = Server::start(Store::Embedded, &[]);
    let mut acknowledged = BTreeSet::new();
    for round in 0..KILLS {
        let client = client(&server).await;
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(client.clone(), round, writer, stop.clone())))
            .collect();
        // Long enough for writes to be under way, of another length every time.
        let before_the_kill = 150 + 37 * u64::try_from(round).expect("a small number");
        tokio::time::sleep(Duration::from_millis(before_the_kill)).await;
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            acknowledged.extend(writer.await.expect("a writer that did not panic"));
        }
        server.restart();
    }
    assert!(
        acknowledged.len() > KILLS,
        "only {} writes were acknowledged",
        acknowledged.len()
    );

    let maps: Api<ConfigMap> = Api::namespaced(client(&server).await, "default");
    let stored = maps.list(&ListParams::default()).await.expect("a list");
    let stored: BTreeSet<String> = stored.items.iter().map(|m| m.name_any()).collect();
    let lost: Vec<&String> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");

    let recorded = recorded(&server);
    let unrecorded: Vec<&String> = acknowledged
        .iter()
        .filter(|n| !recorded.contains(*n))
        .collect();
    assert!(
        unrecorded.is_empty(),
        "acknowledged and not in the record: {unrecorded:?}"
    );
}

/// Creates config maps until told to stop or the server is gone; answers the acknowledged names.
/// A write's name is its audit ID too.
async fn write(client: Client, round: usize, writer: usize, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("w-{round}-{writer}-{number}");
        let body = format!(r#"{{"metadata":{{"name":"{name}"}},"data":{{"k":"v"}}}}"#);
        let request = Request::post("/api/v1/namespaces/default/configmaps")
            .header("content-type", "application/json")
            .header("audit-id", &name)
            .body(body.into_bytes())
            .expect("a valid request");
        match client.request_text(request).await {
            Ok(_) => acknowledged.push(name),
            Err(_) => break,
        }
    }
    acknowledged
}

/// Audit IDs of all ResponseComplete events in the log.
fn recorded(server: &Server) -> BTreeSet<String> {
    let folder = server.data().join("audit");
    let files = std::fs::read_dir(folder).expect("the audit folder");
    let mut ids = BTreeSet::new();
    for file in files
        .flatten()
        .filter(|f| f.path().extension().is_some_and(|e| e == "log"))
    {
        let text = std::fs::read(file.path()).expect("an audit log");
        for line in String::from_utf8_lossy(&text).lines() {
            let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
                continue;
            };
            if event["stage"] == "ResponseComplete"
                && let Some(id) = event["auditID"].as_str()
            {
                ids.insert(id.to_string());
            }
        }
    }
    ids
}
