//! Admission policies: rules in CEL instead of a server to ask (contract/admission.md §4, §5).
//!
//! Two plugins of the chain, one per kind of policy. Files: `config` policies and bindings, compiled ·
//! `select` which of them a request is subject to · `params` the objects that parametrize a binding ·
//! `validating`: `evaluate` one policy on one object, `report` what failures become (refusal, warnings,
//! annotations) · `mutating`: `patch` what one mutation makes of an object.
//!
//! # Invariants
//! - A policy without a binding has no effect; every policy and binding that matches is evaluated, also
//!   after one has refused.
//! - Evaluation of a policy for a binding and its parameter takes a bounded number of steps.
//! - Every policy that was evaluated is a stage `validating-policy/NAME` or `mutating-policy/NAME` of
//!   the request.
//! - What a mutating policy sets is owned by nobody: ownership was tracked before.

mod config;
mod evaluate;
mod mutating;
mod params;
mod patch;
mod report;
mod select;
mod validating;

use std::sync::Arc;

use crate::base::tree::Value;

pub use config::Policies;
pub use mutating::MutatingAdmissionPolicy;
pub use validating::ValidatingAdmissionPolicy;

use crate::admission::matching::{self, Sources};
use crate::admission::{Admission, Kinds};
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::authorization::Authorizer;
use crate::telemetry::Metrics;

/// What both plugins work with.
pub struct PolicyContext {
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

impl PolicyContext {
    fn sources(&self) -> Sources<'_> {
        Sources {
            kinds: &*self.kinds,
            objects: &*self.objects,
        }
    }

    /// The namespace that `namespaceObject` is; none for what is in no namespace.
    ///
    /// # Errors
    /// 404 when it is not there.
    async fn namespace(&self, admission: &Admission<'_>) -> Result<Option<Arc<Value>>, Status> {
        if matching::is_namespace(admission) || admission.namespace.is_empty() {
            return Ok(None);
        }
        let found = matching::namespace_object(&*self.objects, admission.namespace).await;
        found.map(Some)
    }
}
