//! The checked form of an expression.

use super::types::Type;
use crate::base::tree::Value;

/// An expression that compiled.
#[derive(Debug)]
pub struct Program {
    pub(super) root: Node,
    /// What it evaluates to.
    pub output: Type,
    /// The text it was compiled from.
    pub source: String,
}

/// One step of an evaluation.
#[derive(Debug)]
pub(super) enum Node {
    /// A scalar literal.
    Literal(Literal),
    /// A variable of the environment, by its position there.
    Global(usize),
    /// A variable of a macro, by its position on the stack.
    Local(usize),
    /// `operand.field`.
    Select(Box<Node>, String),
    /// `operand.?field`.
    OptionalSelect(Box<Node>, String),
    /// `has(operand.field)`.
    Has(Box<Node>, String),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Conditional(Box<(Node, Node, Node)>),
    /// A function with all its arguments, the receiver first.
    Call(String, Vec<Node>),
    /// Elements, and whether each is optional.
    List(Vec<(Node, bool)>),
    /// Entries, and whether each is optional.
    Map(Vec<(Node, Node, bool)>),
    /// `Object.spec{…}`: the type's name; fields, and whether each is optional.
    Object(String, Vec<(String, Node, bool)>),
    /// A macro over a list or map.
    Fold(Box<Fold>),
    /// `optMap` (wraps) and `optFlatMap`.
    OptionalMap {
        operand: Box<Node>,
        body: Box<Node>,
        wraps: bool,
    },
}

/// A macro that visits each element.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) kind: FoldKind,
    pub(super) range: Node,
    /// Two variables: index or key, and element or value. Else one: element or key.
    pub(super) is_two: bool,
    pub(super) filter: Option<Node>,
    pub(super) body: Node,
}

/// What a fold makes of its visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    /// `map`, `filter`, `transformList`.
    List,
    /// `transformMap`.
    Map,
    /// `transformMapEntry`.
    MapEntry,
    /// `sortBy`.
    SortBy,
}

/// A literal.
#[derive(Debug)]
pub(super) enum Literal {
    /// null, bool, string, and numbers that JSON has.
    Json(Value),
    Uint(u64),
    Double(f64),
    Bytes(Vec<u8>),
}
