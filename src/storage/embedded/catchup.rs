//! The first part of a watch: reading the log until it can join the dispatcher.
//!
//! Runs as a task of its own and waits for its receiver, so that a long history costs nobody else.

use std::sync::Arc;

use tokio::sync::mpsc::{OwnedPermit, Sender, error::TrySendError};

use super::hub::{self, Watcher, messages};
use super::tables::Tables;
use super::{Shared, blocking, closed};
use crate::storage::{Error, Event, Revision, WatchMessage};

/// Log records read in one go.
const RECORDS_PER_READ: usize = 1024;
/// Log records read while the dispatcher waits. Reading outruns writing, so a watch gets this near.
const RECORDS_PER_JOIN: u64 = 256;

struct CatchUp {
    shared: Arc<Shared>,
    tables: Arc<Tables>,
    prefix: Box<str>,
    /// Delivered up to this revision.
    after: Revision,
    sender: Sender<WatchMessage>,
    last: OwnedPermit<WatchMessage>,
}

/// What one step achieved.
enum Step {
    /// Events to deliver before the next step.
    Read(CatchUp, Vec<Event>),
    /// The buffer is full; the next step needs room.
    Full(CatchUp),
    /// The dispatcher has taken over, or the watch failed.
    Done,
}

/// Starts a watch of `prefix` for everything after `after`.
pub(super) fn start(
    shared: &Arc<Shared>,
    tables: Arc<Tables>,
    prefix: &str,
    after: Revision,
    sender: Sender<WatchMessage>,
) -> Result<(), Error> {
    let last = sender.clone().try_reserve_owned();
    let catch_up = CatchUp {
        shared: shared.clone(),
        tables,
        prefix: prefix.into(),
        after,
        sender,
        last: last.map_err(|_| closed())?,
    };
    // Mostly a watch begins where its list ended, and nothing happened in between.
    let hub = shared.hub.lock();
    if after >= hub.dispatched {
        let mut hub = hub;
        catch_up.join(&mut hub);
        return Ok(());
    }
    drop(hub);
    tokio::spawn(run(catch_up));
    Ok(())
}

async fn run(mut catch_up: CatchUp) {
    loop {
        let step = blocking(move || Ok(catch_up.step())).await;
        catch_up = match step {
            Ok(Step::Read(next, events)) => {
                for message in messages(events) {
                    if next.sender.send(message).await.is_err() {
                        return;
                    }
                }
                next
            }
            Ok(Step::Full(next)) => {
                if next.sender.reserve().await.is_err() {
                    return;
                }
                next
            }
            Ok(Step::Done) => return,
            Err(error) => return tracing::error!(?error, "a watch ended while catching up"),
        };
    }
}

impl CatchUp {
    fn step(mut self) -> Step {
        let until = self.shared.hub.lock().dispatched;
        if until.saturating_sub(self.after) > RECORDS_PER_JOIN {
            return match self.read(until) {
                Ok(events) => Step::Read(self, events),
                Err(error) => self.fail(error),
            };
        }
        let shared = self.shared.clone();
        let mut hub = shared.hub.lock();
        let until = hub.dispatched;
        if until.saturating_sub(self.after) > RECORDS_PER_JOIN {
            // The dispatcher ran ahead between the two locks.
            drop(hub);
            return Step::Read(self, Vec::new());
        }
        let from = self.after;
        let events = match self.read(until) {
            Ok(events) => events,
            Err(error) => return self.fail(error),
        };
        match self.deliver(events) {
            Ok(()) => {
                self.join(&mut hub);
                Step::Done
            }
            Err(delivered) => {
                drop(hub);
                self.after = delivered.max(from);
                Step::Full(self)
            }
        }
    }

    /// Reads the next events up to `until`, and moves on.
    fn read(&mut self, until: Revision) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        if until <= self.after {
            return Ok(events);
        }
        let mut expected = self.after;
        let mut gap = None;
        let max = RECORDS_PER_READ;
        let reached = self
            .tables
            .records(self.after, until, max, |revision, record| {
                expected += 1;
                if revision != expected {
                    gap.get_or_insert(expected);
                }
                if record.key.starts_with(&*self.prefix) {
                    events.push(Event {
                        created: record.create_revision == revision,
                        value: (!record.is_delete()).then_some(record.value),
                        key: record.key,
                        revision,
                    });
                }
                Ok(())
            })?;
        // Compaction refuses first and drops later: when it has not refused by now, nothing of
        // what was read had been dropped.
        self.shared.index.read().check_watchable(self.after)?;
        if let Some(revision) = gap.or((reached == self.after).then_some(reached + 1)) {
            return Err(Error::Corrupt {
                reason: format!("revision {revision} is missing in the log"),
            });
        }
        self.after = reached;
        Ok(events)
    }

    /// Delivers without waiting; when the buffer is full, answers what was delivered.
    fn deliver(&self, events: Vec<Event>) -> Result<(), Revision> {
        let mut delivered = 0;
        for message in messages(events) {
            let up_to = match &message {
                WatchMessage::Events(events) => events.last().map_or(0, |e| e.revision),
                _ => 0,
            };
            match self.sender.try_send(message) {
                Ok(()) => delivered = up_to,
                // A closed receiver is noticed by the dispatcher, too.
                Err(TrySendError::Closed(_)) => return Ok(()),
                Err(TrySendError::Full(_)) => return Err(delivered),
            }
        }
        Ok(())
    }

    fn join(self, hub: &mut hub::HubState) {
        let mut watcher = Watcher {
            after: self.after,
            sender: self.sender,
            last: self.last,
            pending: Vec::new(),
            progress_owed: true,
        };
        watcher.report_progress(hub.dispatched);
        hub.join(&self.prefix, watcher);
    }

    fn fail(self, error: Error) -> Step {
        self.last.send(WatchMessage::Failed(error));
        Step::Done
    }
}
