//! ValidatingAdmissionPolicy: rules in CEL instead of a server to ask (contract/admission.md §4).
//!
//! Files: `config` policies and bindings, compiled · `params` the objects that parametrize a binding ·
//! `evaluate` one policy on one object · `report` what failures become: refusal, warnings, annotations.
//!
//! # Invariants
//! - A policy without a binding has no effect; every policy and binding that matches is evaluated, also
//!   after one has refused.
//! - Evaluation of a policy for a binding and its parameter takes a bounded number of steps.
//! - Every policy that was evaluated is a stage `validating-policy/NAME` of the request.
//!
//! # Decisions
//! - Mutating policies are stored and validated, but not evaluated: they need object construction in CEL
//!   and a merge by schema.

mod config;
mod evaluate;
mod params;
mod report;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use serde_json::Value;

pub use config::Policies;

use self::config::{Binding, Policy};
use self::evaluate::{Inputs, Verdict};
use self::report::Report;
use crate::admission::expressions::{Asks, request_resource};
use crate::admission::matching::{self, Matched, Sources};
use crate::admission::review;
use crate::admission::{Admission, AdmissionPlugin, Kinds, Operation};
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::authorization::Authorizer;
use crate::telemetry::Metrics;

/// The plugin.
pub struct ValidatingAdmissionPolicy {
    /// Policies and bindings.
    pub policies: Arc<Policies>,
    /// Namespaces and parameters.
    pub objects: Arc<dyn Objects>,
    /// Versions and kinds.
    pub kinds: Arc<dyn Kinds>,
    /// Answers for the `authorizer` variable.
    pub authorizer: Arc<dyn Authorizer>,
    /// Where checks are counted.
    pub metrics: Arc<Metrics>,
}

#[async_trait]
impl AdmissionPlugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    fn validates(&self) -> bool {
        true
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if matching::is_exempt(admission) {
            return Ok(());
        }
        let current = self.policies.current().await;
        let Some((policies, bindings)) = current else {
            return Err(super::not_ready(admission));
        };
        if policies.is_empty() || bindings.is_empty() {
            return Ok(());
        }
        let mut report = Report::new(&self.metrics);
        for policy in policies.iter() {
            if !bindings.iter().any(|binding| binding.policy == policy.name) {
                continue;
            }
            let matched = match policy.criteria.find(self.sources(), admission).await {
                Ok(None) => continue,
                Ok(Some(matched)) => matched,
                Err(error) => {
                    report.misconfigured(policy, None, &error.message);
                    continue;
                }
            };
            for binding in bindings.iter() {
                if binding.policy == policy.name {
                    self.apply(admission, policy, binding, &matched, &mut report)
                        .await;
                }
            }
        }
        report.finish(admission)
    }
}

impl ValidatingAdmissionPolicy {
    fn sources(&self) -> Sources<'_> {
        Sources {
            kinds: &*self.kinds,
            objects: &*self.objects,
        }
    }

    /// Evaluates a policy for one binding, once per parameter.
    async fn apply(
        &self,
        admission: &mut Admission<'_>,
        policy: &Policy,
        binding: &Binding,
        matched: &Matched,
        report: &mut Report<'_>,
    ) {
        match binding.criteria.find(self.sources(), admission).await {
            Ok(None) => return,
            Ok(Some(_)) => {}
            Err(error) => return report.misconfigured(policy, Some(binding), &error.message),
        }
        let stage = format!("validating-policy/{}", policy.name);
        let began = admission.ctx.stages.begin(stage.clone());
        let params = params::collect(self.sources(), admission, policy, binding).await;
        let before = report.failures();
        match params {
            Err(why) => report.misconfigured(policy, Some(binding), &why),
            Ok(params) => {
                let version = matched.version(admission.resource);
                let kinds = &*self.kinds;
                let object = matching::presented(kinds, admission, admission.object, version);
                let old = admission.old_object.unwrap_or(&Value::Null);
                let old = matching::presented(kinds, admission, old, version);
                let request = review::request(admission, version, "");
                let namespace = self.namespace(admission).await;
                let resource = request_resource(admission);
                let asks = Asks {
                    authorizer: &*self.authorizer,
                    user: admission.user,
                };
                for param in &params {
                    let inputs = Inputs {
                        object: &object,
                        old_object: &old,
                        request: &request,
                        namespace: namespace.as_deref(),
                        params: param,
                        resource: resource.clone(),
                    };
                    let started = Instant::now();
                    let verdict = evaluate::evaluate(policy, &inputs, &asks).await;
                    let took = started.elapsed();
                    if let Verdict::Decided(decisions) = verdict {
                        report.add(policy, binding, decisions, took);
                    }
                }
            }
        }
        let failed = report.failures_since(before);
        let (outcome, reason) = match failed {
            None => ("ok", String::new()),
            Some(message) if binding.actions.deny => ("denied", message),
            Some(message) => ("failed", message),
        };
        admission.ctx.stages.end(stage, began, outcome, reason);
        report.publish(admission.ctx);
    }

    /// The namespace that `namespaceObject` is; none for what is in no namespace.
    async fn namespace(&self, admission: &Admission<'_>) -> Option<Arc<Value>> {
        if matching::is_namespace(admission) || admission.namespace.is_empty() {
            return None;
        }
        let found = matching::namespace_object(&*self.objects, admission.namespace).await;
        found.ok()
    }
}
