//! RoleEscalation: nobody grants what they do not hold. Not an admission plugin upstream (there it
//! wraps the storage of roles and bindings), so no flag names it; it runs where upstream's check
//! runs, behind mutating admission and before validation.

use std::sync::Arc;

use async_trait::async_trait;

use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::status::Status;
use crate::authorization::rbac::RoleEscalation;
use crate::authorization::rbac::escalation::RoleWrite;

/// The check.
pub(super) struct RoleEscalationCheck(pub(super) Arc<RoleEscalation>);

#[async_trait]
impl AdmissionPlugin for RoleEscalationCheck {
    fn stage(&self) -> &'static str {
        "admission/RoleEscalation"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    fn mutates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let write = RoleWrite {
            group: &admission.resource.group,
            resource: &admission.resource.plural,
            namespace: admission.namespace,
            name: match admission.name {
                "" => super::text(admission.object, "/metadata/name"),
                name => name,
            },
            object: admission.object,
            old: admission.old_object,
            user: admission.user,
        };
        self.0.check(&write).await
    }
}
