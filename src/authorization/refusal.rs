//! The words of a refusal (contract/handler_chain.md §8).

use crate::api::names::GroupResource;
use crate::api::status::Status;
use crate::request::Attributes;

/// The 403 that tells `attributes` is not allowed.
pub fn forbidden(attributes: &Attributes<'_>, reason: &str) -> Status {
    let user = &attributes.user.username;
    let verb = attributes.verb;
    let what = if !attributes.is_resource {
        format!("User \"{user}\" cannot {verb} path \"{}\"", attributes.path)
    } else {
        let resource = attributes.full_resource();
        let group = attributes.group;
        let place = match attributes.namespace {
            "" => "at the cluster scope".to_string(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        format!(
            "User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}"
        )
    };
    let mut why = sanitize(&what);
    if !reason.is_empty() {
        why.push_str(": ");
        why.push_str(reason);
    }
    let resource = GroupResource::new(
        attributes.group.to_string(),
        attributes.resource.to_string(),
    );
    Status::forbidden(&resource, attributes.name, &why)
}

/// Escapes what a browser could take for markup.
pub fn sanitize(text: &str) -> String {
    if !text.contains(['&', '<', '>']) {
        return text.to_string();
    }
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
