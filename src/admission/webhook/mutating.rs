//! Mutating webhooks: one after the other, each sees what the ones before made of the object.

use std::sync::Arc;

use serde::Serialize;

use crate::admission::matching::{is_exempt, presented};
use crate::admission::review::request;
use crate::admission::shown::Shown;
use crate::admission::webhook::Webhooks;
use crate::admission::webhook::call::{
    Call, Outcome, end_stage, measure, refuse_dry_run, settle_failure, take_notes,
};
use crate::admission::webhook::config::{Hook, Kind};
use crate::admission::webhook::failure::{Class, Failure};
use crate::admission::webhook::matching::{self, Invocation};
use crate::admission::webhook::review::{self, Answer};
use crate::admission::{Admission, not_ready};
use crate::api::field::go_quote;
use crate::api::patch::JsonPatch;
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::request::AuditLevel;

/// Calls the webhooks that apply.
pub(super) async fn dispatch(
    webhooks: &Webhooks,
    admission: &mut Admission<'_>,
) -> Result<(), Status> {
    if is_exempt(admission) {
        return Ok(());
    }
    let Some(hooks) = webhooks.configurations.current(Kind::Mutating).await else {
        return Err(not_ready(admission));
    };
    if hooks.is_empty() {
        return Ok(());
    }
    let rounds = &mut admission.reinvocation;
    if rounds.is_second {
        rounds.webhooks.resume(admission.object);
    }
    for (index, hook) in hooks.iter().flat_map(|h| h.iter()).enumerate() {
        let invocation = matching::invocation(webhooks, Kind::Mutating, hook, admission).await?;
        let Some(invocation) = invocation else {
            continue;
        };
        let rounds = &mut admission.reinvocation;
        if rounds.is_second && !rounds.webhooks.is_due(&hook.uid) {
            continue;
        }
        call_one(webhooks, admission, &invocation, index).await?;
    }
    if admission.reinvocation.is_wanted {
        admission.reinvocation.webhooks.leave(admission.object);
    }
    Ok(())
}

async fn call_one(
    webhooks: &Webhooks,
    admission: &mut Admission<'_>,
    invocation: &Invocation,
    index: usize,
) -> Result<(), Status> {
    let hook = &invocation.hook;
    let place = format!(
        "round_{}_index_{index}",
        u8::from(admission.reinvocation.is_second)
    );
    if admission.dry_run && !hook.takes_dry_run {
        note_call(admission, hook, &place, false);
        return Err(refuse_dry_run(hook));
    }
    let version = invocation.version(admission.resource);
    let mut shown = Shown::new(&*webhooks.kinds, admission, version);
    let sent = std::mem::take(&mut shown.object);
    let old = admission.old_object.unwrap_or(&Value::Null);
    let old = presented(&*webhooks.kinds, admission, old, version);
    let mut call = Call::new(
        hook,
        Kind::Mutating,
        admission.ctx,
        |uid, review_version| {
            let request = request(admission, version, uid);
            review::body(request, &sent, &old, review_version)
        },
    );
    let began = admission.ctx.stages.begin(call.stage());
    let mut outcome = call.send().await;
    let took = began.elapsed();
    let mut changed = false;
    if let Outcome::Allowed(answer) = &outcome {
        match patched(admission, hook, answer, &sent) {
            Ok(None) => {}
            Ok(Some(object)) => {
                changed = object != sent;
                match shown.put_back(&*webhooks.kinds, admission, version, object) {
                    Ok(()) => note_patch(admission, hook, &place, answer),
                    Err(error) => outcome = Outcome::Broken(Status::internal(&error)),
                }
            }
            Err(instead) => outcome = *instead,
        }
    }
    if let Outcome::Allowed(answer) | Outcome::Denied(answer, _) = &outcome {
        take_notes(admission.ctx, hook, answer);
    }
    note_call(admission, hook, &place, changed);
    end_stage(admission.ctx, &call, began, &outcome, changed);
    measure(webhooks, &call, admission, took, &outcome);
    let rounds = &mut admission.reinvocation;
    if changed {
        rounds.webhooks.object_changed();
        rounds.is_wanted = true;
    }
    if hook.reinvoked {
        rounds.webhooks.wait(hook.uid.clone());
    }
    match outcome {
        Outcome::Allowed(_) => Ok(()),
        Outcome::Denied(_, status) | Outcome::Broken(status) => Err(status),
        Outcome::Failed(failure) => {
            if hook.fails_open {
                let key = format!("failed-open.mutation.webhook.admission.k8s.io/{place}");
                admission.ctx.audit.annotate(key, hook.name.clone());
            }
            settle_failure(admission.ctx, hook, &failure)
        }
    }
}

/// The object after the patch of an answer; `None` when there is none.
fn patched(
    admission: &Admission<'_>,
    hook: &Arc<Hook>,
    answer: &Answer,
    presented: &Value,
) -> Result<Option<Value>, Box<Outcome>> {
    if answer.patch.is_empty() {
        return Ok(None);
    }
    let patch = JsonPatch::parse(&answer.patch).map_err(|error| {
        let text = format!("received undecodable patch in webhook response: {error}");
        Box::new(Outcome::Failed(Failure::new(Class::BadAnswer, text)))
    })?;
    if patch.is_empty() {
        return Ok(None);
    }
    if admission.object.is_null() {
        return Err(Box::new(Outcome::Broken(Status::internal(&format!(
            "admission webhook {} attempted to modify the object, which is not supported for this operation",
            go_quote(&hook.name)
        )))));
    }
    if answer.patch_type != "JSONPatch" {
        let text = format!("unsupported patch type {}", go_quote(&answer.patch_type));
        return Err(Box::new(Outcome::Failed(Failure::new(
            Class::BadAnswer,
            text,
        ))));
    }
    let patched = patch.apply(presented);
    patched
        .map(Some)
        .map_err(|error| Box::new(Outcome::Broken(Status::internal(&error.text))))
}

/// Values of annotations, members in upstream's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallNote<'a> {
    configuration: &'a str,
    webhook: &'a str,
    mutated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PatchNote<'a> {
    configuration: &'a str,
    webhook: &'a str,
    patch: Value,
    patch_type: &'a str,
}

fn note_call(admission: &mut Admission<'_>, hook: &Hook, place: &str, mutated: bool) {
    let note = CallNote {
        configuration: &hook.configuration,
        webhook: &hook.name,
        mutated,
    };
    annotate(admission, "mutation", place, &note);
}

fn note_patch(admission: &mut Admission<'_>, hook: &Hook, place: &str, answer: &Answer) {
    if admission.ctx.audit.level < AuditLevel::Request {
        return;
    }
    let note = PatchNote {
        configuration: &hook.configuration,
        webhook: &hook.name,
        patch: serde_json::from_slice(&answer.patch).unwrap_or_default(),
        patch_type: &answer.patch_type,
    };
    annotate(admission, "patch", place, &note);
}

fn annotate(admission: &mut Admission<'_>, what: &str, place: &str, note: &impl Serialize) {
    let key = format!("{what}.webhook.admission.k8s.io/{place}");
    let value = serde_json::to_string(note).unwrap_or_default();
    admission.ctx.audit.annotate(key, value);
}
