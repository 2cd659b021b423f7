//! The compiled form of all roles and bindings: who has which rules, where.
//!
//! Bindings are filed under each of their subjects, cluster-wide or per namespace; roles live in
//! slots that bindings point to, so a changed role is one store and a changed binding touches only
//! its own subjects. A decision walks the few bindings of the user and its groups.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::authorization::rbac::rule::PolicyRule;
use crate::base::tree::Value;
use crate::request::UserInfo;

/// Namespace (empty for cluster roles and cluster role bindings) and name.
pub type Key = (String, String);

/// Who a binding is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: SubjectKind,
    /// Name.
    pub name: String,
    /// Namespace of a service account.
    pub namespace: String,
}

/// Kinds of subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// A user name.
    User,
    /// A group.
    Group,
    /// A service account.
    ServiceAccount,
}

/// One RoleBinding or ClusterRoleBinding.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Namespace; empty for a ClusterRoleBinding.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whether the role is a ClusterRole.
    pub cluster_role: bool,
    /// Name of the role.
    pub role: String,
    /// Subjects in order.
    pub subjects: Vec<Subject>,
    slot: usize,
}

/// One role; `rules` is `None` while no such role exists.
#[derive(Debug, Default)]
struct Slot {
    rules: Option<Arc<[PolicyRule]>>,
    bindings: usize,
}

/// A binding under one of its subjects.
#[derive(Debug)]
struct Grant {
    binding: Arc<Binding>,
    subject: usize,
    /// What a decision by it says.
    reason: Box<str>,
}

#[derive(Debug, Default)]
struct Subjects {
    users: HashMap<String, Vec<Grant>, RandomState>,
    groups: HashMap<String, Vec<Grant>, RandomState>,
}

/// All roles and bindings.
#[derive(Debug, Default)]
pub struct Index {
    slots: Vec<Slot>,
    free_slots: Vec<usize>,
    slot_of: HashMap<Key, usize>,
    bindings: HashMap<Key, Arc<Binding>>,
    cluster: Subjects,
    namespaces: HashMap<String, Subjects, RandomState>,
}

/// A binding that applies to a user.
pub struct Applied<'a> {
    /// The binding.
    pub binding: &'a Binding,
    /// The subject of it that is the user or one of its groups.
    pub subject: &'a Subject,
    /// Rules of its role; `None` when the role does not exist.
    pub rules: Option<&'a Arc<[PolicyRule]>>,
    /// The reason of what it allows, in upstream's words.
    pub reason: &'a str,
}

impl Index {
    /// Stores a Role or ClusterRole.
    pub fn put_role(&mut self, role: &Value) {
        let key = key_of(role);
        let slot = self.slot(key);
        self.slots[slot].rules = Some(PolicyRule::of_role(role).into());
    }

    /// Forgets a role.
    pub fn remove_role(&mut self, key: &Key) {
        if let Some(&slot) = self.slot_of.get(key) {
            self.slots[slot].rules = None;
            self.release(key, slot);
        }
    }

    /// Stores a RoleBinding or ClusterRoleBinding.
    pub fn put_binding(&mut self, object: &Value) {
        let key = key_of(object);
        self.remove_binding(&key);
        let cluster_role = object.pointer("/roleRef/kind").and_then(Value::as_str) != Some("Role");
        let role = text(object, "/roleRef/name");
        let role_namespace = if cluster_role { "" } else { &key.0 };
        let slot = self.slot((role_namespace.to_string(), role.clone()));
        self.slots[slot].bindings += 1;
        let binding = Arc::new(Binding {
            namespace: key.0.clone(),
            name: key.1.clone(),
            cluster_role,
            role,
            subjects: subjects_of(object, &key.0),
            slot,
        });
        let subjects = match key.0.as_str() {
            "" => &mut self.cluster,
            namespace => self.namespaces.entry(namespace.to_string()).or_default(),
        };
        for (number, subject) in binding.subjects.iter().enumerate() {
            let grant = Grant {
                reason: binding.reason(subject).into(),
                binding: Arc::clone(&binding),
                subject: number,
            };
            if let Some(list) = subjects.list(subject) {
                list.push(grant);
            }
        }
        self.bindings.insert(key, binding);
    }

    /// Forgets a binding.
    pub fn remove_binding(&mut self, key: &Key) {
        let Some(binding) = self.bindings.remove(key) else {
            return;
        };
        let subjects = match key.0.as_str() {
            "" => Some(&mut self.cluster),
            namespace => self.namespaces.get_mut(namespace),
        };
        if let Some(subjects) = subjects {
            subjects.forget(&binding);
            if !key.0.is_empty() && subjects.users.is_empty() && subjects.groups.is_empty() {
                self.namespaces.remove(&key.0);
            }
        }
        let slot = binding.slot;
        self.slots[slot].bindings -= 1;
        let role_namespace = if binding.cluster_role { "" } else { &key.0 };
        self.release(&(role_namespace.to_string(), binding.role.clone()), slot);
    }

    /// Rules of a role.
    pub fn role(&self, namespace: &str, name: &str) -> Option<&Arc<[PolicyRule]>> {
        let key = (namespace.to_string(), name.to_string());
        self.slots[*self.slot_of.get(&key)?].rules.as_ref()
    }

    /// Calls `visit` with each binding that applies to `user`: cluster-wide ones, then those of
    /// `namespace` unless it is empty. A binding with several fitting subjects may come more than
    /// once. Stops when `visit` breaks.
    pub fn visit<'a>(
        &'a self,
        user: &UserInfo,
        namespace: &str,
        mut visit: impl FnMut(Applied<'a>) -> ControlFlow<()>,
    ) {
        let local = (!namespace.is_empty())
            .then(|| self.namespaces.get(namespace))
            .flatten();
        for subjects in [Some(&self.cluster), local].into_iter().flatten() {
            let of_user = subjects.users.get(&user.username).into_iter();
            let of_groups = user.groups.iter().filter_map(|g| subjects.groups.get(g));
            for grant in of_user.chain(of_groups).flatten() {
                let applied = Applied {
                    binding: &grant.binding,
                    subject: &grant.binding.subjects[grant.subject],
                    rules: self.slots[grant.binding.slot].rules.as_ref(),
                    reason: &grant.reason,
                };
                if visit(applied).is_break() {
                    return;
                }
            }
        }
    }

    /// All bindings with their rules, in no particular order.
    pub fn all_bindings(&self) -> impl Iterator<Item = (&Binding, Option<&Arc<[PolicyRule]>>)> {
        self.bindings
            .values()
            .map(|b| (&**b, self.slots[b.slot].rules.as_ref()))
    }

    /// All roles with their rules, in no particular order.
    pub fn all_roles(&self) -> impl Iterator<Item = (&Key, &Arc<[PolicyRule]>)> {
        self.slot_of
            .iter()
            .filter_map(|(key, slot)| Some((key, self.slots[*slot].rules.as_ref()?)))
    }

    fn slot(&mut self, key: Key) -> usize {
        if let Some(&slot) = self.slot_of.get(&key) {
            return slot;
        }
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        self.slot_of.insert(key, slot);
        slot
    }

    /// Gives a slot back when neither a role nor a binding needs it.
    fn release(&mut self, key: &Key, slot: usize) {
        let unused = self.slots[slot].bindings == 0 && self.slots[slot].rules.is_none();
        if unused && self.slot_of.remove(key).is_some() {
            self.free_slots.push(slot);
        }
    }
}

impl Subjects {
    fn list(&mut self, subject: &Subject) -> Option<&mut Vec<Grant>> {
        Some(match subject.kind {
            SubjectKind::User => self.users.entry(subject.name.clone()).or_default(),
            SubjectKind::Group => self.groups.entry(subject.name.clone()).or_default(),
            SubjectKind::ServiceAccount if subject.namespace.is_empty() => return None,
            SubjectKind::ServiceAccount => self.users.entry(subject.user_name()).or_default(),
        })
    }

    fn forget(&mut self, binding: &Arc<Binding>) {
        for subject in &binding.subjects {
            let (map, name) = match subject.kind {
                SubjectKind::User => (&mut self.users, subject.name.clone()),
                SubjectKind::Group => (&mut self.groups, subject.name.clone()),
                SubjectKind::ServiceAccount => (&mut self.users, subject.user_name()),
            };
            if let Some(list) = map.get_mut(&name) {
                list.retain(|grant| !Arc::ptr_eq(&grant.binding, binding));
                if list.is_empty() {
                    map.remove(&name);
                }
            }
        }
    }
}

impl Subject {
    /// The user name of a service account.
    pub fn user_name(&self) -> String {
        match self.kind {
            SubjectKind::ServiceAccount => {
                format!("system:serviceaccount:{}:{}", self.namespace, self.name)
            }
            _ => self.name.clone(),
        }
    }

    /// Whether `user` is this subject or in it.
    pub fn is(&self, user: &UserInfo) -> bool {
        match self.kind {
            SubjectKind::User => self.name == user.username,
            SubjectKind::Group => user.in_group(&self.name),
            SubjectKind::ServiceAccount => user
                .service_account()
                .is_some_and(|(ns, name)| ns == self.namespace && name == self.name),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            SubjectKind::User => write!(f, "User \"{}\"", self.name),
            SubjectKind::Group => write!(f, "Group \"{}\"", self.name),
            SubjectKind::ServiceAccount => {
                write!(f, "ServiceAccount \"{}/{}\"", self.name, self.namespace)
            }
        }
    }
}

impl Binding {
    /// `ClusterRoleBinding` or `RoleBinding`.
    pub fn kind(&self) -> &'static str {
        match self.namespace.is_empty() {
            true => "ClusterRoleBinding",
            false => "RoleBinding",
        }
    }

    /// `ClusterRole` or `Role`.
    pub fn role_kind(&self) -> &'static str {
        match self.cluster_role {
            true => "ClusterRole",
            false => "Role",
        }
    }

    /// Upstream's reason for allowing by this binding.
    pub fn reason(&self, subject: &Subject) -> String {
        let (kind, role_kind) = (self.kind(), self.role_kind());
        let (name, role) = (&self.name, &self.role);
        if self.namespace.is_empty() {
            return format!(
                "RBAC: allowed by {kind} \"{name}\" of {role_kind} \"{role}\" to {subject}"
            );
        }
        let namespace = &self.namespace;
        format!(
            "RBAC: allowed by {kind} \"{name}/{namespace}\" of {role_kind} \"{role}\" to {subject}"
        )
    }

    /// The error of a binding whose role does not exist.
    pub fn missing_role(&self) -> String {
        let resource = self.role_kind().to_ascii_lowercase();
        format!(
            "{resource}.rbac.authorization.k8s.io \"{}\" not found",
            self.role
        )
    }
}

/// Namespace and name of an object.
pub fn key_of(object: &Value) -> Key {
    (
        text(object, "/metadata/namespace"),
        text(object, "/metadata/name"),
    )
}

fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_string()
}

fn subjects_of(binding: &Value, namespace: &str) -> Vec<Subject> {
    let subjects = binding.get("subjects").and_then(Value::as_array);
    subjects
        .into_iter()
        .flatten()
        .filter_map(|subject| {
            let kind = match subject.get("kind")?.as_str()? {
                "User" => SubjectKind::User,
                "Group" => SubjectKind::Group,
                "ServiceAccount" => SubjectKind::ServiceAccount,
                _ => return None,
            };
            let own = text(subject, "/namespace");
            Some(Subject {
                kind,
                name: text(subject, "/name"),
                namespace: match (kind, own.is_empty()) {
                    (SubjectKind::ServiceAccount, true) => namespace.to_string(),
                    (SubjectKind::ServiceAccount, false) => own,
                    _ => String::new(),
                },
            })
        })
        .collect()
}
