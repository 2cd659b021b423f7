//! Pods: what they request and are limited to.

use std::collections::{BTreeMap, BTreeSet};

use super::amounts;
use super::usage::Usage;
use crate::admission::plugins::{items, text};
use crate::api::quantity::Quantity;
use crate::base::tree::Value;

const TRACKED: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
/// What every container must say when a quota limits it.
const DEMANDED: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];
/// Resources that a pod may set as a whole.
const POD_LEVEL: [&str; 2] = ["cpu", "memory"];

/// Whether a key of a quota is about pods.
pub(super) fn tracks(key: &str) -> bool {
    TRACKED.contains(&key)
        || key.starts_with("hugepages-")
        || key.starts_with("requests.hugepages-")
        || key.strip_prefix("requests.").is_some_and(is_extended)
}

/// A resource of a device plugin: qualified, and not Kubernetes' own.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// Whether the pod has a deadline.
pub(super) fn is_terminating(pod: &Value) -> bool {
    pod["spec"]["activeDeadlineSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds >= 0)
}

/// Whether no container asks for or is limited in cpu and memory.
pub(super) fn is_best_effort(pod: &Value) -> bool {
    let sets = |resources: &Value| {
        ["requests", "limits"].iter().any(|key| {
            let amounts = amounts(&resources[*key]);
            POD_LEVEL
                .iter()
                .any(|name| amounts.get(*name).is_some_and(|a| !a.is_zero()))
        })
    };
    !containers(pod).any(|container| sets(&container["resources"]))
        && !sets(&pod["spec"]["resources"])
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    items(pod, "/spec/containers").chain(items(pod, "/spec/initContainers"))
}

/// Which containers do not say what the quota needs.
pub(super) fn constraints(keys: &[&String], pod: &Value) -> Result<(), String> {
    if pod["spec"]["resources"]
        .as_object()
        .is_some_and(|r| !r.is_empty())
    {
        return Ok(());
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in containers(pod) {
        let said = names(
            &amounts(&container["resources"]["requests"]),
            &amounts(&container["resources"]["limits"]),
        );
        let demanded = keys.iter().filter(|key| DEMANDED.contains(&key.as_str()));
        for key in demanded.filter(|key| !said.contains_key(**key)) {
            missing
                .entry(key.as_str())
                .or_default()
                .insert(text(container, "/name"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let parts: Vec<String> = missing
        .into_iter()
        .map(|(key, names)| {
            let names: Vec<&str> = names.into_iter().collect();
            format!("{key} for: {}", names.join(","))
        })
        .collect();
    Err(format!("must specify {}", parts.join("; ")))
}

/// What a pod uses; nothing but its count once it has ended.
pub(super) fn usage(pod: &Value) -> Usage {
    if matches!(text(pod, "/status/phase"), "Failed" | "Succeeded") || is_overdue(pod) {
        return Usage::new();
    }
    let requests = total(pod, "requests");
    let limits = total(pod, "limits");
    let mut usage = names(&requests, &limits);
    usage.insert("pods".into(), Quantity::from_int(1));
    usage
}

/// Whether the pod should be gone: deleted, and its grace is over.
fn is_overdue(pod: &Value) -> bool {
    let metadata = &pod["metadata"];
    let deleted = metadata["deletionTimestamp"].as_str();
    let grace = metadata["deletionGracePeriodSeconds"].as_i64();
    let (Some(deleted), Some(grace)) = (deleted, grace) else {
        return false;
    };
    crate::api::time::parse(deleted)
        .is_ok_and(|at| chrono::Utc::now() > at + chrono::TimeDelta::seconds(grace))
}

/// The keys of quotas that requests and limits count for.
fn names(requests: &Usage, limits: &Usage) -> Usage {
    let mut usage = Usage::new();
    for (name, amount) in requests {
        let is_plain = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if is_plain || name.starts_with("hugepages-") {
            usage.insert(name.clone(), *amount);
        }
        if is_plain || name.starts_with("hugepages-") || is_extended(name) {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), *amount);
        }
    }
    usage
}

/// Requests or limits of the whole pod: containers run side by side with the init containers that stay;
/// the other init containers run alone before them.
fn total(pod: &Value, list: &str) -> Usage {
    let mut sum = Usage::new();
    for container in items(pod, "/spec/containers") {
        add(
            &mut sum,
            &of_container(pod, "containerStatuses", container, list),
        );
    }
    let mut staying = Usage::new();
    let mut most = Usage::new();
    for container in items(pod, "/spec/initContainers") {
        let own = of_container(pod, "initContainerStatuses", container, list);
        if text(container, "/restartPolicy") == "Always" {
            add(&mut sum, &own);
            add(&mut staying, &own);
            raise(&mut most, &staying);
        } else {
            let mut alone = own;
            add(&mut alone, &staying);
            raise(&mut most, &alone);
        }
    }
    raise(&mut sum, &most);
    let whole = amounts(&pod["spec"]["resources"][list]);
    for (name, amount) in whole {
        if POD_LEVEL.contains(&name.as_str()) || name.starts_with("hugepages-") {
            sum.insert(name, amount);
        }
    }
    let overhead = amounts(&pod["spec"]["overhead"]);
    for (name, amount) in &overhead {
        // What is not limited does not become so by the overhead.
        if list == "requests" || sum.get(name).is_some_and(|limit| !limit.is_zero()) {
            add(&mut sum, &Usage::from([(name.clone(), *amount)]));
        }
    }
    sum
}

/// What a container asks for, or still holds while it is resized.
fn of_container(pod: &Value, statuses: &str, container: &Value, list: &str) -> Usage {
    let mut usage = amounts(&container["resources"][list]);
    let name = text(container, "/name");
    let all = pod["status"][statuses].as_array().into_iter().flatten();
    let status = all.into_iter().find(|status| status["name"] == name);
    if let Some(status) = status {
        raise(&mut usage, &amounts(&status["resources"][list]));
        if list == "requests" {
            raise(&mut usage, &amounts(&status["allocatedResources"]));
        }
    }
    usage
}

fn add(sum: &mut Usage, more: &Usage) {
    for (name, amount) in more {
        let known = sum.entry(name.clone()).or_insert(Quantity::ZERO);
        *known = *known + *amount;
    }
}

fn raise(usage: &mut Usage, other: &Usage) {
    for (name, amount) in other {
        let known = usage.entry(name.clone()).or_insert(*amount);
        *known = (*known).max(*amount);
    }
}
