//! Field ownership of stored objects: who writes, in which versions, and what does not count.
//!
//! The algorithms are `api::managed_fields`; here is what they need to know of rows. Called before
//! mutating admission, so that what admission adds belongs to nobody.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use crate::api::managed_fields::{self, ApplyError, Filter, Set, Type, Versions, Writer};
use crate::api::names::{GroupVersion, GroupVersionKind};
use crate::api::options::WriteOptions;
use crate::api::resource::Resource;
use crate::api::schema;
use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::registry::{Registry, ResourceTable, Target, convert, meta};
use crate::request::RequestContext;

/// Longest manager name, in bytes.
const MANAGER_BYTES_MAX: usize = 128;
/// What the server itself writes as.
const SERVER_MANAGER: &str = "kube-apiserver";

/// The manager of a request: `fieldManager`, or the client's name from its User-Agent.
pub fn manager_name(ctx: &RequestContext, options: &WriteOptions) -> String {
    if options.has_field_manager {
        return options.field_manager.clone();
    }
    let agent = ctx.header("user-agent").unwrap_or("");
    let name = agent.split('/').next().unwrap_or("");
    let mut out = String::with_capacity(name.len());
    for c in name.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > MANAGER_BYTES_MAX {
            break;
        }
        out.push(c);
    }
    if out.is_empty() {
        "unknown".into()
    } else {
        out
    }
}

/// The versions of a row's kind.
pub struct RowVersions {
    table: Arc<ResourceTable>,
    row: Arc<Resource>,
}

impl RowVersions {
    /// Of `row`, as `registry` serves it now.
    pub fn new(registry: &Registry, row: &Arc<Resource>) -> Self {
        RowVersions {
            table: registry.table().load(),
            row: row.clone(),
        }
    }

    fn served(&self, api_version: &str) -> Option<Arc<Resource>> {
        let wanted = GroupVersion::parse(api_version)?;
        if wanted.group != self.row.group {
            return None;
        }
        if wanted.version == self.row.version {
            return Some(self.row.clone());
        }
        self.table
            .get(&wanted.group, &wanted.version, &self.row.plural)
            .cloned()
    }
}

impl Versions for RowVersions {
    fn type_of(&self, api_version: &str) -> Option<Type<'_>> {
        let row = self.served(api_version)?;
        if row.custom {
            return Some(Type::Deduced);
        }
        let schema = schema::builtin(&row.group_version_kind());
        Some(schema.map_or(Type::Deduced, Type::Known))
    }

    fn convert<'a>(&self, object: &'a Value, api_version: &str) -> Option<Cow<'a, Value>> {
        if object.get("apiVersion").and_then(Value::as_str) == Some(api_version) {
            return Some(Cow::Borrowed(object));
        }
        let row = self.served(api_version)?;
        let mut converted = object.clone();
        convert::convert(&mut converted, &row, &row.group_version());
        Some(Cow::Owned(converted))
    }
}

/// A kind that is answered and not stored: it has no other versions.
struct OneVersion<'a>(&'a GroupVersionKind);

impl Versions for OneVersion<'_> {
    fn type_of(&self, api_version: &str) -> Option<Type<'_>> {
        let known = self.0.group_version().to_string() == api_version;
        let schema = known.then(|| schema::builtin(self.0)).flatten()?;
        Some(Type::Known(schema))
    }

    fn convert<'a>(&self, object: &'a Value, api_version: &str) -> Option<Cow<'a, Value>> {
        let same = object.get("apiVersion").and_then(Value::as_str) == Some(api_version);
        same.then_some(Cow::Borrowed(object))
    }
}

/// The kind without anything set.
pub fn zero(row: &Resource) -> Value {
    if row.custom {
        return json!({"kind": row.kind, "apiVersion": row.group_version().to_string()});
    }
    zero_of(&row.group_version_kind())
}

fn zero_of(gvk: &GroupVersionKind) -> Value {
    let mut zero = json!({"kind": gvk.kind, "apiVersion": gvk.group_version().to_string()});
    if let Some(schema) = schema::builtin(gvk) {
        schema::normalise(&mut zero, schema);
    }
    zero
}

impl Registry {
    /// Records who owns what in `object` after a create (`old` is `None`) or update of `target`,
    /// then gives it the form that storage keeps. `by_server`: past admission.
    pub(super) fn track(
        &self,
        ctx: &RequestContext,
        target: &Target,
        old: Option<&Value>,
        object: &mut Value,
        options: &WriteOptions,
        by_server: bool,
    ) {
        if !options.untracked {
            self.track_fields(ctx, target, old, object, options, by_server);
        }
        let row = &target.resource;
        if !row.custom
            && let Some(schema) = schema::builtin(&row.group_version_kind())
        {
            schema::normalise::forget_empty_lists(object, schema);
        }
    }

    fn track_fields(
        &self,
        ctx: &RequestContext,
        target: &Target,
        old: Option<&Value>,
        object: &mut Value,
        options: &WriteOptions,
        by_server: bool,
    ) {
        let manager = if by_server && !options.has_field_manager {
            SERVER_MANAGER.to_string()
        } else {
            manager_name(ctx, options)
        };
        let versions = RowVersions::new(self, &target.resource);
        let zero = match old {
            Some(_) => Value::Null,
            None => zero(&target.resource),
        };
        let writer = Writer {
            manager: &manager,
            api_version: &target.resource.group_version().to_string(),
            subresource: &target.subresource,
            filter: filter_of(&target.resource, &target.subresource),
            now: &meta::now(),
            zero: &zero,
            versions: &versions,
        };
        managed_fields::track(old.unwrap_or(&zero), old.is_some(), object, &writer);
    }

    /// Records who set what in an object that is answered and not stored (a review).
    pub fn track_posted(
        &self,
        ctx: &RequestContext,
        kind: &GroupVersionKind,
        subresource: &str,
        object: &mut Value,
        options: &WriteOptions,
    ) {
        let zero = zero_of(kind);
        let writer = Writer {
            manager: &manager_name(ctx, options),
            api_version: &kind.group_version().to_string(),
            subresource,
            filter: &Filter::All,
            now: &meta::now(),
            zero: &zero,
            versions: &OneVersion(kind),
        };
        managed_fields::track(&zero, false, object, &writer);
    }

    /// Applies `config` to `live`, or to nothing; the answer has its entries.
    pub fn apply_config(
        &self,
        target: &Target,
        manager: &str,
        live: Option<&Value>,
        config: &Value,
        force: bool,
    ) -> Result<Value, Status> {
        let versions = RowVersions::new(self, &target.resource);
        let zero = zero(&target.resource);
        let writer = Writer {
            manager,
            api_version: &target.resource.group_version().to_string(),
            subresource: &target.subresource,
            filter: filter_of(&target.resource, &target.subresource),
            now: &meta::now(),
            zero: &zero,
            versions: &versions,
        };
        let live_or_zero = live.unwrap_or(&zero);
        managed_fields::apply(live_or_zero, live.is_some(), config, force, &writer)
            .map_err(apply_status)
    }
}

/// 409 with a cause for each field, or 500 with the text.
pub fn apply_status(error: ApplyError) -> Status {
    let conflicts = match error {
        ApplyError::Other(text) => return Status::failure(500, "", text),
        ApplyError::Conflicts(conflicts) => conflicts,
    };
    let mut message = match conflicts.as_slice() {
        [(who, path)] => format!("Apply failed with 1 conflict: conflict with {who}: {path}"),
        many => format!("Apply failed with {} conflicts:", many.len()),
    };
    if conflicts.len() > 1 {
        let mut last = None;
        for (who, path) in &conflicts {
            if last != Some(who) {
                let separator = if last.is_some() { '\n' } else { ' ' };
                message.push_str(&format!("{separator}conflicts with {who}:"));
                last = Some(who);
            }
            message.push_str(&format!("\n- {path}"));
        }
    }
    conflicts.iter().fold(
        Status::failure(409, "Conflict", message),
        |status, (who, path)| {
            status.cause("FieldManagerConflict", format!("conflict with {who}"), path)
        },
    )
}

/// Kinds whose status writes keep the spec but take metadata.
const STATUS_TAKES_METADATA: &[&str] = &[
    "daemonsets",
    "replicasets",
    "statefulsets",
    "replicationcontrollers",
    "horizontalpodautoscalers",
    "jobs",
    "cronjobs",
    "namespaces",
    "nodes",
    "persistentvolumes",
    "persistentvolumeclaims",
    "resourcequotas",
    "services",
    "ingresses",
    "poddisruptionbudgets",
    "podcertificaterequests",
];

/// The fields that a write through `subresource` cannot own.
pub fn filter_of(row: &Resource, subresource: &str) -> &'static Filter {
    macro_rules! without {
        ($($path:expr),+) => {{
            static FILTER: LazyLock<Filter> =
                LazyLock::new(|| Filter::Without(Set::of_fields(&[$($path),+])));
            &FILTER
        }};
    }
    static EPHEMERAL: Filter = Filter::Only(&[&["spec", "ephemeralContainers"]]);
    static RESIZE: Filter = Filter::Only(&[
        &["spec", "containers", "*", "resources"],
        &["spec", "containers", "*", "resizePolicy"],
        &["spec", "initContainers", "*", "resources"],
        &["spec", "initContainers", "*", "resizePolicy"],
    ]);
    match (row.plural.as_ref(), subresource) {
        ("certificatesigningrequests", "") => without!(&["spec"], &["status"]),
        ("certificatesigningrequests", "status") => {
            without!(&["spec"], &["status", "conditions"])
        }
        ("certificatesigningrequests", "approval") => {
            without!(&["spec"], &["status", "certificate"])
        }
        ("pods", "ephemeralcontainers") => &EPHEMERAL,
        ("pods", "resize") => &RESIZE,
        ("pods", "status") if !row.custom => without!(
            &["spec"],
            &["metadata", "deletionTimestamp"],
            &["metadata", "ownerReferences"]
        ),
        ("deployments", "status") if !row.custom => {
            without!(&["spec"], &["metadata", "labels"])
        }
        (_, "finalize") => without!(&["status"]),
        (plural, "status") if !row.custom && STATUS_TAKES_METADATA.contains(&plural) => {
            without!(&["spec"])
        }
        (_, "status") => without!(&["spec"], &["metadata"]),
        (_, "") if row.has_status() => without!(&["status"]),
        _ => &Filter::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_listed_by_manager() {
        let pair = |who: &str, path: &str| (who.to_string(), path.to_string());
        let one = apply_status(ApplyError::Conflicts(vec![pair("\"a\"", ".x")]));
        assert_eq!(
            one.message,
            "Apply failed with 1 conflict: conflict with \"a\": .x"
        );
        let many = apply_status(ApplyError::Conflicts(vec![
            pair("\"a\"", ".x"),
            pair("\"a\"", ".y"),
            pair("\"b\" using v1", ".z"),
        ]));
        assert_eq!(
            many.message,
            "Apply failed with 3 conflicts: conflicts with \"a\":\n- .x\n- .y\nconflicts with \"b\" using v1:\n- .z"
        );
        assert_eq!(many.details.map(|details| details.causes.len()), Some(3));
    }
}
