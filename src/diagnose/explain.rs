//! From the events of one request to its explanation.

use serde::Serialize;

use crate::api::yaml;
use crate::authorization::rbac::explain::{NearMiss, Suggestion, suggestion};
use crate::base::tree::{Value, json};
use crate::diagnose::access::{AccessExplainer, acting_user, asked, in_words};
use crate::diagnose::cause::{Cause, Certainty, Class};
use crate::diagnose::causes;
use crate::diagnose::evidence::{self, Evidence, EvidenceKind};
use crate::diagnose::live::{self, Sources};
use crate::diagnose::trace::{Trace, cluster_of};
use crate::request::{Attributes, RequestInfo};
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
    /// The cluster that the event was collected from, if not this server's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
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
    let mut grant = Grant::default();
    // What another authorizer denied, no role can allow.
    let is_denied_by_another = !cause.detail.is_empty();
    if let Some(access) = access
        && cause.class == Class::Forbidden
        && !is_denied_by_another
    {
        grant = Grant::of(event, &trace, &info, access);
        evidence.extend(grant.evidence.take());
        cause = grant.refusal(cause);
    }
    let (manifests, commands) = grant.texts();
    let status = &event["responseStatus"];
    let code = status["code"].as_u64().unwrap_or_default();
    let reason = status["reason"].as_str().unwrap_or_default();
    Some(Explanation {
        kind: "Explanation",
        api_version: format!("{GROUP}/{VERSION}"),
        metadata: metadata(event),
        cluster: cluster_of(event).unwrap_or_default().to_string(),
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
        nearest: grant.nearest,
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
fn identity(event: &Value) -> (&str, String, Option<&str>) {
    let received = event["requestReceivedTimestamp"].as_str();
    let id = Trace::of(event).request_id;
    (received.unwrap_or_default(), id, cluster_of(event))
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

/// What would have allowed a request that authorization refused.
#[derive(Default)]
struct Grant {
    origin: Origin,
    evidence: Option<Evidence>,
    is_allowed_now: bool,
    question: String,
    nearest: Vec<NearMiss>,
    suggestion: Option<Suggestion>,
}

/// Whose rules decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Origin {
    /// This server's.
    #[default]
    Here,
    /// Those of another API server, perhaps of the same cluster.
    Unknown,
    /// Those of another cluster.
    Elsewhere,
}

impl Origin {
    fn of(event: &Value, trace: &Trace) -> Self {
        match cluster_of(event) {
            Some(_) => Origin::Elsewhere,
            None if trace.is_ours => Origin::Here,
            None => Origin::Unknown,
        }
    }
}

impl Grant {
    fn of(event: &Value, trace: &Trace, info: &RequestInfo, access: &dyn AccessExplainer) -> Self {
        let user = acting_user(event);
        let attributes = Attributes::of(info, &user);
        let origin = Origin::of(event, trace);
        if origin == Origin::Elsewhere {
            return Grant {
                origin,
                suggestion: Some(suggestion(&attributes)),
                ..Grant::default()
            };
        }
        let found = access.explain(&attributes);
        let whose = match origin {
            Origin::Here => "RBAC now",
            _ => "RBAC of this server now",
        };
        let text = format!("{whose}: {}", found.question);
        Grant {
            origin,
            evidence: Some(Evidence::new(EvidenceKind::Rbac, "", text)),
            is_allowed_now: found.allowed,
            question: found.question,
            nearest: found.near_misses,
            suggestion: found.suggestion,
        }
    }

    /// The smallest grant, as YAML and as commands.
    fn texts(&mut self) -> (String, Vec<String>) {
        let Some(suggestion) = self.suggestion.take() else {
            return Default::default();
        };
        let documents: Vec<String> = suggestion.manifests.iter().map(yaml::to_yaml).collect();
        (documents.join("---\n"), suggestion.commands)
    }

    /// The recorded cause with what the rules say. Another API server's rules are not known here.
    fn refusal(&self, recorded: Cause) -> Cause {
        let fix = match self.origin {
            Origin::Here => return refusal(recorded, self.is_allowed_now, &self.question),
            Origin::Elsewhere => {
                "if they should be allowed to, apply the role and binding below in that cluster"
            }
            Origin::Unknown => {
                "another API server refused it: if its rules are those of this server, see below what is missing"
            }
        };
        Cause {
            fix: vec![fix.to_string()],
            ..recorded
        }
    }
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
    fn thread_32_another_api_server_s_refusal_is_not_measured_by_our_rules() {
        let rbac = Rbac::new();
        let mut event = forbidden();
        event["annotations"] = json!({"authorization.k8s.io/decision": "forbid"});
        let is_rbac = |e: &Evidence| e.kind == EvidenceKind::Rbac;

        // Perhaps it was this cluster's, before: what our rules say is evidence, not the cause.
        let found = explain(&[event.clone()], Some(&*rbac)).expect("an explanation");
        assert_eq!(
            (found.class, found.certainty),
            (Class::Forbidden, Certainty::Certain)
        );
        assert_eq!(found.cause, "no authorizer allowed it");
        let told = found.evidence.iter().find(|e| is_rbac(e));
        let told = told.expect("RBAC's word").text.clone();
        assert!(told.starts_with("RBAC of this server now"), "{told}");

        event["annotations"][crate::search::CLUSTER_ANNOTATION] = json!("old");
        let found = explain(&[event], Some(&*rbac)).expect("an explanation");
        assert_eq!(
            (found.cluster.as_str(), found.class),
            ("old", Class::Forbidden)
        );
        assert!(!found.evidence.iter().any(is_rbac) && found.nearest.is_empty());
        assert!(
            found.manifests.contains("name: alice"),
            "{}",
            found.manifests
        );
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
