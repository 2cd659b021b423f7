//! Lists and sets.

use std::cmp::Ordering;
use std::sync::Arc;

use chrono::TimeDelta;

use super::super::eval::{Budget, EvalError, Outcome, no_overload};
use super::super::value::Val;

/// Elements that `lists.range` makes at most.
const RANGE_MAX: i64 = 1_000_000;

/// Calls a function of lists; `None` when it is none.
pub(super) fn call<'a>(
    name: &str,
    arguments: &[Val<'a>],
    budget: &mut Budget,
) -> Option<Outcome<'a>> {
    let (first, rest) = arguments.split_first()?;
    if name == "size" && rest.is_empty() {
        let size = first.size().and_then(|n| i64::try_from(n).ok());
        return size.map(|n| Ok(Val::Int(n)));
    }
    if let ("lists.range", Val::Int(n)) = (name, first) {
        return Some(range(*n, budget));
    }
    let items = first.elements()?;
    if let Err(error) = budget.spend(items.len() as u64) {
        return Some(Err(error));
    }
    let list = |items: Vec<Val<'a>>| Ok(Val::List(Arc::new(items)));
    Some(match (name, rest) {
        ("isSorted", []) => is_sorted(&items),
        ("sum", []) => sum(&items),
        ("min", []) => extreme(&items, "min", Ordering::Less),
        ("max", []) => extreme(&items, "max", Ordering::Greater),
        ("indexOf", [item]) => place(items.iter().position(|i| i.equals(item))),
        ("lastIndexOf", [item]) => place(items.iter().rposition(|i| i.equals(item))),
        ("slice", [Val::Int(from), Val::Int(to)]) => slice(&items, *from, *to),
        ("flatten", []) => flatten(&items, 1, budget).and_then(list),
        ("flatten", [Val::Int(depth)]) => match *depth >= 0 {
            true => flatten(&items, *depth, budget).and_then(list),
            false => Err(EvalError::failed("level must be non-negative")),
        },
        ("distinct", []) => distinct(&items, budget).and_then(list),
        ("reverse", []) => list(items.into_iter().rev().collect()),
        ("sort", []) => {
            let pairs = items.into_iter().map(|i| (i.clone(), i)).collect();
            sort_by_key(pairs).and_then(list)
        }
        ("sets.contains", [other]) => subset(other, &items, budget).map(Val::Bool),
        ("sets.equivalent", [other]) => equivalent(&items, other, budget).map(Val::Bool),
        ("sets.intersects", [other]) => intersects(&items, other, budget).map(Val::Bool),
        _ => return None,
    })
}

fn range<'a>(n: i64, budget: &mut Budget) -> Outcome<'a> {
    if n > RANGE_MAX {
        return Err(EvalError::TooCostly);
    }
    budget.spend(u64::try_from(n).unwrap_or(0))?;
    Ok(Val::List(Arc::new((0..n).map(Val::Int).collect())))
}

fn place<'a>(at: Option<usize>) -> Outcome<'a> {
    let at = at.and_then(|n| i64::try_from(n).ok());
    Ok(Val::Int(at.unwrap_or(-1)))
}

fn is_sorted<'a>(items: &[Val<'_>]) -> Outcome<'a> {
    for pair in items.windows(2) {
        if pair[0].compare(&pair[1]).ok_or_else(no_overload)? == Ordering::Greater {
            return Ok(Val::Bool(false));
        }
    }
    Ok(Val::Bool(true))
}

fn sum<'a>(items: &[Val<'a>]) -> Outcome<'a> {
    let overflow = || EvalError::failed("return error for overflow");
    let mut total = match items.first() {
        None => return Ok(Val::Int(0)),
        Some(Val::Int(_)) => Val::Int(0),
        Some(Val::Uint(_)) => Val::Uint(0),
        Some(Val::Double(_)) => Val::Double(0.0),
        Some(Val::Duration(_)) => Val::Duration(TimeDelta::zero()),
        Some(_) => return Err(no_overload()),
    };
    for item in items {
        total = match (&total, item) {
            (Val::Int(a), Val::Int(b)) => Val::Int(a.checked_add(*b).ok_or_else(overflow)?),
            (Val::Uint(a), Val::Uint(b)) => Val::Uint(a.checked_add(*b).ok_or_else(overflow)?),
            (Val::Double(a), Val::Double(b)) => Val::Double(a + b),
            (Val::Duration(a), Val::Duration(b)) => {
                Val::Duration(a.checked_add(b).ok_or_else(overflow)?)
            }
            _ => return Err(no_overload()),
        };
    }
    Ok(total)
}

fn extreme<'a>(items: &[Val<'a>], name: &str, wanted: Ordering) -> Outcome<'a> {
    let mut best = items
        .first()
        .ok_or_else(|| EvalError::failed(format!("{name} called on empty list")))?;
    for item in &items[1..] {
        if item.compare(best).ok_or_else(no_overload)? == wanted {
            best = item;
        }
    }
    Ok(best.clone())
}

fn slice<'a>(items: &[Val<'a>], from: i64, to: i64) -> Outcome<'a> {
    let refuse = |text: String| Err(EvalError::failed(text));
    if from < 0 || to < 0 {
        return refuse(format!(
            "cannot slice({from}, {to}), negative indexes not supported"
        ));
    }
    if from > to {
        return refuse(format!(
            "cannot slice({from}, {to}), start index must be less than or equal to end index"
        ));
    }
    let bounds = usize::try_from(from).ok().zip(usize::try_from(to).ok());
    match bounds.and_then(|(from, to)| items.get(from..to)) {
        Some(part) => Ok(Val::List(Arc::new(part.to_vec()))),
        None => refuse(format!(
            "cannot slice({from}, {to}), list is length {}",
            items.len()
        )),
    }
}

fn flatten<'a>(
    items: &[Val<'a>],
    depth: i64,
    budget: &mut Budget,
) -> Result<Vec<Val<'a>>, EvalError> {
    budget.spend(items.len() as u64)?;
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        match item.elements() {
            Some(inner) if depth > 0 => out.extend(flatten(&inner, depth - 1, budget)?),
            _ => out.push(item.clone()),
        }
    }
    Ok(out)
}

fn distinct<'a>(items: &[Val<'a>], budget: &mut Budget) -> Result<Vec<Val<'a>>, EvalError> {
    let mut out: Vec<Val<'a>> = Vec::new();
    for item in items {
        budget.spend(out.len() as u64)?;
        if !out.iter().any(|o| o.equals(item)) {
            out.push(item.clone());
        }
    }
    Ok(out)
}

/// The second of each pair, in the order of the first; equal ones stay as they were.
pub(in crate::api::cel) fn sort_by_key<'a>(
    mut pairs: Vec<(Val<'a>, Val<'a>)>,
) -> Result<Vec<Val<'a>>, EvalError> {
    // Comparing with the first finds what cannot be ordered; the order below is total then.
    if let Some((first, _)) = pairs.first() {
        let ordered = pairs.iter().all(|(k, _)| k.compare(first).is_some());
        if !ordered {
            return Err(EvalError::failed("list elements must have the same type"));
        }
    }
    pairs.sort_by(|(a, _), (b, _)| a.compare(b).unwrap_or(Ordering::Equal));
    Ok(pairs.into_iter().map(|(_, value)| value).collect())
}

/// Whether all elements of `part` are in `items`.
fn subset(part: &Val<'_>, items: &[Val<'_>], budget: &mut Budget) -> Result<bool, EvalError> {
    let part = part.elements().ok_or_else(no_overload)?;
    budget.spend((part.len() * items.len()) as u64)?;
    Ok(part.iter().all(|p| items.iter().any(|i| i.equals(p))))
}

fn equivalent(items: &[Val<'_>], other: &Val<'_>, budget: &mut Budget) -> Result<bool, EvalError> {
    if !subset(other, items, budget)? {
        return Ok(false);
    }
    let other = other.elements().ok_or_else(no_overload)?;
    Ok(items.iter().all(|i| other.iter().any(|o| o.equals(i))))
}

fn intersects(items: &[Val<'_>], other: &Val<'_>, budget: &mut Budget) -> Result<bool, EvalError> {
    let other = other.elements().ok_or_else(no_overload)?;
    budget.spend((other.len() * items.len()) as u64)?;
    Ok(items.iter().any(|i| other.iter().any(|o| o.equals(i))))
}
