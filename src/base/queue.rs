//! A bounded queue whose overflow is counted, never silent.

use prometheus::IntCounter;
use tokio::sync::mpsc;

/// The sending side.
pub struct Sender<T> {
    inner: mpsc::Sender<T>,
    dropped: IntCounter,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender {
            inner: self.inner.clone(),
            dropped: self.dropped.clone(),
        }
    }
}

/// A queue of at most `capacity` items. `dropped` counts what did not fit
/// (`verbatim_queue_dropped_total` of the queue's name).
pub fn bounded<T>(capacity: usize, dropped: IntCounter) -> (Sender<T>, mpsc::Receiver<T>) {
    let (inner, receiver) = mpsc::channel(capacity);
    (Sender { inner, dropped }, receiver)
}

impl<T> Sender<T> {
    /// Queues an item without waiting. Answers false, and counts, when it was dropped.
    pub fn offer(&self, item: T) -> bool {
        let queued = self.inner.try_send(item).is_ok();
        if !queued {
            self.dropped.inc();
        }
        queued
    }

    /// Queues an item, waiting for room. Answers false when the receiver is gone.
    pub async fn send(&self, item: T) -> bool {
        self.inner.send(item).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_counted() {
        let dropped = IntCounter::new("d", "help").expect("valid name");
        let (sender, mut receiver) = bounded(1, dropped.clone());
        assert!(sender.offer(1));
        assert!(!sender.offer(2));
        assert_eq!(dropped.get(), 1);
        assert_eq!(receiver.try_recv().ok(), Some(1));
    }
}
