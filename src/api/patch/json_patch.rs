//! JSON Patch, RFC 6902, with the liberties of the library that Kubernetes uses: negative indices,
//! `replace` and `test` of missing members, paths whose first segment is ignored.

use std::borrow::Cow;

use crate::api::schema::go_json;
use crate::base::tree::{Map, Value, unescaped};

/// Most operations in one patch.
pub(super) const OPERATIONS_MAX: usize = 10_000;

/// An operation could not be applied. Clients are not told which or why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed;

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    op: String,
    path: Option<String>,
    from: Option<String>,
    value: Value,
}

impl Operation {
    /// Reads `[{op, path, from, value}]`.
    ///
    /// # Errors
    /// In the words of Go's decoder.
    pub(super) fn list(document: &Value) -> Result<Vec<Self>, String> {
        let Value::Array(items) = document else {
            return match document {
                Value::Null => Ok(Vec::new()),
                other => Err(cannot_unmarshal(
                    other,
                    "value of type []handlers.jsonPatchOp",
                )),
            };
        };
        items.iter().map(Self::read).collect()
    }

    fn read(item: &Value) -> Result<Self, String> {
        let empty = Map::new();
        let members = match item {
            Value::Object(members) => members,
            Value::Null => &empty,
            other => {
                return Err(cannot_unmarshal(
                    other,
                    "value of type handlers.jsonPatchOp",
                ));
            }
        };
        let text = |name: &str| match members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(cannot_unmarshal(
                other,
                &format!("struct field jsonPatchOp.{name} of type string"),
            )),
        };
        Ok(Operation {
            op: text("op")?.unwrap_or_default(),
            path: text("path")?,
            from: text("from")?,
            value: members.get("value").cloned().unwrap_or_default(),
        })
    }

    /// The paths it looks into.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.path.iter().chain(&self.from).map(String::as_str)
    }
}

/// `json: cannot unmarshal <what> into Go <into>`.
pub(super) fn cannot_unmarshal(value: &Value, into: &str) -> String {
    let what = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {what} into Go {into}")
}

/// A JSON Patch that a webhook or policy answered. Whoever wrote it is told what went wrong.
#[derive(Clone, Debug)]
pub struct JsonPatch(Vec<Operation>);

impl JsonPatch {
    /// Reads a patch.
    ///
    /// # Errors
    /// In the words of Go's decoder and of the library that Kubernetes uses.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        go_json::validate(bytes).map_err(|error| error.0)?;
        let document: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let Value::Array(items) = &document else {
            return Err(cannot_unmarshal(&document, "value of type jsonpatch.Patch"));
        };
        if let Some(item) = items.iter().find(|item| !item.is_object()) {
            return Err(cannot_unmarshal(item, "value of type jsonpatch.Operation"));
        }
        Operation::list(&document).map(JsonPatch)
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies it to a copy.
    ///
    /// # Errors
    /// Which operation does not apply, and why.
    pub fn apply(&self, object: &Value) -> Result<Value, NotApplied> {
        let mut document = object.clone();
        for operation in &self.0 {
            if apply_one(&mut document, operation).is_err() {
                let path = operation.path.as_deref().unwrap_or_default();
                return Err(NotApplied {
                    test_failed: operation.op == "test" && parent(&mut document, path).is_ok(),
                    text: why_not(&mut document, operation),
                });
            }
        }
        Ok(document)
    }
}

/// Why a patch does not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotApplied {
    /// In the words of the library that Kubernetes uses.
    pub text: String,
    /// A `test` compared and found a difference.
    pub test_failed: bool,
}

/// Why an operation failed on a document that it left as it was (or nearly: a move that found no
/// place for what it took).
fn why_not(document: &mut Value, operation: &Operation) -> String {
    let path = operation.path.as_deref().unwrap_or_default();
    let op = operation.op.as_str();
    let has_parent = parent(document, path).is_ok();
    match op {
        "add" if !has_parent => {
            format!("add operation does not apply: doc is missing path: \"{path}\": missing value")
        }
        "add" => format!("error in add for path: '{path}': invalid index referenced"),
        "remove" if !has_parent => {
            format!(
                "remove operation does not apply: doc is missing path: \"{path}\": missing value"
            )
        }
        "remove" => {
            let key = path.rsplit('/').next().unwrap_or_default();
            format!(
                "error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value"
            )
        }
        "replace" if !has_parent => {
            format!("replace operation does not apply: doc is missing path: {path}: missing value")
        }
        "replace" => {
            format!("replace operation does not apply: doc is missing key: {path}: missing value")
        }
        "test" if !has_parent => {
            format!("test operation does not apply: is missing path: {path}: missing value")
        }
        "test" => format!("testing value {path} failed: test failed"),
        "move" | "copy" => {
            let from = operation.from.as_deref().unwrap_or_default();
            format!(
                "{op} operation does not apply: doc is missing from path: {from}: missing value"
            )
        }
        other => format!("Unexpected kind: {other}"),
    }
}

/// Applies the operations in order to a copy.
pub(super) fn apply(object: &Value, operations: &[Operation]) -> Result<Value, Failed> {
    let mut document = object.clone();
    for operation in operations {
        apply_one(&mut document, operation)?;
    }
    Ok(document)
}

fn apply_one(document: &mut Value, operation: &Operation) -> Result<(), Failed> {
    let path = operation.path.as_deref().ok_or(Failed)?;
    match operation.op.as_str() {
        "add" => add(document, path, operation.value.clone()),
        "remove" => remove(document, path).map(drop),
        "replace" => replace(document, path, &operation.value),
        "test" => test(document, path, &operation.value),
        "move" => {
            let value = remove(document, operation.from.as_deref().ok_or(Failed)?)?;
            add(document, path, value)
        }
        "copy" => {
            let value = read(document, operation.from.as_deref().ok_or(Failed)?)?.clone();
            add(document, path, value)
        }
        _ => Err(Failed),
    }
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), Failed> {
    let (parent, key) = parent(document, path)?;
    match parent {
        Value::Object(members) => {
            members.insert(key.into(), value);
        }
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(&key, items.len() + 1)?;
            items.insert(at, value);
        }
        _ => return Err(Failed),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, Failed> {
    let (parent, key) = parent(document, path)?;
    match parent {
        Value::Object(members) => members.remove(&key).ok_or(Failed),
        Value::Array(items) => {
            let at = index(&key, items.len())?;
            Ok(items.remove(at))
        }
        _ => Err(Failed),
    }
}

fn replace(document: &mut Value, path: &str, value: &Value) -> Result<(), Failed> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return Err(Failed);
        }
        *document = value.clone();
        return Ok(());
    }
    let (parent, key) = parent(document, path)?;
    match parent {
        Value::Object(members) => {
            members.insert(key.into(), value.clone());
        }
        Value::Array(items) => {
            let at = index(&key, items.len())?;
            items[at] = value.clone();
        }
        _ => return Err(Failed),
    }
    Ok(())
}

fn test(document: &mut Value, path: &str, value: &Value) -> Result<(), Failed> {
    let found = if path.is_empty() {
        &*document
    } else {
        read(document, path)?
    };
    if found == value { Ok(()) } else { Err(Failed) }
}

/// The value at `path`; a missing member of an object reads as null.
fn read<'a>(document: &'a mut Value, path: &str) -> Result<&'a Value, Failed> {
    let (parent, key) = parent(document, path)?;
    match parent {
        Value::Object(members) => Ok(members.get(&key).unwrap_or(&Value::Null)),
        Value::Array(items) => {
            let at = index(&key, items.len())?;
            Ok(&items[at])
        }
        _ => Err(Failed),
    }
}

/// The container that the last segment of `path` is in, and that segment.
fn parent<'d, 'p>(
    document: &'d mut Value,
    path: &'p str,
) -> Result<(&'d mut Value, Cow<'p, str>), Failed> {
    let (_, rest) = path.split_once('/').ok_or(Failed)?;
    let (containers, last) = match rest.rsplit_once('/') {
        Some((containers, last)) => (Some(containers), last),
        None => (None, rest),
    };
    let mut at = document;
    for segment in containers.into_iter().flat_map(|c| c.split('/')) {
        at = match at {
            Value::Object(members) => members.get_mut(&unescaped(segment)).ok_or(Failed)?,
            Value::Array(items) => {
                let i = index(segment, items.len())?;
                &mut items[i]
            }
            _ => return Err(Failed),
        };
    }
    Ok((at, unescaped(last)))
}

/// An index below `length`; negative ones count from the end.
fn index(text: &str, length: usize) -> Result<usize, Failed> {
    let number: i64 = text.parse().map_err(|_| Failed)?;
    let length = i64::try_from(length).map_err(|_| Failed)?;
    let at = if number < 0 { number + length } else { number };
    if (0..length).contains(&at) {
        usize::try_from(at).map_err(|_| Failed)
    } else {
        Err(Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    fn run(document: &Value, patch: &Value) -> Result<Value, Failed> {
        apply(document, &Operation::list(patch).expect("a patch"))
    }

    #[test]
    fn operations() {
        let document = json!({"a": {"b": "1"}, "l": [1, 2], "x/y": 1, "m~n": 2});
        for (patch, want) in [
            (
                json!([{"op": "add", "path": "/a/c", "value": 2}]),
                Some(("/a/c", json!(2))),
            ),
            (
                json!([{"op": "replace", "path": "/a/z", "value": 2}]),
                Some(("/a/z", json!(2))),
            ),
            (json!([{"op": "remove", "path": "/a/z"}]), None),
            (json!([{"op": "add", "path": "/n/z", "value": 1}]), None),
            (
                json!([{"op": "test", "path": "/a/z", "value": null}]),
                Some(("/a", json!({"b": "1"}))),
            ),
            (json!([{"op": "test", "path": "/a/b", "value": "2"}]), None),
            (json!([{"op": "test", "path": "/l/9", "value": null}]), None),
            (
                json!([{"op": "copy", "from": "/a/z", "path": "/a/q"}]),
                Some(("/a/q", Value::Null)),
            ),
            (
                json!([{"op": "move", "from": "/a/z", "path": "/a/q"}]),
                None,
            ),
            (
                json!([{"op": "move", "from": "/a/b", "path": "/c"}]),
                Some(("/c", json!("1"))),
            ),
            (
                json!([{"op": "add", "path": "/l/-", "value": 3}]),
                Some(("/l", json!([1, 2, 3]))),
            ),
            (
                json!([{"op": "add", "path": "/l/-1", "value": 3}]),
                Some(("/l", json!([1, 2, 3]))),
            ),
            (
                json!([{"op": "add", "path": "/l/0", "value": 3}]),
                Some(("/l", json!([3, 1, 2]))),
            ),
            (json!([{"op": "add", "path": "/l/3", "value": 3}]), None),
            (
                json!([{"op": "replace", "path": "/l/-2", "value": 9}]),
                Some(("/l", json!([9, 2]))),
            ),
            (json!([{"op": "replace", "path": "/l/-", "value": 9}]), None),
            (json!([{"op": "remove", "path": "/l/2"}]), None),
            (
                json!([{"op": "replace", "path": "/x~1y", "value": 5}]),
                Some(("/x~1y", json!(5))),
            ),
            (
                json!([{"op": "test", "path": "/m~0n", "value": 2}]),
                Some(("/a", json!({"b": "1"}))),
            ),
            (
                json!([{"op": "replace", "path": "", "value": {"w": 1}}]),
                Some(("", json!({"w": 1}))),
            ),
            (json!([{"op": "replace", "path": "", "value": 1}]), None),
            (json!([{"op": "add", "path": "", "value": {}}]), None),
            (json!([{"op": "add", "path": "nodash", "value": 1}]), None),
            (json!([{"op": "nope", "path": "/a"}]), None),
            (json!([{"op": "add", "value": 1}]), None),
        ] {
            let got = run(&document, &patch);
            match want {
                None => assert_eq!(got, Err(Failed), "{patch}"),
                Some((pointer, want)) => {
                    let got = got.expect("applies");
                    assert_eq!(got.pointer(pointer), Some(&want), "{patch}");
                }
            }
        }
    }

    #[test]
    fn bodies_that_are_no_patch() {
        for (body, want) in [
            (
                json!({}),
                "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
            ),
            (
                json!(["x"]),
                "json: cannot unmarshal string into Go value of type handlers.jsonPatchOp",
            ),
            (
                json!([{"op": 1}]),
                "json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
            ),
        ] {
            assert_eq!(Operation::list(&body).expect_err("refused"), want);
        }
    }
}
