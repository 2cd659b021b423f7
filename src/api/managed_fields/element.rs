//! One step of a path into an object: a field, an item of a list by key or value, an index.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use compact_str::format_compact;

use crate::api::bytes;
use crate::api::field::go_quote;
use crate::base::tree::{Key, Value};

/// One step of a path.
#[derive(Clone, Debug)]
pub enum Element {
    /// A field of a struct or a key of a map.
    Field(Key),
    /// An item of a list of type map, by its keys, sorted by name.
    Key(Vec<(Key, Value)>),
    /// An item of a set.
    Value(Value),
    /// An item of any other list; only in error texts and in what others wrote.
    Index(i64),
}

impl Element {
    /// A field or map key.
    pub fn field(name: &str) -> Self {
        Element::Field(name.into())
    }

    fn rank(&self) -> u8 {
        match self {
            Element::Field(_) => 0,
            Element::Key(_) => 1,
            Element::Value(_) => 2,
            Element::Index(_) => 3,
        }
    }

    /// As FieldsV1 writes it: `f:spec`, `k:{"name":"a"}`, `v:"x"`, `i:0`.
    pub fn to_text(&self) -> Key {
        match self {
            Element::Field(name) => {
                let mut out = Key::with_capacity(2 + name.len());
                out.push_str("f:");
                out.push_str(name);
                out
            }
            Element::Key(keys) => {
                let mut out = b"k:{".to_vec();
                for (at, (name, value)) in keys.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    // Names of fields need no escapes, but what others wrote is not ours to trust.
                    bytes::push_string(&mut out, name);
                    out.push(b':');
                    bytes::push_value(&mut out, value);
                }
                out.push(b'}');
                Key::from_utf8(out).unwrap_or_default()
            }
            Element::Value(value) => format_compact!("v:{value}"),
            Element::Index(index) => format_compact!("i:{index}"),
        }
    }

    /// Reads what [`Element::to_text`] writes; `Ok(None)` for kinds of elements it does not know.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let Some((kind, rest)) = text.split_once(':').filter(|(kind, _)| kind.len() == 1) else {
            return Err(format!("missing colon: {}", go_quote(text)));
        };
        let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|e| e.to_string());
        Ok(Some(match kind {
            "f" => Element::field(rest),
            "k" => match json(rest)? {
                Value::Object(members) => Element::Key(members.into_iter().collect()),
                _ => return Err(format!("invalid key {}", go_quote(rest))),
            },
            "v" => Element::Value(json(rest)?),
            "i" => Element::Index(rest.parse().map_err(|_| format!("invalid index {rest}"))?),
            _ => return Ok(None),
        }))
    }
}

impl fmt::Display for Element {
    /// As conflicts and errors print it: `.spec`, `[name="a"]`, `[="x"]`, `[0]`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(out, ".{name}"),
            Element::Key(keys) => {
                out.write_char('[')?;
                for (at, (name, value)) in keys.iter().enumerate() {
                    if at > 0 {
                        out.write_char(',')?;
                    }
                    write!(out, "{name}={}", quoted(value))?;
                }
                out.write_char(']')
            }
            Element::Value(value) => write!(out, "[={}]", quoted(value)),
            Element::Index(index) => write!(out, "[{index}]"),
        }
    }
}

fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => go_quote(text),
        other => other.to_string(),
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Element {}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Element::Field(a), Element::Field(b)) => a.cmp(b),
            (Element::Key(a), Element::Key(b)) => {
                let pairs = a.iter().zip(b).map(|((a_name, a), (b_name, b))| {
                    a_name.cmp(b_name).then_with(|| compare_values(a, b))
                });
                pairs
                    .fold(Ordering::Equal, Ordering::then)
                    .then(a.len().cmp(&b.len()))
            }
            (Element::Value(a), Element::Value(b)) => compare_values(a, b),
            (Element::Index(a), Element::Index(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

/// Numbers before strings before booleans before lists before maps before null.
fn compare_values(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a
                .as_f64()
                .unwrap_or_default()
                .total_cmp(&b.as_f64().unwrap_or_default()),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let pairs = a.iter().zip(b).map(|(a, b)| compare_values(a, b));
            pairs
                .fold(Ordering::Equal, Ordering::then)
                .then(a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let pairs = a.iter().zip(b);
            let pairs = pairs
                .map(|((a_name, a), (b_name, b))| a_name.cmp(b_name).then(compare_values(a, b)));
            pairs
                .fold(Ordering::Equal, Ordering::then)
                .then(a.len().cmp(&b.len()))
        }
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// Whether two values are the same; 1 and 1.0 are.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((a_name, a), (b_name, b))| a_name == b_name && same(a, b))
        }
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}
