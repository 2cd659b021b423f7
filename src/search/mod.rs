//! The index over the record and its query language.
//!
//! [`Index`] follows the audit log and answers searches; [`query`] reads what people type;
//! [`summary`] counts and times; [`hub`] has the newest events for watches; [`api`] serves all of
//! it as resources of group `audit.verbatim.dev`.
//!
//! # Invariants
//! - An event is searchable the moment it is in the log: a search first has the indexer catch up.
//! - A position in the log is committed together with the documents up to it, so after a crash
//!   nothing is missing and nothing is there twice.
//! - A caller who may list events of one namespace sees events of that namespace only; the
//!   restriction is part of the tantivy query, not a filter over its results.
//!
//! # Decisions
//! - **One tantivy index per day** of `stageTimestamp`: newest-first search stops at the first days,
//!   retention is `remove_dir_all`, a corrupt day is rebuilt alone.
//! - **Following the file instead of a queue**, see `audit`. A server without a log file of its own
//!   keeps a journal in its data directory for this.
//! - **Commit on demand**: searches ask for it; otherwise every few seconds. Rejected: a commit each
//!   half second, which costs two cores 4% for readers who are not there.
//! - **Requests come first**: while they take the whole machine, up to some 64 MB of events wait in the
//!   log (`verbatim_search_behind_bytes`; what is left of a rotated file is not counted) and the
//!   indexer takes small turns, see `pace`. A search has it
//!   go on at once, so nothing is missing in an answer; it waits for what was behind.
//! - **Columns instead of terms** for keywords that have few values: most events have the common
//!   ones, and looking through a column finds the others.
//! - **Lists as one text**: groups of a user, stages of a pipeline come in few combinations. A column of
//!   combinations is one value per event instead of a dozen; queries take the few texts apart.
//! - **Short texts as one**: most name the same user and object, and a word that a text repeats costs
//!   next to nothing.
//! - **Terms in SSTables** (tantivy's feature `quickwit`): building FSTs took a sixth of the CPU per
//!   event, and they take more room.
//! - **Summaries take segments on several threads** and read columns by the block; one value at a
//!   time cost four times as much.
//! - **Few documents wait for the writer's threads** (see `in_flight`): in tantivy's own queue of ten
//!   thousand they leave the processor's caches, which cost an import a quarter of its speed.
//! - **Sort key** `key` = microseconds << 12 | what tells events of one microsecond apart: one column
//!   orders, pages and filters by time. It is made of the event alone, so it survives rebuilding.
//! - **No tree, no copy**: a document is the line and pointers into it. Free text has no positions, so
//!   quoted texts find all their words, in any order.

mod in_flight;
mod micros;
mod pace;

pub mod api;
pub mod days;
pub mod document;
pub mod event;
pub mod fields;
pub mod follower;
pub mod hub;
pub mod import;
pub mod index;
pub mod indexer;
pub mod ingest;
pub mod metrics;
pub mod newest;
pub mod partition;
pub mod query;
pub mod summary;
pub mod table;
pub mod tail;
pub mod window;
pub mod words;

pub use event::{CLUSTER_ANNOTATION, with_cluster};
pub use follower::Follower;
pub use hub::Hub;
pub use index::{Direction, Hit, Index, IndexOptions, Page, Search, SearchError};
pub use indexer::Source;
pub use ingest::Ingest;
pub use metrics::Metrics;
pub use query::QueryError;
pub use tail::FollowedLog;
pub use window::Window;
