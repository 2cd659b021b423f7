//! GET of a collection: a stream of shared slices, never joined, unless another form was asked for.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;

use crate::api::options::ListOptions;
use crate::api::resource::Resource;
use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::endpoints::handlers::get::{end_read, is_plain, needs_conversion};
use crate::endpoints::handlers::{select, special};
use crate::endpoints::{Endpoints, render};
use crate::registry::{Listing, Page, Target, list_status};
use crate::request::{ApiRequest, ApiResponse, AuditLevel, Body};
use crate::storage::Error;
use crate::storage::cacher::CachedObject;

/// Answers a list.
pub async fn list(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    if target.resource.special.is_some() {
        return Box::pin(special::list(endpoints, request, target)).await;
    }
    let ctx = &mut request.ctx;
    let negotiated = render::negotiate(ctx, target)?;
    let options = ListOptions::from_query(ctx.uri.query().unwrap_or(""), false)?;
    let selection = select::selection(target, &options)?;
    let (version, mut page) = select::list_version(&options)?;
    // One name in one place: there is no second page.
    let one_place = !target.resource.namespaced || !target.namespace.is_empty();
    if one_place && selection.fields.required("metadata.name").is_some() {
        page.limit = 0;
    }
    // Continue tokens are relative to the namespace of the request.
    if let Some(start) = &mut page.start
        && !target.namespace.is_empty()
    {
        *start = format!("{}/{start}", target.namespace);
    }
    let began = ctx.stages.begin("cache/list");
    let listed = endpoints
        .registry
        .list_raw(target, version, &selection, page.clone())
        .await;
    let listed = listed.map_err(|error| continue_status(&error, target, &page));
    end_read(ctx, "cache/list", began, version, listed.as_ref().err());
    let listing = listed?;
    let metadata = list_metadata(target, &listing, selection.is_everything());
    if is_plain(negotiated) && !needs_conversion(target) {
        return Ok(plain(ctx, target, &listing, &metadata));
    }
    let mut items = Vec::with_capacity(listing.items.len());
    for cached in &listing.items {
        items.push(endpoints.registry.cached_tree(cached, &target.resource)?);
    }
    render::list_items(ctx, target, negotiated, items, metadata)
}

/// An expired continue token comes with a new one that continues inconsistently.
fn continue_status(error: &Error, target: &Target, page: &Page) -> Status {
    let (Error::Compacted { .. }, Some(start)) = (error, &page.start) else {
        return list_status(error, &target.resource);
    };
    let relative = start
        .strip_prefix(&format!("{}/", target.namespace))
        .filter(|_| !target.namespace.is_empty())
        .unwrap_or(start);
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status = status.because(format!("store/{}", error.because()));
    status.continue_token = Some(select::continue_token(relative.trim_end_matches('\0'), -1));
    status
}

/// `metadata` of a list: resourceVersion, and where there is more, the token and the count.
pub fn list_metadata(target: &Target, listing: &Listing, everything: bool) -> Value {
    let mut metadata = json!({"resourceVersion": listing.revision.to_string()});
    if listing.more
        && let Some(last) = listing.items.last()
    {
        let key = last.relative_key();
        let relative = if target.namespace.is_empty() {
            key
        } else {
            key.split_once('/').map_or(key, |(_, name)| name)
        };
        let revision = i64::try_from(listing.revision).unwrap_or(i64::MAX);
        metadata["continue"] = json!(select::continue_token(relative, revision));
        if let Some(remaining) = listing.remaining.filter(|_| everything) {
            metadata["remainingItemCount"] = json!(remaining);
        }
    }
    metadata
}

/// Answers the cached bytes of the items, as a list.
fn plain(
    ctx: &mut crate::request::RequestContext,
    target: &Target,
    listing: &Listing,
    metadata: &Value,
) -> ApiResponse {
    let segments = splice(&target.resource, &listing.items, metadata);
    if ctx.audit.level >= AuditLevel::RequestResponse {
        ctx.audit.response_object = Some(join(&segments));
    }
    let mut response = ApiResponse::new(StatusCode::OK, "application/json", Bytes::new());
    response.body = Body::Segments(segments);
    response
}

/// Splices the cached bytes of items into a list, as segments of its text.
pub fn splice(row: &Resource, items: &[Arc<CachedObject>], metadata: &Value) -> Vec<Bytes> {
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        row.list_kind,
        row.group_version()
    );
    let mut segments = Vec::with_capacity(items.len() * 2 + 2);
    segments.push(Bytes::from(head));
    for (index, cached) in items.iter().enumerate() {
        match (index, row.custom) {
            (0, true) => {}
            (_, true) => segments.push(Bytes::from_static(b",")),
            (0, false) => segments.push(Bytes::from_static(b"{")),
            (_, false) => segments.push(Bytes::from_static(b",{")),
        }
        segments.push(if row.custom {
            cached.json()
        } else {
            cached.list_item_tail()
        });
    }
    segments.push(Bytes::from_static(b"]}\n"));
    segments
}

fn join(segments: &[Bytes]) -> Bytes {
    let mut out = BytesMut::with_capacity(segments.iter().map(Bytes::len).sum());
    segments.iter().for_each(|s| out.put_slice(s));
    out.freeze()
}
