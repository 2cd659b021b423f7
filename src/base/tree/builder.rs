//! Trees from anything serializable, without a detour.

use serde::ser::{self, Error as _, Serialize, Serializer};
use serde_json::{Error, Number};

use super::{Key, Map, Value};

/// Any serializable value as a tree.
///
/// # Errors
/// As `serde_json::to_value`: names of members that are no texts, integers beyond 64 bits.
pub fn to_value(value: impl Serialize) -> Result<Value, Error> {
    value.serialize(Builder)
}

/// What [`json!`](super::json) puts for an expression; `null` for what [`to_value`] refuses.
#[doc(hidden)]
pub fn value_of<T: Serialize + ?Sized>(value: &T) -> Value {
    let built = value.serialize(Builder);
    debug_assert!(built.is_ok(), "{:?}", built.as_ref().err());
    built.unwrap_or_default()
}

/// Answers the tree of what it is given.
struct Builder;

/// Members under way; a variant of an enum with content is a member around them.
struct Members {
    variant: Option<&'static str>,
    members: Map,
    key: Key,
}

/// Items under way.
struct Items {
    variant: Option<&'static str>,
    items: Vec<Value>,
}

impl Members {
    fn new(variant: Option<&'static str>, count: usize) -> Self {
        Members {
            variant,
            members: Map::with_capacity(count),
            key: Key::default(),
        }
    }
}

fn within(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        None => value,
        Some(variant) => [(Key::const_new(variant), value)].into_iter().collect(),
    }
}

impl Serializer for Builder {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Members;
    type SerializeStruct = Members;
    type SerializeStructVariant = Members;

    fn serialize_bool(self, bool: bool) -> Result<Value, Error> {
        Ok(bool.into())
    }

    fn serialize_i8(self, number: i8) -> Result<Value, Error> {
        Ok(number.into())
    }

    fn serialize_i16(self, number: i16) -> Result<Value, Error> {
        Ok(number.into())
    }

    fn serialize_i32(self, number: i32) -> Result<Value, Error> {
        Ok(number.into())
    }

    fn serialize_i64(self, number: i64) -> Result<Value, Error> {
        Ok(number.into())
    }

    fn serialize_u8(self, number: u8) -> Result<Value, Error> {
        Ok(number.into())
    }

    fn serialize_u16(self, number: u16) -> Result<Value, Error> {
        Ok(number.into())
    }

    fn serialize_u32(self, number: u32) -> Result<Value, Error> {
        Ok(number.into())
    }

    fn serialize_u64(self, number: u64) -> Result<Value, Error> {
        Ok(number.into())
    }

    fn serialize_i128(self, number: i128) -> Result<Value, Error> {
        let number = Number::from_i128(number);
        let number = number.ok_or_else(|| Error::custom("number out of range"))?;
        Ok(number.into())
    }

    fn serialize_u128(self, number: u128) -> Result<Value, Error> {
        let number = Number::from_u128(number);
        let number = number.ok_or_else(|| Error::custom("number out of range"))?;
        Ok(number.into())
    }

    fn serialize_f32(self, number: f32) -> Result<Value, Error> {
        Ok(f64::from(number).into())
    }

    fn serialize_f64(self, number: f64) -> Result<Value, Error> {
        Ok(number.into())
    }

    fn serialize_char(self, char: char) -> Result<Value, Error> {
        Ok(char.to_string().into())
    }

    fn serialize_str(self, text: &str) -> Result<Value, Error> {
        Ok(text.into())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, Error> {
        Ok(bytes.into())
    }

    fn serialize_none(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, Error> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        Ok(within(Some(variant), value.serialize(self)?))
    }

    fn serialize_seq(self, count: Option<usize>) -> Result<Items, Error> {
        Ok(Items {
            variant: None,
            items: Vec::with_capacity(count.unwrap_or(0)),
        })
    }

    fn serialize_tuple(self, count: usize) -> Result<Items, Error> {
        self.serialize_seq(Some(count))
    }

    fn serialize_tuple_struct(self, _name: &'static str, count: usize) -> Result<Items, Error> {
        self.serialize_seq(Some(count))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        count: usize,
    ) -> Result<Items, Error> {
        Ok(Items {
            variant: Some(variant),
            items: Vec::with_capacity(count),
        })
    }

    fn serialize_map(self, count: Option<usize>) -> Result<Members, Error> {
        Ok(Members::new(None, count.unwrap_or(0)))
    }

    fn serialize_struct(self, _name: &'static str, count: usize) -> Result<Members, Error> {
        Ok(Members::new(None, count))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        count: usize,
    ) -> Result<Members, Error> {
        Ok(Members::new(Some(variant), count))
    }
}

macro_rules! items {
    ($($kind:ident::$add:ident),*) => {$(
        impl ser::$kind for Items {
            type Ok = Value;
            type Error = Error;

            fn $add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
                self.items.push(item.serialize(Builder)?);
                Ok(())
            }

            fn end(self) -> Result<Value, Error> {
                Ok(within(self.variant, Value::Array(self.items)))
            }
        }
    )*};
}

items!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

impl ser::SerializeMap for Members {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.key = match key.serialize(Builder)? {
            Value::String(text) => text.into(),
            Value::Number(number) => number.to_string().into(),
            Value::Bool(bool) => bool.to_string().into(),
            _ => return Err(Error::custom("key must be a string")),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let value = value.serialize(Builder)?;
        self.members.insert(std::mem::take(&mut self.key), value);
        Ok(())
    }

    fn end(self) -> Result<Value, Error> {
        Ok(Value::Object(self.members))
    }
}

macro_rules! fields {
    ($($kind:ident),*) => {$(
        impl ser::$kind for Members {
            type Ok = Value;
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                let value = value.serialize(Builder)?;
                self.members.insert(Key::const_new(key), value);
                Ok(())
            }

            fn end(self) -> Result<Value, Error> {
                Ok(within(self.variant, Value::Object(self.members)))
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);
