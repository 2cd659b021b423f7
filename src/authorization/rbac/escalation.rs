//! Who may write roles and bindings: only what they hold themselves (contract/authn_authz.md §3).
//!
//! Called by the registry's write path for roles and bindings, after admission and before storing.

use std::sync::Arc;

use crate::api::field::go_quote;
use crate::api::names::GroupResource;
use crate::api::status::Status;
use crate::authorization::rbac::rule::uncovered;
use crate::authorization::rbac::{GROUP, PolicyRule, Rbac};
use crate::authorization::{Authorizer, Verdict};
use crate::base::tree::Value;
use crate::request::{Attributes, UserInfo};

/// Checks writes of roles and bindings for privilege escalation.
pub struct RoleEscalation {
    rbac: Arc<Rbac>,
    authorizer: Arc<dyn Authorizer>,
}

/// A write of a role or binding.
#[derive(Clone, Copy, Debug)]
pub struct RoleWrite<'a> {
    /// Group and resource; the check is for roles, clusterroles, rolebindings and
    /// clusterrolebindings only.
    pub group: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Object name.
    pub name: &'a str,
    /// The object to be stored.
    pub object: &'a Value,
    /// The stored object; `None` on create.
    pub old: Option<&'a Value>,
    /// Who writes.
    pub user: &'a UserInfo,
}

impl RoleEscalation {
    /// `authorizer` is the whole chain: it answers for the verbs `escalate` and `bind`.
    pub fn new(rbac: Arc<Rbac>, authorizer: Arc<dyn Authorizer>) -> Self {
        RoleEscalation { rbac, authorizer }
    }

    /// Refuses a write that grants more than its writer holds. `Ok` for every other resource.
    pub async fn check(&self, write: &RoleWrite<'_>) -> Result<(), Status> {
        if write.group != GROUP || write.user.in_group("system:masters") {
            return Ok(());
        }
        if write
            .old
            .is_some_and(|old| changes_only_gc_fields(write.object, old))
        {
            return Ok(());
        }
        match write.resource {
            "roles" | "clusterroles" => self.check_role(write).await,
            "rolebindings" | "clusterrolebindings" => self.check_binding(write).await,
            _ => Ok(()),
        }
    }

    async fn check_role(&self, write: &RoleWrite<'_>) -> Result<(), Status> {
        if self
            .may(write, "escalate", write.resource, write.name)
            .await
        {
            return Ok(());
        }
        let mut wanted = PolicyRule::of_role(write.object);
        let aggregates = write
            .object
            .pointer("/aggregationRule/clusterRoleSelectors")
            .and_then(Value::as_array)
            .is_some_and(|selectors| !selectors.is_empty());
        if aggregates {
            wanted = vec![PolicyRule::all_resources(), PolicyRule::all_paths()];
        }
        self.refuse_unheld(write, &wanted)
    }

    async fn check_binding(&self, write: &RoleWrite<'_>) -> Result<(), Status> {
        let text = |pointer| {
            let found = write.object.pointer(pointer).and_then(Value::as_str);
            found.unwrap_or("")
        };
        let is_cluster_role = text("/roleRef/kind") == "ClusterRole";
        let role = text("/roleRef/name");
        let roles = if is_cluster_role {
            "clusterroles"
        } else {
            "roles"
        };
        if self.may(write, "bind", roles, role).await {
            return Ok(());
        }
        let namespace = if is_cluster_role { "" } else { write.namespace };
        let Some(rules) = self.rbac.role_rules(namespace, role) else {
            return Err(Status::not_found(&resource_of(write), role));
        };
        self.refuse_unheld(write, &rules)
    }

    async fn may(&self, write: &RoleWrite<'_>, verb: &str, resource: &str, name: &str) -> bool {
        let attributes =
            Attributes::resource(write.user, verb, GROUP, resource, write.namespace, name);
        self.authorizer.authorize(&attributes).await.verdict == Verdict::Allow
    }

    fn refuse_unheld(&self, write: &RoleWrite<'_>, wanted: &[PolicyRule]) -> Result<(), Status> {
        let (held, errors) = self.rbac.rules(write.user, write.namespace);
        let missing = uncovered(&held, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let groups: Vec<String> = write.user.groups.iter().map(|g| go_quote(g)).collect();
        let mut why = format!(
            "user {} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            go_quote(&write.user.username),
            groups.join(" "),
            missing.join("\n"),
        );
        if !errors.is_empty() {
            why.push_str(&format!("; resolution errors: [{}]", errors.join(", ")));
        }
        Err(Status::forbidden(&resource_of(write), write.name, &why))
    }
}

fn resource_of(write: &RoleWrite<'_>) -> GroupResource {
    GroupResource::new(GROUP, write.resource.to_string())
}

/// Whether a write changes nothing but finalizers and owner references.
fn changes_only_gc_fields(object: &Value, old: &Value) -> bool {
    let strip = |value: &Value| {
        let mut copy = value.clone();
        if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in [
                "finalizers",
                "ownerReferences",
                "managedFields",
                "resourceVersion",
            ] {
                metadata.remove(key);
            }
        }
        copy
    };
    strip(object) == strip(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    async fn check(resource: &str, name: &str, object: Value) -> Result<(), String> {
        let rbac = Rbac::new();
        for known in [
            json!({"kind": "Role", "metadata": {"namespace": "rb", "name": "maker"}, "rules": [
                {"verbs": ["create", "get"], "apiGroups": [GROUP], "resources": ["roles", "rolebindings"]},
                {"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["roles"], "resourceNames": ["free"]}]}),
            json!({"kind": "Role", "metadata": {"namespace": "rb", "name": "free"}, "rules": [
                {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]}),
            json!({"kind": "Role", "metadata": {"namespace": "rb", "name": "more"}, "rules": [
                {"verbs": ["delete"], "apiGroups": [""], "resources": ["secrets"]}]}),
            json!({"kind": "RoleBinding", "metadata": {"namespace": "rb", "name": "mk"},
                "roleRef": {"kind": "Role", "name": "maker"}, "subjects": [{"kind": "User", "name": "dave"}]}),
        ] {
            rbac.put_object(&known);
        }
        let user = UserInfo {
            username: "dave".into(),
            groups: vec!["system:authenticated".into()],
            ..UserInfo::default()
        };
        let escalation = RoleEscalation::new(Arc::clone(&rbac), rbac);
        let write = RoleWrite {
            group: GROUP,
            resource,
            namespace: "rb",
            name,
            object: &object,
            old: None,
            user: &user,
        };
        escalation.check(&write).await.map_err(|s| s.message)
    }

    #[tokio::test]
    async fn roles() {
        let held =
            json!({"rules": [{"verbs": ["get"], "apiGroups": [GROUP], "resources": ["roles"]}]});
        assert_eq!(check("roles", "e1", held).await, Ok(()));
        let more =
            json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]});
        assert_eq!(
            check("roles", "e1", more).await,
            Err("roles.rbac.authorization.k8s.io \"e1\" is forbidden: user \"dave\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}".into())
        );
    }

    #[tokio::test]
    async fn bindings() {
        let to = |role: &str| json!({"roleRef": {"kind": "Role", "name": role}});
        assert_eq!(check("rolebindings", "b", to("free")).await, Ok(()));
        assert_eq!(
            check("rolebindings", "b", to("none")).await,
            Err("rolebindings.rbac.authorization.k8s.io \"none\" not found".into())
        );
        assert_eq!(check("rolebindings", "b", to("maker")).await, Ok(()));
        let refused = check("rolebindings", "b", to("more")).await;
        assert!(refused.is_err_and(|text| text.contains("not currently held")));
    }
}
