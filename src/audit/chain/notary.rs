//! [`Notary`]: signs checkpoints of one log and puts them where they are kept.
//!
//! A thread of its own makes log and chain durable, signs and writes; the write path only tells it how
//! far the log has come. The log sink starts it and ends it.
//!
//! The end of a file is always signed: it waits in a queue until it is, and where that is full the
//! writer signs it itself before it goes on. What is signed in between may be skipped.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::checkpoint::{Checkpoint, CheckpointKind, KeyError, SigningKey, VERSION};
use super::format::{Head, Header, checkpoints_path, now, with_suffix};
use super::writer::Chain;
use crate::audit::metrics::Metrics;
use crate::audit::sink::webhook::Poster;

/// Finished files that wait for their checkpoint. Each keeps two files open.
const FINISHED_MAX: usize = 64;
/// How long a receiver that failed is left alone.
const POST_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// A checkpoint that could not be written is tried again after this time.
const WRITE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// `--audit-checkpoint-*`.
#[derive(Clone, Default)]
pub struct NotaryOptions {
    /// The server's name in headers and checkpoints.
    pub server: String,
    /// The key; made where there is none.
    pub key_file: PathBuf,
    /// Longest time between an event and its checkpoint; zero is no limit.
    pub interval: Duration,
    /// Most events between checkpoints; zero is no limit.
    pub events: u64,
    /// A file or folder that gets every checkpoint too.
    pub copy: Option<PathBuf>,
    /// A receiver that gets them too.
    pub poster: Option<Arc<dyn Poster>>,
}

impl fmt::Debug for NotaryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotaryOptions")
            .field("server", &self.server)
            .field("key_file", &self.key_file)
            .field("copy", &self.copy)
            .finish_non_exhaustive()
    }
}

/// A place in the log, and the files that must be durable before it is signed.
#[derive(Debug)]
pub struct Place {
    header: Header,
    head: Head,
    files: Vec<File>,
}

impl Place {
    /// Where the log is now. `None` while its chain is behind.
    pub fn of(chain: &Chain, log: &File) -> Option<Self> {
        let (header, head, chain) = chain.place()?;
        let log = log.try_clone().ok()?;
        let files = vec![log, chain];
        Some(Place {
            header,
            head,
            files,
        })
    }
}

/// Signs checkpoints.
pub struct Notary {
    options: NotaryOptions,
    key: SigningKey,
    path: PathBuf,
    metrics: Metrics,
    /// Ends of files that are still to be signed, oldest first.
    finished: Mutex<VecDeque<Place>>,
    /// Held while these are signed: whoever has had it knows that none is under way.
    signing: Mutex<()>,
    wake: Condvar,
    /// Events in the last checkpoint.
    signed: AtomicU64,
    /// Held while the file is written: one line at a time.
    writing: Mutex<()>,
    post: Option<Post>,
    ended: AtomicBool,
    failing: AtomicBool,
}

impl fmt::Debug for Notary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notary").field("path", &self.path).finish()
    }
}

impl Notary {
    /// Loads or makes the key. Answers the notary and the last checkpoint of the log.
    pub fn open(
        log: &Path,
        options: NotaryOptions,
        metrics: Metrics,
    ) -> Result<(Arc<Self>, Option<Checkpoint>), KeyError> {
        let key = SigningKey::load_or_make(&options.key_file)?;
        let path = checkpoints_path(log);
        let mine = key.public();
        let last = read(&path)
            .map_err(|source| KeyError::File {
                path: path.clone(),
                source,
            })?
            .into_iter()
            .filter(|c| c.kind != CheckpointKind::Retention && c.key == mine)
            .max_by_key(|c| (c.count, c.file));
        let poster = options.poster.clone();
        let post = poster.and_then(|poster| Post::start(poster, &metrics));
        let notary = Notary {
            key,
            path,
            metrics,
            finished: Mutex::default(),
            signing: Mutex::new(()),
            wake: Condvar::new(),
            signed: AtomicU64::new(last.as_ref().map_or(0, |c| c.count)),
            writing: Mutex::new(()),
            post,
            ended: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            options,
        };
        Ok((Arc::new(notary), last))
    }

    /// Starts the thread. `place` answers where the log is, `None` once there is none.
    pub fn start(
        self: &Arc<Self>,
        place: impl Fn() -> Option<Option<Place>> + Send + 'static,
    ) -> io::Result<()> {
        let notary = self.clone();
        let thread = std::thread::Builder::new().name("audit-checkpoints".into());
        thread.spawn(move || notary.run(place)).map(drop)
    }

    fn run(&self, place: impl Fn() -> Option<Option<Place>>) {
        let interval = match self.options.interval {
            Duration::ZERO => Duration::from_secs(3600),
            some => some,
        };
        let mut due = Instant::now() + interval;
        let mut is_signed = true;
        loop {
            let has_finished = {
                let mut finished = self.finished.lock();
                let is_idle = finished.is_empty() || !is_signed;
                if is_idle && !self.ended.load(Ordering::Acquire) {
                    self.wake.wait_until(&mut finished, due);
                }
                !finished.is_empty()
            };
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            is_signed = match has_finished {
                true => self.sign_finished(),
                false => match place() {
                    Some(Some(place)) => self.sign(CheckpointKind::Periodic, &place),
                    Some(None) => false,
                    None => return,
                },
            };
            match is_signed {
                true if has_finished => {}
                true => due = Instant::now() + interval,
                false => due = Instant::now() + interval.min(WRITE_RETRY_INTERVAL),
            }
        }
    }

    /// Waits a while until the receiver has the newest checkpoint.
    pub async fn settled(&self) {
        if let Some(post) = &self.post {
            post.settled().await;
        }
    }

    /// The thread ends.
    pub fn end(&self) {
        let _finished = self.finished.lock();
        self.ended.store(true, Ordering::Release);
        self.wake.notify_all();
    }

    /// The log has come so far.
    pub fn advance(&self, count: u64) {
        let limit = self.options.events;
        if limit > 0 && count >= self.signed.load(Ordering::Relaxed) + limit {
            self.wake.notify_all();
        }
    }

    /// A file of the log is finished; its last event gets a checkpoint. Waits for the disk when too
    /// many files do.
    pub fn file_finished(&self, chain: &Chain, log: &File) {
        let Some(place) = Place::of(chain, log) else {
            let unknown = io::Error::other("the end of a file is not in its chain");
            self.count("log", Err(unknown));
            return;
        };
        let mut finished = self.finished.lock();
        if finished.len() < FINISHED_MAX {
            finished.push_back(place);
            self.wake.notify_all();
            return;
        }
        drop(finished);
        // Not by way of the thread: it may be waiting for the log, which the caller holds.
        self.sign(CheckpointKind::Rotation, &place);
    }

    /// Signs the ends of all files that wait for it. Answers whether none is left.
    pub fn sign_finished(&self) -> bool {
        let _turn = self.signing.lock();
        loop {
            let Some(place) = self.finished.lock().pop_front() else {
                return true;
            };
            if !self.sign(CheckpointKind::Rotation, &place) {
                self.finished.lock().push_front(place);
                return false;
            }
        }
    }

    /// Signs at once, unless the last checkpoint says the same. Answers whether nothing is left to
    /// sign.
    pub fn sign(&self, kind: CheckpointKind, place: &Place) -> bool {
        let count = place.head.count;
        let signed = self.signed.load(Ordering::Relaxed);
        let is_known = match kind {
            CheckpointKind::Periodic => count <= signed,
            // The end of a file is signed also when the next one has a checkpoint already.
            CheckpointKind::Rotation => count == signed,
            _ => false,
        };
        if is_known {
            return true;
        }
        for file in &place.files {
            if let Err(error) = file.sync_data() {
                return self.count("log", Err(error));
            }
        }
        let checkpoint = self.checkpoint(kind, &place.header, place.head);
        if !self.publish(&checkpoint) {
            return false;
        }
        self.signed.fetch_max(count, Ordering::Relaxed);
        true
    }

    /// Events before the first of `header` are about to be deleted.
    pub fn begins_at(&self, header: &Header) {
        let head = Head {
            count: header.first - 1,
            hash: header.previous,
            offset: 0,
        };
        let checkpoint = self.checkpoint(CheckpointKind::Retention, header, head);
        let _turn = self.writing.lock();
        let kept = self.keep_from(&checkpoint);
        self.count("log", kept);
        self.send_on(&checkpoint.sign(&self.key));
    }

    fn checkpoint(&self, kind: CheckpointKind, header: &Header, head: Head) -> Checkpoint {
        Checkpoint {
            version: VERSION.into(),
            kind,
            log: header.log.clone(),
            server: self.options.server.clone(),
            name: header.name.clone(),
            file: header.file,
            count: head.count,
            hash: head.hash,
            time: now(),
            key: self.key.public(),
        }
    }

    fn publish(&self, checkpoint: &Checkpoint) -> bool {
        let line = checkpoint.sign(&self.key);
        let _turn = self.writing.lock();
        let is_written = self.count("log", append(&self.path, &line));
        self.send_on(&line);
        is_written
    }

    /// To the second places.
    fn send_on(&self, line: &[u8]) {
        if let Some(copy) = &self.options.copy {
            self.count("copy", append(&self.copy_path(copy), line));
        }
        if let Some(post) = &self.post {
            post.send(line);
        }
    }

    /// In a folder every server and log has a file of its own.
    fn copy_path(&self, copy: &Path) -> PathBuf {
        if !copy.is_dir() {
            return copy.into();
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        copy.join(format!("{}.{name}", self.options.server))
    }

    /// Writes the file again without what is before `begin`.
    fn keep_from(&self, begin: &Checkpoint) -> io::Result<()> {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let mut kept = begin.sign(&self.key);
        for line in text.split_inclusive(|b| *b == b'\n') {
            let is_older = Checkpoint::parse(line.trim_ascii_end())
                .is_ok_and(|c| c.log == begin.log && c.count <= begin.count);
            if !is_older {
                kept.extend_from_slice(line);
            }
        }
        let partial = with_suffix(&self.path, ".new");
        fs::remove_file(&partial).ok();
        append(&partial, &kept)?;
        fs::rename(partial, &self.path)
    }

    fn count(&self, place: &str, outcome: io::Result<()>) -> bool {
        match &outcome {
            Ok(()) => self.metrics.checkpoint(place, "success"),
            Err(error) => {
                self.metrics.checkpoint(place, "error");
                if !self.failing.load(Ordering::Relaxed) {
                    tracing::error!(%error, place, "a checkpoint of the audit log cannot be kept");
                }
            }
        }
        self.failing.store(outcome.is_err(), Ordering::Relaxed);
        outcome.is_ok()
    }
}

/// Checkpoints in a file that are whole and signed, in order. No file is none.
pub fn read(path: &Path) -> io::Result<Vec<Checkpoint>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let lines = text.split(|b| *b == b'\n');
    Ok(lines.filter_map(|l| Checkpoint::parse(l).ok()).collect())
}

/// Appends a line and makes it durable. Half a line of a crash before it is closed.
fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .open(path)?;
    let length = file.metadata()?.len();
    if length > 0 {
        let mut last = [0];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut last, length - 1)?;
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
    }
    file.write_all(line)?;
    file.sync_data()
}

/// The task that posts, as the notary sees it.
struct Post {
    /// The newest checkpoint and its number. Only it waits: it covers those before it.
    newest: watch::Sender<(u64, Bytes)>,
    /// The number of the last one that was taken.
    taken: watch::Receiver<u64>,
}

impl Post {
    /// `None` outside a runtime.
    fn start(poster: Arc<dyn Poster>, metrics: &Metrics) -> Option<Self> {
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let (newest, receiver) = watch::channel((0, Bytes::new()));
        let (told, taken) = watch::channel(0);
        runtime.spawn(post(poster, receiver, told, metrics.clone()));
        Some(Post { newest, taken })
    }

    fn send(&self, line: &[u8]) {
        let line = Bytes::copy_from_slice(line);
        self.newest
            .send_modify(|newest| *newest = (newest.0 + 1, line));
    }

    async fn settled(&self) {
        let number = self.newest.borrow().0;
        let mut taken = self.taken.clone();
        let settled = taken.wait_for(|taken| *taken >= number);
        tokio::time::timeout(POST_RETRY_INTERVAL, settled)
            .await
            .ok();
    }
}

async fn post(
    poster: Arc<dyn Poster>,
    mut newest: watch::Receiver<(u64, Bytes)>,
    told: watch::Sender<u64>,
    metrics: Metrics,
) {
    while newest.changed().await.is_ok() {
        loop {
            let (number, line) = newest.borrow_and_update().clone();
            match poster.post(line).await {
                Ok(()) => {
                    metrics.checkpoint("webhook", "success");
                    told.send_replace(number);
                    break;
                }
                Err(error) => {
                    metrics.checkpoint("webhook", "error");
                    tracing::warn!(%error, "the receiver of audit checkpoints does not take them");
                }
            }
            tokio::time::sleep(POST_RETRY_INTERVAL).await;
        }
    }
}
