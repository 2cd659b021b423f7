//! Looking into a [`Value`].

use std::borrow::Cow;

use super::{Key, Map, Number, Value};

/// What stands for members and items that are not there.
static NULL: Value = Value::Null;

impl Value {
    /// The member or item at `index`.
    pub fn get(&self, index: impl Index) -> Option<&Value> {
        index.get(self)
    }

    /// As [`Value::get`], to change it.
    pub fn get_mut(&mut self, index: impl Index) -> Option<&mut Value> {
        index.get_mut(self)
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether this is an object.
    pub fn is_object(&self) -> bool {
        matches!(self, Value::Object(_))
    }

    /// Whether this is a list.
    pub fn is_array(&self) -> bool {
        matches!(self, Value::Array(_))
    }

    /// Whether this is a text.
    pub fn is_string(&self) -> bool {
        matches!(self, Value::String(_))
    }

    /// Whether this is a number.
    pub fn is_number(&self) -> bool {
        matches!(self, Value::Number(_))
    }

    /// Whether this is `true` or `false`.
    pub fn is_boolean(&self) -> bool {
        matches!(self, Value::Bool(_))
    }

    /// Whether this is an integer from 0 to 2⁶⁴-1.
    pub fn is_u64(&self) -> bool {
        matches!(self, Value::Number(n) if n.is_u64())
    }

    /// Whether this is a number with a fraction or an exponent.
    pub fn is_f64(&self) -> bool {
        matches!(self, Value::Number(n) if n.is_f64())
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&Map> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// As [`Value::as_object`], to change them.
    pub fn as_object_mut(&mut self) -> Option<&mut Map> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_array(&self) -> Option<&Vec<Value>> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// As [`Value::as_array`], to change them.
    pub fn as_array_mut(&mut self) -> Option<&mut Vec<Value>> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// A text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A number.
    pub fn as_number(&self) -> Option<&Number> {
        match self {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// An integer that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    /// An integer.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.as_i64()
    }

    /// Any number.
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number()?.as_f64()
    }

    /// `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    /// What `pointer` (RFC 6901) points at.
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        segments(pointer)?.try_fold(self, |value, segment| match value {
            Value::Object(members) => members.get(&unescaped(segment)),
            Value::Array(items) => items.get(item(segment)?),
            _ => None,
        })
    }

    /// The value; `null` stays here.
    pub fn take(&mut self) -> Value {
        std::mem::take(self)
    }
}

fn segments(pointer: &str) -> Option<impl Iterator<Item = &str>> {
    let mut segments = pointer.split('/');
    // The whole is the empty pointer; all others begin with a slash.
    segments.next().filter(|start| start.is_empty())?;
    Some(segments)
}

/// A step of a pointer without its escapes: `~1` is a slash and `~0` a tilde, in that order.
pub fn unescaped(segment: &str) -> Cow<'_, str> {
    match segment.contains('~') {
        false => segment.into(),
        true => segment.replace("~1", "/").replace("~0", "~").into(),
    }
}

fn item(segment: &str) -> Option<usize> {
    let is_plain = !segment.starts_with('+') && (segment == "0" || !segment.starts_with('0'));
    is_plain.then(|| segment.parse().ok()).flatten()
}

/// What a [`Value`] can be indexed by: names of members and places of items.
pub trait Index {
    #[doc(hidden)]
    fn get<'v>(&self, value: &'v Value) -> Option<&'v Value>;
    #[doc(hidden)]
    fn get_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value>;
    #[doc(hidden)]
    fn get_or_insert<'v>(&self, value: &'v mut Value) -> &'v mut Value;
}

impl Index for usize {
    fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        value.as_array()?.get(*self)
    }

    fn get_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        value.as_array_mut()?.get_mut(*self)
    }

    fn get_or_insert<'v>(&self, value: &'v mut Value) -> &'v mut Value {
        let item = self.get_mut(value);
        item.unwrap_or_else(|| panic!("no item {self}"))
    }
}

impl Index for str {
    fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        value.as_object()?.get(self)
    }

    fn get_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        value.as_object_mut()?.get_mut(self)
    }

    fn get_or_insert<'v>(&self, value: &'v mut Value) -> &'v mut Value {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        match value {
            Value::Object(members) => members.entry(self.into()).or_insert(Value::Null),
            other => panic!("no member {self:?} in {other}"),
        }
    }
}

macro_rules! index_as_str {
    ($($text:ty),*) => {$(
        impl Index for $text {
            fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
                Index::get(self.as_str(), value)
            }

            fn get_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
                Index::get_mut(self.as_str(), value)
            }

            fn get_or_insert<'v>(&self, value: &'v mut Value) -> &'v mut Value {
                Index::get_or_insert(self.as_str(), value)
            }
        }
    )*};
}

index_as_str!(String, Key);

impl<T: Index + ?Sized> Index for &T {
    fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        (**self).get(value)
    }

    fn get_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        (**self).get_mut(value)
    }

    fn get_or_insert<'v>(&self, value: &'v mut Value) -> &'v mut Value {
        (**self).get_or_insert(value)
    }
}

impl<I: Index> std::ops::Index<I> for Value {
    type Output = Value;

    /// `null` where there is nothing.
    fn index(&self, index: I) -> &Value {
        index.get(self).unwrap_or(&NULL)
    }
}

impl<I: Index> std::ops::IndexMut<I> for Value {
    /// A member that is not there is made, also of `null`.
    ///
    /// # Panics
    /// Where a value of another kind has no such member or item.
    fn index_mut(&mut self, index: I) -> &mut Value {
        index.get_or_insert(self)
    }
}
