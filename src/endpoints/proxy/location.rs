//! Where a connect request leads: names and objects become a host, a port and a path
//! (contract/verbs.md §13a, §13b).

use std::net::IpAddr;

use rand::seq::SliceRandom as _;

use super::KubeletOptions;
use super::dial::{Destination, Trust};
use crate::api::status::Status;
use crate::base::tree::Value;

/// A backend and what to ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Where to connect to.
    pub to: Destination,
    /// Path and query, percent-encoded.
    pub target: String,
    /// Whether the backend takes the WebSocket protocols of exec and port forward itself.
    pub speaks_websocket: bool,
}

/// `[scheme:]name[:port]`, as proxies are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyName<'a> {
    /// Whether the scheme is https.
    pub tls: bool,
    /// Name of the object.
    pub name: &'a str,
    /// Name or number of a port, or empty.
    pub port: &'a str,
}

impl<'a> ProxyName<'a> {
    /// Splits a name. `None` when it has no such form.
    pub fn parse(id: &'a str) -> Option<Self> {
        let mut parts = id.split(':');
        let (scheme, name, port) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(name), None, None, None) => ("", name, ""),
            (Some(name), Some(port), None, None) => ("", name, port),
            (Some(scheme), Some(name), Some(port), None) => (scheme, name, port),
            _ => return None,
        };
        if name.is_empty() || !matches!(scheme, "" | "http" | "https") {
            return None;
        }
        Some(ProxyName {
            tls: scheme == "https",
            name,
            port,
        })
    }
}

/// The kubelet of a node.
pub fn kubelet(node: &Value, options: &KubeletOptions) -> Result<Destination, Status> {
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let port = port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0);
    Ok(Destination {
        tls: true,
        host: node_host(node, &options.preferred_addresses)?,
        port: port.unwrap_or(options.port),
        trust: Trust::Kubelet,
    })
}

/// Whether a node's kubelet takes WebSocket protocols itself.
pub fn kubelet_speaks_websocket(node: &Value) -> bool {
    let features = node["status"]["declaredFeatures"].as_array();
    let mut features = features.into_iter().flatten();
    features.any(|f| f == "ExtendWebSocketsToKubelet")
}

fn node_host(node: &Value, preferred: &[String]) -> Result<String, Status> {
    let addresses = node["status"]["addresses"].as_array();
    let addresses = addresses.map(Vec::as_slice).unwrap_or_default();
    for wanted in preferred {
        let found = addresses.iter().find(|a| a["type"] == **wanted);
        if let Some(address) = found.and_then(|a| a["address"].as_str()) {
            return Ok(address.to_string());
        }
    }
    let part = |address: &Value, key: &str| address[key].as_str().unwrap_or("").to_string();
    let known: Vec<String> = addresses
        .iter()
        .map(|a| format!("{{{} {}}}", part(a, "type"), part(a, "address")))
        .collect();
    Err(super::plain(format!(
        "no preferred addresses found; known addresses: [{}]",
        known.join(" ")
    )))
}

/// What a node's proxy leads to: its kubelet, or another port of its host.
pub async fn node(
    node: &Value,
    id: &str,
    name: ProxyName<'_>,
    options: &KubeletOptions,
) -> Result<Destination, Status> {
    let kubelet = kubelet(node, options)?;
    check_proxyable(&kubelet.host).await?;
    if name.port.is_empty() || name.port == kubelet.port.to_string() {
        return Ok(kubelet);
    }
    let invalid = || Status::bad_request(format!("invalid node request {id:?}"));
    Ok(Destination {
        tls: name.tls,
        port: name.port.parse().map_err(|_| invalid())?,
        trust: Trust::Anybody,
        ..kubelet
    })
}

/// What a pod's proxy leads to.
pub fn pod(pod: &Value, id: &str, name: ProxyName<'_>) -> Result<Destination, Status> {
    let host = pod["status"]["podIPs"][0]["ip"].as_str();
    let host = host.or(pod["status"]["podIP"].as_str()).unwrap_or("");
    let address = host.parse::<IpAddr>().ok();
    if !address.is_some_and(is_global_unicast) {
        return Err(Status::bad_request("address not allowed"));
    }
    let port = match name.port {
        "" => first_port(pod).unwrap_or(if name.tls { 443 } else { 80 }),
        text => {
            let invalid = || Status::bad_request(format!("invalid pod request {id:?}"));
            text.parse().map_err(|_| invalid())?
        }
    };
    Ok(Destination {
        tls: name.tls,
        host: host.to_string(),
        port,
        trust: Trust::Anybody,
    })
}

fn first_port(pod: &Value) -> Option<u16> {
    let mut containers = pod["spec"]["containers"].as_array()?.iter();
    let port = containers.find_map(|c| c["ports"][0]["containerPort"].as_u64())?;
    u16::try_from(port).ok()
}

/// The name of the service port that a proxy name means.
pub fn service_port<'a>(service: &'a Value, name: ProxyName<'a>) -> Result<&'a str, Status> {
    let Ok(number) = name.port.parse::<i64>() else {
        return Ok(name.port);
    };
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let found = ports.find(|p| p["port"].as_i64() == Some(number));
    let found = found.ok_or_else(|| {
        Status::service_unavailable(format!(
            "no service port {number} found for service {:?}",
            name.name
        ))
    })?;
    Ok(found["name"].as_str().unwrap_or(""))
}

/// One address of a service, and the pod that it is said to be of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Name of the pod.
    pub pod: String,
}

impl Backend {
    /// Where to connect to.
    pub fn destination(&self, tls: bool) -> Destination {
        Destination {
            tls,
            host: self.host.clone(),
            port: self.port,
            trust: Trust::Anybody,
        }
    }
}

/// The ready addresses behind a named port, from an Endpoints object.
pub fn endpoint_backends(endpoints: &Value, port: &str, namespace: &str) -> Vec<Backend> {
    let subsets = endpoints["subsets"].as_array().into_iter().flatten();
    let mut backends = Vec::new();
    for subset in subsets {
        let Some(number) = port_number(&subset["ports"], port) else {
            continue;
        };
        for address in subset["addresses"].as_array().into_iter().flatten() {
            backends.extend(backend(
                &address["ip"],
                &address["targetRef"],
                number,
                namespace,
            ));
        }
    }
    backends
}

/// The ready addresses behind a named port, from EndpointSlices.
pub fn slice_backends(slices: &[Value], port: &str, namespace: &str) -> Vec<Backend> {
    let mut backends = Vec::new();
    for slice in slices {
        let Some(number) = port_number(&slice["ports"], port) else {
            continue;
        };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint["conditions"]["ready"] == Value::Bool(false) {
                continue;
            }
            let address = &endpoint["addresses"][0];
            backends.extend(backend(address, &endpoint["targetRef"], number, namespace));
        }
    }
    backends
}

fn port_number(ports: &Value, name: &str) -> Option<u16> {
    let mut ports = ports.as_array()?.iter();
    let port = ports.find(|p| p["name"].as_str().unwrap_or("") == name)?;
    u16::try_from(port["port"].as_u64()?).ok()
}

fn backend(address: &Value, target: &Value, port: u16, namespace: &str) -> Option<Backend> {
    if target["kind"] != "Pod" || target["namespace"] != namespace {
        return None;
    }
    Some(Backend {
        host: address.as_str()?.to_string(),
        port,
        pod: target["name"].as_str()?.to_string(),
    })
}

/// The backends in random order.
pub fn shuffled(backends: &[Backend]) -> Vec<&Backend> {
    let mut all: Vec<&Backend> = backends.iter().collect();
    all.shuffle(&mut rand::rng());
    all
}

/// Whether a pod has an address.
pub fn pod_has_address(pod: &Value, address: &str) -> bool {
    let ips = pod["status"]["podIPs"].as_array().into_iter().flatten();
    ips.map(|ip| &ip["ip"]).any(|ip| ip == address)
}

/// Refuses hosts that lead back to this machine or to no single one (CVE-2020-8562).
async fn check_proxyable(host: &str) -> Result<(), Status> {
    let addresses = tokio::net::lookup_host((host, 0)).await;
    let addresses = addresses
        .map_err(|_| Status::bad_request(format!("lookup {host}: no such host")))?
        .collect::<Vec<_>>();
    match addresses.iter().all(|a| is_global_unicast(a.ip())) && !addresses.is_empty() {
        true => Ok(()),
        false => Err(Status::bad_request("address not allowed")),
    }
}

/// Go's `IP.IsGlobalUnicast`: private ranges count.
fn is_global_unicast(address: IpAddr) -> bool {
    let special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    let local = match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !special && !local && !address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use crate::base::tree::json;

    use super::*;

    fn options() -> KubeletOptions {
        KubeletOptions {
            port: 10250,
            preferred_addresses: vec!["Hostname".into(), "InternalIP".into()],
            timeout: std::time::Duration::from_secs(5),
        }
    }

    #[test]
    fn names() {
        let parsed = |id| ProxyName::parse(id).map(|n| (n.tls, n.name, n.port));
        assert_eq!(parsed("x"), Some((false, "x", "")));
        assert_eq!(parsed("x:80"), Some((false, "x", "80")));
        assert_eq!(parsed("https:x:web"), Some((true, "x", "web")));
        assert_eq!(parsed("https:x:"), Some((true, "x", "")));
        for bad in ["ftp:x:1", "::", "a:b:c:d", ""] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn kubelets() {
        let node = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 4443}},
        }});
        let found = kubelet(&node, &options()).expect("an address");
        assert_eq!((found.host.as_str(), found.port), ("192.0.2.7", 4443));
        let node = json!({"status": {"addresses": [{"type": "ExternalIP", "address": "x"}]}});
        let status = kubelet(&node, &options()).expect_err("no preferred address");
        assert_eq!(
            status.message,
            "no preferred addresses found; known addresses: [{ExternalIP x}]"
        );
    }

    #[test]
    fn pods_need_a_routable_address() {
        let name = ProxyName::parse("p").expect("a name");
        let with = |ip: &str| {
            json!({"spec": {"containers": [{"name": "c"}, {"ports": [{"containerPort": 8080}]}]},
                   "status": {"podIPs": [{"ip": ip}]}})
        };
        let found = pod(&with("10.0.0.5"), "p", name).expect("an address");
        assert_eq!((found.tls, found.port), (false, 8080));
        for bad in [
            "127.0.0.1",
            "169.254.1.1",
            "0.0.0.0",
            "224.0.0.1",
            "",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            let status = pod(&with(bad), "p", name).expect_err(bad);
            assert_eq!(status.message, "address not allowed");
        }
    }

    #[test]
    fn services() {
        let service = json!({"spec": {"ports": [{"name": "web", "port": 80}]}});
        let port = |id| service_port(&service, ProxyName::parse(id).expect("a name"));
        assert_eq!(port("s:80"), Ok("web"));
        assert_eq!(port("s:web"), Ok("web"));
        let status = port("s:81").expect_err("no such port");
        assert_eq!(status.message, "no service port 81 found for service \"s\"");

        let target = json!({"kind": "Pod", "namespace": "ns", "name": "p"});
        let endpoints = json!({"subsets": [{
            "ports": [{"name": "web", "port": 8080}],
            "addresses": [{"ip": "10.0.0.5", "targetRef": target}, {"ip": "10.0.0.6"}],
        }]});
        let backends = endpoint_backends(&endpoints, "web", "ns");
        assert_eq!(backends.len(), 1);
        assert_eq!((backends[0].port, &*backends[0].pod), (8080, "p"));
        assert!(endpoint_backends(&endpoints, "web", "other").is_empty());
        assert!(endpoint_backends(&endpoints, "", "ns").is_empty());
        let slices = [json!({
            "ports": [{"name": "web", "port": 8080}],
            "endpoints": [{"addresses": ["10.0.0.5"], "targetRef": target},
                          {"addresses": ["10.0.0.7"], "targetRef": target, "conditions": {"ready": false}}],
        })];
        assert_eq!(slice_backends(&slices, "web", "ns"), backends);
    }
}
