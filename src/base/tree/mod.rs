//! JSON as a tree, for objects while they are changed.
//!
//! [`Value`] has the shape and the methods of `serde_json::Value`, and reads and prints as it does, so
//! what holds for one holds for the other. It differs in how members are kept ([`Map`]): objects of
//! Kubernetes are many small maps with short names, for which a B-tree with a heap-allocated text for
//! each name costs several times as much to build, to look through and to drop as a sorted list with
//! the names inside.
//!
//! # Invariants
//! - Members come in the order of their names' bytes, each name once; a repeated one means its last value.
//! - A number is an integer of 64 bits, signed or not, or a finite float.
//!
//! # Decisions
//! - `serde_json::Value` stays where others' libraries want it (`From` both ways).
//! - [`json!`] takes what `serde_json::json!` takes, by way of it, but for the few spellings that are
//!   worth a shorter way.

mod access;
mod convert;
mod map;
mod serial;

use std::fmt;

pub use access::Index;
pub use convert::{from_value, to_value};
pub use map::{Entry, IntoIter, Iter, IterMut, Key, Map};
#[doc(hidden)]
pub use serde_json;
pub use serde_json::Number;

pub use crate::json_tree as json;

/// Any JSON value.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Value>),
    /// An object.
    Object(Map),
}

impl fmt::Display for Value {
    /// Compact JSON; `{:#}` indents by two spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match f.alternate() {
            true => serde_json::to_string_pretty(self),
            false => serde_json::to_string(self),
        };
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("Null"),
            Value::Bool(bool) => write!(f, "Bool({bool})"),
            Value::Number(number) => fmt::Debug::fmt(number, f),
            Value::String(text) => write!(f, "String({text:?})"),
            Value::Array(items) => {
                f.write_str("Array ")?;
                fmt::Debug::fmt(items, f)
            }
            Value::Object(members) => {
                f.write_str("Object ")?;
                fmt::Debug::fmt(members, f)
            }
        }
    }
}

/// A [`Value`] as it would stand in JSON, with expressions for values.
#[macro_export]
macro_rules! json_tree {
    (null) => { $crate::base::tree::Value::Null };
    ({}) => { $crate::base::tree::Value::Object($crate::base::tree::Map::new()) };
    ([]) => { $crate::base::tree::Value::Array(::std::vec::Vec::new()) };
    ($literal:literal) => { $crate::base::tree::Value::from($literal) };
    ($($tokens:tt)+) => {
        $crate::base::tree::Value::from($crate::base::tree::serde_json::json!($($tokens)+))
    };
}

#[cfg(test)]
mod tests;
