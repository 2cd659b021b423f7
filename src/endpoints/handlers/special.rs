//! Subresources and virtual resources with a meaning of their own: scale, binding, eviction,
//! component statuses. Reviews and tokens are in [`review`].

use http::StatusCode;

use crate::api::options::ListOptions;
use crate::api::options::{DeleteOptions, WriteOptions, WriteVerb};
use crate::api::resource::Special;
use crate::api::status::Status;
use crate::base::tree::{Value, json};
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
    let special = target.resource.special(&target.subresource);
    if special == Some(Special::Scale) {
        let cached = endpoints.registry.get(target, ReadVersion::Latest).await?;
        let object = endpoints.registry.cached_tree(&cached, &target.resource)?;
        return render::object(ctx, target, negotiated, StatusCode::OK, &scale::of(&object));
    }
    if special == Some(Special::ComponentStatuses) {
        let statuses = component_statuses(endpoints).await;
        let found = statuses.iter().find(|s| meta::name(s) == target.name);
        let resource = target.resource.not_found_resource();
        let found = found.ok_or_else(|| Status::not_found(&resource, &target.name))?;
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
    if target.resource.special != Some(Special::ComponentStatuses) {
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
    match target.resource.special(&target.subresource) {
        Some(Special::Binding) => binding::bind(endpoints, request, target).await,
        Some(Special::Eviction) => eviction::evict(endpoints, request, target).await,
        Some(Special::TokenRequest) => review::token_request(endpoints, request, target).await,
        Some(Special::Review(review)) => review::create(endpoints, request, target, review).await,
        Some(Special::Mounted) => review::mounted(endpoints, request, target).await,
        Some(Special::Scale | Special::ComponentStatuses | Special::Connect(_)) | None => {
            Err(Status::no_such_resource())
        }
    }
}

/// Where the other parts of a control plane answer health checks, if they run beside this server.
const CONTROLLER_MANAGER_PORT: u16 = 10257;
const SCHEDULER_PORT: u16 = 10259;

/// Health of what upstream calls components: the store, and the rest of the control plane as far as
/// it runs on this machine.
async fn component_statuses(endpoints: &Endpoints) -> Vec<Value> {
    let proxy = &endpoints.proxy;
    let (controllers, scheduler, store) = tokio::join!(
        proxy.healthz(CONTROLLER_MANAGER_PORT),
        proxy.healthz(SCHEDULER_PORT),
        endpoints.registry.storage().status(),
    );
    let answered = |answer: Result<String, String>| match answer {
        Ok(text) => json!({"type": "Healthy", "status": "True", "message": text}),
        Err(text) => json!({"type": "Healthy", "status": "False", "message": text}),
    };
    let stored = match store {
        Ok(_) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Err(error) => {
            json!({"type": "Healthy", "status": "False", "message": "unhealthy", "error": error.to_string()})
        }
    };
    let status = |name: &str, condition: Value| {
        json!({
            "kind": "ComponentStatus",
            "apiVersion": "v1",
            "metadata": {"name": name},
            "conditions": [condition],
        })
    };
    vec![
        status("controller-manager", answered(controllers)),
        status("etcd-0", stored),
        status("scheduler", answered(scheduler)),
    ]
}

/// Reads, decodes and admits the body of a subresource POST.
pub async fn posted(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
    expected: &Expected<'_>,
) -> Result<(Value, WriteOptions), Status> {
    let bytes = body::read(request).await?;
    let ctx = &mut request.ctx;
    let options = WriteOptions::from_query(ctx.uri.query().unwrap_or(""), WriteVerb::Create)?;
    note_options(ctx, &options);
    let table = endpoints.registry.table().load();
    let mut value = body::foreign(ctx, &table, expected, &bytes, options.field_validation)?;
    body::note_request(ctx, &value);
    let registry = &endpoints.registry;
    registry
        .admit_posted(ctx, target, &mut value, &options)
        .await?;
    Ok((value, options))
}

/// DeleteOptions inside another object (Eviction).
pub fn inner_delete_options(value: &Value) -> Result<DeleteOptions, Status> {
    match value.get("deleteOptions") {
        Some(options) if options.is_object() => DeleteOptions::from_json(options.clone()),
        _ => DeleteOptions::from_query(""),
    }
}
