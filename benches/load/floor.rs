//! The floors: what the same machine does, at the same time, without an API server.
//!
//! For reads a bare axum server in a process of its own, with the same TLS, allocator and bytes.
//! For writes the bare store: etcd through etcd-client, or the embedded store, in this process.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp};
use futures::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::BroadcastStream;
use verbatim::storage::Storage;
use verbatim::storage::embedded::{EmbeddedOptions, EmbeddedStore};

use crate::client::{Connection, Load, Peer};
use crate::cluster::{CONNECTIONS, Identity, UNUSED_MAX};
use crate::objects::POD_BYTES;

/// First argument of the bare server's process.
pub(crate) const COMMAND: &str = "bare-server";
/// Frames that a slow watcher may be behind.
const WATCH_BUFFER: usize = 1024;
/// Connections to etcd, as many as the server has for calls.
const ETCD_CONNECTIONS: usize = 2;

/// The bare server's process; killed when dropped.
pub(crate) struct BareServer {
    child: Child,
    pub(crate) peer: Peer,
    pub(crate) connections: Vec<Connection>,
    used: Instant,
}

impl BareServer {
    /// Starts this program as the bare server, serving the files in `bodies`.
    pub(crate) fn start(bodies: &Path, identity: &Identity) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(COMMAND)
            .arg(bodies)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().context("a piped output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        Ok(BareServer {
            child,
            peer: Peer {
                port: line.trim().parse().context("the bare server's port")?,
                certificate: identity.user.clone(),
            },
            connections: Vec::new(),
            used: Instant::now(),
        })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its connections, opened when first asked for, and anew where nobody used them.
    pub(crate) async fn connections(&mut self) -> Result<&mut Vec<Connection>> {
        if self.used.elapsed() > UNUSED_MAX {
            self.connections.clear();
        }
        self.used = Instant::now();
        while self.connections.len() < CONNECTIONS {
            self.connections.push(Connection::open(&self.peer).await?);
        }
        Ok(&mut self.connections)
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The bare server: prints its port and serves until killed.
pub(crate) fn serve(bodies: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", tcp.local_addr()?.port());
        let acceptor = TlsAcceptor::from(Arc::new(tls()?));
        let router = router(bodies)?;
        loop {
            let (stream, _) = tcp.accept().await?;
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                stream.set_nodelay(true).ok();
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = TowerToHyperService::new(router);
                // Ends when the client goes away.
                Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    })
}

fn tls() -> Result<ServerConfig> {
    let key = rcgen::KeyPair::generate()?;
    let params = rcgen::CertificateParams::new(vec!["localhost".to_string()])?;
    let certificate = params.self_signed(&key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn router(bodies: &Path) -> Result<Router> {
    let mut router = Router::new();
    for entry in std::fs::read_dir(bodies)? {
        let path = entry?.path();
        let body = Bytes::from(std::fs::read(&path)?);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        router = router.route(&format!("/{name}"), get(move || json(body.clone())));
    }
    let frame = Bytes::from(watch_frame());
    let (frames, _) = broadcast::channel::<Bytes>(WATCH_BUFFER);
    let emitted = frames.clone();
    let emit = move || {
        emitted.send(frame.clone()).ok();
        json(Bytes::new())
    };
    let watch = move || {
        let stream = BroadcastStream::new(frames.subscribe());
        let bytes = stream.filter_map(|frame| async move { frame.ok().map(Ok::<_, Infallible>) });
        std::future::ready(Response::new(Body::from_stream(bytes)))
    };
    Ok(router
        .route("/emit", post(emit))
        .route("/watch", get(watch)))
}

fn json(body: Bytes) -> std::future::Ready<Response> {
    let mut response = Response::new(Body::from(body));
    let value = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", value);
    std::future::ready(response)
}

/// As large as that of a pod.
fn watch_frame() -> Vec<u8> {
    let mut frame = vec![b'x'; POD_BYTES];
    frame.extend_from_slice(b"}\n");
    frame
}

/// A bare etcd.
pub(crate) struct BareEtcd {
    clients: Vec<Client>,
    next: Arc<AtomicU64>,
}

impl BareEtcd {
    /// Connects.
    pub(crate) async fn connect(endpoint: &str) -> Result<Self> {
        let mut clients = Vec::new();
        for _ in 0..ETCD_CONNECTIONS {
            clients.push(Client::connect([endpoint], None).await?);
        }
        Ok(BareEtcd {
            clients,
            next: Arc::default(),
        })
    }

    /// Puts of new keys, as a create is one: a transaction that compares and puts.
    pub(crate) async fn load(&self, duration: Duration) -> Result<Load> {
        let value = vec![b'x'; POD_BYTES];
        let until = Instant::now() + duration;
        let workers = (0..CONNECTIONS).map(|worker| {
            let mut kv = self.clients[worker % self.clients.len()].kv_client();
            let (next, value) = (self.next.clone(), value.clone());
            tokio::spawn(async move {
                let mut load = Load::default();
                let began = Instant::now();
                while Instant::now() < until {
                    let sent = Instant::now();
                    let key = format!("/bare/{:012}", next.fetch_add(1, Ordering::Relaxed));
                    let is_new = Compare::mod_revision(key.as_str(), CompareOp::Equal, 0);
                    let put = TxnOp::put(key, value.clone(), None);
                    kv.txn(Txn::new().when([is_new]).and_then([put])).await?;
                    load.note(sent);
                }
                load.took = began.elapsed();
                anyhow::Ok(load)
            })
        });
        joined(workers).await
    }
}

/// Creates in a bare embedded store.
pub(crate) async fn load_embedded(dir: &Path, duration: Duration) -> Result<Load> {
    let dir = tempfile::tempdir_in(dir)?;
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default())?;
    let value = Bytes::from(vec![b'x'; POD_BYTES]);
    let until = Instant::now() + duration;
    let workers = (0..CONNECTIONS).map(|worker| {
        let (store, value) = (store.clone(), value.clone());
        tokio::spawn(async move {
            let mut load = Load::default();
            let began = Instant::now();
            while Instant::now() < until {
                let sent = Instant::now();
                let key = format!("/registry/pods/bare/{worker}-{:010}", load.answered);
                store.create(&key, value.clone(), None).await?;
                load.note(sent);
            }
            load.took = began.elapsed();
            anyhow::Ok(load)
        })
    });
    let load = joined(workers).await;
    store.close().await;
    load
}

async fn joined(
    workers: impl Iterator<Item = tokio::task::JoinHandle<Result<Load>>>,
) -> Result<Load> {
    let mut whole = Load::default();
    for load in futures::future::try_join_all(workers).await? {
        whole.join(load?);
    }
    Ok(whole)
}
