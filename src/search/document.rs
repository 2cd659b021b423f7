//! One audit event line as a tantivy document.
//!
//! A live server pays this for every request: the document owns the line once, its values point into
//! it, and only texts with JSON escapes are copied. It is small itself, because tantivy's queue to its
//! workers has ten thousand places for four documents each.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate};
use serde_json::value::RawValue;
use tantivy::schema::document::{ReferenceValue, ReferenceValueLeaf, Value};
use tantivy::schema::{Document, Field};

use crate::audit::event::{REASON_ANNOTATION, TRACE_ANNOTATION};
use crate::request::GOOD_OUTCOMES;
use crate::search::event::{
    Annotations, CLUSTER_ANNOTATION, Event, ObjectRef, Rule, StageRow, Trace,
};
use crate::search::fields::Fields;

/// Longer keywords are cut, well below tantivy's limit.
const KEYWORD_MAX_BYTES: usize = 2048;

/// A line that is not an event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not UTF-8.
    #[error("is not UTF-8")]
    Encoding(#[source] std::str::Utf8Error),
    /// Not JSON of the right shape.
    #[error("is not an audit event")]
    Shape(#[source] serde_json::Error),
    /// It has no time.
    #[error("has no stageTimestamp")]
    NoTime,
}

/// A document and where it belongs.
pub struct Prepared {
    /// For the writer.
    pub document: EventDocument,
    /// Day of `stageTimestamp`.
    pub day: NaiveDate,
    /// Sort key.
    pub key: u64,
    /// Hash of what makes an event the one it is: audit ID, stage and time.
    pub identity: u64,
    /// Hash of the audit ID.
    pub audit_id: u64,
}

/// A document: a line and values that point into it.
pub struct EventDocument {
    line: Box<str>,
    /// Texts that do not stand in the line as they are.
    spare: String,
    values: Vec<(Field, Slot)>,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Line(u32, u32),
    Spare(u32, u32),
    Number(u64),
    Whole,
}

impl EventDocument {
    /// The line.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Whether it has a value of the field.
    pub fn has(&self, field: Field) -> bool {
        self.values.iter().any(|(f, _)| *f == field)
    }

    /// Its texts of the field.
    pub fn texts(&self, field: Field) -> impl Iterator<Item = &str> {
        let values = self.values.iter().filter(move |(f, _)| *f == field);
        values.map(|(_, slot)| self.text(*slot))
    }

    /// Its numbers of the field.
    pub fn numbers(&self, field: Field) -> impl Iterator<Item = u64> {
        self.values.iter().filter_map(move |(f, slot)| match slot {
            Slot::Number(number) if *f == field => Some(*number),
            _ => None,
        })
    }

    /// Replaces the sort key.
    pub(super) fn set_key(&mut self, fields: &Fields, key: u64) {
        for (field, slot) in &mut self.values {
            if *field == fields.key {
                *slot = Slot::Number(key);
            }
        }
    }

    fn text(&self, slot: Slot) -> &str {
        match slot {
            Slot::Line(from, to) => &self.line[from as usize..to as usize],
            Slot::Spare(from, to) => &self.spare[from as usize..to as usize],
            Slot::Number(_) | Slot::Whole => "",
        }
    }
}

/// One value of an [`EventDocument`].
#[derive(Clone, Debug)]
pub enum EventValue<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Number(u64),
    /// The whole line.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> for EventValue<'a> {
    type ArrayIter = std::iter::Empty<Self>;
    type ObjectIter = std::iter::Empty<(&'a str, Self)>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        ReferenceValue::Leaf(match *self {
            EventValue::Text(text) => ReferenceValueLeaf::Str(text),
            EventValue::Number(number) => ReferenceValueLeaf::U64(number),
            EventValue::Bytes(bytes) => ReferenceValueLeaf::Bytes(bytes),
        })
    }
}

/// Iterates over an [`EventDocument`].
pub struct Values<'a> {
    document: &'a EventDocument,
    next: usize,
}

impl<'a> Iterator for Values<'a> {
    type Item = (Field, EventValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (field, slot) = *self.document.values.get(self.next)?;
        self.next += 1;
        let value = match slot {
            Slot::Number(number) => EventValue::Number(number),
            Slot::Whole => EventValue::Bytes(self.document.line.as_bytes()),
            text => EventValue::Text(self.document.text(text)),
        };
        Some((field, value))
    }
}

impl Document for EventDocument {
    type Value<'a> = EventValue<'a>;
    type FieldsValuesIter<'a> = Values<'a>;

    fn iter_fields_and_values(&self) -> Values<'_> {
        Values {
            document: self,
            next: 0,
        }
    }
}

/// Prepares one line.
pub fn prepare(fields: &Fields, line: &[u8]) -> Result<Prepared, Error> {
    let line = std::str::from_utf8(line).map_err(Error::Encoding)?;
    let event: Event<'_> = serde_json::from_str(line).map_err(Error::Shape)?;
    let received = DateTime::parse_from_rfc3339(&event.request_received_timestamp).ok();
    let reached = DateTime::parse_from_rfc3339(&event.stage_timestamp).ok();
    let time = reached.or(received).ok_or(Error::NoTime)?.to_utc();
    let micros = u64::try_from(time.timestamp_micros()).unwrap_or_default();
    let identity = identity(&event.audit_id, &event.stage, micros);
    let key = key(micros, stage_rank(&event.stage), identity);
    let mut writer = Writer {
        fields,
        line,
        spare: String::new(),
        values: Vec::with_capacity(64),
    };
    writer.event(&event);
    if let (Some(received), Some(reached)) = (received, reached) {
        let micros = (reached - received).num_microseconds().unwrap_or_default();
        writer.number(fields.latency, u64::try_from(micros).unwrap_or_default());
    }
    writer.number(fields.bytes, line.len() as u64);
    writer.number(fields.key, key);
    writer.values.push((fields.event, Slot::Whole));
    let (spare, values) = (writer.spare, writer.values);
    Ok(Prepared {
        document: EventDocument {
            line: line.into(),
            spare,
            values,
        },
        day: time.date_naive(),
        key,
        identity,
        audit_id: unique(&event.audit_id),
    })
}

/// What is indexed of an identifier that every request has of its own.
pub fn unique(text: &str) -> u64 {
    fnv(text.bytes())
}

/// Bits of the sort key that tell events of one microsecond and stage apart.
pub(super) const KEY_LOW_BITS: u32 = 10;
/// How far left the microseconds stand in it: behind them come two bits of the stage.
pub(super) const KEY_MICROS_SHIFT: u32 = KEY_LOW_BITS + 2;

/// The sort key: time, then stage, then a hash. The same event has the same key whenever it is
/// indexed (but where hashes collide), so cursors outlive rebuilding.
fn key(micros: u64, stage: u64, identity: u64) -> u64 {
    (micros << KEY_MICROS_SHIFT) | (stage << KEY_LOW_BITS) | (identity & ((1 << KEY_LOW_BITS) - 1))
}

/// The smallest sort key of a time.
pub fn first_key(micros: u64) -> u64 {
    micros << KEY_MICROS_SHIFT
}

fn stage_rank(stage: &str) -> u64 {
    match stage {
        "RequestReceived" => 0,
        "ResponseStarted" => 1,
        "ResponseComplete" => 2,
        _ => 3,
    }
}

fn identity(audit_id: &str, stage: &str, micros: u64) -> u64 {
    let parts = [audit_id.as_bytes(), stage.as_bytes(), &micros.to_le_bytes()];
    fnv(parts.into_iter().flatten().copied())
}

/// FNV-1a: must be the same in every version, because keys and terms on disk are made of it.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let hash = bytes.fold(start, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

/// Gathers values; empty ones are left out.
struct Writer<'e> {
    fields: &'e Fields,
    line: &'e str,
    spare: String,
    values: Vec<(Field, Slot)>,
}

impl<'e> Writer<'e> {
    fn keyword(&mut self, field: Field, value: &str) {
        let end = value.floor_char_boundary(KEYWORD_MAX_BYTES);
        self.text(field, &value[..end]);
    }

    fn words(&mut self, text: &str) {
        self.text(self.fields.text, text);
    }

    fn text(&mut self, field: Field, value: &str) {
        if value.is_empty() {
            return;
        }
        let slot = self.slot(value);
        self.values.push((field, slot));
    }

    /// Points into the line where the value stands there, else copies it.
    fn slot(&mut self, value: &str) -> Slot {
        // The line is bounded by the follower, far below 4 GiB.
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let line = self.line.as_ptr() as usize;
        let at = (value.as_ptr() as usize).wrapping_sub(line);
        if at < self.line.len() && at + value.len() <= self.line.len() {
            return Slot::Line(number(at), number(at + value.len()));
        }
        let from = self.spare.len();
        self.spare.push_str(value);
        Slot::Spare(number(from), number(self.spare.len()))
    }

    fn number(&mut self, field: Field, value: u64) {
        self.values.push((field, Slot::Number(value)));
    }

    fn event(&mut self, event: &Event<'e>) {
        let f = self.fields;
        if !event.audit_id.is_empty() {
            self.number(f.audit_id, unique(&event.audit_id));
        }
        self.keyword(f.level, &event.level);
        self.keyword(f.stage, &event.stage);
        self.keyword(f.verb, &event.verb);
        self.keyword(f.agent, &event.user_agent);
        self.words(&event.request_uri);
        self.words(&event.user_agent);
        if let Some(user) = &event.user {
            self.keyword(f.user, &user.username);
            self.keyword(f.user_uid, &user.uid);
            self.words(&user.username);
            for group in &user.groups {
                self.keyword(f.user_group, group);
            }
        }
        if let Some(user) = &event.impersonated_user {
            self.keyword(f.impersonated, &user.username);
            self.words(&user.username);
        }
        for ip in &event.source_ips {
            self.keyword(f.ip, ip);
        }
        let object = event.object_ref.as_ref();
        if let Some(object) = object {
            self.object(object, &event.request_uri);
        }
        if object.is_none_or(|object| object.resource.is_empty()) {
            let path = event.request_uri.split('?').next().unwrap_or_default();
            self.keyword(f.non_resource_url, path);
        }
        if let Some(status) = &event.response_status {
            if let Some(code) = status.code {
                self.number(f.code, code);
            }
            self.keyword(f.failure, &status.reason);
            self.words(&status.message);
        }
        let body = |body: Option<&'e RawValue>| body.map_or("", RawValue::get);
        self.bodies(body(event.request_object), body(event.response_object));
        self.annotations(&event.annotations, &event.request_uri);
    }

    /// An answer repeats most words of what was asked. Where it stands right behind, they are one text,
    /// in which each counts once.
    fn bodies(&mut self, request: &str, response: &str) {
        let line = self.line;
        let at = |text: &str| (text.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
        let end = at(request).wrapping_add(request.len());
        let gap = line.get(end..at(response)).unwrap_or_default();
        if !request.is_empty() && gap == r#","responseObject":"# {
            self.words(&line[at(request)..at(response) + response.len()]);
            return;
        }
        self.words(request);
        self.words(response);
    }

    fn object(&mut self, object: &ObjectRef<'_>, uri: &str) {
        let f = self.fields;
        for (field, value) in [
            (f.resource, &object.resource),
            (f.namespace, &object.namespace),
            (f.name, &object.name),
            (f.uid, &object.uid),
            (f.group, &object.api_group),
            (f.version, &object.api_version),
            (f.subresource, &object.subresource),
        ] {
            self.keyword(field, value);
        }
        // It stands in the URI, but for what is created.
        if !uri.contains(&*object.name) {
            self.words(&object.name);
        }
    }

    fn annotations(&mut self, annotations: &Annotations<'_>, uri: &str) {
        let f = self.fields;
        let mut kind = match uri.strip_prefix("/audit.verbatim.dev/") {
            Some("gap") => "gap",
            Some("policy") => "policy",
            _ => "request",
        };
        for (key, value) in annotations {
            match &**key {
                TRACE_ANNOTATION => {
                    let trace: Trace<'_> = serde_json::from_str(value).unwrap_or_default();
                    if trace.lost.is_some() {
                        kind = "gap";
                    }
                    self.trace(&trace);
                }
                CLUSTER_ANNOTATION => self.keyword(f.cluster, value),
                "authorization.k8s.io/decision" => self.keyword(f.decision, value),
                REASON_ANNOTATION => self.words(value),
                _ => {
                    let pair: Cow<'_, str> = format!("{key}={value}").into();
                    self.keyword(f.annotation, &pair);
                    self.words(value);
                }
            }
        }
        self.keyword(f.kind, kind);
    }

    fn trace(&mut self, trace: &Trace<'_>) {
        let f = self.fields;
        self.keyword(f.by, &trace.by);
        self.keyword(f.manager, &trace.field_manager);
        let (class, details) = trace
            .because
            .split_once(": ")
            .unwrap_or((&trace.because, ""));
        self.keyword(f.cause, class);
        self.words(details);
        self.keyword(f.request_id, &trace.request_id);
        if let Some(percent) = trace.sampled_percent {
            self.number(f.sampled_percent, percent);
        }
        self.keyword(f.rule_name, &trace.rule_name);
        match &trace.rule {
            Some(Rule::Index(rule)) => self.number(f.rule, *rule),
            Some(Rule::Name(name)) => self.keyword(f.rule_name, name),
            None => {}
        }
        for (field, set) in [
            (f.dry_run, trace.dry_run),
            (f.no_op, trace.no_op),
            (f.client_audit_id, trace.client_audit_id),
        ] {
            if set {
                self.keyword(field, "true");
            }
        }
        if let Some(lost) = trace.lost {
            self.number(f.lost, lost);
            self.keyword(f.sink, &trace.sink);
            self.keyword(f.cause, &trace.reason);
        }
        self.stages(trace);
    }

    fn stages(&mut self, trace: &Trace<'_>) {
        let f = self.fields;
        let mut slowest: Option<(&str, u64)> = None;
        let add = |writer: &mut Self, name: &str, micros: u64| {
            if name.is_empty() {
                return;
            }
            writer.keyword(f.pipeline, name);
            writer.number(f.pipeline_micros, micros);
        };
        for row in &trace.stages {
            add(self, &row.name, row.micros);
            if slowest.is_none_or(|(_, most)| row.micros > most) {
                slowest = Some((&row.name, row.micros));
            }
            if !is_good(row) {
                self.keyword(f.failed_stage, &row.name);
            }
            self.words(&row.reason);
        }
        for (name, micros) in trace.running.iter().flat_map(|r| &r.0) {
            add(self, name, *micros);
            self.keyword(f.failed_stage, name);
            if slowest.is_none_or(|(_, most)| *micros > most) {
                slowest = Some((name, *micros));
            }
        }
        if let Some((name, _)) = slowest {
            self.keyword(f.slowest, name);
        }
    }
}

fn is_good(row: &StageRow<'_>) -> bool {
    GOOD_OUTCOMES.contains(&&*row.outcome)
}
