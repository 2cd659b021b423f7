//! Which objects a quota with scopes is about.

use super::pod;
use super::usage::{Evaluator, Kind};
use crate::admission::plugins::{items, text};
use crate::base::tree::{Value, json};

/// Whether an object is in all scopes of a quota. Kinds without scopes are in none.
pub(super) fn match_all(evaluator: &Evaluator, quota: &Value, object: &Value) -> bool {
    let listed =
        items(quota, "/spec/scopes").map(|scope| json!({"scopeName": scope, "operator": "Exists"}));
    let selected = items(quota, "/spec/scopeSelector/matchExpressions").cloned();
    listed
        .chain(selected)
        .all(|requirement| matches(evaluator, &requirement, object))
}

fn matches(evaluator: &Evaluator, requirement: &Value, object: &Value) -> bool {
    match (evaluator.kind, text(requirement, "/scopeName")) {
        (Kind::Pod, "Terminating") => pod::is_terminating(object),
        (Kind::Pod, "NotTerminating") => !pod::is_terminating(object),
        (Kind::Pod, "BestEffort") => pod::is_best_effort(object),
        (Kind::Pod, "NotBestEffort") => !pod::is_best_effort(object),
        (Kind::Pod, "PriorityClass") => {
            let class = text(object, "/spec/priorityClassName");
            let classes: Vec<&str> = [class].into_iter().filter(|c| !c.is_empty()).collect();
            selects(requirement, &classes)
        }
        (Kind::Pod, "CrossNamespacePodAffinity") => crosses_namespaces(object),
        (Kind::Claim, "VolumeAttributesClass") => {
            let names = [
                "/spec/volumeAttributesClassName",
                "/status/currentVolumeAttributesClassName",
                "/status/modifyVolumeStatus/targetVolumeAttributesClassName",
            ];
            let classes: Vec<&str> = names
                .iter()
                .map(|pointer| text(object, pointer))
                .filter(|class| !class.is_empty())
                .collect();
            selects(requirement, &classes)
        }
        _ => false,
    }
}

/// `In`, `NotIn`, `Exists`, `DoesNotExist` on the classes that an object names.
fn selects(requirement: &Value, classes: &[&str]) -> bool {
    let listed = classes
        .iter()
        .any(|class| items(requirement, "/values").any(|value| value == class));
    match text(requirement, "/operator") {
        "In" => listed,
        "NotIn" => !listed,
        "DoesNotExist" => classes.is_empty(),
        _ => !classes.is_empty(),
    }
}

/// Whether a term of an affinity looks into other namespaces.
fn crosses_namespaces(pod: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|affinity| {
        let affinity = &pod["spec"]["affinity"][*affinity];
        let required = items(affinity, "/requiredDuringSchedulingIgnoredDuringExecution");
        let preferred = items(affinity, "/preferredDuringSchedulingIgnoredDuringExecution")
            .map(|weighted| &weighted["podAffinityTerm"]);
        required.chain(preferred).any(|term| {
            items(term, "/namespaces").next().is_some() || term.get("namespaceSelector").is_some()
        })
    })
}
