//! What every strategy uses: access to trees, name and format rules, metadata, selectors, resources.
//!
//! Called by the strategies of every group and by the generic registry ([`meta`]). Functions take a
//! value, a stack [`Path`](crate::api::field::Path) and the error list; a valid object allocates nothing.
//!
//! # Invariants
//! - `null` and a missing member are the same (Go's nil); the accessors in [`access`] hide the difference.
//! - Errors are reported in upstream's order; texts are those of contract/validation.md.

pub mod access;
pub mod checks;
pub mod conditions;
pub mod diff;
pub mod endpoint;
pub mod golang;
pub mod gotypes;
pub mod meta;
pub mod names;
pub mod net;
pub mod resources;
pub mod selector;
