//! Conditions of a CSR: who may set which, their times and rules.

use super::super::common::access::{arr_at, at, get, str_at};
use super::super::common::diff;
use super::super::common::golang::{self, Field, Ty};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};

const CONDITION: &[Field] = &[
    ("Type", "type", Ty::Str),
    ("Status", "status", Ty::Str),
    ("Reason", "reason", Ty::Str),
    ("Message", "message", Ty::Str),
    ("LastUpdateTime", "lastUpdateTime", Ty::Nil),
    ("LastTransitionTime", "lastTransitionTime", Ty::Nil),
];

/// The conditions of an object.
pub fn of(object: &Value) -> &[Value] {
    arr_at(get(object, "status"), "conditions")
}

fn typed<'a>(conditions: &'a [Value], kind: &str) -> Vec<&'a Value> {
    conditions
        .iter()
        .filter(|c| str_at(c, "type") == kind)
        .collect()
}

/// Puts the stored Approved and Denied back where as many are written: only /approval changes them.
pub fn preserve_decisions(conditions: &mut [Value], old: &[Value]) {
    for kind in ["Approved", "Denied"] {
        let stored = typed(old, kind);
        let places: Vec<usize> = (0..conditions.len())
            .filter(|&i| str_at(&conditions[i], "type") == kind)
            .collect();
        if places.len() == stored.len() {
            for (place, stored) in places.into_iter().zip(stored) {
                conditions[place] = stored.clone();
            }
        }
    }
}

/// Fills missing times: now, or the stored transition when the status is the same.
pub fn fill_times(conditions: &mut [Value], old: &[Value]) {
    let now = crate::api::time::now();
    for condition in conditions {
        if at(condition, "lastUpdateTime").is_none() {
            condition["lastUpdateTime"] = json!(now);
        }
        if at(condition, "lastTransitionTime").is_some() {
            continue;
        }
        let same = old.iter().find(|stored| {
            str_at(stored, "type") == str_at(condition, "type")
                && str_at(stored, "status") == str_at(condition, "status")
        });
        let kept = same.and_then(|stored| at(stored, "lastTransitionTime"));
        condition["lastTransitionTime"] = kept.cloned().unwrap_or_else(|| json!(now));
    }
}

/// Rules of the conditions themselves.
pub fn validate(conditions: &[Value], errors: &mut FieldErrors) {
    let status = Path::ROOT.field("status");
    let list = status.field("conditions");
    for (i, condition) in conditions.iter().enumerate() {
        let path = list.index(i);
        let kind = str_at(condition, "type");
        let type_path = path.field("type");
        if kind.is_empty() {
            errors.required(&type_path, "");
        }
        validate_status(kind, str_at(condition, "status"), &path, errors);
        let earlier = &conditions[..i];
        let opposite = match kind {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !opposite.is_empty() && !typed(earlier, opposite).is_empty() {
            errors.invalid_str(
                &type_path,
                kind,
                "Approved and Denied conditions are mutually exclusive",
            );
        }
        if !typed(earlier, kind).is_empty() {
            errors.duplicate(&type_path, &kind.into());
        }
    }
}

fn validate_status(kind: &str, status: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.field("status");
    let known: &[&str] = match kind {
        "Approved" | "Denied" | "Failed" => &["True"],
        _ => &["False", "True", "Unknown"],
    };
    if status.is_empty() {
        errors.required(&path, "");
    } else if !known.contains(&status) {
        errors.not_supported(&path, &status.into(), known);
    }
}

/// Rules of changing conditions. Decisions may be made only through /approval, and none of the
/// three final conditions is ever taken back.
pub fn validate_update(new: &[Value], old: &[Value], approval: bool, errors: &mut FieldErrors) {
    let status = Path::ROOT.field("status");
    let path = status.field("conditions");
    for kind in ["Approved", "Denied", "Failed"] {
        let (new, old) = (typed(new, kind), typed(old, kind));
        if new.len() < old.len() {
            errors.forbidden(
                &path,
                format!("updates may not remove a condition of type \"{kind}\""),
            );
            continue;
        }
        if approval || kind == "Failed" {
            continue;
        }
        if new.len() > old.len() {
            errors.forbidden(
                &path,
                format!("updates may not add a condition of type \"{kind}\""),
            );
        } else if new != old {
            let print = |conditions: &[&Value]| -> String {
                let texts: Vec<String> = conditions
                    .iter()
                    .map(|c| golang::indented(Some(c), CONDITION))
                    .collect();
                texts.join("\n")
            };
            let changes = diff::unified(&print(&old), &print(&new));
            errors.forbidden(
                &path,
                format!("updates may not modify a condition of type \"{kind}\"\n{changes}"),
            );
        }
    }
}
