//! `Strategy`: what a kind adds to the generic registry.
//!
//! Everything that can be data is in the row; what is logic is here. Strategies see trees ([`Value`])
//! of the row's own version. They never read storage; rules that need other objects are admission
//! plugins.

use crate::api::field::FieldErrors;
use crate::base::tree::{Key, Value};
use crate::registry::allocate::Allocator;
use crate::registry::strategies::common::names::NameRule;

/// What a strategy is told about a write.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteContext<'a> {
    /// Subresource or empty.
    pub subresource: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// User name of the writer (CSRs record it).
    pub user: Option<&'a crate::request::UserInfo>,
}

/// What is particular to one kind. Every method has a default that does nothing, so a kind writes
/// only its own rules. Subresource writes call the same methods with `ctx.subresource` set.
///
/// Order on create: `default` → (mutating admission) → `prepare_for_create` → `validate` →
/// `warnings`. On update: `default` → (mutating admission) → `prepare_for_update` → `validate` with
/// `old` → `warnings`. ObjectMeta itself is validated by the registry, before the strategy's errors.
pub trait Strategy: Send + Sync {
    /// What `metadata.name` must look like. The registry validates metadata, before the strategy's
    /// own rules.
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }

    /// Fills defaults (upstream's `SetDefaults_*`). Runs on every decoded object, so it must be
    /// idempotent. Schema-declared defaults are filled before.
    fn default(&self, _object: &mut Value) {}

    /// Wipes and sets what clients may not on create (status, generation-like fields). The registry
    /// itself drops `status` where the row has a status subresource.
    fn prepare_for_create(&self, _object: &mut Value, _ctx: &WriteContext<'_>) {}

    /// Whether a new object keeps the status it was sent with (a node's).
    fn keeps_status_on_create(&self) -> bool {
        false
    }

    /// Carries over what clients may not change on update. The registry itself keeps `status` on
    /// main-resource writes and everything but `status` (and metadata) on status writes.
    fn prepare_for_update(&self, _object: &mut Value, _old: &Value, _ctx: &WriteContext<'_>) {}

    /// Validates a new object (`old` is `None`) or an update (both), in upstream's order.
    fn validate(
        &self,
        _object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        _errors: &mut FieldErrors,
    ) {
    }

    /// Warning header texts for a create (`old` is `None`) or an update.
    fn warnings(
        &self,
        _object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        Vec::new()
    }

    /// Warnings that a new object gets although it is refused: upstream gives them while it prepares
    /// the object. They are among [`Strategy::warnings`] as well.
    fn warnings_when_refused(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Where the kind has a pod's spec, if it has one.
    fn pod_spec_path(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// The grace period, in seconds, of a delete that asked for `requested`. `None`: the kind is not
    /// deleted gracefully.
    fn grace_period(&self, _object: &Value, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// Changes the object when it is marked for deletion (a namespace's phase).
    fn mark_deleted(&self, _object: &mut Value) {}

    /// Whether something beside `metadata.finalizers` holds the object (a namespace's
    /// `spec.finalizers`).
    fn is_held(&self, _object: &Value) -> bool {
        false
    }

    /// Why an object of this name can never be deleted.
    fn undeletable(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// Deletion rules.
    fn deletion(&self) -> DeletionRules {
        DeletionRules::default()
    }

    /// What takes from shared pools for objects of the kind. Runs after the prepare rules and before
    /// validation.
    fn allocator(&self) -> Option<&'static dyn Allocator> {
        None
    }

    /// Whether an update changes what `metadata.generation` counts. The default compares everything
    /// but `metadata` and `status`.
    fn spec_changed(&self, object: &Value, old: &Value) -> bool {
        fn counted(object: &Value) -> impl Iterator<Item = (&Key, &Value)> {
            let members = object.as_object().into_iter().flatten();
            members.filter(|(member, _)| {
                !matches!(
                    member.as_str(),
                    "metadata" | "status" | "kind" | "apiVersion"
                )
            })
        }
        counted(object).ne(counted(old))
    }
}

/// What happens to an object when it is deleted; the part of a strategy that is about deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeletionRules {
    /// Dependents are orphaned unless the client says otherwise (ReplicationController, Job).
    pub orphans_by_default: bool,
    /// Warning for clients that leave the choice to the default.
    pub orphan_warning: Option<&'static str>,
    /// Garbage collection does not apply: no finalizer is ever added (Event).
    pub no_garbage_collection: bool,
}

/// A strategy without any rule.
pub struct Plain;

impl Strategy for Plain {}
