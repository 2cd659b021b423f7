//! MutatingAdmissionPolicy.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::PolicyContext;
use super::config::{Binding, Mutation, Policy};
use super::evaluate::{Inputs, is_concerned};
use super::patch::{Failure, patched};
use super::select::{Selected, select};
use crate::admission::expressions::{Asks, request_resource};
use crate::admission::matching::{self, Matched, name_of};
use crate::admission::shown::Shown;
use crate::admission::{Admission, AdmissionPlugin, Operation, not_ready, review};
use crate::api::status::Status;
use crate::base::tree::Value;

/// The plugin.
pub struct MutatingAdmissionPolicy(pub Arc<PolicyContext>);

#[async_trait]
impl AdmissionPlugin for MutatingAdmissionPolicy {
    fn stage(&self) -> &'static str {
        "admission/MutatingAdmissionPolicy"
    }

    /// What is deleted cannot be changed.
    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Delete
    }

    fn mutates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if matching::is_exempt(admission) {
            return Ok(());
        }
        let current = self.0.policies.mutating.current().await;
        let Some((policies, bindings)) = current else {
            return Err(not_ready(admission));
        };
        if policies.is_empty() || bindings.is_empty() {
            return Ok(());
        }
        // Who is concerned is decided by the object as it is before any of them changes it.
        let selected = select(self.0.sources(), admission, &policies, &bindings).await;
        let mut refusals = Refusals::default();
        let mut applying = Vec::new();
        for selected in selected {
            match selected {
                Selected::Misconfigured {
                    policy,
                    binding,
                    why,
                } => refusals.misconfigured(&policy, binding.as_deref(), &why),
                Selected::Applies {
                    policy,
                    binding,
                    matched,
                    params,
                } => applying.push((policy, binding, matched, params)),
            }
        }
        if !applying.is_empty() {
            if admission.reinvocation.is_second {
                admission.reinvocation.policies.resume(admission.object);
            }
            let namespace = self.0.namespace(admission).await?;
            for (policy, binding, matched, params) in &applying {
                for param in params {
                    let invocation = Invocation {
                        context: &self.0,
                        policy,
                        binding,
                        matched,
                        param,
                        namespace: namespace.as_deref(),
                    };
                    invocation.run(admission, &mut refusals).await?;
                }
            }
            admission.reinvocation.policies.leave(admission.object);
        }
        refusals.finish(admission)
    }
}

/// A policy for one binding and one parameter.
struct Invocation<'a> {
    context: &'a PolicyContext,
    policy: &'a Policy,
    binding: &'a Binding,
    matched: &'a Matched,
    param: &'a Value,
    namespace: Option<&'a Value>,
}

impl Invocation<'_> {
    /// Changes the object as the policy wants.
    ///
    /// # Errors
    /// The client's answer where the policy has no say.
    async fn run(
        &self,
        admission: &mut Admission<'_>,
        refusals: &mut Refusals,
    ) -> Result<(), Status> {
        match self.concerns(admission).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(why) => {
                refusals.refuse(self.policy, self.binding, &why);
                return Ok(());
            }
        }
        let key = self.key();
        if admission.reinvocation.is_second && !admission.reinvocation.policies.is_due(&key) {
            return Ok(());
        }
        let stage = format!("mutating-policy/{}", self.policy.name);
        let began = admission.ctx.stages.begin(stage.clone());
        let before = admission.object.clone();
        let mut outcome = ("ok", String::new());
        let mut has_run = false;
        if !admission.object.is_null() {
            for mutation in &self.policy.mutations {
                match self.mutate(admission, mutation).await {
                    Ok(()) => has_run = true,
                    Err(Failure::Policy(why)) => {
                        refusals.refuse(self.policy, self.binding, &why);
                        outcome = match self.policy.fails_open {
                            true => ("failed-open", why),
                            false => ("failed", why),
                        };
                    }
                    Err(Failure::Request(status)) => {
                        let stages = &mut admission.ctx.stages;
                        stages.end(stage, began, "error", status.message.clone());
                        return Err(*status);
                    }
                }
            }
        }
        if *admission.object != before {
            admission.reinvocation.policies.object_changed();
            if outcome.0 == "ok" {
                outcome.0 = "mutated";
            }
        }
        admission.ctx.stages.end(stage, began, outcome.0, outcome.1);
        let rounds = &mut admission.reinvocation;
        if self.policy.reinvoked {
            rounds.policies.wait(key);
        }
        if has_run {
            // As upstream: whether it changed anything is not asked.
            rounds.policies.object_changed();
            rounds.is_wanted = true;
        }
        Ok(())
    }

    /// What it is called in the second round.
    fn key(&self) -> String {
        let of = |member: &str| self.param["metadata"][member].as_str().unwrap_or_default();
        let (policy, binding) = (&self.policy.name, &self.binding.name);
        format!("{policy}/{binding}/{}/{}", of("namespace"), of("name"))
    }

    async fn concerns(&self, admission: &Admission<'_>) -> Result<bool, String> {
        if self.policy.conditions.is_empty() {
            return Ok(true);
        }
        let version = self.matched.version(admission.resource);
        let shown = Shown::new(&*self.context.kinds, admission, version);
        let (old, request) = self.others(admission);
        let inputs = self.inputs(admission, &shown.object, &old, &request);
        is_concerned(self.policy, &inputs, &self.asks(admission)).await
    }

    /// Applies one mutation to what the ones before made of the object.
    async fn mutate(
        &self,
        admission: &mut Admission<'_>,
        mutation: &Mutation,
    ) -> Result<(), Failure> {
        let kinds = &*self.context.kinds;
        let version = self.matched.version(admission.resource);
        let shown = Shown::new(kinds, admission, version);
        let (old, request) = self.others(admission);
        let inputs = self.inputs(admission, &shown.object, &old, &request);
        let started = Instant::now();
        let asks = self.asks(admission);
        let made = patched(self.policy, mutation, &inputs, &asks, kinds).await;
        let made = made.and_then(|object| {
            let put = shown.put_back(kinds, admission, version, object);
            put.map_err(Failure::Policy)
        });
        self.measure(made.as_ref().err(), started.elapsed());
        made
    }

    /// The stored object in the policy's version, and the AdmissionRequest.
    fn others(&self, admission: &Admission<'_>) -> (Value, Value) {
        let version = self.matched.version(admission.resource);
        let old = admission.old_object.unwrap_or(&Value::Null);
        let old = matching::presented(&*self.context.kinds, admission, old, version);
        (old.into_owned(), review::request(admission, version, ""))
    }

    fn inputs<'i>(
        &'i self,
        admission: &Admission<'_>,
        object: &'i Value,
        old_object: &'i Value,
        request: &'i Value,
    ) -> Inputs<'i> {
        Inputs {
            object,
            old_object,
            request,
            namespace: self.namespace,
            params: self.param,
            resource: request_resource(admission),
        }
    }

    fn asks<'i>(&'i self, admission: &Admission<'i>) -> Asks<'i> {
        Asks {
            authorizer: &*self.context.authorizer,
            user: admission.user,
        }
    }

    fn measure(&self, failure: Option<&Failure>, took: Duration) {
        let error_type = match failure {
            None => "no_error",
            Some(_) => "invalid_error",
        };
        let labels = [
            error_type,
            self.policy.name.as_str(),
            self.binding.name.as_str(),
        ];
        let metrics = &self.context.metrics;
        metrics
            .apiserver_mutating_admission_policy_check_total
            .with_label_values(&labels)
            .inc();
        metrics
            .apiserver_mutating_admission_policy_check_duration_seconds
            .with_label_values(&labels)
            .observe(took.as_secs_f64());
    }
}

/// Policies that could not be applied and do not fail open.
#[derive(Default)]
struct Refusals {
    messages: Vec<String>,
    /// What the first one was.
    reason: Option<&'static str>,
}

impl Refusals {
    fn misconfigured(&mut self, policy: &Policy, binding: Option<&Binding>, why: &str) {
        let what = if binding.is_some() {
            "binding"
        } else {
            "policy"
        };
        let why = format!("failed to configure {what}: {why}");
        self.add(policy, binding, &why, "Forbidden");
    }

    fn refuse(&mut self, policy: &Policy, binding: &Binding, why: &str) {
        self.add(policy, Some(binding), why, "Invalid");
    }

    fn add(&mut self, policy: &Policy, binding: Option<&Binding>, why: &str, reason: &'static str) {
        if policy.fails_open {
            return;
        }
        let mut message = format!("policy '{}'", policy.name);
        if let Some(binding) = binding {
            let _ = write!(message, " with binding '{}'", binding.name);
        }
        let _ = write!(message, " denied request: {why}");
        self.messages.push(message);
        self.reason.get_or_insert(reason);
    }

    /// 403 with the first message; every message is a cause.
    fn finish(self, admission: &Admission<'_>) -> Result<(), Status> {
        let Some(first) = self.messages.first() else {
            return Ok(());
        };
        let resource = admission.resource.group_resource();
        let mut status = Status::forbidden(&resource, name_of(admission), "");
        status.message.clone_from(first);
        if let Some(reason) = self.reason {
            status.reason = reason.into();
        }
        for message in self.messages {
            status = status.cause("", message, "");
        }
        Err(status)
    }
}
