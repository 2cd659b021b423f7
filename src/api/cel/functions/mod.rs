//! What the functions do. Arguments come with the receiver first; types that do not fit are `no such
//! overload`, as in cel-go.
//!
//! Files: here operators and dispatch · `convert` conversions and times · `text` strings and regular
//! expressions · `lists` lists and sets · `net` URLs and addresses · `kinds` quantities, versions and
//! formats · `authz` the authorizer.

mod authz;
mod convert;
mod kinds;
mod lists;
mod net;
mod text;

use std::cmp::Ordering;
use std::sync::Arc;

use super::authz::Decisions;
use super::eval::{Budget, EvalError, Outcome, no_overload};
use super::value::Val;

pub(super) use convert::print;
pub use kinds::Semver;
pub(super) use lists::sort_by_key;
pub use net::Url;
pub(super) use text::regex_problem;

/// Calls a function.
pub(super) fn call<'a>(
    name: &str,
    arguments: &[Val<'a>],
    decisions: &Decisions,
    budget: &mut Budget,
) -> Outcome<'a> {
    budget.spend(weight(arguments))?;
    if let Some(value) = operator(name, arguments, budget) {
        return value;
    }
    let found = convert::call(name, arguments)
        .or_else(|| text::call(name, arguments))
        .or_else(|| lists::call(name, arguments, budget))
        .or_else(|| optional(name, arguments))
        .or_else(|| net::call(name, arguments))
        .or_else(|| kinds::call(name, arguments))
        .or_else(|| authz::call(name, arguments, decisions, budget));
    found.unwrap_or_else(|| Err(no_overload()))
}

/// A tenth of a step for each byte of text.
fn weight(arguments: &[Val<'_>]) -> u64 {
    let bytes: usize = arguments
        .iter()
        .map(|argument| match argument {
            Val::Str(text) => text.as_str().len(),
            Val::Bytes(bytes) => bytes.len(),
            _ => 0,
        })
        .sum();
    (bytes as u64).div_ceil(10)
}

fn operator<'a>(name: &str, arguments: &[Val<'a>], budget: &mut Budget) -> Option<Outcome<'a>> {
    Some(match (name, arguments) {
        ("_==_", [a, b]) => Ok(Val::Bool(a.equals(b))),
        ("_!=_", [a, b]) => Ok(Val::Bool(!a.equals(b))),
        ("_<_", [a, b]) => compare(a, b, |o| o == Ordering::Less),
        ("_<=_", [a, b]) => compare(a, b, |o| o != Ordering::Greater),
        ("_>_", [a, b]) => compare(a, b, |o| o == Ordering::Greater),
        ("_>=_", [a, b]) => compare(a, b, |o| o != Ordering::Less),
        ("!_", [Val::Bool(b)]) => Ok(Val::Bool(!b)),
        ("_+_", [a, b]) => add(a, b, budget),
        ("_-_", [a, b]) => subtract(a, b),
        ("_*_", [a, b]) => arithmetic(a, b, i64::checked_mul, u64::checked_mul, |a, b| a * b),
        ("_/_", [Val::Int(_), Val::Int(0)] | [Val::Uint(_), Val::Uint(0)]) => {
            Err(EvalError::failed("division by zero"))
        }
        ("_/_", [a, b]) => arithmetic(a, b, i64::checked_div, u64::checked_div, |a, b| a / b),
        ("_%_", [Val::Int(_), Val::Int(0)] | [Val::Uint(_), Val::Uint(0)]) => {
            Err(EvalError::failed("modulus by zero"))
        }
        ("_%_", [Val::Int(a), Val::Int(b)]) => a.checked_rem(*b).map(Val::Int).ok_or_else(overflow),
        ("_%_", [Val::Uint(a), Val::Uint(b)]) => {
            a.checked_rem(*b).map(Val::Uint).ok_or_else(overflow)
        }
        ("-_", [Val::Int(a)]) => a.checked_neg().map(Val::Int).ok_or_else(overflow),
        ("-_", [Val::Double(a)]) => Ok(Val::Double(-a)),
        ("@in", [item, container]) => is_in(item, container, budget),
        ("_[_]", [container, key]) => index(container, key),
        ("_[?_]", [container, key]) => optional_index(container, key),
        ("@type", [Val::Str(name)]) => Ok(Val::Type(name.as_str().into())),
        _ => return None,
    })
}

fn overflow() -> EvalError {
    EvalError::failed("return error for overflow")
}

fn compare<'a>(a: &Val<'_>, b: &Val<'_>, holds: impl Fn(Ordering) -> bool) -> Outcome<'a> {
    match a.compare(b) {
        Some(order) => Ok(Val::Bool(holds(order))),
        None if matches!((a, b), (Val::Double(_), _) | (_, Val::Double(_))) => Ok(Val::Bool(false)),
        None => Err(no_overload()),
    }
}

fn arithmetic<'a>(
    a: &Val<'_>,
    b: &Val<'_>,
    int: fn(i64, i64) -> Option<i64>,
    uint: fn(u64, u64) -> Option<u64>,
    double: fn(f64, f64) -> f64,
) -> Outcome<'a> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => int(*a, *b).map(Val::Int).ok_or_else(overflow),
        (Val::Uint(a), Val::Uint(b)) => uint(*a, *b).map(Val::Uint).ok_or_else(overflow),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(double(*a, *b))),
        _ => Err(no_overload()),
    }
}

fn add<'a>(a: &Val<'a>, b: &Val<'a>, budget: &mut Budget) -> Outcome<'a> {
    match (a, b) {
        (Val::Str(a), Val::Str(b)) => Ok(Val::text(format!("{}{}", a.as_str(), b.as_str()))),
        (Val::Bytes(a), Val::Bytes(b)) => Ok(Val::Bytes([&a[..], &b[..]].concat().into())),
        (Val::Timestamp(t), Val::Duration(d)) | (Val::Duration(d), Val::Timestamp(t)) => t
            .checked_add_signed(*d)
            .map(Val::Timestamp)
            .ok_or_else(overflow),
        (Val::Duration(a), Val::Duration(b)) => {
            a.checked_add(b).map(Val::Duration).ok_or_else(overflow)
        }
        (a, b) => match (a.elements(), b.elements()) {
            (Some(mut all), Some(more)) => {
                budget.spend((all.len() + more.len()) as u64)?;
                all.extend(more);
                Ok(Val::List(Arc::new(all)))
            }
            _ => arithmetic(a, b, i64::checked_add, u64::checked_add, |a, b| a + b),
        },
    }
}

fn subtract<'a>(a: &Val<'a>, b: &Val<'a>) -> Outcome<'a> {
    match (a, b) {
        (Val::Timestamp(a), Val::Timestamp(b)) => Ok(Val::Duration(a.signed_duration_since(*b))),
        (Val::Timestamp(t), Val::Duration(d)) => t
            .checked_sub_signed(*d)
            .map(Val::Timestamp)
            .ok_or_else(overflow),
        (Val::Duration(a), Val::Duration(b)) => {
            a.checked_sub(b).map(Val::Duration).ok_or_else(overflow)
        }
        _ => arithmetic(a, b, i64::checked_sub, u64::checked_sub, |a, b| a - b),
    }
}

fn is_in<'a>(item: &Val<'_>, container: &Val<'_>, budget: &mut Budget) -> Outcome<'a> {
    if let Some(elements) = container.elements() {
        budget.spend(elements.len() as u64)?;
        return Ok(Val::Bool(elements.iter().any(|e| e.equals(item))));
    }
    match container.at(item) {
        Ok(found) => Ok(Val::Bool(found.is_some())),
        Err(()) => Err(no_overload()),
    }
}

fn index<'a>(container: &Val<'a>, key: &Val<'_>) -> Outcome<'a> {
    if matches!(container, Val::Optional(_)) {
        return optional_index(container, key);
    }
    match container.at(key) {
        Ok(Some(value)) => Ok(value),
        Ok(None) if container.elements().is_some() => Err(EvalError::failed(format!(
            "index out of bounds: {}",
            print(key).unwrap_or_default()
        ))),
        Ok(None) => Err(EvalError::failed(format!(
            "no such key: {}",
            print(key).unwrap_or_default()
        ))),
        Err(()) if container.elements().is_some() => Err(EvalError::failed(format!(
            "unsupported index type '{}' in list",
            key.type_name()
        ))),
        Err(()) => Err(no_overload()),
    }
}

fn optional_index<'a>(container: &Val<'a>, key: &Val<'_>) -> Outcome<'a> {
    let inner = match container {
        Val::Optional(None) => return Ok(Val::Optional(None)),
        Val::Optional(Some(inner)) => inner,
        other => other,
    };
    let found = inner.at(key).map_err(|()| no_overload())?;
    Ok(Val::Optional(found.map(Arc::new)))
}

fn optional<'a>(name: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
    Some(Ok(match (name, arguments) {
        ("optional.of", [value]) => Val::Optional(Some(Arc::new(value.clone()))),
        ("optional.ofNonZeroValue", [value]) => {
            Val::Optional((!value.is_zero()).then(|| Arc::new(value.clone())))
        }
        ("optional.none", []) => Val::Optional(None),
        ("hasValue", [Val::Optional(inner)]) => Val::Bool(inner.is_some()),
        ("value", [Val::Optional(Some(inner))]) => (**inner).clone(),
        ("value", [Val::Optional(None)]) => {
            return Some(Err(EvalError::failed("optional.none() dereference")));
        }
        ("or", [Val::Optional(None), other]) => other.clone(),
        ("or", [this @ Val::Optional(_), _]) => this.clone(),
        ("orValue", [Val::Optional(inner), other]) => match inner {
            Some(inner) => (**inner).clone(),
            None => other.clone(),
        },
        _ => return None,
    }))
}
