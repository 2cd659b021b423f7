//! The value of [`TRACE_ANNOTATION`](super::event::TRACE_ANNOTATION): what we know of a request
//! beside upstream's fields, as compact JSON.
//!
//! | Member | What |
//! |---|---|
//! | `us` | microseconds from arrival to this event |
//! | `by` | the authenticator that accepted the caller (users.md 26) |
//! | `rule`, `ruleName` | number and name of the policy rule that decided the level |
//! | `sampledPercent` | how many of its requests that rule keeps, where it does not keep all |
//! | `clientAuditID`, `requestID` | the client chose the audit ID; an ID of ours that it cannot choose (25) |
//! | `dryRun`, `noOp`, `fieldManager` | of writes (22, 24) |
//! | `because` | what is behind an error answer, `class` or `class: details` |
//! | `stages` | each stage as `[name, offset µs, duration µs, outcome, reason]`; an empty reason is left out |
//! | `running` | at a timeout or a broken connection: name and µs of each stage that had not ended, innermost first (36, 37) |
//!
//! It stands on the last event of a request. Events before it carry it only where the client chose
//! the audit ID, with the two members that tell such requests apart, and where the rule samples, with
//! the rule's: whoever counts events must know how many others each stands for.

use std::time::Duration;

use crate::audit::Decision;
use crate::audit::event::REASON_ANNOTATION;
use crate::audit::json::nested::{push_key, push_member, push_string};
use crate::audit::json::{push, push_number};
use crate::request::RequestContext;

/// Appends the trace of the last event of a request, as a JSON string.
pub(super) fn push_whole(out: &mut Vec<u8>, ctx: &RequestContext, decision: &Decision) {
    out.extend_from_slice(b"\"{");
    push_key(out, "us");
    push_number(out, micros(ctx.stages.elapsed()));
    push_member(out, "by", ctx.authenticated_by.unwrap_or(""));
    push_rule(out, decision);
    push_identity(out, ctx);
    push_write(out, ctx);
    push_member(out, "because", ctx.audit.because.as_deref().unwrap_or(""));
    push_stages(out, ctx);
    push_running(out, ctx);
    out.extend_from_slice(b"}\"");
}

/// Whether an event that is not the last needs a trace.
pub(super) fn has_part(ctx: &RequestContext, decision: &Decision) -> bool {
    ctx.audit.request_id.is_some() || decision.sampled_percent.is_some()
}

/// Appends the trace of an event that is not the last, as a JSON string.
pub(super) fn push_part(out: &mut Vec<u8>, ctx: &RequestContext, decision: &Decision) {
    out.extend_from_slice(b"\"{");
    if decision.sampled_percent.is_some() {
        push_rule(out, decision);
    }
    push_identity(out, ctx);
    out.extend_from_slice(b"}\"");
}

fn push_rule(out: &mut Vec<u8>, decision: &Decision) {
    let Some(rule) = decision.rule else {
        return;
    };
    push_key(out, "rule");
    push_number(out, rule as u64);
    push_member(out, "ruleName", decision.rule_name.as_deref().unwrap_or(""));
    if let Some(percent) = decision.sampled_percent {
        push_key(out, "sampledPercent");
        push(out, &percent);
    }
}

fn push_identity(out: &mut Vec<u8>, ctx: &RequestContext) {
    if let Some(id) = &ctx.audit.request_id {
        push_key(out, "clientAuditID");
        out.extend_from_slice(b"true");
        push_member(out, "requestID", id);
    }
}

fn push_write(out: &mut Vec<u8>, ctx: &RequestContext) {
    for (key, set) in [("dryRun", ctx.audit.dry_run), ("noOp", ctx.audit.no_op)] {
        if set {
            push_key(out, key);
            out.extend_from_slice(b"true");
        }
    }
    let manager = ctx.audit.field_manager.as_deref().unwrap_or("");
    push_member(out, "fieldManager", manager);
}

fn push_stages(out: &mut Vec<u8>, ctx: &RequestContext) {
    let annotations = &ctx.audit.annotations;
    let known_reason = annotations.iter().find(|(k, _)| k == REASON_ANNOTATION);
    push_key(out, "stages");
    out.push(b'[');
    for (index, stage) in ctx.stages.stages().iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.push(b'[');
        push_string(out, &stage.name);
        for number in [micros(stage.offset), micros(stage.duration)] {
            out.push(b',');
            push_number(out, number);
        }
        out.push(b',');
        push_string(out, &stage.outcome);
        // The annotation says it already.
        let is_known =
            stage.name == "authorization" && known_reason.is_some_and(|(_, v)| *v == stage.reason);
        if !stage.reason.is_empty() && !is_known {
            out.push(b',');
            push_string(out, &stage.reason);
        }
        out.push(b']');
    }
    out.push(b']');
}

fn push_running(out: &mut Vec<u8>, ctx: &RequestContext) {
    let stages = ctx.stages.stages().iter().rev();
    let timed_out = stages.filter(|s| s.outcome == "timeout");
    let timed_out = timed_out.map(|s| (&*s.name, s.duration));
    let mut is_first = true;
    for (name, for_time) in timed_out.chain(ctx.stages.all_running()) {
        if is_first {
            push_key(out, "running");
        }
        out.push(if is_first { b'[' } else { b',' });
        is_first = false;
        push_string(out, name);
        out.push(b',');
        push_number(out, micros(for_time));
    }
    if !is_first {
        out.push(b']');
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
