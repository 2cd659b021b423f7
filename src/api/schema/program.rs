//! The table of built-in nodes, read from the text that `build.rs` writes.
//!
//! One line per node, columns separated by tabs, references are line numbers from zero:
//! `O definition map-type field…` with a field as `name,node,flags,wire,patch,merge key,default`;
//! `L type items list-type keys`, `M type values map-type`, `E type node…`, and one letter and the Go
//! type for scalars. Then `D name node` for definitions and `K group version kind node` for kinds.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Field, List, ListType, Map, Node, Object, PatchStrategy, Schema, SchemaRef, Wire};
use crate::api::names::Name;

const TEXT: &str = include_str!(concat!(env!("OUT_DIR"), "/program.txt"));

static PROGRAM: LazyLock<Program> =
    LazyLock::new(|| Program::parse(TEXT).expect("the build script wrote it"));

struct Program {
    nodes: Vec<Schema>,
    definitions: HashMap<&'static str, u32>,
    kinds: HashMap<(&'static str, &'static str, &'static str), u32>,
}

/// The node with an index that the table itself gave.
pub(super) fn node(index: u32) -> &'static Schema {
    &PROGRAM.nodes[index as usize]
}

/// The node of a definition.
pub(super) fn definition(name: &str) -> Option<&'static Schema> {
    PROGRAM.definitions.get(name).map(|index| node(*index))
}

/// A reference to the node of a definition.
pub(super) fn definition_ref(name: &str) -> Option<SchemaRef> {
    PROGRAM
        .definitions
        .get(name)
        .map(|index| SchemaRef::Builtin(*index))
}

/// The node of a kind.
pub(super) fn kind(group: &str, version: &str, kind: &str) -> Option<&'static Schema> {
    PROGRAM
        .kinds
        .get(&(group, version, kind))
        .map(|index| node(*index))
}

impl Program {
    fn parse(text: &'static str) -> Option<Self> {
        let mut program = Program {
            nodes: Vec::with_capacity(2048),
            definitions: HashMap::with_capacity(1024),
            kinds: HashMap::with_capacity(256),
        };
        for line in text.lines() {
            let mut columns = line.split('\t');
            match columns.next()? {
                "D" => {
                    let name = columns.next()?;
                    program
                        .definitions
                        .insert(name, columns.next()?.parse().ok()?);
                }
                "K" => {
                    let kind = (columns.next()?, columns.next()?, columns.next()?);
                    program.kinds.insert(kind, columns.next()?.parse().ok()?);
                }
                code => program.nodes.push(schema(code, columns)?),
            }
        }
        Some(program)
    }
}

fn schema(code: &str, mut columns: std::str::Split<'static, char>) -> Option<Schema> {
    let head = columns.next()?;
    let node = match code {
        "O" => {
            let atomic = columns.next()? == "atomic";
            let parsed = columns.map(field).collect::<Option<Vec<_>>>()?;
            let (fields, paths): (Vec<Field>, Vec<Vec<u32>>) = parsed.into_iter().unzip();
            let object = Object {
                name: Name::Borrowed(head),
                wire: wire_order(&paths),
                fields,
                atomic,
                ..Object::default()
            };
            return Some(Schema {
                go_type: Name::Borrowed(go_type(head)),
                node: Node::Object(object),
            });
        }
        "L" => Node::List(List {
            items: reference(columns.next()?)?,
            list_type: match columns.next()? {
                "map" => ListType::Map,
                "set" => ListType::Set,
                _ => ListType::Atomic,
            },
            map_keys: names(columns.next()?),
        }),
        "M" => Node::Map(Map {
            values: reference(columns.next()?)?,
            atomic: columns.next()? == "atomic",
        }),
        "E" => Node::Either(columns.map(reference).collect::<Option<Vec<_>>>()?),
        "S" => Node::String,
        "B" => Node::Bool,
        "I" => Node::Int32,
        "J" => Node::Int64,
        "N" => Node::Number,
        "X" => Node::IntOrString,
        "Q" => Node::Quantity,
        "T" => Node::Time,
        "U" => Node::MicroTime,
        "Y" => Node::Bytes,
        "A" => Node::Any,
        _ => return None,
    };
    Some(Schema {
        node,
        go_type: Name::Borrowed(head),
    })
}

fn field(text: &'static str) -> Option<(Field, Vec<u32>)> {
    let mut parts = text.splitn(7, ',');
    let name = parts.next()?;
    let schema = reference(parts.next()?)?;
    let flags = parts.next()?;
    let wire = parts.next()?;
    let patch = parts.next()?;
    let merge_key = parts.next()?;
    let default = parts.next()?;
    let path = wire.trim_end_matches(|c: char| !c.is_ascii_digit());
    let path: Vec<u32> = path.split('/').filter_map(|n| n.parse().ok()).collect();
    let field = Field {
        name: Name::Borrowed(name),
        schema,
        pointer: flags.contains('p'),
        omit_empty: flags.contains('o'),
        omit_zero: flags.contains('z'),
        empty_counts: flags.contains('e'),
        required: flags.contains('r'),
        nullable: flags.contains('n'),
        patch: PatchStrategy {
            merge: patch.contains("merge"),
            replace: patch.contains("replace"),
            retain_keys: patch.contains("retainKeys"),
        },
        merge_key: (!merge_key.is_empty()).then_some(Name::Borrowed(merge_key)),
        default: serde_json::from_str(default).ok(),
    };
    Some((field, path))
}

/// The fields in the order of their protobuf numbers; embedded structs are messages of their own.
fn wire_order(paths: &[Vec<u32>]) -> Vec<Wire> {
    let mut numbered: Vec<(&[u32], usize)> = paths
        .iter()
        .enumerate()
        .filter(|(_, path)| !path.is_empty())
        .map(|(index, path)| (path.as_slice(), index))
        .collect();
    numbered.sort();
    wire_level(&numbered, 0)
}

fn wire_level(numbered: &[(&[u32], usize)], depth: usize) -> Vec<Wire> {
    numbered
        .chunk_by(|(a, _), (b, _)| a[depth] == b[depth])
        .map(|chunk| {
            let (path, index) = chunk[0];
            match path.len() > depth + 1 {
                true => Wire::Embedded(path[depth], wire_level(chunk, depth + 1)),
                false => Wire::Field(path[depth], index),
            }
        })
        .collect()
}

fn reference(text: &str) -> Option<SchemaRef> {
    text.parse().ok().map(SchemaRef::Builtin)
}

fn names(text: &'static str) -> Vec<Name> {
    text.split(',')
        .filter(|name| !name.is_empty())
        .map(Name::Borrowed)
        .collect()
}

/// `v1.Pod` of `io.k8s.api.core.v1.Pod`.
fn go_type(definition: &'static str) -> &'static str {
    let mut dots = definition.rmatch_indices('.').map(|(at, _)| at);
    match dots.nth(1) {
        Some(at) => &definition[at + 1..],
        None => definition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(wire: &[Wire], into: &mut Vec<usize>) {
        for place in wire {
            match place {
                Wire::Field(_, index) => into.push(*index),
                Wire::Embedded(_, places) => numbered(places, into),
            }
        }
    }

    /// Marks every node below `index` and tells of fields that protobuf would drop.
    fn visit(index: u32, seen: &mut [bool], missing: &mut Vec<String>) {
        if std::mem::replace(&mut seen[index as usize], true) {
            return;
        }
        let mut below = |schema: &SchemaRef| match schema {
            SchemaRef::Builtin(index) => visit(*index, seen, missing),
            SchemaRef::Owned(_) => unreachable!("the table holds no owned nodes"),
        };
        match &node(index).node {
            Node::Object(object) => {
                object.fields.iter().for_each(|f| below(&f.schema));
                let mut known = Vec::new();
                numbered(&object.wire, &mut known);
                for (at, field) in object.fields.iter().enumerate() {
                    let is_type = matches!(&*field.name, "kind" | "apiVersion");
                    if !known.contains(&at) && !is_type {
                        missing.push(format!("{}.{}", object.name, field.name));
                    }
                }
            }
            Node::List(list) => below(&list.items),
            Node::Map(map) => below(&map.values),
            Node::Either(options) => options.iter().for_each(below),
            _ => {}
        }
    }

    #[test]
    fn no_field_of_a_kind_is_lost_in_protobuf() {
        let mut seen = vec![false; PROGRAM.nodes.len()];
        let mut missing = Vec::new();
        for index in PROGRAM.kinds.values() {
            visit(*index, &mut seen, &mut missing);
        }
        missing.sort();
        assert_eq!(missing, Vec::<String>::new());
    }
}
