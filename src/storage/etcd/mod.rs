//! The etcd backend: [`Storage`] over the etcd v3 API.
//!
//! Owns the connections and the translation of calls and errors; keeps no data. `server` makes it.
//! It does not retry writes and does not fail over by policy: endpoints are balanced by the channel.
//!
//! # Invariants
//! - A write is one transaction on one key's `mod_revision`.
//! - A write whose fate is unknown answers [`Error::Uncertain`], never `Unavailable`.
//! - All pages of one list are read at one revision.
//! - A [`WatchMessage::Progress`](super::WatchMessage) is only sent when it is true, see
//!   [`version`].
//!
//! # Decisions
//! - Watches have a connection of their own: an unread stream can fill a connection's flow-control
//!   window and must not delay writes. Calls share [`EtcdOptions::connections`] others in turn.
//! - Every request demands a leader, so that a minority answers `no leader` at once instead of
//!   letting requests run into their timeout.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{
    Compare, CompareOp, GetOptions, KvClient, PutOptions, ResponseHeader, Txn, TxnOp,
    TxnOpResponse, TxnResponse,
};
use parking_lot::Mutex;

use self::connect::Connections;
use self::errors::{Call, classify};
use self::lease::Leases;
use self::version::Trust;
use super::{
    Error, Examination, Failure, Got, KeyValue, Listed, Range, Revision, Storage, StoreStatus,
    WatchStream,
};

mod connect;
mod errors;
mod examine;
mod lease;
mod list;
mod version;
mod watch;

/// PEM text, in a file or at hand.
#[derive(Clone, Debug)]
pub enum Pem {
    /// Read when connecting.
    File(PathBuf),
    /// The text itself.
    Text(Vec<u8>),
}

/// Where etcd is and how to talk to it.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// `http://host:port` or `https://host:port`, at least one, all of one scheme.
    pub endpoints: Vec<String>,
    /// Who signed etcd's certificate; the system's authorities when `None`.
    pub ca: Option<Pem>,
    /// Client certificate; needs `key`.
    pub cert: Option<Pem>,
    /// Key of the client certificate.
    pub key: Option<Pem>,
    /// How long establishing a connection may take.
    pub connect_timeout: Duration,
    /// How long one call may take.
    pub request_timeout: Duration,
    /// Connections for calls (watches have another one).
    pub connections: usize,
    /// The key read to learn the current revision and for health; need not exist, but the
    /// credentials must allow it to be read.
    pub probe_key: String,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            ca: None,
            cert: None,
            key: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            connections: 2,
            probe_key: "/registry/health".to_owned(),
        }
    }
}

/// A running etcd, or a cluster of them.
pub struct EtcdStore {
    connections: Connections,
    turn: AtomicUsize,
    leases: Leases,
    trust: Trust,
    progress: ProgressRequests,
    closed: Arc<AtomicBool>,
    options: EtcdOptions,
}

impl EtcdStore {
    /// Connects and asks every endpoint for its version.
    ///
    /// # Errors
    /// When no endpoint answers, or the options make no sense.
    pub async fn connect(options: EtcdOptions) -> Result<Arc<Self>, Error> {
        let connections = Connections::open(&options).await?;
        let store = Arc::new(Self {
            connections,
            turn: AtomicUsize::new(0),
            leases: Leases::default(),
            trust: Trust::new(options.endpoints.len()),
            progress: ProgressRequests::default(),
            closed: Arc::new(AtomicBool::new(false)),
            options,
        });
        let waiting = store.options.connect_timeout;
        store.trust.learn(&store.connections, waiting).await;
        store.current_revision().await?;
        Ok(store)
    }

    /// The connection whose turn it is.
    fn kv(&self) -> Result<KvClient, Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Ok(self.connections.kv(turn))
    }

    /// Bounds a call in time and sorts its failure.
    async fn call<T>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.options.request_timeout, work).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(classify(&error, call)),
            Err(_) => Err(call.timed_out()),
        }
    }

    /// `if mod_revision(key) == expected { then } else { get }`.
    async fn compare_and_swap(
        &self,
        key: &str,
        expected: Revision,
        then: TxnOp,
    ) -> Result<Revision, Error> {
        let is_expected = Compare::mod_revision(key, CompareOp::Equal, signed(expected));
        let txn = Txn::new()
            .when([is_expected])
            .and_then([then])
            .or_else([TxnOp::get(key, None)]);
        let mut kv = self.kv()?;
        let answer = self.call(Call::Write, kv.txn(txn)).await?;
        if answer.succeeded() {
            return Ok(revision_of(answer.header()));
        }
        Err(Error::Conflict {
            key: key.to_owned(),
            current: found(&answer)?.map(Box::new),
        })
    }

    /// Puts with a lease when there is a TTL. A shared lease may have been revoked by somebody
    /// else; then another one is taken.
    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        ttl: Option<Duration>,
    ) -> Result<Revision, Error> {
        let Some(ttl) = ttl else {
            let put = TxnOp::put(key, &value[..], None);
            return self.compare_and_swap(key, expected, put).await;
        };
        for attempt in 0.. {
            let grant = |seconds| self.call(Call::Read, self.connections.grant(seconds));
            let lease = self.leases.take(ttl, grant).await?;
            let options = PutOptions::new().with_lease(lease);
            let put = TxnOp::put(key, &value[..], Some(options));
            match self.compare_and_swap(key, expected, put).await {
                Err(error) if attempt == 0 && errors::is_lease_gone(&error) => {
                    self.leases.forget(lease);
                }
                done => return done,
            }
        }
        unreachable!("the second attempt answers")
    }

    /// The revision that only a future read lacks: tells the caller where the store is.
    async fn with_current(&self, error: Error) -> Error {
        match error {
            Error::FutureRevision { wanted, .. } => match self.current_revision().await {
                Ok(current) => Error::FutureRevision { wanted, current },
                Err(other) => other,
            },
            other => other,
        }
    }
}

#[async_trait]
impl Storage for EtcdStore {
    async fn get(&self, key: &str) -> Result<Got, Error> {
        let mut kv = self.kv()?;
        let mut answer = self.call(Call::Read, kv.get(key, None)).await?;
        let revision = revision_of(answer.header());
        let kv = answer.take_kvs().into_iter().next();
        let kv = kv.map(key_value).transpose()?;
        Ok(Got { kv, revision })
    }

    async fn list(&self, range: Range) -> Result<Listed, Error> {
        match list::list(self, &range).await {
            // Compacted between two pages: what is current can be read anew.
            Err(Error::Compacted { .. }) if range.revision == 0 => list::list(self, &range).await,
            Err(error) => Err(self.with_current(error).await),
            listed => listed,
        }
    }

    async fn create(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<Revision, Error> {
        match self.put(key, value, 0, ttl).await {
            Err(Error::Conflict { key, .. }) => Err(Error::KeyExists { key }),
            done => done,
        }
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        ttl: Option<Duration>,
    ) -> Result<Revision, Error> {
        if expected == 0 {
            // To etcd that would be a create.
            let current = self.get(key).await?.kv.map(Box::new);
            let key = key.to_owned();
            return Err(Error::Conflict { key, current });
        }
        self.put(key, value, expected, ttl).await
    }

    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision, Error> {
        let expected = if expected == 0 {
            u64::MAX >> 1
        } else {
            expected
        };
        let delete = TxnOp::delete(key, None);
        self.compare_and_swap(key, expected, delete).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, Error> {
        self.kv()?;
        let progress = self.progress.subscribe(prefix);
        let watch = self.connections.watch();
        watch::start(watch, prefix, after, progress, self.options.request_timeout).await
    }

    async fn request_progress(&self) -> Result<(), Error> {
        if self.progress_is_trustworthy() {
            self.progress.ask_all();
        }
        Ok(())
    }

    async fn request_progress_of(&self, prefix: &str) -> Result<(), Error> {
        if self.progress_is_trustworthy() {
            self.progress.ask(prefix);
        }
        Ok(())
    }

    fn progress_is_trustworthy(&self) -> bool {
        self.trust.is_given()
    }

    async fn current_revision(&self) -> Result<Revision, Error> {
        let mut kv = self.kv()?;
        let count = GetOptions::new().with_count_only();
        let work = kv.get(self.options.probe_key.as_str(), Some(count));
        let answer = self.call(Call::Read, work).await?;
        Ok(revision_of(answer.header()))
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let mut kv = self.kv()?;
        let work = kv.compact(signed(revision), None);
        match self.call(Call::Read, work).await {
            Err(Error::Compacted { .. }) | Ok(_) => Ok(()),
            Err(Error::FutureRevision { current, .. }) => {
                let wanted = revision;
                let error = Error::FutureRevision { wanted, current };
                Err(self.with_current(error).await)
            }
            Err(other) => Err(other),
        }
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        let revision = self.current_revision().await?;
        let waiting = self.options.request_timeout;
        let known = self.trust.learn(&self.connections, waiting).await;
        let (version, size_bytes) = known.unwrap_or_default();
        Ok(StoreStatus {
            backend: "etcd",
            version,
            size_bytes,
            revision,
        })
    }

    async fn examine(&self) -> Option<Examination> {
        Some(examine::examine(&self.connections, &self.options.endpoints).await)
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Ends the watches: they see their request channel close.
        self.progress.close();
    }
}

/// Requests for progress, counted per watched prefix: a watch asks etcd when its number changes.
#[derive(Default)]
struct ProgressRequests(Mutex<HashMap<Box<str>, tokio::sync::watch::Sender<u64>>>);

impl ProgressRequests {
    fn subscribe(&self, prefix: &str) -> tokio::sync::watch::Receiver<u64> {
        let mut prefixes = self.0.lock();
        // Prefixes nobody watches any more; custom resources come and go.
        prefixes.retain(|_, asked| asked.receiver_count() > 0);
        prefixes.entry(prefix.into()).or_default().subscribe()
    }

    fn ask(&self, prefix: &str) {
        if let Some(asked) = self.0.lock().get(prefix) {
            asked.send_modify(|asked| *asked += 1);
        }
    }

    fn ask_all(&self) {
        for asked in self.0.lock().values() {
            asked.send_modify(|asked| *asked += 1);
        }
    }

    fn close(&self) {
        for asked in self.0.lock().values() {
            asked.send_replace(watch::CLOSE);
        }
    }
}

fn closed() -> Error {
    Error::Unavailable {
        failure: Failure::Closed,
        reason: "store is closed".to_owned(),
    }
}

/// etcd's revisions are signed, and never negative.
fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn unsigned(revision: i64) -> Revision {
    Revision::try_from(revision).unwrap_or(0)
}

fn revision_of(header: Option<&ResponseHeader>) -> Revision {
    header.map_or(0, |header| unsigned(header.revision()))
}

fn key_value(kv: etcd_client::KeyValue) -> Result<KeyValue, Error> {
    let (mod_revision, create_revision) = (kv.mod_revision(), kv.create_revision());
    let (key, value) = kv.into_key_value();
    let key = String::from_utf8(key).map_err(|_| Error::Corrupt {
        reason: "a key is not UTF-8".to_owned(),
    })?;
    Ok(KeyValue {
        key,
        value: value.into(),
        mod_revision: unsigned(mod_revision),
        create_revision: unsigned(create_revision),
    })
}

/// What the `else` branch of a transaction got.
fn found(answer: &TxnResponse) -> Result<Option<KeyValue>, Error> {
    for response in answer.op_responses() {
        if let TxnOpResponse::Get(mut got) = response {
            return got.take_kvs().into_iter().next().map(key_value).transpose();
        }
    }
    Ok(None)
}
