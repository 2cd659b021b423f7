//! Patches on trees: JSON Patch (RFC 6902), merge patch (RFC 7386) and strategic merge patch.
//!
//! Called by the patch handler with the object in the requested version. Rules and texts:
//! contract/apply.md §10–11, contract/verbs.md §5. Server-side apply is `api::managed_fields`.
//!
//! # Invariants
//! - A patch never panics and never changes the object it is given; it answers a new one.
//! - Problems of the patch document itself come before those of the result.

mod json_patch;
mod merge;
mod print;
mod restore;
mod strategic;

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::api::field::{FieldErrors, Path};
use crate::api::names::GroupKind;
use crate::api::schema::{self, Format, Schema, Touched, go_json};
use crate::api::status::{Details, Status};
use crate::base::tree::{Map, Value, unescaped};

pub use json_patch::{JsonPatch, NotApplied};
pub(in crate::api) use print::go_value;
pub use restore::{fits, fits_where};

/// The kind of a patch, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// `application/apply-patch+yaml`.
    Apply,
}

impl PatchType {
    /// By media type, without parameters.
    pub fn of(media_type: &str) -> Option<Self> {
        Some(match media_type {
            "application/json-patch+json" => PatchType::Json,
            "application/merge-patch+json" => PatchType::Merge,
            "application/strategic-merge-patch+json" => PatchType::Strategic,
            "application/apply-patch+yaml" => PatchType::Apply,
            _ => return None,
        })
    }
}

/// A parsed patch, applied again when a write lost a race.
#[derive(Clone, Debug)]
pub struct Patch {
    document: Document,
    /// What strict decoding of the patch itself has to say (repeated and unknown fields).
    problems: Vec<String>,
}

#[derive(Clone, Debug)]
enum Document {
    Json(Vec<json_patch::Operation>),
    Merge(Map),
    Strategic(Map),
}

impl Patch {
    /// Parses a patch body (not apply patches, which are objects).
    ///
    /// # Errors
    /// 400 with the decoder's text, 413 for too many operations.
    pub fn parse(kind: PatchType, bytes: &[u8]) -> Result<Self, Status> {
        let prefix = match kind {
            PatchType::Strategic => "",
            _ => "error decoding patch: ",
        };
        let refuse = |text: String| Status::bad_request(format!("{prefix}{text}"));
        go_json::validate(bytes).map_err(|error| refuse(error.0))?;
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
        let repeated = repeated_fields(bytes);
        let (document, problems) = match kind {
            PatchType::Json => {
                let operations = json_patch::Operation::list(&value).map_err(refuse)?;
                check_length(operations.len())?;
                let problems = operation_problems(bytes, &repeated);
                (Document::Json(operations), problems)
            }
            PatchType::Merge | PatchType::Strategic | PatchType::Apply => {
                let members = members(value, kind).map_err(|error| match error {
                    Some(text) => refuse(text),
                    None => Status::bad_request("Invalid JSON Patch"),
                })?;
                let document = match kind {
                    PatchType::Strategic => Document::Strategic(members),
                    _ => Document::Merge(members),
                };
                (document, repeated)
            }
        };
        Ok(Patch { document, problems })
    }

    /// What strict decoding of the patch itself has to say.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The members of the object that it may change.
    pub fn touched(&self) -> Touched {
        let names: Vec<String> = match &self.document {
            Document::Merge(members) => members.keys().map(ToString::to_string).collect(),
            Document::Strategic(members) => {
                // Directives are about the whole object.
                if members.keys().any(|name| name.starts_with('$')) {
                    return Touched::All;
                }
                members.keys().map(ToString::to_string).collect()
            }
            Document::Json(operations) => {
                let first = |path: &str| Some(unescaped(path.split('/').nth(1)?).into_owned());
                let paths = operations.iter().flat_map(json_patch::Operation::paths);
                match paths.map(first).collect::<Option<Vec<String>>>() {
                    Some(names) => names,
                    None => return Touched::All,
                }
            }
        };
        Touched::Only(names)
    }

    /// Applies it to `object`. `schema` is needed for strategic merges.
    ///
    /// # Errors
    /// 422 without details when an operation failed; 400 and 500 for directives that make no sense.
    pub fn apply(&self, object: &Value, schema: Option<&Schema>) -> Result<Value, Status> {
        match &self.document {
            Document::Json(operations) => {
                json_patch::apply(object, operations).map_err(|_| rejected())
            }
            Document::Merge(patch) => {
                let mut members = object.as_object().cloned().unwrap_or_default();
                merge::merge(&mut members, patch);
                Ok(Value::Object(members))
            }
            Document::Strategic(patch) => {
                let empty = Map::new();
                let members = object.as_object().unwrap_or(&empty);
                strategic::merge(members, patch, schema).map_err(|error| match error {
                    strategic::Error::Format(text) => Status::bad_request(text),
                    strategic::Error::Rejected => rejected(),
                    strategic::Error::Other(text) => Status::failure(500, "", text),
                })
            }
        }
    }

    /// 422 for a result that does not decode, worded as upstream words it: no kind, no name, the
    /// field is `patch`.
    pub fn invalid(&self, patched: &Value, schema: Option<&Schema>, error: &str) -> Status {
        let refusal = match &self.document {
            Document::Strategic(_) => schema.and_then(|s| restore::refusal(patched, s)),
            Document::Json(_) | Document::Merge(_) => None,
        };
        self.invalid_strict(patched, schema, refusal.as_deref().unwrap_or(error))
    }

    /// As [`Patch::invalid`], for a result that decodes but not strictly.
    pub fn invalid_strict(&self, patched: &Value, schema: Option<&Schema>, error: &str) -> Status {
        let text = match &self.document {
            Document::Strategic(patch) => print::go_value(&Value::Object(patch.clone())),
            Document::Merge(patch) => {
                let touched = Value::Object(patch.clone());
                print::patched_json(patched, schema, Some(&touched))
            }
            Document::Json(operations) => {
                print::patched_json(patched, schema, Some(&touched(operations)))
            }
        };
        let mut errors = FieldErrors::default();
        errors.invalid_str(&Path::ROOT.field("patch"), &text, error);
        Status::invalid(&GroupKind::new("", ""), "", &errors)
    }
}

/// The members of a merge patch; `Err(None)` for `null`.
fn members(value: Value, kind: PatchType) -> Result<Map, Option<String>> {
    match value {
        Value::Object(members) => Ok(members),
        Value::Null if kind == PatchType::Strategic => Ok(Map::new()),
        Value::Null => Err(None),
        other => Err(Some(json_patch::cannot_unmarshal(
            &other,
            "value of type map[string]interface {}",
        ))),
    }
}

fn check_length(operations: usize) -> Result<(), Status> {
    if operations <= json_patch::OPERATIONS_MAX {
        return Ok(());
    }
    Err(Status::too_large(format!(
        "The allowed maximum operations in a JSON patch is {}, got {operations}",
        json_patch::OPERATIONS_MAX
    )))
}

/// 422 that says nothing more.
fn rejected() -> Status {
    let mut status = Status::failure(
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
    );
    status.details = Some(Box::<Details>::default());
    status
}

/// `duplicate field "a.b"` of a document.
fn repeated_fields(bytes: &[u8]) -> Vec<String> {
    match schema::decode(bytes, Format::Json, None) {
        Ok(decoded) => decoded.unknown_fields,
        Err(_) => Vec::new(),
    }
}

/// What strict decoding says of JSON Patch operations, in the order in which it meets it.
/// `repeated` is what repeats anywhere in the document.
fn operation_problems(bytes: &[u8], repeated: &[String]) -> Vec<String> {
    let operations: Vec<Members> = serde_json::from_slice(bytes).unwrap_or_default();
    let mut problems = Vec::new();
    for (at, Members(names)) in operations.iter().enumerate() {
        let mut seen = HashSet::new();
        for name in names {
            let known = matches!(name.as_str(), "op" | "path" | "from" | "value");
            let again = !seen.insert(name);
            let path = format!("[{at}].{name}");
            match (known, again) {
                (true, true) => problems.push(format!("json patch duplicate field \"{path}\"")),
                (true, false) if name == "value" => {
                    let inside = format!("duplicate field \"{path}");
                    let below = |problem: &&String| {
                        problem
                            .strip_prefix(&inside)
                            .is_some_and(|rest| rest.starts_with(['.', '[']))
                    };
                    let below = repeated.iter().filter(below);
                    problems.extend(below.map(|problem| format!("json patch {problem}")));
                }
                (false, false) => problems.push(format!("json patch unknown field \"{path}\"")),
                _ => {}
            }
        }
    }
    problems
}

/// The names of an object's members in the order of the text, repeated ones, too.
struct Members(Vec<String>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry()? {
                    names.push(name);
                }
                Ok(Members(names))
            }
        }
        from.deserialize_map(Names)
    }
}

/// The containers that the operations looked into, as a tree of their names.
fn touched(operations: &[json_patch::Operation]) -> Value {
    let mut tree = Value::Object(Map::new());
    for path in operations.iter().flat_map(json_patch::Operation::paths) {
        let mut at = &mut tree;
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        for segment in segments.iter().rev().skip(1).rev() {
            let Value::Object(members) = at else { break };
            at = members
                .entry(unescaped(segment).into())
                .or_insert_with(|| Value::Object(Map::new()));
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::base::tree::json;

    fn text(kind: PatchType, body: &str) -> (u16, String) {
        let status = Patch::parse(kind, body.as_bytes()).expect_err("refused");
        (status.code, status.message)
    }

    #[test]
    fn bodies_that_are_no_patch() {
        for (kind, body, want) in [
            (
                PatchType::Json,
                "[{",
                "error decoding patch: unexpected end of JSON input",
            ),
            (
                PatchType::Merge,
                "",
                "error decoding patch: unexpected end of JSON input",
            ),
            (
                PatchType::Merge,
                "\"s\"",
                "error decoding patch: json: cannot unmarshal string into Go value of type map[string]interface {}",
            ),
            (PatchType::Merge, "null", "Invalid JSON Patch"),
            (PatchType::Strategic, "{", "unexpected end of JSON input"),
            (
                PatchType::Strategic,
                "[1]",
                "json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
        ] {
            assert_eq!(text(kind, body), (400, want.to_string()), "{body}");
        }
        let many = format!("[{}{{}}]", "{},".repeat(10_000));
        assert_eq!(text(PatchType::Json, &many).0, 413);
    }

    #[test]
    fn problems_of_operations_come_in_the_order_of_the_text() {
        let body = r#"[
            {"op": "add", "path": "/a", "value": 1, "foo": 1, "foo": 2},
            {"op": "add", "path": "/a", "path": "/b", "value": {"k": 1, "k": 2}, "op": "add"}
        ]"#;
        let patch = Patch::parse(PatchType::Json, body.as_bytes()).expect("a patch");
        assert_eq!(
            patch.problems(),
            [
                "json patch unknown field \"[0].foo\"",
                "json patch duplicate field \"[1].path\"",
                "json patch duplicate field \"[1].value.k\"",
                "json patch duplicate field \"[1].op\"",
            ]
        );
    }

    fn config_map() -> &'static Schema {
        let gvk = crate::api::names::GroupVersionKind::new("", "v1", "ConfigMap");
        schema::builtin(&gvk).expect("known")
    }

    #[test]
    fn refused_results_print_what_was_patched() {
        let patched = json!({
            "kind": "ConfigMap", "apiVersion": "v1", "data": {"z": "1", "n": 5},
            "metadata": {"creationTimestamp": "t", "namespace": "patch", "name": "c", "uid": "u"},
        });
        let want = r#"{"apiVersion":"v1","data":{"n":5,"z":"1"},"kind":"ConfigMap","metadata":{"name":"c","namespace":"patch","uid":"u","creationTimestamp":"t"}}"#;
        let body = r#"[{"op":"add","path":"/data/n","value":5}]"#;
        let patch = Patch::parse(PatchType::Json, body.as_bytes()).expect("a patch");
        let status = patch.invalid(&patched, Some(config_map()), "why");
        let quoted = crate::api::field::go_quote(want);
        assert_eq!(
            status.message,
            format!(" \"\" is invalid: patch: Invalid value: {quoted}: why")
        );
        let body = r#"{"data":[]}"#;
        let patch = Patch::parse(PatchType::Strategic, body.as_bytes()).expect("a patch");
        let status = patch.invalid(&json!({"data": []}), Some(config_map()), "why");
        assert_eq!(
            status.message,
            " \"\" is invalid: patch: Invalid value: \"map[data:[]]\": cannot restore map from slice"
        );
    }

    /// Looking into what a patch touched comes to the same as looking into everything.
    fn check_touched(object: &Value, patch: &Patch) {
        let schema = config_map();
        let mut stored = object.clone();
        schema::normalise(&mut stored, schema);
        let Ok(mut patched) = patch.apply(&stored, Some(schema)) else {
            return;
        };
        let touched = patch.touched();
        if !fits(&stored, schema) {
            return;
        }
        assert_eq!(
            fits(&patched, schema),
            fits_where(&patched, schema, &touched)
        );
        let mut whole = patched.clone();
        schema::normalise(&mut whole, schema);
        schema::normalise_where(&mut patched, schema, &touched);
        assert_eq!(patched, whole, "{patch:?}");
    }

    #[test]
    fn touched_members() {
        let only = |names: &[&str]| Touched::Only(names.iter().map(ToString::to_string).collect());
        for (kind, body, want) in [
            (
                PatchType::Merge,
                r#"{"data":{"a":null},"metadata":{}}"#,
                only(&["data", "metadata"]),
            ),
            (
                PatchType::Strategic,
                r#"{"data":{"$patch":"replace"}}"#,
                only(&["data"]),
            ),
            (
                PatchType::Strategic,
                r#"{"$patch":"replace"}"#,
                Touched::All,
            ),
            (
                PatchType::Strategic,
                r#"{"$retainKeys":["data"]}"#,
                Touched::All,
            ),
            (
                PatchType::Json,
                r#"[{"op":"move","from":"/data/a","path":"/metadata/labels/b"}]"#,
                only(&["metadata", "data"]),
            ),
            (
                PatchType::Json,
                r#"[{"op":"replace","path":"","value":{}}]"#,
                Touched::All,
            ),
        ] {
            let patch = Patch::parse(kind, body.as_bytes()).expect("a patch");
            assert_eq!(patch.touched(), want, "{body}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i8>().prop_map(Value::from),
            "[a-c$/~0-1-]{0,3}".prop_map(Value::from),
            Just(json!("delete")),
            Just(json!("replace")),
        ];
        let key = prop_oneof![
            "[a-c]{1}",
            Just("name".to_string()),
            Just("containers".to_string()),
            Just("metadata".to_string()),
            Just("finalizers".to_string()),
            Just("$patch".to_string()),
            Just("$retainKeys".to_string()),
            Just("$setElementOrder/finalizers".to_string()),
            Just("$deleteFromPrimitiveList/finalizers".to_string()),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_operation() -> impl Strategy<Value = Value> {
        let op = prop_oneof![
            Just("add"),
            Just("remove"),
            Just("replace"),
            Just("move"),
            Just("copy"),
            Just("test")
        ];
        (op, "(/[a-c0-1-]{0,2}){0,3}", "(/[a-c0-1-]{0,2}){0,3}", any_json()).prop_map(
            |(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}),
        )
    }

    proptest! {
        #[test]
        fn patches_never_panic(
            object in any_json(),
            patch in any_json(),
            operations in prop::collection::vec(any_operation(), 0..5),
        ) {
            let schema = Some(config_map());
            for (kind, body) in [
                (PatchType::Json, Value::Array(operations)),
                (PatchType::Merge, patch.clone()),
                (PatchType::Strategic, patch),
            ] {
                let Ok(patch) = Patch::parse(kind, body.to_string().as_bytes()) else { continue };
                if let Ok(patched) = patch.apply(&object, schema) {
                    let _ = patch.invalid(&patched, schema, "why");
                    let _ = fits(&patched, config_map());
                }
                check_touched(&object, &patch);
            }
        }
    }
}
