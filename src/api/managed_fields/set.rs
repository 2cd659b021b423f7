//! Sets of paths, as trees, and their FieldsV1 form.

use std::cmp::Ordering;

use super::element::Element;
use crate::base::tree::{Key, Map, Value};

/// A set of paths. Nodes are sorted by element; a node is a member, has children, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub(super) nodes: Vec<Node>,
}

/// What a set has at and below one element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) element: Element,
    /// The path that ends here is in the set.
    pub(super) member: bool,
    /// Paths that go on.
    pub(super) children: Set,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

impl Set {
    /// The set of paths of fields.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        paths.iter().fold(Set::default(), |set, path| {
            let mut one = Set::default();
            for (at, name) in path.iter().enumerate().rev() {
                let node = Node {
                    element: Element::field(name),
                    member: at + 1 == path.len(),
                    children: std::mem::take(&mut one),
                };
                one.nodes.push(node);
            }
            set.union(&one)
        })
    }

    /// Whether it has no path.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Number of paths.
    pub fn len(&self) -> usize {
        self.nodes
            .iter()
            .map(|node| usize::from(node.member) + node.children.len())
            .sum()
    }

    /// Whether a path of fields is a member.
    pub fn has_field(&self, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else {
            return false;
        };
        let Some(node) = self.find(&Element::field(first)) else {
            return false;
        };
        if rest.is_empty() {
            node.member
        } else {
            node.children.has_field(rest)
        }
    }

    pub(super) fn find(&self, element: &Element) -> Option<&Node> {
        let found = self
            .nodes
            .binary_search_by(|node| node.element.cmp(element));
        found.ok().map(|at| &self.nodes[at])
    }

    /// Appends what is known to come last; drops what is empty.
    pub(super) fn push(&mut self, element: Element, member: bool, children: Set) {
        if member || !children.is_empty() {
            self.nodes.push(Node {
                element,
                member,
                children,
            });
        }
    }

    /// Paths of either.
    #[must_use]
    pub fn union(&self, other: &Set) -> Set {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => combine(self, other, Operation::Union),
        }
    }

    /// Paths of both.
    #[must_use]
    pub fn intersection(&self, other: &Set) -> Set {
        combine(self, other, Operation::Intersection)
    }

    /// Paths of this that are not in the other; children of the other's members stay.
    #[must_use]
    pub fn difference(&self, other: &Set) -> Set {
        if other.is_empty() {
            return self.clone();
        }
        combine(self, other, Operation::Difference)
    }

    /// Paths of either.
    #[must_use]
    pub(super) fn joined(self, other: Set) -> Set {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other,
            (_, true) => self,
            _ => combine(&self, &other, Operation::Union),
        }
    }

    /// Paths of this that are neither in the other nor below a member of it.
    #[must_use]
    pub fn without_subtrees(mut self, other: &Set) -> Set {
        self.nodes.retain_mut(|node| {
            let Some(found) = other.find(&node.element) else {
                return true;
            };
            if found.member {
                return false;
            }
            let children = std::mem::take(&mut node.children);
            node.children = children.without_subtrees(&found.children);
            node.member || !node.children.is_empty()
        });
        self
    }

    /// Paths at and below those that match one of the patterns; `*` matches any element.
    #[must_use]
    pub fn matching(&self, patterns: &[&[&str]]) -> Set {
        let mut out = Set::default();
        for node in &self.nodes {
            let matches = |pattern: &&&[&str]| match (pattern.first(), &node.element) {
                (Some(&"*"), _) => true,
                (Some(name), Element::Field(field)) => field == *name,
                _ => false,
            };
            let rests: Vec<&[&str]> = patterns
                .iter()
                .filter(matches)
                .map(|pattern| &pattern[1..])
                .collect();
            if rests.iter().any(|rest| rest.is_empty()) {
                out.nodes.push(node.clone());
            } else if !rests.is_empty() {
                let children = node.children.matching(&rests);
                out.push(node.element.clone(), false, children);
            }
        }
        out
    }

    /// Every path, owned leaves of a node before deeper nodes, printed.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.push_paths("", &mut out);
        out
    }

    fn push_paths(&self, prefix: &str, out: &mut Vec<String>) {
        for node in self.nodes.iter().filter(|node| node.member) {
            out.push(format!("{prefix}{}", node.element));
        }
        for node in self.nodes.iter().filter(|node| !node.children.is_empty()) {
            node.children
                .push_paths(&format!("{prefix}{}", node.element), out);
        }
    }

    /// The FieldsV1 object.
    pub fn to_fields(&self) -> Value {
        let mut members = Map::new();
        self.push_fields(&mut members);
        Value::Object(members)
    }

    fn push_fields(&self, members: &mut Map) {
        for node in &self.nodes {
            let mut inner = Map::new();
            if node.member && !node.children.is_empty() {
                inner.insert(Key::const_new("."), Value::Object(Map::new()));
            }
            node.children.push_fields(&mut inner);
            members.insert(node.element.to_text(), Value::Object(inner));
        }
    }

    /// Reads a FieldsV1 object.
    ///
    /// # Errors
    /// When an element is malformed; elements of unknown kinds are skipped.
    pub fn from_fields(fields: &Value) -> Result<Set, String> {
        let Value::Object(members) = fields else {
            return Err("expected an object".into());
        };
        let mut out = Set::default();
        let mut sorted = true;
        for (text, inner) in members {
            if text == "." {
                continue;
            }
            let Some(element) = Element::parse(text)? else {
                continue;
            };
            let member = match inner {
                Value::Object(inner) => inner.is_empty() || inner.contains_key("."),
                _ => return Err(format!("expected an object at {text}")),
            };
            sorted &= out.nodes.last().is_none_or(|last| last.element < element);
            out.push(element, member, Set::from_fields(inner)?);
        }
        if !sorted {
            out.sort();
        }
        Ok(out)
    }

    /// Sorts the nodes and joins equal ones.
    pub(super) fn sort(&mut self) {
        self.nodes.sort_by(|a, b| a.element.cmp(&b.element));
        self.nodes.dedup_by(|next, node| {
            let equal = next.element == node.element;
            if equal {
                node.member |= next.member;
                node.children = node.children.union(&next.children);
            }
            equal
        });
    }
}

fn combine(a: &Set, b: &Set, operation: Operation) -> Set {
    let mut out = Set::default();
    let (mut left, mut right) = (a.nodes.iter().peekable(), b.nodes.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return out,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.element.cmp(&b.element),
        };
        match order {
            Ordering::Less => {
                let node = left.next();
                if operation != Operation::Intersection {
                    out.nodes.extend(node.cloned());
                }
            }
            Ordering::Greater => {
                let node = right.next();
                if operation == Operation::Union {
                    out.nodes.extend(node.cloned());
                }
            }
            Ordering::Equal => {
                let (Some(a), Some(b)) = (left.next(), right.next()) else {
                    return out;
                };
                let member = match operation {
                    Operation::Union => a.member || b.member,
                    Operation::Intersection => a.member && b.member,
                    Operation::Difference => a.member && !b.member,
                };
                let children = combine(&a.children, &b.children, operation);
                out.push(a.element.clone(), member, children);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    fn set(fields: Value) -> Set {
        Set::from_fields(&fields).expect("fields")
    }

    #[test]
    fn algebra() {
        let a = set(json!({"f:a": {}, "f:b": {".": {}, "f:c": {}, "k:{\"n\":1}": {}}}));
        let b = set(json!({"f:b": {}, "f:d": {"v:\"x\"": {}}}));
        assert_eq!(
            a.union(&b).to_fields(),
            json!({"f:a": {}, "f:b": {".": {}, "f:c": {}, "k:{\"n\":1}": {}}, "f:d": {"v:\"x\"": {}}})
        );
        assert_eq!(a.intersection(&b).to_fields(), json!({"f:b": {}}));
        assert_eq!(
            a.difference(&b).to_fields(),
            json!({"f:a": {}, "f:b": {"f:c": {}, "k:{\"n\":1}": {}}})
        );
        assert_eq!(a.len(), 4);
        assert_eq!(a.paths(), [".a", ".b", ".b.c", ".b[n=1]"]);
        assert_eq!(a.without_subtrees(&b).to_fields(), json!({"f:a": {}}));
        assert_eq!(
            set(json!({"f:s": {"f:c": {"k:{\"n\":1}": {"f:r": {"f:x": {}}, "f:y": {}}}}}))
                .matching(&[&["s", "c", "*", "r"]])
                .to_fields(),
            json!({"f:s": {"f:c": {"k:{\"n\":1}": {"f:r": {"f:x": {}}}}}})
        );
    }

    #[test]
    fn malformed_fields() {
        for (fields, fails) in [
            (json!({"x:y": {}}), false),
            (json!({"fa": {}}), true),
            (json!({"k:{": {}}), true),
            (json!({"f:a": 1}), true),
            (json!([]), true),
        ] {
            assert_eq!(Set::from_fields(&fields).is_err(), fails, "{fields}");
        }
    }

    #[test]
    fn numeric_keys_sort_by_value() {
        let ports = set(json!({"k:{\"p\":10}": {}, "k:{\"p\":9}": {}}));
        assert_eq!(ports.paths(), ["[p=9]", "[p=10]"]);
    }
}
