//! Starts: how long until ready, and how much memory a full cache takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use etcd_client::Client;

use crate::cluster::{self, AuditSetting, Identity, Server, pod_name};
use crate::etcd::Etcd;
use crate::objects::{self, NAMESPACE, POD_BYTES};
use crate::options::Options;
use crate::processes;

/// Puts in flight while a store is filled.
const PUTS_AT_ONCE: usize = 64;
/// Longest wait for the cache of pods.
const CACHE_WAIT: Duration = Duration::from_secs(120);

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The embedded store, empty.
    Empty,
    /// etcd with 50,000 pods.
    Full,
}

/// What it came to.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    pub(crate) start: Start,
    /// From the start of the process until it says that it serves.
    pub(crate) ready_ms: Vec<f64>,
    /// Until the cache of pods answered, from the start of the process.
    pub(crate) cached_ms: Vec<f64>,
    pub(crate) resident_mb: Vec<f64>,
}

impl Start {
    pub(crate) const ALL: [Start; 2] = [Start::Empty, Start::Full];

    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Start::Empty => "start-empty",
            Start::Full => "start-full",
        }
    }
}

/// Starts a server as often as there are rounds.
pub(crate) async fn measure(start: Start, options: &Options) -> Result<Started> {
    let dir = cluster::folder()?;
    let identity = Identity::new()?;
    let etcd = match start {
        Start::Empty => None,
        Start::Full => Some(filled(&dir.path().join("filler"), &identity, options).await?),
    };
    let mut out = Started {
        start,
        ready_ms: Vec::new(),
        cached_ms: Vec::new(),
        resident_mb: Vec::new(),
    };
    for round in 0..options.rounds {
        let place = dir.path().join(format!("{round}"));
        std::fs::create_dir_all(&place)?;
        let mut flags = cluster::audit_flags(&place, AuditSetting::Metadata)?;
        if let Some(etcd) = &etcd {
            flags.push(format!("--etcd-servers={}", etcd.endpoint()));
        }
        let began = Instant::now();
        let server = Server::start(&place, &identity, &flags)?;
        out.ready_ms.push(began.elapsed().as_secs_f64() * 1e3);
        let pods = match start {
            Start::Empty => 0,
            Start::Full => options.stored_pods,
        };
        wait_for_pods(&server, pods).await?;
        out.cached_ms.push(began.elapsed().as_secs_f64() * 1e3);
        processes::idle(server.pid()).await;
        out.resident_mb.push(processes::resident_mb(server.pid()));
        eprintln!("{}: {out:?}", start.name());
    }
    Ok(out)
}

/// Until the cache of pods says that it was filled (a read before would be answered by the store), and
/// lists that many.
async fn wait_for_pods(server: &Server, pods: usize) -> Result<()> {
    let give_up = Instant::now() + CACHE_WAIT;
    while !is_filled(&server.administer("GET", "/metrics", "").await?) {
        if Instant::now() > give_up {
            bail!("the cache of pods was not filled in {CACHE_WAIT:?}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?limit=1");
    let list = server.administer("GET", &path, "").await;
    if pods == 0 {
        return Ok(());
    }
    let list: serde_json::Value = serde_json::from_slice(&list?)?;
    let shown = list["items"].as_array().map_or(0, Vec::len);
    let more = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
    if shown + (more as usize) < pods {
        bail!("the cache has {} pods of {pods}", shown + more as usize);
    }
    Ok(())
}

/// Whether the metrics say that the cache of pods was filled.
fn is_filled(metrics: &[u8]) -> bool {
    const FILLED: &str =
        "apiserver_watch_cache_initializations_total{group=\"\",resource=\"pods\"} ";
    let metrics = String::from_utf8_lossy(metrics);
    let count = metrics.lines().find_map(|line| line.strip_prefix(FILLED));
    count.is_some_and(|count| count != "0")
}

/// An etcd with pods as a server stored one.
async fn filled(dir: &std::path::Path, identity: &Identity, options: &Options) -> Result<Etcd> {
    let etcd = Etcd::start();
    let template = {
        std::fs::create_dir_all(dir)?;
        let mut flags = cluster::audit_flags(dir, AuditSetting::Off)?;
        flags.push(format!("--etcd-servers={}", etcd.endpoint()));
        let server = Server::start(dir, identity, &flags)?;
        for (path, body) in objects::setup() {
            server.administer("POST", &path, &body).await?;
        }
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        let measured = objects::pod("measured", 0);
        let bare = server.administer("POST", &path, &measured).await?.len();
        let padding = POD_BYTES.saturating_sub(bare);
        let body = objects::pod(&pod_name(0), padding);
        server.administer("POST", &path, &body).await?;
        server
            .administer("DELETE", &format!("{path}/measured"), "")
            .await?;
        let mut client = Client::connect([etcd.endpoint()], None).await?;
        let key = format!("/registry/pods/{NAMESPACE}/{}", pod_name(0));
        let got = client.get(key, None).await?;
        let kv = got.kvs().first().context("the stored pod")?;
        String::from_utf8(kv.value().to_vec())?
    };
    let client = Client::connect([etcd.endpoint()], None).await?;
    let template = &template;
    let puts = (0..PUTS_AT_ONCE).map(|worker| {
        let mut kv = client.kv_client();
        async move {
            for n in (worker..options.stored_pods).step_by(PUTS_AT_ONCE) {
                let name = pod_name(n);
                let value = template.replace(&pod_name(0), &name);
                kv.put(format!("/registry/pods/{NAMESPACE}/{name}"), value, None)
                    .await?;
            }
            anyhow::Ok(())
        }
    });
    futures::future::try_join_all(puts).await?;
    Ok(etcd)
}
