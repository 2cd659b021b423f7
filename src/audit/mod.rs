//! The record: audit policy, events and sinks.
//!
//! `filters::audit` asks the [`Recorder`] what to record of each request and has it emit one event
//! per stage. Sinks that see the same form a group with one policy and one redaction; an event is
//! rendered once per group, straight from the
//! [`RequestContext`](crate::request::RequestContext), into one JSON line that its sinks share.
//!
//! # Invariants
//! - A value that redaction names never reaches a line of that group, in whatever shape of body, URL
//!   or annotation it comes; a body that cannot be looked into is not shown.
//! - A line is an `audit.k8s.io/v1` Event that upstream's readers take, whatever we add. All that is
//!   ours stands in one annotation, [`event::TRACE_ANNOTATION`], on the last event of a request (and
//!   on the earlier ones where the client chose the audit ID, so that none of them hides another).
//! - Nothing is lost silently: what a sink cannot keep is counted by sink and reason, and a gap
//!   record (itself an event) follows in the log.
//! - Sinks never reach back into the request but through the [`Receipt`](sink::Receipt) that their
//!   mode promises.
//!
//! # Decisions
//! - **The log is the journal.** The search index is not fed through a queue; it follows the log
//!   file from a position that it commits together with its documents. The log is the queue: no
//!   bound to hit, nothing lost or doubled after kill -9. Rejected: a channel to the indexer plus a
//!   replay path, which are two ways to do one thing.
//! - **Grouped writes by the callers themselves.** Whoever finds the file idle writes what has
//!   gathered, in one `write(2)`; others wait for the group they are in. Rejected: tracing-appender's
//!   non-blocking worker. It cannot say when a line is written (so neither blocking mode nor strict
//!   mode can be built on it), drops lines without telling which, rotates by time only, and a hop to
//!   another thread costs more than the write into the page cache.
//! - **Hash chain in a sidecar** (`<log>.chain`, one hash per line), not in the lines: lines stay as
//!   upstream writes them and a line needs not know its place when it is rendered. See [`chain`].
//! - **A kind of ours around `Policy`** for sinks, redaction, sampling and names, rather than more
//!   fields in `Policy`: a plain policy file means here what it means to kube-apiserver, to the letter,
//!   and ours can be strict where upstream must be lenient.
//! - **Own facts in one annotation** rather than several: tools that compare with upstream's events
//!   have one key to set aside.

pub mod chain;
pub mod config;
pub mod config_file;
pub mod event;
pub mod json;
pub mod lines;
pub mod metrics;
pub mod own;
pub mod policy;
pub mod policy_file;
pub mod recorder;
pub mod redact;
pub mod sampling;
pub mod sink;
mod stage;
mod trace;

pub use event::{EventBytes, Head, Response, ResponseObject};
pub use policy::{Decision, Policy};
pub use recorder::{Recorder, Recording, Refused};
pub use sink::Sink;
pub use stage::{STAGES, Stage};
