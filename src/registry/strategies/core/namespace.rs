//! Namespace: its own finalizers, its phase, the label with its name.

use super::super::common::access::{
    arr_at, at, default_zero, ensure_object, object_mut, path_at, set_or_remove, str_at,
};
use super::super::common::meta::validate_kube_finalizer;
use super::super::common::names::{self, NameRule, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

const NAME_LABEL: &str = "kubernetes.io/metadata.name";
const FINALIZER: &str = "kubernetes";

/// Rules of Namespace.
pub struct NamespaceStrategy;

impl Strategy for NamespaceStrategy {
    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn default(&self, object: &mut Value) {
        set_name_label(object);
        default_zero(ensure_object(object, "status"), "phase", "Active");
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        object_mut(object).insert("status".into(), json!({"phase": "Active"}));
        let spec = ensure_object(object, "spec");
        if !arr_at(spec, "finalizers").iter().any(|f| f == FINALIZER) {
            let mut finalizers = arr_at(spec, "finalizers").to_vec();
            finalizers.push(FINALIZER.into());
            object_mut(spec).insert("finalizers".into(), finalizers.into());
        }
        set_name_label(object);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource.is_empty() {
            let finalizers = path_at(old, &["spec", "finalizers"]).cloned();
            set_or_remove(ensure_object(object, "spec"), "finalizers", finalizers);
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        match (ctx.subresource, old) {
            ("status", Some(_)) => validate_phase(object, errors),
            ("finalize", Some(_)) => validate_finalizers(object, true, errors),
            (_, Some(_)) => {}
            (_, None) => validate_finalizers(object, false, errors),
        }
    }

    fn mark_deleted(&self, object: &mut Value) {
        // A namespace is not deleted after a while but when its finalizers are gone.
        object_mut(ensure_object(object, "metadata")).remove("deletionGracePeriodSeconds");
        object_mut(ensure_object(object, "status")).insert("phase".into(), "Terminating".into());
    }

    fn is_held(&self, object: &Value) -> bool {
        at(object, "spec").is_some_and(|spec| !arr_at(spec, "finalizers").is_empty())
    }
}

fn set_name_label(object: &mut Value) {
    let meta = ensure_object(object, "metadata");
    let name = str_at(meta, "name");
    if !name.is_empty() {
        let name = Value::from(name);
        object_mut(ensure_object(meta, "labels")).insert(NAME_LABEL.into(), name);
    }
}

fn validate_finalizers(object: &Value, indexed: bool, errors: &mut FieldErrors) {
    let spec = Path::ROOT.field("spec");
    let path = spec.field("finalizers");
    let Some(value) = at(object, "spec") else {
        return;
    };
    for (i, finalizer) in arr_at(value, "finalizers").iter().enumerate() {
        let item = path.index(i);
        let path = if indexed { &item } else { &path };
        let name = finalizer.as_str().unwrap_or_default();
        invalid_each(errors, path, name, names::qualified_name(name));
        validate_kube_finalizer(name, path, errors);
    }
}

fn validate_phase(object: &Value, errors: &mut FieldErrors) {
    let deleting = path_at(object, &["metadata", "deletionTimestamp"]).is_some();
    let phase = at(object, "status").map_or("", |s| str_at(s, "phase"));
    let (want, why) = if deleting {
        (
            "Terminating",
            "may only be 'Terminating' if `deletionTimestamp` is not empty",
        )
    } else {
        (
            "Active",
            "may only be 'Active' if `deletionTimestamp` is empty",
        )
    };
    if phase != want {
        let status = Path::ROOT.field("status");
        errors.invalid_str(&status.field("Phase"), phase, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_namespaces_are_active_and_held() {
        let mut namespace = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["a.b/c"]}});
        let strategy = NamespaceStrategy;
        strategy.default(&mut namespace);
        strategy.prepare_for_create(&mut namespace, &WriteContext::default());
        assert_eq!(
            namespace,
            json!({"metadata": {"name": "a", "labels": {NAME_LABEL: "a"}},
                "spec": {"finalizers": ["a.b/c", "kubernetes"]}, "status": {"phase": "Active"}})
        );
        assert!(strategy.is_held(&namespace));
        strategy.mark_deleted(&mut namespace);
        assert_eq!(namespace["status"]["phase"], "Terminating");
    }
}
