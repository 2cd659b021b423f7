//! How many documents wait for a writer's threads.
//!
//! Tantivy's own queue holds ten thousand. A document that waits in so long a queue has left the
//! processor's caches when its turn comes, and the next one is written to memory that has left them,
//! too. A few hundred keep the threads as busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Documents that may wait.
const MOST: usize = 256;
/// Once there are so many, who adds them sleeps until there are only so many.
const FEW: usize = MOST / 2;
/// Tantivy says so when its threads are gone; they may also be busy with writing a segment.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts the documents of one writer.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    count: AtomicUsize,
    lock: Mutex<()>,
    has_room: Condvar,
}

/// One document; gives its place back when dropped.
#[derive(Debug)]
pub(super) struct Ticket(Arc<InFlight>);

impl InFlight {
    /// Waits for room and takes a place.
    pub(super) fn enter(self: &Arc<Self>) -> Ticket {
        if self.count.fetch_add(1, Ordering::AcqRel) >= MOST {
            let mut guard = self.lock.lock();
            while self.count.load(Ordering::Acquire) > FEW {
                if self.has_room.wait_for(&mut guard, PATIENCE).timed_out() {
                    break;
                }
            }
        }
        Ticket(self.clone())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == FEW + 1 {
            let _guard = self.0.lock.lock();
            self.0.has_room.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_too_far_ahead_waits() {
        let in_flight = Arc::new(InFlight::default());
        let (sender, documents) = std::sync::mpsc::channel();
        let others = in_flight.clone();
        let producer = std::thread::spawn(move || {
            let most = (0..10 * MOST).map(|_| {
                sender.send(others.enter()).ok();
                others.count.load(Ordering::Acquire)
            });
            most.max()
        });
        documents.iter().for_each(drop);
        let most = producer.join().expect("no panic").unwrap_or_default();
        assert!(most <= MOST + 1, "{most}");
        assert_eq!(in_flight.count.load(Ordering::Acquire), 0);
    }
}
