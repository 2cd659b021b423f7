//! Flow control: who may run now, who waits, who is refused.
//!
//! Called by `filters::flow_control`. [`FlowControl`] is the seam; [`PriorityAndFairness`] is what
//! runs by default, [`MaxInFlight`] the simple form (`--enable-priority-and-fairness=false`).

pub mod mandatory;
mod max_in_flight;
mod priority;

use std::borrow::Cow;

use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::request::{Held, RequestContext};

pub use max_in_flight::MaxInFlight;
pub use priority::{Load, LoadSource, PriorityAndFairness, ResourceLoad};

/// Headers that name the flow schema and priority level of a request.
pub type FlowHeaders = Vec<(HeaderName, HeaderValue)>;

/// A request that may run. Dropping it frees what it occupies.
pub struct Permit {
    /// Marks the answer; frees the seats when dropped.
    pub held: Option<Box<dyn Held>>,
    /// By which rules it runs, for the record: `schema "S", level "L"`, or the kind of in-flight
    /// limit. Empty for requests that occupy nothing.
    pub flow: Cow<'static, str>,
}

impl Permit {
    /// For requests that occupy nothing.
    pub fn free() -> Self {
        Permit {
            held: None,
            flow: Cow::Borrowed("not limited"),
        }
    }

    /// Sets the headers of an answer.
    pub fn mark(&self, headers: &mut HeaderMap) {
        if let Some(held) = &self.held {
            held.mark(headers);
        }
    }
}

/// A request that may not run.
#[derive(Debug)]
pub struct Rejected {
    /// For `Retry-After`.
    pub retry_after_seconds: u32,
    /// `queue-full`, `concurrency-limit`, `time-out` or `cancelled`.
    pub reason: &'static str,
    /// By which rules, for the record: schema and level or the kind of in-flight limit, and how full
    /// it was.
    pub flow: String,
    /// Headers for the answer.
    pub headers: FlowHeaders,
}

/// What becomes of a request at the door.
pub enum Admission<'a> {
    /// It is decided.
    Now(Result<Permit, Rejected>),
    /// It waits.
    Later(BoxFuture<'a, Result<Permit, Rejected>>),
}

/// Decides who runs.
#[async_trait]
pub trait FlowControl: Send + Sync {
    /// Lets a request in, refuses it or has it wait.
    fn enter(&self, ctx: &RequestContext) -> Admission<'_>;

    /// Waits for a place, or refuses.
    async fn admit(&self, ctx: &RequestContext) -> Result<Permit, Rejected> {
        match self.enter(ctx) {
            Admission::Now(decided) => decided,
            Admission::Later(waiting) => waiting.await,
        }
    }

    /// Called once a second: publishes the high-water marks of the second that ended.
    fn tick(&self) {}

    /// A page of `/debug/api_priority_and_fairness/`, if there is something to show.
    fn dump(&self, _page: Dump) -> Option<String> {
        None
    }
}

/// The pages of `/debug/api_priority_and_fairness/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// `dump_priority_levels`.
    PriorityLevels,
    /// `dump_queues`.
    Queues,
    /// `dump_requests`.
    Requests {
        /// `?includeRequestDetails=1`.
        details: bool,
    },
}

/// Whether a request only reads, as upstream's in-flight metrics count it.
pub fn is_read_only(ctx: &RequestContext) -> bool {
    matches!(ctx.info.verb.as_str(), "get" | "list" | "watch")
}
