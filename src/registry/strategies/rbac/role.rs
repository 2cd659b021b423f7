//! Role and ClusterRole.

use super::super::common::access::{arr_at, at, get};
use super::super::common::names::NameRule;
use super::super::common::selector;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of Role and ClusterRole.
pub struct RoleStrategy {
    /// A Role, not a ClusterRole.
    pub namespaced: bool,
}

impl Strategy for RoleStrategy {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let rules = Path::ROOT.field("rules");
        for (i, rule) in arr_at(object, "rules").iter().enumerate() {
            self.validate_rule(rule, &rules.index(i), errors);
        }
        if !self.namespaced && at(object, "aggregationRule").is_some() {
            validate_aggregation(get(object, "aggregationRule"), errors);
        }
    }
}

impl RoleStrategy {
    fn validate_rule(&self, rule: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
        let set = |key: &str| !arr_at(rule, key).is_empty();
        if !set("verbs") {
            errors.required(
                &path.field("verbs"),
                "verbs must contain at least one value",
            );
        }
        if set("nonResourceURLs") {
            let urls = path.field("nonResourceURLs");
            let value = get(rule, "nonResourceURLs");
            if self.namespaced {
                errors.invalid(
                    &urls,
                    value,
                    "namespaced rules cannot apply to non-resource URLs",
                );
            }
            if set("apiGroups") || set("resources") || set("resourceNames") {
                errors.invalid(
                    &urls,
                    value,
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            return;
        }
        if !set("apiGroups") {
            errors.required(
                &path.field("apiGroups"),
                "resource rules must supply at least one api group",
            );
        }
        if !set("resources") {
            errors.required(
                &path.field("resources"),
                "resource rules must supply at least one resource",
            );
        }
    }
}

fn validate_aggregation(rule: &Value, errors: &mut FieldErrors) {
    let root = Path::ROOT.field("aggregationRule");
    let path = root.field("clusterRoleSelectors");
    let selectors = arr_at(rule, "clusterRoleSelectors");
    if selectors.is_empty() {
        errors.required(
            &path,
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        );
    }
    for (i, item) in selectors.iter().enumerate() {
        let path = path.index(i);
        selector::validate_label_selector(Some(item), &path, errors);
        if !selector::is_convertible(item) {
            errors.invalid(&path, &Value::Null, "invalid label selector.");
        }
    }
}
