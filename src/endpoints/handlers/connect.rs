//! Connect subresources: log, exec, attach, portforward and proxy (contract/verbs.md §13a-b).
//!
//! Where a subresource leads its column says ([`Connect`]). The order is upstream's: options,
//! admission of the options object, authorization of what an upgrade amounts to, the objects, the
//! connection. Connecting itself is [`crate::endpoints::proxy`]'s.

use std::sync::Arc;

use crate::api::names::GroupResource;
use crate::api::objects::Objects as _;
use crate::api::resource::{Connect, Special};
use crate::api::status::Status;
use crate::authorization::Verdict;
use crate::authorization::refusal::forbidden;
use crate::base::tree::Value;
use crate::endpoints::Endpoints;
use crate::endpoints::proxy::location::{self, Location, ProxyName};
use crate::endpoints::proxy::options::ConnectOptions;
use crate::endpoints::proxy::{LogRequest, dial::Destination};
use crate::endpoints::websocket;
use crate::registry::objects::RegistryObjects;
use crate::registry::{ReadVersion, ResourceTable, Target};
use crate::request::{ApiRequest, ApiResponse, Attributes, Body, RequestContext};

/// Connects.
pub async fn connect(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let Some(Special::Connect(to)) = target.resource.special(&target.subresource) else {
        return Err(Status::no_such_resource());
    };
    let options = ConnectOptions::parse(request.ctx.query());
    let path = proxied_path(&request.ctx).to_string();
    if to != Connect::Log {
        if options.values("dryRun").next().is_some() {
            return Err(Status::bad_request("dryRun is not supported"));
        }
        let object = options.object(to, &path);
        let registry = &endpoints.registry;
        registry
            .admit_connect(&mut request.ctx, target, object)
            .await?;
    }
    if matches!(to, Connect::Exec | Connect::Attach | Connect::PortForward) {
        check_may_create(endpoints, &request.ctx).await?;
    }
    let connection = Connection {
        endpoints,
        table: endpoints.registry.table().load(),
        target,
        options,
        path,
    };
    match to {
        Connect::Log => connection.log(request).await,
        Connect::Exec | Connect::Attach => connection.stream(request, to).await,
        Connect::PortForward => connection.port_forward(request).await,
        Connect::ProxyPod | Connect::ProxyService | Connect::ProxyNode => {
            connection.proxy(request, to).await
        }
    }
}

/// What follows the subresource in the path, as it was sent.
fn proxied_path(ctx: &RequestContext) -> &str {
    let info = &ctx.info;
    let version = if info.prefix == "api" { 2 } else { 3 };
    let namespace = if info.namespace.is_empty() { 0 } else { 2 };
    let before = version + namespace + 3;
    let path = ctx.uri.path();
    let mut slashes = memchr::memchr_iter(b'/', path.as_bytes());
    slashes.nth(before).map_or("", |at| &path[at..])
}

/// A GET that upgrades runs commands as a POST would, so the user must be allowed that one.
async fn check_may_create(endpoints: &Endpoints, ctx: &RequestContext) -> Result<(), Status> {
    if ctx.info.verb == "create" {
        return Ok(());
    }
    let user = ctx.user();
    let attributes = Attributes {
        verb: "create",
        ..Attributes::of(&ctx.info, &user)
    };
    let decision = endpoints.authorizer.authorize(&attributes).await;
    match decision.verdict {
        Verdict::Allow => Ok(()),
        _ => Err(forbidden(&attributes, &decision.reason)),
    }
}

/// One request on its way out.
struct Connection<'a> {
    endpoints: &'a Endpoints,
    table: Arc<ResourceTable>,
    target: &'a Target,
    options: ConnectOptions,
    path: String,
}

impl Connection<'_> {
    async fn log(&self, request: &mut ApiRequest) -> Result<ApiResponse, Status> {
        let name = &self.target.name;
        let pod = self.object("pods", &self.target.namespace, name).await?;
        self.options.check_log(name)?;
        let container = container(self.options.text("container"), &pod, name)?;
        if node_name(&pod).is_empty() {
            return Ok(ApiResponse {
                status: http::StatusCode::NO_CONTENT,
                ..ApiResponse::default()
            });
        }
        let path = self.kubelet_path("containerLogs", Some(&container));
        let query = self.options.log_query()?;
        let asked = LogRequest {
            location: self.at_kubelet(&pod, path, &query).await?,
            pod: name,
            skip_verification: self.options.is_set("insecureSkipTLSVerifyBackend"),
        };
        let proxy = &self.endpoints.proxy;
        let metrics = &self.endpoints.metrics;
        let answer = proxy.log(&mut request.ctx, &asked, metrics).await?;
        log_over_websocket(request, answer)
    }

    async fn stream(&self, request: &mut ApiRequest, to: Connect) -> Result<ApiResponse, Status> {
        let name = &self.target.name;
        let pod = self.object("pods", &self.target.namespace, name).await?;
        let container = container(self.options.text("container"), &pod, name)?;
        let what = if to == Connect::Exec {
            "exec"
        } else {
            "attach"
        };
        let path = self.kubelet_path(what, Some(&container));
        let query = self.options.stream_query(to);
        let location = self.at_kubelet(&pod, path, &query).await?;
        let streams = self.options.streams(to);
        self.endpoints
            .proxy
            .stream(request, &location, streams)
            .await
    }

    async fn port_forward(&self, request: &mut ApiRequest) -> Result<ApiResponse, Status> {
        let name = &self.target.name;
        let pod = self.object("pods", &self.target.namespace, name).await?;
        let path = self.kubelet_path("portForward", None);
        let query = self.options.ports_query();
        let location = self.at_kubelet(&pod, path, &query).await?;
        self.endpoints.proxy.port_forward(request, &location).await
    }

    async fn proxy(&self, request: &mut ApiRequest, to: Connect) -> Result<ApiResponse, Status> {
        let id = self.target.name.as_str();
        let destination = match (ProxyName::parse(id), to) {
            (None, Connect::ProxyPod) => Err(invalid_request("pod", id)),
            (None, Connect::ProxyService) => Err(invalid_request("service", id)),
            (None, _) => Err(invalid_request("node", id)),
            (Some(name), Connect::ProxyPod) => {
                let pod = self
                    .object("pods", &self.target.namespace, name.name)
                    .await?;
                location::pod(&pod, id, name)
            }
            (Some(name), Connect::ProxyService) => self.service(id, name).await,
            (Some(name), _) => {
                let node = self.object("nodes", "", name.name).await?;
                location::node(&node, id, name, self.endpoints.proxy.kubelets()).await
            }
        }?;
        let location = Location {
            to: destination,
            target: with_query(self.path.clone(), request.ctx.query()),
            speaks_websocket: true,
        };
        self.endpoints.proxy.forward(request, &location).await
    }

    /// A random ready address of a service whose pod is known to have it.
    async fn service(&self, id: &str, name: ProxyName<'_>) -> Result<Destination, Status> {
        let namespace = &self.target.namespace;
        let service = self.object("services", namespace, name.name).await?;
        let port = location::service_port(&service, name)?;
        let backends = match self.object("endpoints", namespace, name.name).await {
            Ok(endpoints) => location::endpoint_backends(&endpoints, port, namespace),
            Err(missing) => {
                let slices = self.slices(name.name).await?;
                if slices.is_empty() {
                    return Err(missing);
                }
                location::slice_backends(&slices, port, namespace)
            }
        };
        for backend in location::shuffled(&backends) {
            let pod = self.object("pods", namespace, &backend.pod).await;
            if pod.is_ok_and(|pod| location::pod_has_address(&pod, &backend.host)) {
                return Ok(backend.destination(name.tls));
            }
        }
        Err(Status::service_unavailable(format!(
            "no endpoints available for service {id:?}"
        )))
    }

    async fn slices(&self, service: &str) -> Result<Vec<Value>, Status> {
        let resource = GroupResource::new("discovery.k8s.io", "endpointslices");
        let objects = RegistryObjects(self.endpoints.registry.clone());
        let all = objects
            .list_cached(&resource, &self.target.namespace)
            .await?;
        let label = "kubernetes.io/service-name";
        let of_service = all
            .iter()
            .filter(|slice| slice["metadata"]["labels"][label] == service);
        Ok(of_service.map(|slice| (**slice).clone()).collect())
    }

    /// An object of the core group as it is now.
    async fn object(&self, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
        let row = self.table.get("", "v1", plural);
        let row = row.ok_or_else(Status::no_such_resource)?;
        let target = Target::new(row.clone(), namespace, name);
        let registry = &self.endpoints.registry;
        let cached = registry.get(&target, ReadVersion::Latest).await?;
        registry.cached_tree(&cached, row)
    }

    /// `/what/namespace/pod[/container]`.
    fn kubelet_path(&self, what: &str, container: Option<&str>) -> String {
        let (namespace, name) = (&self.target.namespace, &self.target.name);
        match container {
            Some(container) => format!("/{what}/{namespace}/{name}/{container}"),
            None => format!("/{what}/{namespace}/{name}"),
        }
    }

    /// The kubelet of a pod's node.
    async fn at_kubelet(&self, pod: &Value, path: String, query: &str) -> Result<Location, Status> {
        let name = node_name(pod);
        if name.is_empty() {
            let pod = &self.target.name;
            return Err(Status::bad_request(format!(
                "pod {pod} does not have a host assigned"
            )));
        }
        let node = self.object("nodes", "", name).await?;
        Ok(Location {
            to: location::kubelet(&node, self.endpoints.proxy.kubelets())?,
            target: with_query(path, query),
            speaks_websocket: location::kubelet_speaks_websocket(&node),
        })
    }
}

fn with_query(path: String, query: &str) -> String {
    match query.is_empty() {
        true => path,
        false => format!("{path}?{query}"),
    }
}

fn invalid_request(what: &str, id: &str) -> Status {
    Status::bad_request(format!("invalid {what} request {id:?}"))
}

/// Sends a log as messages to clients that asked for a WebSocket.
fn log_over_websocket(
    request: &mut ApiRequest,
    answer: ApiResponse,
) -> Result<ApiResponse, Status> {
    use crate::base::websocket::Opcode;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;

    if !websocket::is_websocket(&request.ctx) {
        return Ok(answer);
    }
    let Body::Stream(stream) = answer.body else {
        return Ok(answer);
    };
    let offered: Vec<&str> = websocket::protocols(&request.ctx).collect();
    let chosen = ["", "binary.k8s.io", "base64.binary.k8s.io"]
        .into_iter()
        .find(|known| offered.contains(known) || (known.is_empty() && offered.is_empty()));
    let protocol = chosen.ok_or_else(|| {
        Status::bad_request("websocket: none of the requested protocols is supported")
    })?;
    let as_text = |chunk: Bytes| vec![Bytes::from(STANDARD.encode(&chunk))];
    let (opcode, split): (Opcode, fn(Bytes) -> Vec<Bytes>) = match protocol {
        "base64.binary.k8s.io" => (Opcode::Text, as_text),
        _ => (Opcode::Binary, |chunk| vec![chunk]),
    };
    let named = (!protocol.is_empty()).then_some(protocol);
    websocket::send_stream(request, named, stream, opcode, split)
}

/// The container that is meant, or why that cannot be told.
fn container(asked: &str, pod: &Value, name: &str) -> Result<String, Status> {
    let mut names = Vec::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        names.extend(containers.filter_map(|c| c["name"].as_str().map(|n| (list, n))));
    }
    if !asked.is_empty() {
        if names.iter().any(|(_, n)| *n == asked) {
            return Ok(asked.to_string());
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

fn node_name(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;
    use crate::base::tree::json;
    use crate::request::RequestInfo;

    #[test]
    fn paths_behind_the_proxy() {
        for (uri, want) in [
            ("/api/v1/nodes/n/proxy", ""),
            ("/api/v1/nodes/n/proxy/", "/"),
            ("/api/v1/nodes/n/proxy/a%20b/?q=/x", "/a%20b/"),
            ("/api/v1/namespaces/x/pods/http:p:80/proxy/a//b", "/a//b"),
            ("/api/v1/namespaces/x/services/s/proxy", ""),
        ] {
            let parsed = Uri::from_static(uri);
            let mut ctx = RequestContext::new(Method::GET, parsed, HeaderMap::new(), None);
            ctx.info = RequestInfo::parse(&Method::GET, ctx.uri.path(), "").expect("a path");
            assert_eq!(proxied_path(&ctx), want, "{uri}");
        }
    }

    #[test]
    fn containers() {
        let pod = json!({"spec": {
            "containers": [{"name": "a"}, {"name": "b"}],
            "initContainers": [{"name": "i"}],
        }});
        assert_eq!(container("i", &pod, "p"), Ok("i".into()));
        let text = |asked| container(asked, &pod, "p").map_err(|status| status.message);
        assert_eq!(text("x"), Err("container x is not valid for pod p".into()));
        assert_eq!(
            text(""),
            Err("a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]".into())
        );
    }
}
