//! One handler per verb, and one per subresource with a meaning of its own.
//!
//! A handler parses options, decodes, calls the registry and renders. Errors are `Status`.

pub mod apply;
pub mod binding;
pub mod body;
pub mod connect;
pub mod create;
pub mod delete;
pub mod delete_collection;
pub mod eviction;
pub mod get;
pub mod list;
pub mod patch;
pub mod review;
pub mod scale;
pub mod select;
pub mod special;
pub mod update;
pub mod watch;
