//! The stage trace of an event, parsed: see `audit::trace` for what it holds.

use crate::base::tree::Value;
use crate::request::GOOD_OUTCOMES;
use crate::search::query::quote;
use crate::search::window::parse_duration;
use crate::search::{CLUSTER_ANNOTATION, table};
use crate::storage::Failure;

/// Annotations with which upstream says how long parts of a slow request took.
const LATENCY: &str = "apiserver.latency.k8s.io/";

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
    /// A Verbatim server wrote the event. Of another's only the latencies are known that it noted.
    pub is_ours: bool,
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

impl TracedStage {
    /// Whether it did not go well. Of another server's parts that is not known.
    fn is_bad(&self) -> bool {
        !self.outcome.is_empty() && !GOOD_OUTCOMES.contains(&self.outcome.as_str())
    }
}

impl Trace {
    /// The trace of an event; empty when it has none.
    pub fn of(event: &Value) -> Self {
        match Trace::parse(&table::trace(event)) {
            trace if trace.is_ours => trace,
            _ => Trace::of_latencies(event),
        }
    }

    /// What an event of another API server says: the time it took, and for requests of more than
    /// 500 ms how long parts of it did (contract/audit.md §7).
    fn of_latencies(event: &Value) -> Self {
        let micros = table::latency_micros(event).and_then(|m| u64::try_from(m).ok());
        let annotations = event["annotations"].as_object().into_iter().flatten();
        let stages = annotations.filter_map(|(key, value)| {
            let name = match key.strip_prefix(LATENCY)? {
                "total" => return None,
                "etcd" => "store",
                "apf-queue-wait" => "flow-control",
                name => name,
            };
            let took = parse_duration(value.as_str()?)?.num_microseconds()?;
            Some(TracedStage {
                name: name.into(),
                micros: u64::try_from(took).ok()?,
                outcome: String::new(),
                reason: String::new(),
            })
        });
        Trace {
            micros: micros.unwrap_or_default(),
            stages: stages.collect(),
            ..Trace::default()
        }
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
            is_ours: trace.is_object(),
        }
    }

    /// A stage by name.
    pub fn stage(&self, name: &str) -> Option<&TracedStage> {
        self.stages.iter().find(|s| s.name == name)
    }

    /// The stage that ended the request, if one says so: of nested ones the innermost, which ends
    /// first.
    pub fn failed(&self) -> Option<&TracedStage> {
        let last = self.stages.iter().rev().find(|s| s.is_bad())?;
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
        stages.find(|s| webhook_of(&s.name).is_some() && s.is_bad())
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

/// The cluster that an event was collected from; `None` for this server's own, and where whoever
/// brought it did not say.
pub fn cluster_of(event: &Value) -> Option<&str> {
    event["annotations"][CLUSTER_ANNOTATION].as_str()
}

/// The term of a query that keeps to the events of a collected event's cluster.
pub fn in_cluster(event: &Value) -> Option<String> {
    Some(format!("cluster:{}", quote(cluster_of(event)?)))
}

/// The webhook that a stage calls.
pub fn webhook_of(stage: &str) -> Option<&str> {
    let (kind, name) = stage.split_once('/')?;
    matches!(kind, "mutating-webhook" | "validating-webhook").then_some(name)
}
