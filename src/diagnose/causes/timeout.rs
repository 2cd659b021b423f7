//! 504 and clients that did not wait: which stage ate the time.

use super::{Answer, store};
use crate::diagnose::cause::{Cause, Class};
use crate::diagnose::trace::webhook_of;
use crate::storage::Failure;

pub(super) fn cause(answer: &Answer<'_>) -> Cause {
    let trace = answer.trace;
    if let Some(failure) = trace.store_failure()
        && trace.running.is_empty()
    {
        return store::cause(answer, failure);
    }
    if answer.has_cause("ResourceVersionTooLarge") {
        return store::cause(answer, Failure::FutureRevision);
    }
    if let Some((stage, micros)) = trace.running.first() {
        return in_stage(answer, stage, *micros);
    }
    match trace.stages.iter().max_by_key(|s| s.micros) {
        Some(slowest) if slowest.micros > 0 => {
            let text = format!(
                "the deadline passed; most of the time ({} ms) went into {}",
                slowest.micros / 1000,
                slowest.name
            );
            Cause::likely(class_of(&slowest.name), &slowest.name, text)
                .detail(slowest.name.as_str())
                .fix("look at what that stage waits for")
        }
        _ => Cause::unknown("the deadline passed, and the record does not show in which stage"),
    }
}

/// The stage that was running when the deadline passed.
fn in_stage(answer: &Answer<'_>, stage: &str, micros: u64) -> Cause {
    let others: Vec<&str> = answer.trace.running[1..]
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| webhook_of(name).is_some())
        .collect();
    let mut text = format!(
        "the deadline passed while {stage} was running, for {} ms by then",
        micros / 1000
    );
    if !others.is_empty() {
        text.push_str(&format!("; so were {}", others.join(", ")));
    }
    let cause =
        Cause::certain(class_of(stage), stage, text).detail(webhook_of(stage).unwrap_or(stage));
    match class_of(stage) {
        Class::WebhookTimeout => cause
            .fix("look at the webhook's service and pods: kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -o yaml")
            .fix("give it a smaller timeoutSeconds and think about failurePolicy: several that are waited for add up"),
        Class::StoreTimeout => cause
            .fix("the store did not answer in time: look at etcd's disk and load")
            .fix("etcdctl endpoint status --cluster -w table"),
        _ => cause.fix("look at what that stage waits for: a webhook's service, the store, a slow client"),
    }
}

fn class_of(stage: &str) -> Class {
    if webhook_of(stage).is_some() {
        return Class::WebhookTimeout;
    }
    match stage.split('/').next() {
        Some("store" | "cache") => Class::StoreTimeout,
        // Another server's event says how long all of them took together.
        Some("mutating-webhook" | "validating-webhook") => Class::WebhookTimeout,
        _ => Class::Timeout,
    }
}

/// The client went away before its answer was there.
pub(super) fn client_gone(answer: &Answer<'_>) -> Cause {
    let trace = answer.trace;
    let (stage, text) = match trace.running.first() {
        Some((stage, micros)) => (
            stage.as_str(),
            format!(
                "the client closed the connection after {} ms, while {stage} had been running for {} ms",
                trace.micros / 1000,
                micros / 1000
            ),
        ),
        None => (
            "",
            format!(
                "the client closed the connection after {} ms",
                trace.micros / 1000
            ),
        ),
    };
    Cause::certain(Class::ClientGone, stage, text)
        .detail(stage)
        .fix("if the client gave up too early, give it a longer timeout; if the stage was slow, look at what it waits for")
}
