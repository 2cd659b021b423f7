//! Whether a webhook applies to a request: rules, selectors, match conditions.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::admission::expressions::{Asks, Variables, evaluate_bool, request_resource};
use crate::admission::webhook::Webhooks;
use crate::admission::webhook::config::{Hook, Kind, Rule};
use crate::admission::webhook::review;
use crate::admission::{Admission, Operation};
use crate::api::cel::{Budget, MATCH_CONDITIONS_LIMIT};
use crate::api::names::GroupResource;
use crate::api::resource::Resource;
use crate::api::status::Status;

/// Resources that are never sent to webhooks.
const EXEMPT: [&str; 6] = [
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
];

/// Whether a write is one that webhooks never see.
pub(super) fn is_exempt(admission: &Admission<'_>) -> bool {
    admission.resource.group == "admissionregistration.k8s.io"
        && EXEMPT.contains(&&*admission.resource.plural)
}

/// How a webhook is called: the version it asked for.
pub(super) struct Invocation {
    pub(super) hook: Arc<Hook>,
    /// Row of the version that is sent; `None` when it is the request's own.
    pub(super) as_version: Option<Arc<Resource>>,
}

impl Invocation {
    /// Row of the version that is sent.
    pub(super) fn version<'a>(&'a self, requested: &'a Resource) -> &'a Resource {
        self.as_version.as_deref().unwrap_or(requested)
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
    // As upstream: an error counts only where the rules match.
    let namespace = namespace_matches(webhooks, hook, admission).await;
    if matches!(namespace, Ok(false)) || !object_matches(hook, admission) {
        return Ok(None);
    }
    let Some(invocation) = by_rules(webhooks, hook, admission) else {
        return Ok(None);
    };
    namespace?;
    if hook.conditions.is_empty() {
        return Ok(Some(invocation));
    }
    let applies = conditions_hold(webhooks, kind, &invocation, admission).await?;
    Ok(applies.then_some(invocation))
}

fn by_rules(
    webhooks: &Webhooks,
    hook: &Arc<Hook>,
    admission: &Admission<'_>,
) -> Option<Invocation> {
    let invoke = |as_version| {
        Some(Invocation {
            hook: hook.clone(),
            as_version,
        })
    };
    let exact = |rule: &Rule| rule_matches(rule, admission, admission.resource);
    if hook.rules.iter().any(exact) {
        return invoke(None);
    }
    if !hook.matches_equivalent {
        return None;
    }
    let equivalents = webhooks.kinds.equivalents(admission.resource);
    for rule in &hook.rules {
        let other = equivalents.iter().find(|other| {
            (&other.group, &other.version)
                != (&admission.resource.group, &admission.resource.version)
                && rule_matches(rule, admission, other)
        });
        if let Some(other) = other {
            return invoke(Some(other.clone()));
        }
    }
    None
}

fn rule_matches(rule: &Rule, admission: &Admission<'_>, resource: &Resource) -> bool {
    let has = |list: &[String], value: &str| list.iter().any(|item| item == "*" || item == value);
    rule.has_operation(admission.operation)
        && has(&rule.groups, &resource.group)
        && has(&rule.versions, &resource.version)
        && rule
            .resources
            .iter()
            .any(|pattern| resource_matches(pattern, &resource.plural, admission.subresource))
        && scope_matches(&rule.scope, admission)
}

/// `pods`, `pods/log`, `pods/*`, `*/scale`, `*` (no subresources) and `*/*`.
fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    let (wanted, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    (wanted == "*" || wanted == resource) && (sub == "*" || sub == subresource)
}

fn scope_matches(scope: &str, admission: &Admission<'_>) -> bool {
    // A namespace is cluster-scoped although its requests carry it as their namespace.
    let is_cluster = is_namespace(admission) || admission.namespace.is_empty();
    match scope {
        "Namespaced" => !is_cluster,
        "Cluster" => is_cluster,
        _ => true,
    }
}

fn is_namespace(admission: &Admission<'_>) -> bool {
    admission.resource.group.is_empty() && admission.resource.plural == "namespaces"
}

/// The namespace of the request; of requests about a namespace that exists, the namespace itself.
pub(super) fn namespace_of<'a>(admission: &Admission<'a>) -> &'a str {
    match is_namespace(admission) && admission.operation != Operation::Create {
        true => admission.name,
        false => admission.namespace,
    }
}

async fn namespace_matches(
    webhooks: &Webhooks,
    hook: &Hook,
    admission: &Admission<'_>,
) -> Result<bool, Status> {
    let name = namespace_of(admission);
    if hook.namespaces.is_empty() || (name.is_empty() && !is_namespace(admission)) {
        return Ok(true);
    }
    let carries_labels = is_namespace(admission)
        && admission.subresource.is_empty()
        && matches!(admission.operation, Operation::Create | Operation::Update);
    if carries_labels {
        return Ok(hook.namespaces.matches_object(admission.object));
    }
    let namespaces = GroupResource::new("", "namespaces");
    let cached = webhooks.objects.get_cached(&namespaces, "", name).await;
    let found = match cached.map_err(|error| Status::internal(&error.message))? {
        Some(namespace) => Some(namespace),
        // The cache may be behind.
        None => webhooks
            .objects
            .get(&namespaces, "", name)
            .await
            .map_err(|error| Status::internal(&error.message))?,
    };
    let namespace = found.ok_or_else(|| Status::not_found(&namespaces, name))?;
    Ok(hook.namespaces.matches_object(&namespace))
}

/// Either object will do.
fn object_matches(hook: &Hook, admission: &Admission<'_>) -> bool {
    let matches = |object: &Value| !object.is_null() && hook.objects.matches_object(object);
    hook.objects.is_empty()
        || matches(admission.object)
        || admission.old_object.is_some_and(matches)
}

/// An object in the version that a webhook wants; null stays null.
pub(super) fn presented<'a>(
    webhooks: &Webhooks,
    admission: &Admission<'_>,
    object: &'a Value,
    to: &Resource,
) -> Cow<'a, Value> {
    if object.is_null() {
        return Cow::Borrowed(object);
    }
    webhooks
        .kinds
        .present(admission.resource, admission.subresource, object, to)
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
    let object = presented(webhooks, admission, admission.object, version);
    let old = admission.old_object.unwrap_or(&Value::Null);
    let old = presented(webhooks, admission, old, version);
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
            review::name_of(admission),
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

#[cfg(test)]
mod tests {
    use super::resource_matches;

    #[test]
    fn resource_patterns() {
        for (pattern, resource, subresource, want) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/status", "pods", "status", true),
            ("pods/*", "pods", "status", true),
            ("pods/*", "pods", "", true),
            ("*", "pods", "", true),
            ("*", "pods", "status", false),
            ("*/scale", "deployments", "scale", true),
            ("*/scale", "deployments", "", false),
            ("*/*", "deployments", "", true),
            ("*/*", "deployments", "scale", true),
        ] {
            assert_eq!(
                resource_matches(pattern, resource, subresource),
                want,
                "{pattern}"
            );
        }
    }
}
