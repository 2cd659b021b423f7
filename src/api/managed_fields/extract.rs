//! The set of paths that a value has, and what removing paths makes of a value.

use super::element::Element;
use super::set::Set;
use super::typed::{Kind, Type, item_element, items_of, members_of};
use crate::api::schema::List;
use crate::base::tree::{Map, Value};

/// The paths of everything that `value` sets. Items without identity are left out.
pub fn fields_of(value: &Value, ty: Type<'_>) -> Set {
    let mut out = Set::default();
    fill(value, ty, &mut out);
    out
}

/// Adds what is below; answers whether the path itself is set.
fn fill(value: &Value, ty: Type<'_>, out: &mut Set) -> bool {
    match ty.kind(value) {
        Kind::Leaf => true,
        Kind::Map(members) => {
            let Some(values) = members_of(Some(value)) else {
                return true;
            };
            for (name, value) in values {
                let (ty, declared) = members.member(name);
                let mut inner = Set::default();
                let itself = fill(value, ty, &mut inner);
                let bare = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                out.push(Element::field(name), itself || bare || !declared, inner);
            }
            false
        }
        Kind::List(list) => {
            for item in items_of(Some(value)) {
                let Ok(element) = item_element(list, item) else {
                    continue;
                };
                let mut inner = Set::default();
                fill(item, Type::Known(&list.items), &mut inner);
                out.push(element, true, inner);
            }
            sort_items(out);
            false
        }
    }
}

/// Sorts the items of a list; of duplicates only the element itself is owned.
fn sort_items(items: &mut Set) {
    items.nodes.sort_by(|a, b| a.element.cmp(&b.element));
    items.nodes.dedup_by(|next, node| {
        let equal = next.element == node.element;
        if equal {
            node.children = Set::default();
        }
        equal
    });
}

/// Adds every declared field above a path as a member.
pub(super) fn with_named_fields(set: &Set, ty: Type<'_>) -> Set {
    let mut out = Set::default();
    for node in &set.nodes {
        let (below, declared) = ty.below(&node.element);
        let children = with_named_fields(&node.children, below);
        let member = node.member || (declared && !children.is_empty());
        out.push(node.element.clone(), member, children);
    }
    out
}

/// Removes the paths of `set`. Containers that become empty become null.
pub(super) fn remove(value: &Value, set: &Set, ty: Type<'_>) -> Value {
    match ty.kind(value) {
        Kind::Leaf => Value::Null,
        Kind::Map(members) => {
            let mut out = Map::new();
            for (name, value) in members_of(Some(value)).into_iter().flatten() {
                let kept = match set.find(&Element::field(name)) {
                    None => value.clone(),
                    Some(node) if node.member => continue,
                    Some(node) => remove(value, &node.children, members.member(name).0),
                };
                out.insert(name.clone(), kept);
            }
            if out.is_empty() {
                Value::Null
            } else {
                Value::Object(out)
            }
        }
        Kind::List(list) => remove_items(value, set, list),
    }
}

fn remove_items(value: &Value, set: &Set, list: &List) -> Value {
    let mut out = Vec::new();
    for item in items_of(Some(value)) {
        let element = item_element(list, item).ok();
        match element.and_then(|element| set.find(&element)) {
            None => out.push(item.clone()),
            Some(node) if node.member => {}
            Some(node) => out.push(remove(item, &node.children, Type::Known(&list.items))),
        }
    }
    if out.is_empty() {
        Value::Null
    } else {
        Value::Array(out)
    }
}
