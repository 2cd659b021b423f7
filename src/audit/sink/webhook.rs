//! The webhook sink: batches of events as `EventList`, POSTed to the server of a kubeconfig.
//!
//! Events gather in a bounded queue; what does not fit is lost and counted at once, so memory stays
//! bounded whatever the receiver does (kubernetes/kubernetes#85489). A batch is tried five times with
//! backoff, as upstream does (contract/audit.md §9). In the blocking modes the request waits for its
//! own event's batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::audit::EventBytes;
use crate::audit::metrics::Metrics;
use crate::audit::own::Gap;
use crate::audit::sink::{Loss, Receipt, Sink};

/// Upstream's name for this sink in metrics.
const PLUGIN: &str = "webhook";
/// How often a batch is tried.
const TRIES: u32 = 5;
/// Backoff grows by this each time.
const BACKOFF_FACTOR: f64 = 1.5;
/// And by up to this share at random.
const BACKOFF_JITTER: f64 = 0.2;
/// Batches under way at once.
const CONCURRENT_BATCHES_MAX: usize = 10;
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
#[derive(Clone, Copy, Debug)]
pub struct WebhookOptions {
    /// Requests wait until their events are delivered.
    pub is_blocking: bool,
    /// Events the queue holds.
    pub buffer_size: usize,
    /// Events per batch.
    pub max_size: usize,
    /// Longest wait for a batch to fill.
    pub max_wait: Duration,
    /// Batches per second and at once, when throttled.
    pub throttle: Option<(f32, u32)>,
    /// Wait before the second try.
    pub initial_backoff: Duration,
    /// Events larger than this lose their bodies; `None` when truncation is off.
    pub max_event_bytes: Option<usize>,
    /// Bytes per batch; `None` when truncation is off.
    pub max_batch_bytes: Option<usize>,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        WebhookOptions {
            is_blocking: false,
            buffer_size: 10_000,
            max_size: 400,
            max_wait: Duration::from_secs(30),
            throttle: Some((10.0, 15)),
            initial_backoff: Duration::from_secs(10),
            max_event_bytes: None,
            max_batch_bytes: None,
        }
    }
}

struct Queued {
    json: Bytes,
    told: Option<oneshot::Sender<Result<(), Loss>>>,
}

enum Message {
    Event(Queued),
    Flush(oneshot::Sender<()>),
}

/// The sink.
pub struct WebhookSink {
    queue: mpsc::Sender<Message>,
    options: WebhookOptions,
    metrics: Metrics,
    gap: Arc<Gap>,
}

impl WebhookSink {
    /// Starts the task that sends.
    pub fn start(poster: Arc<dyn Poster>, options: WebhookOptions, metrics: Metrics) -> Arc<Self> {
        let (queue, messages) = mpsc::channel(options.buffer_size.max(1));
        let gap = Arc::new(Gap::default());
        let sender = Arc::new(Sender {
            poster,
            options,
            metrics: metrics.clone(),
            gap: gap.clone(),
            under_way: AtomicU64::new(0),
            idle: Notify::new(),
        });
        tokio::spawn(run(sender, messages));
        Arc::new(WebhookSink {
            queue,
            options,
            metrics,
            gap,
        })
    }

    fn json(&self, event: &EventBytes) -> Result<Bytes, Loss> {
        match self.options.max_event_bytes {
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

    fn lose(&self, plugin: &str, loss: Loss) -> Receipt {
        self.metrics.lost(plugin, loss, 1);
        self.gap.note(loss, 1);
        match self.options.is_blocking {
            true => Receipt::Lost(loss),
            // Batch mode promises nothing to the request.
            false => Receipt::Done,
        }
    }
}

#[async_trait]
impl Sink for WebhookSink {
    fn name(&self) -> &'static str {
        PLUGIN
    }

    fn accept(&self, event: &Arc<EventBytes>) -> Receipt {
        let json = match self.json(event) {
            Ok(json) => json,
            Err(loss) => return self.lose("truncate", loss),
        };
        let (told, outcome) = match self.options.is_blocking {
            true => {
                let (told, outcome) = oneshot::channel();
                (Some(told), Some(outcome))
            }
            false => (None, None),
        };
        match self.queue.try_send(Message::Event(Queued { json, told })) {
            Ok(()) => outcome.map_or(Receipt::Done, Receipt::Pending),
            Err(mpsc::error::TrySendError::Full(_)) => self.lose("buffered", Loss::QueueFull),
            Err(mpsc::error::TrySendError::Closed(_)) => self.lose(PLUGIN, Loss::Closed),
        }
    }

    async fn flush(&self) {
        let (told, done) = oneshot::channel();
        if self.queue.send(Message::Flush(told)).await.is_ok() {
            done.await.ok();
        }
    }
}

struct Sender {
    poster: Arc<dyn Poster>,
    options: WebhookOptions,
    metrics: Metrics,
    gap: Arc<Gap>,
    /// Batches under way.
    under_way: AtomicU64,
    /// Told whenever one ends.
    idle: Notify,
}

async fn run(sender: Arc<Sender>, mut messages: mpsc::Receiver<Message>) {
    let slots = Arc::new(Semaphore::new(CONCURRENT_BATCHES_MAX));
    let mut throttle = sender.options.throttle.map(Throttle::new);
    loop {
        let Some((batch, flush)) = collect(&sender.options, &mut messages).await else {
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

/// Gathers one batch, which a flush cuts short. `None` when the queue is closed and empty.
async fn collect(
    options: &WebhookOptions,
    messages: &mut mpsc::Receiver<Message>,
) -> Option<(Batch, Option<oneshot::Sender<()>>)> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    match messages.recv().await? {
        Message::Flush(told) => return Some((batch, Some(told))),
        Message::Event(event) => {
            bytes += event.json.len();
            batch.push(event);
        }
    }
    let max_size = match options.is_blocking {
        true => 1,
        false => options.max_size.max(1),
    };
    let until = Instant::now() + options.max_wait;
    while batch.len() < max_size && options.max_batch_bytes.is_none_or(|max| bytes < max) {
        match tokio::time::timeout_at(until, messages.recv()).await {
            Ok(Some(Message::Event(event))) => {
                bytes += event.json.len();
                batch.push(event);
            }
            Ok(Some(Message::Flush(told))) => return Some((batch, Some(told))),
            Ok(None) | Err(_) => break,
        }
    }
    Some((batch, None))
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
        let gap = self.gap.take(PLUGIN);
        let size: usize = batch.iter().map(|q| q.json.len() + 1).sum();
        let mut body = Vec::with_capacity(LIST_START.len() + size + 1024);
        body.extend_from_slice(LIST_START);
        if let Some((record, _)) = &gap {
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
        let outcome = self.try_often(body.into()).await;
        if let Err(error) = &outcome {
            let events = batch.len() as u64;
            tracing::error!(%error, events, "the audit webhook did not take a batch");
            self.metrics.lost(PLUGIN, Loss::Rejected, events);
            let earlier = gap.map_or(0, |(_, events)| events);
            self.gap.note(Loss::Rejected, events + earlier);
        }
        for told in batch.into_iter().filter_map(|q| q.told) {
            let outcome = outcome.as_ref().map_err(|_| Loss::Rejected);
            told.send(outcome.copied()).ok();
        }
    }

    async fn try_often(&self, body: Bytes) -> Result<(), String> {
        let mut backoff = self.options.initial_backoff;
        let mut tried = 0;
        loop {
            tried += 1;
            match self.poster.post(body.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) if tried == TRIES => return Err(error),
                Err(error) => tracing::debug!(%error, tried, "the audit webhook is tried again"),
            }
            let jitter = 1.0 + BACKOFF_JITTER * rand::random::<f64>();
            tokio::time::sleep(backoff.mul_f64(jitter)).await;
            backoff = backoff.mul_f64(BACKOFF_FACTOR);
        }
    }
}

/// A token bucket.
struct Throttle {
    per_second: f32,
    burst: f32,
    tokens: f32,
    at: Instant,
}

impl Throttle {
    fn new((per_second, burst): (f32, u32)) -> Self {
        let burst = f32::from(u16::try_from(burst).unwrap_or(u16::MAX)).max(1.0);
        Throttle {
            per_second: per_second.max(0.001),
            burst,
            tokens: burst,
            at: Instant::now(),
        }
    }

    async fn take(&mut self) {
        let now = Instant::now();
        self.tokens += now.duration_since(self.at).as_secs_f32() * self.per_second;
        self.tokens = self.tokens.min(self.burst) - 1.0;
        self.at = now;
        if self.tokens < 0.0 {
            tokio::time::sleep(Duration::from_secs_f32(-self.tokens / self.per_second)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use serde_json::Value;

    use super::*;
    use crate::audit::Stage;

    /// Refuses a number of posts, then takes all.
    #[derive(Default)]
    struct Receiver {
        refusals: AtomicU64,
        tries: AtomicU64,
        lists: Mutex<Vec<Value>>,
    }

    #[async_trait]
    impl Poster for Receiver {
        async fn post(&self, body: Bytes) -> Result<(), String> {
            self.tries.fetch_add(1, Ordering::SeqCst);
            let left = self.refusals.load(Ordering::SeqCst);
            if left > 0 {
                self.refusals.store(left - 1, Ordering::SeqCst);
                return Err("500".into());
            }
            let list = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
            self.lists.lock().push(list);
            Ok(())
        }
    }

    fn quick() -> WebhookOptions {
        WebhookOptions {
            max_wait: Duration::from_millis(10),
            initial_backoff: Duration::from_millis(1),
            throttle: None,
            ..WebhookOptions::default()
        }
    }

    fn event(n: usize) -> Arc<EventBytes> {
        let line = format!("{{\"n\":{n}}}\n").into_bytes();
        Arc::new(EventBytes::from_line(line, Stage::ResponseComplete))
    }

    #[tokio::test]
    async fn batches_and_retries() {
        let receiver = Arc::new(Receiver::default());
        receiver.refusals.store(4, Ordering::SeqCst);
        let metrics = Metrics::new();
        let sink = WebhookSink::start(receiver.clone(), quick(), metrics.clone());
        for n in 0..1000 {
            sink.accept(&event(n)).settle().await.expect("queued");
        }
        sink.flush().await;
        let lists = receiver.lists.lock();
        let sizes: Vec<usize> = lists
            .iter()
            .filter_map(|l| Some(l["items"].as_array()?.len()))
            .collect();
        assert_eq!(sizes.iter().sum::<usize>(), 1000);
        assert!(sizes.iter().all(|s| *s <= 400));
        assert!(lists.iter().all(|l| l["kind"] == "EventList"));
        assert_eq!(metrics.lost_total("webhook"), 0);
    }

    #[tokio::test]
    async fn blocking_waits_and_five_failures_are_a_loss() {
        let receiver = Arc::new(Receiver::default());
        receiver.refusals.store(5, Ordering::SeqCst);
        let options = WebhookOptions {
            is_blocking: true,
            ..quick()
        };
        let metrics = Metrics::new();
        let sink = WebhookSink::start(receiver.clone(), options, metrics.clone());
        assert_eq!(sink.accept(&event(1)).settle().await, Err(Loss::Rejected));
        assert_eq!(receiver.tries.load(Ordering::SeqCst), 5);
        assert_eq!(metrics.lost_total("webhook"), 1);
        sink.accept(&event(2)).settle().await.expect("delivered");
        let lists = receiver.lists.lock();
        assert_eq!(lists[0]["items"][0]["verb"], "gap");
        assert_eq!(lists[0]["items"][1]["n"], 2);
    }

    #[tokio::test]
    async fn memory_stays_bounded_k8s_85489() {
        let receiver = Arc::new(Receiver::default());
        receiver.refusals.store(u64::MAX, Ordering::SeqCst);
        let options = WebhookOptions {
            buffer_size: 100,
            ..quick()
        };
        let metrics = Metrics::new();
        let sink = WebhookSink::start(receiver, options, metrics.clone());
        for n in 0..1000 {
            sink.accept(&event(n)).settle().await.expect("never waits");
        }
        assert_eq!(metrics.lost_total("buffered"), 900);
    }
}
