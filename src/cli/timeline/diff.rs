//! What differs between two objects, as lines `path: before → after`.
//!
//! Objects are taken apart into leaves. Items of lists are named by their `name` (or the like) where
//! they have one, so that an item that moved is not a change.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::tree::Value;

/// Members that change with every write and say nothing.
const BOOKKEEPING: [&str; 6] = [
    "metadata.managedFields",
    "metadata.resourceVersion",
    "metadata.generation",
    "metadata.selfLink",
    "apiVersion",
    "kind",
];
/// What items of lists are called by.
const NAMES: [&str; 6] = ["name", "key", "type", "containerPort", "port", "ip"];
/// Longer values are cut in the middle of nowhere.
const VALUE_CHARS_MAX: usize = 160;

/// One leaf that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Dotted path.
    pub path: String,
    /// Value before; absent when it was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Value after; absent when it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Compares two objects; null is an object without members.
pub fn diff(before: &Value, after: &Value) -> Vec<Change> {
    let (before, after) = (leaves(before), leaves(after));
    let mut changes = Vec::new();
    for (path, old) in &before {
        let new = after.get(path);
        if new != Some(old) {
            changes.push(Change {
                path: path.clone(),
                before: Some(old.clone()),
                after: new.cloned(),
            });
        }
    }
    for (path, new) in &after {
        if !before.contains_key(path) {
            changes.push(Change {
                path: path.clone(),
                before: None,
                after: Some(new.clone()),
            });
        }
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

/// What a patch says, as if everything it names were new: a JSON Patch operation by operation, any
/// other by its leaves; null removes.
pub fn of_patch(patch: &Value) -> Vec<Change> {
    let Value::Array(operations) = patch else {
        return leaves(patch)
            .into_iter()
            .map(|(path, value)| match value.as_str() {
                "null" => Change {
                    path,
                    before: Some("…".into()),
                    after: None,
                },
                _ => Change {
                    path,
                    before: None,
                    after: Some(value),
                },
            })
            .collect();
    };
    let changes = operations.iter().map(|operation| {
        let path = operation["path"].as_str().unwrap_or_default();
        let path = path.trim_start_matches('/').replace('/', ".");
        let (before, after) = match operation["op"].as_str() {
            Some("remove") => (Some("…".to_string()), None),
            Some("test") => (
                Some(print(&operation["value"])),
                Some("(must be so)".into()),
            ),
            Some("move" | "copy") => (None, Some(format!("from {}", operation["from"]))),
            _ => (None, Some(print(&operation["value"]))),
        };
        Change {
            path: path.replace("~1", "/").replace("~0", "~"),
            before,
            after,
        }
    });
    changes.collect()
}

fn leaves(object: &Value) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    take_apart(object, String::new(), &mut out);
    out
}

fn take_apart(value: &Value, path: String, out: &mut BTreeMap<String, String>) {
    if BOOKKEEPING.contains(&path.as_str()) {
        return;
    }
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let plain = name
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
                let path = match (path.as_str(), plain) {
                    ("", _) => name.to_string(),
                    (path, true) => format!("{path}.{name}"),
                    (path, false) => format!("{path}[{name}]"),
                };
                take_apart(member, path, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                take_apart(item, format!("{path}[{}]", called(items, item, index)), out);
            }
        }
        Value::Null if path.is_empty() => {}
        leaf => drop(out.insert(path, print(leaf))),
    }
}

/// The name of an item where all have different ones, else its place.
fn called(items: &[Value], item: &Value, index: usize) -> String {
    for name in NAMES {
        let Some(value) = item.get(name) else {
            continue;
        };
        let is_alone = items.iter().filter(|i| i.get(name) == Some(value)).count() == 1;
        if is_alone && items.iter().all(|i| i.get(name).is_some()) {
            return match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
        }
    }
    index.to_string()
}

fn print(value: &Value) -> String {
    let text = match value {
        Value::String(text) if !text.is_empty() && !text.contains('\n') => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use crate::base::tree::json;

    use super::*;

    fn lines(changes: &[Change]) -> Vec<String> {
        let show = |v: &Option<String>| v.clone().unwrap_or_default();
        changes
            .iter()
            .map(|c| format!("{}: {} > {}", c.path, show(&c.before), show(&c.after)))
            .collect()
    }

    #[test]
    fn leaves_that_differ() {
        let before = json!({
            "metadata": {"resourceVersion": "1", "labels": {"a/b": "x"}},
            "spec": {"replicas": 2, "containers": [{"name": "b", "image": "b:1"}, {"name": "a", "image": "a:1"}]},
        });
        let after = json!({
            "metadata": {"resourceVersion": "2", "labels": {"a/b": "y", "new": ""}},
            "spec": {"containers": [{"name": "a", "image": "a:2"}, {"name": "b", "image": "b:1"}]},
        });
        assert_eq!(
            lines(&diff(&before, &after)),
            [
                "metadata.labels.new:  > \"\"",
                "metadata.labels[a/b]: x > y",
                "spec.containers[a].image: a:1 > a:2",
                "spec.replicas: 2 > ",
            ]
        );
        assert!(diff(&before, &before).is_empty());
    }

    #[test]
    fn patches() {
        let merge = json!({"spec": {"replicas": 3, "paused": null}});
        assert_eq!(
            lines(&of_patch(&merge)),
            ["spec.paused: … > ", "spec.replicas:  > 3"]
        );
        let operations = json!([{"op": "replace", "path": "/data/a~1b", "value": "1"}, {"op": "remove", "path": "/data/c"}]);
        assert_eq!(
            lines(&of_patch(&operations)),
            ["data.a/b:  > 1", "data.c: … > "]
        );
    }
}
