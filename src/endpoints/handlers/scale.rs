//! The scale subresource: PUT, PATCH and apply of a Scale, written to its owner.
//!
//! Who owns the replicas is seen through the Scale's own managed fields (contract/apply.md §8).

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;

use crate::api::managed_fields::{self, Filter, Type, Versions, Writer};
use crate::api::names::GroupVersion;
use crate::api::options::WriteOptions;
use crate::api::patch::{Patch, PatchType};
use crate::api::schema::{self, Touched};
use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::endpoints::handlers::apply::{Config, check_kind};
use crate::endpoints::handlers::body::{self, Expected};
use crate::endpoints::handlers::patch::decode_patched;
use crate::endpoints::{Endpoints, render};
use crate::registry::managed_fields::{apply_status, manager_name};
use crate::registry::{Target, Transform, Update, meta, scale};
use crate::request::negotiate::Negotiated;
use crate::request::{ApiResponse, RequestContext};

/// The Scale kind that every scale subresource speaks.
pub const SCALE: Expected<'static> = Expected {
    group: "autoscaling",
    version: "v1",
    kind: "Scale",
    older_versions: &[],
    custom: false,
    definitions: None,
};

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
        (Box::new(move |_: &Value| Ok(new.clone())), false),
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
    let schema = schema::builtin(&gvk);
    let validation = options.field_validation;
    let transform: TransformFn<'_> = Box::new(move |scale: &Value| {
        let patch = patch.as_ref().map_err(Clone::clone)?;
        let raw = patch.apply(scale, schema)?;
        let expected = ("Scale", "autoscaling/v1".to_string());
        decode_patched((patch, &Touched::All), raw, schema, expected, validation)
            .map(|(scale, _)| scale)
    });
    let transform = (transform, false);
    write_scale(endpoints, ctx, target, negotiated, options, transform).await
}

/// Apply of a Scale.
pub async fn apply_scale(
    endpoints: &Endpoints,
    ctx: &mut RequestContext,
    target: &Target,
    config: &Config,
    negotiated: Negotiated,
    options: &WriteOptions,
) -> Result<ApiResponse, Status> {
    let manager = manager_name(ctx, options);
    let force = options.force.unwrap_or(false);
    for warning in config.warnings(options.field_validation)? {
        ctx.warn(warning);
    }
    let transform: TransformFn<'_> = Box::new(move |live: &Value| {
        let wanted = GroupVersion::new(SCALE.group, SCALE.version);
        check_kind(&config.object, &wanted, SCALE.kind)?;
        as_scale_writer(&manager, |writer| {
            managed_fields::apply(live, true, &config.object, force, writer)
        })
        .map_err(apply_status)
    });
    let transform = (transform, true);
    write_scale(endpoints, ctx, target, negotiated, options, transform).await
}

/// What makes a new Scale, and whether that has the new managed fields.
type ScaleTransform<'a> = (TransformFn<'a>, bool);

type TransformFn<'a> = Box<dyn FnMut(&Value) -> Result<Value, Status> + Send + 'a>;

async fn write_scale(
    endpoints: &Endpoints,
    ctx: &mut RequestContext,
    target: &Target,
    negotiated: Negotiated,
    options: &WriteOptions,
    (mut transform, tracked): ScaleTransform<'_>,
) -> Result<ApiResponse, Status> {
    let manager = manager_name(ctx, options);
    let api_version = target.resource.group_version().to_string();
    let paths = replicas_paths(endpoints, target);
    let mut untracked = options.clone();
    untracked.untracked = true;
    let update = Update {
        transform: Box::new(move |old| {
            let old = old.ok_or_else(|| {
                Status::not_found(&target.resource.group_resource(), &target.name)
            })?;
            let owners = managed_fields::managed_fields_of(old);
            let mut before = scale::of(old);
            managed_fields::put(
                &mut before,
                managed_fields::entries_of_scale(owners, &paths),
            );
            let mut new = transform(&before)?;
            check_scale(target, &new, old)?;
            if !tracked {
                as_scale_writer(&manager, |writer| {
                    managed_fields::track(&before, true, &mut new, writer);
                });
            }
            let owners = managed_fields::entries_of_parent(
                owners,
                managed_fields::managed_fields_of(&new),
                &paths,
                &api_version,
            );
            let mut object = old.clone();
            scale::apply(&mut object, &new);
            managed_fields::put(&mut object, owners);
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
        options: &untracked,
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

/// Where each served version of the target's kind keeps its replicas.
fn replicas_paths(endpoints: &Endpoints, target: &Target) -> Vec<(String, Vec<&'static str>)> {
    let table = endpoints.registry.table().load();
    let row = &target.resource;
    let versions = table
        .rows()
        .filter(|other| other.group == row.group && other.plural == row.plural);
    versions
        .map(|other| (other.group_version().to_string(), vec!["spec", "replicas"]))
        .collect()
}

/// The one version of Scale.
struct ScaleVersion;

impl Versions for ScaleVersion {
    fn type_of(&self, _api_version: &str) -> Option<Type<'_>> {
        schema::definition("io.k8s.api.autoscaling.v1.Scale").map(Type::Known)
    }

    fn convert<'a>(&self, object: &'a Value, _api_version: &str) -> Option<Cow<'a, Value>> {
        Some(Cow::Borrowed(object))
    }
}

/// Calls `write` with `manager` as the writer of a Scale.
fn as_scale_writer<T>(manager: &str, write: impl FnOnce(&Writer<'_>) -> T) -> T {
    let zero = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {}, "spec": {}});
    write(&Writer {
        manager,
        api_version: "autoscaling/v1",
        subresource: "scale",
        filter: &Filter::All,
        now: &meta::now(),
        zero: &zero,
        versions: &ScaleVersion,
    })
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
