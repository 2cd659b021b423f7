//! Subresources and virtual resources with a meaning of their own: scale, binding, eviction,
//! component statuses. Reviews and tokens are in [`review`].

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::options::{DeleteOptions, WriteOptions, WriteVerb};
use crate::api::patch::{Patch, PatchType};
use crate::api::status::Status;
use crate::endpoints::handlers::body::{self, Expected};
use crate::endpoints::handlers::create::note_options;
use crate::endpoints::handlers::patch::decode_patched;
use crate::endpoints::handlers::{binding, eviction, review};
use crate::endpoints::{Endpoints, render};
use crate::registry::{ReadVersion, Target, Transform, Update, meta, scale};
use crate::request::negotiate::Negotiated;
use crate::request::{ApiRequest, ApiResponse, RequestContext};

/// The Scale kind that every scale subresource speaks.
pub const SCALE: Expected<'static> = Expected {
    group: "autoscaling",
    version: "v1",
    kind: "Scale",
    custom: false,
};

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
    let items = component_statuses(endpoints).await;
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

/// PUT of a Scale.
pub async fn update_scale(
    endpoints: &Endpoints,
    ctx: &mut RequestContext,
    target: &Target,
    bytes: &Bytes,
    negotiated: Negotiated,
    options: &WriteOptions,
) -> Result<ApiResponse, Status> {
    let table = endpoints.registry.table().load();
    let new = body::foreign(ctx, &table, &SCALE, bytes, options.field_validation)?;
    body::note_request(ctx, &new);
    write_scale(
        endpoints,
        ctx,
        target,
        negotiated,
        options,
        Box::new(move |_| Ok(new.clone())),
    )
    .await
}

/// PATCH of a Scale.
pub async fn patch_scale(
    endpoints: &Endpoints,
    ctx: &mut RequestContext,
    target: &Target,
    kind: PatchType,
    bytes: &Bytes,
    negotiated: Negotiated,
    options: &WriteOptions,
) -> Result<ApiResponse, Status> {
    let patch = Patch::parse(kind, bytes);
    let gvk = crate::api::names::GroupVersionKind::new("autoscaling", "v1", "Scale");
    let schema = crate::api::schema::builtin(&gvk);
    let validation = options.field_validation;
    let transform = Box::new(move |scale: &Value| {
        let patch = patch.as_ref().map_err(Clone::clone)?;
        let raw = patch.apply(scale, schema)?;
        let expected = ("Scale", "autoscaling/v1".to_string());
        decode_patched(patch, raw, schema, expected, validation).map(|(scale, _)| scale)
    });
    write_scale(endpoints, ctx, target, negotiated, options, transform).await
}

type ScaleTransform<'a> = Box<dyn FnMut(&Value) -> Result<Value, Status> + Send + 'a>;

async fn write_scale(
    endpoints: &Endpoints,
    ctx: &mut RequestContext,
    target: &Target,
    negotiated: Negotiated,
    options: &WriteOptions,
    mut transform: ScaleTransform<'_>,
) -> Result<ApiResponse, Status> {
    let update = Update {
        transform: Box::new(move |old| {
            let old = old.ok_or_else(|| {
                Status::not_found(&target.resource.group_resource(), &target.name)
            })?;
            let new = transform(&scale::of(old))?;
            check_scale(target, &new, old)?;
            let mut object = old.clone();
            scale::apply(&mut object, &new);
            meta::set_text(
                &mut object,
                "resourceVersion",
                meta::text(&new, "resourceVersion"),
            );
            Ok(Transform {
                object,
                warnings: Vec::new(),
            })
        }),
        precondition_uid: None,
        creates: false,
        options,
    };
    let written = endpoints.registry.update(ctx, target, update).await?;
    render::object(
        ctx,
        target,
        negotiated,
        StatusCode::OK,
        &scale::of(&written.object),
    )
}

fn check_scale(target: &Target, new: &Value, old: &Value) -> Result<(), Status> {
    use crate::api::field::{FieldErrors, Path};
    let name = meta::name(new);
    if name != target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    let replicas = new["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let mut errors = FieldErrors::default();
        let spec = Path::ROOT.field("spec");
        errors.invalid(
            &spec.field("replicas"),
            &json!(replicas),
            "must be greater than or equal to 0",
        );
        let kind = crate::api::names::GroupKind::new("autoscaling", "Scale");
        return Err(Status::invalid(&kind, name, &errors));
    }
    let uid = meta::text(new, "uid");
    if !uid.is_empty() && uid != meta::text(old, "uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            meta::text(old, "uid")
        );
        return Err(Status::conflict(
            &target.resource.group_resource(),
            &target.name,
            &why,
        ));
    }
    Ok(())
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
