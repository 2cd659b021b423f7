//! 403, and whatever admission refuses with: which plugin, policy, webhook or check.

use std::fmt::Write as _;

use super::Answer;
use crate::audit::event::REASON_ANNOTATION;
use crate::base::tree::Value;
use crate::diagnose::cause::{Cause, Class};
use crate::diagnose::trace::{TracedStage, webhook_of};

/// A refusal by an admission plugin or webhook; `None` when admission let it through.
pub(super) fn by_admission(answer: &Answer<'_>) -> Option<Cause> {
    let failed = answer.trace.failed()?;
    if let Some(webhook) = webhook_of(&failed.name) {
        return (failed.outcome == "denied").then(|| by_webhook(answer, &failed.name, webhook));
    }
    let plugin = failed.name.strip_prefix("admission/")?;
    (failed.outcome == "denied").then(|| by_plugin(answer, &failed.name, plugin))
}

pub(super) fn by_webhook(answer: &Answer<'_>, stage: &str, webhook: &str) -> Cause {
    let text = format!("admission webhook {webhook} refused it: {}", answer.message);
    Cause::certain(Class::WebhookDenied, stage, text)
        .detail(webhook)
        .fix("change the object as the message says")
        .fix(format!(
            "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -o yaml | grep -B20 {webhook} shows whose webhook it is"
        ))
}

pub(super) fn by_plugin(answer: &Answer<'_>, stage: &str, plugin: &str) -> Cause {
    let message = answer.message;
    let certain = |class, text: String| Cause::certain(class, stage, text).detail(plugin);
    match plugin {
        "RoleEscalation" => certain(
            Class::EscalationRefused,
            "the role or binding would give more than its author has (escalation check)".into(),
        )
        .fix("let somebody with those permissions do it")
        .fix("or give the author the verb escalate on roles, or bind on the role"),
        "NodeRestriction" => certain(
            Class::NodeRefused,
            format!("a node may write only what is its own: {message}"),
        )
        .fix("a kubelet must act as system:node:NAME of its own node; others must not use its credentials"),
        "ResourceQuota" => certain(
            Class::QuotaExceeded,
            format!("a resource quota is used up: {message}"),
        )
        .fix(format!("kubectl describe quota -n {}", namespace(answer)))
        .fix("free something, or raise the quota"),
        "NamespaceLifecycle" => certain(
            Class::NamespaceGone,
            format!("the namespace is missing, being deleted or protected: {message}"),
        )
        .fix(format!("kubectl get namespace {}", namespace(answer))),
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => certain(
            Class::PolicyDenied,
            format!("an admission policy refused it: {message}"),
        )
        .fix("change the object as the message says")
        .fix(match plugin {
            "MutatingAdmissionPolicy" => "kubectl get mutatingadmissionpolicies,mutatingadmissionpolicybindings shows the rules",
            _ => "kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings shows the rules",
        }),
        "PodSecurity" => certain(
            Class::AdmissionDenied,
            format!("admission plugin PodSecurity refused it: {message}"),
        )
        .fix("change the pod as the message says")
        .fix(format!(
            "or the level that the namespace enforces: kubectl get namespace {} --show-labels",
            namespace(answer)
        )),
        _ => certain(
            Class::AdmissionDenied,
            format!("admission plugin {plugin} refused it: {message}"),
        )
        .fix("change the object as the message says, or what the plugin goes by"),
    }
}

fn namespace<'a>(answer: &'a Answer<'_>) -> &'a str {
    let namespace = answer.event["objectRef"]["namespace"].as_str();
    namespace.unwrap_or("NAMESPACE")
}

/// A 403 that admission did not give.
pub(super) fn cause(answer: &Answer<'_>) -> Cause {
    let event = answer.event;
    if let Some(stage) = answer.trace.failed().filter(|s| s.name == "impersonation") {
        // `as USER: MESSAGE`.
        let whom = stage.reason.strip_prefix("as ");
        let whom = whom.and_then(|reason| reason.split_once(": "));
        let (whom, why) = whom.unwrap_or(("somebody else", answer.message));
        return by_impersonation(whom, why).detail(whom);
    }
    if event["annotations"]["authorization.k8s.io/decision"] == "forbid" {
        return by_authorizer(answer);
    }
    if answer.has_cause("DisruptionBudget") || answer.details()["kind"] == "poddisruptionbudgets" {
        return Cause::certain(Class::DisruptionBudget, "handler", answer.message)
            .fix("kubectl get poddisruptionbudgets -A");
    }
    Cause::unknown(format!("refused behind authorization: {}", answer.message))
}

/// The caller may not act as somebody else.
pub(super) fn by_impersonation(whom: &str, why: &str) -> Cause {
    let text = format!("the caller may not act as {whom}: {why}");
    Cause::certain(Class::ImpersonationRefused, "impersonation", text).fix(
        "give the caller the verb impersonate on the users, groups or service accounts in question",
    )
}

/// No authorizer allowed it. What RBAC would need is added by whoever can ask it.
fn by_authorizer(answer: &Answer<'_>) -> Cause {
    let event = answer.event;
    let reason = event["annotations"][REASON_ANNOTATION]
        .as_str()
        .unwrap_or_default();
    let user = match &event["impersonatedUser"]["username"] {
        Value::String(name) => name.as_str(),
        _ => event["user"]["username"].as_str().unwrap_or_default(),
    };
    if user.starts_with("system:node:") && !reason.is_empty() {
        let text = format!("the Node authorizer keeps a node to what its pods need: {reason}");
        return Cause::certain(Class::NodeRefused, "authorization", text)
            .detail("Node")
            .fix("a node may read secrets, config maps and volumes of pods that are bound to it, no others")
            .fix("kubectl get pods -A --field-selector spec.nodeName=NODE shows which those are");
    }
    if let Some((authorizer, stage)) = asked(answer).find(|(_, s)| s.outcome == "denied") {
        let text = format!("{authorizer} denied it: {}", stage.reason);
        return Cause::certain(Class::Forbidden, &stage.name, text)
            .detail(&authorizer)
            .fix("ask whoever runs that authorizer: its denial is final, roles and bindings change nothing");
    }
    let silent: Vec<String> = asked(answer).map(|(authorizer, _)| authorizer).collect();
    let mut text = "no authorizer allowed it".to_string();
    if !silent.is_empty() {
        let _ = write!(text, " (had nothing to say: {})", silent.join(", "));
    }
    if !reason.is_empty() {
        let _ = write!(text, ": {reason}");
    }
    let cause = Cause::certain(Class::Forbidden, "authorization", text)
        .fix("grant it with a role and a binding, if they should be allowed to");
    match silent.iter().any(|authorizer| authorizer == "ABAC") {
        true => cause.fix("or with a line in --authorization-policy-file, and a restart"),
        false => cause,
    }
}

/// Authorizers beside RBAC and Node that did not allow it: what they are called, and what they said.
fn asked<'a>(answer: &'a Answer<'_>) -> impl Iterator<Item = (String, &'a TracedStage)> {
    answer.trace.stages.iter().filter_map(|stage| {
        let authorizer = stage.name.strip_prefix("authorizer/")?;
        let called = match authorizer.split_once('/') {
            Some((kind, name)) => format!("{kind} {name}"),
            None => authorizer.to_string(),
        };
        Some((called, stage))
    })
}
