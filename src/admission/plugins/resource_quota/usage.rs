//! What an object uses, per kind.

use std::collections::BTreeMap;

use super::pod;
use crate::admission::plugins::{items, text};
use crate::admission::{Admission, Operation};
use crate::api::quantity::Quantity;
use crate::base::tree::Value;

/// Amounts by resource name.
pub(super) type Usage = BTreeMap<String, Quantity>;

/// Kinds that are never counted.
const IGNORED: [(&str, &str); 9] = [
    ("", "bindings"),
    ("", "componentstatuses"),
    ("", "events"),
    ("events.k8s.io", "events"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
];
/// Core kinds whose count has a name of its own.
const COUNTED_BY_NAME: [&str; 4] = [
    "configmaps",
    "secrets",
    "replicationcontrollers",
    "resourcequotas",
];
/// Devices that a request for all of them is charged with.
const ALL_DEVICES: i64 = 32;
const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const DEVICE_CLASS: &str = ".deviceclass.resource.k8s.io/devices";

/// The evaluator of one write's kind.
pub(super) struct Evaluator {
    pub(super) kind: Kind,
    /// `count/pods`, `count/deployments.apps`.
    count: String,
    /// Name of a core kind that is counted without `count/` as well.
    alias: Option<String>,
}

/// Kinds with rules of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pod,
    Service,
    Claim,
    ResourceClaim,
    /// Anything else: counted when it is created.
    Other,
}

impl Evaluator {
    /// The evaluator for a write, if it is one that quotas care about.
    pub(super) fn of(admission: &Admission<'_>) -> Option<Self> {
        let row = admission.resource;
        let (group, plural) = (&*row.group, &*row.plural);
        if IGNORED.contains(&(group, plural)) {
            return None;
        }
        let kind = match (group, plural) {
            ("", "pods") => Kind::Pod,
            ("", "services") => Kind::Service,
            ("", "persistentvolumeclaims") => Kind::Claim,
            ("resource.k8s.io", "resourceclaims") => Kind::ResourceClaim,
            _ => Kind::Other,
        };
        let old = admission.old_object;
        let is_create = admission.operation == Operation::Create;
        let counts = match (kind, admission.subresource) {
            (_, "") if is_create => true,
            (Kind::Service | Kind::Claim, "") => true,
            (Kind::Pod, "") => old.is_some_and(|old| {
                pod::is_terminating(old) != pod::is_terminating(admission.object)
            }),
            (Kind::Pod, "resize") => !is_create,
            (Kind::Claim, "status") => {
                old.is_some_and(|old| claimed(old) != claimed(admission.object))
            }
            _ => false,
        };
        let count = match group {
            "" => format!("count/{plural}"),
            group => format!("count/{plural}.{group}"),
        };
        let alias =
            (group.is_empty() && COUNTED_BY_NAME.contains(&plural)).then(|| plural.to_string());
        counts.then_some(Evaluator { kind, count, alias })
    }

    /// Whether a key of a quota is this evaluator's.
    pub(super) fn tracks(&self, key: &str) -> bool {
        if key == self.count || self.alias.as_deref() == Some(key) {
            return true;
        }
        match self.kind {
            Kind::Pod => pod::tracks(key),
            Kind::Service => {
                matches!(
                    key,
                    "services" | "services.nodeports" | "services.loadbalancers"
                )
            }
            Kind::Claim => {
                matches!(key, "persistentvolumeclaims" | "requests.storage")
                    || key.ends_with(&format!("{STORAGE_CLASS}persistentvolumeclaims"))
                    || key.ends_with(&format!("{STORAGE_CLASS}requests.storage"))
            }
            Kind::ResourceClaim => key.ends_with(DEVICE_CLASS),
            Kind::Other => false,
        }
    }

    /// What is missing in an object for the quota to be computed.
    pub(super) fn constraints(&self, keys: &[&String], object: &Value) -> Result<(), String> {
        match self.kind {
            Kind::Pod => pod::constraints(keys, object),
            _ => Ok(()),
        }
    }

    /// What an object uses.
    pub(super) fn usage(&self, object: &Value) -> Usage {
        let mut usage = match self.kind {
            Kind::Pod => pod::usage(object),
            Kind::Service => service(object),
            Kind::Claim => claim(object),
            Kind::ResourceClaim => resource_claim(object),
            Kind::Other => Usage::new(),
        };
        for name in [Some(&self.count), self.alias.as_ref()]
            .into_iter()
            .flatten()
        {
            usage.insert(name.clone(), Quantity::from_int(1));
        }
        usage
    }
}

fn count(n: usize) -> Quantity {
    Quantity::from_int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn service(object: &Value) -> Usage {
    let ports = items(object, "/spec/ports").count();
    let with_node_port = || {
        items(object, "/spec/ports")
            .filter(|port| port["nodePort"].as_i64().unwrap_or(0) != 0)
            .count()
    };
    let (node_ports, balancers) = match text(object, "/spec/type") {
        "NodePort" => (ports, 0),
        "LoadBalancer" if object["spec"]["allocateLoadBalancerNodePorts"] == false => {
            (with_node_port(), 1)
        }
        "LoadBalancer" => (ports, 1),
        _ => (0, 0),
    };
    Usage::from([
        ("services".to_string(), count(1)),
        ("services.nodeports".to_string(), count(node_ports)),
        ("services.loadbalancers".to_string(), count(balancers)),
    ])
}

/// Storage that a claim asks for or has been given, in whole bytes.
fn claimed(object: &Value) -> Option<Quantity> {
    let amount = |pointer: &str| {
        let text = object.pointer(pointer).and_then(Value::as_str)?;
        Quantity::parse(text).ok()
    };
    let asked = amount("/spec/resources/requests/storage");
    let given = amount("/status/allocatedResources/storage");
    let most = asked.max(given)?;
    match most.as_int() {
        Some(_) => Some(most),
        None => Some(Quantity::from_int(most.value())),
    }
}

fn claim(object: &Value) -> Usage {
    let mut usage = Usage::from([("persistentvolumeclaims".to_string(), count(1))]);
    let beta = object
        .pointer("/metadata/annotations/volume.beta.kubernetes.io~1storage-class")
        .and_then(Value::as_str);
    let class = beta.unwrap_or_else(|| text(object, "/spec/storageClassName"));
    if !class.is_empty() {
        usage.insert(
            format!("{class}{STORAGE_CLASS}persistentvolumeclaims"),
            count(1),
        );
    }
    if let Some(storage) = claimed(object) {
        usage.insert("requests.storage".into(), storage);
        if !class.is_empty() {
            usage.insert(format!("{class}{STORAGE_CLASS}requests.storage"), storage);
        }
    }
    usage
}

fn resource_claim(object: &Value) -> Usage {
    let mut usage = Usage::new();
    for request in items(object, "/spec/devices/requests") {
        // Of alternatives, each class is charged with the most that one of them takes.
        let mut most = Usage::new();
        // v1beta1 has the members of `exactly` in the request itself.
        let flat = !text(request, "/deviceClassName").is_empty();
        let exactly = match flat {
            true => Some(request),
            false => request.get("exactly"),
        };
        let exactly = exactly.into_iter();
        for one in exactly.chain(items(request, "/firstAvailable")) {
            let class = text(one, "/deviceClassName");
            let devices = match text(one, "/allocationMode") {
                "All" => ALL_DEVICES,
                _ => one["count"].as_i64().unwrap_or(1),
            };
            let entry = most.entry(format!("{class}{DEVICE_CLASS}"));
            let devices = Quantity::from_int(devices);
            let known = entry.or_insert(devices);
            *known = (*known).max(devices);
        }
        for (key, devices) in most {
            let known = usage.entry(key).or_insert(Quantity::ZERO);
            *known = *known + devices;
        }
    }
    usage
}
