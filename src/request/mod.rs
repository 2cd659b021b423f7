//! What one request is and what happened to it: [`RequestInfo`], [`UserInfo`], [`Attributes`],
//! [`StageTrace`], and [`RequestContext`] that carries them down the filter chain.
//!
//! # Invariants
//! - There is one [`RequestContext`] per request; audit events, metrics, spans, slow-request logs
//!   and the search index are renderings of it. Nothing else measures a request.

mod attributes;
mod context;
mod info;
pub mod negotiate;
mod response;
mod stages;
mod user;

pub use attributes::Attributes;
pub use context::{AuditDecision, AuditLevel, AuditState, RequestContext};
pub use info::{RequestInfo, RequestInfoError};
pub use response::{
    ApiRequest, ApiResponse, Blocks, Body, ByteStream, Endpoint, Held, Slices, Tunnel,
};
pub use stages::{CLOSED_BY_CLIENT, GOOD_OUTCOMES, Stage, StageTrace};
pub use user::UserInfo;
