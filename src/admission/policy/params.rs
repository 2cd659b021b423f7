//! The objects that parametrize a binding.

use std::sync::Arc;

use super::config::{Binding, Policy};
use crate::admission::Admission;
use crate::admission::matching::{Sources, namespace_of};
use crate::api::names::GroupVersion;
use crate::base::tree::Value;

/// The parameters of a binding, in the version that the policy names; one null where it takes none.
///
/// # Errors
/// Why the binding cannot be applied.
pub(super) async fn collect(
    sources: Sources<'_>,
    admission: &Admission<'_>,
    policy: &Policy,
    binding: &Binding,
) -> Result<Vec<Value>, String> {
    let (Some((api_version, kind)), Some(reference)) = (&policy.param_kind, &binding.params) else {
        return Ok(vec![Value::Null]);
    };
    let version = GroupVersion::parse(api_version);
    let row = version.and_then(|v| sources.kinds.row(&v.group, &v.version, kind));
    let row = row.ok_or_else(|| {
        // As Go prints an internal GroupVersionKind.
        format!("paramKind kind `{api_version}, Kind={kind}` not known")
    })?;
    let namespace = match (row.namespaced, reference.namespace.as_str()) {
        (true, "") => match namespace_of(admission) {
            "" => {
                return Err(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                        .into(),
                );
            }
            namespace => namespace,
        },
        (false, "") => "",
        (true, namespace) => namespace,
        (false, _) => {
            return Err(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into(),
            );
        }
    };
    let resource = row.group_resource();
    let failed = |error: crate::api::status::Status| error.message;
    let found: Vec<Arc<Value>> = match (&reference.selector, reference.name.as_str()) {
        (None, "") => return Err("one of name or selector must be provided".into()),
        (None, name) => {
            let found = sources.objects.get_cached(&resource, namespace, name).await;
            found.map_err(failed)?.into_iter().collect()
        }
        (Some(selector), _) => {
            let all = sources.objects.list_cached(&resource, namespace).await;
            let mut all = all.map_err(failed)?;
            all.retain(|object| selector.matches_object(object));
            all
        }
    };
    if found.is_empty() && reference.denies_missing {
        return Err(
            "no params found for policy binding with `Deny` parameterNotFoundAction".into(),
        );
    }
    let stored = sources.kinds.equivalents(&row).into_iter().find(|other| {
        let storage = &row.storage_version;
        (&other.group, &other.version) == (&storage.group, &storage.version)
    });
    let stored = stored.unwrap_or_else(|| row.clone());
    let shown = found.iter().map(|object| {
        sources
            .kinds
            .present(&stored, "", object, &row)
            .into_owned()
    });
    Ok(shown.collect())
}
