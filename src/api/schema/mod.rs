//! Schemas: what the server knows about the shape of objects, as typed nodes.
//!
//! Decoding, normalising, strategic merge patch, server-side apply, pruning and schema defaults all
//! walk these nodes beside the object; none of them knows a kind. [`builtin`] finds the node of a
//! built-in kind, [`definitions`] are the same types as OpenAPI v3 component schemas.
//!
//! How it comes about: `build.rs` joins the `k8s-openapi` crate's types with `facts.tsv` (list types,
//! merge keys, pointers, omitempty, Go type names, protobuf numbers) into two files in `OUT_DIR`.
//! `program.rs` reads one into nodes at first use (about a millisecond), [`definitions`] inflates the
//! other at first use. Nothing happens at start.
//!
//! Files: `go_json` JSON syntax and quoting in Go's words · `yaml` YAML to JSON · `decode` bodies to
//! trees · `normalise` trees as Go would print them, declared defaults, with what `plan` found out
//! about each struct · `wire` protobuf ·
//! `published` kinds described by an OpenAPI text of their own.
//!
//! A custom resource's schema is an [`Arc`] of the same nodes ([`SchemaRef::Owned`]) with
//! [`Object::preserve_unknown`] where its structural schema says so.
//!
//! # Invariants
//! - A node of a built-in kind lives as long as the process; a custom resource's as long as its `Arc`.
//! - Fields of an object are sorted by name, so lookup is a binary search.
//! - [`decode()`] never panics and never recurses deeper than [`decode::DEPTH_MAX`].
//! - [`normalise()`] is idempotent.
//!
//! # Decisions
//! - Nodes instead of Rust structs per kind: one code path for built-in and custom kinds; structs
//!   would need generated code for each of 25 operations. JSON schemas at run time were rejected:
//!   each step would be a map lookup by string and a walk through `allOf`.
//! - Facts in one text file rather than in code: they are looked up, compared and diffed as a table.
//! - The node table is parsed lazily instead of being generated as Rust statics, which cost seconds
//!   of compile time for 2,500 nodes and gave nothing measurable at run time.
//! - YAML through `libyaml-safer`, a port of the scanner and emitter that yaml.v2 is a port of: error
//!   texts, folding and quoting are upstream's. serde-saphyr reads YAML 1.2 and words errors its own way.
//! - Protobuf numbers are facts like the others, so one codec serves all kinds; `k8s-pb` has structs
//!   for 90 resources that would need conversion from and to trees.

pub mod decode;
pub mod go_json;
pub mod normalise;
mod plan;
mod program;
mod published;
pub mod wire;
pub mod yaml;
pub mod yaml_events;

use std::io::Read as _;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, OnceLock};

use crate::api::names::{GroupVersionKind, Name};
use crate::base::tree::{Key, Map as JsonMap, Value};

pub use decode::{DecodeError, Decoded, Format, TypeMeta, decode, summarize, type_meta};
pub use normalise::{Touched, apply_defaults, apply_defaults_where, normalise, normalise_where};
pub use published::Definitions;

/// A type: what a value may be and how Go calls it.
#[derive(Debug)]
pub struct Schema {
    /// What the value is.
    pub node: Node,
    /// The Go type as error texts print it (`v1.LabelSelector`, `map[string]string`).
    pub go_type: Name,
}

/// What a value is.
#[derive(Debug)]
pub enum Node {
    /// A struct with known fields.
    Object(Object),
    /// A map from strings to values of one type.
    Map(Map),
    /// A list.
    List(List),
    /// One of several types, told apart by the JSON type (CRD schemas' `items`, `additionalProperties`).
    Either(Vec<SchemaRef>),
    /// A string.
    String,
    /// A boolean.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A 64-bit float.
    Number,
    /// A 32-bit integer or a string.
    IntOrString,
    /// `resource.Quantity`.
    Quantity,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// Base64.
    Bytes,
    /// Any JSON, kept as it is.
    Any,
}

/// A struct.
#[derive(Debug, Default)]
pub struct Object {
    /// Definition name (`io.k8s.api.core.v1.Pod`); for custom resources a path.
    pub name: Name,
    /// Sorted by name.
    pub fields: Vec<Field>,
    /// What protobuf writes, by number; empty for custom resources.
    pub wire: Vec<Wire>,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic: bool,
    /// Unknown fields are kept (custom resources).
    pub preserve_unknown: bool,
    /// What absent fields come to; made when first asked for, because it looks into other nodes.
    plan: OnceLock<plan::Plan>,
    /// How the names of the fields begin, see [`plan::prefix`].
    prefixes: OnceLock<Box<[u64]>>,
}

/// A numbered place in a protobuf message.
#[derive(Debug, PartialEq, Eq)]
pub enum Wire {
    /// A field: its number and its index in [`Object::fields`].
    Field(u32, usize),
    /// A struct that Go embeds: its fields are the object's in JSON, but a message in protobuf.
    Embedded(u32, Vec<Wire>),
}

/// A map.
#[derive(Debug)]
pub struct Map {
    /// Type of the values.
    pub values: SchemaRef,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic: bool,
}

/// A list.
#[derive(Debug)]
pub struct List {
    /// Type of the items.
    pub items: SchemaRef,
    /// `x-kubernetes-list-type`.
    pub list_type: ListType,
    /// `x-kubernetes-list-map-keys`, of lists of type map.
    pub map_keys: Vec<Name>,
}

/// `x-kubernetes-list-type`; lists that declare none are atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// A map keyed by some fields of its items.
    Map,
}

/// A field of a struct.
#[derive(Debug)]
pub struct Field {
    /// Name as in JSON.
    pub name: Name,
    /// Its type.
    pub schema: SchemaRef,
    /// A pointer in Go: zero and absent differ.
    pub pointer: bool,
    /// Left out of JSON when empty (`omitempty`): zero scalars, empty lists and maps, nil pointers.
    pub omit_empty: bool,
    /// Left out of JSON when zero (`omitzero`), structs too.
    pub omit_zero: bool,
    /// An explicit empty list or map is told apart from none: upstream's defaults and rules look at
    /// whether it is nil. All such fields refuse an empty value, so none is ever stored.
    pub empty_counts: bool,
    /// Listed in OpenAPI's `required`.
    pub required: bool,
    /// `nullable`: an explicit null is kept.
    pub nullable: bool,
    /// How strategic merge patch treats it.
    pub patch: PatchStrategy,
    /// Merge key of strategic merge patch, for lists with strategy merge.
    pub merge_key: Option<Name>,
    /// Declared default.
    pub default: Option<Value>,
}

impl Field {
    /// Its name, as a member of a tree.
    pub fn key(&self) -> Key {
        match &self.name {
            Name::Borrowed(name) => Key::const_new(name),
            Name::Owned(name) => name.as_str().into(),
        }
    }
}

/// `x-kubernetes-patch-strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged.
    pub merge: bool,
    /// Maps and lists are replaced.
    pub replace: bool,
    /// Only the keys that the patch names are kept.
    pub retain_keys: bool,
}

/// A node of the built-in table or an owned one. Dereferences to [`Schema`].
#[derive(Clone, Debug)]
pub enum SchemaRef {
    /// Index into the table of built-in nodes.
    Builtin(u32),
    /// A custom resource's.
    Owned(Arc<Schema>),
}

impl Deref for SchemaRef {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        match self {
            SchemaRef::Builtin(index) => program::node(*index),
            SchemaRef::Owned(schema) => schema,
        }
    }
}

impl Object {
    /// The field called `name`.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.field_index(name).map(|index| &self.fields[index])
    }

    pub(crate) fn field_index(&self, name: &str) -> Option<usize> {
        let prefix = plan::prefix(name);
        let prefixes = self.prefixes();
        let first = prefixes.partition_point(|other| *other < prefix);
        let alike = prefixes[first..].iter().take_while(|p| **p == prefix);
        let mut alike = alike.zip(&self.fields[first..]);
        let at = alike.position(|(_, field)| field.name.as_ref() == name)?;
        Some(first + at)
    }

    /// The last segment of the definition's name: what Go's error texts call the struct.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

impl Schema {
    /// The struct, if it is one.
    pub fn object(&self) -> Option<&Object> {
        match &self.node {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The type of the member `name`: a struct's field or a map's value.
    pub fn member(&self, name: &str) -> Option<&Schema> {
        match &self.node {
            Node::Object(object) => object.field(name).map(|field| &*field.schema),
            Node::Map(map) => Some(&map.values),
            _ => None,
        }
    }

    /// The type of the items, if it is a list.
    pub fn items(&self) -> Option<&Schema> {
        match &self.node {
            Node::List(list) => Some(&list.items),
            _ => None,
        }
    }
}

/// The schema of a built-in kind. Kinds that belong to every group (DeleteOptions, Status …) are
/// found under any.
pub fn builtin(gvk: &GroupVersionKind) -> Option<&'static Schema> {
    program::kind(&gvk.group, &gvk.version, &gvk.kind).or_else(|| match gvk.kind.as_ref() {
        "DeleteOptions" | "Status" | "WatchEvent" | "APIGroup" | "APIGroupList"
        | "APIResourceList" | "APIVersions" => definition(&format!(
            "io.k8s.apimachinery.pkg.apis.meta.v1.{}",
            gvk.kind
        )),
        _ => None,
    })
}

/// The schema of a definition by its OpenAPI name (`io.k8s.api.core.v1.PodSpec`).
pub fn definition(name: &str) -> Option<&'static Schema> {
    program::definition(name)
}

/// All OpenAPI v3 component schemas by definition name, shaped as upstream publishes them.
///
/// `x-kubernetes-group-version-kind` is set on top-level kinds and their lists; DeleteOptions and
/// WatchEvent, which belong to every group, get theirs when a document is put together. References
/// are `#/components/schemas/…`.
pub fn definitions() -> &'static JsonMap {
    static DEFINITIONS: LazyLock<JsonMap> = LazyLock::new(|| {
        let deflated = include_bytes!(concat!(env!("OUT_DIR"), "/definitions.json.z"));
        let mut json = Vec::new();
        flate2::read::ZlibDecoder::new(deflated.as_slice())
            .read_to_end(&mut json)
            .expect("the build script deflated it");
        serde_json::from_slice(&json).expect("the build script wrote it")
    });
    &DEFINITIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_fields_are_found() {
        let pod = builtin(&GroupVersionKind::new("", "v1", "Pod")).expect("known");
        let spec = pod.member("spec").expect("field");
        assert_eq!(spec.go_type, "v1.PodSpec");
        let containers = spec
            .object()
            .expect("struct")
            .field("containers")
            .expect("field");
        assert!(containers.patch.merge && containers.required && !containers.omit_empty);
        assert_eq!(containers.merge_key.as_deref(), Some("name"));
        let Node::List(list) = &containers.schema.node else {
            panic!("containers is a list")
        };
        assert_eq!(
            (list.list_type, &list.map_keys[..]),
            (ListType::Map, &["name".into()][..])
        );
        let replicas = definition("io.k8s.api.apps.v1.DeploymentSpec")
            .and_then(Schema::object)
            .and_then(|spec| spec.field("replicas"))
            .expect("field");
        assert!(replicas.pointer && replicas.omit_empty);
        let volume = definition("io.k8s.api.core.v1.Volume")
            .and_then(Schema::object)
            .expect("known");
        let name = volume.field_index("name").expect("field");
        assert_eq!(volume.wire[0], Wire::Field(1, name));
        assert!(matches!(&volume.wire[1], Wire::Embedded(2, sources) if sources.len() > 20));
    }

    #[test]
    fn every_resource_of_upstream_has_a_schema() {
        for (group, version, kind) in [
            ("apps", "v1", "DeploymentList"),
            ("policy", "v1", "Eviction"),
            ("autoscaling", "v1", "Scale"),
            ("apps", "v1", "DeleteOptions"),
            ("authentication.k8s.io", "v1", "TokenRequest"),
            ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
            ("apiregistration.k8s.io", "v1", "APIService"),
            ("resource.k8s.io", "v1", "ResourceSlice"),
        ] {
            assert!(
                builtin(&GroupVersionKind::new(group, version, kind)).is_some(),
                "{kind}"
            );
        }
        assert!(builtin(&GroupVersionKind::new("apps", "v9", "Deployment")).is_none());
    }

    #[test]
    fn definitions_are_shaped_as_upstream() {
        let class = &definitions()["io.k8s.api.node.v1.RuntimeClass"];
        assert_eq!(
            class["properties"]["metadata"]["default"],
            crate::base::tree::json!({})
        );
        assert_eq!(class["properties"]["handler"]["default"], "");
        assert_eq!(class["required"], crate::base::tree::json!(["handler"]));
    }
}
