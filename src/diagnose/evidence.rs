//! `Evidence`: the facts that a cause rests on, each of a kind and in one sentence.

use serde::Serialize;

use crate::base::tree::Value;
use crate::diagnose::trace::Trace;

/// What kind of fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EvidenceKind {
    /// Something in the request's own events.
    Event,
    /// A stage of the request.
    Stage,
    /// Another request, by its audit ID.
    Request,
    /// What RBAC says now.
    Rbac,
    /// What the store says of itself now.
    Store,
    /// A metric of this server now.
    Metric,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// What kind.
    pub kind: EvidenceKind,
    /// The fact, for people.
    pub text: String,
    /// The audit ID, the stage or the metric that it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub of: String,
}

impl Evidence {
    /// A fact.
    pub fn new(kind: EvidenceKind, of: impl Into<String>, text: impl Into<String>) -> Self {
        Evidence {
            kind,
            text: text.into(),
            of: of.into(),
        }
    }

    /// Another request, in words: `bob patch at 12:00:00.123`.
    pub fn request(event: &Value, what: &str) -> Self {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        let id = text(&event["auditID"]);
        let user = match event["impersonatedUser"]["username"].as_str() {
            Some(as_user) => format!("{} as {as_user}", text(&event["user"]["username"])),
            None => text(&event["user"]["username"]),
        };
        let when = text(&event["stageTimestamp"]);
        let verb = text(&event["verb"]);
        let sentence = format!("{what}: {user} ({verb}) at {when}, audit ID {id}");
        Evidence::new(EvidenceKind::Request, id, sentence)
    }
}

/// What the request's own event says.
pub fn of_event(event: &Value, trace: &Trace) -> Vec<Evidence> {
    let mut out = Vec::new();
    if let Some(message) = event["responseStatus"]["message"].as_str() {
        let text = format!("the client was told: {message}");
        out.push(Evidence::new(EvidenceKind::Event, "responseStatus", text));
    }
    for (key, value) in event["annotations"].as_object().into_iter().flatten() {
        if key != crate::audit::event::TRACE_ANNOTATION {
            let text = format!("annotation {key}: {}", value.as_str().unwrap_or_default());
            out.push(Evidence::new(EvidenceKind::Event, key.as_str(), text));
        }
    }
    // Another server's are its annotations.
    for stage in trace.stages.iter().filter(|_| trace.is_ours) {
        let reason = match stage.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        let text = format!(
            "stage {} {} in {} µs{reason}",
            stage.name, stage.outcome, stage.micros
        );
        out.push(Evidence::new(
            EvidenceKind::Stage,
            stage.name.as_str(),
            text,
        ));
    }
    for (name, micros) in &trace.running {
        let text = format!("stage {name} was still running, for {micros} µs");
        out.push(Evidence::new(EvidenceKind::Stage, name.as_str(), text));
    }
    out
}
