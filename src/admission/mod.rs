//! Admission: what a write may look like beyond its schema.
//!
//! Called by the registry's write path. Mutating admission runs before validation, validating
//! admission after it, each in upstream's plugin order (contract/admission.md).
//!
//! # Invariants
//! - Plugins read other objects through [`Objects`](crate::api::objects::Objects) only; none of them
//!   knows the registry.
//! - Every plugin that runs is a stage `admission/<Plugin>` of the request.

mod chain;
pub mod expressions;
mod followed;
mod kinds;
mod matching;
pub mod plugins;
pub mod policy;
mod reinvocation;
mod review;
mod shown;
pub mod webhook;

pub use chain::AdmissionChain;
pub use kinds::Kinds;
pub use reinvocation::Reinvocation;

use async_trait::async_trait;

use crate::api::resource::Resource;
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::request::{RequestContext, UserInfo};

/// The operation under admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Create.
    Create,
    /// Update and patch.
    Update,
    /// Delete.
    Delete,
    /// Connect (exec, proxy, …).
    Connect,
}

/// One write under admission.
pub struct Admission<'a> {
    /// Operation.
    pub operation: Operation,
    /// Row of the resource.
    pub resource: &'a Resource,
    /// Subresource or empty.
    pub subresource: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Name; of an object with generateName the one it gets.
    pub name: &'a str,
    /// The client sent no name: webhooks and their conditions do not see the one it gets.
    pub name_is_generated: bool,
    /// The new object; `Null` on delete. Plugins that mutate change it in place.
    pub object: &'a mut Value,
    /// The stored object; `None` on create.
    pub old_object: Option<&'a Value>,
    /// CreateOptions, UpdateOptions, PatchOptions or DeleteOptions as sent.
    pub options: &'a Value,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// Who asks.
    pub user: &'a UserInfo,
    /// For warnings, annotations and stages.
    pub ctx: &'a mut RequestContext,
    /// Whether the mutating pass runs a second time.
    pub reinvocation: Reinvocation,
}

/// An admission plugin. Both passes default to "admit".
#[async_trait]
pub trait AdmissionPlugin: Send + Sync {
    /// The plugin's stage: `admission/` and upstream's plugin name.
    fn stage(&self) -> &'static str;

    /// Upstream's plugin name, for flags and metrics.
    fn name(&self) -> &'static str {
        let stage = self.stage();
        stage.strip_prefix("admission/").unwrap_or(stage)
    }

    /// Whether the plugin wants this operation.
    fn handles(&self, operation: Operation) -> bool;

    /// Whether [`AdmissionPlugin::admit`] does anything.
    fn mutates(&self) -> bool {
        false
    }

    /// Whether [`AdmissionPlugin::validate`] does anything.
    fn validates(&self) -> bool {
        false
    }

    /// The mutating pass. An error is the client's answer.
    async fn admit(&self, _admission: &mut Admission<'_>) -> Result<(), Status> {
        Ok(())
    }

    /// The validating pass. Must not change the object. An error is the client's answer.
    async fn validate(&self, _admission: &mut Admission<'_>) -> Result<(), Status> {
        Ok(())
    }
}

/// 403 while the configurations are not known yet.
fn not_ready(admission: &Admission<'_>) -> Status {
    Status::forbidden(
        &admission.resource.group_resource(),
        matching::name_of(admission),
        "not yet ready to handle request",
    )
}
