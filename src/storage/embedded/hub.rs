//! The dispatcher thread: feeds committed writes to the running watches.
//!
//! It never waits for a receiver. Every watch has a bounded buffer and, kept aside from the
//! beginning, one place for its last message; a watch whose buffer is full gets that message.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc::{OwnedPermit, Sender, error::TrySendError};

use super::tables::Tables;
use super::writer::Committed;
use super::{Shared, closed};
use crate::storage::{Error, Event, Failure, Revision, WatchMessage};

/// Events of one message; bounds what a slow watch can hold in memory.
pub(super) const EVENTS_PER_MESSAGE: usize = 64;
/// How often housekeeping is done: sizes, dropped receivers, owed progress.
const TICK: Duration = Duration::from_millis(500);
/// Ticks between progress reports nobody asked for.
const TICKS_PER_PROGRESS: u32 = 10;

/// Work for the dispatcher.
pub(super) enum Dispatch {
    /// A batch became visible.
    Events(Vec<Committed>),
    /// Somebody wants to know how far the watches are.
    Progress,
}

/// One watch that has caught up.
pub(super) struct Watcher {
    /// Events up to this revision are not wanted, or were delivered.
    pub(super) after: Revision,
    pub(super) sender: Sender<WatchMessage>,
    /// The place of the last message.
    pub(super) last: OwnedPermit<WatchMessage>,
    pub(super) pending: Vec<Event>,
    pub(super) progress_owed: bool,
}

impl Watcher {
    /// Sends what is pending.
    fn flush(&mut self) -> Result<(), TrySendError<WatchMessage>> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut pending = messages(std::mem::take(&mut self.pending));
        pending.try_for_each(|message| self.sender.try_send(message))
    }

    /// Reports progress if it is owed and the store has come to where the watch starts. A full
    /// buffer is no reason to end a watch here: the report is made as soon as there is room.
    pub(super) fn report_progress(&mut self, dispatched: Revision) {
        if self.progress_owed && dispatched >= self.after {
            let progress = WatchMessage::Progress(dispatched);
            self.progress_owed = self.sender.try_send(progress).is_err();
        }
    }
}

/// The watches that have caught up, by prefix.
pub(super) struct Hub {
    state: Mutex<HubState>,
    slow: AtomicU64,
}

/// See [`Hub::lock`].
pub(super) struct HubState {
    /// Everything up to this revision was handed to the watchers here.
    pub(super) dispatched: Revision,
    /// Watches of prefixes that end in `/`: found by cutting a key at its slashes.
    folders: HashMap<Box<str>, Vec<Watcher>>,
    /// All others.
    odd: Vec<(Box<str>, Watcher)>,
    closed: bool,
}

impl Hub {
    pub(super) fn new(revision: Revision) -> Self {
        Self {
            state: Mutex::new(HubState {
                dispatched: revision,
                folders: HashMap::new(),
                odd: Vec::new(),
                closed: false,
            }),
            slow: AtomicU64::new(0),
        }
    }

    /// Stops the dispatcher for a moment, for a watch to join without a gap.
    pub(super) fn lock(&self) -> MutexGuard<'_, HubState> {
        self.state.lock()
    }

    pub(super) fn slow_ended(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }

    /// Tells a watch that it was too slow.
    pub(super) fn end_slow(&self, last: OwnedPermit<WatchMessage>) {
        self.slow.fetch_add(1, Ordering::Relaxed);
        last.send(WatchMessage::Failed(Error::Unavailable {
            failure: Failure::Overloaded,
            reason: "watch was too slow".to_owned(),
        }));
    }

    fn dispatch(&self, batch: Vec<Committed>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for write in batch {
            state.dispatched = write.version.revision;
            state.offer(write);
        }
        for watchers in state.folders.values_mut() {
            let mut at = 0;
            while let Some(watcher) = watchers.get_mut(at) {
                match watcher.flush() {
                    Ok(()) => at += 1,
                    Err(why) => self.end(watchers.swap_remove(at), &why),
                }
            }
        }
        let mut at = 0;
        while let Some((_, watcher)) = state.odd.get_mut(at) {
            match watcher.flush() {
                Ok(()) => at += 1,
                Err(why) => self.end(state.odd.swap_remove(at).1, &why),
            }
        }
    }

    /// Ends a watch that did not take its events.
    fn end(&self, watcher: Watcher, why: &TrySendError<WatchMessage>) {
        match why {
            TrySendError::Closed(_) => {}
            TrySendError::Full(_) => self.end_slow(watcher.last),
        }
    }

    fn report_progress(&self) {
        let mut state = self.state.lock();
        let dispatched = state.dispatched;
        state.retain(|mut watcher| {
            watcher.report_progress(dispatched);
            (!watcher.sender.is_closed()).then_some(watcher)
        });
    }

    fn owe_progress(&self) {
        self.state.lock().retain(|mut watcher| {
            watcher.progress_owed = true;
            Some(watcher)
        });
    }

    fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.retain(|watcher| {
            watcher.last.send(WatchMessage::Failed(closed()));
            None
        });
    }
}

impl HubState {
    /// Adds a watch that has seen everything up to `dispatched` (or starts later).
    pub(super) fn join(&mut self, prefix: &str, watcher: Watcher) {
        if self.closed {
            watcher.last.send(WatchMessage::Failed(closed()));
        } else if prefix.ends_with('/') {
            self.folders.entry(prefix.into()).or_default().push(watcher);
        } else {
            self.odd.push((prefix.into(), watcher));
        }
    }

    /// Gives one event to the watches that want it.
    fn offer(&mut self, write: Committed) {
        let event = Event {
            key: write.key.into_string(),
            value: write.value,
            revision: write.version.revision,
            created: write.version.create_revision == write.version.revision,
        };
        for (at, _) in event.key.match_indices('/') {
            let Some(watchers) = self.folders.get_mut(&event.key[..=at]) else {
                continue;
            };
            for watcher in watchers.iter_mut().filter(|w| w.after < event.revision) {
                watcher.pending.push(event.clone());
            }
        }
        for (prefix, watcher) in &mut self.odd {
            if watcher.after < event.revision && event.key.starts_with(&**prefix) {
                watcher.pending.push(event.clone());
            }
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(Watcher) -> Option<Watcher>) {
        for watchers in self.folders.values_mut() {
            *watchers = std::mem::take(watchers)
                .into_iter()
                .filter_map(&mut keep)
                .collect();
        }
        self.folders.retain(|_, watchers| !watchers.is_empty());
        self.odd = std::mem::take(&mut self.odd)
            .into_iter()
            .filter_map(|(prefix, watcher)| Some((prefix, keep(watcher)?)))
            .collect();
    }
}

/// Cuts events into messages.
pub(super) fn messages(events: Vec<Event>) -> impl Iterator<Item = WatchMessage> {
    let mut events = events.into_iter();
    std::iter::from_fn(move || {
        let part: Vec<_> = events.by_ref().take(EVENTS_PER_MESSAGE).collect();
        (!part.is_empty()).then_some(WatchMessage::Events(part))
    })
}

/// Runs until the queue is closed and drained.
pub(super) fn run(shared: &Shared, tables: &Tables) {
    let hub = &shared.hub;
    let mut next_tick = Instant::now() + TICK;
    let mut ticks = 0_u32;
    while let Some(work) = shared.dispatches.take(usize::MAX, next_tick, false) {
        let mut asked = false;
        for dispatch in work {
            match dispatch {
                Dispatch::Events(batch) => hub.dispatch(batch),
                Dispatch::Progress => asked = true,
            }
        }
        let tick = Instant::now() >= next_tick;
        if tick {
            next_tick = Instant::now() + TICK;
            ticks += 1;
            let size_bytes = tables.size_bytes();
            shared.size_bytes.store(size_bytes, Ordering::Relaxed);
        }
        if asked || (tick && ticks.is_multiple_of(TICKS_PER_PROGRESS)) {
            hub.owe_progress();
        }
        if asked || tick {
            hub.report_progress();
        }
    }
    hub.close();
}
