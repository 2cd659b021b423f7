//! The question that a recorded request asked, put to RBAC once more.

use crate::authorization::rbac::Rbac;
use crate::authorization::rbac::explain::Explanation as RbacExplanation;
use crate::base::tree::{Value, from_value};
use crate::request::{Attributes, RequestInfo, UserInfo};

/// Explains decisions. RBAC does; a server without RBAC has none.
pub trait AccessExplainer: Send + Sync {
    /// Why `attributes` are (not) allowed, as of now.
    fn explain(&self, attributes: &Attributes<'_>) -> RbacExplanation;
}

impl AccessExplainer for Rbac {
    fn explain(&self, attributes: &Attributes<'_>) -> RbacExplanation {
        Rbac::explain(self, attributes)
    }
}

/// The user that the request acted as.
pub fn acting_user(event: &Value) -> UserInfo {
    let user = match &event["impersonatedUser"] {
        Value::Null => &event["user"],
        impersonated => impersonated,
    };
    from_value(user.clone()).unwrap_or_default()
}

/// What was asked, as authorization saw it.
pub fn asked(event: &Value) -> RequestInfo {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let object = &event["objectRef"];
    let uri = text(&event["requestURI"]);
    RequestInfo {
        is_resource: object.is_object(),
        path: uri.split('?').next().unwrap_or_default().to_string(),
        verb: text(&event["verb"]),
        group: text(&object["apiGroup"]),
        version: text(&object["apiVersion"]),
        namespace: text(&object["namespace"]),
        resource: text(&object["resource"]),
        subresource: text(&object["subresource"]),
        // The name of a create comes from the body, which authorization has not seen.
        name: match event["verb"] == "create" && object["subresource"].is_null() {
            true => String::new(),
            false => text(&object["name"]),
        },
        ..RequestInfo::default()
    }
}

/// `delete secrets/s in namespace n`.
pub fn in_words(info: &RequestInfo) -> String {
    if !info.is_resource {
        return format!("{} path {}", info.verb, info.path);
    }
    let mut out = format!("{} {}", info.verb, info.resource);
    if !info.subresource.is_empty() {
        out.push_str(&format!("/{}", info.subresource));
    }
    if !info.group.is_empty() {
        out.push_str(&format!(".{}", info.group));
    }
    if !info.name.is_empty() {
        out.push_str(&format!(" {:?}", info.name));
    }
    match info.namespace.as_str() {
        "" => out.push_str(" in the whole cluster"),
        namespace => out.push_str(&format!(" in namespace {namespace}")),
    }
    out
}
