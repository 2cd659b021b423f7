//! Bootstrap roles and bindings: `policy.txt`, and bringing the cluster's up to it.

use futures::{StreamExt, TryStreamExt};

use super::{CONCURRENCY, object};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::authorization::rbac::{GROUP, PolicyRule, rule};
use crate::base::tree::{Map, Value, json};

const POLICY: &str = include_str!("policy.txt");
const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// One object of the policy and the resource it belongs to.
struct Wanted {
    resource: &'static str,
    object: Value,
}

/// Creates what is missing and adds missing rules, subjects and labels to what is there.
pub(super) async fn reconcile(objects: &dyn Objects) -> Result<(), Status> {
    let (roles, bindings): (Vec<Wanted>, Vec<Wanted>) = policy()
        .into_iter()
        .partition(|wanted| wanted.resource.ends_with("roles"));
    for batch in [roles, bindings] {
        futures::stream::iter(batch.into_iter().map(Ok))
            .map(|wanted: Result<Wanted, Status>| async move {
                reconcile_one(objects, wanted?).await
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
    }
    Ok(())
}

async fn reconcile_one(objects: &dyn Objects, wanted: Wanted) -> Result<(), Status> {
    let resource = GroupResource::new(GROUP, wanted.resource);
    let text = |key: &str| {
        wanted.object["metadata"][key]
            .as_str()
            .unwrap_or("")
            .to_string()
    };
    let (namespace, name) = (text("namespace"), text("name"));
    let Some(stored) = objects.get_cached(&resource, &namespace, &name).await? else {
        return match objects.create(&resource, &namespace, wanted.object).await {
            Ok(_) => Ok(()),
            Err(status) if status.reason == "AlreadyExists" => Ok(()),
            Err(status) => Err(status),
        };
    };
    let keeps_out = stored["metadata"]["annotations"][AUTOUPDATE].as_str() == Some("false");
    if keeps_out {
        return Ok(());
    }
    if stored.get("roleRef").is_some() && stored["roleRef"] != wanted.object["roleRef"] {
        objects.delete(&resource, &namespace, &name).await?;
        objects.create(&resource, &namespace, wanted.object).await?;
        return Ok(());
    }
    let mut merged = (*stored).clone();
    merge(&mut merged, &wanted.object);
    if merged == *stored {
        return Ok(());
    }
    match objects.update(&resource, &namespace, merged).await {
        Ok(_) => Ok(()),
        // Another server was quicker; it adds the same.
        Err(status) if status.reason == "Conflict" => Ok(()),
        Err(status) => Err(status),
    }
}

fn merge(stored: &mut Value, wanted: &Value) {
    for part in ["labels", "annotations"] {
        if let Some(members) = wanted["metadata"][part].as_object() {
            for (key, value) in members {
                if stored["metadata"][part][key].is_null() {
                    stored["metadata"][part][key] = value.clone();
                }
            }
        }
    }
    if wanted.get("aggregationRule").is_some() && stored["aggregationRule"].is_null() {
        stored["aggregationRule"] = wanted["aggregationRule"].clone();
    }
    let held = PolicyRule::of_role(stored);
    for rule in PolicyRule::of_role(wanted) {
        if !rule::uncovered(&held, std::slice::from_ref(&rule)).is_empty() {
            push(stored, "rules", json!(rule));
        }
    }
    let subjects = wanted.get("subjects").and_then(Value::as_array);
    for subject in subjects.into_iter().flatten() {
        let known = stored.get("subjects").and_then(Value::as_array);
        if !known.is_some_and(|known| known.contains(subject)) {
            push(stored, "subjects", subject.clone());
        }
    }
}

fn push(object: &mut Value, list: &str, item: Value) {
    match object[list].as_array_mut() {
        Some(items) => items.push(item),
        None => object[list] = json!([item]),
    }
}

/// Rules of a bootstrap cluster role.
pub(super) fn cluster_role_rules(name: &str) -> Vec<PolicyRule> {
    policy()
        .iter()
        .filter(|wanted| wanted.resource == "clusterroles")
        .find(|wanted| wanted.object["metadata"]["name"] == name)
        .map(|wanted| PolicyRule::of_role(&wanted.object))
        .unwrap_or_default()
}

/// The whole policy, in the order of the file.
fn policy() -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for line in POLICY.lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with(' ') {
            if let Some(role) = all.last_mut() {
                push(&mut role.object, "rules", rule_of(&words));
            }
            continue;
        }
        match words.as_slice() {
            ["clusterrole", name, marks @ ..] => all.push(cluster_role(name, marks)),
            ["role", namespace, name] => all.push(Wanted {
                resource: "roles",
                object: bootstrap_object("Role", namespace, name),
            }),
            ["clusterrolebinding", name, role, subjects @ ..] => all.push(binding(
                ("clusterrolebindings", "ClusterRoleBinding", "ClusterRole"),
                ("", name),
                role,
                subjects,
            )),
            ["rolebinding", namespace, name, role, subjects @ ..] => all.push(binding(
                ("rolebindings", "RoleBinding", "Role"),
                (namespace, name),
                role,
                subjects,
            )),
            _ => {}
        }
    }
    all
}

fn bootstrap_object(kind: &str, namespace: &str, name: &str) -> Value {
    let mut object = object(API_VERSION, kind, namespace, name);
    object["metadata"]["labels"] = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    object["metadata"]["annotations"] = json!({AUTOUPDATE: "true"});
    object
}

fn cluster_role(name: &str, marks: &[&str]) -> Wanted {
    let mut object = bootstrap_object("ClusterRole", "", name);
    for mark in marks {
        if let Some(key) = mark.strip_prefix("label=") {
            object["metadata"]["labels"][key] = json!("true");
        }
        if let Some(key) = mark.strip_prefix("aggregate=") {
            let labels = Map::from_iter([(key.to_string(), json!("true"))]);
            object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
            object["rules"] = Value::Null;
        }
    }
    Wanted {
        resource: "clusterroles",
        object,
    }
}

fn binding(
    (resource, kind, role_kind): (&'static str, &str, &str),
    (namespace, name): (&str, &str),
    role: &str,
    subjects: &[&str],
) -> Wanted {
    let mut object = bootstrap_object(kind, namespace, name);
    object["roleRef"] = json!({"apiGroup": GROUP, "kind": role_kind, "name": role});
    for subject in subjects {
        push(&mut object, "subjects", subject_of(subject));
    }
    Wanted { resource, object }
}

fn subject_of(text: &str) -> Value {
    let (kind, name) = text.split_once(':').unwrap_or(("user", text));
    match (kind, name.split_once('/')) {
        ("sa", Some((namespace, name))) => {
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
        ("group", _) => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
        _ => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
    }
}

fn rule_of(words: &[&str]) -> Value {
    let list = |text: &str| -> Vec<String> {
        let items = text.split(',');
        items
            .map(|item| if item == "core" { "" } else { item }.to_string())
            .collect()
    };
    let rule = match words {
        ["url", paths, verbs] => PolicyRule {
            non_resource_urls: list(paths),
            verbs: list(verbs),
            ..PolicyRule::default()
        },
        [groups, resources, verbs, names @ ..] => PolicyRule {
            api_groups: list(groups),
            resources: list(resources),
            verbs: list(verbs),
            resource_names: names.first().map(|names| list(names)).unwrap_or_default(),
            ..PolicyRule::default()
        },
        _ => PolicyRule::default(),
    };
    json!(rule)
}
