//! 429: who or what is at its limit.

use super::Answer;
use crate::diagnose::cause::{Cause, Class};
use crate::storage::Failure;

/// Upstream's words for a request that flow control refused.
const TOO_MANY: &str = "Too many requests, please try again later.";

pub(super) fn cause(answer: &Answer<'_>) -> Cause {
    let trace = answer.trace;
    if let Some(stage) = trace.stage("flow-control")
        && stage.outcome == "rejected"
    {
        return by_flow_control(&stage.reason);
    }
    if trace.store_failure() == Some(Failure::Initializing) {
        return Cause::certain(
            Class::Initializing,
            "watch cache",
            "the watch cache of this resource is still being filled from the store",
        )
        .fix("wait for Retry-After; the server has just started, or the store is slow to list")
        .fix("kubectl get --raw '/readyz?verbose'");
    }
    if answer.has_cause("DisruptionBudget") {
        let why = answer.details()["causes"][0]["message"].as_str();
        let why = why.unwrap_or_default();
        return Cause::certain(
            Class::DisruptionBudget,
            "handler",
            format!("a disruption budget allows no eviction now: {why}"),
        )
        .fix(format!(
            "kubectl get poddisruptionbudgets -n {}",
            answer.event["objectRef"]["namespace"]
                .as_str()
                .unwrap_or("NAMESPACE")
        ))
        .fix("wait until enough of the pods are healthy again");
    }
    if let Some(failed) = trace.failed() {
        return Cause::likely(
            Class::Throttled,
            &failed.name,
            format!("too many requests: {} {}", failed.reason, answer.message),
        )
        .fix("the client should wait for Retry-After");
    }
    if !trace.is_ours && matches!(answer.message, "" | TOO_MANY) {
        let text = "too many requests at once: flow control turned it away";
        return Cause::likely(Class::Throttled, "flow-control", text)
            .fix("the client should wait for Retry-After; client libraries do")
            .fix("apiserver_flowcontrol_rejected_requests_total of that server says of which flow schema and level");
    }
    Cause::unknown(format!(
        "too many requests, of which kind the record does not say: {}",
        answer.message
    ))
}

fn by_flow_control(reason: &str) -> Cause {
    let (why, flow) = reason.split_once(": ").unwrap_or((reason, ""));
    let text = match why {
        "concurrency-limit" => format!("too many requests at once ({flow})"),
        "queue-full" => format!("too many requests wait already ({flow})"),
        "time-out" => format!("the request waited too long for its turn ({flow})"),
        "cancelled" => format!("the client went away while the request waited ({flow})"),
        _ => format!("flow control refused it: {reason}"),
    };
    // `readOnly requests in flight: …`, or the schema and level.
    let limit = flow.split(':').next().unwrap_or(flow);
    let limit = limit.trim_end_matches(" requests in flight");
    Cause::certain(Class::Throttled, "flow-control", text)
        .detail(limit)
        .fix("the client should wait for Retry-After; client libraries do")
        .fix("find who fills the server: verbatim search --from -5m --limit 1000")
        .fix("if the load is what it should be: raise --max-requests-inflight and --max-mutating-requests-inflight")
}
