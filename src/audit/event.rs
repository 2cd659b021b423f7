//! Rendering of one `audit.k8s.io/v1` Event as a JSON line, with upstream's fields in upstream's order.
//!
//! What cannot change after authentication is rendered once per request as the [`Head`] and copied
//! into each stage's line. Everything is borrowed from the context; no tree is built, except to take
//! managedFields out of bodies.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http::HeaderName;
use serde::de::IgnoredAny;

use crate::api::bytes::push_string;
use crate::audit::json::{self, push, push_key, push_member, push_micro_time, push_number};
use crate::audit::redact::{self, Redactor, Writer};
use crate::audit::{Decision, Stage, trace};
use crate::base::tree::Value;
use crate::request::{AuditLevel, RequestContext, UserInfo};

/// The one annotation that is ours. Its value is compact JSON; [`trace`] describes it.
pub const TRACE_ANNOTATION: &str = "audit.verbatim.dev/stages";
/// Whether the authorizer allowed it.
pub const DECISION_ANNOTATION: &str = "authorization.k8s.io/decision";
/// Why the authorizer decided as it did.
pub const REASON_ANNOTATION: &str = "authorization.k8s.io/reason";

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// A user agent longer than this is cut.
const USER_AGENT_MAX_BYTES: usize = 1024;
/// Requests slower than this get upstream's latency annotations.
const SLOW_REQUEST: Duration = Duration::from_millis(500);
/// How the annotations begin in which admission webhooks leave their patches.
pub(super) const WEBHOOK_PATCH_ANNOTATION: &str = "patch.webhook.admission.k8s.io/";

/// Latency annotations and the stages that each sums.
const LATENCIES: [(&str, &[&str]); 11] = [
    ("apiserver.latency.k8s.io/apf-queue-wait", &["flow-control"]),
    (
        "apiserver.latency.k8s.io/authentication",
        &["authentication"],
    ),
    ("apiserver.latency.k8s.io/authorization", &["authorization"]),
    (
        "apiserver.latency.k8s.io/decode-response-object",
        &["decode-response-object"],
    ),
    ("apiserver.latency.k8s.io/etcd", &["store"]),
    ("apiserver.latency.k8s.io/impersonation", &["impersonation"]),
    (
        "apiserver.latency.k8s.io/mutating-webhook",
        &["mutating-webhook"],
    ),
    (
        "apiserver.latency.k8s.io/response-write",
        &["response-write"],
    ),
    (
        "apiserver.latency.k8s.io/serialize-response-object",
        &["encode", "serialize-response-object"],
    ),
    (
        "apiserver.latency.k8s.io/transform-response-object",
        &["transform", "transform-response-object"],
    ),
    (
        "apiserver.latency.k8s.io/validating-webhook",
        &["validating-webhook"],
    ),
];

/// One rendered event, shared by all sinks.
#[derive(Clone, Debug)]
pub struct EventBytes {
    line: Vec<u8>,
    bodies: Range<usize>,
    annotations_end: Option<usize>,
    /// The stage of the event.
    pub stage: Stage,
}

impl EventBytes {
    /// The line with its line break.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The JSON text.
    pub fn json(&self) -> &[u8] {
        &self.line[..self.line.len() - 1]
    }

    /// The line without bodies and with upstream's mark that it was cut; `None` when there are no
    /// bodies to leave out.
    pub fn truncated(&self) -> Option<Vec<u8>> {
        if self.bodies.is_empty() {
            return None;
        }
        let mark: &[u8] = match self.annotations_end {
            Some(_) => br#","audit.k8s.io/truncated":"true""#,
            None => br#","annotations":{"audit.k8s.io/truncated":"true"}"#,
        };
        let at = self.annotations_end.unwrap_or(self.line.len() - 2);
        let mut out = Vec::with_capacity(self.line.len() - self.bodies.len() + mark.len());
        out.extend_from_slice(&self.line[..self.bodies.start]);
        out.extend_from_slice(&self.line[self.bodies.end..at]);
        out.extend_from_slice(mark);
        out.extend_from_slice(&self.line[at..]);
        Some(out)
    }

    /// A line that was made elsewhere (gap records, imports). It must end with a line break.
    pub fn from_line(line: Vec<u8>, stage: Stage) -> Self {
        EventBytes {
            line,
            bodies: 0..0,
            annotations_end: None,
            stage,
        }
    }
}

/// The answer as the event shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Response<'a> {
    /// HTTP status code; zero when none was sent.
    pub code: u16,
    /// Where the response object is.
    pub object: ResponseObject<'a>,
    /// Replaces status, message, reason and details.
    pub message: Option<&'a str>,
}

/// Where the response object is.
#[derive(Clone, Copy, Debug, Default)]
pub enum ResponseObject<'a> {
    /// There is none, or the level does not want it.
    #[default]
    None,
    /// In the context, as JSON text.
    Context,
    /// The JSON body as it is sent.
    Segments(&'a [Bytes]),
}

/// The part of a request's events that does not change.
#[derive(Clone, Debug)]
pub struct Head {
    bytes: Vec<u8>,
    /// Where the stage name goes.
    stage_at: usize,
    /// Where `impersonatedUser` and `authenticationMetadata` go.
    user_end: usize,
}

impl Head {
    /// Renders what is known once the user is.
    pub fn render(ctx: &RequestContext, level: AuditLevel, redactor: Option<&Redactor>) -> Head {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":""#);
        out.extend_from_slice(level.as_str().as_bytes());
        out.extend_from_slice(br#"","auditID":"#);
        push_string(&mut out, &ctx.audit_id);
        out.extend_from_slice(br#","stage":""#);
        let stage_at = out.len();
        out.extend_from_slice(br#"","requestURI":"#);
        let uri = ctx.uri.path_and_query().map_or("", |p| p.as_str());
        match redactor {
            Some(redactor) => push_string(&mut out, &redactor.uri(&ctx.info, uri)),
            None => push_string(&mut out, uri),
        }
        push_key(&mut out, "verb");
        push_string(&mut out, &ctx.info.verb);
        push_key(&mut out, "user");
        match ctx.impersonator.as_ref().or(ctx.user.as_ref()) {
            Some(user) => push_user(&mut out, user),
            None => out.extend_from_slice(b"{}"),
        }
        let user_end = out.len();
        push_source_ips(&mut out, ctx);
        push_user_agent(&mut out, ctx);
        Head {
            bytes: out,
            stage_at,
            user_end,
        }
    }

    /// Renders the event of one stage.
    pub fn event(
        &self,
        ctx: &RequestContext,
        decision: &Decision,
        redactor: Option<&Redactor>,
        stage: Stage,
        response: Option<Response<'_>>,
    ) -> EventBytes {
        let shown = Shown {
            ctx,
            decision,
            redactor,
        };
        let mut out = Vec::with_capacity(self.bytes.len() + 768 + self.body_len(ctx, response));
        out.extend_from_slice(&self.bytes[..self.stage_at]);
        out.extend_from_slice(stage.as_str().as_bytes());
        out.extend_from_slice(&self.bytes[self.stage_at..self.user_end]);
        if stage != Stage::RequestReceived
            && ctx.impersonator.is_some()
            && let Some(user) = &ctx.user
        {
            push_key(&mut out, "impersonatedUser");
            push_user(&mut out, user);
            if let Some(constraint) = ctx.audit.impersonation_constraint {
                push_key(&mut out, "authenticationMetadata");
                out.extend_from_slice(br#"{"impersonationConstraint":"#);
                push_string(&mut out, constraint);
                out.push(b'}');
            }
        }
        out.extend_from_slice(&self.bytes[self.user_end..]);
        push_object_ref(&mut out, ctx);
        if let Some(response) = response {
            push_response_status(&mut out, ctx, response);
        }
        let bodies_start = out.len();
        if stage != Stage::RequestReceived && ctx.info.is_resource {
            shown.push_request_object(&mut out);
        }
        if let Some(response) = response
            && decision.level == AuditLevel::RequestResponse
        {
            shown.push_response_object(&mut out, response.object);
        }
        let bodies = bodies_start..out.len();
        push_key(&mut out, "requestReceivedTimestamp");
        push_micro_time(&mut out, ctx.received_at);
        push_key(&mut out, "stageTimestamp");
        let now = match stage {
            Stage::RequestReceived => ctx.received_at,
            _ => Utc::now(),
        };
        push_micro_time(&mut out, now);
        let is_last = matches!(stage, Stage::ResponseComplete | Stage::Panic)
            || (stage == Stage::ResponseStarted && ctx.user.is_none());
        let annotations_end = shown.push_annotations(&mut out, is_last);
        out.extend_from_slice(b"}\n");
        EventBytes {
            line: out,
            bodies,
            annotations_end,
            stage,
        }
    }

    fn body_len(&self, ctx: &RequestContext, response: Option<Response<'_>>) -> usize {
        let request = ctx.audit.request_object.as_ref().map_or(0, Bytes::len);
        let response = match response.map(|r| r.object) {
            Some(ResponseObject::Segments(segments)) => segments.iter().map(Bytes::len).sum(),
            Some(ResponseObject::Context) => {
                ctx.audit.response_object.as_ref().map_or(0, Bytes::len)
            }
            _ => 0,
        };
        request + response
    }
}

/// The client's addresses as upstream gathers them: X-Forwarded-For, X-Real-Ip, the connection.
pub fn source_ips(ctx: &RequestContext) -> smallvec::SmallVec<[IpAddr; 2]> {
    let mut out = smallvec::SmallVec::new();
    for entry in ctx.header(X_FORWARDED_FOR).unwrap_or_default().split(',') {
        if let Ok(ip) = entry.trim().parse::<IpAddr>() {
            out.push(ip.to_canonical());
        }
    }
    if let Some(Ok(ip)) = ctx.header(X_REAL_IP).map(|h| h.trim().parse::<IpAddr>()) {
        let ip = ip.to_canonical();
        if !out.contains(&ip) {
            out.push(ip);
        }
    }
    if let Some(peer) = ctx.peer {
        let ip = peer.ip().to_canonical();
        if out.last() != Some(&ip) {
            out.push(ip);
        }
    }
    out
}

/// As its serializer would.
fn push_user(out: &mut Vec<u8>, user: &UserInfo) {
    out.push(b'{');
    push_member(out, "username", &user.username);
    push_member(out, "uid", &user.uid);
    if !user.groups.is_empty() {
        push_key(out, "groups");
        for (index, group) in user.groups.iter().enumerate() {
            out.push(if index == 0 { b'[' } else { b',' });
            push_string(out, group);
        }
        out.push(b']');
    }
    if !user.extra.is_empty() {
        push_key(out, "extra");
        push(out, &user.extra);
    }
    out.push(b'}');
}

fn push_source_ips(out: &mut Vec<u8>, ctx: &RequestContext) {
    let ips = source_ips(ctx);
    if ips.is_empty() {
        return;
    }
    push_key(out, "sourceIPs");
    out.push(b'[');
    for (index, ip) in ips.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push(out, ip);
    }
    out.push(b']');
}

fn push_user_agent(out: &mut Vec<u8>, ctx: &RequestContext) {
    let Some(value) = ctx.headers.get(http::header::USER_AGENT) else {
        return;
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    if text.len() <= USER_AGENT_MAX_BYTES {
        push_member(out, "userAgent", &text);
        return;
    }
    let end = text.floor_char_boundary(USER_AGENT_MAX_BYTES);
    push_member(out, "userAgent", &format!("{}...TRUNCATED", &text[..end]));
}

fn push_object_ref(out: &mut Vec<u8>, ctx: &RequestContext) {
    let (info, audit) = (&ctx.info, &ctx.audit);
    if !info.is_resource {
        return;
    }
    push_key(out, "objectRef");
    out.push(b'{');
    push_member(out, "resource", &info.resource);
    push_member(
        out,
        "namespace",
        first_of(&info.namespace, &audit.object_namespace),
    );
    push_member(out, "name", first_of(&info.name, &audit.object_name));
    push_member(out, "uid", first_of("", &audit.object_uid));
    push_member(out, "apiGroup", &info.group);
    push_member(out, "apiVersion", &info.version);
    push_member(
        out,
        "resourceVersion",
        first_of("", &audit.object_resource_version),
    );
    push_member(out, "subresource", &info.subresource);
    out.push(b'}');
}

/// What the URL says, else what the body says.
fn first_of<'a>(url: &'a str, body: &'a Option<String>) -> &'a str {
    match (url, body) {
        ("", Some(body)) => body,
        _ => url,
    }
}

fn push_response_status(out: &mut Vec<u8>, ctx: &RequestContext, response: Response<'_>) {
    push_key(out, "responseStatus");
    out.extend_from_slice(br#"{"metadata":{}"#);
    if let Some(message) = response.message {
        push_member(out, "message", message);
    } else if response.code == 0 {
        out.extend_from_slice(br#","status":"Success","message":"Connection closed early""#);
    } else if let Some(status) = &ctx.audit.response_status {
        for key in ["status", "message", "reason"] {
            push_member(out, key, status[key].as_str().unwrap_or_default());
        }
        if status["details"].is_object() {
            push_key(out, "details");
            push(out, &status["details"]);
        }
    }
    push_key(out, "code");
    let code = if response.code == 0 {
        200
    } else {
        response.code
    };
    push_number(out, u64::from(code));
    out.push(b'}');
}

/// A request as one group of sinks may see it.
#[derive(Clone, Copy)]
struct Shown<'a> {
    ctx: &'a RequestContext,
    decision: &'a Decision,
    redactor: Option<&'a Redactor>,
}

impl Shown<'_> {
    fn push_request_object(&self, out: &mut Vec<u8>) {
        let Some(object) = &self.ctx.audit.request_object else {
            return;
        };
        if self.decision.level < AuditLevel::Request {
            return;
        }
        push_key(out, "requestObject");
        // What is no patch has been decoded and is encoded by us.
        let writer = match self.ctx.info.verb.as_str() {
            "patch" => Writer::Client,
            _ => Writer::Server,
        };
        if self.push_changed(out, object, writer) {
            return;
        }
        // Patches are the client's own bytes: what is not JSON must not break the line.
        if writer == Writer::Server || serde_json::from_slice::<IgnoredAny>(object).is_ok() {
            json::push_raw(out, object);
        } else {
            push(out, &*String::from_utf8_lossy(object));
        }
    }

    fn push_response_object(&self, out: &mut Vec<u8>, object: ResponseObject<'_>) {
        match (object, &self.ctx.audit.response_object) {
            (ResponseObject::Context, Some(object)) => {
                push_key(out, "responseObject");
                if !self.push_changed(out, object, Writer::Server) {
                    json::push_raw(out, object);
                }
            }
            (ResponseObject::Segments(segments), _) if segments.iter().any(|s| !s.is_empty()) => {
                push_key(out, "responseObject");
                let may_change = self.decision.omit_managed_fields || self.redactor.is_some();
                if may_change && self.push_changed(out, &segments.concat(), Writer::Server) {
                    return;
                }
                for segment in segments {
                    json::push_raw(out, segment);
                }
            }
            _ => {}
        }
    }

    /// Writes a body without managedFields (which stay in patches) and redacted, if there is anything
    /// of either in it. Answers whether it wrote.
    fn push_changed(&self, out: &mut Vec<u8>, object: &[u8], writer: Writer) -> bool {
        let omits = writer == Writer::Server
            && self.decision.omit_managed_fields
            && memchr::memmem::find(object, b"\"managedFields\"").is_some();
        let info = &self.ctx.info;
        let redactor = self.redactor.filter(|r| r.concerns(info, object, writer));
        if !omits && redactor.is_none() {
            return false;
        }
        if writer == Writer::Server && redact::rewrite(out, object, info, redactor, omits) {
            return true;
        }
        let Ok(mut tree) = serde_json::from_slice::<Value>(object) else {
            // What cannot be looked into is shown whole or not at all.
            return match redactor {
                Some(redactor) => {
                    push(out, &redactor.opaque(object));
                    true
                }
                None => false,
            };
        };
        if omits {
            json::remove_managed_fields(&mut tree);
        }
        let replaced = redactor.map_or(0, |r| r.body(info, &mut tree));
        // A client's text may say a name twice; the tree has what counts, the text has both.
        let is_as_written = writer == Writer::Server || redactor.is_none();
        if !omits && replaced == 0 && is_as_written {
            return false;
        }
        push(out, &tree);
        true
    }

    /// Answers where the annotations end.
    fn push_annotations(&self, out: &mut Vec<u8>, is_last: bool) -> Option<usize> {
        let ctx = self.ctx;
        let mut annotations: Annotations<'_> = ctx
            .audit
            .annotations
            .iter()
            .map(|(k, v)| (&**k, Some(self.annotation(k, v))))
            .collect();
        if is_last {
            push_latencies(&mut annotations, ctx);
        }
        if is_last || trace::has_part(ctx, self.decision) {
            annotations.push((TRACE_ANNOTATION, None));
        }
        if annotations.is_empty() {
            return None;
        }
        annotations.sort_unstable_by(|a, b| a.0.cmp(b.0));
        push_key(out, "annotations");
        out.push(b'{');
        for (index, (key, value)) in annotations.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_string(out, key);
            out.push(b':');
            match value {
                Some(value) => push_string(out, value),
                None if is_last => trace::push_whole(out, ctx, self.decision),
                None => trace::push_part(out, ctx, self.decision),
            }
        }
        let end = out.len();
        out.push(b'}');
        Some(end)
    }

    /// The value of an annotation as it may be shown.
    fn annotation<'a>(&self, key: &str, value: &'a str) -> Cow<'a, str> {
        match self.redactor {
            Some(redactor) if key.starts_with(WEBHOOK_PATCH_ANNOTATION) => {
                redactor.webhook_patch(&self.ctx.info, value)
            }
            _ => Cow::Borrowed(value),
        }
    }
}

/// Keys and values; the trace has none yet, it is rendered in its place.
type Annotations<'a> = smallvec::SmallVec<[(&'a str, Option<Cow<'a, str>>); 8]>;

fn push_latencies(annotations: &mut Annotations<'_>, ctx: &RequestContext) {
    let total = ctx.stages.elapsed();
    if total <= SLOW_REQUEST || ctx.info.is_long_running() {
        return;
    }
    annotations.push((
        "apiserver.latency.k8s.io/total",
        Some(json::go_duration(total).into()),
    ));
    for (key, stages) in LATENCIES {
        let sum: Duration = stages.iter().map(|s| ctx.stages.total(s)).sum();
        if !sum.is_zero() {
            annotations.push((key, Some(json::go_duration(sum).into())));
        }
    }
}

#[cfg(test)]
mod tests;
