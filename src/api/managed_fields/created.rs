//! The usual create: nobody owned anything, so what is new belongs to the writer.
//!
//! The same as [`super::compare`], [`Filter::apply`] and [`Set::to_fields`] one after the other, in one
//! pass that writes the entry's paths. Called by `update`, which compares whenever there are entries.

use super::Filter;
use super::STRIPPED_METADATA;
use super::compare::is_scalar;
use super::element::{Element, same};
use super::set::Set;
use super::typed::{Kind, Members, Type, item_element, items_of, members_of};
use crate::api::schema::List;
use crate::base::tree::{Key, Map, Value};

/// No fields.
static NOTHING: Set = Set { nodes: Vec::new() };

/// The FieldsV1 object of what `new` sets that `zero`, whose lists are empty, does not; `None` where
/// only the long way can tell.
///
/// # Errors
/// When an item of a keyed list has no identity.
pub(super) fn fields_of_create(
    zero: &Value,
    new: &Value,
    ty: Type<'_>,
    filter: &Filter,
) -> Result<Option<Map>, String> {
    let without = match filter {
        Filter::All => &NOTHING,
        Filter::Without(fields) => fields,
        Filter::Only(_) => return Ok(None),
    };
    let (Some(zero), Some(new)) = (zero.as_object(), new.as_object()) else {
        return Ok(None);
    };
    let Kind::Map(types) = ty.kind(&Value::Object(Map::new())) else {
        return Ok(None);
    };
    let mut out = Map::new();
    let own = |name: &str| !matches!(name, "kind" | "apiVersion" | "metadata");
    members(types, Some(zero), new, own, without, &mut out)?;
    let metadata = new.get("metadata").and_then(Value::as_object);
    if let Some(new) = metadata
        && let Some(without) = below(without, "metadata")
    {
        let types = match types.member("metadata").0.kind(&Value::Object(Map::new())) {
            Kind::Map(types) => types,
            Kind::Leaf | Kind::List(_) => Members::Each(Type::Deduced),
        };
        let zero = zero.get("metadata").and_then(Value::as_object);
        let own = |name: &str| !STRIPPED_METADATA.contains(&name);
        let mut inner = Map::new();
        members(types, zero, new, own, without, &mut inner)?;
        put(field_text("metadata"), false, inner, &mut out);
    }
    Ok(Some(out))
}

/// Puts in what is owned of the members that `can_own` says yes to.
fn members(
    types: Members<'_>,
    old: Option<&Map>,
    new: &Map,
    can_own: impl Fn(&str) -> bool,
    without: &Set,
    out: &mut Map,
) -> Result<(), String> {
    for (name, value) in new.iter().filter(|(name, _)| can_own(name)) {
        let Some(without) = below(without, name) else {
            continue;
        };
        let old = old.and_then(|old| old.get(name));
        let mut inner = Map::new();
        let is_owned = fill(old, value, types.member(name).0, without, &mut inner)?;
        put(field_text(name), is_owned, inner, out);
    }
    Ok(())
}

/// What is left out below a field; `None` where the field itself is.
fn below<'s>(without: &'s Set, name: &str) -> Option<&'s Set> {
    if without.nodes.is_empty() {
        return Some(without);
    }
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

/// Fills in what is owned below a value; answers whether the value itself is.
fn fill(
    old: Option<&Value>,
    new: &Value,
    ty: Type<'_>,
    without: &Set,
    out: &mut Map,
) -> Result<bool, String> {
    let is_changed = || old.is_none_or(|old| !same(old, new));
    match ty.kind_of(old, Some(new)) {
        Kind::Leaf => return Ok(is_changed()),
        Kind::Map(types) => {
            let (left, right) = (members_of(old), members_of(Some(new)));
            if left.is_none() && right.is_none() {
                return Ok(is_changed());
            }
            if let Some(right) = right {
                members(types, left, right, |_| true, without, out)?;
            }
        }
        Kind::List(list) => match items_of(Some(new)) {
            [] => return Ok(is_changed()),
            new => items(list, new, out)?,
        },
    }
    Ok(old.is_none_or(|old| is_scalar(old) != is_scalar(new)))
}

/// Puts in the items of a list that was empty. No filter looks into lists.
fn items(list: &List, new: &[Value], out: &mut Map) -> Result<(), String> {
    let ty = Type::Known(&list.items);
    for item in new {
        let text = item_element(list, item)?.to_text();
        let mut inner = Map::new();
        // Duplicates are owned as a whole.
        if !out.contains_key(&text) {
            fill(None, item, ty, &NOTHING, &mut inner)?;
        }
        put(text, true, inner, out);
    }
    Ok(())
}
