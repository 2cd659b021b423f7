//! 500, 502, 503: the server, its store, a webhook or a backend failed.

use super::{Answer, store};
use crate::diagnose::cause::{Cause, Class};
use crate::diagnose::trace::{TracedStage, webhook_of};

pub(super) fn cause(answer: &Answer<'_>) -> Cause {
    let trace = answer.trace;
    if let Some(failed) = trace.failed()
        && let Some(webhook) = webhook_of(&failed.name)
    {
        return by_webhook(answer, failed, webhook);
    }
    if let Some(failure) = trace.store_failure() {
        return store::cause(answer, failure);
    }
    let message = answer.message;
    match trace.failed() {
        Some(stage) if stage.name == "authorization" => Cause::certain(
            Class::AuthorizerFailed,
            "authorization",
            format!("an authorizer failed: {}", stage.reason),
        )
        .fix("look at the authorization webhook and at this server's log"),
        Some(stage) => Cause::likely(
            Class::Internal,
            &stage.name,
            format!("{} failed: {} {message}", stage.name, stage.reason),
        )
        .detail(stage.name.as_str())
        .fix("the server's log has the details under this audit ID"),
        None if matches!(answer.code, 502 | 503) && is_proxied(answer) => Cause::certain(
            Class::BackendUnavailable,
            "proxy",
            format!("what the request is for does not answer: {message}"),
        )
        .fix("look at the service or API service behind it: kubectl get apiservices; kubectl get endpointslices -A"),
        None => Cause::unknown(format!(
            "the server failed: {message}; its log may have the details under this audit ID"
        )),
    }
}

pub(super) fn by_webhook(answer: &Answer<'_>, stage: &TracedStage, webhook: &str) -> Cause {
    let is_late = stage.outcome == "timeout" || stage.reason.starts_with("timeout");
    let (class, text) = match is_late {
        true => (Class::WebhookTimeout, "did not answer in time"),
        false => (Class::WebhookFailed, "could not be asked"),
    };
    let why = match stage.reason.as_str() {
        "" => answer.message,
        reason => reason,
    };
    let after = match stage.micros {
        0 => String::new(),
        micros => format!(" (after {} ms)", micros / 1000),
    };
    let text = format!("admission webhook {webhook} {text}{after}: {why}");
    Cause::certain(class, &stage.name, text)
        .detail(webhook)
        .fix("look at the webhook's service and pods")
        .fix("while it is down: failurePolicy Ignore lets requests pass, or delete its configuration")
}

/// Whether the request was for something behind this server.
fn is_proxied(answer: &Answer<'_>) -> bool {
    let event = answer.event;
    event["verb"] == "proxy"
        || event["objectRef"]["subresource"] == "proxy"
        || answer.message.contains("error trying to reach service")
        || answer
            .message
            .contains("no endpoints available for service")
}

pub(super) fn panic(answer: &Answer<'_>) -> Cause {
    Cause::certain(
        Class::Panic,
        answer
            .trace
            .running
            .first()
            .map_or("handler", |r| r.0.as_str()),
        format!("a handler of this server panicked: {}", answer.message),
    )
    .fix("the server's log has the details under this audit ID; please report it")
}
