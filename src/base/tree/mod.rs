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
//! - [`json!`] takes what `serde_json::json!` takes, but for names that are longer expressions than a
//!   literal, a path or what is in parentheses; and it does not panic.

mod access;
mod builder;
mod convert;
mod map;
mod serial;

use std::fmt;

pub use access::{Index, unescaped};
pub use builder::to_value;
#[doc(hidden)]
pub use builder::value_of;
pub use convert::from_value;
pub use map::{Entry, IntoIter, Iter, IterMut, Key, Map};
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

/// A [`Value`] as it would stand in JSON, with expressions for values; names are literals, paths
/// or expressions in parentheses.
#[macro_export]
macro_rules! json_tree {
    (null) => { $crate::base::tree::Value::Null };
    ([ $($items:tt)* ]) => { $crate::base::tree::Value::Array($crate::json_items!([] $($items)*)) };
    ({}) => { $crate::base::tree::Value::Object($crate::base::tree::Map::new()) };
    ({ $($members:tt)+ }) => {{
        let mut members = $crate::base::tree::Map::new();
        $crate::json_members!(members; $($members)*);
        $crate::base::tree::Value::Object(members)
    }};
    ($literal:literal) => { $crate::base::tree::Value::from($literal) };
    ($value:expr) => { $crate::base::tree::value_of(&$value) };
}

/// The items of a list as a vector: what is done stands in brackets before what is to be done.
#[doc(hidden)]
#[macro_export]
macro_rules! json_items {
    ([ $($done:expr),* ]) => { ::std::vec![$($done),*] };
    ([ $($done:expr),* ] null $(, $($rest:tt)*)?) => {
        $crate::json_items!([ $($done,)* $crate::json_tree!(null) ] $($($rest)*)?)
    };
    ([ $($done:expr),* ] [ $($inner:tt)* ] $(, $($rest:tt)*)?) => {
        $crate::json_items!([ $($done,)* $crate::json_tree!([ $($inner)* ]) ] $($($rest)*)?)
    };
    ([ $($done:expr),* ] { $($inner:tt)* } $(, $($rest:tt)*)?) => {
        $crate::json_items!([ $($done,)* $crate::json_tree!({ $($inner)* }) ] $($($rest)*)?)
    };
    ([ $($done:expr),* ] $item:expr $(, $($rest:tt)*)?) => {
        $crate::json_items!([ $($done,)* $crate::json_tree!($item) ] $($($rest)*)?)
    };
}

/// Puts members into a map.
#[doc(hidden)]
#[macro_export]
macro_rules! json_members {
    ($map:ident;) => {};
    ($map:ident; $key:literal : $($rest:tt)+) => {
        $crate::json_members!($map, $crate::base::tree::Key::const_new($key), $($rest)+)
    };
    ($map:ident; $key:path : $($rest:tt)+) => {
        $crate::json_members!($map, $crate::base::tree::Key::from($key), $($rest)+)
    };
    ($map:ident; ($key:expr) : $($rest:tt)+) => {
        $crate::json_members!($map, $crate::base::tree::Key::from($key), $($rest)+)
    };
    ($map:ident, $key:expr, null $(, $($rest:tt)*)?) => {
        $map.insert($key, $crate::json_tree!(null));
        $crate::json_members!($map; $($($rest)*)?);
    };
    ($map:ident, $key:expr, [ $($inner:tt)* ] $(, $($rest:tt)*)?) => {
        $map.insert($key, $crate::json_tree!([ $($inner)* ]));
        $crate::json_members!($map; $($($rest)*)?);
    };
    ($map:ident, $key:expr, { $($inner:tt)* } $(, $($rest:tt)*)?) => {
        $map.insert($key, $crate::json_tree!({ $($inner)* }));
        $crate::json_members!($map; $($($rest)*)?);
    };
    ($map:ident, $key:expr, $value:expr $(, $($rest:tt)*)?) => {
        $map.insert($key, $crate::json_tree!($value));
        $crate::json_members!($map; $($($rest)*)?);
    };
}

#[cfg(test)]
mod tests;
