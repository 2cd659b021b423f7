//! The webhook sink: batches of events as `EventList`, POSTed to the server of a kubeconfig.
//!
//! Events gather in a queue that is bounded by number and by bytes; what does not fit is lost and
//! counted at once, so memory stays bounded whatever the receiver does (kubernetes/kubernetes#85489).
//! A batch is tried five times with backoff, as upstream does (contract/audit.md §9). In the blocking
//! modes an event is a batch of its own and the request waits for it.
//!
//! What the receiver missed is told to it in a gap record once it answers again, and at once to the
//! other sinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::audit::EventBytes;
use crate::audit::config::Truncation;
use crate::audit::metrics::Metrics;
use crate::audit::own::Gap;
use crate::audit::sink::budget::{Budget, QUEUE_BYTES_MAX, Share};
use crate::audit::sink::buffered::BatchOptions;
use crate::audit::sink::throttle::Throttle;
use crate::audit::sink::{Loss, Receipt, Sink};
use crate::base::Backoff;

/// Upstream's name for this sink in metrics.
const PLUGIN: &str = "webhook";
/// How often a batch is tried.
const TRIES: u32 = 5;
/// Backoff grows by this each time.
const BACKOFF_FACTOR: f64 = 1.5;
/// And by up to this share at random.
const BACKOFF_JITTER: f64 = 0.2;
/// Longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(120);
/// Batches under way at once.
const CONCURRENT_BATCHES_MAX: usize = 10;
/// Events under way at once in the blocking modes, where each is a batch.
const CONCURRENT_EVENTS_MAX: usize = 200;
/// How every list begins.
const LIST_START: &[u8] =
    br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#;

/// Posts one body; the transport is `server`'s.
#[async_trait]
pub trait Poster: Send + Sync {
    /// An error for anything but a 2xx answer.
    async fn post(&self, body: Bytes) -> Result<(), String>;
}

/// `--audit-webhook-*`.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// What the sink is called.
    pub name: String,
    /// Requests wait until their events are delivered.
    pub is_blocking: bool,
    /// The queue and the batches.
    pub batch: BatchOptions,
    /// Wait before the second try.
    pub initial_backoff: Duration,
    /// Limits of events and batches; `None` when truncation is off.
    pub truncation: Option<Truncation>,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        WebhookOptions {
            name: PLUGIN.into(),
            is_blocking: false,
            batch: BatchOptions::webhook(),
            initial_backoff: Duration::from_secs(10),
            truncation: None,
        }
    }
}

struct Queued {
    json: Bytes,
    share: Share,
    told: Option<oneshot::Sender<Result<(), Loss>>>,
}

enum Message {
    Event(Queued),
    Flush(oneshot::Sender<()>),
}

/// The sink.
pub struct WebhookSink {
    queue: mpsc::Sender<Message>,
    account: Arc<Account>,
    options: WebhookOptions,
    budget: Budget,
}

/// What became of the events.
struct Account {
    metrics: Metrics,
    /// For the receiver.
    gap: Gap,
    /// For the other sinks.
    gap_for_others: Gap,
    /// Accepted, and neither delivered nor lost.
    outstanding: AtomicU64,
}

impl Account {
    fn lose(&self, plugin: &str, loss: Loss, events: u64) {
        self.metrics.lost(plugin, loss, events);
        self.gap.note(loss, events);
        self.gap_for_others.note(loss, events);
    }
}

impl WebhookSink {
    /// Starts the task that sends.
    pub fn start(poster: Arc<dyn Poster>, options: WebhookOptions, metrics: Metrics) -> Arc<Self> {
        let (queue, messages) = mpsc::channel(options.batch.buffer_size.max(1));
        let account = Arc::new(Account {
            metrics,
            gap: Gap::default(),
            gap_for_others: Gap::default(),
            outstanding: AtomicU64::new(0),
        });
        let sender = Arc::new(Sender {
            poster,
            options: options.clone(),
            account: account.clone(),
            under_way: AtomicU64::new(0),
            idle: Notify::new(),
        });
        let collector = Collector {
            messages,
            held: None,
            options: options.clone(),
        };
        tokio::spawn(run(sender, collector));
        Arc::new(WebhookSink {
            queue,
            account,
            options,
            budget: Budget::new(QUEUE_BYTES_MAX),
        })
    }

    fn json(&self, event: &EventBytes) -> Result<Bytes, Loss> {
        match self.options.truncation.map(|t| t.max_event_bytes) {
            Some(max) if event.json().len() > max => {
                let mut cut = event.truncated().ok_or(Loss::TooLarge)?;
                cut.pop();
                match cut.len() <= max {
                    true => Ok(cut.into()),
                    false => Err(Loss::TooLarge),
                }
            }
            _ => Ok(Bytes::copy_from_slice(event.json())),
        }
    }

    fn queue(&self, event: &EventBytes) -> Result<Receipt, (&'static str, Loss)> {
        // The room is taken before the copy is made.
        let full = ("buffered", Loss::QueueFull);
        let share = self.budget.take(event.json().len()).ok_or(full)?;
        let json = self.json(event).map_err(|loss| ("truncate", loss))?;
        let (told, outcome) = match self.options.is_blocking {
            true => {
                let (told, outcome) = oneshot::channel();
                (Some(told), Some(outcome))
            }
            false => (None, None),
        };
        let queued = Queued { json, share, told };
        self.account.outstanding.fetch_add(1, Ordering::SeqCst);
        let refusal = match self.queue.try_send(Message::Event(queued)) {
            Ok(()) => return Ok(outcome.map_or(Receipt::Done, Receipt::Pending)),
            Err(mpsc::error::TrySendError::Full(_)) => full,
            Err(mpsc::error::TrySendError::Closed(_)) => (PLUGIN, Loss::Closed),
        };
        self.account.outstanding.fetch_sub(1, Ordering::SeqCst);
        Err(refusal)
    }
}

#[async_trait]
impl Sink for WebhookSink {
    fn name(&self) -> &'static str {
        PLUGIN
    }

    fn accept(&self, event: &Arc<EventBytes>) -> Receipt {
        match self.queue(event) {
            Ok(receipt) => receipt,
            Err((plugin, loss)) => {
                self.account.lose(plugin, loss, 1);
                match self.options.is_blocking {
                    true => Receipt::Lost(loss),
                    // Batch mode promises nothing to the request.
                    false => Receipt::Done,
                }
            }
        }
    }

    fn gap_for_others(&self) -> Option<EventBytes> {
        let gap = self.account.gap_for_others.take(&self.options.name);
        gap.map(|(record, _)| record)
    }

    async fn flush(&self) {
        let (told, done) = oneshot::channel();
        if self.queue.send(Message::Flush(told)).await.is_ok() {
            done.await.ok();
        }
    }

    fn give_up(&self) {
        let left = self.account.outstanding.swap(0, Ordering::SeqCst);
        if left > 0 {
            self.account.lose(PLUGIN, Loss::Closed, left);
        }
    }
}

struct Sender {
    poster: Arc<dyn Poster>,
    options: WebhookOptions,
    account: Arc<Account>,
    /// Batches under way.
    under_way: AtomicU64,
    /// Told whenever one ends.
    idle: Notify,
}

async fn run(sender: Arc<Sender>, mut collector: Collector) {
    let is_blocking = sender.options.is_blocking;
    let slots = Arc::new(Semaphore::new(match is_blocking {
        true => CONCURRENT_EVENTS_MAX,
        false => CONCURRENT_BATCHES_MAX,
    }));
    let throttle = sender.options.batch.throttle.filter(|_| !is_blocking);
    let mut throttle = throttle.map(Throttle::new);
    loop {
        let Some((batch, flush)) = collector.collect().await else {
            sender.wait_idle().await;
            return;
        };
        if !batch.is_empty() {
            if let Some(throttle) = &mut throttle {
                throttle.take().await;
            }
            let slot = slots.clone().acquire_owned().await;
            sender.under_way.fetch_add(1, Ordering::SeqCst);
            let sender = sender.clone();
            tokio::spawn(async move {
                sender.deliver(batch).await;
                sender.under_way.fetch_sub(1, Ordering::SeqCst);
                sender.idle.notify_waiters();
                drop(slot);
            });
        }
        if let Some(told) = flush {
            sender.wait_idle().await;
            told.send(()).ok();
        }
    }
}

type Batch = Vec<Queued>;

/// Gathers batches out of the queue.
struct Collector {
    messages: mpsc::Receiver<Message>,
    /// The event that did not fit into the batch before.
    held: Option<Queued>,
    options: WebhookOptions,
}

impl Collector {
    /// Gathers one batch, which a flush cuts short. `None` when the queue is closed and empty.
    async fn collect(&mut self) -> Option<(Batch, Option<oneshot::Sender<()>>)> {
        let first = match self.held.take() {
            Some(held) => held,
            None => match self.messages.recv().await? {
                Message::Flush(told) => return Some((Vec::new(), Some(told))),
                Message::Event(event) => event,
            },
        };
        let max_size = match self.options.is_blocking {
            true => 1,
            false => self.options.batch.max_size.max(1),
        };
        let max_bytes = self.options.truncation.map(|t| t.max_batch_bytes);
        let mut bytes = first.json.len();
        let mut batch = vec![first];
        let until = Instant::now() + self.options.batch.max_wait;
        while batch.len() < max_size {
            match tokio::time::timeout_at(until, self.messages.recv()).await {
                Ok(Some(Message::Event(event))) => {
                    bytes += event.json.len();
                    if max_bytes.is_some_and(|max| bytes > max) {
                        self.held = Some(event);
                        break;
                    }
                    batch.push(event);
                }
                Ok(Some(Message::Flush(told))) => return Some((batch, Some(told))),
                Ok(None) | Err(_) => break,
            }
        }
        Some((batch, None))
    }
}

impl Sender {
    async fn wait_idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }

    async fn deliver(&self, batch: Batch) {
        let account = &self.account;
        let gap = account.gap.take(&self.options.name);
        let body = body(&batch, gap.as_ref().map(|(record, _)| record));
        let events = batch.len() as u64;
        // The texts are in the body now; the shares of the bound are kept until it has been sent.
        let (shares, tellers): (Vec<Share>, Vec<_>) =
            batch.into_iter().map(|q| (q.share, q.told)).unzip();
        let outcome = self.try_often(body).await;
        drop(shares);
        let left = account.outstanding.load(Ordering::SeqCst).min(events);
        account.outstanding.fetch_sub(left, Ordering::SeqCst);
        if let Err(error) = &outcome {
            let sink = &self.options.name;
            tracing::error!(%error, events, sink, "the audit webhook did not take a batch");
            account.lose(PLUGIN, Loss::Rejected, events);
            if let Some((_, earlier)) = gap {
                account.gap.note(Loss::Rejected, earlier);
            }
        }
        for told in tellers.into_iter().flatten() {
            let outcome = outcome.as_ref().map_err(|_| Loss::Rejected);
            told.send(outcome.copied()).ok();
        }
    }

    async fn try_often(&self, body: Bytes) -> Result<(), String> {
        let initial = self.options.initial_backoff;
        let mut backoff = Backoff::with(initial, BACKOFF_MAX, BACKOFF_FACTOR, BACKOFF_JITTER);
        let mut tried = 0;
        loop {
            tried += 1;
            match self.poster.post(body.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) if tried == TRIES => return Err(error),
                Err(error) => tracing::debug!(%error, tried, "the audit webhook is tried again"),
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }
}

/// The list, the gap record first.
fn body(batch: &Batch, gap: Option<&EventBytes>) -> Bytes {
    let size: usize = batch.iter().map(|q| q.json.len() + 1).sum();
    let mut body = Vec::with_capacity(LIST_START.len() + size + 1024);
    body.extend_from_slice(LIST_START);
    if let Some(record) = gap {
        body.extend_from_slice(record.json());
        body.push(b',');
    }
    for (index, event) in batch.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&event.json);
    }
    body.extend_from_slice(b"]}");
    body.into()
}

#[cfg(test)]
mod tests;
