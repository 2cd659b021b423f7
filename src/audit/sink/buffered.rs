//! Batch mode: a bounded queue before a sink, emptied by a task of its own.
//!
//! A full queue, by number of events or by their bytes, loses the event at once and counts it, as
//! upstream's buffered backend does; the request never waits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::audit::EventBytes;
use crate::audit::metrics::Metrics;
use crate::audit::own::Gap;
use crate::audit::sink::budget::{Budget, QUEUE_BYTES_MAX, Share};
use crate::audit::sink::throttle::Throttle;
use crate::audit::sink::{Loss, Receipt, Sink};

/// Upstream's name of this stage in metrics.
const PLUGIN: &str = "buffered";

/// `--audit-*-batch-*`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchOptions {
    /// Events the queue holds.
    pub buffer_size: usize,
    /// Events per batch.
    pub max_size: usize,
    /// Longest wait for a batch to fill.
    pub max_wait: Duration,
    /// Batches per second and at once, when throttled.
    pub throttle: Option<(f32, u32)>,
}

impl BatchOptions {
    /// The defaults of the log backend.
    pub fn log() -> Self {
        BatchOptions {
            buffer_size: 10_000,
            max_size: 1,
            max_wait: Duration::ZERO,
            throttle: None,
        }
    }

    /// The defaults of the webhook backend.
    pub fn webhook() -> Self {
        BatchOptions {
            buffer_size: 10_000,
            max_size: 400,
            max_wait: Duration::from_secs(30),
            throttle: Some((10.0, 15)),
        }
    }
}

enum Message {
    Event(Arc<EventBytes>, Share),
    Flush(oneshot::Sender<()>),
}

/// The queue.
pub struct BufferedSink {
    queue: mpsc::Sender<Message>,
    /// Where the queue is emptied into; asked for its problems.
    sink: Arc<dyn Sink>,
    metrics: Metrics,
    gap: Gap,
    budget: Budget,
}

impl BufferedSink {
    /// Starts the task that empties the queue into `sink`.
    pub fn start(sink: Arc<dyn Sink>, options: BatchOptions, metrics: Metrics) -> Arc<Self> {
        let (queue, messages) = mpsc::channel(options.buffer_size.max(1));
        tokio::spawn(run(sink.clone(), options, messages));
        Arc::new(BufferedSink {
            queue,
            sink,
            metrics,
            gap: Gap::default(),
            budget: Budget::new(QUEUE_BYTES_MAX),
        })
    }
}

impl BufferedSink {
    /// Behind the events that were lost, once there is room for the record and one more.
    fn tell_gap(&self) {
        if self.queue.capacity() > 1
            && let Some((record, events)) = self.gap.take(PLUGIN)
            && self.offer(Arc::new(record)).is_err()
        {
            self.gap.note(Loss::QueueFull, events);
        }
    }

    fn offer(&self, event: Arc<EventBytes>) -> Result<(), Loss> {
        let share = self
            .budget
            .take(event.line().len())
            .ok_or(Loss::QueueFull)?;
        match self.queue.try_send(Message::Event(event, share)) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Loss::QueueFull),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Loss::Closed),
        }
    }
}

async fn run(sink: Arc<dyn Sink>, options: BatchOptions, mut messages: mpsc::Receiver<Message>) {
    let mut batch = Vec::new();
    let mut throttle = options.throttle.map(Throttle::new);
    loop {
        let flushes = collect(&mut messages, &options, &mut batch).await;
        let Some(flushes) = flushes else {
            deliver(&*sink, &mut batch).await;
            sink.flush().await;
            return;
        };
        if let Some(throttle) = throttle.as_mut().filter(|_| !batch.is_empty()) {
            throttle.take().await;
        }
        deliver(&*sink, &mut batch).await;
        for flush in flushes {
            sink.flush().await;
            flush.send(()).ok();
        }
    }
}

type Batch = Vec<(Arc<EventBytes>, Share)>;

/// Gathers one batch. `None` when the queue is closed.
async fn collect(
    messages: &mut mpsc::Receiver<Message>,
    options: &BatchOptions,
    batch: &mut Batch,
) -> Option<Vec<oneshot::Sender<()>>> {
    let mut flushes = Vec::new();
    match messages.recv().await? {
        Message::Event(event, share) => batch.push((event, share)),
        Message::Flush(flush) => {
            flushes.push(flush);
            return Some(flushes);
        }
    }
    let until = Instant::now() + options.max_wait;
    while batch.len() < options.max_size.max(1) {
        match tokio::time::timeout_at(until, messages.recv()).await {
            Ok(Some(Message::Event(event, share))) => batch.push((event, share)),
            Ok(Some(Message::Flush(flush))) => {
                flushes.push(flush);
                break;
            }
            Ok(None) => return None,
            Err(_) => break,
        }
    }
    Some(flushes)
}

async fn deliver(sink: &dyn Sink, batch: &mut Batch) {
    let accepted = batch
        .drain(..)
        .map(|(event, share)| (sink.accept(&event), share));
    let accepted: Vec<_> = accepted.collect();
    for (receipt, _share) in accepted {
        // The sink has counted what it lost.
        receipt.settle().await.ok();
    }
}

#[async_trait]
impl Sink for BufferedSink {
    fn name(&self) -> &'static str {
        PLUGIN
    }

    fn accept(&self, event: &Arc<EventBytes>) -> Receipt {
        self.tell_gap();
        if let Err(loss) = self.offer(event.clone()) {
            self.metrics.lost(PLUGIN, loss, 1);
            self.gap.note(loss, 1);
        }
        // Batch mode promises nothing to the request.
        Receipt::Done
    }

    fn check(&self) -> Result<(), String> {
        self.tell_gap();
        self.sink.check()
    }

    async fn flush(&self) {
        let (told, done) = oneshot::channel();
        if self.queue.send(Message::Flush(told)).await.is_ok() {
            done.await.ok();
        }
    }

    fn give_up(&self) {
        let left = self.queue.max_capacity() - self.queue.capacity();
        if left > 0 {
            self.metrics.lost(PLUGIN, Loss::Closed, left as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Stage;
    use crate::audit::sink::memory::MemorySink;

    #[tokio::test]
    async fn a_full_queue_loses_and_counts() {
        let inner = Arc::new(MemorySink::default());
        let metrics = Metrics::new();
        let options = BatchOptions {
            buffer_size: 2,
            ..BatchOptions::log()
        };
        let sink = BufferedSink::start(inner.clone(), options, metrics.clone());
        let event = Arc::new(EventBytes::from_line(b"{}\n".to_vec(), Stage::Panic));
        for _ in 0..5 {
            sink.accept(&event).settle().await.expect("never fails");
        }
        sink.flush().await;
        let lost = metrics.lost_total("buffered");
        assert_eq!(inner.events().len() as u64 + lost, 5);
        assert!(lost > 0, "the task had no chance to run before");
        sink.accept(&event).settle().await.expect("never fails");
        sink.flush().await;
        let events = inner.events();
        assert_eq!(
            events[events.len() - 2]["verb"],
            "gap",
            "the record of the gap"
        );
    }
}
