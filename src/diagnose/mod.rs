//! Explanations: why a request was refused, failed or was slow.
//!
//! [`explain`] looks at the events of one audit ID, which carry the stage trace, and asks RBAC about
//! refusals; [`api`] serves the result as `explanations` of group `audit.verbatim.dev`.
//!
//! # Invariants
//! - An explanation rests on evidence that it names. Where that does not suffice it says `unknown`.
//! - Explanations go to those who may `get explanations`, never to whoever was refused.
//! - What RBAC says is what it says now; when it has changed since, the explanation says so.

pub mod access;
pub mod api;
pub mod causes;
pub mod explain;

pub use access::AccessExplainer;
pub use explain::{Certainty, Explanation};
