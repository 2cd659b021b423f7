//! Eviction with PodDisruptionBudget arithmetic (contract/verbs.md §13c).

use crate::api::objects::Objects as _;
use crate::api::options::WriteOptions;
use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::endpoints::handlers::body::Expected;
use crate::endpoints::handlers::special;
use crate::endpoints::{Endpoints, render};
use crate::registry::objects::RegistryObjects;
use crate::registry::strategies::common::selector;
use crate::registry::{Target, Transform, Update, meta};
use crate::request::{ApiRequest, ApiResponse, RequestContext};

const EVICTION: Expected<'static> = Expected {
    group: "policy",
    version: "v1",
    kind: "Eviction",
    older_versions: &["v1beta1"],
    custom: false,
    definitions: None,
};
/// Evictions the budget controller has not confirmed.
const DISRUPTED_PODS_MAX: usize = 2000;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// Answers POST of pods/x/eviction.
pub async fn evict(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let negotiated = render::negotiate(&request.ctx, target)?;
    let (eviction, options) = special::posted(endpoints, request, target, &EVICTION).await?;
    if meta::name(&eviction) != target.name {
        return Err(Status::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let mut delete_options = special::inner_delete_options(&eviction)?;
    check_dry_run(&eviction, &options)?;
    delete_options.dry_run |= options.dry_run;
    let mut pod_target = target.clone();
    pod_target.subresource.clear();
    let pod = endpoints.registry.read_live(&pod_target).await?;
    let pod =
        pod.ok_or_else(|| Status::not_found(&target.resource.group_resource(), &target.name))?;
    let ctx = &mut request.ctx;
    if !ignores_budget(&pod) {
        spend_budget(endpoints, ctx, &pod, delete_options.dry_run).await?;
    }
    if !delete_options.dry_run {
        mark_disrupted(endpoints, ctx, &pod_target).await?;
    }
    endpoints
        .registry
        .delete_unadmitted(ctx, &pod_target, &delete_options)
        .await?;
    let mut status = Status::success(201, None);
    status.explicit_code = true;
    render::success(ctx, negotiated, &status)
}

/// Where both the query and the body ask for a dry run they must ask for the same.
fn check_dry_run(eviction: &Value, options: &WriteOptions) -> Result<(), Status> {
    let asked = eviction["deleteOptions"]["dryRun"].as_array();
    let asked: Vec<&str> = asked
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !options.dry_run || asked.is_empty() || asked == ["All"] {
        return Ok(());
    }
    Err(Status::failure(
        500,
        "",
        format!(
            "Non-matching dry-run options in request and content: [All] and [{}]",
            asked.join(" ")
        ),
    ))
}

/// Pods that are finished, not started or going anyway.
fn ignores_budget(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or("");
    meta::is_being_deleted(pod) || matches!(phase, "Succeeded" | "Failed" | "Pending")
}

/// Takes one disruption from the pod's budget, or refuses.
async fn spend_budget(
    endpoints: &Endpoints,
    ctx: &mut RequestContext,
    pod: &Value,
    dry_run: bool,
) -> Result<(), Status> {
    let objects = RegistryObjects(endpoints.registry.clone());
    let resource = crate::api::names::GroupResource::new("policy", "poddisruptionbudgets");
    let budgets = objects.list_cached(&resource, meta::namespace(pod)).await?;
    let labels = pod["metadata"]["labels"].as_object();
    let matching: Vec<_> = budgets
        .iter()
        .filter(|b| selector::matches(b["spec"].get("selector"), labels))
        .collect();
    let budget = match matching.as_slice() {
        [] => return Ok(()),
        [budget] => budget,
        _ => {
            return Err(Status::failure(
                500,
                "",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    };
    if unready_allowed(pod, budget) {
        return Ok(());
    }
    let table = endpoints.registry.table().load();
    let row = table
        .get("policy", "v1", "poddisruptionbudgets")
        .ok_or_else(Status::no_such_resource)?;
    let mut target = Target::new(row.clone(), meta::namespace(budget), meta::name(budget));
    target.subresource = "status".into();
    let name = meta::name(pod).to_string();
    let options = WriteOptions {
        dry_run,
        untracked: true,
        ..WriteOptions::default()
    };
    let update = Update {
        transform: Box::new(|old| {
            let mut object = old.ok_or_else(Status::no_such_resource)?.clone();
            check_budget(&object)?;
            let allowed = object["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
            object["status"]["disruptionsAllowed"] = json!(allowed - 1);
            if !object["status"]["disruptedPods"].is_object() {
                object["status"]["disruptedPods"] = json!({});
            }
            object["status"]["disruptedPods"][&name] = json!(meta::now());
            Ok(Transform {
                object,
                warnings: Vec::new(),
            })
        }),
        precondition_uid: None,
        creates: false,
        options: &options,
    };
    endpoints
        .registry
        .update_unadmitted(ctx, &target, update)
        .await?;
    Ok(())
}

/// A pod that is not ready may go when the budget says so or is met without it.
fn unready_allowed(pod: &Value, budget: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions
        .into_iter()
        .any(|c| c["type"] == "Ready" && c["status"] == "True");
    if ready {
        return false;
    }
    let healthy = budget["status"]["currentHealthy"].as_i64().unwrap_or(0);
    let desired = budget["status"]["desiredHealthy"].as_i64().unwrap_or(0);
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        || (desired > 0 && healthy >= desired)
}

/// Whether the budget has a disruption left; the texts say why not.
fn check_budget(budget: &Value) -> Result<(), Status> {
    let name = meta::name(budget);
    let status = &budget["status"];
    let refused = |message: String| {
        Status::failure(429, "TooManyRequests", REFUSED).cause("DisruptionBudget", message, "")
    };
    if status["observedGeneration"].as_i64().unwrap_or(0) < meta::generation(budget) {
        let message =
            format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(message).retry_after(10));
    }
    let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
    let forbidden = |why: &str| {
        let resource = crate::api::names::GroupResource::new("policy", "poddisruptionbudgets");
        Err(Status::forbidden(&resource, name, why))
    };
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if status["disruptedPods"]
        .as_object()
        .is_some_and(|p| p.len() > DISRUPTED_PODS_MAX)
    {
        return forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        );
    }
    if allowed > 0 {
        return Ok(());
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let blocked = conditions
        .into_iter()
        .find(|c| c["type"] == "DisruptionAllowed" && c["status"] == "False");
    let text = |key: &str| blocked.and_then(|c| c[key].as_str()).unwrap_or("");
    let healthy = status["currentHealthy"].as_i64().unwrap_or(0);
    let desired = status["desiredHealthy"].as_i64().unwrap_or(0);
    let message = if text("reason") == "SyncFailed" {
        format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            text("message")
        )
    } else if healthy <= desired {
        format!(
            "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        )
    } else if !text("reason").is_empty() {
        let (reason, message) = (text("reason"), text("message"));
        format!(
            "The disruption budget {name} does not allow evicting pods currently ({reason}): {message}"
        )
    } else {
        format!("The disruption budget {name} does not allow evicting pods currently")
    };
    Err(refused(message))
}

/// Sets condition DisruptionTarget on the pod.
async fn mark_disrupted(
    endpoints: &Endpoints,
    ctx: &mut RequestContext,
    target: &Target,
) -> Result<(), Status> {
    let mut status_target = target.clone();
    status_target.subresource = "status".into();
    let options = WriteOptions {
        untracked: true,
        ..WriteOptions::default()
    };
    let update = Update {
        transform: Box::new(|old| {
            let mut pod = old
                .ok_or_else(|| Status::not_found(&target.resource.group_resource(), &target.name))?
                .clone();
            let condition = json!({
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
                "lastProbeTime": null,
                "lastTransitionTime": meta::now(),
            });
            if !pod["status"]["conditions"].is_array() {
                pod["status"]["conditions"] = json!([]);
            }
            if let Some(list) = pod["status"]["conditions"].as_array_mut() {
                list.retain(|c| c["type"] != "DisruptionTarget");
                list.push(condition);
            }
            Ok(Transform {
                object: pod,
                warnings: Vec::new(),
            })
        }),
        precondition_uid: None,
        creates: false,
        options: &options,
    };
    endpoints
        .registry
        .update_unadmitted(ctx, &status_target, update)
        .await?;
    Ok(())
}
