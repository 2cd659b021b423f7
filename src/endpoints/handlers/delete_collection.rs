//! DELETE of a collection: lists by the selectors, deletes each.

use crate::api::options::ListOptions;
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::endpoints::handlers::{delete, list, select};
use crate::endpoints::{Endpoints, render};
use crate::registry::Target;
use crate::request::{ApiRequest, ApiResponse};

/// Deletes every object the selectors match and answers them as a list.
pub async fn delete_collection(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let negotiated = render::negotiate(&request.ctx, target)?;
    let list_options = ListOptions::from_query(request.ctx.query(), false)?;
    let selection = select::selection(target, &list_options)?;
    let options = delete::options(request, target).await?;
    let ctx = &mut request.ctx;
    ctx.audit.dry_run = options.dry_run;
    let (version, page) = select::list_version(&list_options)?;
    let listing = endpoints
        .registry
        .list(target, version, &selection, page)
        .await?;
    let mut items: Vec<Value> = Vec::new();
    for cached in &listing.items {
        let one = target.with_name(cached.namespace(), cached.name());
        match endpoints.registry.delete(ctx, &one, &options).await {
            Ok(_) => {}
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
        items.push(endpoints.registry.cached_tree(cached, &target.resource)?);
    }
    let metadata = list::list_metadata(target, &listing, selection.is_everything());
    render::list_items(ctx, target, negotiated, items, metadata)
}
