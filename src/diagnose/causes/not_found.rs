//! 404: no such object, or nothing is served at the path.

use super::Answer;
use crate::diagnose::cause::{Cause, Class};

pub(super) fn cause(answer: &Answer<'_>) -> Cause {
    let object = &answer.event["objectRef"];
    // The router's own answers name no object: plain text, or a Status with empty details.
    let names_object = answer.details()["name"].is_string() || answer.details()["kind"].is_string();
    if !object.is_object() || !names_object {
        let what = answer.event["requestURI"].as_str().unwrap_or_default();
        return Cause::certain(
            Class::UnknownResource,
            "router",
            format!("nothing is served at {what}"),
        )
        .fix("kubectl api-resources and kubectl api-versions list what is served")
        .fix("a custom resource needs its definition: kubectl get customresourcedefinitions");
    }
    let missing = answer.details()["kind"].as_str().unwrap_or_default();
    let is_another = |of: &str, detail: &str| {
        let (asked, missing) = (object[of].as_str(), answer.details()[detail].as_str());
        asked.is_some() && missing.is_some() && asked != missing
    };
    let is_other = is_another("resource", "kind") || is_another("name", "name");
    let text = match is_other {
        true => format!("what it refers to does not exist: {}", answer.message),
        false => format!("there is no such object: {}", answer.message),
    };
    Cause::certain(Class::NotFound, "store", text)
        .detail(missing)
        .fix(format!(
            "check name and namespace: kubectl get {}",
            answer.object_of_kubectl()
        ))
        .fix(format!(
            "verbatim search '{} verb:delete' tells whether somebody deleted it",
            answer.object_query()
        ))
}
