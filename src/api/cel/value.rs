//! Values.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::authz::{Answer, Query};
use super::object::Constructed;
use crate::api::quantity::Quantity;
use crate::base::tree::{Number, Value};

/// A value. Objects of the request are borrowed and read in place.
#[derive(Clone, Debug)]
pub enum Val<'a> {
    /// null.
    Null,
    /// bool.
    Bool(bool),
    /// int.
    Int(i64),
    /// uint.
    Uint(u64),
    /// double.
    Double(f64),
    /// string.
    Str(Text<'a>),
    /// bytes.
    Bytes(Arc<[u8]>),
    /// A list that the expression made.
    List(Arc<Vec<Val<'a>>>),
    /// A map that the expression made.
    Map(Arc<Vec<(Val<'a>, Val<'a>)>>),
    /// An object or JSON patch that the expression made.
    Object(Arc<Constructed<'a>>),
    /// An array or object of JSON.
    Json(&'a Value),
    /// duration.
    Duration(TimeDelta),
    /// timestamp.
    Timestamp(DateTime<Utc>),
    /// A type, by name.
    Type(Arc<str>),
    /// An optional value.
    Optional(Option<Arc<Val<'a>>>),
    /// A parsed URL.
    Url(Arc<super::functions::Url>),
    /// An IP address.
    Ip(IpAddr),
    /// A network: address and prefix length.
    Cidr(IpAddr, u8),
    /// A quantity.
    Quantity(Quantity),
    /// A semantic version.
    Semver(Arc<super::functions::Semver>),
    /// A named format.
    Format(&'static str),
    /// Who may do what: the user of the request, or a service account.
    Authorizer(Arc<Query>),
    /// A question under way.
    Check(Arc<Query>),
    /// An answered one.
    Decision(Arc<Answer>),
}

/// Text, borrowed or made.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// Of the request or the expression.
    Borrowed(&'a str),
    /// Made by a function.
    Owned(Arc<str>),
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Owned(text) => text,
        }
    }
}

impl<'a> Val<'a> {
    /// A value of JSON. Integers are ints, other numbers doubles.
    pub fn json(value: &'a Value) -> Self {
        match value {
            Value::Null => Val::Null,
            Value::Bool(b) => Val::Bool(*b),
            Value::Number(n) => number(n),
            Value::String(text) => Val::Str(Text::Borrowed(text)),
            Value::Array(_) | Value::Object(_) => Val::Json(value),
        }
    }

    /// Text that a function made.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Val::Str(Text::Owned(text.into()))
    }

    /// A time of RFC 3339; text that is none stays text.
    pub fn timestamp(text: &'a str) -> Self {
        match parse_timestamp(text) {
            Some(time) => Val::Timestamp(time),
            None => Val::Str(Text::Borrowed(text)),
        }
    }

    /// The authorizer of the request's user.
    pub fn authorizer() -> Self {
        Val::Authorizer(Arc::default())
    }

    /// `authorizer.requestResource`.
    pub fn request_resource(query: Query) -> Self {
        Val::Check(Arc::new(query))
    }

    /// Text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Val::Str(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The elements of a list.
    pub(super) fn elements(&self) -> Option<Vec<Val<'a>>> {
        match self {
            Val::List(items) => Some(items.to_vec()),
            Val::Json(Value::Array(items)) => Some(items.iter().map(Val::json).collect()),
            _ => None,
        }
    }

    /// The entries of a map.
    pub(super) fn entries(&self) -> Option<Vec<(Val<'a>, Val<'a>)>> {
        match self {
            Val::Map(entries) => Some(entries.to_vec()),
            Val::Json(Value::Object(members)) => Some(
                members
                    .iter()
                    .map(|(k, v)| (Val::Str(Text::Borrowed(k)), Val::json(v)))
                    .collect(),
            ),
            _ => None,
        }
    }

    /// Elements, entries, characters or bytes; `None` of what has no size.
    pub(super) fn size(&self) -> Option<usize> {
        Some(match self {
            Val::Str(text) => text.as_str().chars().count(),
            Val::Bytes(bytes) => bytes.len(),
            Val::List(items) => items.len(),
            Val::Map(entries) => entries.len(),
            Val::Json(Value::Array(items)) => items.len(),
            Val::Json(Value::Object(members)) => members.len(),
            _ => return None,
        })
    }

    /// The value at a key or index of a container; `Ok(None)` when there is none there, an error when
    /// it is no container or cannot have such a key.
    pub(super) fn at(&self, key: &Val<'_>) -> Result<Option<Val<'a>>, ()> {
        Ok(match self {
            Val::Json(Value::Object(members)) => match key {
                Val::Str(key) => members.get(key.as_str()).map(Val::json),
                _ => None,
            },
            Val::Map(entries) => entries
                .iter()
                .find(|(k, _)| k.equals(key))
                .map(|(_, v)| v.clone()),
            Val::Json(Value::Array(items)) => index(key)?.and_then(|i| items.get(i)).map(Val::json),
            Val::List(items) => index(key)?.and_then(|i| items.get(i)).cloned(),
            _ => return Err(()),
        })
    }

    /// CEL's equality: numbers by value, everything else by type and value.
    pub(super) fn equals(&self, other: &Val<'_>) -> bool {
        match (self, other) {
            (Val::Null, Val::Null) => true,
            (Val::Bool(a), Val::Bool(b)) => a == b,
            (Val::Str(a), Val::Str(b)) => a.as_str() == b.as_str(),
            (Val::Bytes(a), Val::Bytes(b)) => a == b,
            (Val::Duration(a), Val::Duration(b)) => a == b,
            (Val::Timestamp(a), Val::Timestamp(b)) => a == b,
            (Val::Type(a), Val::Type(b)) => a == b,
            (Val::Ip(a), Val::Ip(b)) => a == b,
            (Val::Cidr(a, n), Val::Cidr(b, m)) => a == b && n == m,
            (Val::Quantity(a), Val::Quantity(b)) => a.cmp(b) == Ordering::Equal,
            (Val::Semver(a), Val::Semver(b)) => a == b,
            (Val::Url(a), Val::Url(b)) => a == b,
            (Val::Format(a), Val::Format(b)) => a == b,
            (Val::Decision(a), Val::Decision(b)) => a == b,
            (Val::Authorizer(a), Val::Authorizer(b)) | (Val::Check(a), Val::Check(b)) => a == b,
            (Val::Optional(a), Val::Optional(b)) => match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.equals(b),
                _ => false,
            },
            (Val::Object(a), Val::Object(b)) => a.equals(b),
            (Val::Json(a), Val::Json(b)) if std::ptr::eq(*a, *b) => true,
            (a, b) => match (a.is_number(), b.is_number()) {
                (true, true) => a.compare(b) == Some(Ordering::Equal),
                _ => a.equals_container(b),
            },
        }
    }

    fn equals_container(&self, other: &Val<'_>) -> bool {
        if self.size() != other.size() {
            return false;
        }
        if let (Some(a), Some(b)) = (self.elements(), other.elements()) {
            return a.iter().zip(&b).all(|(a, b)| a.equals(b));
        }
        match self.entries() {
            Some(a) if other.entries().is_some() => a
                .iter()
                .all(|(k, v)| matches!(other.at(k), Ok(Some(found)) if v.equals(&found))),
            _ => false,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Val::Int(_) | Val::Uint(_) | Val::Double(_))
    }

    /// The order of two values that have one.
    pub(super) fn compare(&self, other: &Val<'_>) -> Option<Ordering> {
        match (self, other) {
            (Val::Bool(a), Val::Bool(b)) => Some(a.cmp(b)),
            (Val::Str(a), Val::Str(b)) => Some(a.as_str().cmp(b.as_str())),
            (Val::Bytes(a), Val::Bytes(b)) => Some(a.cmp(b)),
            (Val::Duration(a), Val::Duration(b)) => Some(a.cmp(b)),
            (Val::Timestamp(a), Val::Timestamp(b)) => Some(a.cmp(b)),
            (Val::Int(a), Val::Int(b)) => Some(a.cmp(b)),
            (Val::Uint(a), Val::Uint(b)) => Some(a.cmp(b)),
            (Val::Double(a), Val::Double(b)) => a.partial_cmp(b),
            (Val::Int(a), Val::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Val::Uint(a), Val::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Val::Double(a), Val::Int(b)) => compare_double(*a, i128::from(*b)),
            (Val::Double(a), Val::Uint(b)) => compare_double(*a, i128::from(*b)),
            (Val::Int(a), Val::Double(b)) => {
                compare_double(*b, i128::from(*a)).map(Ordering::reverse)
            }
            (Val::Uint(a), Val::Double(b)) => {
                compare_double(*b, i128::from(*a)).map(Ordering::reverse)
            }
            _ => None,
        }
    }

    /// Name of the type, as `type()` and conversion errors have it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Val::Null => "null_type",
            Val::Bool(_) => "bool",
            Val::Int(_) => "int",
            Val::Uint(_) => "uint",
            Val::Double(_) => "double",
            Val::Str(_) => "string",
            Val::Bytes(_) => "bytes",
            Val::List(_) | Val::Json(Value::Array(_)) => "list",
            Val::Map(_) | Val::Json(_) => "map",
            Val::Object(_) => "Object",
            Val::Duration(_) => "google.protobuf.Duration",
            Val::Timestamp(_) => "google.protobuf.Timestamp",
            Val::Type(_) => "type",
            Val::Optional(_) => "optional_type",
            Val::Url(_) => "kubernetes.URL",
            Val::Ip(_) => "net.IP",
            Val::Cidr(..) => "net.CIDR",
            Val::Quantity(_) => "kubernetes.Quantity",
            Val::Semver(_) => "kubernetes.Semver",
            Val::Format(_) => "kubernetes.NamedFormat",
            Val::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Val::Check(query) if query.path.is_some() => "kubernetes.authorization.PathCheck",
            Val::Check(_) => "kubernetes.authorization.ResourceCheck",
            Val::Decision(_) => "kubernetes.authorization.Decision",
        }
    }

    /// Whether it is its type's zero (`optional.ofNonZeroValue`).
    pub(super) fn is_zero(&self) -> bool {
        match self {
            Val::Null => true,
            Val::Bool(b) => !b,
            Val::Int(i) => *i == 0,
            Val::Uint(u) => *u == 0,
            Val::Double(d) => *d == 0.0,
            Val::Duration(d) => d.is_zero(),
            Val::Optional(o) => o.is_none(),
            Val::Object(object) => object.fields.is_empty(),
            other => other.size() == Some(0),
        }
    }
}

fn compare_double(a: f64, b: i128) -> Option<Ordering> {
    if a.is_nan() {
        return None;
    }
    if a >= 1.9e19 {
        return Some(Ordering::Greater);
    }
    if a <= -1e19 {
        return Some(Ordering::Less);
    }
    #[expect(clippy::cast_possible_truncation, reason = "in range, checked above")]
    let whole = a.trunc() as i128;
    Some(match whole.cmp(&b) {
        Ordering::Equal => a.fract().partial_cmp(&0.0)?,
        other => other,
    })
}

/// An index of a list: `None` is out of bounds, an error no number.
fn index(key: &Val<'_>) -> Result<Option<usize>, ()> {
    match key {
        Val::Int(i) => Ok(usize::try_from(*i).ok()),
        Val::Uint(u) => Ok(usize::try_from(*u).ok()),
        Val::Double(d) if d.fract() == 0.0 && *d >= 0.0 && *d < 1e15 => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a whole number in range, checked above"
            )]
            let at = *d as usize;
            Ok(Some(at))
        }
        _ => Err(()),
    }
}

fn number<'a>(number: &Number) -> Val<'a> {
    match number.as_i64() {
        Some(int) => Val::Int(int),
        None => Val::Double(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// A Go duration (`1h2m3.5s`).
pub(super) fn parse_duration(text: &str) -> Option<TimeDelta> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let duration = crate::base::duration::parse(rest).ok()??;
    let delta = TimeDelta::from_std(duration).ok()?;
    Some(if negative { -delta } else { delta })
}

/// An RFC 3339 time.
pub(super) fn parse_timestamp(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.with_timezone(&Utc))
}
