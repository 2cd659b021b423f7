//! What changed between two objects, as three sets of paths.

use std::cmp::Ordering;

use super::STRIPPED_METADATA;
use super::element::{Element, same};
use super::set::Set;
use super::typed::{Kind, Members, Type, item_element, items_of, members_of};
use crate::api::schema::List;
use crate::base::tree::{Map, Value};

/// Paths that differ between an old and a new object.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// In the new one only.
    pub added: Set,
    /// In both, with different values.
    pub modified: Set,
    /// In the old one only.
    pub removed: Set,
}

/// What happened at a path itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Added,
    Modified,
    Removed,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// The same without what `keep` takes out of each set.
    #[must_use]
    pub fn filtered(self, keep: impl Fn(Set) -> Set) -> Self {
        Comparison {
            added: keep(self.added),
            modified: keep(self.modified),
            removed: keep(self.removed),
        }
    }

    fn push(&mut self, element: Element, change: Change, inner: Comparison) {
        let is = |wanted| change == wanted;
        let Comparison {
            added,
            modified,
            removed,
        } = inner;
        // Nearly always only one of them has something.
        if is(Change::Modified) || !modified.is_empty() {
            self.modified
                .push(element.clone(), is(Change::Modified), modified);
        }
        if is(Change::Removed) || !removed.is_empty() {
            self.removed
                .push(element.clone(), is(Change::Removed), removed);
        }
        self.added.push(element, is(Change::Added), added);
    }
}

/// Compares two whole objects. What nobody can own (kind, apiVersion, the system's metadata) is left
/// out.
///
/// # Errors
/// When an item of a keyed list has no identity.
pub fn compare_objects(old: &Value, new: &Value, ty: Type<'_>) -> Result<Comparison, String> {
    let empty = Map::new();
    let (old, new) = (
        old.as_object().unwrap_or(&empty),
        new.as_object().unwrap_or(&empty),
    );
    let members = match ty.kind(&Value::Object(Map::new())) {
        Kind::Map(members) => members,
        Kind::Leaf | Kind::List(_) => Members::Each(Type::Deduced),
    };
    let mut out = Comparison::default();
    zip(old, new, |name, old, new| {
        if matches!(name, "kind" | "apiVersion") {
            return Ok(());
        }
        let (ty, _) = members.member(name);
        if name != "metadata" {
            return descend(Element::field(name), old, new, ty, &mut out);
        }
        let mut inner = Comparison::default();
        compare_metadata(old, new, ty, &mut inner)?;
        out.push(Element::field(name), Change::Nothing, inner);
        Ok(())
    })?;
    Ok(out)
}

fn compare_metadata(
    old: Option<&Value>,
    new: Option<&Value>,
    ty: Type<'_>,
    out: &mut Comparison,
) -> Result<(), String> {
    let empty = Map::new();
    let old = old.and_then(Value::as_object).unwrap_or(&empty);
    let new = new.and_then(Value::as_object).unwrap_or(&empty);
    zip(old, new, |name, old, new| {
        if STRIPPED_METADATA.contains(&name) {
            return Ok(());
        }
        let element = Element::field(name);
        let ty = ty.below(&element).0;
        descend(element, old, new, ty, out)
    })
}

/// Visits the members of both maps in order.
fn zip<'v>(
    old: &'v Map,
    new: &'v Map,
    mut visit: impl FnMut(&'v str, Option<&'v Value>, Option<&'v Value>) -> Result<(), String>,
) -> Result<(), String> {
    let (mut left, mut right) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let old = if order == Ordering::Greater {
            None
        } else {
            left.next()
        };
        let new = if order == Ordering::Less {
            None
        } else {
            right.next()
        };
        let Some((name, _)) = new.or(old) else {
            return Ok(());
        };
        visit(name, old.map(|(_, v)| v), new.map(|(_, v)| v))?;
    }
}

fn descend(
    element: Element,
    old: Option<&Value>,
    new: Option<&Value>,
    ty: Type<'_>,
    out: &mut Comparison,
) -> Result<(), String> {
    let mut inner = Comparison::default();
    let change = compare(old, new, ty, &mut inner)?;
    if change != Change::Nothing || !inner.is_empty() {
        out.push(element, change, inner);
    }
    Ok(())
}

fn compare(
    old: Option<&Value>,
    new: Option<&Value>,
    ty: Type<'_>,
    out: &mut Comparison,
) -> Result<Change, String> {
    match ty.kind_of(old, new) {
        Kind::Leaf => return Ok(leaf(old, new)),
        Kind::Map(members) => {
            let (left, right) = (members_of(old), members_of(new));
            if left.is_none() && right.is_none() {
                return Ok(leaf(old, new));
            }
            let empty = Map::new();
            zip(
                left.unwrap_or(&empty),
                right.unwrap_or(&empty),
                |name, old, new| {
                    let (ty, _) = members.member(name);
                    // Most members are equal scalars: no element is made for them.
                    if let (Some(old), Some(new)) = (old, new)
                        && !old.is_object()
                        && old == new
                    {
                        return Ok(());
                    }
                    descend(Element::field(name), old, new, ty, out)
                },
            )?;
        }
        Kind::List(list) => {
            let (left, right) = (items_of(old), items_of(new));
            if left.is_empty() && right.is_empty() {
                return Ok(leaf(old, new));
            }
            compare_lists(list, left, right, out)?;
        }
    }
    Ok(match (old, new) {
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        // A value without members became one with members, or the reverse.
        (Some(old), Some(new)) if is_scalar(old) != is_scalar(new) => Change::Modified,
        _ => Change::Nothing,
    })
}

pub(super) fn is_scalar(value: &Value) -> bool {
    !value.is_object() && !value.is_array() && !value.is_null()
}

fn leaf(old: Option<&Value>, new: Option<&Value>) -> Change {
    match (old, new) {
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        (Some(old), Some(new)) if !same(old, new) => Change::Modified,
        _ => Change::Nothing,
    }
}

type Keyed<'v> = Vec<(Element, &'v Value)>;

fn keyed<'v>(list: &List, items: &'v [Value]) -> Result<Keyed<'v>, String> {
    let mut keyed: Keyed<'v> = items
        .iter()
        .map(|item| Ok((item_element(list, item)?, item)))
        .collect::<Result<_, String>>()?;
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(keyed)
}

/// Splits off the items of the first element.
fn group<'k, 'v>(
    rest: &mut &'k [(Element, &'v Value)],
    element: &Element,
) -> &'k [(Element, &'v Value)] {
    let count = rest
        .iter()
        .take_while(|(other, _)| other == element)
        .count();
    let (group, others) = rest.split_at(count);
    *rest = others;
    group
}

fn compare_lists(
    list: &List,
    old: &[Value],
    new: &[Value],
    out: &mut Comparison,
) -> Result<(), String> {
    if old == new {
        return Ok(());
    }
    let (old, new) = (keyed(list, old)?, keyed(list, new)?);
    let ty = Type::Known(&list.items);
    let (mut left, mut right) = (old.as_slice(), new.as_slice());
    loop {
        let element = match (left.first(), right.first()) {
            (None, None) => return Ok(()),
            (Some((a, _)), Some((b, _))) => a.min(b).clone(),
            (Some((a, _)), None) | (None, Some((a, _))) => a.clone(),
        };
        let (before, after) = (group(&mut left, &element), group(&mut right, &element));
        let mut inner = Comparison::default();
        let (first, second) = (before.first().map(|b| b.1), after.first().map(|a| a.1));
        let change = match (before.len(), after.len()) {
            (0 | 1, 0 | 1) => compare(first, second, ty, &mut inner)?,
            // Duplicates are owned as a whole.
            (0 | 1, _) => {
                compare(first, None, ty, &mut inner)?;
                Change::Added
            }
            (_, 0 | 1) => {
                compare(None, second, ty, &mut inner)?;
                Change::Removed
            }
            _ => {
                let equal = before.len() == after.len()
                    && before.iter().zip(after).all(|(a, b)| same(a.1, b.1));
                if equal {
                    Change::Nothing
                } else {
                    Change::Modified
                }
            }
        };
        if change != Change::Nothing || !inner.is_empty() {
            out.push(element, change, inner);
        }
    }
}
