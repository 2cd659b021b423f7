//! Group, version, kind and resource names, displayed as Kubernetes displays them.
//!
//! `Cow` because built-in names are static and those of custom resources are owned.

use std::borrow::Cow;
use std::fmt;

/// A short string that is either static (built-in) or owned (custom resource).
pub type Name = Cow<'static, str>;

/// `group` and `resource`; displays as `pods` or `deployments.apps`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// API group, empty for core.
    pub group: Name,
    /// Plural resource name; error texts may carry a subresource (`pods/binding`).
    pub resource: Name,
}

/// `group` and `kind`; displays as `Pod` or `Deployment.apps`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKind {
    /// API group, empty for core.
    pub group: Name,
    /// Kind.
    pub kind: Name,
}

/// `group` and `version`; displays as `v1` or `apps/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    /// API group, empty for core.
    pub group: Name,
    /// Version.
    pub version: Name,
}

/// Group, version and kind; displays as Go's `schema.GroupVersionKind` does: `apps/v1, Kind=Deployment`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// API group, empty for core.
    pub group: Name,
    /// Version.
    pub version: Name,
    /// Kind.
    pub kind: Name,
}

/// Group, version and resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionResource {
    /// API group, empty for core.
    pub group: Name,
    /// Version.
    pub version: Name,
    /// Plural resource name.
    pub resource: Name,
}

impl GroupResource {
    /// From its parts.
    pub fn new(group: impl Into<Name>, resource: impl Into<Name>) -> Self {
        GroupResource {
            group: group.into(),
            resource: resource.into(),
        }
    }
}

impl GroupKind {
    /// From its parts.
    pub fn new(group: impl Into<Name>, kind: impl Into<Name>) -> Self {
        GroupKind {
            group: group.into(),
            kind: kind.into(),
        }
    }
}

impl GroupVersion {
    /// From its parts.
    pub fn new(group: impl Into<Name>, version: impl Into<Name>) -> Self {
        GroupVersion {
            group: group.into(),
            version: version.into(),
        }
    }

    /// Parses `v1` or `apps/v1`. `None` when there is more than one slash.
    pub fn parse(api_version: &str) -> Option<Self> {
        match api_version.split_once('/') {
            None => Some(Self::new("", api_version.to_string())),
            Some((_, version)) if version.contains('/') => None,
            Some((group, version)) => Some(Self::new(group.to_string(), version.to_string())),
        }
    }
}

impl GroupVersionKind {
    /// From its parts.
    pub fn new(group: impl Into<Name>, version: impl Into<Name>, kind: impl Into<Name>) -> Self {
        GroupVersionKind {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    /// The group and version part.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion::new(self.group.clone(), self.version.clone())
    }

    /// The group and kind part.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group.clone(), self.kind.clone())
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            return f.write_str(&self.resource);
        }
        write!(f, "{}.{}", self.resource, self.group)
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            return f.write_str(&self.kind);
        }
        write!(f, "{}.{}", self.kind, self.group)
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            return f.write_str(&self.version);
        }
        write!(f, "{}/{}", self.group, self.version)
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}
