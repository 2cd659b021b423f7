//! RBAC: roles and bindings decide.
//!
//! [`Rbac`] keeps the compiled [`index`] up to date from informers and answers from it without I/O.
//!
//! # Invariants
//! - Reads never see half of a change: every change is applied under one write lock.
//! - Rules of a namespaced binding never grant anything outside its namespace.

pub mod escalation;
pub mod explain;
pub mod index;
pub mod rule;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;

use crate::api::names::GroupResource;
use crate::api::objects::{Change, Objects};
use crate::authorization::{Authorizer, Decision, ResolvedRules, RuleResolver, Verdict};
use crate::base::tree::Value;
use crate::request::{Attributes, UserInfo};

pub use escalation::RoleEscalation;
pub use explain::Explanation;
use index::{Index, Key, key_of};
pub use rule::PolicyRule;

/// API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// The RBAC authorizer.
#[derive(Default)]
pub struct Rbac {
    index: RwLock<Index>,
}

/// What one informer is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    ClusterRoles,
    Roles,
    ClusterRoleBindings,
    RoleBindings,
}

impl Feed {
    const ALL: [Feed; 4] = [
        Feed::ClusterRoles,
        Feed::Roles,
        Feed::ClusterRoleBindings,
        Feed::RoleBindings,
    ];

    fn resource(self) -> &'static str {
        match self {
            Feed::ClusterRoles => "clusterroles",
            Feed::Roles => "roles",
            Feed::ClusterRoleBindings => "clusterrolebindings",
            Feed::RoleBindings => "rolebindings",
        }
    }

    fn is_role(self) -> bool {
        matches!(self, Feed::ClusterRoles | Feed::Roles)
    }

    fn is_cluster(self) -> bool {
        matches!(self, Feed::ClusterRoles | Feed::ClusterRoleBindings)
    }
}

impl Rbac {
    /// Without any role or binding: refuses everything.
    pub fn new() -> Arc<Self> {
        Arc::new(Rbac::default())
    }

    /// Follows roles and bindings for as long as the server runs: spawns one task per resource.
    /// Await the answer to know that all four have been read once.
    pub async fn follow(self: &Arc<Self>, objects: &dyn Objects) {
        let mut synced = Vec::new();
        for feed in Feed::ALL {
            let mut changes = objects.informer(&GroupResource::new(GROUP, feed.resource()));
            let rbac = Arc::clone(self);
            let (ready, is_ready) = tokio::sync::oneshot::channel();
            synced.push(is_ready);
            tokio::spawn(async move {
                let mut ready = Some(ready);
                let mut seen: Option<HashSet<Key>> = None;
                while let Some(change) = changes.recv().await {
                    let is_synced = matches!(change, Change::Synced);
                    rbac.apply_change(feed, change, &mut seen);
                    if is_synced && let Some(ready) = ready.take() {
                        let _ = ready.send(());
                    }
                }
            });
        }
        for is_ready in synced {
            let _ = is_ready.await;
        }
    }

    /// Applies one change. `seen` is what was delivered since a reset: what is known stays in force
    /// until the full set is there, so that a relist never refuses for a moment.
    fn apply_change(&self, feed: Feed, change: Change, seen: &mut Option<HashSet<Key>>) {
        match change {
            Change::Upsert(object) => {
                if let Some(seen) = seen {
                    seen.insert(key_of(&object));
                }
                self.put(feed.is_role(), &object);
            }
            Change::Delete(object) => self.remove(feed.is_role(), &key_of(&object)),
            Change::Reset => *seen = Some(HashSet::new()),
            Change::Synced => {
                if let Some(seen) = seen.take() {
                    for key in self.known(feed) {
                        if !seen.contains(&key) {
                            self.remove(feed.is_role(), &key);
                        }
                    }
                }
            }
        }
    }

    fn known(&self, feed: Feed) -> Vec<Key> {
        let index = self.index.read();
        let keys: Vec<Key> = match feed.is_role() {
            true => index.all_roles().map(|(key, _)| key.clone()).collect(),
            false => index
                .all_bindings()
                .map(|(b, _)| (b.namespace.clone(), b.name.clone()))
                .collect(),
        };
        keys.into_iter()
            .filter(|(namespace, _)| namespace.is_empty() == feed.is_cluster())
            .collect()
    }

    fn put(&self, is_role: bool, object: &Value) {
        match is_role {
            true => self.index.write().put_role(object),
            false => self.index.write().put_binding(object),
        }
    }

    fn remove(&self, is_role: bool, key: &Key) {
        match is_role {
            true => self.index.write().remove_role(key),
            false => self.index.write().remove_binding(key),
        }
    }

    /// Stores any of the four kinds, told apart by its `kind` (for offline use and tests).
    pub fn put_object(&self, object: &Value) {
        match object.get("kind").and_then(Value::as_str) {
            Some("Role" | "ClusterRole") => self.put(true, object),
            Some("RoleBinding" | "ClusterRoleBinding") => self.put(false, object),
            _ => {}
        }
    }

    /// Rules of one role, if it exists. Namespace is empty for cluster roles.
    pub fn role_rules(&self, namespace: &str, name: &str) -> Option<Arc<[PolicyRule]>> {
        self.index.read().role(namespace, name).cloned()
    }

    /// All rules `user` holds in `namespace`, and errors met.
    pub fn rules(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let index = self.index.read();
        let mut seen = HashSet::new();
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        index.visit(user, namespace, |applied| {
            if seen.insert((
                applied.binding.namespace.as_str(),
                applied.binding.name.as_str(),
            )) {
                match applied.rules {
                    Some(found) => rules.extend(found.iter().cloned()),
                    None => errors.push(applied.binding.missing_role()),
                }
            }
            ControlFlow::Continue(())
        });
        (rules, errors)
    }

    /// The decision, without the trait's box.
    pub fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let index = self.index.read();
        let mut reason = None;
        let mut errors: Vec<String> = Vec::new();
        index.visit(attributes.user, attributes.namespace, |applied| {
            let Some(rules) = applied.rules else {
                let error = applied.binding.missing_role();
                if !errors.contains(&error) {
                    errors.push(error);
                }
                return ControlFlow::Continue(());
            };
            if rules.iter().any(|rule| rule.allows(attributes)) {
                reason = Some(applied.reason.to_string());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        if let Some(reason) = reason {
            return Decision::new(Verdict::Allow, reason, None);
        }
        let reason = match errors.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        };
        Decision::no_opinion(reason)
    }
}

#[async_trait]
impl Authorizer for Rbac {
    fn at_once(&self, attributes: &Attributes<'_>) -> Option<Decision> {
        Some(self.decide(attributes))
    }

    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        self.decide(attributes)
    }
}

impl RuleResolver for Rbac {
    fn rules_for(&self, user: &UserInfo, namespace: &str) -> ResolvedRules {
        let (rules, errors) = self.rules(user, namespace);
        ResolvedRules {
            rules,
            incomplete: !errors.is_empty(),
            errors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    fn role(namespace: &str, name: &str, rules: Value) -> Value {
        let kind = if namespace.is_empty() {
            "ClusterRole"
        } else {
            "Role"
        };
        json!({"kind": kind, "metadata": {"namespace": namespace, "name": name}, "rules": rules})
    }

    fn binding(namespace: &str, name: &str, role_kind: &str, role: &str, subjects: Value) -> Value {
        let kind = if namespace.is_empty() {
            "ClusterRoleBinding"
        } else {
            "RoleBinding"
        };
        json!({"kind": kind, "metadata": {"namespace": namespace, "name": name},
            "roleRef": {"kind": role_kind, "name": role}, "subjects": subjects})
    }

    fn rbac() -> Arc<Rbac> {
        let rbac = Rbac::new();
        let objects = [
            role(
                "",
                "view",
                json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]),
            ),
            role(
                "rb",
                "reader",
                json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]}]),
            ),
            binding(
                "rb",
                "rd",
                "Role",
                "reader",
                json!([{"kind": "User", "name": "alice"}]),
            ),
            binding(
                "rb",
                "sa",
                "ClusterRole",
                "view",
                json!([{"kind": "ServiceAccount", "name": "robot"}]),
            ),
            binding(
                "",
                "all",
                "ClusterRole",
                "view",
                json!([{"kind": "Group", "name": "dev"}]),
            ),
            binding(
                "",
                "broken",
                "ClusterRole",
                "none",
                json!([{"kind": "User", "name": "eve"}]),
            ),
        ];
        for object in &objects {
            rbac.put_object(object);
        }
        rbac
    }

    fn user(name: &str, groups: &[&str]) -> UserInfo {
        UserInfo {
            username: name.into(),
            groups: groups.iter().map(|g| g.to_string()).collect(),
            ..UserInfo::default()
        }
    }

    #[test]
    fn decisions_and_reasons() {
        let rbac = rbac();
        let cases = [
            (
                user("alice", &[]),
                "get",
                "configmaps",
                "rb",
                true,
                "RBAC: allowed by RoleBinding \"rd/rb\" of Role \"reader\" to User \"alice\"",
            ),
            (user("alice", &[]), "get", "configmaps", "rb2", false, ""),
            (user("alice", &[]), "list", "configmaps", "", false, ""),
            (
                user("zed", &["dev"]),
                "get",
                "pods",
                "",
                true,
                "RBAC: allowed by ClusterRoleBinding \"all\" of ClusterRole \"view\" to Group \"dev\"",
            ),
            (
                user("system:serviceaccount:rb:robot", &[]),
                "get",
                "pods",
                "rb",
                true,
                "RBAC: allowed by RoleBinding \"sa/rb\" of ClusterRole \"view\" to ServiceAccount \"robot/rb\"",
            ),
            (
                user("eve", &[]),
                "get",
                "pods",
                "rb",
                false,
                "RBAC: clusterrole.rbac.authorization.k8s.io \"none\" not found",
            ),
        ];
        for (user, verb, resource, namespace, allowed, reason) in cases {
            let decision = rbac.decide(&Attributes::resource(
                &user, verb, "", resource, namespace, "x",
            ));
            assert_eq!(
                decision.verdict == Verdict::Allow,
                allowed,
                "{} {resource}",
                user.username
            );
            assert_eq!(decision.reason, reason);
        }
    }

    #[test]
    fn changes_take_effect_and_leave_nothing_behind() {
        let rbac = rbac();
        let alice = user("alice", &[]);
        let ask = Attributes::resource(&alice, "get", "", "configmaps", "rb", "x");
        rbac.remove(true, &("rb".into(), "reader".into()));
        assert_eq!(
            rbac.decide(&ask).reason,
            "RBAC: role.rbac.authorization.k8s.io \"reader\" not found"
        );
        rbac.remove(false, &("rb".into(), "rd".into()));
        assert_eq!(rbac.decide(&ask).reason, "");
        rbac.put_object(&role("rb", "new", json!([])));
        let slots = rbac.index.read().all_roles().count();
        assert_eq!(slots, 2, "the freed slot is used again");
    }

    #[test]
    fn a_reset_drops_what_is_gone_only_when_synced() {
        let rbac = rbac();
        let alice = user("alice", &[]);
        let ask = Attributes::resource(&alice, "get", "", "configmaps", "rb", "x");
        let mut seen = None;
        rbac.apply_change(Feed::RoleBindings, Change::Reset, &mut seen);
        assert_eq!(rbac.decide(&ask).verdict, Verdict::Allow);
        rbac.apply_change(Feed::RoleBindings, Change::Synced, &mut seen);
        assert_eq!(rbac.decide(&ask).verdict, Verdict::NoOpinion);
        assert_eq!(rbac.known(Feed::ClusterRoleBindings).len(), 2);
    }
}
