//! A queue between many producers and one consumer thread that takes all that waits at once.
//!
//! The bound is the producers' matter (a semaphore for writes, [`Queue::wait_below`] for the
//! writer), so that a push never blocks.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

/// See the module.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    drained: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                closed: false,
            }),
            filled: Condvar::new(),
            drained: Condvar::new(),
        }
    }

    /// Appends, or gives the item back when the queue is closed.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(item);
        }
        state.items.push_back(item);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes up to `max` items, waiting for the first until `until`. An empty answer means the
    /// time came; `None` that the queue is closed and drained.
    ///
    /// With `after_others`, where every processor is busy, whoever pushed the first item goes on before
    /// it is taken, and others push theirs: a consumer that came at once would stop them for each item.
    pub(super) fn take(&self, max: usize, until: Instant, after_others: bool) -> Option<Vec<T>> {
        let mut state = self.state.lock();
        let has_waited = state.items.is_empty();
        while state.items.is_empty() {
            if state.closed {
                return None;
            }
            if self.filled.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        if has_waited && after_others {
            MutexGuard::unlocked(&mut state, std::thread::yield_now);
        }
        let count = state.items.len().min(max);
        let taken = state.items.drain(..count).collect();
        drop(state);
        self.drained.notify_all();
        Some(taken)
    }

    /// Waits until fewer than `max` items wait.
    pub(super) fn wait_below(&self, max: usize) {
        let mut state = self.state.lock();
        while state.items.len() >= max && !state.closed {
            self.drained.wait(&mut state);
        }
    }

    /// Refuses further pushes; what waits can still be taken.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }
}
