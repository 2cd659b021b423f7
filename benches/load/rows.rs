//! The rows: what is asked, of whom, and what it came to.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::{self, Connection, KeepBody, Load, Peer};
use crate::cluster::{AuditSetting, CONNECTIONS, Cluster, Server, Store, pod_name};
use crate::floor;
use crate::objects::{self, COUNTER, MANY, NAMESPACE, SCRATCH};
use crate::options::Options;
use crate::processes::{self, Cpu};
use crate::watchers;

/// `limit` of the row LIST limit=500.
pub(crate) const LIST_LIMIT: usize = 500;
/// Requests in flight of the rows that list.
const LISTS_AT_ONCE: usize = 4;
/// HTTP/2 connections, and streams at once on each.
const HTTP2: (usize, usize) = (4, 16);
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Row {
    Get,
    GetHttp2,
    List,
    List10000,
    List500,
    Create,
    CreateConfigMap,
    Update,
    MergePatch,
    ApplyPatch,
    Delete,
    Watch300,
    Watch3000,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Variant {
    /// A bare axum server that answers the same bytes.
    BareServer,
    /// The store alone.
    BareStore(Store),
    /// Verbatim.
    Server(Store, AuditSetting),
}

impl fmt::Display for Variant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variant::BareServer => out.write_str("bare server"),
            Variant::BareStore(Store::Embedded) => out.write_str("bare embedded store"),
            Variant::BareStore(Store::Etcd) => out.write_str("bare etcd"),
            Variant::Server(Store::Embedded, audit) => write!(out, "embedded, {audit}"),
            Variant::Server(Store::Etcd, audit) => write!(out, "etcd, {audit}"),
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Requests, or delivered events, per second.
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Server CPU per request or delivered event, in microseconds.
    pub(crate) cpu_us: f64,
    /// Of that, of the threads that build the search index.
    pub(crate) index_us: f64,
    /// Resident memory of the server afterwards.
    pub(crate) resident_mb: f64,
}

use AuditSetting::{Metadata, Off, RequestResponse};
use Store::{Embedded, Etcd};

impl Row {
    /// In the table's order.
    pub(crate) const ALL: [Row; 13] = [
        Row::Get,
        Row::GetHttp2,
        Row::List,
        Row::List10000,
        Row::List500,
        Row::Create,
        Row::CreateConfigMap,
        Row::Update,
        Row::MergePatch,
        Row::ApplyPatch,
        Row::Delete,
        Row::Watch300,
        Row::Watch3000,
    ];

    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Row::Get => "get",
            Row::GetHttp2 => "get-http2",
            Row::List => "list",
            Row::List10000 => "list-10000",
            Row::List500 => "list-500",
            Row::Create => "create",
            Row::CreateConfigMap => "create-configmap",
            Row::Update => "update",
            Row::MergePatch => "merge-patch",
            Row::ApplyPatch => "apply-patch",
            Row::Delete => "delete",
            Row::Watch300 => "watch-300",
            Row::Watch3000 => "watch-3000",
        }
    }

    /// As in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Row::Get => "GET a pod",
            Row::GetHttp2 => "GET a pod, HTTP/2",
            Row::List => "LIST 1,000 pods",
            Row::List10000 => "LIST 10,000 pods",
            Row::List500 => "LIST limit=500",
            Row::Create => "CREATE a pod",
            Row::CreateConfigMap => "CREATE a config map, 1.5 KB",
            Row::Update => "UPDATE a pod",
            Row::MergePatch => "merge PATCH of a pod",
            Row::ApplyPatch => "apply PATCH of a pod",
            Row::Delete => "DELETE a pod",
            Row::Watch300 => "WATCH, 300 watchers, per event",
            Row::Watch3000 => "WATCH, 3,000 watchers, per event",
        }
    }

    /// Who is asked, the floors first.
    pub(crate) fn variants(self) -> Vec<Variant> {
        let server = Variant::Server;
        match self {
            Row::Get | Row::List => vec![
                Variant::BareServer,
                server(Embedded, Off),
                server(Embedded, Metadata),
                server(Embedded, RequestResponse),
                server(Etcd, Metadata),
            ],
            Row::GetHttp2 | Row::List10000 | Row::List500 | Row::Watch300 | Row::Watch3000 => {
                vec![
                    Variant::BareServer,
                    server(Embedded, Metadata),
                    server(Etcd, Metadata),
                ]
            }
            Row::Create | Row::Update | Row::MergePatch => vec![
                Variant::BareStore(Embedded),
                Variant::BareStore(Etcd),
                server(Embedded, Off),
                server(Embedded, Metadata),
                server(Embedded, RequestResponse),
                server(Etcd, Off),
                server(Etcd, Metadata),
                server(Etcd, RequestResponse),
            ],
            Row::CreateConfigMap | Row::ApplyPatch | Row::Delete => vec![
                Variant::BareStore(Embedded),
                Variant::BareStore(Etcd),
                server(Embedded, Metadata),
                server(Etcd, Metadata),
            ],
        }
    }

    fn watchers(self) -> Option<usize> {
        match self {
            Row::Watch300 => Some(300),
            Row::Watch3000 => Some(3000),
            _ => None,
        }
    }
}

/// All variants that some rows need, without repetition.
pub(crate) fn variants(rows: &[Row]) -> Vec<Variant> {
    let mut all: Vec<Variant> = rows.iter().flat_map(|row| row.variants()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Takes one sample.
pub(crate) async fn measure(
    cluster: &mut Cluster,
    row: Row,
    variant: Variant,
    options: &Options,
) -> Result<Sample> {
    if let Some(count) = row.watchers() {
        let count = if options.smoke { count / 10 } else { count };
        return watchers::measure(cluster, variant, count, options.duration).await;
    }
    match variant {
        Variant::BareStore(Store::Embedded) => {
            let load = floor::load_embedded(cluster.dir.path(), options.duration).await?;
            Ok(sample(load, Cpu::default(), 0))
        }
        Variant::BareStore(Store::Etcd) => {
            let etcd = cluster.bare_etcd.as_ref().context("a bare etcd")?;
            Ok(sample(
                etcd.load(options.duration).await?,
                Cpu::default(),
                0,
            ))
        }
        Variant::BareServer => {
            let bare = cluster.bare_server.as_mut().context("a bare server")?;
            let (pid, peer) = (bare.pid(), bare.peer.clone());
            let connections = bare.connections().await?;
            let paths = vec![format!("/{}", bare_body(row))];
            let before = Cpu::of(pid);
            let load = read(row, &peer, connections, &paths, options.duration).await?;
            Ok(sample(load, Cpu::of(pid).since(&before), pid))
        }
        Variant::Server(store, audit) => {
            let server = cluster.server(store, audit)?;
            measure_server(server, row, options).await
        }
    }
}

fn bare_body(row: Row) -> &'static str {
    match row {
        Row::GetHttp2 => Row::Get.name(),
        row => row.name(),
    }
}

async fn measure_server(server: &mut Server, row: Row, options: &Options) -> Result<Sample> {
    let pid = server.pid();
    let peer = server.peer.clone();
    server.connections().await?;
    if row == Row::Delete {
        // What there is to delete.
        create(server, Row::Create, options.duration).await?;
    }
    processes::idle(pid).await;
    let before = Cpu::of(pid);
    let load = match row {
        Row::Get | Row::GetHttp2 => {
            let path = |n| format!("/api/v1/namespaces/{NAMESPACE}/pods/{}", pod_name(n));
            let paths: Vec<String> = (0..server.pods.len()).map(path).collect();
            read(
                row,
                &peer,
                &mut server.connections,
                &paths,
                options.duration,
            )
            .await?
        }
        Row::List | Row::List10000 | Row::List500 => {
            let path = match row {
                Row::List10000 => format!("/api/v1/namespaces/{MANY}/pods"),
                Row::List500 => format!("/api/v1/namespaces/{NAMESPACE}/pods?limit={LIST_LIMIT}"),
                _ => format!("/api/v1/namespaces/{NAMESPACE}/pods"),
            };
            let connections = &mut server.connections;
            read(row, &peer, connections, &[path], options.duration).await?
        }
        Row::Create | Row::CreateConfigMap => create(server, row, options.duration).await?,
        Row::Delete => delete(server, options.duration).await?,
        _ => change(server, row, options.duration).await?,
    };
    processes::idle(pid).await;
    Ok(sample(load, Cpu::of(pid).since(&before), pid))
}

fn sample(mut load: Load, cpu: Cpu, pid: u32) -> Sample {
    load.latencies_us.sort_unstable();
    let quantile = |q: f64| {
        let at = (load.latencies_us.len() as f64 * q) as usize;
        let us = load.latencies_us.get(at).or(load.latencies_us.last());
        us.copied().map_or(0.0, f64::from)
    };
    let answered = load.answered.max(1) as f64;
    Sample {
        per_second: load.answered as f64 / load.took.as_secs_f64(),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        cpu_us: cpu.total * 1e6 / answered,
        index_us: cpu.of_index() * 1e6 / answered,
        resident_mb: processes::resident_mb(pid),
    }
}

/// Reads `paths` in turn.
async fn read(
    row: Row,
    peer: &Peer,
    connections: &mut [Connection],
    paths: &[String],
    duration: Duration,
) -> Result<Load> {
    let connections = match row {
        Row::GetHttp2 => return read_http2(peer, paths, duration).await,
        Row::Get => connections,
        _ => &mut connections[..LISTS_AT_ONCE],
    };
    let requests: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| client::request("GET", path, "", ""))
        .collect();
    let next = |worker: usize, n: usize| requests[(worker * 17 + n) % requests.len()].clone();
    load(connections, duration, next).await
}

async fn read_http2(peer: &Peer, paths: &[String], duration: Duration) -> Result<Load> {
    let mut workers = Vec::new();
    let until = Instant::now() + duration;
    for connection in 0..HTTP2.0 {
        let sender = client::open_http2(peer).await?;
        for stream in 0..HTTP2.1 {
            let (mut sender, paths) = (sender.clone(), paths.to_vec());
            let first = connection * HTTP2.1 + stream;
            workers.push(tokio::spawn(async move {
                let mut load = Load::default();
                let began = Instant::now();
                for n in first * 17.. {
                    if Instant::now() >= until {
                        break;
                    }
                    let sent = Instant::now();
                    let path = &paths[n % paths.len()];
                    let status = client::get_http2(&mut sender, path).await?;
                    if status != 200 {
                        bail!("{path}: {status}");
                    }
                    load.note(sent);
                }
                load.took = began.elapsed();
                Ok(load)
            }));
        }
    }
    let mut whole = Load::default();
    for load in futures::future::try_join_all(workers).await? {
        whole.join(load?);
    }
    Ok(whole)
}

async fn create(server: &mut Server, row: Row, duration: Duration) -> Result<Load> {
    let (path, is_pod) = match row {
        Row::CreateConfigMap => ("configmaps", false),
        _ => ("pods", true),
    };
    let path = format!("/api/v1/namespaces/{SCRATCH}/{path}");
    let first = server.created_total;
    server.created_total += 1;
    let name = |worker: usize, n: usize| format!("c{first}-{worker}-{n}");
    let body = match is_pod {
        true => objects::pod("NAME", 300),
        false => objects::config_map("NAME"),
    };
    let next = |worker: usize, n: usize| {
        let body = body.replacen("NAME", &name(worker, n), 1);
        client::request("POST", &path, JSON, &body)
    };
    let (load, counts) = load_counted(&mut server.connections, duration, next).await?;
    if is_pod {
        for (worker, count) in counts.into_iter().enumerate() {
            server.created[worker].extend((0..count).map(|n| name(worker, n)));
        }
    }
    Ok(load)
}

async fn delete(server: &mut Server, duration: Duration) -> Result<Load> {
    let until = Instant::now() + duration;
    let workers = server.connections.iter_mut().zip(&mut server.created);
    let workers = workers.map(|(connection, names)| async move {
        let mut load = Load::default();
        let began = Instant::now();
        while Instant::now() < until
            && let Some(name) = names.pop()
        {
            let path = format!("/api/v1/namespaces/{SCRATCH}/pods/{name}");
            let request = client::request("DELETE", &path, "", "");
            let sent = Instant::now();
            let answer = connection.call(&request, KeepBody::No).await?;
            if answer.status != 200 {
                bail!("{path}: {}", String::from_utf8_lossy(&answer.body));
            }
            load.note(sent);
        }
        load.took = began.elapsed();
        Ok(load)
    });
    let mut whole = Load::default();
    for load in futures::future::try_join_all(workers).await? {
        whole.join(load);
    }
    Ok(whole)
}

/// UPDATE and PATCH: each connection changes pods of its own.
async fn change(server: &mut Server, row: Row, duration: Duration) -> Result<Load> {
    let first = server.created_total * 1_000_000;
    server.created_total += 1;
    let pods = &server.pods;
    let next = |worker: usize, n: usize| {
        let mine = pods.len() / CONNECTIONS;
        let pod = worker + CONNECTIONS * (n % mine.max(1));
        let name = pod_name(pod);
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}");
        let counter = format!("{:010}", first + n + 1);
        match row {
            Row::Update => {
                let body = with_counter(&pods[pod], &counter);
                client::request("PUT", &path, JSON, &body)
            }
            Row::ApplyPatch => {
                let body = format!(
                    r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","annotations":{{"bench.example.com/applied":"{counter}"}}}}}}"#
                );
                let path = format!("{path}?fieldManager=bench-apply&force=true");
                client::request("PATCH", &path, APPLY, &body)
            }
            _ => merge_patch(&path, &counter),
        }
    };
    load(&mut server.connections, duration, next).await
}

/// A merge patch that changes an annotation.
pub(crate) fn merge_patch(path: &str, counter: &str) -> Vec<u8> {
    let body =
        format!(r#"{{"metadata":{{"annotations":{{"bench.example.com/counter":"{counter}"}}}}}}"#);
    client::request("PATCH", path, MERGE, &body)
}

fn with_counter(pod: &str, counter: &str) -> String {
    let key = r#""bench.example.com/counter":""#;
    let Some(at) = pod.find(key).map(|at| at + key.len()) else {
        return pod.to_string();
    };
    let mut out = pod.to_string();
    out.replace_range(at..at + COUNTER.len(), counter);
    out
}

/// Sends the requests that `next` makes, on all connections, as fast as they are answered.
async fn load(
    connections: &mut [Connection],
    duration: Duration,
    next: impl Fn(usize, usize) -> Vec<u8>,
) -> Result<Load> {
    Ok(load_counted(connections, duration, next).await?.0)
}

async fn load_counted(
    connections: &mut [Connection],
    duration: Duration,
    next: impl Fn(usize, usize) -> Vec<u8>,
) -> Result<(Load, Vec<usize>)> {
    let until = Instant::now() + duration;
    let next = &next;
    let workers = connections.iter_mut().enumerate();
    let workers = workers.map(|(worker, connection)| async move {
        let mut load = Load::default();
        let began = Instant::now();
        for n in 0.. {
            if Instant::now() >= until {
                break;
            }
            let request = next(worker, n);
            let sent = Instant::now();
            let answer = connection.call(&request, KeepBody::No).await?;
            if answer.status >= 300 {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                bail!("{}: {text}", answer.status);
            }
            load.note(sent);
        }
        load.took = began.elapsed();
        Ok(load)
    });
    let loads = futures::future::try_join_all(workers).await?;
    let counts = loads.iter().map(|load| load.answered as usize).collect();
    let mut whole = Load::default();
    loads.into_iter().for_each(|load| whole.join(load));
    Ok((whole, counts))
}
