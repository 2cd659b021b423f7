//! Causes by status code: what an event and its stage trace prove, and what to do about it.
//!
//! What another API server wrote has no stages; [`words`] tells what its messages say.
//!
//! Everything here follows from one event. What needs other events, the store or RBAC is added by
//! [`super::explain`] and [`super::live`].

mod conflict;
mod forbidden;
mod input;
mod not_found;
mod server;
mod store;
mod throttled;
mod timeout;
mod unauthorized;
mod words;

#[cfg(test)]
mod tests;

use crate::audit::event::REASON_ANNOTATION;
use crate::base::tree::Value;
use crate::diagnose::cause::{Cause, Class};
use crate::diagnose::trace::{Trace, in_cluster};

/// A request slower than this is explained even when it succeeded.
const SLOW_MICROS: u64 = 500_000;

/// One answer, taken apart.
struct Answer<'a> {
    event: &'a Value,
    trace: &'a Trace,
    code: u64,
    reason: &'a str,
    message: &'a str,
}

impl Answer<'_> {
    fn details(&self) -> &Value {
        &self.event["responseStatus"]["details"]
    }

    /// Whether `details.causes` has one of this type.
    fn has_cause(&self, kind: &str) -> bool {
        let causes = self.details()["causes"].as_array();
        causes.into_iter().flatten().any(|c| c["reason"] == kind)
    }

    /// `resource name` as command lines take it, with the namespace.
    fn object_of_kubectl(&self) -> String {
        let object = &self.event["objectRef"];
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        let mut out = text("resource").to_string();
        if !text("apiGroup").is_empty() {
            out = format!("{out}.{}", text("apiGroup"));
        }
        if !text("name").is_empty() {
            out = format!("{out} {}", text("name"));
        }
        if !text("namespace").is_empty() {
            out = format!("-n {} {out}", text("namespace"));
        }
        out
    }

    /// A query that finds events about the same object.
    fn object_query(&self) -> String {
        let object = &self.event["objectRef"];
        let mut terms: Vec<String> = in_cluster(self.event).into_iter().collect();
        for (key, field) in [
            ("resource", "resource"),
            ("namespace", "namespace"),
            ("name", "name"),
        ] {
            if let Some(value) = object[key].as_str().filter(|v| !v.is_empty()) {
                terms.push(format!("{field}:{value}"));
            }
        }
        terms.join(" ")
    }
}

/// The cause of what became of a request.
pub fn cause(event: &Value, trace: &Trace) -> Cause {
    let status = &event["responseStatus"];
    let text = |key: &str| status[key].as_str().unwrap_or_default();
    let answer = Answer {
        event,
        trace,
        code: status["code"].as_u64().unwrap_or_default(),
        reason: text("reason"),
        message: text("message"),
    };
    if event["stage"] == "Panic" {
        return server::panic(&answer);
    }
    if !trace.is_ours
        && let Some(cause) = words::cause(&answer)
    {
        return cause;
    }
    match answer.code {
        0 => Cause::unknown("the request has no answer in the record yet"),
        // Upstream's words for a request whose client did not wait.
        200 if answer.message == "Connection closed early" => timeout::client_gone(&answer),
        100..400 => success(&answer),
        401 => unauthorized::cause(&answer),
        504 => timeout::cause(&answer),
        429 => throttled::cause(&answer),
        400..500 => refused(&answer),
        500..600 => server::cause(&answer),
        _ => Cause::unknown("no rule explains this status code"),
    }
}

/// Admission may refuse with any code, so it is looked at first.
fn refused(answer: &Answer<'_>) -> Cause {
    if let Some(cause) = forbidden::by_admission(answer) {
        return cause;
    }
    match answer.code {
        403 => forbidden::cause(answer),
        404 => not_found::cause(answer),
        409 => conflict::cause(answer),
        410 => conflict::gone(answer),
        _ => input::cause(answer),
    }
}

fn success(answer: &Answer<'_>) -> Cause {
    let trace = answer.trace;
    let slowest = trace
        .stages
        .iter()
        .filter(|s| !matches!(s.name.as_str(), "stream" | "response-write"))
        .max_by_key(|s| s.micros);
    let allowed = answer.event["annotations"][REASON_ANNOTATION].as_str();
    let mut text = "the request succeeded".to_string();
    if let Some(reason) = allowed.filter(|r| !r.is_empty()) {
        text.push_str(&format!("; {reason}"));
    }
    if let Some(writing) = trace.stage("response-write") {
        text.push_str(&format!(
            ". Writing the answer ({}) took {} ms of {} ms",
            writing.reason,
            writing.micros / 1000,
            trace.micros / 1000
        ));
    }
    let is_slow = trace.micros > SLOW_MICROS && answer.event["verb"] != "watch";
    match slowest {
        Some(slowest) if is_slow => Cause::likely(
            Class::Slow,
            &slowest.name,
            format!(
                "{text}. It took {} ms, most of it ({} ms) in {}",
                trace.micros / 1000,
                slowest.micros / 1000,
                slowest.name
            ),
        )
        .detail(slowest.name.as_str())
        .fix("look at the stages; admission webhooks and the store are the usual suspects")
        .fix("verbatim search 'latency:>500ms' --from -1h"),
        _ => Cause::certain(Class::Success, "", text),
    }
}
