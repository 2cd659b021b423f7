//! RoleBinding and ClusterRoleBinding.

use super::super::common::access::{
    arr_at, at, default_zero, ensure_object, get, items_mut, semantic_equal, str_at,
};
use super::super::common::golang::{self, Field, Ty};
use super::super::common::names::{self, NameRule, invalid_each};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const GROUP: &str = "rbac.authorization.k8s.io";

const ROLE_REF: &[Field] = &[
    ("APIGroup", "apiGroup", Ty::Str),
    ("Kind", "kind", Ty::Str),
    ("Name", "name", Ty::Str),
];

/// Rules of RoleBinding and ClusterRoleBinding.
pub struct BindingStrategy {
    /// A RoleBinding, not a ClusterRoleBinding.
    pub namespaced: bool,
}

impl Strategy for BindingStrategy {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn default(&self, object: &mut Value) {
        default_zero(ensure_object(object, "roleRef"), "apiGroup", GROUP);
        for subject in items_mut(object, "subjects") {
            if matches!(str_at(subject, "kind"), "User" | "Group") {
                default_zero(subject, "apiGroup", GROUP);
            }
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        self.validate_role_ref(get(object, "roleRef"), errors);
        let subjects = Path::ROOT.field("subjects");
        for (i, subject) in arr_at(object, "subjects").iter().enumerate() {
            self.validate_subject(subject, &subjects.index(i), errors);
        }
        if let Some(old) = old
            && !semantic_equal(at(object, "roleRef"), at(old, "roleRef"))
        {
            errors.push(
                ErrorType::Invalid,
                &Path::ROOT.field("roleRef"),
                golang::compact_zero(at(object, "roleRef"), ROLE_REF),
                "cannot change roleRef",
            );
        }
    }
}

impl BindingStrategy {
    fn validate_role_ref(&self, role: &Value, errors: &mut FieldErrors) {
        let path = Path::ROOT.field("roleRef");
        let group = str_at(role, "apiGroup");
        if group != GROUP {
            errors.not_supported(&path.field("apiGroup"), &group.into(), &[GROUP]);
        }
        let kinds: &[&str] = if self.namespaced {
            &["Role", "ClusterRole"]
        } else {
            &["ClusterRole"]
        };
        let kind = str_at(role, "kind");
        if !kinds.contains(&kind) {
            errors.not_supported(&path.field("kind"), &kind.into(), kinds);
        }
        let name = str_at(role, "name");
        if name.is_empty() {
            errors.required(&path.field("name"), "");
        } else {
            invalid_each(errors, &path.field("name"), name, names::path_segment(name));
        }
    }

    fn validate_subject(&self, subject: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
        let name = str_at(subject, "name");
        if name.is_empty() {
            errors.required(&path.field("name"), "");
        }
        let group = str_at(subject, "apiGroup");
        match str_at(subject, "kind") {
            "ServiceAccount" => {
                if !name.is_empty() {
                    let messages = names::dns1123_subdomain(name);
                    invalid_each(errors, &path.field("name"), name, messages);
                }
                if !group.is_empty() {
                    errors.not_supported(&path.field("apiGroup"), &group.into(), &[""]);
                }
                if !self.namespaced && str_at(subject, "namespace").is_empty() {
                    errors.required(&path.field("namespace"), "");
                }
            }
            "User" | "Group" => {
                if group != GROUP {
                    errors.not_supported(&path.field("apiGroup"), &group.into(), &[GROUP]);
                }
            }
            kind => errors.not_supported(
                &path.field("kind"),
                &kind.into(),
                &["ServiceAccount", "User", "Group"],
            ),
        }
    }
}
