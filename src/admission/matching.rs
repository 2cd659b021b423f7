//! `Criteria`: whether a webhook or policy is about a request, by rules and selectors.

use std::borrow::Cow;
use std::sync::Arc;

use crate::admission::{Admission, Kinds, Operation};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::resource::Resource;
use crate::api::selector::LabelSelector;
use crate::api::status::Status;
use crate::base::tree::Value;

/// Resources that webhooks and policies never see, so that a bad one can be removed.
const EXEMPT: [&str; 6] = [
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
];

/// Whether a write is one that webhooks and policies never see.
pub(super) fn is_exempt(admission: &Admission<'_>) -> bool {
    admission.resource.group == "admissionregistration.k8s.io"
        && EXEMPT.contains(&&*admission.resource.plural)
}

/// What a webhook or policy is about.
pub(super) struct Criteria {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Other versions of a resource match as well.
    matches_equivalent: bool,
    namespaces: LabelSelector,
    objects: LabelSelector,
    /// Without rules everything matches (bindings), or nothing (webhooks).
    matches_without_rules: bool,
}

struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
    /// Names of objects; empty for all.
    names: Vec<String>,
}

/// Where the criteria look.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) kinds: &'a dyn Kinds,
    pub(super) objects: &'a dyn Objects,
}

/// A request matches: in which version it is to be shown.
#[derive(Clone)]
pub(super) struct Matched {
    /// Row of that version; `None` when it is the request's own.
    as_version: Option<Arc<Resource>>,
}

impl Matched {
    /// Row of the version to show.
    pub(super) fn version<'a>(&'a self, requested: &'a Resource) -> &'a Resource {
        self.as_version.as_deref().unwrap_or(requested)
    }
}

/// Texts of a list.
pub(super) fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_string))
        .collect()
}

impl Rule {
    fn parse(rule: &Value) -> Self {
        Rule {
            operations: texts(&rule["operations"]),
            groups: texts(&rule["apiGroups"]),
            versions: texts(&rule["apiVersions"]),
            resources: texts(&rule["resources"]),
            scope: rule["scope"].as_str().unwrap_or("*").to_string(),
            names: texts(&rule["resourceNames"]),
        }
    }

    fn matches(&self, admission: &Admission<'_>, resource: &Resource) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|i| i == "*" || i == value);
        has(&self.operations, admission.operation.name())
            && has(&self.groups, &resource.group)
            && has(&self.versions, &resource.version)
            && self
                .resources
                .iter()
                .any(|pattern| resource_matches(pattern, &resource.plural, admission.subresource))
            && scope_matches(&self.scope, admission)
            && (self.names.is_empty() || self.names.iter().any(|n| n == name_of(admission)))
    }
}

impl Criteria {
    /// Of a webhook.
    pub(super) fn of_webhook(hook: &Value) -> Self {
        Self::parse(hook, "rules", false)
    }

    /// A `MatchResources` of a policy or binding.
    pub(super) fn of_policy(resources: &Value) -> Self {
        Self::parse(resources, "resourceRules", true)
    }

    fn parse(value: &Value, rules: &str, matches_without_rules: bool) -> Self {
        let list = |key: &str| {
            let rules = value[key].as_array().into_iter().flatten();
            rules.map(Rule::parse).collect()
        };
        let selector = |key: &str| LabelSelector::from_object(&value[key]).unwrap_or_default();
        Criteria {
            rules: list(rules),
            excluded: list("excludeResourceRules"),
            matches_equivalent: value["matchPolicy"].as_str() != Some("Exact"),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            matches_without_rules,
        }
    }

    /// Decides; what costs most last.
    ///
    /// # Errors
    /// The client's answer when the request's namespace is not known.
    pub(super) async fn find(
        &self,
        sources: Sources<'_>,
        admission: &Admission<'_>,
    ) -> Result<Option<Matched>, Status> {
        let matched = match self.rules.is_empty() && self.matches_without_rules {
            true => Some(Matched { as_version: None }),
            false => self.by_rules(&self.rules, sources.kinds, admission),
        };
        let Some(matched) = matched else {
            return Ok(None);
        };
        let is_excluded = self
            .by_rules(&self.excluded, sources.kinds, admission)
            .is_some();
        if is_excluded || !self.object_matches(admission) {
            return Ok(None);
        }
        let applies = self.namespace_matches(sources.objects, admission).await?;
        Ok(applies.then_some(matched))
    }

    fn by_rules(
        &self,
        rules: &[Rule],
        kinds: &dyn Kinds,
        admission: &Admission<'_>,
    ) -> Option<Matched> {
        let own = admission.resource;
        if rules.iter().any(|rule| rule.matches(admission, own)) {
            return Some(Matched { as_version: None });
        }
        if rules.is_empty() || !self.matches_equivalent {
            return None;
        }
        let equivalents = kinds.equivalents(own);
        rules.iter().find_map(|rule| {
            let other = equivalents.iter().find(|other| {
                (&other.group, &other.version) != (&own.group, &own.version)
                    && rule.matches(admission, other)
            });
            other.map(|other| Matched {
                as_version: Some(other.clone()),
            })
        })
    }

    async fn namespace_matches(
        &self,
        objects: &dyn Objects,
        admission: &Admission<'_>,
    ) -> Result<bool, Status> {
        let name = namespace_of(admission);
        if self.namespaces.is_empty() || (name.is_empty() && !is_namespace(admission)) {
            return Ok(true);
        }
        let carries_labels = is_namespace(admission)
            && admission.subresource.is_empty()
            && matches!(admission.operation, Operation::Create | Operation::Update);
        if carries_labels {
            return Ok(self.namespaces.matches_object(admission.object));
        }
        let namespace = namespace_object(objects, name).await?;
        Ok(self.namespaces.matches_object(&namespace))
    }

    /// Either object will do.
    fn object_matches(&self, admission: &Admission<'_>) -> bool {
        let matches = |object: &Value| !object.is_null() && self.objects.matches_object(object);
        self.objects.is_empty()
            || matches(admission.object)
            || admission.old_object.is_some_and(matches)
    }
}

/// A namespace from the cache, or from the store where the cache is behind.
///
/// # Errors
/// 404 when there is none.
pub(super) async fn namespace_object(
    objects: &dyn Objects,
    name: &str,
) -> Result<Arc<Value>, Status> {
    let namespaces = GroupResource::new("", "namespaces");
    let internal = |error: Status| Status::internal(&error.message);
    let cached = objects.get_cached(&namespaces, "", name).await;
    if let Some(namespace) = cached.map_err(internal)? {
        return Ok(namespace);
    }
    let live = objects.get(&namespaces, "", name).await.map_err(internal)?;
    live.ok_or_else(|| Status::not_found(&namespaces, name))
}

/// `pods`, `pods/log`, `pods/*`, `*/scale`, `*` (no subresources) and `*/*`.
fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    let (wanted, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    (wanted == "*" || wanted == resource) && (sub == "*" || sub == subresource)
}

fn scope_matches(scope: &str, admission: &Admission<'_>) -> bool {
    // A namespace is cluster-scoped although its requests carry it as their namespace.
    let is_cluster = is_namespace(admission) || admission.namespace.is_empty();
    match scope {
        "Namespaced" => !is_cluster,
        "Cluster" => is_cluster,
        _ => true,
    }
}

/// Whether the request is about a namespace.
pub(super) fn is_namespace(admission: &Admission<'_>) -> bool {
    admission.resource.group.is_empty() && admission.resource.plural == "namespaces"
}

/// The namespace of the request; of requests about a namespace that exists, the namespace itself.
pub(super) fn namespace_of<'a>(admission: &Admission<'a>) -> &'a str {
    match is_namespace(admission) && admission.operation != Operation::Create {
        true => admission.name,
        false => admission.namespace,
    }
}

/// The name of the object, as far as the request knew it.
pub(super) fn name_of<'a>(admission: &Admission<'a>) -> &'a str {
    match admission.name_is_generated {
        true => "",
        false => admission.name,
    }
}

/// An object of the request in the version to show; null stays null.
pub(super) fn presented<'a>(
    kinds: &dyn Kinds,
    admission: &Admission<'_>,
    object: &'a Value,
    to: &Resource,
) -> Cow<'a, Value> {
    if object.is_null() {
        return Cow::Borrowed(object);
    }
    kinds.present(admission.resource, admission.subresource, object, to)
}

#[cfg(test)]
mod tests {
    use super::resource_matches;

    #[test]
    fn resource_patterns() {
        for (pattern, resource, subresource, want) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/status", "pods", "status", true),
            ("pods/*", "pods", "status", true),
            ("pods/*", "pods", "", true),
            ("*", "pods", "", true),
            ("*", "pods", "status", false),
            ("*/scale", "deployments", "scale", true),
            ("*/scale", "deployments", "", false),
            ("*/*", "deployments", "", true),
            ("*/*", "deployments", "scale", true),
        ] {
            let got = resource_matches(pattern, resource, subresource);
            assert_eq!(got, want, "{pattern} {resource}/{subresource}");
        }
    }
}
