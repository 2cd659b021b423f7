//! Subresources and virtual resources with a meaning of their own: scale, binding, eviction,
//! component statuses. Reviews and tokens are in [`review`].

use http::StatusCode;
use serde_json::{Value, json};

use crate::api::options::ListOptions;
use crate::api::options::{DeleteOptions, WriteOptions, WriteVerb};
use crate::api::status::Status;
use crate::endpoints::handlers::body::{self, Expected};
use crate::endpoints::handlers::create::note_options;
use crate::endpoints::handlers::select;
use crate::endpoints::handlers::{binding, eviction, review};
use crate::endpoints::{Endpoints, render};
use crate::registry::{ReadVersion, Target, meta, scale};
use crate::request::{ApiRequest, ApiResponse};

/// GET of a subresource or virtual resource that is not a stored object.
pub async fn get(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let ctx = &mut request.ctx;
    let negotiated = render::negotiate(ctx, target)?;
    if target.subresource == "scale" {
        let cached = endpoints.registry.get(target, ReadVersion::Latest).await?;
        let object = endpoints.registry.cached_tree(&cached, &target.resource)?;
        return render::object(ctx, target, negotiated, StatusCode::OK, &scale::of(&object));
    }
    if target.resource.plural == "componentstatuses" {
        let statuses = component_statuses(endpoints).await;
        let found = statuses.iter().find(|s| meta::name(s) == target.name);
        // The one place where upstream's message carries the singular.
        let gr = crate::api::names::GroupResource::new("", "componentstatus");
        let found = found.ok_or_else(|| Status::not_found(&gr, &target.name))?;
        return render::object(ctx, target, negotiated, StatusCode::OK, found);
    }
    Err(Status::no_such_resource())
}

/// LIST of a virtual resource.
pub async fn list(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let negotiated = render::negotiate(&request.ctx, target)?;
    if target.resource.plural != "componentstatuses" {
        return Err(Status::no_such_resource());
    }
    let options = ListOptions::from_query(request.ctx.query(), false)?;
    let selected = select::selection(target, &options)?;
    let mut items = component_statuses(endpoints).await;
    items.retain(|item| {
        selected.labels.matches(|_| None)
            && selected.fields.matches(|field| match field {
                "metadata.name" => meta::name(item).to_string().into(),
                _ => "".into(),
            })
    });
    render::list_items(&mut request.ctx, target, negotiated, items, json!({}))
}

/// POST of a subresource or virtual resource.
pub async fn create(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    match (target.resource.plural.as_ref(), target.subresource.as_str()) {
        ("pods", "binding") | ("bindings", "") => binding::bind(endpoints, request, target).await,
        ("pods", "eviction") => eviction::evict(endpoints, request, target).await,
        _ => review::create(endpoints, request, target).await,
    }
}

/// Health of what upstream calls components: here the store is the only one.
async fn component_statuses(endpoints: &Endpoints) -> Vec<Value> {
    let healthy = endpoints.registry.storage().status().await;
    let condition = match healthy {
        Ok(_) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Err(error) => {
            json!({"type": "Healthy", "status": "False", "message": "unhealthy", "error": error.to_string()})
        }
    };
    vec![json!({
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": "etcd-0"},
        "conditions": [condition],
    })]
}

/// Reads and decodes the body of a subresource POST.
pub async fn posted(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    expected: &Expected<'_>,
) -> Result<(Value, WriteOptions), Status> {
    let bytes = body::read(request).await?;
    let ctx = &mut request.ctx;
    let options = WriteOptions::from_query(ctx.uri.query().unwrap_or(""), WriteVerb::Create)?;
    note_options(ctx, &options);
    let table = endpoints.registry.table().load();
    let value = body::foreign(ctx, &table, expected, &bytes, options.field_validation)?;
    body::note_request(ctx, &value);
    Ok((value, options))
}

/// DeleteOptions inside another object (Eviction).
pub fn inner_delete_options(value: &Value) -> Result<DeleteOptions, Status> {
    match value.get("deleteOptions") {
        Some(options) if options.is_object() => DeleteOptions::from_json(options.clone()),
        _ => DeleteOptions::from_query(""),
    }
}
