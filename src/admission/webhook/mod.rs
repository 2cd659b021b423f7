//! Admission webhooks: what MutatingWebhookConfigurations and ValidatingWebhookConfigurations say is
//! asked of other servers (contract/admission.md §3).
//!
//! Two plugins of the chain, one per kind of configuration. Files, in the order a call passes them:
//! `config` which webhooks there are · `matching` whether one applies · `review` what is sent and how
//! the answer is read · `client` the connection · `failure` what can go wrong, in classes · `call` one
//! call, recorded and measured · `mutating`, `validating` the dispatchers.
//!
//! # Invariants
//! - Every call is a stage of its request, `mutating-webhook/NAME` or `validating-webhook/NAME`, that
//!   is open while the call runs, so that a timeout names the webhook (users.md 36, 37). Its outcome is
//!   `ok`, `mutated`, `denied`, `failed`, `failed-open`, or `timeout` when it was the request's own
//!   time that ended; the reason of a failure starts with its [`Class`](failure::Class).
//! - Webhook configurations and admission policies are never sent to webhooks: a webhook that refuses
//!   everything can always be removed.
//! - A call takes at most the webhook's timeout and what is left of the request's.
//!
//! # Decisions
//! - A webhook is parsed once per change of its configuration and owns its HTTP client, so connections
//!   are kept as long as the configuration stays what it is; no cache needs to be bounded.
//! - Texts of network errors are Go's, because operators search for them; the class is ours.

mod call;
mod client;
mod config;
mod failure;
mod matching;
mod mutating;
mod review;
mod validating;

use std::sync::Arc;

use async_trait::async_trait;

pub use config::Configurations;

use crate::admission::{Admission, AdmissionPlugin, Kinds, Operation};
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::authorization::Authorizer;
use crate::telemetry::Metrics;

/// What both plugins work with.
pub struct Webhooks {
    /// The configurations.
    pub configurations: Arc<Configurations>,
    /// Namespaces, and services to send to.
    pub objects: Arc<dyn Objects>,
    /// Versions and kinds.
    pub kinds: Arc<dyn Kinds>,
    /// Answers for match conditions.
    pub authorizer: Arc<dyn Authorizer>,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
}

/// Calls mutating webhooks, one after the other.
pub struct MutatingAdmissionWebhook(pub Arc<Webhooks>);

/// Calls validating webhooks, all at once.
pub struct ValidatingAdmissionWebhook(pub Arc<Webhooks>);

#[async_trait]
impl AdmissionPlugin for MutatingAdmissionWebhook {
    fn stage(&self) -> &'static str {
        "admission/MutatingAdmissionWebhook"
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    fn mutates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        mutating::dispatch(&self.0, admission).await
    }
}

#[async_trait]
impl AdmissionPlugin for ValidatingAdmissionWebhook {
    fn stage(&self) -> &'static str {
        "admission/ValidatingAdmissionWebhook"
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    fn validates(&self) -> bool {
        true
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        validating::dispatch(&self.0, admission).await
    }
}
