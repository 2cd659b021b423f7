//! The Kubernetes API as data: names, `Status`, field errors, selectors, schemas, patches.
//!
//! Level 1: imports nothing of this crate but `base`. Knows nothing of HTTP, storage or users.
//!
//! # Invariants
//! - No kind has Rust code here; kinds are rows ([`resource::Resource`]) and schemas.

pub mod bytes;
pub mod cel;
#[cfg(test)]
pub(crate) mod fake_objects;
pub mod field;
pub mod json;
pub mod managed_fields;
pub mod names;
pub mod objects;
pub mod options;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod status;
pub mod time;
pub mod yaml;
