//! One call: sent, read, measured, and told to the request's record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admission::Admission;
use crate::admission::webhook::Webhooks;
use crate::admission::webhook::config::{Hook, Kind};
use crate::admission::webhook::failure::{Class, Failure};
use crate::admission::webhook::review::{self, Answer, Bad};
use crate::api::field::go_quote;
use crate::api::status::Status;
use crate::request::RequestContext;

/// Codes above this are one in the metrics.
const CODE_MAX: u16 = 600;

/// What a call came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Agreed.
    Allowed(Answer),
    /// Refused; the client's answer.
    Denied(Answer, Status),
    /// Could not be asked.
    Failed(Failure),
    /// Asked, and then we could not go on; the client's answer.
    Broken(Status),
}

/// A call that is ready to be sent. It borrows nothing, so that many can run at once.
pub(super) struct Call {
    pub(super) hook: Arc<Hook>,
    pub(super) kind: Kind,
    /// UID and version of the review, and its body.
    sent: Option<(String, String, Vec<u8>)>,
    deadline: Option<Instant>,
    audit_id: Arc<str>,
}

impl Call {
    /// Prepares a call. `make` makes the body for a UID and a version of the review.
    pub(super) fn new(
        hook: &Arc<Hook>,
        kind: Kind,
        ctx: &RequestContext,
        make: impl FnOnce(&str, &str) -> Vec<u8>,
    ) -> Self {
        let sent = review::version(hook).map(|version| {
            let uid = uuid::Uuid::new_v4().to_string();
            let body = make(&uid, version);
            (uid, version.to_string(), body)
        });
        Call {
            hook: hook.clone(),
            kind,
            sent,
            deadline: ctx.deadline,
            audit_id: ctx.audit_id.clone(),
        }
    }

    /// Name of the stage.
    pub(super) fn stage(&self) -> String {
        format!("{}/{}", self.kind.stage(), self.hook.name)
    }

    /// Sends it and reads the answer.
    pub(super) async fn send(&mut self) -> Outcome {
        let Some((uid, version, body)) = self.sent.take() else {
            return Outcome::Failed(Failure {
                class: Class::Configuration,
                text: "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)".into(),
                code: 400,
            });
        };
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let within = left.map_or(self.hook.timeout, |left| left.min(self.hook.timeout));
        let within = within.max(Duration::from_millis(1));
        let answer = self.hook.client.post(body, within, &self.audit_id).await;
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(failure) => return Outcome::Failed(failure),
        };
        match Answer::parse(&bytes, &uid, &version, self.kind) {
            Ok(answer) if answer.allowed => Outcome::Allowed(answer),
            Ok(answer) => {
                let denial = review::denial(&self.hook.name, answer.status.as_ref());
                Outcome::Denied(answer, denial)
            }
            Err(Bad::Undecodable(text)) => Outcome::Failed(Failure::new(
                Class::BadAnswer,
                format!("failed to call webhook: {text}"),
            )),
            Err(Bad::Invalid(text)) => Outcome::Failed(Failure::new(
                Class::BadAnswer,
                format!("received invalid webhook response: {text}"),
            )),
        }
    }
}

/// The refusal of a dry run by a webhook that may have side effects.
pub(super) fn refuse_dry_run(hook: &Hook) -> Status {
    Status::bad_request(format!(
        "admission webhook {} does not support dry run",
        go_quote(&hook.name)
    ))
}

/// Takes what an answer adds to the record and the response.
pub(super) fn take_notes(ctx: &mut RequestContext, hook: &Hook, answer: &Answer) {
    for (key, value) in &answer.annotations {
        ctx.audit
            .annotate(format!("{}/{key}", hook.name), value.clone());
    }
    for warning in &answer.warnings {
        ctx.warn(warning.clone());
    }
}

/// Ends the stage of a call. `mutated`: its patch changed the object.
pub(super) fn end_stage(
    ctx: &mut RequestContext,
    call: &Call,
    began: Instant,
    outcome: &Outcome,
    mutated: bool,
) {
    let (word, reason) = match outcome {
        Outcome::Allowed(_) if mutated => ("mutated", String::new()),
        Outcome::Allowed(_) => ("ok", String::new()),
        Outcome::Denied(_, status) => ("denied", status.message.clone()),
        Outcome::Broken(status) => (
            "failed",
            format!("{}: {}", Class::BadAnswer.word(), status.message),
        ),
        Outcome::Failed(failure) => {
            let word = match failure.class {
                Class::Timeout if is_over(ctx) => "timeout",
                _ if call.hook.fails_open => "failed-open",
                _ => "failed",
            };
            (word, format!("{}: {}", failure.class.word(), failure.text))
        }
    };
    ctx.stages.end(call.stage(), began, word, reason);
}

/// Counts a call.
pub(super) fn measure(
    webhooks: &Webhooks,
    call: &Call,
    admission: &Admission<'_>,
    took: Duration,
    outcome: &Outcome,
) {
    let metrics = &webhooks.metrics;
    let (name, kind) = (call.hook.name.as_str(), call.kind.label());
    let operation = admission.operation.name();
    // Who is to blame for a rejection, and with which code.
    let (code, rejection) = match outcome {
        Outcome::Allowed(_) => (200, None),
        Outcome::Denied(_, status) => (status.code, Some("no_error")),
        Outcome::Failed(failure) if call.hook.fails_open => (failure.code, None),
        Outcome::Failed(failure) => (failure.code, Some("calling_webhook_error")),
        Outcome::Broken(_) => (0, Some("apiserver_internal_error")),
    };
    let code = code.min(CODE_MAX).to_string();
    let rejected = if rejection.is_some() { "true" } else { "false" };
    metrics
        .apiserver_admission_webhook_admission_duration_seconds
        .with_label_values(&[name, operation, rejected, kind])
        .observe(took.as_secs_f64());
    metrics
        .apiserver_admission_webhook_request_total
        .with_label_values(&[code.as_str(), name, operation, rejected, kind])
        .inc();
    if let Some(error_type) = rejection {
        metrics
            .apiserver_admission_webhook_rejection_count
            .with_label_values(&[error_type, name, operation, code.as_str(), kind])
            .inc();
    }
    if matches!(outcome, Outcome::Failed(_)) && call.hook.fails_open {
        metrics
            .apiserver_admission_webhook_fail_open_count
            .with_label_values(&[name, kind])
            .inc();
    }
}

/// What a failed call means for the client: nothing when the webhook fails open.
///
/// # Errors
/// The client's answer.
pub(super) fn settle_failure(
    ctx: &RequestContext,
    hook: &Hook,
    failure: &Failure,
) -> Result<(), Status> {
    let text = format!(
        "failed calling webhook {}: {}",
        go_quote(&hook.name),
        failure.text
    );
    tracing::warn!(
        webhook = hook.name,
        configuration = hook.configuration,
        audit_id = %ctx.audit_id,
        fails_open = hook.fails_open,
        error = text,
        "a webhook could not be called"
    );
    if is_over(ctx) {
        // As the request's own timeout says it, whichever of the two is noticed first.
        return Err(Status::timeout(
            "request did not complete within requested timeout - context deadline exceeded",
        ));
    }
    match hook.fails_open {
        true => Ok(()),
        false => Err(Status::internal(&text)),
    }
}

/// Whether the request's own time is over.
fn is_over(ctx: &RequestContext) -> bool {
    ctx.deadline
        .is_some_and(|deadline| deadline <= Instant::now())
}
