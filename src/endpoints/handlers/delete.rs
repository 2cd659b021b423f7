//! DELETE of one object.

use bytes::Bytes;
use http::StatusCode;

use crate::api::options::DeleteOptions;
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::endpoints::handlers::body;
use crate::endpoints::{Endpoints, render};
use crate::registry::{Deleted, Target};
use crate::request::{ApiRequest, ApiResponse, AuditLevel};

/// Deletes an object.
pub async fn delete(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let negotiated = render::negotiate(&request.ctx, target)?;
    let options = options(request, target).await?;
    let ctx = &mut request.ctx;
    ctx.audit.dry_run = options.dry_run;
    warn_orphans(ctx, target, &options);
    let deletion = endpoints.registry.delete(ctx, target, &options).await?;
    // 202 only where the client used the deprecated option and the object stays for now.
    let lingers = !deletion.removed && options.orphan_dependents == Some(false);
    let code = if lingers {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    match endpoints.registry.deletion_answer(target, deletion) {
        Deleted::Object(object) => render::object(ctx, target, negotiated, code, &object),
        Deleted::Status(status) => render::success(ctx, negotiated, &status),
    }
}

/// DeleteOptions: a body counts alone, else the query.
pub async fn options(request: &mut ApiRequest, target: &Target) -> Result<DeleteOptions, Status> {
    let bytes = body::read(request).await?;
    let ctx = &mut request.ctx;
    if bytes.is_empty() {
        return DeleteOptions::from_query(ctx.uri.query().unwrap_or(""));
    }
    let encoding = body::content_encoding(ctx, target.resource.custom)?;
    let value = body::delete_options(&bytes, encoding)?;
    if ctx.audit.level >= AuditLevel::Request {
        ctx.audit.request_object = recorded(&value);
    }
    DeleteOptions::from_json(value)
}

/// The options as upstream's events show them: in the group version that was sent, or in the
/// internal one when none was.
fn recorded(options: &Value) -> Option<Bytes> {
    let mut shown = options.clone();
    let members = shown.as_object_mut()?;
    members.insert("kind".into(), "DeleteOptions".into());
    let version = members.get("apiVersion").and_then(Value::as_str);
    if version.is_none_or(str::is_empty) {
        members.insert("apiVersion".into(), "meta.k8s.io/__internal".into());
    }
    serde_json::to_vec(&shown).ok().map(Bytes::from)
}

/// Jobs are special for their history: orphaning is still their default over REST.
fn warn_orphans(
    ctx: &mut crate::request::RequestContext,
    target: &Target,
    options: &DeleteOptions,
) {
    let rules = target.strategy().deletion();
    let chosen = options.propagation_policy.is_some() || options.orphan_dependents.is_some();
    if let Some(text) = rules.orphan_warning.filter(|_| !chosen) {
        ctx.warn(text);
    }
}
