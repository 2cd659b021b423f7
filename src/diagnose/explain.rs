//! From the events of one request to its explanation.

use serde::Serialize;
use serde_json::{Value, json};

use crate::api::yaml;
use crate::authorization::rbac::explain::NearMiss;
use crate::diagnose::access::{AccessExplainer, acting_user, asked, in_words};
pub use crate::diagnose::causes::Certainty;
use crate::diagnose::causes::{self, Cause};
use crate::request::Attributes;
use crate::search::api::{GROUP, VERSION};
use crate::search::table;

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
    /// How sure the cause is.
    pub certainty: Certainty,
    /// Where it was decided.
    pub stage: String,
    /// What happened and why.
    pub cause: String,
    /// What to do.
    pub fix: Vec<String>,
    /// Who the caller was taken to be, and how.
    pub caller: Caller,
    /// What was asked, in words.
    pub asked: String,
    /// Facts that the cause rests on.
    pub evidence: Vec<String>,
    /// Bindings that nearly allow it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<NearMiss>,
    /// The smallest grant, as YAML ready to apply.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifests: String,
    /// The same as kubectl commands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// The event itself.
    pub event: Value,
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

/// Explains a request from its events, newest first. `None` when there are none.
pub fn explain(events: &[Value], access: Option<&dyn AccessExplainer>) -> Option<Explanation> {
    let event = last_event(events)?;
    let trace = table::trace(event);
    let info = asked(event);
    let mut evidence = evidence(event, &trace);
    let is_forbidden = event["annotations"]["authorization.k8s.io/decision"] == "forbid";
    let (mut nearest, mut manifests, mut commands) = (Vec::new(), String::new(), Vec::new());
    let cause = match access {
        Some(access) if is_forbidden => {
            let user = acting_user(event);
            let found = access.explain(&Attributes::of(&info, &user));
            evidence.push(format!("RBAC now: {}", found.question));
            let cause = refusal(found.allowed, &found.question);
            if let Some(suggestion) = found.suggestion {
                let documents: Vec<String> =
                    suggestion.manifests.iter().map(yaml::to_yaml).collect();
                manifests = documents.join("---\n");
                commands = suggestion.commands;
            }
            nearest = found.near_misses;
            cause
        }
        None if is_forbidden => Cause {
            certainty: Certainty::Certain,
            stage: "authorization".into(),
            text: "no authorizer allowed it".into(),
            fix: vec![
                "ask whoever runs the authorizers of this server; RBAC is not among them".into(),
            ],
        },
        _ => causes::cause(event, &trace),
    };
    let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
    let reason = event["responseStatus"]["reason"]
        .as_str()
        .unwrap_or_default();
    Some(Explanation {
        kind: "Explanation",
        api_version: format!("{GROUP}/{VERSION}"),
        metadata: metadata(event),
        code,
        outcome: format!("{code} {reason}").trim_end().to_string(),
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
        event: event.clone(),
    })
}

/// The event that knows most: the last stage of the newest request with this ID.
fn last_event(events: &[Value]) -> Option<&Value> {
    const ORDER: [&str; 4] = [
        "Panic",
        "ResponseComplete",
        "ResponseStarted",
        "RequestReceived",
    ];
    ORDER
        .iter()
        .find_map(|stage| events.iter().find(|e| e["stage"] == *stage))
        .or_else(|| events.first())
}

fn refusal(is_allowed_now: bool, question: &str) -> Cause {
    let (text, fix) = match is_allowed_now {
        false => (
            format!("no RBAC rule allows it: {question}"),
            vec!["if they should be allowed to, apply the role and binding below".to_string()],
        ),
        true => (
            format!("it was refused then, but RBAC allows it now: {question}"),
            vec![
                "try again".to_string(),
                "verbatim search 'group:rbac.authorization.k8s.io verb:(create OR update OR patch OR delete)' shows who changed it".to_string(),
            ],
        ),
    };
    Cause {
        certainty: match is_allowed_now {
            false => Certainty::Certain,
            true => Certainty::Likely,
        },
        stage: "authorization".into(),
        text,
        fix,
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

fn caller(event: &Value, trace: &Value) -> Caller {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let texts = |v: &Value| v.as_array().into_iter().flatten().map(text).collect();
    Caller {
        username: text(&event["user"]["username"]),
        groups: texts(&event["user"]["groups"]),
        authenticated_by: text(&trace["by"]),
        impersonating: text(&event["impersonatedUser"]["username"]),
        addresses: texts(&event["sourceIPs"]),
        user_agent: text(&event["userAgent"]),
    }
}

fn evidence(event: &Value, trace: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let status = &event["responseStatus"];
    if let Some(message) = status["message"].as_str() {
        out.push(format!("the client was told: {message}"));
    }
    for (key, value) in event["annotations"].as_object().into_iter().flatten() {
        if key != crate::audit::event::TRACE_ANNOTATION {
            out.push(format!(
                "annotation {key}: {}",
                value.as_str().unwrap_or_default()
            ));
        }
    }
    for stage in causes::stages(trace) {
        let reason = match stage.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        out.push(format!(
            "stage {} {} in {} µs{reason}",
            stage.name, stage.outcome, stage.micros
        ));
    }
    if let Some(name) = trace["running"][0].as_str() {
        out.push(format!("stage {name} was still running"));
    }
    out
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
    fn a_refusal_names_the_smallest_role() {
        // users.md thread 34.
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
    fn without_rbac_or_events() {
        assert!(explain(&[], None).is_none());
        let explanation = explain(&[forbidden()], None).expect("an explanation");
        assert!(explanation.manifests.is_empty());
        assert_eq!(explanation.stage, "authorization");
    }
}
