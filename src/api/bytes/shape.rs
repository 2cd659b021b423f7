//! `Shape`: which fields of a kind's objects are selectable, as a tree the scanner walks along.

use crate::api::names::Name;
use crate::api::resource::SelectableField;

/// The selectable fields of one kind (beside `metadata.name` and `metadata.namespace`, which the
/// storage key tells).
///
/// Paths are object fields joined with dots; a path that runs into an array or a null is missing.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    fields: Vec<SelectableField>,
    pub(super) root: Node,
}

/// One step of the tree: what to do with the value of a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Fields whose path ends here.
    pub(super) ends: Vec<usize>,
    /// The keys that go on.
    pub(super) children: Vec<(Name, Node)>,
}

impl Node {
    pub(super) fn child(&self, key: &[u8]) -> Option<&Node> {
        self.children
            .iter()
            .find_map(|(name, node)| (name.as_bytes() == key).then_some(node))
    }

    fn add(&mut self, path: &str, index: usize) {
        let (step, rest) = path.split_once('.').unwrap_or((path, ""));
        let at = match self.children.iter().position(|(name, _)| name == step) {
            Some(at) => at,
            None => {
                self.children
                    .push((step.to_string().into(), Node::default()));
                self.children.len() - 1
            }
        };
        let node = &mut self.children[at].1;
        if rest.is_empty() {
            node.ends.push(index);
        } else {
            node.add(rest, index);
        }
    }
}

impl Shape {
    /// The shape of a resource with these selectable fields.
    pub fn new(fields: &[SelectableField]) -> Self {
        let mut root = Node::default();
        for (index, field) in fields.iter().enumerate() {
            root.add(field.path.trim_start_matches('.'), index);
        }
        Self {
            fields: fields.to_vec(),
            root,
        }
    }

    /// The fields, in the order their values are kept.
    pub fn fields(&self) -> &[SelectableField] {
        &self.fields
    }

    /// Position of the field called `label` in a `fieldSelector`.
    pub fn position(&self, label: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.label == label)
    }
}

/// The value of one selectable field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FieldValue {
    /// Not in the object, null, or not a scalar.
    #[default]
    Missing,
    /// In the text, without quotes.
    Span {
        /// Offset of the first byte.
        start: u32,
        /// Length in bytes.
        len: u32,
    },
    /// A string with escapes, decoded.
    Decoded(Box<str>),
}

impl FieldValue {
    /// The value as text, read from the object's text.
    pub fn get<'a>(&'a self, json: &'a [u8]) -> Option<&'a str> {
        match self {
            FieldValue::Missing => None,
            FieldValue::Decoded(text) => Some(text),
            FieldValue::Span { start, len } => {
                let start = *start as usize;
                let text = json.get(start..start + *len as usize)?;
                std::str::from_utf8(text).ok()
            }
        }
    }

    /// Moves a span at or behind `from` by `by`.
    pub(crate) fn shift(&mut self, from: usize, by: i64) {
        if let FieldValue::Span { start, .. } = self {
            *start = super::shifted(*start, from, by);
        }
    }
}
