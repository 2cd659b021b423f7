//! `Definitions`: kinds that `k8s-openapi` does not have, described by an OpenAPI text of their own.
//!
//! The text is published as it is (`kubectl explain` reads it) and bodies are decoded by nodes made
//! of it, so the two cannot differ. Rows of the resource table carry their definitions. It knows the
//! part of OpenAPI v3 that such texts need: objects, maps, lists and scalars, and references to each
//! other and to built-in definitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Field, List, ListType, Map, Node, Object, PatchStrategy, Schema, SchemaRef, program};
use crate::api::names::{GroupVersionKind, Name};
use crate::base::tree::{Map as JsonMap, Value};

/// Where references point.
const REFERENCE: &str = "#/components/schemas/";
/// Deeper nesting is taken as it comes.
const DEPTH_MAX: usize = 20;

/// The definitions of one text.
#[derive(Debug)]
pub struct Definitions {
    openapi: JsonMap,
    kinds: BTreeMap<(String, String, String), SchemaRef>,
}

impl Definitions {
    /// Reads component schemas by definition name, in YAML.
    ///
    /// # Errors
    /// What is not a map of schemas.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        let tree: Value = serde_saphyr::from_str(yaml).map_err(|e| e.to_string())?;
        let Value::Object(openapi) = tree else {
            return Err("is not a map of definitions".into());
        };
        let mut kinds = BTreeMap::new();
        for (name, schema) in &openapi {
            let listed = schema["x-kubernetes-group-version-kind"].as_array();
            for gvk in listed.into_iter().flatten() {
                let text = |member: &str| gvk[member].as_str().unwrap_or_default().to_string();
                let node = node(&openapi, name, schema, 0);
                kinds.insert((text("group"), text("version"), text("kind")), node);
            }
        }
        Ok(Definitions { openapi, kinds })
    }

    /// The schemas as they are published.
    pub fn openapi(&self) -> &JsonMap {
        &self.openapi
    }

    /// The schema that a kind is decoded by.
    pub fn kind(&self, gvk: &GroupVersionKind) -> Option<&Schema> {
        let key = (
            gvk.group.to_string(),
            gvk.version.to_string(),
            gvk.kind.to_string(),
        );
        self.kinds.get(&key).map(|node| &**node)
    }
}

fn node(all: &JsonMap, name: &str, schema: &Value, depth: usize) -> SchemaRef {
    let wrapped = schema["allOf"][0]["$ref"].as_str();
    if let Some(reference) = schema["$ref"].as_str().or(wrapped)
        && let Some(target) = reference.strip_prefix(REFERENCE)
    {
        return match all.get(target) {
            Some(schema) if depth < DEPTH_MAX => node(all, target, schema, depth + 1),
            _ => program::definition_ref(target).unwrap_or_else(|| owned(Node::Any, "any")),
        };
    }
    let nested = |schema: &Value| node(all, name, schema, depth + 1);
    match schema["type"].as_str().unwrap_or_default() {
        _ if depth >= DEPTH_MAX || schema["x-kubernetes-preserve-unknown-fields"] == true => {
            owned(Node::Any, "any")
        }
        "object" if schema["properties"].is_object() => object(all, name, schema, depth),
        "object" if schema["additionalProperties"].is_object() => owned(
            Node::Map(Map {
                values: nested(&schema["additionalProperties"]),
                atomic: false,
            }),
            "map[string]string",
        ),
        "array" => owned(
            Node::List(List {
                items: nested(&schema["items"]),
                list_type: ListType::Atomic,
                map_keys: Vec::new(),
            }),
            "[]string",
        ),
        "string" => match schema["format"].as_str() {
            Some("date-time") => owned(Node::MicroTime, "v1.MicroTime"),
            _ => owned(Node::String, "string"),
        },
        "integer" if schema["format"] == "int32" => owned(Node::Int32, "int32"),
        "integer" => owned(Node::Int64, "int64"),
        "number" => owned(Node::Number, "float64"),
        "boolean" => owned(Node::Bool, "bool"),
        _ => owned(Node::Any, "any"),
    }
}

fn object(all: &JsonMap, name: &str, schema: &Value, depth: usize) -> SchemaRef {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema["properties"].as_object();
    let mut fields: Vec<Field> = properties
        .into_iter()
        .flatten()
        .map(|(field, schema)| Field {
            name: field.clone().into(),
            schema: node(all, name, schema, depth + 1),
            pointer: false,
            omit_empty: true,
            omit_zero: false,
            empty_counts: false,
            required: required.contains(&field.as_str()),
            nullable: false,
            patch: PatchStrategy::default(),
            merge_key: None,
            default: None,
        })
        .collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    let object = Object {
        name: name.to_string().into(),
        fields,
        ..Object::default()
    };
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let go_type = dots.nth(1).map_or(name, |at| &name[at + 1..]).to_string();
    owned(Node::Object(object), go_type)
}

fn owned(node: Node, go_type: impl Into<Name>) -> SchemaRef {
    SchemaRef::Owned(Arc::new(Schema {
        node,
        go_type: go_type.into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, decode};
    use super::*;

    #[test]
    fn bodies_are_decoded_by_the_published_text() {
        let definitions = Definitions::parse(
            "test.v1.Thing:\n  type: object\n  x-kubernetes-group-version-kind: [{group: g, version: v1, kind: Thing}]\n  properties:\n    metadata: {allOf: [{$ref: '#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'}]}\n    spec: {$ref: '#/components/schemas/test.v1.Spec'}\ntest.v1.Spec:\n  type: object\n  properties:\n    size: {type: integer}\n    by: {type: array, items: {type: string}}\n",
        )
        .expect("definitions");
        let schema = definitions.kind(&GroupVersionKind::new("g", "v1", "Thing"));
        let decode = |text: &str| decode(text.as_bytes(), Format::Json, schema);
        let good =
            decode(r#"{"metadata":{"name":"n","bogus":1},"spec":{"size":3,"by":["a"],"x":1}}"#)
                .expect("decodes");
        assert_eq!(
            good.unknown_fields,
            [
                r#"unknown field "metadata.bogus""#,
                r#"unknown field "spec.x""#
            ]
        );
        assert_eq!(good.value["spec"]["by"][0], "a");
        assert!(decode(r#"{"spec":{"size":"3"}}"#).is_err());
        assert!(decode(r#"{"spec":{"by":[1]}}"#).is_err());
    }
}
