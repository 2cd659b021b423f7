//! Strategic merge patch: merges lists by key as the schema says, and the directives that steer it.
//!
//! Rules: contract/apply.md §11. Texts are apimachinery's `strategicpatch`.

use super::print::go_value;
use super::restore::go_kind;
use crate::api::schema::{Field, Schema};
use crate::base::tree::{Map, Value};

type Members = Map;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Why a strategic merge failed; decides the HTTP code.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// The patch's directives are malformed.
    Format(&'static str),
    /// Something that the client is not told the details of.
    Rejected,
    /// Everything else, with its text.
    Other(String),
}

/// Merges `patch` into a copy of `object`.
pub(super) fn merge(object: &Map, patch: &Map, schema: Option<&Schema>) -> Result<Value, Error> {
    merge_map(object.clone(), patch, schema).map(Value::Object)
}

fn merge_map(mut original: Map, patch: &Map, schema: Option<&Schema>) -> Result<Map, Error> {
    if let Some(directive) = patch.get(PATCH) {
        return whole_map(directive, patch);
    }
    retain_keys(&mut original, patch)?;
    let ordered = merge_ordered(&mut original, patch, schema)?;
    for (key, value) in patch {
        if key == RETAIN_KEYS || key.starts_with(SET_ORDER) || ordered.contains(&key.as_str()) {
            continue;
        }
        merge_member(&mut original, key, value, schema)?;
    }
    Ok(original)
}

/// `$patch` in a map decides about all of it.
fn whole_map(directive: &Value, patch: &Map) -> Result<Map, Error> {
    match directive.as_str() {
        Some("replace") => {
            let mut replaced = patch.clone();
            replaced.remove(PATCH);
            Ok(replaced)
        }
        Some("delete") => Ok(Map::new()),
        _ => Err(unknown_patch_type(directive, patch)),
    }
}

fn unknown_patch_type(directive: &Value, patch: &Map) -> Error {
    Error::Other(format!(
        "unknown patch type: {} in map: {}",
        go_value(directive),
        go_value(&Value::Object(patch.clone()))
    ))
}

fn merge_member(
    original: &mut Map,
    key: &str,
    value: &Value,
    schema: Option<&Schema>,
) -> Result<(), Error> {
    let deletes = key.strip_prefix(DELETE_FROM);
    let key = deletes.unwrap_or(key);
    if deletes.is_some() && !value.is_array() {
        return Err(Error::Format("invalid patch format of primitive list"));
    }
    if value.is_null() {
        original.remove(key);
        return Ok(());
    }
    let Some(current) = original.get_mut(key) else {
        if deletes.is_none()
            && let Some(value) = without_directives(value)
        {
            original.insert(key.into(), value);
        }
        return Ok(());
    };
    let (field, inner) = lookup(schema, key);
    match (&mut *current, value) {
        (Value::Object(members), Value::Object(patch)) => {
            let replaces = field.is_some_and(|field| field.patch.replace);
            *current = if replaces {
                value.clone()
            } else {
                Value::Object(merge_map(std::mem::take(members), patch, inner)?)
            };
        }
        (Value::Array(items), Value::Array(patch)) => {
            let items = std::mem::take(items);
            *current = Value::Array(merge_list(items, patch, field, deletes.is_some())?);
        }
        _ if deletes.is_some() => {}
        (_, value) => match without_directives(value) {
            Some(value) => *current = value,
            None => {
                original.remove(key);
            }
        },
    }
    Ok(())
}

/// The field `key` of a struct and its type, or the type of a map's values.
fn lookup<'a>(schema: Option<&'a Schema>, key: &str) -> (Option<&'a Field>, Option<&'a Schema>) {
    let field = schema
        .and_then(Schema::object)
        .and_then(|object| object.field(key));
    (field, schema.and_then(|schema| schema.member(key)))
}

/// A value that is taken over as it is: without nulls, and without maps that carry `$patch`.
fn without_directives(value: &Value) -> Option<Value> {
    match value {
        Value::Object(members) if members.contains_key(PATCH) => None,
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, value)| {
                !value.is_null()
                    && *key != RETAIN_KEYS
                    && !key.starts_with(SET_ORDER)
                    && !key.starts_with(DELETE_FROM)
            });
            let kept =
                kept.filter_map(|(key, value)| Some((key.clone(), without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(
            items.iter().filter_map(without_directives).collect(),
        )),
        scalar => Some(scalar.clone()),
    }
}

/// `$retainKeys`: only the listed keys stay.
fn retain_keys(original: &mut Map, patch: &Map) -> Result<(), Error> {
    const MALFORMED: Error = Error::Format("invalid patch format of retainKeys");
    let Some(retain) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let retain = retain.as_array().ok_or(MALFORMED)?;
    let listed = |key: &str| retain.iter().any(|listed| listed.as_str() == Some(key));
    let all_listed = patch
        .iter()
        .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
        .all(|(key, _)| listed(key));
    if !all_listed {
        return Err(MALFORMED);
    }
    original.retain(|key, _| listed(key));
    Ok(())
}

/// Lists with a `$setElementOrder`. Answers which fields that settled.
fn merge_ordered<'p>(
    original: &mut Map,
    patch: &'p Map,
    schema: Option<&Schema>,
) -> Result<Vec<&'p str>, Error> {
    let mut settled = Vec::new();
    for (key, order) in patch {
        let Some(name) = key.strip_prefix(SET_ORDER) else {
            continue;
        };
        let order = list(order)?;
        let before = original.get(name).map(list).transpose()?.cloned();
        let patched = patch.get(name).map(list).transpose()?;
        let field = ordered_field(schema, name)?;
        let merge_key = field.and_then(|field| field.merge_key.as_deref());
        check_order(patched, order, merge_key)?;
        let merged = match (&before, patched) {
            (None, None) => continue,
            (Some(before), None) => before.clone(),
            (None, Some(patched)) => patched.iter().filter_map(without_directives).collect(),
            (Some(before), Some(patched)) => merge_list(before.clone(), patched, field, false)?,
        };
        let before = before.unwrap_or_default();
        let sorted = in_order(merged, order, &before, merge_key);
        original.insert(name.into(), Value::Array(sorted));
        if patched.is_some() {
            settled.push(name);
        }
    }
    Ok(settled)
}

fn list(value: &Value) -> Result<&Vec<Value>, Error> {
    value.as_array().ok_or_else(|| {
        let got = go_type(value);
        Error::Other(format!("expected a []interface {{}}, but received a {got}"))
    })
}

fn go_type(value: &Value) -> &'static str {
    match go_kind(value) {
        "slice" => "[]interface {}",
        "map" => "map[string]interface {}",
        "invalid" => "<nil>",
        scalar => scalar,
    }
}

fn ordered_field<'a>(schema: Option<&'a Schema>, name: &str) -> Result<Option<&'a Field>, Error> {
    let Some(object) = schema.and_then(Schema::object) else {
        return Ok(None);
    };
    object.field(name).map(Some).ok_or_else(|| {
        let struct_name = object.short_name();
        Error::Other(format!(
            "unable to find api field in struct {struct_name} for the json field {}",
            crate::api::field::go_quote(name)
        ))
    })
}

/// The patch's items must come in the order that it sets.
fn check_order(
    patched: Option<&Vec<Value>>,
    order: &[Value],
    merge_key: Option<&str>,
) -> Result<(), Error> {
    let Some(patched) = patched else {
        return Ok(());
    };
    let kept = |item: &&Value| {
        merge_key.is_none() || item.get(PATCH).and_then(Value::as_str) != Some("delete")
    };
    let mut items = patched.iter().filter(kept).peekable();
    for place in order {
        let Some(item) = items.peek() else { break };
        if same(item, place, merge_key) {
            items.next();
        }
    }
    if items.peek().is_none() {
        return Ok(());
    }
    Err(Error::Other(format!(
        "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
        go_value(&Value::Array(patched.clone())),
        go_value(&Value::Array(order.to_vec()))
    )))
}

/// Whether two items are the same: by merge key, or scalars by value.
fn same(a: &Value, b: &Value, merge_key: Option<&str>) -> bool {
    match merge_key {
        Some(key) => match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => a == b || go_value(a) == go_value(b),
            _ => false,
        },
        None => a == b,
    }
}

fn merge_list(
    original: Vec<Value>,
    patch: &[Value],
    field: Option<&Field>,
    deletes: bool,
) -> Result<Vec<Value>, Error> {
    let Some(field) = field.filter(|field| field.patch.merge) else {
        return Ok(patch.to_vec());
    };
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if !check_elements(&original, patch)? {
        return Ok(merge_scalars(original, patch, deletes));
    }
    let items = field.schema.items();
    let Some(key) = field.merge_key.as_deref() else {
        let name = items.map_or("", |items| items.go_type.as_ref());
        return Err(Error::Other(format!(
            "cannot merge lists without merge key for {name}"
        )));
    };
    let (original, patch) = special_elements(original, patch, key)?;
    let merged = merge_keyed(original.clone(), &patch, key, items)?;
    let patch: Vec<Value> = patch.into_iter().map(Value::Object).collect();
    Ok(in_order(merged, &patch, &original, Some(key)))
}

/// Answers whether the elements are maps; they must all be of one type.
fn check_elements(original: &[Value], patch: &[Value]) -> Result<bool, Error> {
    let mut types = original.iter().chain(patch).map(go_type);
    let first = types.next().unwrap_or("<nil>");
    if first == "[]interface {}" {
        return Err(Error::Rejected);
    }
    if types.any(|other| other != first) {
        let all: Vec<Value> = original.iter().chain(patch).cloned().collect();
        return Err(Error::Other(format!(
            "list element types are not identical: {}",
            go_value(&Value::Array(all))
        )));
    }
    Ok(first == "map[string]interface {}")
}

fn merge_scalars(original: Vec<Value>, patch: &[Value], deletes: bool) -> Vec<Value> {
    if deletes {
        let kept = original.into_iter().filter(|item| !patch.contains(item));
        return kept.collect();
    }
    let mut merged: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
    for item in original.iter().chain(patch) {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    in_order(merged, patch, &original, None)
}

/// Takes out the items that are directives, doing what they say.
fn special_elements(
    mut original: Vec<Value>,
    patch: &[Value],
    key: &str,
) -> Result<(Vec<Value>, Vec<Members>), Error> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut replaces = false;
    for item in patch {
        let Value::Object(members) = item else {
            continue;
        };
        let Some(directive) = members.get(PATCH) else {
            plain.push(members.clone());
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                if !members.contains_key(key) {
                    return Err(no_merge_key(members, key));
                }
                original.retain(|candidate| !same(candidate, item, Some(key)));
            }
            Some("replace") => replaces = true,
            Some("merge") => {
                return Err(Error::Other(
                    "merging lists cannot yet be specified in the patch".into(),
                ));
            }
            _ => return Err(unknown_patch_type(directive, members)),
        }
    }
    if replaces {
        let replaced = plain.into_iter().map(Value::Object);
        return Ok((replaced.collect(), Vec::new()));
    }
    Ok((original, plain))
}

fn no_merge_key(members: &Map, key: &str) -> Error {
    Error::Other(format!(
        "map: {} does not contain declared merge key: {key}",
        go_value(&Value::Object(members.clone()))
    ))
}

fn merge_keyed(
    mut original: Vec<Value>,
    patch: &[Map],
    key: &str,
    items: Option<&Schema>,
) -> Result<Vec<Value>, Error> {
    for members in patch {
        let Some(wanted) = members.get(key) else {
            return Err(no_merge_key(members, key));
        };
        let found = original.iter_mut().find(|candidate| {
            candidate
                .get(key)
                .is_some_and(|value| value == wanted || go_value(value) == go_value(wanted))
        });
        match found {
            Some(Value::Object(current)) => {
                *current = merge_map(std::mem::take(current), members, items)?;
            }
            _ => {
                let value = Value::Object(members.clone());
                original.extend(without_directives(&value));
            }
        }
    }
    Ok(original)
}

/// Orders merged items: those of the patch as it orders them, the others as the server had them;
/// an item of the server comes before one of the patch only where the server knew both that way.
fn in_order(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    merge_key: Option<&str>,
) -> Vec<Value> {
    let at =
        |order: &[Value], item: &Value| order.iter().position(|other| same(other, item, merge_key));
    let mut patched: Vec<(usize, Value)> = Vec::new();
    let mut server: Vec<(usize, Value)> = Vec::new();
    for item in merged {
        match at(patch_order, &item) {
            Some(place) => patched.push((place, item)),
            None => server.push((at(server_order, &item).unwrap_or(usize::MAX), item)),
        }
    }
    patched.sort_by_key(|(place, _)| *place);
    server.sort_by_key(|(place, _)| *place);
    let mut out = Vec::with_capacity(patched.len() + server.len());
    let mut server = server.into_iter().peekable();
    for (_, item) in patched {
        let known = at(server_order, &item);
        while server
            .peek()
            .is_some_and(|(place, _)| *place != usize::MAX && known.is_some_and(|k| *place < k))
        {
            out.extend(server.next().map(|(_, item)| item));
        }
        out.push(item);
    }
    out.extend(server.map(|(_, item)| item));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::GroupVersionKind;
    use crate::api::schema;
    use crate::base::tree::json;

    fn pod_spec() -> &'static Schema {
        let pod = schema::builtin(&GroupVersionKind::new("", "v1", "Pod")).expect("known");
        pod.member("spec").expect("field")
    }

    fn run(object: &Value, patch: &Value) -> Result<Value, Error> {
        let object = object.as_object().expect("object");
        merge(object, patch.as_object().expect("object"), Some(pod_spec()))
    }

    #[test]
    fn directives() {
        let spec = json!({
            "containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}],
            "nodeSelector": {"x": "y"},
            "volumes": [{"name": "v", "emptyDir": {}}],
        });
        let names = |value: &Value| -> Vec<String> {
            let items = value["containers"].as_array().expect("list");
            items.iter().map(|c| go_value(&c["name"])).collect()
        };
        let merged = |patch: Value| run(&spec, &patch).expect("merges");
        let image = merged(json!({"containers": [{"name": "a", "image": "2", "args": ["z"]}]}));
        assert_eq!(
            image["containers"][0],
            json!({"name": "a", "image": "2", "args": ["z"]})
        );
        assert_eq!(
            names(&merged(json!({"containers": [{"name": "c"}]}))),
            ["c", "a", "b"]
        );
        assert_eq!(
            names(&merged(
                json!({"containers": [{"name": "a", "$patch": "delete"}]})
            )),
            ["b"]
        );
        assert_eq!(
            names(&merged(
                json!({"containers": [{"$patch": "replace"}, {"name": "c"}]})
            )),
            ["c"]
        );
        assert_eq!(
            names(&merged(json!({
                "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "containers": [{"name": "b", "image": "9"}],
            }))),
            ["b", "a"]
        );
        assert_eq!(
            merged(json!({"nodeSelector": {"$patch": "replace", "o": "1"}}))["nodeSelector"],
            json!({"o": "1"})
        );
        assert_eq!(
            merged(json!({"nodeSelector": null})).get("nodeSelector"),
            None
        );
        let retained = json!({"name": "v", "$retainKeys": ["name", "secret"], "secret": {}});
        assert_eq!(
            merged(json!({"volumes": [retained]}))["volumes"],
            json!([{"name": "v", "secret": {}}])
        );
    }

    #[test]
    fn refusals() {
        let spec = json!({"containers": [{"name": "a"}]});
        for (patch, want) in [
            (
                json!({"containers": [{"image": "x"}]}),
                "map: map[image:x] does not contain declared merge key: name",
            ),
            (
                json!({"containers": [{"name": "a", "$patch": "merge"}]}),
                "merging lists cannot yet be specified in the patch",
            ),
            (
                json!({"containers": [{"name": "a", "$patch": "x"}]}),
                "unknown patch type: x in map: map[$patch:x name:a]",
            ),
            (
                json!({"$setElementOrder/nope": []}),
                "unable to find api field in struct PodSpec for the json field \"nope\"",
            ),
            (
                json!({"$setElementOrder/containers": "x"}),
                "expected a []interface {}, but received a string",
            ),
            (
                json!({"containers": ["x"]}),
                "list element types are not identical: [map[name:a] x]",
            ),
        ] {
            assert_eq!(
                run(&spec, &patch),
                Err(Error::Other(want.into())),
                "{patch}"
            );
        }
        let keys = json!({"$retainKeys": ["volumes"], "containers": []});
        let format = Error::Format("invalid patch format of retainKeys");
        assert_eq!(run(&spec, &keys), Err(format));
    }

    #[test]
    fn primitive_lists() {
        let meta = schema::definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        let object = json!({"finalizers": ["a", "b"]});
        for (patch, want) in [
            (json!({"finalizers": ["c", "a"]}), json!(["c", "a", "b"])),
            (
                json!({"$deleteFromPrimitiveList/finalizers": ["a"]}),
                json!(["b"]),
            ),
        ] {
            let got = merge(
                object.as_object().expect("object"),
                patch.as_object().expect("object"),
                meta,
            );
            let got = got.expect("merges");
            assert_eq!(got["finalizers"], want, "{patch}");
        }
    }
}
