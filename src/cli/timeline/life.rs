//! From the events about an object to the steps of its life.

use serde::Serialize;

use crate::base::tree::Value;
use crate::cli::timeline::diff::{Change, diff, of_patch};
use crate::search::table::{cells, trace};

/// What a request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It made the object.
    Created,
    /// It changed it.
    Changed,
    /// It wrote what was there already.
    Unchanged,
    /// It deleted it.
    Deleted,
    /// It asked for deletion; finalizers or a grace period hold the object.
    DeletionBegun,
    /// A deletion of a whole collection, which may have been about this object too.
    MaybeDeleted,
    /// It was tried with dryRun.
    DryRun,
    /// It was refused or failed.
    Rejected,
    /// Whether it changed anything is not recorded.
    Written,
}

impl Outcome {
    /// The mark in front of the line.
    pub fn mark(self) -> &'static str {
        match self {
            Outcome::Created => "+",
            Outcome::Changed | Outcome::Written => "~",
            Outcome::Unchanged => "=",
            Outcome::Deleted | Outcome::DeletionBegun => "-",
            Outcome::MaybeDeleted | Outcome::DryRun => "?",
            Outcome::Rejected => "!",
        }
    }

    /// In words, where the mark and the verb do not say it.
    pub fn words(self) -> &'static str {
        match self {
            Outcome::Unchanged => "changed nothing",
            Outcome::DeletionBegun => "deletion begun; it waits for finalizers or its grace period",
            Outcome::MaybeDeleted => "deleted a collection that may have held it",
            Outcome::DryRun => "dry run: nothing was stored",
            Outcome::Rejected => "rejected",
            _ => "",
        }
    }
}

/// One request about the object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// When it was answered.
    pub time: String,
    /// What it did.
    pub outcome: Outcome,
    /// Verb, with the subresource: `patch/scale`.
    pub verb: String,
    /// Status code.
    pub code: u64,
    /// Who; behind the arrow whom they impersonated.
    pub user: String,
    /// Program.
    pub client: String,
    /// From where.
    pub ip: String,
    /// For `verbatim why`.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// UID of the object, where the event shows it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Field manager.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manager: String,
    /// What was answered to a request that failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What changed, or would have.
    pub changes: Vec<Change>,
    /// Whether the bodies that would show changes were recorded.
    pub bodies: bool,
}

/// The steps, from events in the order they happened.
pub fn steps(events: &[Value], name: &str) -> Vec<Step> {
    let mut state = Value::Null;
    let mut last_uid = String::new();
    let steps = events.iter().filter_map(|event| {
        let mut step = step(event, name, &state)?;
        if step.uid.is_empty() && step.outcome != Outcome::Created {
            step.uid.clone_from(&last_uid);
        }
        last_uid.clone_from(&step.uid);
        remember(&mut state, event, step.outcome);
        Some(step)
    });
    steps.collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

/// `None` for a deletion of a collection that, as its answer shows, did not hold the object, and for
/// a creation under a generated name that was another one.
fn step(event: &Value, name: &str, state: &Value) -> Option<Step> {
    let object = &event["objectRef"];
    let (asked, answered) = (&event["requestObject"], &event["responseObject"]);
    let verb = text(&event["verb"]);
    let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
    let facts = trace(event);
    let is_named = object["name"] == *name;
    if verb == "create" && !is_named && answered["metadata"]["name"] != *name {
        return None;
    }
    if verb == "deletecollection"
        && let Some(items) = answered["items"].as_array()
        && !items.iter().any(|i| i["metadata"]["name"] == *name)
    {
        return None;
    }
    let outcome = outcome(event, &facts, code);
    let attempted = match outcome {
        Outcome::Rejected | Outcome::DryRun => true,
        Outcome::Created | Outcome::Changed | Outcome::Written => false,
        _ => return Some(finish(event, &facts, outcome, code, Vec::new(), true)),
    };
    let whole = match (attempted, verb.as_str()) {
        _ if !object["subresource"].is_null() => None,
        (false, _) if answered.is_object() && answered["kind"] != "Status" => Some(answered),
        (_, "create" | "update") if asked.is_object() => Some(asked),
        _ => None,
    };
    let changes = match whole {
        Some(after) if !state.is_null() || outcome == Outcome::Created || verb == "create" => {
            let before = if verb == "create" {
                &Value::Null
            } else {
                state
            };
            diff(&without_status(before), &without_status(after))
        }
        _ if asked.is_null() => Vec::new(),
        _ if asked["kind"] == "DeleteOptions" => Vec::new(),
        _ => of_patch(&without_status(asked)),
    };
    let has_bodies = whole.is_some() || !asked.is_null();
    Some(finish(event, &facts, outcome, code, changes, has_bodies))
}

fn outcome(event: &Value, facts: &Value, code: u64) -> Outcome {
    let answered = &event["responseObject"];
    if code >= 400 || event["stage"] == "Panic" || code == 0 {
        return Outcome::Rejected;
    }
    if facts["dryRun"] == true
        || event["requestURI"]
            .as_str()
            .is_some_and(|u| u.contains("dryRun=All"))
    {
        return Outcome::DryRun;
    }
    if facts["noOp"] == true {
        return Outcome::Unchanged;
    }
    let is_main = event["objectRef"]["subresource"].is_null();
    match event["verb"].as_str().unwrap_or_default() {
        "create" if is_main => Outcome::Created,
        // Server-side apply and PUT answer 201 when they create.
        "patch" | "update" if code == 201 => Outcome::Created,
        "deletecollection" => match answered["items"].is_array() {
            true => Outcome::Deleted,
            false => Outcome::MaybeDeleted,
        },
        "delete" => match answered["metadata"]["deletionTimestamp"].is_null() {
            true => Outcome::Deleted,
            false => Outcome::DeletionBegun,
        },
        _ if answered.is_object() => Outcome::Changed,
        _ => Outcome::Written,
    }
}

fn finish(
    event: &Value,
    facts: &Value,
    outcome: Outcome,
    code: u64,
    changes: Vec<Change>,
    bodies: bool,
) -> Step {
    let [time, user, ..] = cells(event);
    let object = &event["objectRef"];
    let verb = match object["subresource"].as_str() {
        Some(subresource) => format!("{}/{subresource}", text(&event["verb"])),
        None => text(&event["verb"]),
    };
    let uid = [
        &event["responseObject"]["metadata"]["uid"],
        &event["responseObject"]["details"]["uid"],
        &object["uid"],
    ];
    let uid = uid.into_iter().find_map(Value::as_str).unwrap_or_default();
    Step {
        time,
        outcome,
        verb,
        code,
        user,
        client: text(&event["userAgent"])
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_string(),
        ip: text(&event["sourceIPs"][0]),
        audit_id: text(&event["auditID"]),
        uid: uid.to_string(),
        manager: text(&facts["fieldManager"]),
        message: match outcome {
            Outcome::Rejected => text(&event["responseStatus"]["message"]),
            _ => String::new(),
        },
        changes,
        bodies,
    }
}

/// Keeps the newest whole object that the record shows.
fn remember(state: &mut Value, event: &Value, outcome: Outcome) {
    let answered = &event["responseObject"];
    let is_main = event["objectRef"]["subresource"].is_null();
    let is_status = event["objectRef"]["subresource"] == "status";
    match outcome {
        Outcome::Deleted => *state = Value::Null,
        Outcome::Created | Outcome::Changed | Outcome::Unchanged | Outcome::DeletionBegun
            if (is_main || is_status) && answered.is_object() && answered["kind"] != "Status" =>
        {
            *state = answered.clone();
        }
        Outcome::Created | Outcome::Changed | Outcome::Written
            if is_main && event["verb"] != "patch" && event["requestObject"].is_object() =>
        {
            *state = event["requestObject"].clone();
        }
        // A change that is not shown whole leaves nothing to compare with.
        Outcome::Written | Outcome::Changed if is_main => *state = Value::Null,
        _ => {}
    }
}

/// The status is somebody else's to write and would drown the rest; what the server sets at creation
/// is left out too.
fn without_status(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for member in ["uid", "creationTimestamp", "name", "namespace"] {
            metadata.remove(member);
        }
        if metadata.is_empty()
            && let Some(members) = object.as_object_mut()
        {
            members.remove("metadata");
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use crate::base::tree::json;

    use super::*;

    fn event(verb: &str, code: u64, request: Value, response: Value) -> Value {
        json!({
            "auditID": "i", "stage": "ResponseComplete", "verb": verb,
            "requestURI": "/api/v1/namespaces/n/configmaps/c",
            "user": {"username": "alice"}, "userAgent": "kubectl/v1.36 (linux)",
            "objectRef": {"resource": "configmaps", "namespace": "n", "name": "c"},
            "responseStatus": {"code": code, "message": "no"},
            "requestObject": request, "responseObject": response,
            "stageTimestamp": "2026-01-01T00:00:00.000000Z",
        })
    }

    fn object(uid: &str, value: &str) -> Value {
        json!({"metadata": {"name": "c", "uid": uid}, "data": {"a": value}})
    }

    #[test]
    fn a_life() {
        // users.md threads 21, 22, 23, 24 and 33.
        let mut dry = event("update", 200, object("", "9"), object("u1", "9"));
        dry["requestURI"] = json!("/api/v1/namespaces/n/configmaps/c?dryRun=All");
        let mut same = event("update", 200, object("", "2"), object("u1", "2"));
        same["annotations"] = json!({crate::audit::event::TRACE_ANNOTATION: "{\"noOp\":true,\"fieldManager\":\"me\"}"});
        let events = [
            event("create", 201, object("", "1"), object("u1", "1")),
            event("patch", 200, json!({"data": {"a": "2"}}), object("u1", "2")),
            event("update", 403, object("", "3"), json!({"kind": "Status"})),
            dry,
            same,
            event(
                "delete",
                200,
                Value::Null,
                json!({"kind": "Status", "details": {"uid": "u1"}}),
            ),
            event("create", 201, object("", "4"), object("u2", "4")),
        ];
        let steps = steps(&events, "c");
        let shown: Vec<(&str, &str, usize)> = steps
            .iter()
            .map(|s| (s.outcome.mark(), s.uid.as_str(), s.changes.len()))
            .collect();
        assert_eq!(
            shown,
            [
                ("+", "u1", 1),
                ("~", "u1", 1),
                ("!", "u1", 1),
                ("?", "u1", 1),
                ("=", "u1", 0),
                ("-", "u1", 0),
                ("+", "u2", 1),
            ]
        );
        let patch = &steps[1].changes[0];
        assert_eq!(
            (patch.before.as_deref(), patch.after.as_deref()),
            (Some("1"), Some("2"))
        );
        let rejected = &steps[2].changes[0];
        assert_eq!(
            (rejected.before.as_deref(), rejected.after.as_deref()),
            (Some("2"), Some("3"))
        );
        assert_eq!(steps[2].message, "no");
        assert_eq!(steps[4].manager, "me");
    }

    #[test]
    fn without_bodies_and_collections() {
        let events = [
            event("patch", 200, Value::Null, Value::Null),
            event("deletecollection", 200, Value::Null, Value::Null),
            event(
                "deletecollection",
                200,
                Value::Null,
                json!({"items": [object("x", "1")]}),
            ),
            event("deletecollection", 200, Value::Null, json!({"items": []})),
        ];
        let outcomes: Vec<Outcome> = steps(&events, "c").iter().map(|s| s.outcome).collect();
        assert_eq!(
            outcomes,
            [Outcome::Written, Outcome::MaybeDeleted, Outcome::Deleted]
        );
        assert!(!steps(&events, "c")[0].bodies);
    }
}
