//! The type checker: resolves names and overloads, and lowers the parser's tree to [`Node`]s.

use std::collections::HashMap;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};

use super::compile::Env;
use super::decls;
use super::functions::regex_problem;
use super::node::{Literal, Node};
use super::types::Type;
use crate::base::tree::Value;

/// Nesting that an expression may have, chains of fields and operators included.
const DEPTH_MAX: usize = 250;

/// What is said of an expression that is nested too deeply.
pub(super) fn too_deep() -> String {
    format!("expression recursion limit exceeded: {DEPTH_MAX}")
}

/// The check of one expression.
pub(super) struct Checker<'e> {
    pub(super) env: &'e Env,
    places: &'e SourceInfo,
    /// Variables of macros, innermost last.
    pub(super) locals: Vec<(String, Type)>,
    /// Offsets and messages.
    pub(super) errors: Vec<(usize, String)>,
    /// How many calls of `format` are around: their lists may hold values of several types.
    formats: usize,
    /// How deep the expression is that is being checked.
    depth: usize,
}

/// What stands for an expression that has an error.
fn broken() -> (Node, Type) {
    (Node::Literal(Literal::Json(Value::Null)), Type::Dyn)
}

impl<'e> Checker<'e> {
    pub(super) fn new(env: &'e Env, places: &'e SourceInfo) -> Self {
        Checker {
            env,
            places,
            locals: Vec::new(),
            errors: Vec::new(),
            formats: 0,
            depth: 0,
        }
    }

    pub(super) fn fail(&mut self, id: u64, message: String) -> (Node, Type) {
        let offset = self.places.offset_for(id).map_or(0, |(start, _)| start);
        self.errors
            .push((usize::try_from(offset).unwrap_or(0), message));
        broken()
    }

    /// The checked form of an expression, and its type.
    pub(super) fn check(&mut self, expression: &IdedExpr) -> (Node, Type) {
        if self.depth == DEPTH_MAX {
            return self.fail(expression.id, too_deep());
        }
        self.depth += 1;
        let checked = self.check_one(expression);
        self.depth -= 1;
        checked
    }

    fn check_one(&mut self, expression: &IdedExpr) -> (Node, Type) {
        match &expression.expr {
            Expr::Literal(literal) => check_literal(literal),
            Expr::Ident(name) => self.check_name(expression.id, name),
            Expr::Select(select) => {
                if let Some(found) = self.qualified(&expression.expr) {
                    return match select.test {
                        // A declared variable is always there.
                        true => (Node::Literal(Literal::Json(Value::Bool(true))), Type::Bool),
                        false => found,
                    };
                }
                self.check_select(expression.id, &select.operand, &select.field, select.test)
            }
            Expr::Call(call) => self.check_call(expression.id, call),
            Expr::List(list) => {
                let mut element = Type::Unbound;
                let mut nodes = Vec::with_capacity(list.elements.len());
                for (index, item) in list.elements.iter().enumerate() {
                    let optional = list.optional_indices.contains(&index);
                    let (node, mut kind) = self.check(item);
                    if optional && let Type::Optional(inner) = &kind {
                        kind = (**inner).clone();
                    }
                    element = self.same(item.id, element, &kind);
                    nodes.push((node, optional));
                }
                (Node::List(nodes), Type::list(element))
            }
            Expr::Map(map) => {
                let (mut key_type, mut value_type) = (Type::Unbound, Type::Unbound);
                let mut nodes = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        continue;
                    };
                    let (key, kind) = self.check(&entry.key);
                    key_type = self.same(entry.key.id, key_type, &kind);
                    let (value, mut kind) = self.check(&entry.value);
                    if entry.optional
                        && let Type::Optional(inner) = &kind
                    {
                        kind = (**inner).clone();
                    }
                    value_type = self.same(entry.value.id, value_type, &kind);
                    nodes.push((key, value, entry.optional));
                }
                (Node::Map(nodes), Type::map(key_type, value_type))
            }
            Expr::Comprehension(comprehension) => self.check_macro(expression.id, comprehension),
            Expr::Struct(object) => self.check_object(expression.id, object),
            Expr::Unspecified => broken(),
        }
    }

    /// Literals hold values of one type only.
    fn same(&mut self, id: u64, so_far: Type, next: &Type) -> Type {
        if !so_far.fits(next) && self.formats == 0 {
            self.fail(id, format!("expected type '{so_far}' but found '{next}'"));
        }
        so_far.join(next)
    }

    fn check_name(&mut self, id: u64, name: &str) -> (Node, Type) {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some(found) = self.resolve(name) {
            return found;
        }
        if decls::type_name(name) {
            let node = Node::Call("@type".into(), vec![text(name)]);
            return (node, Type::Type);
        }
        self.fail(
            id,
            format!("undeclared reference to '{name}' (in container '')"),
        )
    }

    fn resolve(&self, name: &str) -> Option<(Node, Type)> {
        if let Some(at) = self.locals.iter().rposition(|(n, _)| n == name) {
            return Some((Node::Local(at), self.locals[at].1.clone()));
        }
        let (at, kind) = self.env.find(name)?;
        Some((Node::Global(at), kind.clone()))
    }

    /// A variable whose name has dots.
    fn qualified(&self, expression: &Expr) -> Option<(Node, Type)> {
        let Expr::Select(select) = expression else {
            return None;
        };
        let Expr::Ident(root) = &select.operand.expr else {
            return None;
        };
        let name = format!("{root}.{}", select.field);
        if self.locals.iter().any(|(n, _)| n == root) {
            return None;
        }
        let (at, kind) = self.env.find(&name)?;
        Some((Node::Global(at), kind.clone()))
    }

    fn check_select(
        &mut self,
        id: u64,
        operand: &IdedExpr,
        field: &str,
        test: bool,
    ) -> (Node, Type) {
        let (node, kind) = self.check(operand);
        let result = match self.field_type(&kind, field) {
            Ok(kind) => kind,
            Err(message) => return self.fail(id, message),
        };
        let (node, field) = (Box::new(node), field.to_string());
        match test {
            true => (Node::Has(node, field), Type::Bool),
            false => (Node::Select(node, field), result),
        }
    }

    fn field_type(&self, kind: &Type, field: &str) -> Result<Type, String> {
        Ok(match kind {
            kind if kind.is_dyn() => Type::Dyn,
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match object.field(field) {
                Some(kind) => kind.clone(),
                None => return Err(format!("undefined field '{field}'")),
            },
            Type::Optional(inner) => match self.field_type(inner, field)? {
                inner @ Type::Optional(_) => inner,
                inner => Type::optional(inner),
            },
            other => return Err(format!("type '{other}' does not support field selection")),
        })
    }

    fn check_call(&mut self, id: u64, call: &CallExpr) -> (Node, Type) {
        let name = call.func_name.as_str();
        if let Some(target) = &call.target {
            let qualified = dotted(&target.expr).map(|root| format!("{root}.{name}"));
            let known = |function: &String| {
                decls::overloads(function).is_some() && self.env.knows(function)
            };
            if let Some(function) = qualified.filter(known) {
                return self.check_overloads(id, &function, None, &call.args);
            }
            if let Some(found) = self.check_extra_macro(id, target, name, &call.args) {
                return found;
            }
            return self.check_overloads(id, name, Some(target), &call.args);
        }
        if name == operators::OPT_SELECT
            && let [operand, field] = call.args.as_slice()
        {
            return self.check_optional_select(id, operand, field);
        }
        self.check_overloads(id, name.strip_prefix('.').unwrap_or(name), None, &call.args)
    }

    fn check_optional_select(
        &mut self,
        id: u64,
        operand: &IdedExpr,
        field: &IdedExpr,
    ) -> (Node, Type) {
        let Expr::Literal(LiteralValue::String(field)) = &field.expr else {
            return self.fail(id, "unsupported optional field selection".into());
        };
        let field = field.inner();
        let (node, kind) = self.check(operand);
        let result = match self.field_type(&kind, field) {
            Ok(inner @ Type::Optional(_)) => inner,
            Ok(inner) => Type::optional(inner),
            Err(message) => return self.fail(id, message),
        };
        (
            Node::OptionalSelect(Box::new(node), field.to_string()),
            result,
        )
    }

    fn check_overloads(
        &mut self,
        id: u64,
        name: &str,
        target: Option<&IdedExpr>,
        arguments: &[IdedExpr],
    ) -> (Node, Type) {
        let mut nodes = Vec::with_capacity(arguments.len() + 1);
        let mut kinds = Vec::with_capacity(arguments.len() + 1);
        let is_format = usize::from(name == "format");
        self.formats += is_format;
        for argument in target.into_iter().chain(arguments) {
            let (node, kind) = self.check(argument);
            nodes.push(node);
            kinds.push(kind);
        }
        self.formats -= is_format;
        let known = decls::overloads(name).filter(|_| self.env.knows(name));
        let Some(overloads) = known else {
            return self.fail(
                id,
                format!("undeclared reference to '{name}' (in container '')"),
            );
        };
        let mut result: Option<Type> = None;
        for overload in overloads {
            let shape =
                overload.is_member == target.is_some() && overload.parameters.len() == kinds.len();
            let mut bound = HashMap::new();
            let takes = shape
                && overload
                    .parameters
                    .iter()
                    .zip(&kinds)
                    .all(|(parameter, kind)| parameter.accepts(kind, &mut bound));
            if takes {
                let kind = overload.result.resolved(&bound);
                result = Some(match result {
                    None => kind,
                    Some(other) if other == kind => kind,
                    Some(_) => Type::Dyn,
                });
            }
        }
        let Some(result) = result else {
            let signature = signature(target.is_some(), &kinds);
            return self.fail(
                id,
                format!("found no matching overload for '{name}' applied to '{signature}'"),
            );
        };
        self.check_literal_arguments(id, name, arguments);
        (call_node(name, nodes), result)
    }

    /// What can be known to fail is refused: bad regular expressions, times and durations.
    fn check_literal_arguments(&mut self, id: u64, name: &str, arguments: &[IdedExpr]) {
        let Some(last) = arguments.last() else {
            return;
        };
        let Expr::Literal(LiteralValue::String(literal)) = &last.expr else {
            return;
        };
        let literal = literal.inner();
        let problem = match name {
            "matches" => regex_problem(literal),
            "duration" => super::value::parse_duration(literal)
                .is_none()
                .then(String::new),
            "timestamp" => super::value::parse_timestamp(literal)
                .is_none()
                .then(String::new),
            _ => None,
        };
        if problem.is_some() {
            let place = if name == "matches" { last.id } else { id };
            self.fail(place, format!("invalid {name} argument"));
        }
    }
}

/// `a` or `a.b`, where that is what the expression spells. No variable or function has a longer name.
fn dotted(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => match &select.operand.expr {
            Expr::Ident(root) => Some(format!("{root}.{}", select.field)),
            _ => None,
        },
        _ => None,
    }
}

fn call_node(name: &str, mut nodes: Vec<Node>) -> Node {
    match name {
        operators::LOGICAL_AND | operators::LOGICAL_OR if nodes.len() == 2 => {
            let right = Box::new(nodes.remove(1));
            let left = Box::new(nodes.remove(0));
            match name {
                operators::LOGICAL_AND => Node::And(left, right),
                _ => Node::Or(left, right),
            }
        }
        operators::CONDITIONAL if nodes.len() == 3 => {
            let otherwise = nodes.remove(2);
            let then = nodes.remove(1);
            Node::Conditional(Box::new((nodes.remove(0), then, otherwise)))
        }
        _ => Node::Call(name.to_string(), nodes),
    }
}

fn text(text: &str) -> Node {
    Node::Literal(Literal::Json(Value::String(text.to_string())))
}

fn check_literal(literal: &LiteralValue) -> (Node, Type) {
    let (literal, kind) = match literal {
        LiteralValue::Null => (Literal::Json(Value::Null), Type::Null),
        LiteralValue::Boolean(b) => (Literal::Json(Value::Bool(*b.inner())), Type::Bool),
        LiteralValue::Int(i) => (Literal::Json(Value::from(*i.inner())), Type::Int),
        LiteralValue::UInt(u) => (Literal::Uint(*u.inner()), Type::Uint),
        LiteralValue::Double(d) => (Literal::Double(*d.inner()), Type::Double),
        LiteralValue::String(s) => (
            Literal::Json(Value::String(s.inner().to_string())),
            Type::String,
        ),
        LiteralValue::Bytes(b) => (Literal::Bytes(b.inner().to_vec()), Type::Bytes),
    };
    (Node::Literal(literal), kind)
}

/// `(int, string)`, or `string.(int)` of a member call.
fn signature(is_member: bool, kinds: &[Type]) -> String {
    let print = |kinds: &[Type]| {
        let names: Vec<String> = kinds.iter().map(print_kind).collect();
        format!("({})", names.join(", "))
    };
    match kinds.split_first() {
        Some((receiver, arguments)) if is_member => {
            format!("{}.{}", print_kind(receiver), print(arguments))
        }
        _ => print(kinds),
    }
}

/// The checker prints null, times and durations in its own way.
fn print_kind(kind: &Type) -> String {
    match kind {
        Type::Null => "null".into(),
        Type::Timestamp => "timestamp".into(),
        Type::Duration => "duration".into(),
        other => other.to_string(),
    }
}
