//! The usual create: nobody owned anything, so what is new belongs to the writer.
//!
//! The same as [`super::compare`], [`Filter::apply`] and [`Set::to_fields`] one after the other, in one
//! pass that writes the entry's paths. Called by `update`, which compares whenever there are entries.

use super::Filter;
use super::STRIPPED_METADATA;
use super::compare::{compare_lists, is_scalar};
use super::element::{Element, same};
use super::set::Set;
use super::typed::{Kind, Members, Type, item_element, items_of, members_of};
use crate::api::schema::List;
use crate::base::tree::{Key, Map, Value};

/// The FieldsV1 object of what `new` sets that `zero` does not; `None` where only the long way can tell.
///
/// # Errors
/// When an item of a keyed list has no identity.
pub(super) fn fields_of_create(
    zero: &Value,
    new: &Value,
    ty: Type<'_>,
    filter: &Filter,
) -> Result<Option<Map>, String> {
    static NOTHING: Set = Set { nodes: Vec::new() };
    let without = match filter {
        Filter::All => &NOTHING,
        Filter::Without(fields) => fields,
        Filter::Only(_) => return Ok(None),
    };
    let (Some(zero), Some(new)) = (zero.as_object(), new.as_object()) else {
        return Ok(None);
    };
    let Kind::Map(members) = ty.kind(&Value::Object(Map::new())) else {
        return Ok(None);
    };
    let mut out = Map::new();
    for (name, value) in new {
        if matches!(name.as_str(), "kind" | "apiVersion") {
            continue;
        }
        let Some(without) = below(without, name) else {
            continue;
        };
        let (ty, _) = members.member(name);
        let old = zero.get(name);
        if name == "metadata" {
            let mut inner = Map::new();
            metadata(old, value, ty, without, &mut inner)?;
            put(field_text(name), false, inner, &mut out);
        } else {
            member(field_text(name), old, value, ty, without, &mut out)?;
        }
    }
    Ok(Some(out))
}

fn metadata(
    zero: Option<&Value>,
    new: &Value,
    ty: Type<'_>,
    without: &Set,
    out: &mut Map,
) -> Result<(), String> {
    let members = match ty.kind(new) {
        Kind::Map(members) => members,
        Kind::Leaf | Kind::List(_) => Members::Each(Type::Deduced),
    };
    for (name, value) in new.as_object().into_iter().flatten() {
        if STRIPPED_METADATA.contains(&name.as_str()) {
            continue;
        }
        if let Some(without) = below(without, name) {
            let old = zero.and_then(|zero| zero.get(name));
            let (ty, _) = members.member(name);
            member(field_text(name), old, value, ty, without, out)?;
        }
    }
    Ok(())
}

/// What is left out below a field; `None` where the field itself is.
fn below<'s>(without: &'s Set, name: &str) -> Option<&'s Set> {
    if without.nodes.is_empty() {
        return Some(without);
    }
    static NOTHING: Set = Set { nodes: Vec::new() };
    match without.find(&Element::field(name)) {
        None => Some(&NOTHING),
        Some(node) if node.member => None,
        Some(node) => Some(&node.children),
    }
}

/// Puts a path and what is owned below it, if anything is.
fn put(text: Key, is_owned: bool, mut inner: Map, out: &mut Map) {
    if inner.is_empty() && !is_owned {
        return;
    }
    if is_owned && !inner.is_empty() {
        inner.insert(Key::const_new("."), Value::Object(Map::new()));
    }
    out.insert(text, Value::Object(inner));
}

fn field_text(name: &str) -> Key {
    let mut text = Key::with_capacity("f:".len() + name.len());
    text.push_str("f:");
    text.push_str(name);
    text
}

fn member(
    text: Key,
    old: Option<&Value>,
    new: &Value,
    ty: Type<'_>,
    without: &Set,
    out: &mut Map,
) -> Result<(), String> {
    let mut inner = Map::new();
    let is_owned = fill(old, new, ty, without, &mut inner)?;
    put(text, is_owned, inner, out);
    Ok(())
}

/// Fills in what is owned below a value; answers whether the value itself is.
fn fill(
    old: Option<&Value>,
    new: &Value,
    ty: Type<'_>,
    without: &Set,
    out: &mut Map,
) -> Result<bool, String> {
    match ty.kind_of(old, Some(new)) {
        Kind::Leaf => return Ok(old.is_none_or(|old| !same(old, new))),
        Kind::Map(members) => {
            let (left, right) = (members_of(old), members_of(Some(new)));
            if left.is_none() && right.is_none() {
                return Ok(old.is_none_or(|old| !same(old, new)));
            }
            for (name, value) in right.into_iter().flatten() {
                let Some(without) = below(without, name) else {
                    continue;
                };
                let old = left.and_then(|left| left.get(name));
                let (ty, _) = members.member(name);
                member(field_text(name), old, value, ty, without, out)?;
            }
        }
        Kind::List(list) => {
            let (left, right) = (items_of(old), items_of(Some(new)));
            if left.is_empty() && right.is_empty() {
                return Ok(old.is_none_or(|old| !same(old, new)));
            }
            items(list, left, right, without, out)?;
        }
    }
    Ok(old.is_none_or(|old| is_scalar(old) != is_scalar(new)))
}

fn items(
    list: &List,
    old: &[Value],
    new: &[Value],
    without: &Set,
    out: &mut Map,
) -> Result<(), String> {
    // The kind without anything set has no items, and no filter looks into a list.
    if !old.is_empty() || !without.is_empty() {
        let mut changes = super::compare::Comparison::default();
        compare_lists(list, old, new, &mut changes)?;
        let owned = changes.modified.joined(changes.added);
        let fields = owned.without_subtrees(without).to_fields();
        out.extend(fields.as_object().cloned().unwrap_or_default());
        return Ok(());
    }
    let ty = Type::Known(&list.items);
    for item in new {
        let text = item_element(list, item)?.to_text();
        let mut inner = Map::new();
        // Duplicates are owned as a whole.
        if !out.contains_key(&text) {
            fill(None, item, ty, without, &mut inner)?;
        }
        put(text, true, inner, out);
    }
    Ok(())
}
