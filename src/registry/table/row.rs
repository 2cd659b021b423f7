//! `Row`: how a built-in kind is written down, and how it becomes a [`Resource`].
//!
//! A row says only what differs from the common kind: all eight verbs, stored under its plural in its
//! own version, unconditional update allowed.

use std::sync::LazyLock;

use crate::api::names::{GroupVersion, GroupVersionKind, Name};
use crate::api::resource::{
    Connect, Quirks, Resource, Review, SelectableField, Special, Subresource,
};
use crate::api::schema::Definitions;

/// The verbs of most kinds.
pub(super) const ALL: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
/// Namespaces are not deleted by selector.
pub(super) const NO_COLLECTION: &[&str] = &[
    "create", "delete", "get", "list", "patch", "update", "watch",
];
pub(super) const CREATE: &[&str] = &["create"];
pub(super) const GET: &[&str] = &["get"];
pub(super) const UPDATE: &[&str] = &["update"];
pub(super) const GET_LIST: &[&str] = &["get", "list"];
pub(super) const GET_LIST_WATCH: &[&str] = &["get", "list", "watch"];
pub(super) const CREATE_GET: &[&str] = &["create", "get"];
pub(super) const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];
/// Proxies take every HTTP method.
pub(super) const ANY_METHOD: &[&str] = &["create", "delete", "get", "patch", "update"];

/// Only a status.
pub(super) const STATUS: &[Sub] = &[Sub::own("status", GET_PATCH_UPDATE)];
/// A scale and a status.
pub(super) const SCALE_STATUS: &[Sub] = &[
    Sub::foreign("scale", "autoscaling", "v1", "Scale", GET_PATCH_UPDATE).special(Special::Scale),
    Sub::own("status", GET_PATCH_UPDATE),
];

/// Label, path in the stored form, value when missing.
type Field = (&'static str, &'static str, &'static str);

pub(super) const POD_FIELDS: &[Field] = &[
    ("spec.nodeName", "spec.nodeName", ""),
    ("spec.host", "spec.nodeName", ""),
    ("spec.restartPolicy", "spec.restartPolicy", ""),
    ("spec.schedulerName", "spec.schedulerName", ""),
    ("spec.serviceAccountName", "spec.serviceAccountName", ""),
    ("spec.hostNetwork", "spec.hostNetwork", "false"),
    ("status.phase", "status.phase", ""),
    ("status.podIP", "status.podIP", ""),
    ("status.podIPs", "status.podIPs", ""),
    ("status.nominatedNodeName", "status.nominatedNodeName", ""),
];
pub(super) const NODE_FIELDS: &[Field] = &[("spec.unschedulable", "spec.unschedulable", "false")];
pub(super) const NAMESPACE_FIELDS: &[Field] = &[("status.phase", "status.phase", "")];
pub(super) const SECRET_FIELDS: &[Field] = &[("type", "type", "")];
pub(super) const SERVICE_FIELDS: &[Field] = &[
    ("spec.clusterIP", "spec.clusterIP", ""),
    ("spec.type", "spec.type", ""),
];
pub(super) const REPLICAS_FIELDS: &[Field] = &[("status.replicas", "status.replicas", "0")];
pub(super) const JOB_FIELDS: &[Field] = &[("status.successful", "status.succeeded", "0")];
pub(super) const SIGNER_FIELDS: &[Field] = &[("spec.signerName", "spec.signerName", "")];
pub(super) const POD_CERTIFICATE_FIELDS: &[Field] = &[
    ("spec.signerName", "spec.signerName", ""),
    ("spec.podName", "spec.podName", ""),
    ("spec.nodeName", "spec.nodeName", ""),
];
pub(super) const RESOURCE_SLICE_FIELDS: &[Field] = &[
    ("spec.nodeName", "spec.nodeName", ""),
    ("spec.driver", "spec.driver", ""),
];
pub(super) const LEASE_CANDIDATE_FIELDS: &[Field] = &[("spec.leaseName", "spec.leaseName", "")];
pub(super) const EVENT_FIELDS: &[Field] = &[
    ("involvedObject.kind", "involvedObject.kind", ""),
    ("involvedObject.namespace", "involvedObject.namespace", ""),
    ("involvedObject.name", "involvedObject.name", ""),
    ("involvedObject.uid", "involvedObject.uid", ""),
    ("involvedObject.apiVersion", "involvedObject.apiVersion", ""),
    (
        "involvedObject.resourceVersion",
        "involvedObject.resourceVersion",
        "",
    ),
    ("involvedObject.fieldPath", "involvedObject.fieldPath", ""),
    ("reason", "reason", ""),
    ("reportingComponent", "reportingComponent", ""),
    ("source", "source.component", ""),
    ("type", "type", ""),
];
/// events.k8s.io is stored as core events, so its paths are those of the core event.
pub(super) const EVENTS_FIELDS: &[Field] = &[
    ("regarding.kind", "involvedObject.kind", ""),
    ("regarding.namespace", "involvedObject.namespace", ""),
    ("regarding.name", "involvedObject.name", ""),
    ("regarding.uid", "involvedObject.uid", ""),
    ("regarding.apiVersion", "involvedObject.apiVersion", ""),
    (
        "regarding.resourceVersion",
        "involvedObject.resourceVersion",
        "",
    ),
    ("regarding.fieldPath", "involvedObject.fieldPath", ""),
    ("reason", "reason", ""),
    ("reportingController", "reportingComponent", ""),
    ("type", "type", ""),
];

/// A subresource of a [`Row`].
pub(super) struct Sub {
    name: &'static str,
    kind: SubKind,
    verbs: &'static [&'static str],
    special: Option<Special>,
}

enum SubKind {
    /// The kind of the row.
    Own,
    /// Another kind of the row's group and version.
    Other(&'static str),
    /// Group, version and kind from elsewhere.
    Foreign(&'static str, &'static str, &'static str),
}

impl Sub {
    /// Speaks the row's own kind.
    pub(super) const fn own(name: &'static str, verbs: &'static [&'static str]) -> Self {
        Sub {
            name,
            kind: SubKind::Own,
            verbs,
            special: None,
        }
    }

    /// Speaks another kind of the row's group and version.
    pub(super) const fn other(
        name: &'static str,
        kind: &'static str,
        verbs: &'static [&'static str],
    ) -> Self {
        Sub {
            name,
            kind: SubKind::Other(kind),
            verbs,
            special: None,
        }
    }

    /// Speaks a kind of another group.
    pub(super) const fn foreign(
        name: &'static str,
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        verbs: &'static [&'static str],
    ) -> Self {
        Sub {
            name,
            kind: SubKind::Foreign(group, version, kind),
            verbs,
            special: None,
        }
    }
}

impl Sub {
    /// Answered by something else than the store.
    pub(super) const fn special(mut self, special: Special) -> Self {
        self.special = Some(special);
        self
    }

    /// Leads somewhere outside.
    pub(super) const fn connects(self, to: Connect) -> Self {
        self.special(Special::Connect(to))
    }
}

/// One built-in kind, written as constant data.
pub(super) struct Row {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
    verbs: &'static [&'static str],
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    subresources: &'static [Sub],
    storage_prefix: &'static str,
    storage_version: (&'static str, &'static str),
    unconditional_update: bool,
    create_on_update: bool,
    returns_deleted: bool,
    generation: bool,
    ttl_seconds: u32,
    fields: &'static [Field],
    definitions: Option<&'static LazyLock<Definitions>>,
    special: Option<Special>,
    quirks: Quirks,
}

impl Row {
    const fn new(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
        namespaced: bool,
    ) -> Self {
        Row {
            group,
            version,
            plural,
            kind,
            namespaced,
            verbs: ALL,
            short_names: &[],
            categories: &[],
            subresources: &[],
            storage_prefix: plural,
            storage_version: (group, version),
            unconditional_update: true,
            create_on_update: false,
            returns_deleted: false,
            generation: false,
            ttl_seconds: 0,
            fields: &[],
            definitions: None,
            special: None,
            quirks: Quirks {
                deprecation: None,
                field_error_names_kind: false,
                not_found_as: None,
            },
        }
    }

    /// A namespaced kind.
    pub(super) const fn namespaced(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Self {
        Self::new(group, version, plural, kind, true)
    }

    /// A cluster-scoped kind.
    pub(super) const fn cluster(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Self {
        Self::new(group, version, plural, kind, false)
    }

    /// Verbs, where not all.
    pub(super) const fn verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self
    }

    /// Short names.
    pub(super) const fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = names;
        self
    }

    /// Categories.
    pub(super) const fn categories(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories;
        self
    }

    /// Subresources.
    pub(super) const fn subresources(mut self, subresources: &'static [Sub]) -> Self {
        self.subresources = subresources;
        self
    }

    /// Storage prefix, where not the plural.
    pub(super) const fn stored_under(mut self, prefix: &'static str) -> Self {
        self.storage_prefix = prefix;
        self
    }

    /// Storage version, where not the row's own.
    pub(super) const fn stored_as(mut self, group: &'static str, version: &'static str) -> Self {
        self.storage_version = (group, version);
        self
    }

    /// A virtual resource, and what answers it.
    pub(super) const fn answered_by(mut self, special: Special) -> Self {
        self.storage_prefix = "";
        self.special = Some(special);
        self
    }

    /// A review.
    pub(super) const fn review(self, review: Review) -> Self {
        self.verbs(CREATE).answered_by(Special::Review(review))
    }

    /// A deprecated version, and the warning that says so.
    pub(super) const fn deprecated(mut self, warning: &'static str) -> Self {
        self.quirks.deprecation = Some(warning);
        self
    }

    /// Unknown field labels are refused in words that name the kind.
    pub(super) const fn field_error_names_kind(mut self) -> Self {
        self.quirks.field_error_names_kind = true;
        self
    }

    /// Named otherwise in "not found" texts.
    pub(super) const fn not_found_as(mut self, name: &'static str) -> Self {
        self.quirks.not_found_as = Some(name);
        self
    }

    /// A resource that a mount computes, described by `definitions`.
    pub(super) const fn mounted(mut self, definitions: &'static LazyLock<Definitions>) -> Self {
        self.definitions = Some(definitions);
        self.answered_by(Special::Mounted)
    }

    /// Time to live.
    pub(super) const fn ttl(mut self, seconds: u32) -> Self {
        self.ttl_seconds = seconds;
        self
    }

    /// Selectable fields.
    pub(super) const fn fields(mut self, fields: &'static [Field]) -> Self {
        self.fields = fields;
        self
    }

    /// Updates need a resourceVersion.
    pub(super) const fn conditional_update(mut self) -> Self {
        self.unconditional_update = false;
        self
    }

    /// PUT may create.
    pub(super) const fn creates_on_update(mut self) -> Self {
        self.create_on_update = true;
        self
    }

    /// DELETE answers the object.
    pub(super) const fn returns_deleted(mut self) -> Self {
        self.returns_deleted = true;
        self
    }

    /// Has `metadata.generation`.
    pub(super) const fn generation(mut self) -> Self {
        self.generation = true;
        self
    }

    /// The row as everybody else sees it.
    pub(super) fn resource(&self, on_by_default: bool) -> Resource {
        Resource {
            group: self.group.into(),
            version: self.version.into(),
            plural: self.plural.into(),
            singular: self.kind.to_ascii_lowercase().into(),
            kind: self.kind.into(),
            list_kind: format!("{}List", self.kind).into(),
            namespaced: self.namespaced,
            short_names: names(self.short_names),
            categories: names(self.categories),
            verbs: names(self.verbs),
            subresources: self.subresources.iter().map(|s| self.sub(s)).collect(),
            storage_prefix: self.storage_prefix.into(),
            storage_version: GroupVersion::new(self.storage_version.0, self.storage_version.1),
            custom: self.definitions.is_some(),
            mounted: self.definitions.is_some(),
            definitions: self.definitions,
            on_by_default,
            allow_unconditional_update: self.unconditional_update,
            allow_create_on_update: self.create_on_update,
            returns_deleted_object: self.returns_deleted,
            tracks_generation: self.generation,
            ttl_seconds: self.ttl_seconds,
            selectable_fields: self.fields.iter().map(selectable).collect(),
            special: self.special,
            quirks: self.quirks,
        }
    }

    fn sub(&self, sub: &Sub) -> Subresource {
        let kind = match sub.kind {
            SubKind::Own => GroupVersionKind::new(self.group, self.version, self.kind),
            SubKind::Other(kind) => GroupVersionKind::new(self.group, self.version, kind),
            SubKind::Foreign(group, version, kind) => GroupVersionKind::new(group, version, kind),
        };
        Subresource {
            name: sub.name.into(),
            kind,
            verbs: names(sub.verbs),
            special: sub.special,
        }
    }
}

fn names(names: &'static [&'static str]) -> Vec<Name> {
    names.iter().map(|n| Name::Borrowed(n)).collect()
}

fn selectable(&(label, path, default): &Field) -> SelectableField {
    SelectableField {
        label: label.into(),
        path: path.into(),
        default: default.into(),
    }
}
