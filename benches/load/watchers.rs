//! WATCH: many watchers, and writers that change pods at a steady pace, several at a time: in a
//! cluster, changes come in bursts (a rollout, a node's pods), from several clients at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;

use crate::client::{self, Connection, KeepBody, Peer};
use crate::cluster::{Cluster, pod_name};
use crate::objects::NAMESPACE;
use crate::processes::{self, Cpu};
use crate::rows::{Sample, Variant, merge_patch};

/// Events delivered per second, to all watchers together.
const EVENTS_PER_SECOND: f64 = 30_000.0;
/// Writers, who write at the same moments.
const WRITERS: usize = 4;
/// How long the last events may take.
const DELIVERY_WAIT: Duration = Duration::from_secs(10);
/// Connections opened at once.
const OPENING_AT_ONCE: usize = 32;
/// Ends every frame; chunk sizes end otherwise.
const FRAME_END: &[u8] = b"}\n";

/// What all watchers count together.
struct Counted {
    started: Instant,
    /// When the writer last wrote, in microseconds from the start.
    sent_us: AtomicU64,
    events: AtomicU64,
    latencies_us: AtomicU64,
    latest_us: AtomicU64,
    failed: AtomicBool,
}

/// Takes one sample.
pub(crate) async fn measure(
    cluster: &mut Cluster,
    variant: Variant,
    watchers: usize,
    duration: Duration,
) -> Result<Sample> {
    let (pid, peer, watch, writes) = match variant {
        Variant::Server(store, audit) => {
            let server = cluster.server(store, audit)?;
            let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
            let list = server
                .administer("GET", &format!("{pods}?limit=1"), "")
                .await?;
            let list: serde_json::Value = serde_json::from_slice(&list)?;
            let version = list["metadata"]["resourceVersion"].as_str();
            let version = version.context("a resourceVersion")?;
            (
                server.pid(),
                server.peer.clone(),
                format!("{pods}?watch=1&resourceVersion={version}"),
                Writes::Patch(pods),
            )
        }
        Variant::BareServer => {
            let bare = cluster.bare_server.as_ref().context("a bare server")?;
            let (pid, peer) = (bare.pid(), bare.peer.clone());
            (pid, peer, "/watch".to_string(), Writes::Emit)
        }
        Variant::BareStore(_) => bail!("stores have no watchers"),
    };
    let counted = Arc::new(Counted {
        started: Instant::now(),
        sent_us: AtomicU64::new(0),
        events: AtomicU64::new(0),
        latencies_us: AtomicU64::new(0),
        latest_us: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    });
    let mut tasks = open(&peer, &watch, watchers, &counted).await?;
    processes::idle(pid).await;
    let before = Cpu::of(pid);
    let began = Instant::now();
    let sent = writes.run(&peer, watchers, duration, &counted).await?;
    let expected = sent * watchers as u64;
    let give_up = Instant::now() + DELIVERY_WAIT;
    while counted.events.load(Ordering::Relaxed) < expected {
        if counted.failed.load(Ordering::Relaxed) || Instant::now() > give_up {
            let got = counted.events.load(Ordering::Relaxed);
            bail!("{got} of {expected} events were delivered");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    let cpu = Cpu::of(pid).since(&before);
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    let events = expected.max(1) as f64;
    Ok(Sample {
        per_second: events / took.as_secs_f64(),
        p50_us: counted.latencies_us.load(Ordering::Relaxed) as f64 / events,
        p99_us: counted.latest_us.load(Ordering::Relaxed) as f64,
        cpu_us: cpu.total * 1e6 / events,
        index_us: cpu.of_index() * 1e6 / events,
        resident_mb: processes::resident_mb(pid),
    })
}

/// How events are caused.
enum Writes {
    /// By patching pods of this collection.
    Patch(String),
    Emit,
}

impl Writes {
    /// Writes at a steady pace; answers how often.
    async fn run(
        self,
        peer: &Peer,
        watchers: usize,
        duration: Duration,
        counted: &Counted,
    ) -> Result<u64> {
        let mut connections = Vec::new();
        for _ in 0..WRITERS {
            connections.push(Connection::open(peer).await?);
        }
        let pace = (WRITERS * watchers) as f64 / EVENTS_PER_SECOND;
        let mut tick = tokio::time::interval(Duration::from_secs_f64(pace));
        let until = Instant::now() + duration;
        let mut sent = 0;
        while Instant::now() < until {
            tick.tick().await;
            counted.sent_us.store(counted.now_us(), Ordering::Relaxed);
            let writing = connections.iter_mut().enumerate();
            let writing = writing.map(|(writer, to)| self.write(writer, to, counted));
            futures::future::try_join_all(writing).await?;
            sent += WRITERS as u64;
        }
        Ok(sent)
    }

    async fn write(
        &self,
        writer: usize,
        connection: &mut Connection,
        counted: &Counted,
    ) -> Result<()> {
        let request = match self {
            Writes::Patch(pods) => {
                let now = counted.started.elapsed().as_micros();
                merge_patch(
                    &format!("{pods}/{}", pod_name(writer)),
                    &format!("w{now:09}"),
                )
            }
            Writes::Emit => client::request("POST", "/emit", "", ""),
        };
        let answer = connection.call(&request, KeepBody::No).await?;
        if answer.status != 200 {
            bail!("{}", String::from_utf8_lossy(&answer.body));
        }
        Ok(())
    }
}

impl Counted {
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note(&self, events: u64) {
        let sent = self.sent_us.load(Ordering::Relaxed);
        let latency = self.now_us().saturating_sub(sent);
        self.latencies_us
            .fetch_add(latency * events, Ordering::Relaxed);
        self.latest_us.fetch_max(latency, Ordering::Relaxed);
        self.events.fetch_add(events, Ordering::Relaxed);
    }
}

async fn open(
    peer: &Peer,
    path: &str,
    watchers: usize,
    counted: &Arc<Counted>,
) -> Result<JoinSet<()>> {
    let request = client::request("GET", path, "", "");
    let mut tasks = JoinSet::new();
    for first in (0..watchers).step_by(OPENING_AT_ONCE) {
        let opening = (first..watchers.min(first + OPENING_AT_ONCE)).map(|_| async {
            let mut connection = Connection::open(peer).await?;
            connection.open_stream(&request).await?;
            connection.shrink();
            anyhow::Ok(connection)
        });
        for connection in futures::future::try_join_all(opening).await? {
            tasks.spawn(follow(connection, counted.clone()));
        }
    }
    Ok(tasks)
}

async fn follow(mut connection: Connection, counted: Arc<Counted>) {
    let mut is_split = false;
    loop {
        let Ok(bytes) = connection.read_stream().await else {
            break;
        };
        let Some(last) = bytes.last() else {
            break;
        };
        let mut events = memchr::memmem::find_iter(bytes, FRAME_END).count() as u64;
        if is_split && bytes[0] == b'\n' {
            events += 1;
        }
        is_split = *last == b'}';
        if events > 0 {
            counted.note(events);
        }
    }
    counted.failed.store(true, Ordering::Relaxed);
}
