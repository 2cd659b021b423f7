//! Validating webhooks: all that apply are called at once.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use crate::admission::matching::{is_exempt, presented};
use crate::admission::review::request;
use crate::admission::webhook::Webhooks;
use crate::admission::webhook::call::{
    Call, Outcome, end_stage, measure, refuse_dry_run, settle_failure, take_notes,
};
use crate::admission::webhook::config::Kind;
use crate::admission::webhook::matching::{self, Invocation};
use crate::admission::webhook::review;
use crate::admission::{Admission, not_ready};
use crate::api::status::Status;
use crate::base::tree::Value;

/// Calls the webhooks that apply; the first refusal is the answer, all are recorded.
pub(super) async fn dispatch(
    webhooks: &Webhooks,
    admission: &mut Admission<'_>,
) -> Result<(), Status> {
    if is_exempt(admission) {
        return Ok(());
    }
    let Some(hooks) = webhooks.configurations.current(Kind::Validating).await else {
        return Err(not_ready(admission));
    };
    let mut relevant = Vec::new();
    for hook in hooks.iter().flat_map(|h| h.iter()) {
        let invocation = matching::invocation(webhooks, Kind::Validating, hook, admission).await?;
        relevant.extend(invocation);
    }
    if relevant.is_empty() {
        return Ok(());
    }
    let mut calls = FuturesUnordered::new();
    let mut refusal = None;
    for (index, invocation) in relevant.iter().enumerate() {
        if admission.dry_run && !invocation.hook.takes_dry_run {
            refusal = refusal.or_else(|| Some(refuse_dry_run(&invocation.hook)));
            continue;
        }
        let mut call = prepare(webhooks, admission, invocation);
        let began = admission.ctx.stages.begin(call.stage());
        calls.push(async move {
            let outcome = call.send().await;
            let took = began.elapsed();
            Called {
                index,
                call,
                began,
                took,
                outcome,
            }
        });
    }
    while let Some(called) = calls.next().await {
        if let Err(status) = settle(webhooks, admission, called) {
            refusal = refusal.or(Some(status));
        }
    }
    refusal.map_or(Ok(()), Err)
}

/// A call that has come back.
struct Called {
    index: usize,
    call: Call,
    began: Instant,
    took: Duration,
    outcome: Outcome,
}

fn prepare(webhooks: &Webhooks, admission: &Admission<'_>, invocation: &Invocation) -> Call {
    let version = invocation.version(admission.resource);
    let object = presented(&*webhooks.kinds, admission, admission.object, version);
    let old = admission.old_object.unwrap_or(&Value::Null);
    let old = presented(&*webhooks.kinds, admission, old, version);
    Call::new(
        &invocation.hook,
        Kind::Validating,
        admission.ctx,
        |uid, review_version| {
            let request = request(admission, version, uid);
            review::body(request, &object, &old, review_version)
        },
    )
}

fn settle(
    webhooks: &Webhooks,
    admission: &mut Admission<'_>,
    called: Called,
) -> Result<(), Status> {
    let Called {
        index,
        call,
        began,
        took,
        outcome,
    } = called;
    if let Outcome::Allowed(answer) | Outcome::Denied(answer, _) = &outcome {
        take_notes(admission.ctx, &call.hook, answer);
    }
    end_stage(admission.ctx, &call, began, &outcome, false);
    measure(webhooks, &call, admission, took, &outcome);
    match outcome {
        Outcome::Allowed(_) => Ok(()),
        Outcome::Denied(_, status) | Outcome::Broken(status) => Err(status),
        Outcome::Failed(failure) => {
            if call.hook.fails_open {
                let key = format!(
                    "failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}"
                );
                admission.ctx.audit.annotate(key, call.hook.name.clone());
            }
            settle_failure(admission.ctx, &call.hook, &failure)
        }
    }
}
