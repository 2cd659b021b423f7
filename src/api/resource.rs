//! `Resource`: one row of the resource table. Plain data, so that every level may look at it.
//!
//! The rows of built-in kinds are in `registry::table`; custom resources and Verbatim's own kinds
//! add rows at run time. What cannot be data (defaults, validation) is the row's strategy, which
//! `registry` keeps beside it.

use std::sync::LazyLock;

use crate::api::names::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, Name};
use crate::api::schema::Definitions;

/// One served (group, version, resource).
#[derive(Clone, Debug)]
pub struct Resource {
    /// API group, empty for core.
    pub group: Name,
    /// Version of this row.
    pub version: Name,
    /// Plural, as in the URL.
    pub plural: Name,
    /// Singular.
    pub singular: Name,
    /// Kind.
    pub kind: Name,
    /// Kind of the list; `<Kind>List` except where upstream differs.
    pub list_kind: Name,
    /// Namespaced or cluster-scoped.
    pub namespaced: bool,
    /// Short names for kubectl.
    pub short_names: Vec<Name>,
    /// Categories for kubectl (`all`).
    pub categories: Vec<Name>,
    /// Verbs of the main resource, sorted, as discovery lists them.
    pub verbs: Vec<Name>,
    /// Subresources, sorted by name.
    pub subresources: Vec<Subresource>,
    /// Storage key prefix below the store's prefix, without slashes at its ends (`services/specs`).
    /// Empty for virtual resources that store nothing (reviews, bindings).
    pub storage_prefix: Name,
    /// The version that is written to storage.
    pub storage_version: GroupVersion,
    /// Whether the row is a custom resource: JSON and YAML only, named as custom resources are.
    pub custom: bool,
    /// Whether a mount answers instead of the registry: its objects are computed, not stored.
    pub mounted: bool,
    /// The schemas of the kind, where the built-in ones lack it.
    pub definitions: Option<&'static LazyLock<Definitions>>,
    /// Whether it is served without `--runtime-config`.
    pub on_by_default: bool,
    /// Update without resourceVersion overwrites.
    pub allow_unconditional_update: bool,
    /// PUT of a missing object creates it.
    pub allow_create_on_update: bool,
    /// DELETE answers the object instead of a Status.
    pub returns_deleted_object: bool,
    /// `metadata.generation` counts changes of the spec.
    pub tracks_generation: bool,
    /// Time to live after each write, in seconds (events); zero for none.
    pub ttl_seconds: u32,
    /// Selectable fields beside `metadata.name` and `metadata.namespace`: label as in the query and
    /// the path in the object, dot separated.
    pub selectable_fields: Vec<SelectableField>,
    /// What answers instead of the store, for virtual resources.
    pub special: Option<Special>,
    /// Facts that few rows differ in.
    pub quirks: Quirks,
}

/// Facts about a row in which only a few kinds differ from the common one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Warning that every request to the row gets, because its version is deprecated.
    pub deprecation: Option<&'static str>,
    /// Unknown field labels are refused in the words of the older conversion functions, which name
    /// the kind.
    pub field_error_names_kind: bool,
    /// The singular in "not found" texts, where upstream uses it in place of the plural.
    pub not_found_as: Option<&'static str>,
}

/// A resource or subresource that is answered by something else than reads and writes of stored
/// objects of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// The replicas of a workload, as a Scale.
    Scale,
    /// Sets a pod's node.
    Binding,
    /// Deletes a pod if its disruption budget allows.
    Eviction,
    /// Health of the server's parts.
    ComponentStatuses,
    /// Issues a service account token.
    TokenRequest,
    /// Answers a review.
    Review(Review),
    /// A connection to something outside.
    Connect(Connect),
    /// Computed by a part of the server that is mounted.
    Mounted,
}

/// The reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// TokenReview.
    Token,
    /// SelfSubjectReview.
    SelfSubject,
    /// SubjectAccessReview.
    SubjectAccess,
    /// LocalSubjectAccessReview.
    LocalSubjectAccess,
    /// SelfSubjectAccessReview.
    SelfSubjectAccess,
    /// SelfSubjectRulesReview.
    SelfSubjectRules,
}

/// Where a connect subresource leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// The log of a container, at the pod's kubelet.
    Log,
    /// A command in a container, at the pod's kubelet.
    Exec,
    /// The main process of a container, at the pod's kubelet.
    Attach,
    /// Ports of a pod, at its kubelet.
    PortForward,
    /// HTTP to the pod itself.
    ProxyPod,
    /// HTTP to an endpoint of the service.
    ProxyService,
    /// HTTP to the node, which is its kubelet unless a port is named.
    ProxyNode,
}

/// One selectable field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectableField {
    /// Name in `fieldSelector`.
    pub label: Name,
    /// Dotted path in the object whose value, printed, is compared; missing prints as `default`.
    pub path: Name,
    /// What a missing field compares as (`""`, `false`, `0`).
    pub default: Name,
}

/// One subresource of a row.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// Name, for example `status`.
    pub name: Name,
    /// Kind it speaks; group and version are those of the row unless the kind is foreign (Scale).
    pub kind: GroupVersionKind,
    /// Verbs, sorted.
    pub verbs: Vec<Name>,
    /// What answers instead of the store.
    pub special: Option<Special>,
}

impl Connect {
    /// Whether more path may follow, and any HTTP method is passed on.
    pub fn takes_path(self) -> bool {
        matches!(
            self,
            Connect::ProxyPod | Connect::ProxyService | Connect::ProxyNode
        )
    }
}

impl Resource {
    /// Group and resource, for error texts.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group.clone(), self.plural.clone())
    }

    /// Group and kind, for error texts.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group.clone(), self.kind.clone())
    }

    /// Kind and the group it is stored in, which is what validation errors name: an Event of
    /// events.k8s.io is a core Event there.
    pub fn internal_group_kind(&self) -> GroupKind {
        GroupKind::new(self.storage_version.group.clone(), self.kind.clone())
    }

    /// Group and version.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion::new(self.group.clone(), self.version.clone())
    }

    /// Group, version and kind.
    pub fn group_version_kind(&self) -> GroupVersionKind {
        GroupVersionKind::new(self.group.clone(), self.version.clone(), self.kind.clone())
    }

    /// Whether the main resource has `verb`.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// The subresource called `name`.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// What answers a request for `subresource` (or the row itself) instead of the store.
    pub fn special(&self, subresource: &str) -> Option<Special> {
        match subresource {
            "" => self.special,
            name => self.subresource(name)?.special,
        }
    }

    /// Group and resource as "not found" texts name them.
    pub fn not_found_resource(&self) -> GroupResource {
        let named = self.quirks.not_found_as.map(Name::Borrowed);
        GroupResource::new(
            self.group.clone(),
            named.unwrap_or_else(|| self.plural.clone()),
        )
    }

    /// Whether the row has a `status` subresource.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }
}
