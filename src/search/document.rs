//! One audit event line as a tantivy document.
//!
//! A live server pays this for every request: the document owns the line once, its values point into
//! it, and only texts with JSON escapes are copied. It is small itself, because tantivy's queue to its
//! workers has ten thousand places for four documents each.

use chrono::{DateTime, NaiveDate};
use serde_json::value::RawValue;
use tantivy::schema::document::{ReferenceValue, ReferenceValueLeaf, Value};
use tantivy::schema::{Document, Field};

use crate::audit::event::{DECISION_ANNOTATION, REASON_ANNOTATION, TRACE_ANNOTATION};
use crate::request::GOOD_OUTCOMES;
use crate::search::event::{
    Annotations, CLUSTER_ANNOTATION, Event, ObjectRef, Rule, StageRow, Trace,
};
use crate::search::fields::Fields;
use crate::search::in_flight::Ticket;
use crate::search::micros::Durations;

/// Longer keywords are cut, well below tantivy's limit.
const KEYWORD_MAX_BYTES: usize = 2048;

/// Values that would make a list longer are left out.
const LIST_MAX_BYTES: usize = 32 << 10;
/// Annotations that have fields of their own, or are only searched by their words.
const NOT_SEARCHED_AS_PAIRS: [&str; 4] = [
    TRACE_ANNOTATION,
    CLUSTER_ANNOTATION,
    DECISION_ANNOTATION,
    REASON_ANNOTATION,
];

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
#[derive(Debug)]
pub struct EventDocument {
    line: Box<str>,
    /// Texts that do not stand in the line as they are.
    spare: String,
    values: Vec<(Field, Slot)>,
    /// Its place among those that wait for the index's threads.
    ticket: Option<Ticket>,
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

    /// Its texts of the field; those of a list are one, see [`list`].
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

    /// Takes a place that is given back when the document is indexed.
    pub(super) fn hold(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
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
            Slot::Whole => &self.line,
            Slot::Number(_) => "",
        }
    }
}

/// One value of an [`EventDocument`]. Tantivy goes through all of them several times, and looks at few:
/// texts are found only then.
#[derive(Clone, Debug)]
pub struct EventValue<'a> {
    document: &'a EventDocument,
    slot: Slot,
}

impl<'a> Value<'a> for EventValue<'a> {
    type ArrayIter = std::iter::Empty<Self>;
    type ObjectIter = std::iter::Empty<(&'a str, Self)>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        ReferenceValue::Leaf(match self.slot {
            Slot::Number(number) => ReferenceValueLeaf::U64(number),
            text => ReferenceValueLeaf::Str(self.document.text(text)),
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
        let value = EventValue {
            document: self.document,
            slot,
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
    let latency = received.zip(reached).map(|(received, reached)| {
        let micros = (reached - received).num_microseconds();
        u64::try_from(micros.unwrap_or_default()).unwrap_or_default()
    });
    let mut writer = Writer {
        fields,
        line,
        spare: String::new(),
        words: String::with_capacity(512),
        values: Vec::with_capacity(64),
    };
    writer.number(fields.key, key);
    writer.event(&event, latency);
    writer.values.push((fields.event, Slot::Whole));
    let (spare, values) = (writer.spare, writer.values);
    Ok(Prepared {
        document: EventDocument {
            line: line.into(),
            spare,
            values,
            ticket: None,
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

/// Stands between the values of a list; within them it becomes a space.
const SEPARATOR: char = '\u{1f}';

/// The values of a list, which is one text in the index: see [`Kept::List`].
///
/// [`Kept::List`]: crate::search::fields::Kept::List
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(SEPARATOR)
}

/// Gathers values; empty ones are left out.
///
/// They come in the order of the schema, which spares tantivy sorting them.
struct Writer<'e> {
    fields: &'e Fields,
    line: &'e str,
    spare: String,
    /// Short texts whose words are indexed. They are one, because a word that a text repeats costs
    /// next to nothing, and most of these name the same user or object.
    words: String,
    values: Vec<(Field, Slot)>,
}

impl<'e> Writer<'e> {
    fn keyword(&mut self, field: Field, value: &str) {
        let end = value.floor_char_boundary(KEYWORD_MAX_BYTES);
        self.text(field, &value[..end]);
    }

    fn list<'v>(&mut self, field: Field, values: impl Iterator<Item = &'v str>) {
        let from = self.spare.len();
        for value in values {
            if self.spare.len() - from + value.len() > LIST_MAX_BYTES {
                break;
            }
            if self.spare.len() > from {
                self.spare.push(SEPARATOR);
            }
            // A value that looks like two would be found as either.
            match value.contains(SEPARATOR) {
                false => self.spare.push_str(value),
                true => {
                    let shown = |c| if c == SEPARATOR { ' ' } else { c };
                    self.spare.extend(value.chars().map(shown));
                }
            }
        }
        if self.spare.len() > from {
            self.values.push((field, self.spared(from)));
        }
    }

    fn words(&mut self, text: &str) {
        if !text.is_empty() {
            self.words.push_str(text);
            self.words.push(' ');
        }
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
        let line = self.line.as_ptr() as usize;
        let at = (value.as_ptr() as usize).wrapping_sub(line);
        if at < self.line.len() && at + value.len() <= self.line.len() {
            return Slot::Line(number(at), number(at + value.len()));
        }
        let from = self.spare.len();
        self.spare.push_str(value);
        self.spared(from)
    }

    fn spared(&self, from: usize) -> Slot {
        Slot::Spare(number(from), number(self.spare.len()))
    }

    fn number(&mut self, field: Field, value: u64) {
        self.values.push((field, Slot::Number(value)));
    }

    fn event(&mut self, event: &Event<'e>, latency: Option<u64>) {
        let f = self.fields;
        if !event.audit_id.is_empty() {
            self.number(f.audit_id, unique(&event.audit_id));
        }
        self.users(event);
        self.keyword(f.verb, &event.verb);
        let object = event.object_ref.as_ref();
        if let Some(object) = object {
            self.object(object, &event.request_uri);
        }
        self.words(&event.request_uri);
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
        self.keyword(f.stage, &event.stage);
        self.keyword(f.level, &event.level);
        for ip in &event.source_ips {
            self.keyword(f.ip, ip);
        }
        self.keyword(f.agent, &event.user_agent);
        self.words(&event.user_agent);
        if let Some(micros) = latency {
            self.number(f.latency, micros);
        }
        self.number(f.bytes, self.line.len() as u64);
        let durations = self.annotations(&event.annotations, &event.request_uri);
        let from = self.spare.len();
        self.spare.push_str(&self.words);
        self.values.push((f.text, self.spared(from)));
        let body = |body: Option<&'e RawValue>| body.map_or("", RawValue::get);
        self.bodies(body(event.request_object), body(event.response_object));
        for packed in durations.packed() {
            self.number(f.pipeline_micros, packed);
        }
    }

    fn users(&mut self, event: &Event<'_>) {
        let f = self.fields;
        if let Some(user) = &event.user {
            self.keyword(f.user, &user.username);
            self.keyword(f.user_uid, &user.uid);
            self.list(f.user_group, user.groups.iter().map(|group| &**group));
            self.words(&user.username);
        }
        if let Some(user) = &event.impersonated_user {
            self.keyword(f.impersonated, &user.username);
            self.words(&user.username);
        }
    }

    /// An answer repeats most words of what was asked. Where it stands right behind, they are one text,
    /// in which each counts once.
    fn bodies(&mut self, request: &str, response: &str) {
        let (line, field) = (self.line, self.fields.text);
        let at = |text: &str| (text.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
        let end = at(request).wrapping_add(request.len());
        let gap = line.get(end..at(response)).unwrap_or_default();
        if !request.is_empty() && gap == r#","responseObject":"# {
            self.text(field, &line[at(request)..at(response) + response.len()]);
            return;
        }
        self.text(field, request);
        self.text(field, response);
    }

    fn object(&mut self, object: &ObjectRef<'_>, uri: &str) {
        let f = self.fields;
        for (field, value) in [
            (f.group, &object.api_group),
            (f.version, &object.api_version),
            (f.resource, &object.resource),
            (f.subresource, &object.subresource),
            (f.namespace, &object.namespace),
            (f.name, &object.name),
            (f.uid, &object.uid),
        ] {
            self.keyword(field, value);
        }
        // It stands in the URI, but for what is created.
        if !uri.contains(&*object.name) {
            self.words(&object.name);
        }
    }

    /// Answers how long the stages of the pipeline took.
    fn annotations(&mut self, annotations: &Annotations<'_>, uri: &str) -> Durations {
        let f = self.fields;
        let mut kind = match uri.strip_prefix("/audit.verbatim.dev/") {
            Some("gap") => "gap",
            Some("policy") => "policy",
            _ => "request",
        };
        let (mut trace, mut cluster, mut decision) = (None, "", "");
        for (key, value) in annotations {
            match &**key {
                TRACE_ANNOTATION => trace = Some(value),
                CLUSTER_ANNOTATION => cluster = value,
                DECISION_ANNOTATION => decision = value,
                _ => self.words(value),
            }
        }
        self.keyword(f.decision, decision);
        for (key, value) in annotations {
            if !NOT_SEARCHED_AS_PAIRS.contains(&&**key) {
                self.keyword(f.annotation, &format!("{key}={value}"));
            }
        }
        let trace = trace.map(|text| serde_json::from_str::<Trace<'_>>(text).unwrap_or_default());
        let trace = trace.unwrap_or_default();
        let durations = self.trace(&trace);
        self.keyword(f.cluster, cluster);
        if trace.lost.is_some() {
            kind = "gap";
        }
        self.keyword(f.kind, kind);
        if let Some(lost) = trace.lost {
            self.number(f.lost, lost);
            self.keyword(f.sink, &trace.sink);
        }
        durations
    }

    fn trace(&mut self, trace: &Trace<'_>) -> Durations {
        let f = self.fields;
        self.keyword(f.by, &trace.by);
        match &trace.rule {
            Some(Rule::Index(rule)) => self.number(f.rule, *rule),
            Some(Rule::Name(name)) => self.keyword(f.rule_name, name),
            None => {}
        }
        self.keyword(f.rule_name, &trace.rule_name);
        if let Some(percent) = trace.sampled_percent {
            self.number(f.sampled_percent, percent);
        }
        self.keyword(f.request_id, &trace.request_id);
        for (field, set) in [
            (f.client_audit_id, trace.client_audit_id),
            (f.dry_run, trace.dry_run),
            (f.no_op, trace.no_op),
        ] {
            if set {
                self.keyword(field, "true");
            }
        }
        self.keyword(f.manager, &trace.field_manager);
        let durations = self.stages(trace);
        let (class, details) = trace
            .because
            .split_once(": ")
            .unwrap_or((&trace.because, ""));
        self.keyword(f.cause, class);
        self.words(details);
        if trace.lost.is_some() {
            self.keyword(f.cause, &trace.reason);
        }
        durations
    }

    fn stages(&mut self, trace: &Trace<'_>) -> Durations {
        let f = self.fields;
        let ended = trace.stages.iter();
        let ended = ended.map(|row| (&*row.name, row.micros));
        let running = trace.running.iter().flat_map(|running| &running.0);
        let running = running.map(|(name, micros)| (&**name, *micros));
        let all = ended.chain(running.clone());
        let all = all.filter(|(name, _)| !name.is_empty());
        self.list(f.pipeline, all.clone().map(|(name, _)| name));
        // The first of those that took longest.
        let slowest = all
            .clone()
            .reduce(|slowest, stage| match stage.1 > slowest.1 {
                true => stage,
                false => slowest,
            });
        if let Some((name, _)) = slowest {
            self.keyword(f.slowest, name);
        }
        for row in &trace.stages {
            if !is_good(row) {
                self.keyword(f.failed_stage, &row.name);
            }
            self.words(&row.reason);
        }
        for (name, _) in running {
            self.keyword(f.failed_stage, name);
        }
        all.map(|(_, micros)| micros).collect()
    }
}

/// A place in a line, which the follower keeps far below 4 GiB.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn is_good(row: &StageRow<'_>) -> bool {
    GOOD_OUTCOMES.contains(&&*row.outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_the_order_of_the_schema() {
        let fields = Fields::new();
        let line = r#"{"kind":"Event","level":"Request","auditID":"a","stage":"ResponseComplete","requestURI":"/apis/apps/v1/namespaces/n/deployments","verb":"create","user":{"username":"u","uid":"1","groups":["a","b"]},"impersonatedUser":{"username":"v"},"sourceIPs":["10.0.0.1","10.0.0.2"],"userAgent":"kubectl","objectRef":{"resource":"deployments","namespace":"n","name":"d","uid":"2","apiGroup":"apps","apiVersion":"v1","subresource":"scale"},"responseStatus":{"code":409,"reason":"Conflict","message":"no"},"requestObject":{"x":1},"requestReceivedTimestamp":"2026-01-01T00:00:01.000000Z","stageTimestamp":"2026-01-01T00:00:01.700000Z","annotations":{"audit.verbatim.dev/cluster":"c","audit.verbatim.dev/stages":"{\"by\":\"token\",\"rule\":3,\"ruleName\":\"r\",\"because\":\"conflict: x\",\"sampledPercent\":5,\"clientAuditID\":true,\"requestID\":\"q\",\"dryRun\":true,\"noOp\":true,\"fieldManager\":\"m\",\"stages\":[[\"authentication\",0,10,\"ok\"],[\"store/create\",10,200000,\"error\",\"why\"]]}","authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC","z.example.com/other":"y"}}"#;
        let document = prepare(&fields, line.as_bytes())
            .expect("an event")
            .document;
        let values: Vec<Field> = document.values.iter().map(|(field, _)| *field).collect();
        assert!(values.is_sorted(), "{values:?}");
        let all = fields.schema.fields().map(|(field, _)| field);
        let missing = all.filter(|field| !document.has(*field));
        let missing: Vec<&str> = missing.map(|f| fields.schema.get_field_name(f)).collect();
        let not_here = ["uri", "nonResourceURL", "reason", "lost", "sink"];
        assert_eq!(missing, not_here);
        let groups: Vec<&str> = document.texts(fields.user_group).flat_map(list).collect();
        assert_eq!(groups, ["a", "b"]);
    }

    #[test]
    fn a_group_cannot_pass_for_two() {
        let fields = Fields::new();
        let line = r#"{"kind":"Event","level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/","verb":"get","user":{"username":"u","groups":["a\u001fsystem:masters","b"]},"requestReceivedTimestamp":"2026-01-01T00:00:01.000000Z","stageTimestamp":"2026-01-01T00:00:01.700000Z"}"#;
        let document = prepare(&fields, line.as_bytes())
            .expect("an event")
            .document;
        let groups: Vec<&str> = document.texts(fields.user_group).flat_map(list).collect();
        assert_eq!(groups, ["a system:masters", "b"]);
    }
}
