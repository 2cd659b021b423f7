//! Binding a pod to a node (contract/verbs.md §13d).

use crate::api::names::GroupResource;
use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::endpoints::handlers::body::Expected;
use crate::endpoints::handlers::special;
use crate::endpoints::{Endpoints, render};
use crate::registry::{Target, Transform, Update, meta};
use crate::request::{ApiRequest, ApiResponse};

const BINDING: Expected<'static> = Expected {
    group: "",
    version: "v1",
    kind: "Binding",
    older_versions: &[],
    custom: false,
    definitions: None,
};

/// Answers POST of pods/x/binding and of the legacy bindings collection.
pub async fn bind(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let negotiated = render::negotiate(&request.ctx, target)?;
    let (binding, mut options) = special::posted(endpoints, request, target, &BINDING).await?;
    let name = meta::name(&binding).to_string();
    if !target.name.is_empty() && name != target.name {
        return Err(Status::bad_request(
            "name in URL does not match name in Binding object",
        ));
    }
    check(&binding)?;
    options.untracked = true;
    let table = endpoints.registry.table().load();
    let pods = table
        .get("", "v1", "pods")
        .ok_or_else(Status::no_such_resource)?;
    let mut pod = Target::new(pods.clone(), &target.namespace, &name);
    pod.subresource = "binding".into();
    let uid = meta::text(&binding, "uid");
    let update = Update {
        precondition_uid: (!uid.is_empty()).then(|| uid.to_string()),
        transform: Box::new(|old| {
            let old =
                old.ok_or_else(|| Status::not_found(&pod.resource.group_resource(), &name))?;
            Ok(Transform {
                object: bound(old, &binding, &name)?,
                warnings: Vec::new(),
            })
        }),
        creates: false,
        options: &options,
    };
    endpoints
        .registry
        .update_unadmitted(&mut request.ctx, &pod, update)
        .await?;
    let mut status = Status::success(201, None);
    status.explicit_code = true;
    render::success(&mut request.ctx, negotiated, &status)
}

fn check(binding: &Value) -> Result<(), Status> {
    let mut errors = crate::api::field::FieldErrors::default();
    let target = crate::api::field::Path::ROOT.field("target");
    let kind = &binding["target"]["kind"];
    if !matches!(kind.as_str().unwrap_or(""), "" | "Node") {
        errors.not_supported(&target.field("kind"), kind, &["Node", "<empty>"]);
    }
    if binding["target"]["name"].as_str().unwrap_or("").is_empty() {
        errors.required(&target.field("name"), "");
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::failure(500, "", errors.to_aggregate()))
}

/// The pod with its node set.
fn bound(old: &Value, binding: &Value, name: &str) -> Result<Value, Status> {
    let conflict = |why: String| {
        Err(Status::conflict(
            &GroupResource::new("", "pods/binding"),
            name,
            &why,
        ))
    };
    if meta::is_being_deleted(old) {
        return conflict(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        ));
    }
    let node = old["spec"]["nodeName"].as_str().unwrap_or("");
    if !node.is_empty() {
        return conflict(format!("pod {name} is already assigned to node \"{node}\""));
    }
    if old["spec"]["schedulingGates"]
        .as_array()
        .is_some_and(|g| !g.is_empty())
    {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut pod = old.clone();
    pod["spec"]["nodeName"] = binding["target"]["name"].clone();
    for member in ["annotations", "labels"] {
        merge(&mut pod, binding, member);
    }
    if let Some(status) = pod["status"].as_object_mut() {
        status.remove("nominatedNodeName");
    }
    set_scheduled(&mut pod);
    meta::set_text(
        &mut pod,
        "resourceVersion",
        meta::text(binding, "resourceVersion"),
    );
    Ok(pod)
}

fn merge(pod: &mut Value, binding: &Value, member: &str) {
    let Some(added) = binding["metadata"][member]
        .as_object()
        .filter(|m| !m.is_empty())
    else {
        return;
    };
    let mut merged = meta::metadata(pod)
        .get(member)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    merged.extend(added.clone());
    meta::set(pod, member, Some(Value::Object(merged)));
}

/// Sets condition PodScheduled.
fn set_scheduled(pod: &mut Value) {
    let condition = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": meta::now(),
    });
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    let conditions = &mut pod["status"]["conditions"];
    match conditions.as_array_mut() {
        Some(list) => {
            list.retain(|c| c["type"] != "PodScheduled");
            list.push(condition);
        }
        None => *conditions = json!([condition]),
    }
}
