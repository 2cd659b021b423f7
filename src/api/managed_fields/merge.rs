//! Merging an applied configuration into a live object.

use std::collections::BTreeMap;

use super::element::Element;
use super::typed::{Kind, Type, item_element, items_of, members_of};
use crate::api::schema::List;
use crate::base::tree::{Map, Value};

/// Merges `config` over `live`: leaves of the configuration win, what it does not mention stays.
///
/// # Errors
/// When an item of a keyed list has no identity.
pub(super) fn merge(
    live: Option<&Value>,
    config: Option<&Value>,
    ty: Type<'_>,
) -> Result<Option<Value>, String> {
    match ty.kind_of(live, config) {
        Kind::Leaf => Ok(config.or(live).cloned()),
        Kind::Map(members) => {
            let (left, right) = (members_of(live), members_of(config));
            if left.is_none() && right.is_none() {
                return Ok(config.or(live).cloned());
            }
            let mut out = Map::new();
            let empty = Map::new();
            let (left, right) = (left.unwrap_or(&empty), right.unwrap_or(&empty));
            for (name, value) in left {
                let config = right.get(name);
                let merged = match config {
                    None => Some(value.clone()),
                    config => merge(Some(value), config, members.member(name).0)?,
                };
                out.extend(merged.map(|merged| (name.clone(), merged)));
            }
            for (name, value) in right.iter().filter(|(name, _)| !left.contains_key(name)) {
                let merged = merge(None, Some(value), members.member(name).0)?;
                out.extend(merged.map(|merged| (name.clone(), merged)));
            }
            Ok((!out.is_empty()).then_some(Value::Object(out)))
        }
        Kind::List(list) => {
            let (left, right) = (items_of(live), items_of(config));
            if left.is_empty() && right.is_empty() {
                return Ok(config.or(live).cloned());
            }
            let merged = merge_items(list, left, right)?;
            Ok((!merged.is_empty()).then_some(Value::Array(merged)))
        }
    }
}

/// Items of a list by element; none where the element repeats.
type Observed<'v> = BTreeMap<Element, Option<&'v Value>>;

fn observe<'v>(list: &List, items: &'v [Value]) -> Result<(Vec<Element>, Observed<'v>), String> {
    let mut elements = Vec::with_capacity(items.len());
    let mut observed = Observed::new();
    for item in items {
        let element = item_element(list, item)?;
        observed
            .entry(element.clone())
            .and_modify(|value| *value = None)
            .or_insert(Some(item));
        elements.push(element);
    }
    Ok((elements, observed))
}

/// Interleaves live and applied items: those of the configuration in its order, others where they
/// were relative to their neighbours.
fn merge_items(list: &List, live: &[Value], config: &[Value]) -> Result<Vec<Value>, String> {
    let (live_elements, in_live) = observe(list, live)?;
    let (config_elements, in_config) = observe(list, config)?;
    let ty = Type::Known(&list.items);
    let mut shared = config_elements
        .iter()
        .filter(|element| in_live.contains_key(element));
    let mut next = shared.next();
    let mut emitted: std::collections::BTreeSet<&Element> = std::collections::BTreeSet::new();
    let mut out = Vec::with_capacity(live.len() + config.len());
    let (mut l, mut c) = (0, 0);
    while l < live.len() || c < config.len() {
        let (left, right) = (live_elements.get(l), config_elements.get(c));
        if let (Some(left), Some(right)) = (left, right) {
            if left != right
                && in_config.contains_key(left)
                && next.is_some_and(|next| next != left)
            {
                l += 1;
                continue;
            }
            if left == right {
                l += 1;
            }
        }
        if let Some(left) = left
            && right != Some(left)
        {
            if !in_config.contains_key(left) {
                out.extend(merge(live.get(l), None, ty)?);
                l += 1;
                continue;
            }
            if emitted.contains(left) {
                l += 1;
            }
        }
        if let Some(right) = right {
            emitted.insert(right);
            let live_item = in_live.get(right).copied().flatten();
            let config_item = in_config.get(right).copied().flatten();
            out.extend(merge(live_item, config_item, ty)?);
            c += 1;
            if next == Some(right) {
                next = shared.next();
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::schema;

    #[test]
    fn order_of_sets() {
        let meta = schema::definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        let finalizers = Type::Known(meta.expect("known").member("finalizers").expect("field"));
        let letters =
            |text: &str| -> Value { text.chars().map(|c| Value::from(c.to_string())).collect() };
        for (live, config, want) in [
            ("abcd", "db", "acdb"),
            ("abc", "xb", "axbc"),
            ("abc", "cx", "abcx"),
            ("abc", "cba", "cba"),
            ("abxc", "cya", "bxcya"),
            ("", "ab", "ab"),
            ("ab", "", "ab"),
        ] {
            let (live, config) = (letters(live), letters(config));
            let got = merge(Some(&live), Some(&config), finalizers).expect("merges");
            assert_eq!(got, Some(letters(want)), "{live} + {config}");
        }
    }
}
