//! From what people type (`deploy/web`, `Pod/a`, `widgets.x.test/b`) to a resource.
//!
//! Built-in kinds are known here; custom ones are looked up in the server's discovery.

use crate::base::tree::Value;
use crate::cli::source::Source;
use crate::registry::table::builtin;

/// A resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group, empty for core.
    pub group: String,
    /// Plural.
    pub plural: String,
    /// Whether its objects live in namespaces; `None` when nobody knows.
    pub namespaced: Option<bool>,
}

impl Kind {
    /// `deployments.apps`.
    pub fn full_name(&self) -> String {
        match self.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }
}

/// Finds the resource called `text`: plural, singular, short name or kind, with or without its group.
/// What is known nowhere is taken for a plural.
pub async fn find(source: &Source, text: &str) -> Kind {
    let (name, group) = match text.split_once('.') {
        Some((name, group)) => (name.to_lowercase(), Some(group.to_string())),
        None => (text.to_lowercase(), None),
    };
    if let Some(kind) = find_builtin(&name, group.as_deref()) {
        return kind;
    }
    // A server that has no discovery (files, a collector) knows no better.
    let discovery = source.get("/apis").await.unwrap_or_default();
    let found = find_custom(source, &discovery, &name, group.as_deref()).await;
    found.unwrap_or(Kind {
        group: group.unwrap_or_default(),
        plural: name,
        namespaced: None,
    })
}

fn find_builtin(name: &str, group: Option<&str>) -> Option<Kind> {
    let row = builtin().iter().find(|row| {
        // core Events also are events.k8s.io Events; the record has both under their own group.
        group.is_none_or(|g| *g == *row.group)
            && (row.plural == name
                || row.singular == name
                || row.kind.eq_ignore_ascii_case(name)
                || row.short_names.iter().any(|s| s == name))
    })?;
    Some(Kind {
        group: row.group.to_string(),
        plural: row.plural.to_string(),
        namespaced: Some(row.namespaced),
    })
}

async fn find_custom(
    source: &Source,
    discovery: &Value,
    name: &str,
    wanted: Option<&str>,
) -> Option<Kind> {
    for group in discovery["groups"].as_array()? {
        let group_name = group["name"].as_str()?;
        if wanted.is_some_and(|w| w != group_name) {
            continue;
        }
        let version = group["preferredVersion"]["groupVersion"].as_str()?;
        let list = source.get(&format!("/apis/{version}")).await.ok()?;
        let resources = list["resources"].as_array().into_iter().flatten();
        for resource in resources {
            let is = |member: &str| {
                let text = resource[member].as_str().unwrap_or_default();
                text.eq_ignore_ascii_case(name)
            };
            let short = resource["shortNames"].as_array().into_iter().flatten();
            let is_short = short.into_iter().any(|s| s == name);
            if is("name") || is("singularName") || is("kind") || is_short {
                return Some(Kind {
                    group: group_name.to_string(),
                    plural: resource["name"].as_str()?.to_string(),
                    namespaced: resource["namespaced"].as_bool(),
                });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_kinds_by_any_name() {
        for (text, group, expected) in [
            ("deploy", None, "deployments.apps"),
            ("deployment", None, "deployments.apps"),
            ("deployments", Some("apps"), "deployments.apps"),
            ("po", None, "pods"),
            ("configmap", None, "configmaps"),
            ("events", Some("events.k8s.io"), "events.events.k8s.io"),
        ] {
            let kind = find_builtin(text, group).expect(text);
            assert_eq!(kind.full_name(), expected);
        }
        assert_eq!(find_builtin("widget", None), None);
    }
}
