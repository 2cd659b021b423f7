//! From the events of one request to its explanation.

use serde::Serialize;
use serde_json::{Value, json};

use crate::api::yaml;
use crate::authorization::rbac::explain::NearMiss;
use crate::diagnose::access::{AccessExplainer, acting_user, asked, in_words};
use crate::diagnose::cause::{Cause, Certainty, Class};
use crate::diagnose::causes;
use crate::diagnose::evidence::{self, Evidence, EvidenceKind};
use crate::diagnose::live::{self, Sources};
use crate::diagnose::trace::Trace;
use crate::request::Attributes;
use crate::search::api::{GROUP, VERSION};

/// The answer to "why".
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `Explanation`.
    pub kind: &'static str,
    /// Group and version.
    pub api_version: String,
    /// Name (the audit ID) and time.
    pub metadata: Value,
    /// HTTP status code.
    pub code: u64,
    /// `403 Forbidden`, `200`.
    pub outcome: String,
    /// Class of the cause.
    pub class: Class,
    /// Which one of its kind: the refusal of a credential, the plugin, the webhook, the limit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How sure the cause is.
    pub certainty: Certainty,
    /// Where it was decided.
    pub stage: String,
    /// What happened and why.
    pub cause: String,
    /// What to do.
    pub fix: Vec<String>,
    /// The page that says more, `runbooks/forbidden.md`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runbook: String,
    /// Who the caller was taken to be, and how.
    pub caller: Caller,
    /// What was asked, in words.
    pub asked: String,
    /// Facts that the cause rests on.
    pub evidence: Vec<Evidence>,
    /// Bindings that nearly allow it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<NearMiss>,
    /// The smallest grant, as YAML ready to apply.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifests: String,
    /// The same as kubectl commands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// Other requests with the same audit ID: clients may choose it, also one that was used before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub same_audit_id: Vec<Other>,
    /// The event itself.
    pub event: Value,
}

/// Another request with the same audit ID.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Other {
    /// When it arrived.
    pub time: String,
    /// Who asked.
    pub username: String,
    /// What.
    pub asked: String,
    /// Status code.
    pub code: u64,
    /// Its ID of ours, where the client chose the audit ID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}

/// Who asked.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// User name; empty when authentication failed.
    pub username: String,
    /// Groups.
    pub groups: Vec<String>,
    /// How they were authenticated.
    pub authenticated_by: String,
    /// Whom they acted as, if impersonating.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub impersonating: String,
    /// From where.
    pub addresses: Vec<String>,
    /// With what.
    pub user_agent: String,
}

/// Explains a request from its events, and from nothing else but RBAC. `None` when there are none.
/// Where several requests have the audit ID, the newest is explained and the others are listed.
pub fn explain(events: &[Value], access: Option<&dyn AccessExplainer>) -> Option<Explanation> {
    let newest = newest_request(events);
    let event = last_event(&newest)?;
    let trace = Trace::of(event);
    let info = asked(event);
    let mut evidence = evidence::of_event(event, &trace);
    let mut cause = causes::cause(event, &trace);
    let (mut nearest, mut manifests, mut commands) = (Vec::new(), String::new(), Vec::new());
    if let Some(access) = access
        && cause.class == Class::Forbidden
    {
        let user = acting_user(event);
        let found = access.explain(&Attributes::of(&info, &user));
        let text = format!("RBAC now: {}", found.question);
        evidence.push(Evidence::new(EvidenceKind::Rbac, "", text));
        cause = refusal(cause, found.allowed, &found.question);
        if let Some(suggestion) = found.suggestion {
            let documents: Vec<String> = suggestion.manifests.iter().map(yaml::to_yaml).collect();
            manifests = documents.join("---\n");
            commands = suggestion.commands;
        }
        nearest = found.near_misses;
    }
    let status = &event["responseStatus"];
    let code = status["code"].as_u64().unwrap_or_default();
    let reason = status["reason"].as_str().unwrap_or_default();
    Some(Explanation {
        kind: "Explanation",
        api_version: format!("{GROUP}/{VERSION}"),
        metadata: metadata(event),
        code,
        outcome: format!("{code} {reason}").trim_end().to_string(),
        runbook: match cause.class.runbook() {
            "" => String::new(),
            page => format!("runbooks/{page}.md"),
        },
        class: cause.class,
        detail: cause.detail,
        certainty: cause.certainty,
        stage: cause.stage,
        cause: cause.text,
        fix: cause.fix,
        caller: caller(event, &trace),
        asked: in_words(&info),
        evidence,
        nearest,
        manifests,
        commands,
        same_audit_id: others(events, event),
        event: event.clone(),
    })
}

/// As [`explain`], with evidence from other requests, the store and the metrics.
pub async fn explain_live(
    events: &[Value],
    access: Option<&dyn AccessExplainer>,
    sources: &dyn Sources,
) -> Option<Explanation> {
    let mut explanation = explain(events, access)?;
    let cause = causes::cause(&explanation.event, &Trace::of(&explanation.event));
    let more = live::evidence(sources, &explanation.event, &cause).await;
    explanation.evidence.extend(more);
    Some(explanation)
}

/// What tells requests with the same audit ID apart.
fn identity(event: &Value) -> (&str, String) {
    let received = event["requestReceivedTimestamp"].as_str();
    (received.unwrap_or_default(), Trace::of(event).request_id)
}

/// The events of the request that arrived last.
fn newest_request(events: &[Value]) -> Vec<&Value> {
    let Some(newest) = events.iter().map(identity).max() else {
        return Vec::new();
    };
    events.iter().filter(|e| identity(e) == newest).collect()
}

fn others(events: &[Value], explained: &Value) -> Vec<Other> {
    let mut seen = vec![identity(explained)];
    let mut out = Vec::new();
    for event in events {
        let id = identity(event);
        if seen.contains(&id) {
            continue;
        }
        let same: Vec<&Value> = events.iter().filter(|e| identity(e) == id).collect();
        let last = last_event(&same).unwrap_or(event);
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        out.push(Other {
            time: text(&last["requestReceivedTimestamp"]),
            username: text(&last["user"]["username"]),
            asked: in_words(&asked(last)),
            code: last["responseStatus"]["code"].as_u64().unwrap_or_default(),
            request_id: id.1.clone(),
        });
        seen.push(id);
    }
    out
}

/// The event that knows most: that of the last stage.
fn last_event<'a>(events: &[&'a Value]) -> Option<&'a Value> {
    const ORDER: [&str; 4] = [
        "Panic",
        "ResponseComplete",
        "ResponseStarted",
        "RequestReceived",
    ];
    let of_stage = |stage: &&str| events.iter().find(|e| e["stage"] == **stage);
    let found = ORDER.iter().find_map(of_stage);
    found.or_else(|| events.first()).copied()
}

/// What RBAC says now, over what the record says.
fn refusal(recorded: Cause, is_allowed_now: bool, question: &str) -> Cause {
    let (certainty, text, fix) = match is_allowed_now {
        false => (
            Certainty::Certain,
            format!("no RBAC rule allows it: {question}"),
            vec!["if they should be allowed to, apply the role and binding below".to_string()],
        ),
        true => (
            Certainty::Likely,
            format!("it was refused then, but RBAC allows it now: {question}"),
            vec![
                "try again".to_string(),
                "verbatim search 'group:rbac.authorization.k8s.io verb:(create OR update OR patch OR delete)' shows who changed it".to_string(),
            ],
        ),
    };
    Cause {
        certainty,
        text,
        fix,
        ..recorded
    }
}

fn metadata(event: &Value) -> Value {
    let mut metadata =
        json!({"name": event["auditID"], "creationTimestamp": event["requestReceivedTimestamp"]});
    if let Some(namespace) = event["objectRef"]["namespace"].as_str() {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

fn caller(event: &Value, trace: &Trace) -> Caller {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let texts = |v: &Value| v.as_array().into_iter().flatten().map(text).collect();
    Caller {
        username: text(&event["user"]["username"]),
        groups: texts(&event["user"]["groups"]),
        authenticated_by: trace.by.clone(),
        impersonating: text(&event["impersonatedUser"]["username"]),
        addresses: texts(&event["sourceIPs"]),
        user_agent: text(&event["userAgent"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::rbac::Rbac;

    fn forbidden() -> Value {
        json!({
            "auditID": "i", "stage": "ResponseComplete", "verb": "list",
            "requestURI": "/api/v1/namespaces/n/secrets",
            "user": {"username": "alice", "groups": ["dev"]},
            "objectRef": {"resource": "secrets", "namespace": "n", "apiVersion": "v1"},
            "responseStatus": {"code": 403, "reason": "Forbidden", "message": "secrets is forbidden"},
            "annotations": {
                "authorization.k8s.io/decision": "forbid",
                crate::audit::event::TRACE_ANNOTATION: "{\"by\":\"x509\",\"stages\":[]}",
            },
        })
    }

    #[test]
    fn thread_34_a_refusal_names_the_smallest_role() {
        let rbac = Rbac::new();
        let explanation = explain(&[forbidden()], Some(&*rbac)).expect("an explanation");
        assert_eq!(explanation.certainty, Certainty::Certain);
        assert_eq!(explanation.caller.authenticated_by, "x509");
        assert_eq!(explanation.asked, "list secrets in namespace n");
        for part in [
            "kind: Role\n",
            "kind: RoleBinding\n",
            "- list",
            "- secrets",
            "name: alice",
        ] {
            assert!(
                explanation.manifests.contains(part),
                "{}\nlacks {part}",
                explanation.manifests
            );
        }
    }

    #[test]
    fn thread_25_all_requests_with_an_audit_id_are_told() {
        let request = |time: &str, own: &str, code: u64, stage: &str| {
            let trace = json!({"clientAuditID": true, "requestID": own}).to_string();
            json!({
                "auditID": "chosen", "stage": stage, "verb": "get", "requestURI": "/version",
                "user": {"username": own}, "requestReceivedTimestamp": time,
                "responseStatus": {"code": code},
                "annotations": {crate::audit::event::TRACE_ANNOTATION: trace},
            })
        };
        let events = [
            request("2026-01-01T00:00:02.000000Z", "b", 200, "ResponseComplete"),
            request("2026-01-01T00:00:02.000000Z", "b", 0, "RequestReceived"),
            request("2026-01-01T00:00:01.000000Z", "a", 403, "ResponseComplete"),
            request("2026-01-01T00:00:01.000000Z", "a", 0, "RequestReceived"),
        ];
        let explanation = explain(&events, None).expect("an explanation");
        assert_eq!(explanation.caller.username, "b");
        let [other] = explanation.same_audit_id.as_slice() else {
            panic!("{:?}", explanation.same_audit_id);
        };
        assert_eq!((other.username.as_str(), other.code), ("a", 403));
        assert_eq!(other.request_id, "a");
    }

    #[test]
    fn without_rbac_or_events() {
        assert!(explain(&[], None).is_none());
        let explanation = explain(&[forbidden()], None).expect("an explanation");
        assert!(explanation.manifests.is_empty());
        assert_eq!(explanation.stage, "authorization");
    }
}
