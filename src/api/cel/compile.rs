//! From source to [`Program`]: parse, resolve names, check types.

use std::collections::HashMap;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators,
};
use cel::parser::Parser;
use serde_json::Value;

use super::decls;
use super::functions::regex_problem;
use super::node::{Fold, FoldKind, Literal, Node, Program};
use super::types::Type;

/// Nesting that an expression may have.
const DEPTH_MAX: u16 = 96;

/// Why an expression does not compile, as upstream's `compilation failed: …` says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(pub String);

/// The variables that an expression may use.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: Vec<(String, Type)>,
}

impl Env {
    /// No variables.
    pub fn new() -> Self {
        Env::default()
    }

    /// One variable more. The order is that of the bindings at evaluation. A name may have dots.
    #[must_use]
    pub fn with(mut self, name: &str, kind: Type) -> Self {
        self.variables.push((name.to_string(), kind));
        self
    }

    fn find(&self, name: &str) -> Option<(usize, &Type)> {
        let at = self.variables.iter().position(|(n, _)| n == name)?;
        Some((at, &self.variables[at].1))
    }
}

/// Compiles an expression.
///
/// # Errors
/// All syntax errors, or else all type errors, each with its place in the source.
pub fn compile(source: &str, env: &Env) -> Result<Program, CompileError> {
    let parsed = Parser::new()
        .max_recursion_depth(DEPTH_MAX)
        .enable_optional_syntax(true)
        .parse_with_source_info(source);
    let (expression, places) = parsed.map_err(|errors| {
        let errors = errors.errors.iter();
        let place = |n: isize| usize::try_from(n).unwrap_or(1).max(1);
        CompileError(report(
            source,
            errors.map(|e| (place(e.pos.0), place(e.pos.1), e.msg.clone())),
        ))
    })?;
    let mut checker = Checker {
        env,
        places: &places,
        locals: Vec::new(),
        errors: Vec::new(),
        formats: 0,
    };
    let (root, output) = checker.check(&expression);
    if checker.errors.is_empty() {
        return Ok(Program {
            root,
            output,
            source: source.to_string(),
        });
    }
    let mut errors = checker.errors;
    errors.sort_by_key(|(offset, _)| *offset);
    let places = errors.into_iter().map(|(offset, message)| {
        let (line, column) = line_and_column(source, offset);
        (line, column, message)
    });
    Err(CompileError(report(source, places)))
}

/// One paragraph per error: message, the line, a caret.
fn report(source: &str, errors: impl Iterator<Item = (usize, usize, String)>) -> String {
    let mut out = Vec::new();
    for (line, column, message) in errors {
        let mut text = format!("ERROR: <input>:{line}:{column}: {message}");
        if let Some(snippet) = source.lines().nth(line - 1) {
            let dots = ".".repeat(column - 1);
            text.push_str(&format!("\n | {snippet}\n | {dots}^"));
        }
        out.push(text);
    }
    out.join("\n")
}

/// Both from one; columns count characters.
fn line_and_column(source: &str, offset: usize) -> (usize, usize) {
    let before: Vec<char> = source.chars().take(offset).collect();
    let line = before.iter().filter(|c| **c == '\n').count() + 1;
    let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
    (line, column)
}

struct Checker<'e> {
    env: &'e Env,
    places: &'e SourceInfo,
    locals: Vec<(String, Type)>,
    errors: Vec<(usize, String)>,
    /// How many calls of `format` are around: their lists may hold values of several types.
    formats: usize,
}

/// What stands for an expression that has an error.
fn broken() -> (Node, Type) {
    (Node::Literal(Literal::Json(Value::Null)), Type::Dyn)
}

impl Checker<'_> {
    fn fail(&mut self, id: u64, message: String) -> (Node, Type) {
        let offset = self.places.offset_for(id).map_or(0, |(start, _)| start);
        self.errors
            .push((usize::try_from(offset).unwrap_or(0), message));
        broken()
    }

    fn check(&mut self, expression: &IdedExpr) -> (Node, Type) {
        match &expression.expr {
            Expr::Literal(literal) => check_literal(literal),
            Expr::Ident(name) => self.check_name(expression.id, name),
            Expr::Select(select) => {
                if !select.test
                    && let Some(found) = self.qualified(&expression.expr)
                {
                    return found;
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
            Expr::Struct(object) => {
                let message = format!(
                    "undeclared reference to '{}' (in container '')",
                    object.type_name
                );
                self.fail(expression.id, message)
            }
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
        let name = dotted(expression)?;
        let root = name.split('.').next().unwrap_or("");
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
            if let Some(function) = qualified.filter(|f| decls::overloads(f).is_some()) {
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
        let Some(overloads) = decls::overloads(name) else {
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

    /// The standard macros, as the parser expanded them.
    fn check_macro(&mut self, id: u64, expanded: &ComprehensionExpr) -> (Node, Type) {
        let Some(visit) = Visit::of(expanded) else {
            return self.fail(id, "unsupported comprehension".into());
        };
        self.check_fold(
            id,
            &expanded.iter_range,
            &[&expanded.iter_var],
            visit.kind,
            visit.filter,
            &visit.body,
        )
    }

    fn check_fold(
        &mut self,
        id: u64,
        range: &IdedExpr,
        variables: &[&str],
        kind: FoldKind,
        filter: Option<&IdedExpr>,
        body: &Body<'_>,
    ) -> (Node, Type) {
        let (range_node, range_type) = self.check(range);
        let (key, value) = match &range_type {
            t if t.is_dyn() => (Type::Dyn, Type::Dyn),
            Type::List(element) => (Type::Int, (**element).clone()),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                return self.fail(range.id, message);
            }
        };
        let outer = self.locals.len();
        let is_two = variables.len() == 2;
        match variables {
            [key_name, value_name] => {
                self.locals.push((key_name.to_string(), key));
                self.locals.push((value_name.to_string(), value));
            }
            _ => {
                let of_map = matches!(range_type, Type::Map(..));
                let element = if of_map { key } else { value };
                let name = variables.first().copied().unwrap_or_default();
                self.locals.push((name.to_string(), element));
            }
        }
        let filter = filter.map(|f| (f.id, self.check(f)));
        let (body_id, (body_node, body_type)) = match body {
            Body::Expression(body) => (body.id, self.check(body)),
            Body::Element => (id, (Node::Local(outer), self.locals[outer].1.clone())),
        };
        self.locals.truncate(outer);
        let filter = filter.map(|(id, (node, kind))| {
            self.demand_bool(id, &kind);
            node
        });
        if matches!(kind, FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne) {
            self.demand_bool(body_id, &body_type);
        }
        let result = match kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => Type::Bool,
            FoldKind::List => Type::list(body_type),
            FoldKind::SortBy => range_type.clone(),
            FoldKind::Map => match &range_type {
                Type::Map(key, _) => Type::map((**key).clone(), body_type),
                Type::List(_) => Type::map(Type::Int, body_type),
                _ => Type::map(Type::Dyn, body_type),
            },
            FoldKind::MapEntry => body_type,
        };
        let fold = Fold {
            kind,
            range: range_node,
            is_two,
            filter,
            body: body_node,
        };
        (Node::Fold(Box::new(fold)), result)
    }

    fn demand_bool(&mut self, id: u64, kind: &Type) {
        if !Type::Bool.fits(kind) {
            self.fail(id, format!("expected type 'bool' but found '{kind}'"));
        }
    }

    /// Macros that the parser leaves as calls: those with two variables, `optMap`, `sortBy`.
    fn check_extra_macro(
        &mut self,
        id: u64,
        target: &IdedExpr,
        name: &str,
        arguments: &[IdedExpr],
    ) -> Option<(Node, Type)> {
        match (name, arguments) {
            ("optMap" | "optFlatMap", [variable, body]) => {
                Some(self.check_optional_map(id, target, name == "optMap", variable, body))
            }
            ("sortBy", [variable, key]) => {
                let variable = simple_name(variable)?;
                let body = Body::Expression(key);
                Some(self.check_fold(id, target, &[variable], FoldKind::SortBy, None, &body))
            }
            (
                "all" | "exists" | "existsOne" | "transformList" | "transformMap"
                | "transformMapEntry",
                [first, second, rest @ ..],
            ) => {
                let variables = [simple_name(first)?, simple_name(second)?];
                let kind = match name {
                    "all" => FoldKind::All,
                    "exists" => FoldKind::Exists,
                    "existsOne" => FoldKind::ExistsOne,
                    "transformList" => FoldKind::List,
                    "transformMap" => FoldKind::Map,
                    _ => FoldKind::MapEntry,
                };
                let (filter, body) = match rest {
                    [body] => (None, body),
                    [filter, body] if name.starts_with("transform") => (Some(filter), body),
                    _ => return None,
                };
                let body = Body::Expression(body);
                Some(self.check_fold(id, target, &variables, kind, filter, &body))
            }
            _ => None,
        }
    }

    fn check_optional_map(
        &mut self,
        id: u64,
        target: &IdedExpr,
        wraps: bool,
        variable: &IdedExpr,
        body: &IdedExpr,
    ) -> (Node, Type) {
        let Some(variable) = simple_name(variable) else {
            return self.fail(
                id,
                "optMap() variable name must be a simple identifier".into(),
            );
        };
        let (operand, kind) = self.check(target);
        let inner = match kind {
            Type::Optional(inner) => (*inner).clone(),
            kind if kind.is_dyn() => Type::Dyn,
            other => {
                return self.fail(
                    id,
                    format!("expected type 'optional_type' but found '{other}'"),
                );
            }
        };
        self.locals.push((variable.to_string(), inner));
        let (body, kind) = self.check(body);
        self.locals.pop();
        let result = if wraps { Type::optional(kind) } else { kind };
        let node = Node::OptionalMap {
            operand: Box::new(operand),
            body: Box::new(body),
            wraps,
        };
        (node, result)
    }
}

/// What a macro evaluates for each element.
enum Body<'e> {
    Expression(&'e IdedExpr),
    /// The element itself (`filter`).
    Element,
}

/// What an expanded macro was.
struct Visit<'e> {
    kind: FoldKind,
    filter: Option<&'e IdedExpr>,
    body: Body<'e>,
}

impl<'e> Visit<'e> {
    fn of(expanded: &'e ComprehensionExpr) -> Option<Self> {
        let step = call(&expanded.loop_step)?;
        let visit = |kind, filter, body| Some(Visit { kind, filter, body });
        match (&expanded.accu_init.expr, step.func_name.as_str()) {
            (Expr::Literal(LiteralValue::Boolean(_)), operators::LOGICAL_AND) => {
                visit(FoldKind::All, None, Body::Expression(step.args.get(1)?))
            }
            (Expr::Literal(LiteralValue::Boolean(_)), operators::LOGICAL_OR) => {
                visit(FoldKind::Exists, None, Body::Expression(step.args.get(1)?))
            }
            (Expr::Literal(LiteralValue::Int(_)), operators::CONDITIONAL) => visit(
                FoldKind::ExistsOne,
                None,
                Body::Expression(step.args.first()?),
            ),
            (Expr::List(_), operators::ADD) => {
                visit(FoldKind::List, None, Body::Expression(appended(step)?))
            }
            (Expr::List(_), operators::CONDITIONAL) => {
                let filter = step.args.first()?;
                let body = appended(call(step.args.get(1)?)?)?;
                let is_element =
                    matches!(&body.expr, Expr::Ident(name) if *name == expanded.iter_var);
                let body = match is_element {
                    true => Body::Element,
                    false => Body::Expression(body),
                };
                visit(FoldKind::List, Some(filter), body)
            }
            _ => None,
        }
    }
}

fn call(expression: &IdedExpr) -> Option<&CallExpr> {
    match &expression.expr {
        Expr::Call(call) => Some(call),
        _ => None,
    }
}

/// `e` of `@result + [e]`.
fn appended(add: &CallExpr) -> Option<&IdedExpr> {
    match &add.args.get(1)?.expr {
        Expr::List(list) => list.elements.first(),
        _ => None,
    }
}

fn simple_name(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Ident(name) => Some(name),
        _ => None,
    }
}

/// `a.b.c`, where that is what the expression spells.
fn dotted(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => Some(format!(
            "{}.{}",
            dotted(&select.operand.expr)?,
            select.field
        )),
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
