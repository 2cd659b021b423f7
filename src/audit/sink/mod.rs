//! Where events go: the [`Sink`] trait and its implementations.
//!
//! A sink takes rendered events and answers with a [`Receipt`] that says when its promise is kept.
//! Composition is upstream's (contract/audit.md §9): truncation, then buffering, then the log.

pub mod budget;
pub mod buffered;
pub mod file;
pub mod legacy;
pub mod log;
pub mod memory;
mod throttle;
pub mod upkeep;
pub mod webhook;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::audit::EventBytes;

/// Why a sink did not keep an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The queue was full.
    QueueFull,
    /// Larger than the sink takes, even without bodies.
    TooLarge,
    /// Writing failed.
    WriteFailed,
    /// The receiver refused it, or did not answer in time, as often as we try.
    Rejected,
    /// The server is going down.
    Closed,
    /// The log file was deleted.
    Replaced,
    /// The log file was cut.
    Truncated,
}

impl Loss {
    /// The label of `verbatim_audit_lost_events_total`.
    pub fn as_str(self) -> &'static str {
        match self {
            Loss::QueueFull => "queue_full",
            Loss::TooLarge => "too_large",
            Loss::WriteFailed => "write_failed",
            Loss::Rejected => "rejected",
            Loss::Closed => "closed",
            Loss::Replaced => "replaced",
            Loss::Truncated => "truncated",
        }
    }
}

/// What a sink answers.
#[derive(Debug)]
pub enum Receipt {
    /// The promise is kept (written, or in batch mode queued).
    Done,
    /// The event is lost. The sink has counted it.
    Lost(Loss),
    /// Wait: the write that carries this event is under way.
    Pending(oneshot::Receiver<Result<(), Loss>>),
    /// This event is the first of a group that is still to be written, by whoever has this.
    Leading(Leading),
}

/// Somewhere that events gather before they are written together.
pub trait Gathering: Send + Sync {
    /// Writes what has gathered. Answers what became of its first event.
    fn write_gathered(self: Arc<Self>) -> Result<(), Loss>;
}

/// The duty to write a group. It is done at the latest when this is dropped.
pub struct Leading(Option<Arc<dyn Gathering>>);

impl Leading {
    pub(super) fn new(group: Arc<dyn Gathering>) -> Self {
        Leading(Some(group))
    }

    fn write(&mut self) -> Result<(), Loss> {
        self.0.take().map_or(Ok(()), Gathering::write_gathered)
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        // Nobody waits; the sink has counted a loss.
        self.write().ok();
    }
}

impl fmt::Debug for Leading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leading")
    }
}

impl Receipt {
    /// Waits for the outcome.
    pub async fn settle(self) -> Result<(), Loss> {
        match self {
            Receipt::Done => Ok(()),
            Receipt::Lost(loss) => Err(loss),
            Receipt::Pending(outcome) => outcome.await.unwrap_or(Err(Loss::Closed)),
            Receipt::Leading(mut group) => {
                // Whoever else is ready comes first, and is in the group.
                tokio::task::yield_now().await;
                group.write()
            }
        }
    }
}

/// A place that keeps events.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Upstream's plugin name: `log`, `webhook`, `buffered`.
    fn name(&self) -> &'static str;

    /// Takes an event. Never waits for anything slower than the page cache.
    fn accept(&self, event: &Arc<EventBytes>) -> Receipt;

    /// Looks whether the sink still can do its work, also when there is nothing to write. The error
    /// is for operators.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// A record of what was lost on the way to this sink's receiver since it was last asked, for the
    /// other sinks to keep. A sink whose receiver cannot be reached cannot say so there.
    fn gap_for_others(&self) -> Option<EventBytes> {
        None
    }

    /// Waits until all that was accepted so far is where it belongs.
    async fn flush(&self);

    /// The process ends before a flush did: counts what is left as lost.
    fn give_up(&self) {}
}
