//! What failures become: one refusal, warnings, audit annotations, metrics.

use std::time::Duration;

use serde::Serialize;

use super::config::{Binding, Policy};
use super::evaluate::{Decided, Failure};
use crate::admission::Admission;
use crate::admission::matching::name_of;
use crate::api::status::Status;
use crate::request::RequestContext;
use crate::telemetry::Metrics;

/// Longest value of an audit annotation.
const VALUE_BYTES_MAX: usize = 10 * 1024;
const FAILURE_KEY: &str = "validation.policy.admission.k8s.io/validation_failure";

/// What the policies of one request came to.
pub(super) struct Report<'m> {
    metrics: &'m Metrics,
    /// The refusal: of several the first.
    denial: Option<(String, String)>,
    /// Messages of all failures, for the stages.
    messages: Vec<String>,
    /// Warnings not given yet.
    warnings: Vec<String>,
    /// The failure that is audited: of several the first, as upstream's annotation is set once.
    audited: Option<Note>,
    /// Annotations of policies: key and its values so far.
    annotations: Vec<(String, Vec<String>)>,
}

/// One entry of the annotation, members in upstream's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    message: String,
    policy: String,
    binding: String,
    expression_index: usize,
    validation_actions: Vec<String>,
}

impl<'m> Report<'m> {
    pub(super) fn new(metrics: &'m Metrics) -> Self {
        Report {
            metrics,
            denial: None,
            messages: Vec::new(),
            warnings: Vec::new(),
            audited: None,
            annotations: Vec::new(),
        }
    }

    /// A policy or binding cannot be applied.
    pub(super) fn misconfigured(&mut self, policy: &Policy, binding: Option<&Binding>, why: &str) {
        if policy.fails_open {
            return;
        }
        let what = if binding.is_some() {
            "binding"
        } else {
            "policy"
        };
        let message = format!("failed to configure {what}: {why}");
        self.messages.push(message.clone());
        self.deny(policy, binding, &message, "");
    }

    fn deny(&mut self, policy: &Policy, binding: Option<&Binding>, message: &str, reason: &str) {
        let with = binding.map_or(String::new(), |b| format!(" with binding '{}'", b.name));
        let text = format!(
            "ValidatingAdmissionPolicy '{}'{with} denied request: {message}",
            policy.name
        );
        self.denial
            .get_or_insert_with(|| (text, reason.to_string()));
    }

    /// What a policy came to for a binding and one parameter.
    pub(super) fn add(
        &mut self,
        policy: &Policy,
        binding: &Binding,
        decided: Decided,
        took: Duration,
    ) {
        if decided.failures.is_empty() {
            self.measure(policy, binding, "allow", "no_error", took);
        }
        for failure in &decided.failures {
            self.add_failure(policy, binding, failure, took);
        }
        for (key, value) in decided.annotations {
            let key = format!("{}/{key}", policy.name);
            let value = cut(value);
            match self.annotations.iter_mut().find(|(known, _)| *known == key) {
                Some((_, values)) if values.contains(&value) => {}
                Some((_, values)) => values.push(value),
                None => self.annotations.push((key, vec![value])),
            }
        }
    }

    fn add_failure(
        &mut self,
        policy: &Policy,
        binding: &Binding,
        failure: &Failure,
        took: Duration,
    ) {
        let error_type = if failure.is_error {
            "invalid_error"
        } else {
            "no_error"
        };
        self.messages.push(failure.message.clone());
        if binding.actions.deny {
            self.measure(policy, binding, "deny", error_type, took);
            self.deny(policy, Some(binding), &failure.message, &failure.reason);
        }
        if binding.actions.audit {
            self.measure(policy, binding, "audit", error_type, took);
            self.audited.get_or_insert_with(|| Note {
                message: failure.message.clone(),
                policy: policy.name.clone(),
                binding: binding.name.clone(),
                expression_index: failure.index,
                validation_actions: binding.listed.clone(),
            });
        }
        if binding.actions.warn {
            self.measure(policy, binding, "warn", error_type, took);
            self.warnings.push(format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                policy.name, binding.name, failure.message
            ));
        }
    }

    fn measure(
        &self,
        policy: &Policy,
        binding: &Binding,
        action: &str,
        error_type: &str,
        took: Duration,
    ) {
        let labels = [
            action,
            error_type,
            policy.name.as_str(),
            binding.name.as_str(),
        ];
        self.metrics
            .apiserver_validating_admission_policy_check_total
            .with_label_values(&labels)
            .inc();
        self.metrics
            .apiserver_validating_admission_policy_check_duration_seconds
            .with_label_values(&labels)
            .observe(took.as_secs_f64());
    }

    /// How many failures there have been.
    pub(super) fn failures(&self) -> usize {
        self.messages.len()
    }

    /// The first failure since there were so many.
    pub(super) fn failures_since(&self, count: usize) -> Option<String> {
        self.messages.get(count).cloned()
    }

    /// Gives the warnings so far.
    pub(super) fn publish(&mut self, ctx: &mut RequestContext) {
        for warning in self.warnings.drain(..) {
            ctx.warn(warning);
        }
    }

    /// Annotates, and answers the refusal.
    ///
    /// # Errors
    /// The client's answer when a binding denies.
    pub(super) fn finish(self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let audit = &mut admission.ctx.audit;
        if let Some(note) = &self.audited {
            let value = serde_json::to_string(&[note]).unwrap_or_default();
            audit.annotate(FAILURE_KEY, value);
        }
        for (key, values) in self.annotations {
            audit.annotate(key, values.join(", "));
        }
        let Some((text, reason)) = self.denial else {
            return Ok(());
        };
        let resource = admission.resource.group_resource();
        let mut status = Status::forbidden(&resource, name_of(admission), &text);
        let reason = if reason.is_empty() {
            "Invalid".into()
        } else {
            reason
        };
        status.code = match reason.as_str() {
            "Unauthorized" => 401,
            "Forbidden" => 403,
            "RequestEntityTooLarge" => 413,
            _ => 422,
        };
        status.reason = reason.into();
        Err(status.cause("", text, ""))
    }
}

fn cut(mut value: String) -> String {
    if value.len() > VALUE_BYTES_MAX {
        let mut end = VALUE_BYTES_MAX;
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        value.truncate(end);
    }
    value
}
