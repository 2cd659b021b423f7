//! Whether a webhook applies to a request: its criteria, and then its match conditions.

use std::sync::Arc;
use std::time::Instant;

use crate::admission::expressions::{Asks, Variables, evaluate_bool, request_resource};
use crate::admission::matching::{Matched, Sources, name_of, presented};
use crate::admission::webhook::Webhooks;
use crate::admission::webhook::config::{Hook, Kind};
use crate::admission::{Admission, review};
use crate::api::cel::{Budget, MATCH_CONDITIONS_LIMIT};
use crate::api::resource::Resource;
use crate::api::status::Status;
use crate::base::tree::Value;

/// How a webhook is called: the version it asked for.
pub(super) struct Invocation {
    pub(super) hook: Arc<Hook>,
    matched: Matched,
}

impl Invocation {
    /// Row of the version that is sent.
    pub(super) fn version<'a>(&'a self, requested: &'a Resource) -> &'a Resource {
        self.matched.version(requested)
    }
}

/// Decides whether to call. `None`: it does not apply.
///
/// # Errors
/// What the client is answered when that cannot be decided.
pub(super) async fn invocation(
    webhooks: &Webhooks,
    kind: Kind,
    hook: &Arc<Hook>,
    admission: &Admission<'_>,
) -> Result<Option<Invocation>, Status> {
    let sources = Sources {
        kinds: &*webhooks.kinds,
        objects: &*webhooks.objects,
    };
    let Some(matched) = hook.criteria.find(sources, admission).await? else {
        return Ok(None);
    };
    let invocation = Invocation {
        hook: hook.clone(),
        matched,
    };
    if hook.conditions.is_empty() {
        return Ok(Some(invocation));
    }
    let applies = conditions_hold(webhooks, kind, &invocation, admission).await?;
    Ok(applies.then_some(invocation))
}

/// Whether all match conditions hold. One that is false wins over those that fail.
async fn conditions_hold(
    webhooks: &Webhooks,
    kind: Kind,
    invocation: &Invocation,
    admission: &Admission<'_>,
) -> Result<bool, Status> {
    let hook = &invocation.hook;
    let version = invocation.version(admission.resource);
    let object = presented(&*webhooks.kinds, admission, admission.object, version);
    let old = admission.old_object.unwrap_or(&Value::Null);
    let old = presented(&*webhooks.kinds, admission, old, version);
    let request = review::request(admission, version, "");
    let variables = Variables {
        object: &object,
        old_object: &old,
        request: &request,
        resource: request_resource(admission),
    };
    let asks = Asks {
        authorizer: &*webhooks.authorizer,
        user: admission.user,
    };
    let began = Instant::now();
    let mut budget = Budget::new(MATCH_CONDITIONS_LIMIT);
    let mut errors = Vec::new();
    let mut holds = true;
    for condition in &hook.conditions {
        let answer = match &condition.program {
            Ok(program) => evaluate_bool(program, &variables, &asks, &mut budget).await,
            Err(error) => Err(format!("compilation error: {error}")),
        };
        match answer {
            Ok(true) => {}
            Ok(false) => {
                holds = false;
                break;
            }
            Err(error) => errors.push(error),
        }
    }
    let metrics = &webhooks.metrics;
    let pass = match kind {
        Kind::Mutating => "admit",
        Kind::Validating => "validate",
    };
    let labels = [
        "webhook",
        hook.name.as_str(),
        admission.operation.name(),
        pass,
    ];
    metrics
        .apiserver_admission_match_condition_evaluation_seconds
        .with_label_values(&labels)
        .observe(began.elapsed().as_secs_f64());
    if !holds {
        metrics
            .apiserver_admission_match_condition_exclusions_total
            .with_label_values(&labels)
            .inc();
        return Ok(false);
    }
    if errors.is_empty() {
        return Ok(true);
    }
    metrics
        .apiserver_admission_match_condition_evaluation_errors_total
        .with_label_values(&labels)
        .inc();
    let text = aggregate(&errors);
    tracing::warn!(webhook = hook.name, error = text, "match conditions failed");
    match hook.fails_open {
        true => Ok(false),
        false => Err(Status::forbidden(
            &admission.resource.group_resource(),
            name_of(admission),
            &text,
        )),
    }
}

/// One error as it is, several in brackets.
fn aggregate(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}
