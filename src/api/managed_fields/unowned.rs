//! Merging without ownership: what a mutating admission policy's configuration does to an object.

use super::element::Element;
use super::merge::merge;
use super::typed::Type;
use super::validate::validate;
use crate::api::schema::{ListType, Node};
use crate::base::tree::Value;

/// Merges `config` into `object`: its leaves win, and nothing is removed.
///
/// # Errors
/// The configuration does not fit the kind, or would replace something whole; in upstream's words.
pub fn merge_unowned(object: &Value, config: &Value, ty: Type<'_>) -> Result<Value, String> {
    validate(config, ty)
        .map_err(|text| format!("failed to convert patch object to typed object: {text}"))?;
    let mut atomic = Vec::new();
    find_atomic(config, ty, &mut String::new(), &mut atomic);
    if !atomic.is_empty() {
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
            atomic.join(", ")
        ));
    }
    let merged = merge(Some(object), Some(config), ty)
        .map_err(|text| format!("failed to merge patch: {text}"))?;
    Ok(merged.unwrap_or_default())
}

/// Paths of what would be replaced whole: whoever sets one field of it would remove the others.
fn find_atomic(value: &Value, ty: Type<'_>, path: &mut String, found: &mut Vec<String>) {
    let Type::Known(schema) = ty else {
        return;
    };
    let mut visit = |element: &Element, value: &Value, found: &mut Vec<String>| {
        let length = path.len();
        path.push_str(&element.to_string());
        find_atomic(value, ty.below(element).0, path, found);
        path.truncate(length);
    };
    let is_atomic = match (&schema.node, value) {
        (Node::Object(object), Value::Object(_)) => object.atomic,
        (Node::Map(map), Value::Object(_)) => map.atomic,
        (Node::List(list), Value::Array(_)) => list.list_type == ListType::Atomic,
        _ => return,
    };
    let mut below = Vec::new();
    match (&schema.node, value) {
        (Node::Object(_), Value::Object(members)) => {
            for (name, value) in members {
                visit(&Element::field(name), value, &mut below);
            }
        }
        (Node::List(_), Value::Array(items)) => {
            for (value, at) in items.iter().zip(0..) {
                visit(&Element::Index(at), value, &mut below);
            }
        }
        _ => {}
    }
    if is_atomic {
        found.push(path.clone());
    }
    found.append(&mut below);
}

#[cfg(test)]
mod tests {
    use crate::base::tree::json;

    use super::*;
    use crate::api::schema;

    #[test]
    fn merges_and_refuses() {
        let schema = schema::definition("io.k8s.api.core.v1.Pod").expect("known");
        let pod = json!({"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "a", "image": "i"}], "nodeSelector": {"x": "y"}}});
        for (config, want) in [
            (
                json!({"metadata": {"labels": {"c": "d"}}}),
                Ok(json!({"a": "b", "c": "d"})),
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "args": ["x"]}], "nodeSelector": {"z": "z"}}}),
                Err(
                    "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.containers[0].args, .spec.nodeSelector",
                ),
            ),
            (
                json!({"spec": {"odd": 1}}),
                Err(
                    "failed to convert patch object to typed object: .spec.odd: field not declared in schema",
                ),
            ),
        ] {
            let got = merge_unowned(&pod, &config, Type::Known(schema));
            let got = got.map(|merged| merged["metadata"]["labels"].clone());
            assert_eq!(got, want.map_err(str::to_string));
        }
        let added = json!({"spec": {"containers": [{"name": "b", "image": "j"}]}});
        let merged = merge_unowned(&pod, &added, Type::Known(schema)).expect("fits");
        assert_eq!(
            merged["spec"]["containers"].as_array().map(Vec::len),
            Some(2)
        );
    }
}
