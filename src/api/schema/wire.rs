//! The protobuf codec: trees to and from upstream's messages, for built-in kinds.
//!
//! Called by [`protobuf`](crate::api::protobuf), which finds the schema. Driven by the numbers in it. As Go's generated code does, fields
//! that are no pointers are written even when they are empty; maps are written in the order of keys.
//! kind and apiVersion travel in the envelope (`k8s\0` and a `runtime.Unknown`), not in the message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};

use crate::api::quantity::Quantity;
use crate::api::schema::decode::{TypeMeta, untyped_number};
use crate::api::schema::{Field, Node, Object, Schema, Wire};
use crate::api::time;
use crate::base::tree::{Map, Number, Value};

/// What every body starts with.
pub const PREFIX: &[u8; 4] = b"k8s\0";

/// Deepest nesting of messages that is read.
const DEPTH_MAX: usize = 200;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// An opened envelope.
#[derive(Debug, PartialEq)]
pub struct Envelope<'a> {
    /// What the message is; either part may be empty.
    pub type_meta: TypeMeta,
    /// The message.
    pub raw: &'a [u8],
}

/// Wraps a message into the envelope.
pub fn wrap(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut type_meta = Vec::with_capacity(api_version.len() + kind.len() + 4);
    put_bytes(&mut type_meta, 1, api_version.as_bytes());
    put_bytes(&mut type_meta, 2, kind.as_bytes());
    let mut out = Vec::with_capacity(raw.len() + type_meta.len() + 16);
    out.extend_from_slice(PREFIX);
    put_bytes(&mut out, 1, &type_meta);
    put_bytes(&mut out, 2, raw);
    put_bytes(&mut out, 3, b"");
    put_bytes(&mut out, 4, b"");
    out
}

/// Opens an envelope.
///
/// # Errors
/// Upstream's texts, to follow `the object provided is unrecognized (must be of type X): `.
pub fn unwrap(bytes: &[u8]) -> Result<Envelope<'_>, String> {
    if bytes.is_empty() {
        return Err("empty data".into());
    }
    let Some(message) = bytes.strip_prefix(PREFIX) else {
        return Err(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
                .into(),
        );
    };
    let mut envelope = Envelope {
        type_meta: TypeMeta::default(),
        raw: &[],
    };
    let mut reader = Reader { rest: message };
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Bytes(bytes)) => {
                let mut reader = Reader { rest: bytes };
                while let Some((number, item)) = reader.next()? {
                    match (number, item) {
                        (1, Item::Bytes(text)) => envelope.type_meta.api_version = string(text),
                        (2, Item::Bytes(text)) => envelope.type_meta.kind = string(text),
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(raw)) => envelope.raw = raw,
            _ => {}
        }
    }
    Ok(envelope)
}

/// An object with its envelope; kind and apiVersion are the object's own.
pub fn encode(value: &Value, schema: &Schema) -> Vec<u8> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    wrap(text("apiVersion"), text("kind"), &encode_raw(value, schema))
}

/// An object's message without envelope.
pub fn encode_raw(value: &Value, schema: &Schema) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    put_message(&mut out, value, schema);
    out
}

/// A watch event's message: type and an object that has its envelope already.
pub fn watch_event(event_type: &str, object: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(object.len() + 8);
    put_bytes(&mut raw, 1, object);
    let mut out = Vec::with_capacity(raw.len() + 24);
    put_bytes(&mut out, 1, event_type.as_bytes());
    put_bytes(&mut out, 2, &raw);
    out
}

/// Reads a message. Zero values are in the tree; `normalise` drops them.
///
/// # Errors
/// Upstream's texts (`unexpected EOF`).
pub fn decode_raw(raw: &[u8], schema: &Schema) -> Result<Value, String> {
    let mut value = message(raw, schema, 0)?;
    crate::api::schema::normalise(&mut value, schema);
    Ok(value)
}

// ---- writing ----

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_key(out: &mut Vec<u8>, number: u32, wire: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire));
}

fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_key(out, number, BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_int(out: &mut Vec<u8>, number: u32, value: i64) {
    put_key(out, number, VARINT);
    put_varint(out, value as u64);
}

/// Writes a nested message with its length.
fn put_nested(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_key(out, number, BYTES);
    let start = out.len();
    write(out);
    let length = out.len() - start;
    put_varint(out, length as u64);
    // The length was written after the message: bring it to the front.
    let size = out.len() - start - length;
    out[start..].rotate_right(size);
}

/// The content of a message for types that are messages.
fn put_message(out: &mut Vec<u8>, value: &Value, schema: &Schema) {
    match &schema.node {
        Node::Object(object) => put_fields(out, value, object, &object.wire),
        Node::Time | Node::MicroTime => put_time(out, value),
        Node::Quantity => match value {
            Value::String(text) => put_bytes(out, 1, text.as_bytes()),
            Value::Number(number) => put_bytes(out, 1, number.to_string().as_bytes()),
            _ => put_bytes(out, 1, b"0"),
        },
        Node::IntOrString => {
            let text = value.as_str();
            put_int(out, 1, i64::from(text.is_some()));
            put_int(out, 2, value.as_i64().unwrap_or_default());
            put_bytes(out, 3, text.unwrap_or_default().as_bytes());
        }
        Node::Any if !value.is_null() => put_bytes(out, 1, value.to_string().as_bytes()),
        Node::Either(options) => put_either(out, value, options),
        // Named lists are messages of one repeated field.
        Node::List(list) => {
            for item in value.as_array().into_iter().flatten() {
                put_single(out, 1, item, &list.items);
            }
        }
        _ => {}
    }
}

fn put_fields(out: &mut Vec<u8>, value: &Value, object: &Object, wire: &[Wire]) {
    for place in wire {
        match place {
            Wire::Embedded(number, inner) => {
                put_nested(out, *number, |out| put_fields(out, value, object, inner));
            }
            Wire::Field(number, index) => {
                let field = &object.fields[*index];
                put_field(out, *number, value.get(field.name.as_ref()), field);
            }
        }
    }
}

fn put_field(out: &mut Vec<u8>, number: u32, value: Option<&Value>, field: &Field) {
    let value = value.unwrap_or(&Value::Null);
    let schema = &field.schema;
    match (&schema.node, value) {
        (Node::List(_), Value::Array(_)) if is_message_list(schema) => {
            put_nested(out, number, |out| put_message(out, value, schema));
        }
        (Node::List(list), Value::Array(items)) => {
            for item in items {
                put_single(out, number, item, &list.items);
            }
        }
        (Node::Map(map), Value::Object(members)) => {
            for (key, member) in members {
                put_nested(out, number, |out| {
                    put_bytes(out, 1, key.as_bytes());
                    put_single(out, 2, member, &map.values);
                });
            }
        }
        // Absent lists, maps, bytes and pointers are not written; everything else is.
        (Node::List(_) | Node::Map(_) | Node::Bytes, Value::Null) => {}
        (_, Value::Null) if field.pointer => {}
        _ => put_single(out, number, value, schema),
    }
}

/// One value with its key; null is the zero value.
fn put_single(out: &mut Vec<u8>, number: u32, value: &Value, schema: &Schema) {
    match &schema.node {
        Node::String => put_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Node::Bytes => {
            let text = value.as_str().unwrap_or_default();
            put_bytes(out, number, &STANDARD.decode(text).unwrap_or_default());
        }
        Node::Bool => put_int(out, number, i64::from(value.as_bool().unwrap_or_default())),
        Node::Int32 | Node::Int64 => put_int(out, number, value.as_i64().unwrap_or_default()),
        Node::Number => {
            put_key(out, number, FIXED64);
            out.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
        }
        _ => put_nested(out, number, |out| put_message(out, value, schema)),
    }
}

fn put_time(out: &mut Vec<u8>, value: &Value) {
    let parsed = value.as_str().and_then(|text| time::parse(text).ok());
    if let Some(parsed) = parsed.filter(|time| time.timestamp() != ZERO_TIME) {
        put_int(out, 1, parsed.timestamp());
        put_int(out, 2, i64::from(parsed.timestamp_subsec_nanos()));
    }
}

/// JSONSchemaPropsOr…: which number holds what depends on the type.
fn put_either(out: &mut Vec<u8>, value: &Value, options: &[crate::api::schema::SchemaRef]) {
    let option = |fits: fn(&Node) -> bool| options.iter().find(|option| fits(&option.node));
    let object = option(|node| matches!(node, Node::Object(_)));
    let list = option(|node| matches!(node, Node::List(_)));
    match (value, object, list) {
        (Value::Bool(flag), _, _) => put_int(out, 1, i64::from(*flag)),
        (Value::Object(_), Some(schema), list) => {
            // With a boolean beside it, which means "allowed", the schema is the second field.
            if list.is_none() {
                put_int(out, 1, 1);
            }
            let number = if list.is_none() { 2 } else { 1 };
            put_nested(out, number, |out| put_message(out, value, schema));
        }
        (Value::Array(items), _, Some(list)) => {
            if let Some(schema) = list.items() {
                for item in items {
                    put_single(out, 2, item, schema);
                }
            }
        }
        _ => {}
    }
}

/// Lists of strings whose Go type has a name of its own (`v1.Verbs`) are messages.
fn is_message_list(schema: &Schema) -> bool {
    let Node::List(list) = &schema.node else {
        return false;
    };
    matches!(list.items.node, Node::String) && !schema.go_type.starts_with("[]")
}

// ---- reading ----

enum Item<'a> {
    Int(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Other,
}

struct Reader<'a> {
    rest: &'a [u8],
}

fn eof() -> String {
    "unexpected EOF".into()
}

impl<'a> Reader<'a> {
    /// The next field, `None` at the end.
    fn next(&mut self) -> Result<Option<(u32, Item<'a>)>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = (key >> 3) as u32;
        let item = match (key & 7) as u8 {
            VARINT => Item::Int(self.varint()?),
            FIXED64 => {
                let bytes = self.take(8)?;
                Item::Fixed64(bytes.try_into().map_err(|_| eof())?)
            }
            BYTES => {
                let length = usize::try_from(self.varint()?).map_err(|_| eof())?;
                Item::Bytes(self.take(length)?)
            }
            FIXED32 => {
                self.take(4)?;
                Item::Other
            }
            wire => return Err(format!("proto: illegal wireType {wire}")),
        };
        Ok(Some((number, item)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(eof)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or_else(eof)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("proto: integer overflow".into())
    }
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn message(bytes: &[u8], schema: &Schema, depth: usize) -> Result<Value, String> {
    if depth > DEPTH_MAX {
        return Err("exceeded max depth".into());
    }
    match &schema.node {
        Node::Object(object) => {
            let mut members = Map::new();
            read_fields(bytes, object, &object.wire, &mut members, depth)?;
            Ok(Value::Object(members))
        }
        Node::Time | Node::MicroTime => read_time(bytes, schema),
        Node::Quantity => {
            let text = single_bytes(bytes)?.map(string).unwrap_or_default();
            let quantity = match text.is_empty() {
                true => Ok(Quantity::ZERO),
                false => Quantity::parse(&text),
            };
            quantity
                .map(|quantity| Value::String(quantity.to_string()))
                .map_err(|error| error.to_string())
        }
        Node::IntOrString => read_int_or_string(bytes),
        Node::Any => match single_bytes(bytes)? {
            None | Some(b"") => Ok(Value::Null),
            Some(json) => serde_json::from_slice(json).map_err(|error| error.to_string()),
        },
        Node::Either(options) => read_either(bytes, options, depth),
        Node::List(list) => {
            let mut items = Vec::new();
            let mut reader = Reader { rest: bytes };
            while let Some((number, item)) = reader.next()? {
                if number == 1 {
                    items.push(single(&item, &list.items, depth)?);
                }
            }
            Ok(Value::Array(items))
        }
        _ => Ok(Value::Null),
    }
}

fn read_fields(
    bytes: &[u8],
    object: &Object,
    wire: &[Wire],
    members: &mut Map,
    depth: usize,
) -> Result<(), String> {
    let mut reader = Reader { rest: bytes };
    while let Some((number, item)) = reader.next()? {
        let place = wire.iter().find(|place| match place {
            Wire::Field(n, _) | Wire::Embedded(n, _) => *n == number,
        });
        match (place, &item) {
            (Some(Wire::Embedded(_, inner)), Item::Bytes(bytes)) => {
                if depth > DEPTH_MAX {
                    return Err("exceeded max depth".into());
                }
                read_fields(bytes, object, inner, members, depth + 1)?;
            }
            (Some(Wire::Field(_, index)), item) => {
                read_field(item, &object.fields[*index], members, depth)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_field(
    item: &Item<'_>,
    field: &Field,
    members: &mut Map,
    depth: usize,
) -> Result<(), String> {
    let name = field.name.as_ref();
    let schema = &field.schema;
    match &schema.node {
        Node::List(list) if !is_message_list(schema) => {
            let items = members
                .entry(name.into())
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(items) = items {
                read_items(item, &list.items, items, depth)?;
            }
        }
        Node::Map(map) => {
            let Item::Bytes(bytes) = item else {
                return Ok(());
            };
            let (key, value) = read_entry(bytes, &map.values, depth)?;
            let entries = members
                .entry(name.into())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(entries) = entries {
                entries.insert(key.into(), value);
            }
        }
        _ => {
            members.insert(name.into(), single(item, schema, depth)?);
        }
    }
    Ok(())
}

/// One element, or many packed numbers.
fn read_items(
    item: &Item<'_>,
    schema: &Schema,
    items: &mut Vec<Value>,
    depth: usize,
) -> Result<(), String> {
    let scalar = matches!(schema.node, Node::Int32 | Node::Int64 | Node::Bool);
    match item {
        Item::Bytes(packed) if scalar => {
            let mut reader = Reader { rest: packed };
            while !reader.rest.is_empty() {
                items.push(single(&Item::Int(reader.varint()?), schema, depth)?);
            }
        }
        item => items.push(single(item, schema, depth)?),
    }
    Ok(())
}

fn read_entry(bytes: &[u8], schema: &Schema, depth: usize) -> Result<(String, Value), String> {
    let mut key = String::new();
    let mut value = Value::Null;
    let mut reader = Reader { rest: bytes };
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Bytes(text)) => key = string(text),
            (2, item) => value = single(&item, schema, depth)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn single(item: &Item<'_>, schema: &Schema, depth: usize) -> Result<Value, String> {
    Ok(match (&schema.node, item) {
        (Node::String, Item::Bytes(text)) => Value::String(string(text)),
        (Node::Bytes, Item::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        (Node::Bool, Item::Int(int)) => Value::Bool(*int != 0),
        (Node::Int32, Item::Int(int)) => Value::Number(Number::from(*int as i32)),
        (Node::Int64, Item::Int(int)) => Value::Number(Number::from(*int as i64)),
        (Node::Number, Item::Fixed64(bytes)) => {
            let literal = f64::from_le_bytes(*bytes).to_string();
            untyped_number(&literal).map_or(Value::Null, Value::Number)
        }
        (_, Item::Bytes(bytes)) => message(bytes, schema, depth + 1)?,
        (_, _) => return Err("proto: wrong wireType for field".into()),
    })
}

/// The bytes of field 1.
fn single_bytes(bytes: &[u8]) -> Result<Option<&[u8]>, String> {
    let mut reader = Reader { rest: bytes };
    let mut found = None;
    while let Some((number, item)) = reader.next()? {
        if let (1, Item::Bytes(bytes)) = (number, item) {
            found = Some(bytes);
        }
    }
    Ok(found)
}

/// Go's zero time, which is written as an empty message and shown as null, in seconds.
const ZERO_TIME: i64 = -62_135_596_800;

fn read_time(bytes: &[u8], schema: &Schema) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0_i64, 0_u32);
    let mut reader = Reader { rest: bytes };
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Int(value)) => seconds = value as i64,
            (2, Item::Int(value)) if matches!(schema.node, Node::MicroTime) => {
                nanos = value as u32;
            }
            _ => {}
        }
    }
    let time: Option<DateTime<Utc>> = match (seconds, nanos) {
        (ZERO_TIME, 0) => None,
        (seconds, nanos) => DateTime::from_timestamp(seconds, nanos),
    };
    Ok(time.map_or(Value::Null, |time| {
        Value::String(match schema.node {
            Node::MicroTime => time::format_micros(time),
            _ => time::format_seconds(time),
        })
    }))
}

fn read_int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_string, mut int, mut text) = (false, 0_i32, String::new());
    let mut reader = Reader { rest: bytes };
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Int(value)) => is_string = value != 0,
            (2, Item::Int(value)) => int = value as i32,
            (3, Item::Bytes(bytes)) => text = string(bytes),
            _ => {}
        }
    }
    Ok(match is_string {
        true => Value::String(text),
        false => Value::Number(Number::from(int)),
    })
}

fn read_either(
    bytes: &[u8],
    options: &[crate::api::schema::SchemaRef],
    depth: usize,
) -> Result<Value, String> {
    let option = |fits: fn(&Node) -> bool| options.iter().find(|option| fits(&option.node));
    let object = option(|node| matches!(node, Node::Object(_)));
    let list = option(|node| matches!(node, Node::List(_)));
    let mut value = Value::Null;
    let mut reader = Reader { rest: bytes };
    while let Some((number, item)) = reader.next()? {
        match (number, &item, object, list) {
            (1, Item::Int(flag), _, None) => value = Value::Bool(*flag != 0),
            (2, Item::Bytes(bytes), Some(schema), None)
            | (1, Item::Bytes(bytes), Some(schema), _) => {
                value = message(bytes, schema, depth + 1)?;
            }
            (2, item, _, Some(list)) => {
                if !value.is_array() {
                    value = Value::Array(Vec::new());
                }
                if let (Value::Array(items), Some(schema)) = (&mut value, list.items()) {
                    items.push(single(item, schema, depth)?);
                }
            }
            _ => {}
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::GroupVersionKind;
    use crate::api::schema::{builtin, normalise};
    use crate::base::tree::json;
    use proptest::prelude::*;

    fn schema(group: &'static str, kind: &'static str) -> &'static Schema {
        builtin(&GroupVersionKind::new(group, "v1", kind)).expect("built-in kind")
    }

    #[test]
    fn a_config_map_as_client_go_sends_it() {
        let bytes = STANDARD
            .decode(
                "azhzAAoPCgJ2MRIJQ29uZmlnTWFwEiEKDAoCcGJaBgoBbBIBdhIGCgFrEgF2GgkKA2JpbhICAAEaACIA",
            )
            .expect("base64");
        let envelope = unwrap(&bytes).expect("envelope");
        assert_eq!(
            envelope.type_meta,
            TypeMeta {
                api_version: "v1".into(),
                kind: "ConfigMap".into()
            }
        );
        assert_eq!(
            decode_raw(envelope.raw, schema("", "ConfigMap")),
            Ok(
                json!({"metadata": {"name": "pb", "labels": {"l": "v"}}, "data": {"k": "v"}, "binaryData": {"bin": "AAE="}})
            )
        );
    }

    #[test]
    fn messages_hold_empty_values() {
        let deployment = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "d"},
            "spec": {"replicas": 1}, "status": {"replicas": 0, "selector": "a=b"}});
        let bytes = encode(&deployment, schema("autoscaling", "Scale"));
        let want = b"k8s\0\n\x17\n\x0eautoscaling/v1\x12\x05Scale\
            \x12\x20\n\x11\n\x01d\x12\0\x1a\0\"\0*\x002\x008\0B\0\x12\x02\x08\x01\x1a\x07\x08\0\x12\x03a=b\x1a\0\"\0";
        assert_eq!(bytes, want, "{:?}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn round_trips() {
        for (group, kind, mut value) in [
            (
                "",
                "Pod",
                json!({"metadata": {"name": "p", "creationTimestamp": "2024-01-02T03:04:05Z",
                    "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "ports": [{"containerPort": 80}],
                    "resources": {"limits": {"cpu": "500m"}}, "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 5},
                    "securityContext": {"runAsUser": -1}}],
                    "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "hostPath": {"path": "/", "type": ""}}]},
                "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": null,
                    "lastProbeTime": "1970-01-01T00:00:00Z"}]}}),
            ),
            (
                "",
                "Service",
                json!({"spec": {"ports": [{"port": 80, "targetPort": 0, "protocol": "TCP"}], "clusterIPs": ["None"]}}),
            ),
            (
                "admissionregistration.k8s.io",
                "ValidatingAdmissionPolicy",
                json!({"spec": {"matchConstraints": {"resourceRules": [
                {"resourceNames": ["x"], "operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}}}),
            ),
            (
                "authentication.k8s.io",
                "TokenReview",
                json!({"spec": {"token": "t"}, "status": {"user": {"extra": {"k": ["a", "b"]}}}}),
            ),
            (
                "coordination.k8s.io",
                "Lease",
                json!({"spec": {"renewTime": "2024-01-02T03:04:05.000006Z", "leaseDurationSeconds": 0}}),
            ),
            (
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {
                "items": {"type": "string"}, "additionalProperties": {"type": "integer", "maximum": 1.5}, "default": {"a": [1, null]},
                "properties": {"x": {"additionalProperties": false, "enum": ["a", 1]}}}}}]}}),
            ),
            (
                "",
                "PodList",
                json!({"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "a"}}]}),
            ),
        ] {
            let schema = schema(group, kind);
            normalise(&mut value, schema);
            assert_eq!(
                decode_raw(&encode_raw(&value, schema), schema),
                Ok(value),
                "{kind}"
            );
        }
    }

    #[test]
    fn errors_in_upstreams_words() {
        let text = |bytes: &[u8]| unwrap(bytes).map(|_| ()).expect_err("refused");
        assert_eq!(text(b""), "empty data");
        assert_eq!(text(b"k8s\0junk!"), "unexpected EOF");
        assert!(text(b"nope").ends_with("expected prefix [107 56 115 0]"));
        assert_eq!(
            decode_raw(b"\xff\xff", schema("", "ConfigMap")),
            Err("unexpected EOF".into())
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unwrap(&bytes);
            let _ = decode_raw(&bytes, schema("", "Pod"));
        }
    }
}
