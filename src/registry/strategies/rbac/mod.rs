//! Strategies of the rbac.authorization.k8s.io group. Escalation is checked by the authorizer's
//! admission, not here.

pub mod binding;
pub mod role;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "Role" => &role::RoleStrategy { namespaced: true },
        "ClusterRole" => &role::RoleStrategy { namespaced: false },
        "RoleBinding" => &binding::BindingStrategy { namespaced: true },
        "ClusterRoleBinding" => &binding::BindingStrategy { namespaced: false },
        _ => return None,
    })
}
