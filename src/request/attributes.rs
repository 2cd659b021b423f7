//! `Attributes`: the question that authorization answers.

use crate::request::{RequestInfo, UserInfo};

/// What is asked, by whom. Borrowed: a decision copies nothing.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Who.
    pub user: &'a UserInfo,
    /// `get`, `list`, … or for non-resource paths the lower-cased HTTP method.
    pub verb: &'a str,
    /// Whether this is a resource request.
    pub is_resource: bool,
    /// API group, empty for core.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural resource.
    pub resource: &'a str,
    /// Subresource or empty.
    pub subresource: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Object name or empty.
    pub name: &'a str,
    /// URL path, for non-resource requests.
    pub path: &'a str,
    /// Raw `fieldSelector`, when the verb takes one.
    pub field_selector: &'a str,
    /// Raw `labelSelector`, when the verb takes one.
    pub label_selector: &'a str,
}

impl<'a> Attributes<'a> {
    /// The attributes of a request as it came in.
    pub fn of(info: &'a RequestInfo, user: &'a UserInfo) -> Self {
        Attributes {
            user,
            verb: &info.verb,
            is_resource: info.is_resource,
            group: &info.group,
            version: &info.version,
            resource: &info.resource,
            subresource: &info.subresource,
            namespace: &info.namespace,
            name: &info.name,
            path: &info.path,
            field_selector: &info.field_selector,
            label_selector: &info.label_selector,
        }
    }

    /// A resource question with everything else empty.
    pub fn resource(
        user: &'a UserInfo,
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        namespace: &'a str,
        name: &'a str,
    ) -> Self {
        Attributes {
            user,
            verb,
            is_resource: true,
            group,
            version: "*",
            resource,
            subresource: "",
            namespace,
            name,
            path: "",
            field_selector: "",
            label_selector: "",
        }
    }

    /// `pods` or `pods/log`.
    pub fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            return self.resource.to_string();
        }
        format!("{}/{}", self.resource, self.subresource)
    }
}
