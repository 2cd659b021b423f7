//! ValidatingAdmissionPolicy.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::PolicyContext;
use super::config::{Binding, Policy};
use super::evaluate::{self, Inputs, Verdict};
use super::report::Report;
use super::select::{Selected, select};
use crate::admission::expressions::{Asks, request_resource};
use crate::admission::matching::{self, Matched};
use crate::admission::{Admission, AdmissionPlugin, Operation, not_ready, review};
use crate::api::status::Status;
use crate::base::tree::Value;

/// The plugin.
pub struct ValidatingAdmissionPolicy(pub Arc<PolicyContext>);

#[async_trait]
impl AdmissionPlugin for ValidatingAdmissionPolicy {
    fn stage(&self) -> &'static str {
        "admission/ValidatingAdmissionPolicy"
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
        let current = self.0.policies.validating.current().await;
        let Some((policies, bindings)) = current else {
            return Err(not_ready(admission));
        };
        if policies.is_empty() || bindings.is_empty() {
            return Ok(());
        }
        let mut report = Report::new(&self.0.metrics);
        let selected = select(self.0.sources(), admission, &policies, &bindings).await;
        for selected in selected {
            match selected {
                Selected::Misconfigured {
                    policy,
                    binding,
                    why,
                } => report.misconfigured(&policy, binding.as_deref(), &why),
                Selected::Applies {
                    policy,
                    binding,
                    matched,
                    params,
                } => {
                    let concerned = Concerned {
                        policy: &policy,
                        binding: &binding,
                        matched: &matched,
                        params: &params,
                    };
                    self.apply(admission, &concerned, &mut report).await;
                }
            }
        }
        report.finish(admission)
    }
}

/// What is evaluated on one request.
struct Concerned<'a> {
    policy: &'a Policy,
    binding: &'a Binding,
    matched: &'a Matched,
    params: &'a [Value],
}

impl ValidatingAdmissionPolicy {
    /// Evaluates a policy for one binding, once per parameter.
    async fn apply(
        &self,
        admission: &mut Admission<'_>,
        concerned: &Concerned<'_>,
        report: &mut Report<'_>,
    ) {
        let (policy, binding) = (concerned.policy, concerned.binding);
        let stage = format!("validating-policy/{}", policy.name);
        let began = admission.ctx.stages.begin(stage.clone());
        let before = report.failures();
        let version = concerned.matched.version(admission.resource);
        let kinds = &*self.0.kinds;
        let object = matching::presented(kinds, admission, admission.object, version);
        let old = admission.old_object.unwrap_or(&Value::Null);
        let old = matching::presented(kinds, admission, old, version);
        let request = review::request(admission, version, "");
        let namespace = self.0.namespace(admission).await.ok().flatten();
        let resource = request_resource(admission);
        let asks = Asks {
            authorizer: &*self.0.authorizer,
            user: admission.user,
        };
        for param in concerned.params {
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
        let failed = report.failures_since(before);
        let (outcome, reason) = match failed {
            None => ("ok", String::new()),
            Some(message) if binding.actions.deny => ("denied", message),
            Some(message) => ("failed", message),
        };
        admission.ctx.stages.end(stage, began, outcome, reason);
        report.publish(admission.ctx);
    }
}
