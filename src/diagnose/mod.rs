//! Explanations: why a request was refused, failed or was slow.
//!
//! [`causes`] tells from one event and its stage trace what became of a request; [`explain`] adds what
//! RBAC says about refusals, and [`live`] what other requests, the store and the metrics say; [`api`]
//! serves the result as `explanations` of group `audit.verbatim.dev`. [`summary`] groups the causes of
//! many requests.
//!
//! # Invariants
//! - An explanation rests on evidence that it names. Where that does not suffice it says `unknown`.
//! - Causes are of a closed vocabulary ([`cause::Class`]), and so is what they are told from: stages,
//!   storage failures, refusals of credentials. Message texts decide only where upstream's words are
//!   all there is.
//! - Explanations go to those who may `get explanations` and read audit events, never to whoever was
//!   refused.
//! - What RBAC says is what it says now; when it has changed since, the explanation says so.
//!
//! # Decisions
//! - **No store is known here.** [`live::Sources`] is asked how the store is; `storage` answers in its
//!   own words. Rejected: etcd's API in the explanations, which would tie them to one backend.

pub mod access;
pub mod api;
pub mod cause;
pub mod causes;
pub mod evidence;
pub mod explain;
pub mod live;
pub mod summary;
pub mod trace;

pub use access::AccessExplainer;
pub use cause::{Cause, Certainty, Class};
pub use explain::Explanation;
