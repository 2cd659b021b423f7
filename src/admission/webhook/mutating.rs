//! Mutating webhooks: one after the other, each sees what the ones before made of the object.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::admission::matching::{is_exempt, presented};
use crate::admission::review::request;
use crate::admission::webhook::Webhooks;
use crate::admission::webhook::call::{
    Call, Outcome, end_stage, measure, refuse_dry_run, settle_failure, take_notes,
};
use crate::admission::webhook::config::{Hook, Kind};
use crate::admission::webhook::failure::{Class, Failure};
use crate::admission::webhook::matching::{self, Invocation};
use crate::admission::webhook::review::{self, Answer};
use crate::admission::{Admission, Operation, not_ready};
use crate::api::field::go_quote;
use crate::api::patch::JsonPatch;
use crate::api::status::Status;
use crate::request::AuditLevel;

/// What the first round of a request leaves for the second.
#[derive(Debug, Default)]
pub(in crate::admission) struct Rounds {
    /// Webhooks that want to see later changes and have been called.
    waiting: BTreeSet<String>,
    /// Those of them that must be called again.
    due: BTreeSet<String>,
    /// The object as the last webhook left it.
    last: Option<Value>,
}

impl Rounds {
    fn object_changed(&mut self) {
        self.due.append(&mut self.waiting);
    }
}

/// Metadata that a new object gets after mutating admission; webhooks do not see it.
const FILLED_LATER: [&str; 2] = ["uid", "creationTimestamp"];

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
    if rounds.is_second && rounds.webhooks.last.as_ref() != Some(&*admission.object) {
        rounds.webhooks.object_changed();
    }
    for (index, hook) in hooks.iter().flat_map(|h| h.iter()).enumerate() {
        let invocation = matching::invocation(webhooks, Kind::Mutating, hook, admission).await?;
        let Some(invocation) = invocation else {
            continue;
        };
        let rounds = &mut admission.reinvocation;
        if rounds.is_second && !rounds.webhooks.due.contains(&hook.uid) {
            continue;
        }
        call_one(webhooks, admission, &invocation, index).await?;
    }
    if admission.reinvocation.is_wanted {
        admission.reinvocation.webhooks.last = Some(admission.object.clone());
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
    let (sent, hidden) = present(webhooks, admission, invocation);
    let version = invocation.version(admission.resource);
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
                match put_back(webhooks, admission, invocation, object, hidden) {
                    Ok(()) => note_patch(admission, hook, &place, answer),
                    Err(status) => outcome = Outcome::Broken(status),
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
        rounds.webhooks.waiting.insert(hook.uid.clone());
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

type Hidden = Map<String, Value>;

/// The object as the webhook sees it, and the metadata it does not see.
fn present(
    webhooks: &Webhooks,
    admission: &Admission<'_>,
    invocation: &Invocation,
) -> (Value, Hidden) {
    let version = invocation.version(admission.resource);
    let object = presented(&*webhooks.kinds, admission, admission.object, version);
    let mut object = object.into_owned();
    let mut hidden = Map::new();
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let (Operation::Create, Some(metadata)) = (admission.operation, metadata) {
        let name = admission.name_is_generated.then_some("name");
        for member in FILLED_LATER.into_iter().chain(name) {
            if let Some(value) = metadata.remove(member) {
                hidden.insert(member.into(), value);
            }
        }
    }
    (object, hidden)
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
        .map_err(|error| Box::new(Outcome::Broken(Status::internal(&error))))
}

/// Makes a patched object the request's.
fn put_back(
    webhooks: &Webhooks,
    admission: &mut Admission<'_>,
    invocation: &Invocation,
    mut object: Value,
    hidden: Hidden,
) -> Result<(), Status> {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.extend(hidden);
    }
    let version = invocation.version(admission.resource);
    webhooks
        .kinds
        .take_back(
            admission.resource,
            admission.subresource,
            object,
            version,
            admission.object,
        )
        .map_err(|error| Status::internal(&error))
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
