//! Causes of events that another API server wrote: they have no stages, so upstream's words are all
//! that is left to tell by.
//!
//! The words are those that kube-apiserver v1.36 was recorded to answer with (`tests/golden`). A
//! webhook, a policy or a name may hold such words too, so a cause told by them is likely, never
//! certain. Where no words fit, the status code decides as it does for our own events.

use super::{Answer, forbidden, server, store};
use crate::diagnose::cause::{Cause, Certainty};
use crate::diagnose::trace::TracedStage;
use crate::storage::Failure;

/// What upstream says of etcd's failures, in answers of 429 and 5xx.
const STORE: [(&str, Failure); 11] = [
    ("etcdserver: request timed out", Failure::Timeout),
    ("etcdserver: leader changed", Failure::NoLeader),
    ("etcdserver: no leader", Failure::NoLeader),
    ("database space exceeded", Failure::NoSpace),
    ("etcdserver: request is too large", Failure::TooLarge),
    ("etcdserver: too many requests", Failure::Overloaded),
    ("etcdserver: permission denied", Failure::PermissionDenied),
    ("required revision has been compacted", Failure::Compacted),
    ("storage is (re)initializing", Failure::Initializing),
    ("rpc error: code = Unavailable", Failure::Unreachable),
    ("error while dialing", Failure::Unreachable),
];

/// How admission plugins begin what follows `is forbidden: `.
const PLUGINS: [(&str, &str); 11] = [
    ("exceeded quota: ", "ResourceQuota"),
    ("failed quota: ", "ResourceQuota"),
    ("violates PodSecurity ", "PodSecurity"),
    (
        "unable to create new content in namespace ",
        "NamespaceLifecycle",
    ),
    ("this namespace may not be deleted", "NamespaceLifecycle"),
    ("error looking up service account ", "ServiceAccount"),
    ("ValidatingAdmissionPolicy '", "ValidatingAdmissionPolicy"),
    ("MutatingAdmissionPolicy '", "MutatingAdmissionPolicy"),
    ("policy '", "MutatingAdmissionPolicy"),
    ("no PriorityClass with name ", "Priority"),
    ("pod rejected: ", "RuntimeClass"),
];

/// What the words of an answer say; `None` where they say nothing that the code does not.
pub(super) fn cause(answer: &Answer<'_>) -> Option<Cause> {
    let decision = &answer.event["annotations"]["authorization.k8s.io/decision"];
    match answer.code {
        // Authorization is told by its annotation, and what it refused nobody else has seen.
        400.. if decision == "forbid" => None,
        403 if decision.is_null() => by_impersonation(answer),
        400..429 | 430..500 => by_webhook(answer).or_else(|| by_plugin(answer)),
        429 | 500..600 => by_webhook_failure(answer).or_else(|| by_store(answer)),
        _ => None,
    }
    .map(|cause| Cause {
        certainty: Certainty::Likely,
        ..cause
    })
}

/// Refused before authorization, which else would have left its decision.
fn by_impersonation(answer: &Answer<'_>) -> Option<Cause> {
    let message = answer.message;
    message
        .contains(" cannot impersonate")
        .then(|| forbidden::by_impersonation("somebody else", message))
}

fn by_webhook(answer: &Answer<'_>) -> Option<Cause> {
    let rest = answer.message.strip_prefix("admission webhook \"")?;
    let (webhook, rest) = rest.split_once('"')?;
    let is_denied = rest.starts_with(" denied the request");
    is_denied.then(|| forbidden::by_webhook(answer, "admission", webhook))
}

fn by_plugin(answer: &Answer<'_>) -> Option<Cause> {
    let message = answer.message;
    let words = message
        .split_once(" is forbidden: ")
        .map_or(message, |m| m.1);
    let known = PLUGINS.iter().find(|(start, _)| words.starts_with(start));
    let plugin = match known {
        Some((_, plugin)) => *plugin,
        None if words.contains(" is attempting to grant RBAC permissions not currently held") => {
            "RoleEscalation"
        }
        None if is_of_limit_ranger(words) => "LimitRanger",
        None if is_node(answer) => "NodeRestriction",
        None => return None,
    };
    Some(forbidden::by_plugin(
        answer,
        &format!("admission/{plugin}"),
        plugin,
    ))
}

/// `maximum cpu usage per Container is 2, but limit is 3`, or several of these in brackets.
fn is_of_limit_ranger(words: &str) -> bool {
    let words = words.trim_start_matches('[');
    let is_bound = words.starts_with("maximum ") || words.starts_with("minimum ");
    is_bound && words.contains(" usage per ") || words.contains(" max limit to request ratio per ")
}

/// What authorization allowed a node and something refused behind it.
fn is_node(answer: &Answer<'_>) -> bool {
    let user = answer.event["user"]["username"].as_str();
    let is_node = user.is_some_and(|u| u.starts_with("system:node:"));
    is_node && answer.code == 403 && answer.message.contains(" is forbidden: ")
}

fn by_webhook_failure(answer: &Answer<'_>) -> Option<Cause> {
    let (_, rest) = answer.message.split_once("failed calling webhook \"")?;
    let (webhook, why) = rest.split_once("\": ")?;
    let is_late = why.contains("context deadline exceeded") || why.contains("Client.Timeout");
    let stage = TracedStage {
        name: "admission".into(),
        micros: 0,
        outcome: if is_late { "timeout" } else { "error" }.into(),
        reason: why.into(),
    };
    Some(server::by_webhook(answer, &stage, webhook))
}

fn by_store(answer: &Answer<'_>) -> Option<Cause> {
    let (_, failure) = STORE.iter().find(|(w, _)| answer.message.contains(w))?;
    Some(store::cause(answer, *failure))
}
