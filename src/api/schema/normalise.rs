//! `normalise`: what a round trip through Go's structs does to an object of a built-in kind.
//!
//! Nulls and empty values of `omitempty` fields go, zero values of the other fields come, scalars
//! become canonical. Called after anything that changes a tree without decoding it: patches,
//! defaults, admission. Unknown fields are dropped.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Field, Node, Object, Schema};
use crate::api::quantity::Quantity;
use crate::api::time;
use crate::base::tree::{Map, Number, Value};

/// The members of an object that a change may have touched. The others are as they were stored, which
/// is in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Any.
    All,
    /// These.
    Only(Vec<String>),
}

impl Touched {
    /// Whether `name` may have been touched.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Touched::All => true,
            Touched::Only(names) => names.iter().any(|touched| touched == name),
        }
    }
}

/// As [`normalise`], of an object of which only the `touched` members are looked into.
pub fn normalise_where(value: &mut Value, schema: &Schema, touched: &Touched) {
    match (&schema.node, value) {
        (Node::Object(object), Value::Object(members)) => {
            normalise_members(members, object, |name| touched.has(name));
        }
        (_, value) => normalise(value, schema),
    }
}

/// Brings `value` into the form that Go would encode after decoding it. Idempotent.
///
/// Values that do not fit their type are left alone; [`decode`](super::decode()) refuses them.
pub fn normalise(value: &mut Value, schema: &Schema) {
    match (&schema.node, &mut *value) {
        (Node::Object(object), Value::Object(members)) => normalise_object(members, object),
        (Node::Map(map), Value::Object(members)) => {
            let resources = schema.go_type == "v1.ResourceList";
            for member in members.values_mut() {
                normalise_element(member, &map.values);
                if resources {
                    *member = resource_amount(std::mem::take(member));
                }
            }
        }
        (Node::List(list), Value::Array(items)) => {
            for item in items {
                normalise_element(item, &list.items);
            }
        }
        (Node::Either(options), value) => {
            let fits = |option: &&super::SchemaRef| {
                matches!(
                    (&option.node, &*value),
                    (Node::Object(_), Value::Object(_))
                        | (Node::List(_), Value::Array(_))
                        | (Node::Bool, Value::Bool(_))
                )
            };
            if let Some(option) = options.iter().find(fits) {
                normalise(value, option);
            }
        }
        (node, value) => normalise_scalar(value, node),
    }
}

/// Fills declared defaults of absent fields, also inside lists and maps. An object that is absent is
/// not created for the sake of its fields' defaults.
pub fn apply_defaults(value: &mut Value, schema: &Schema) {
    apply_defaults_where(value, schema, &Touched::All);
}

/// The same, of an object of which only the `touched` members are looked into.
pub fn apply_defaults_where(value: &mut Value, schema: &Schema, touched: &Touched) {
    match (&schema.node, value) {
        (Node::Object(object), Value::Object(members)) => {
            let mut fields = object.in_order();
            for (name, member) in members.iter_mut() {
                let field = fields.field(name);
                if let (Value::Object(_) | Value::Array(_), Some(field)) = (&*member, field)
                    && touched.has(name)
                {
                    apply_defaults(member, &field.schema);
                }
            }
            for field in object.defaulted() {
                let name = field.name.as_ref();
                if members.get(name).is_none_or(Value::is_null)
                    && let Some(default) = &field.default
                {
                    members.insert(field.key(), default.clone());
                }
            }
        }
        (Node::Map(map), Value::Object(members)) => {
            for member in members.values_mut() {
                apply_defaults(member, &map.values);
            }
        }
        (Node::List(list), Value::Array(items)) => {
            for item in items {
                apply_defaults(item, &list.items);
            }
        }
        _ => {}
    }
}

fn normalise_element(value: &mut Value, schema: &Schema) {
    match value {
        Value::Null => *value = zero(schema),
        value => normalise(value, schema),
    }
}

fn normalise_object(members: &mut Map, object: &Object) {
    normalise_members(members, object, |_| true);
}

/// `looks_into` says which members may not be normal themselves.
fn normalise_members(members: &mut Map, object: &Object, looks_into: impl Fn(&str) -> bool) {
    let mut fields = object.in_order();
    // Most objects are what they should be, and removing is dear also where nothing is removed.
    let mut is_whole = true;
    for (name, value) in members.iter_mut() {
        let Some(field) = fields.field(name) else {
            is_whole &= object.preserve_unknown;
            continue;
        };
        if !value.is_null() && looks_into(name) {
            normalise(value, &field.schema);
            if left_out(value, field) {
                *value = Value::Null;
            }
        }
        is_whole &= !value.is_null();
    }
    if !is_whole {
        // What prints is put back below.
        members.retain(|name, value| match object.field_index(name) {
            Some(_) => !value.is_null(),
            None => object.preserve_unknown,
        });
    }
    for field in object.printed() {
        let name = field.name.as_ref();
        if !members.contains_key(name)
            && let Some(value) = absent(field)
        {
            members.insert(field.key(), value);
        }
    }
}

/// Makes empty lists null where they print: storage does not tell the two apart. Ownership does, so
/// this comes after tracking it.
pub fn forget_empty_lists(value: &mut Value, schema: &Schema) {
    match (&schema.node, value) {
        (Node::Object(object), Value::Object(members)) => {
            let mut fields = object.in_order();
            for (name, member) in members.iter_mut() {
                let Some(field) = fields.field(name) else {
                    continue;
                };
                match member {
                    Value::Array(items) if items.is_empty() && !field.omit_empty => {
                        *member = Value::Null;
                    }
                    Value::Array(_) | Value::Object(_) => {
                        forget_empty_lists(member, &field.schema);
                    }
                    _ => {}
                }
            }
        }
        (Node::Map(map), Value::Object(members)) => {
            for member in members.values_mut().filter(|member| member.is_object()) {
                forget_empty_lists(member, &map.values);
            }
        }
        (Node::List(list), Value::Array(items)) => {
            for item in items.iter_mut().filter(|item| item.is_object()) {
                forget_empty_lists(item, &list.items);
            }
        }
        _ => {}
    }
}

/// What Go prints for a field that nobody set.
pub(super) fn absent(field: &Field) -> Option<Value> {
    let omitted = field.omit_empty || field.omit_zero;
    if field.pointer {
        return (!omitted).then_some(Value::Null);
    }
    match is_struct(&field.schema.node) {
        // omitempty does not apply to structs.
        true => (!field.omit_zero).then(|| zero(&field.schema)),
        false => (!omitted).then(|| zero(&field.schema)),
    }
}

/// Types that are structs in Go, also where they print as text.
fn is_struct(node: &Node) -> bool {
    matches!(
        node,
        Node::Object(_) | Node::Time | Node::MicroTime | Node::Quantity | Node::IntOrString
    )
}

/// Whether Go leaves this value out.
pub(super) fn left_out(value: &Value, field: &Field) -> bool {
    match value {
        // An empty list of managed fields is a request to forget them; tracking removes it.
        Value::Array(_) if field.name == "managedFields" => false,
        Value::Array(items) => field.omit_empty && !field.empty_counts && items.is_empty(),
        Value::Object(members) if matches!(field.schema.node, Node::Map(_)) => {
            field.omit_empty && !field.empty_counts && members.is_empty()
        }
        _ if field.pointer => false,
        Value::Object(_) => field.omit_zero && is_zero(value, &field.schema),
        // A Time is a struct: never empty, but zero.
        Value::Null => field.omit_zero || (field.omit_empty && !is_struct(&field.schema.node)),
        _ if matches!(field.schema.node, Node::Quantity | Node::IntOrString) => false,
        Value::String(text) => field.omit_empty && text.is_empty(),
        Value::Bool(flag) => field.omit_empty && !flag,
        Value::Number(number) => field.omit_empty && number.as_f64() == Some(0.0),
    }
}

/// The zero value of a type, as Go prints it.
pub fn zero(schema: &Schema) -> Value {
    match &schema.node {
        Node::Object(object) => {
            let mut members = Map::new();
            normalise_object(&mut members, object);
            Value::Object(members)
        }
        Node::String => Value::String(String::new()),
        Node::Bytes | Node::Map(_) | Node::List(_) | Node::Any | Node::Either(_) => Value::Null,
        Node::Time | Node::MicroTime => Value::Null,
        Node::Bool => Value::Bool(false),
        Node::Int32 | Node::Int64 | Node::Number | Node::IntOrString => {
            Value::Number(Number::from(0))
        }
        Node::Quantity => Value::String("0".into()),
    }
}

fn is_zero(value: &Value, schema: &Schema) -> bool {
    match (value, &schema.node) {
        (Value::Object(members), Node::Object(object)) => members.iter().all(|(name, value)| {
            object
                .field(name)
                .is_some_and(|field| !field.pointer && is_zero(value, &field.schema))
        }),
        _ => *value == zero(schema),
    }
}

fn normalise_scalar(value: &mut Value, node: &Node) {
    let canonical = match (node, &*value) {
        (Node::Quantity, Value::String(text)) => quantity(text).ok().map(Value::String),
        (Node::Quantity, Value::Number(number)) => {
            quantity(&number.to_string()).ok().map(Value::String)
        }
        (Node::Time, Value::String(text)) => time(text).ok(),
        (Node::MicroTime, Value::String(text)) => micro_time(text).ok(),
        (Node::Bytes, Value::String(text)) => base64(text).ok().map(Value::String),
        _ => None,
    };
    if let Some(canonical) = canonical
        && canonical != *value
    {
        *value = canonical;
    }
}

/// Amounts in a ResourceList are kept in thousandths.
pub(super) fn resource_amount(value: Value) -> Value {
    match &value {
        Value::String(text) => match Quantity::parse(text) {
            Ok(amount) => Value::String(amount.rounded_up_to_milli().to_string()),
            Err(_) => value,
        },
        _ => value,
    }
}

/// The canonical text of a quantity.
pub(super) fn quantity(text: &str) -> Result<String, String> {
    match Quantity::parse(text.trim()) {
        Ok(quantity) => Ok(quantity.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Seconds in UTC. Most times arrive in that form already.
pub(super) fn time(text: &str) -> Result<Value, String> {
    time::parse(text).map(|time| Value::String(time::format_seconds(time)))
}

/// Microseconds in UTC.
pub(super) fn micro_time(text: &str) -> Result<Value, String> {
    time::parse_micro(text).map(|time| Value::String(time::format_micros(time)))
}

/// Canonical base64: without line breaks, padding bits cleared.
pub(super) fn base64(text: &str) -> Result<String, String> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
    );
    let engine = &base64::engine::general_purpose::STANDARD;
    let stripped: String;
    let compact = match text.contains(['\r', '\n']) {
        false => text,
        true => {
            stripped = text.replace(['\r', '\n'], "");
            &stripped
        }
    };
    match LENIENT.decode(compact) {
        Ok(bytes) => Ok(engine.encode(bytes)),
        Err(_) => {
            let mut error = String::from("illegal base64 data at input byte ");
            let _ = write!(error, "{}", corrupt_at(text.as_bytes()));
            Err(error)
        }
    }
}

/// Where Go says that base64 is corrupt; the text is known to be.
fn corrupt_at(text: &[u8]) -> usize {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let mut at = 0;
    loop {
        // One group of four.
        let mut count = 0;
        while count < 4 {
            let Some(&byte) = text.get(at) else {
                return at - count.min(at);
            };
            at += 1;
            if valid(byte) {
                count += 1;
            } else if breaks(&byte) {
                continue;
            } else if byte != b'=' || count < 2 {
                return at - 1;
            } else {
                return corrupt_padding(text, at, count);
            }
        }
    }
}

fn corrupt_padding(text: &[u8], mut at: usize, count: usize) -> usize {
    let skip = |mut at: usize| {
        while matches!(text.get(at), Some(b'\r' | b'\n')) {
            at += 1;
        }
        at
    };
    if count == 2 {
        at = skip(at);
        match text.get(at) {
            None => return text.len(),
            Some(b'=') => at += 1,
            Some(_) => return at.saturating_sub(1),
        }
    }
    skip(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::schema::definition;
    use crate::base::tree::json;

    fn check(name: &str, before: Value, after: &Value) {
        let schema = definition(name).expect("known");
        let mut value = before;
        normalise(&mut value, schema);
        assert_eq!(&value, after, "{name}");
        normalise(&mut value, schema);
        assert_eq!(&value, after, "{name} twice");
    }

    #[test]
    fn round_trips() {
        check(
            "io.k8s.api.core.v1.Pod",
            json!({"metadata": {"name": "a", "labels": {}, "generation": 0},
                "spec": {"hostNetwork": false, "terminationGracePeriodSeconds": 0, "nodeName": "",
                    "containers": [{"name": "c", "args": [], "securityContext": {}, "stdin": null}]}}),
            &json!({"metadata": {"name": "a"},
                "spec": {"terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "c", "resources": {}, "securityContext": {}}]},
                "status": {}}),
        );
        check(
            "io.k8s.api.apps.v1.Deployment",
            json!({"spec": {"replicas": 0, "minReadySeconds": 0, "template": {"spec": {"containers": null}}}}),
            &json!({"metadata": {}, "status": {},
                "spec": {"replicas": 0, "selector": null, "strategy": {},
                    "template": {"metadata": {}, "spec": {"containers": null}}}}),
        );
        check(
            "io.k8s.api.core.v1.Service",
            json!({"spec": {"ports": [{"port": 80, "targetPort": 0}], "x": 1}}),
            &json!({"metadata": {}, "spec": {"ports": [{"port": 80, "targetPort": 0}]},
                "status": {"loadBalancer": {}}}),
        );
        check(
            "io.k8s.api.core.v1.ResourceRequirements",
            json!({"limits": {"cpu": 1, "memory": "1024Mi", "x": "0.0001"}, "requests": {}}),
            &json!({"limits": {"cpu": "1", "memory": "1Gi", "x": "1m"}}),
        );
    }

    #[test]
    fn empties_that_count_stay() {
        check(
            "io.k8s.api.autoscaling.v2.HPAScalingRules",
            json!({"policies": []}),
            &json!({"policies": []}),
        );
        check(
            "io.k8s.api.core.v1.PersistentVolumeSpec",
            json!({"capacity": {}, "accessModes": []}),
            &json!({"capacity": {}}),
        );
    }

    #[test]
    fn declared_defaults() {
        let schema = definition("io.k8s.api.core.v1.ContainerPort").expect("known");
        let mut value = json!({"containerPort": 1});
        apply_defaults(&mut value, schema);
        assert_eq!(value, json!({"containerPort": 1, "protocol": "TCP"}));
        let schema = definition("io.k8s.api.core.v1.ReplicationControllerSpec").expect("known");
        let mut value = json!({});
        apply_defaults(&mut value, schema);
        assert_eq!(
            value,
            json!({"replicas": 1}),
            "minReadySeconds is no pointer"
        );
    }

    #[test]
    fn base64_as_in_go() {
        for (text, want) in [
            ("YQ==", Ok("YQ==")),
            ("YR==", Ok("YQ==")),
            ("YW\nJj", Ok("YWJj")),
            ("", Ok("")),
            ("!", Err(0)),
            ("abc", Err(0)),
            ("abc!", Err(3)),
            ("YWJjYQ", Err(4)),
            ("YQ=", Err(3)),
            ("YQ=x", Err(2)),
            ("YQ==x", Err(4)),
            ("=", Err(0)),
        ] {
            let want = want
                .map(String::from)
                .map_err(|at: usize| format!("illegal base64 data at input byte {at}"));
            assert_eq!(base64(text), want, "{text:?}");
        }
    }
}
