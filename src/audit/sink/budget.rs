//! How many bytes of events may wait for a sink.
//!
//! A queue of 10,000 events is bounded in events only, and one event can be megabytes; the receiver
//! decides how long they wait. Each queue has this second bound beside the first
//! (kubernetes/kubernetes#85489).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of events that wait for one sink, and are under way to it, at most.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is left of the bound.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    used: Arc<AtomicUsize>,
    max: usize,
}

/// A share of the bound, given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    /// At most `max` bytes.
    pub(super) fn new(max: usize) -> Self {
        Budget {
            used: Arc::default(),
            max,
        }
    }

    /// Takes a share, if there is room. An event larger than the whole bound has room alone.
    pub(super) fn take(&self, bytes: usize) -> Option<Share> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before > 0 && before.saturating_add(bytes) > self.max {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        Some(Share {
            used: self.used.clone(),
            bytes,
        })
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let budget = Budget::new(10);
        let first = budget.take(8).expect("room");
        assert!(budget.take(3).is_none());
        assert_eq!(budget.used(), 8);
        drop(first);
        let large = budget.take(20).expect("alone");
        assert!(budget.take(1).is_none());
        drop(large);
        assert_eq!(budget.used(), 0);
    }
}
