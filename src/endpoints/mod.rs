//! Endpoints: router, discovery, OpenAPI, negotiation and one handler per verb.

pub mod discovery;
pub mod version;
