//! The AdmissionRequest as webhooks get it and expressions see it.

use crate::admission::matching::{name_of, namespace_of};
use crate::admission::{Admission, Operation};
use crate::api::resource::Resource;
use crate::base::tree::{Map, Value, json};

/// The request of a review, without the objects. `version` is the row that is sent.
pub(super) fn request(admission: &Admission<'_>, version: &Resource, uid: &str) -> Value {
    let subresource = admission.subresource;
    let kind = |row: &Resource| match row.subresource(subresource) {
        Some(sub) => json!({
            "group": sub.kind.group, "version": sub.kind.version, "kind": sub.kind.kind,
        }),
        None => json!({"group": row.group, "version": row.version, "kind": row.kind}),
    };
    let resource = |row: &Resource| json!({"group": row.group, "version": row.version, "resource": row.plural});
    let requested = admission.resource;
    let mut request = Map::new();
    request.insert("uid".into(), json!(uid));
    request.insert("kind".into(), kind(version));
    request.insert("resource".into(), resource(version));
    put_text(&mut request, "subResource", subresource);
    request.insert("requestKind".into(), kind(requested));
    request.insert("requestResource".into(), resource(requested));
    put_text(&mut request, "requestSubResource", subresource);
    put_text(&mut request, "name", name_of(admission));
    put_text(&mut request, "namespace", namespace_of(admission));
    request.insert("operation".into(), json!(admission.operation.name()));
    request.insert("userInfo".into(), json!(admission.user));
    request.insert("dryRun".into(), json!(admission.dry_run));
    request.insert("options".into(), options(admission));
    Value::Object(request)
}

fn put_text(map: &mut Map, key: &str, text: &str) {
    if !text.is_empty() {
        map.insert(key.into(), json!(text));
    }
}

/// The options with their kind, which clients leave out.
fn options(admission: &Admission<'_>) -> Value {
    let kind = match admission.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = match admission.options {
        Value::Object(members) => members.clone(),
        _ => Map::new(),
    };
    options.entry("kind".into()).or_insert_with(|| json!(kind));
    options.insert("apiVersion".into(), json!("meta.k8s.io/v1"));
    Value::Object(options)
}
