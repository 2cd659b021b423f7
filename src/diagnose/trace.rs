//! The stage trace of an event, parsed: see `audit::trace` for what it holds.

use serde_json::Value;

use crate::search::table;
use crate::storage::Failure;

/// What the record knows of a request beside upstream's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Microseconds from arrival to the event.
    pub micros: u64,
    /// The authenticator that accepted the caller.
    pub by: String,
    /// What is behind an error answer, `class` or `class: details`.
    pub because: String,
    /// Stages in the order they ended.
    pub stages: Vec<TracedStage>,
    /// Stages that had not ended when the request was given up, innermost first.
    pub running: Vec<(String, u64)>,
    /// The ID of ours of a request whose audit ID the client chose.
    pub request_id: String,
}

/// One stage of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedStage {
    /// Name.
    pub name: String,
    /// Microseconds it took.
    pub micros: u64,
    /// Outcome.
    pub outcome: String,
    /// Reason, may be empty.
    pub reason: String,
}

/// Outcomes that end a request.
const BAD: [&str; 10] = [
    "denied",
    "refused",
    "forbid",
    "error",
    "conflict",
    "timeout",
    "rejected",
    "invalid",
    "cancelled",
    "failed",
];

impl Trace {
    /// The trace of an event; empty when it has none.
    pub fn of(event: &Value) -> Self {
        Trace::parse(&table::trace(event))
    }

    /// From the value of the annotation.
    pub fn parse(trace: &Value) -> Self {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        let stages = trace["stages"].as_array().into_iter().flatten();
        let running = trace["running"].as_array().map_or(&[][..], Vec::as_slice);
        Trace {
            micros: trace["us"].as_u64().unwrap_or_default(),
            by: text(&trace["by"]),
            because: text(&trace["because"]),
            stages: stages
                .map(|stage| TracedStage {
                    name: text(&stage[0]),
                    micros: stage[2].as_u64().unwrap_or_default(),
                    outcome: text(&stage[3]),
                    reason: text(&stage[4]),
                })
                .collect(),
            running: running
                .chunks_exact(2)
                .map(|pair| (text(&pair[0]), pair[1].as_u64().unwrap_or_default()))
                .collect(),
            request_id: text(&trace["requestID"]),
        }
    }

    /// A stage by name.
    pub fn stage(&self, name: &str) -> Option<&TracedStage> {
        self.stages.iter().find(|s| s.name == name)
    }

    /// The stage that ended the request, if one says so: of nested ones the innermost, which ends
    /// first.
    pub fn failed(&self) -> Option<&TracedStage> {
        let is_bad = |s: &&TracedStage| BAD.contains(&s.outcome.as_str());
        let last = self.stages.iter().rev().find(is_bad)?;
        if last.name.starts_with("admission/")
            && let Some(webhook) = self.failed_webhook()
        {
            return Some(webhook);
        }
        Some(last)
    }

    /// The last webhook that ended badly.
    fn failed_webhook(&self) -> Option<&TracedStage> {
        let mut stages = self.stages.iter().rev();
        stages.find(|s| webhook_of(&s.name).is_some() && BAD.contains(&s.outcome.as_str()))
    }

    /// What failed in the store, if something did.
    pub fn store_failure(&self) -> Option<Failure> {
        if let Some(reason) = self.because.strip_prefix("store/") {
            return Failure::of_reason(reason);
        }
        let failed = self.failed()?;
        let is_store = failed.name.starts_with("store/") && failed.outcome == "error";
        is_store
            .then(|| Failure::of_reason(&failed.reason))
            .flatten()
    }
}

/// The webhook that a stage calls.
pub fn webhook_of(stage: &str) -> Option<&str> {
    let (kind, name) = stage.split_once('/')?;
    matches!(kind, "mutating-webhook" | "validating-webhook").then_some(name)
}
