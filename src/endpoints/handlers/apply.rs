//! Server-side apply.

use bytes::Bytes;

use crate::api::options::WriteOptions;
use crate::api::status::Status;
use crate::endpoints::Endpoints;
use crate::registry::Target;
use crate::request::negotiate::Negotiated;
use crate::request::{ApiResponse, RequestContext};

/// Applies an object.
pub async fn apply(
    _endpoints: &Endpoints,
    _ctx: &mut RequestContext,
    _target: &Target,
    _bytes: &Bytes,
    _negotiated: Negotiated,
    _options: &WriteOptions,
) -> Result<ApiResponse, Status> {
    Err(Status::unsupported_media_type(
        "server-side apply is not supported yet",
    ))
}
