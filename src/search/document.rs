//! One audit event line as a tantivy document.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use serde::Deserialize;
use serde_json::value::RawValue;
use tantivy::TantivyDocument;

use crate::audit::event::TRACE_ANNOTATION;
use crate::search::fields::Fields;

/// Longer keywords are cut, well below tantivy's limit.
const KEYWORD_MAX_BYTES: usize = 2048;
/// Outcomes of stages that are not failures.
pub(super) const GOOD_OUTCOMES: [&str; 6] =
    ["ok", "allow", "skipped", "exempt", "anonymous", "none"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, default, rename = "auditID")]
    audit_id: Cow<'a, str>,
    #[serde(borrow, default)]
    level: Cow<'a, str>,
    #[serde(borrow, default)]
    stage: Cow<'a, str>,
    #[serde(borrow, default, rename = "requestURI")]
    request_uri: Cow<'a, str>,
    #[serde(borrow, default)]
    verb: Cow<'a, str>,
    #[serde(borrow, default)]
    user: User<'a>,
    #[serde(borrow)]
    impersonated_user: Option<User<'a>>,
    #[serde(borrow, default, rename = "sourceIPs")]
    source_ips: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    user_agent: Cow<'a, str>,
    #[serde(borrow)]
    object_ref: Option<ObjectRef<'a>>,
    #[serde(borrow)]
    response_status: Option<ResponseStatus<'a>>,
    #[serde(borrow)]
    request_object: Option<&'a RawValue>,
    #[serde(borrow)]
    response_object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_received_timestamp: Cow<'a, str>,
    #[serde(borrow, default)]
    stage_timestamp: Cow<'a, str>,
    #[serde(borrow, default)]
    annotations: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct User<'a> {
    #[serde(borrow, default)]
    username: Cow<'a, str>,
    #[serde(borrow, default)]
    groups: Vec<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef<'a> {
    #[serde(borrow, default)]
    resource: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
    #[serde(borrow, default)]
    api_group: Cow<'a, str>,
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    subresource: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
struct ResponseStatus<'a> {
    #[serde(default)]
    code: u64,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
}

/// What the value of [`TRACE_ANNOTATION`] holds.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Trace {
    by: String,
    rule: Option<u64>,
    dry_run: bool,
    no_op: bool,
    field_manager: String,
    stages: Vec<Vec<serde_json::Value>>,
    lost: Option<u64>,
}

/// A line that is not an event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON of the right shape.
    #[error("is not an audit event")]
    Shape(#[source] serde_json::Error),
    /// It has no time.
    #[error("has no stageTimestamp")]
    NoTime,
}

/// A document and the day it belongs to.
pub struct Prepared {
    /// For the writer.
    pub document: TantivyDocument,
    /// Day of `stageTimestamp`.
    pub day: NaiveDate,
}

/// Prepares one line. `counter` tells apart events of the same microsecond.
pub fn prepare(fields: &Fields, line: &[u8], counter: u64) -> Result<Prepared, Error> {
    let event: Event<'_> = serde_json::from_slice(line).map_err(Error::Shape)?;
    let received = DateTime::parse_from_rfc3339(&event.request_received_timestamp).ok();
    let reached = DateTime::parse_from_rfc3339(&event.stage_timestamp).ok();
    let time = reached.or(received).ok_or(Error::NoTime)?.to_utc();
    let mut writer = Writer {
        fields,
        document: TantivyDocument::default(),
    };
    writer.event(&event);
    if let (Some(received), Some(reached)) = (received, reached) {
        let micros = (reached - received).num_microseconds().unwrap_or_default();
        writer.number("latency", u64::try_from(micros).unwrap_or_default());
    }
    let mut document = writer.document;
    let micros = u64::try_from(time.timestamp_micros()).unwrap_or_default();
    document.add_u64(fields.key, key(micros, counter));
    document.add_bytes(fields.event, line);
    Ok(Prepared {
        document,
        day: time.date_naive(),
    })
}

/// The sort key of a time.
pub fn key(micros: u64, counter: u64) -> u64 {
    (micros << 12) | (counter & 0xfff)
}

/// Adds fields to a document; empty values are left out.
struct Writer<'f> {
    fields: &'f Fields,
    document: TantivyDocument,
}

impl Writer<'_> {
    fn text(&mut self, field: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let end = value.floor_char_boundary(KEYWORD_MAX_BYTES);
        self.document
            .add_text(self.fields.get(field), &value[..end]);
    }

    fn number(&mut self, field: &str, value: u64) {
        self.document.add_u64(self.fields.get(field), value);
    }

    fn words(&mut self, text: &str) {
        if !text.is_empty() {
            self.document.add_text(self.fields.get("text"), text);
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        for (field, value) in [
            ("auditID", &event.audit_id),
            ("level", &event.level),
            ("stage", &event.stage),
            ("uri", &event.request_uri),
            ("verb", &event.verb),
            ("user", &event.user.username),
            ("agent", &event.user_agent),
        ] {
            self.text(field, value);
        }
        for text in [&event.request_uri, &event.user.username, &event.user_agent] {
            self.words(text);
        }
        for group in &event.user.groups {
            self.text("userGroup", group);
        }
        if let Some(user) = &event.impersonated_user {
            self.text("as", &user.username);
            self.words(&user.username);
        }
        for ip in &event.source_ips {
            self.text("ip", ip);
        }
        if let Some(object) = &event.object_ref {
            self.object(object);
        }
        if let Some(status) = &event.response_status {
            self.number("code", status.code);
            self.text("failure", &status.reason);
            self.words(&status.message);
        }
        for body in [event.request_object, event.response_object]
            .into_iter()
            .flatten()
        {
            self.words(body.get());
        }
        self.annotations(event);
    }

    fn object(&mut self, object: &ObjectRef<'_>) {
        for (field, value) in [
            ("resource", &object.resource),
            ("namespace", &object.namespace),
            ("name", &object.name),
            ("uid", &object.uid),
            ("group", &object.api_group),
            ("version", &object.api_version),
            ("subresource", &object.subresource),
        ] {
            self.text(field, value);
        }
        self.words(&object.name);
    }

    fn annotations(&mut self, event: &Event<'_>) {
        let mut kind = "request";
        for (key, value) in &event.annotations {
            match key.as_ref() {
                TRACE_ANNOTATION => {
                    let trace: Trace = serde_json::from_str(value).unwrap_or_default();
                    if trace.lost.is_some() {
                        kind = "gap";
                    }
                    self.trace(&trace);
                }
                "authorization.k8s.io/decision" => self.text("decision", value),
                "authorization.k8s.io/reason" => {
                    self.text("reason", value);
                    self.words(value);
                }
                _ => {
                    self.text("annotation", &format!("{key}={value}"));
                    self.words(value);
                }
            }
        }
        if event.request_uri == "/audit.verbatim.dev/policy" {
            kind = "policy";
        }
        self.text("type", kind);
    }

    fn trace(&mut self, trace: &Trace) {
        self.text("by", &trace.by);
        self.text("manager", &trace.field_manager);
        if let Some(rule) = trace.rule {
            self.number("rule", rule);
        }
        for (field, set) in [("dryRun", trace.dry_run), ("noOp", trace.no_op)] {
            if set {
                self.text(field, "true");
            }
        }
        for stage in &trace.stages {
            let text = |at: usize| stage.get(at).and_then(|v| v.as_str()).unwrap_or_default();
            if !GOOD_OUTCOMES.contains(&text(3)) {
                self.text("failedStage", text(0));
            }
            self.words(text(4));
        }
    }
}
