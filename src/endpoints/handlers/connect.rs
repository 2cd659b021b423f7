//! Connect subresources: log, exec, attach, portforward and proxy.
//!
//! They end at a kubelet or an endpoint. Without a node behind, the answers are upstream's errors
//! (contract/verbs.md §13a-b).

use http::StatusCode;
use serde_json::{Value, json};

use crate::api::field::{FieldErrors, Path};
use crate::api::names::GroupKind;
use crate::api::status::Status;
use crate::endpoints::Endpoints;
use crate::registry::Target;
use crate::request::{ApiRequest, ApiResponse};

/// Connects.
pub async fn connect(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let owner = owner(target);
    let found = endpoints.registry.read_live(&owner).await?;
    let object =
        found.ok_or_else(|| Status::not_found(&owner.resource.group_resource(), &owner.name))?;
    match (target.resource.plural.as_ref(), target.subresource.as_str()) {
        ("pods", "log") => log(request, &object, &owner.name),
        ("pods", "exec" | "attach") => {
            container(request, &object, &owner.name)?;
            no_host(&object, &owner.name)
        }
        ("pods", "portforward") => no_host(&object, &owner.name),
        ("pods", "proxy") => Err(Status::bad_request("address not allowed")),
        ("services", "proxy") => Err(Status::service_unavailable(format!(
            "no endpoints available for service \"{}\"",
            target.name
        ))),
        _ => Err(Status::internal(
            "dialing nodes is not supported by this version",
        )),
    }
}

/// Proxy names carry scheme and port: `https:name:port`.
fn owner(target: &Target) -> Target {
    let mut owner = target.clone();
    if target.subresource == "proxy" {
        let parts: Vec<&str> = target.name.split(':').collect();
        let name = match parts.as_slice() {
            [name] | [name, _] => name,
            [_, name, _] => name,
            _ => target.name.as_str(),
        };
        owner.name = name.to_string();
    }
    owner.subresource.clear();
    owner
}

fn log(request: &ApiRequest, pod: &Value, name: &str) -> Result<ApiResponse, Status> {
    check_log_options(request, name)?;
    container(request, pod, name)?;
    if host(pod).is_empty() {
        return Ok(ApiResponse {
            status: StatusCode::NO_CONTENT,
            ..ApiResponse::default()
        });
    }
    Err(Status::internal(
        "dialing kubelets is not supported by this version",
    ))
}

fn check_log_options(request: &ApiRequest, name: &str) -> Result<(), Status> {
    let ctx = &request.ctx;
    let number = |key: &str| ctx.query_value(key).and_then(|v| v.parse::<i64>().ok());
    let mut errors = FieldErrors::default();
    if let Some(n) = number("tailLines").filter(|n| *n < 0) {
        let path = Path::ROOT.field("tailLines");
        errors.invalid(&path, &json!(n), "must be greater than or equal to 0");
    }
    if let Some(n) = number("limitBytes").filter(|n| *n < 1) {
        errors.invalid(
            &Path::ROOT.field("limitBytes"),
            &json!(n),
            "must be greater than 0",
        );
    }
    let since_seconds = number("sinceSeconds");
    match (since_seconds, ctx.query_value("sinceTime").is_some()) {
        (Some(_), true) => {
            let text = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            errors.forbidden(&Path::ROOT.field("[]"), text);
        }
        (Some(n), false) if n < 1 => {
            errors.invalid(
                &Path::ROOT.field("sinceSeconds"),
                &json!(n),
                "must be greater than 0",
            );
        }
        _ => {}
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(
        &GroupKind::new("", "PodLogOptions"),
        name,
        &errors,
    ))
}

/// The container that is meant, or why that cannot be told.
fn container(request: &ApiRequest, pod: &Value, name: &str) -> Result<String, Status> {
    let mut names = Vec::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        names.extend(containers.filter_map(|c| c["name"].as_str().map(|n| (list, n))));
    }
    let asked = request.ctx.query_value("container").unwrap_or_default();
    if !asked.is_empty() {
        if names.iter().any(|(_, n)| *n == asked) {
            return Ok(asked.into_owned());
        }
        return Err(Status::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        )));
    }
    let plain: Vec<&str> = names
        .iter()
        .filter(|(l, _)| *l == "containers")
        .map(|(_, n)| *n)
        .collect();
    if let [only] = plain.as_slice()
        && names.len() == 1
    {
        return Ok(only.to_string());
    }
    let list = |kind: &str| {
        let of_kind = names.iter().filter(|(l, _)| *l == kind).map(|(_, n)| *n);
        of_kind.collect::<Vec<_>>().join(" ")
    };
    let mut text = format!(
        "a container name must be specified for pod {name}, choose one of: [{}]",
        list("containers")
    );
    if !list("initContainers").is_empty() {
        text.push_str(&format!(
            " or one of the init containers: [{}]",
            list("initContainers")
        ));
    }
    if !list("ephemeralContainers").is_empty() {
        text.push_str(&format!(
            " or one of the ephemeral containers: [{}]",
            list("ephemeralContainers")
        ));
    }
    Err(Status::bad_request(text))
}

fn host(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or("")
}

fn no_host(pod: &Value, name: &str) -> Result<ApiResponse, Status> {
    if host(pod).is_empty() {
        return Err(Status::bad_request(format!(
            "pod {name} does not have a host assigned"
        )));
    }
    Err(Status::internal(
        "dialing kubelets is not supported by this version",
    ))
}
