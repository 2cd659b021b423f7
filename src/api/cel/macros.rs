//! Macros: visits of all elements, and what is mapped over optionals. The parser expands the standard
//! ones into comprehensions, which are recognised here; the others it leaves as calls.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};

use super::check::Checker;
use super::decls;
use super::node::{Fold, FoldKind, Node};
use super::types::Type;

impl Checker<'_> {
    /// The standard macros, as the parser expanded them.
    pub(super) fn check_macro(&mut self, id: u64, expanded: &ComprehensionExpr) -> (Node, Type) {
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
    pub(super) fn check_extra_macro(
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
            ("bind", [variable, value, body]) if self.is_bind(target) => {
                let variable = simple_name(variable)?;
                Some(self.check_bind(variable, value, body))
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

    fn is_bind(&self, target: &IdedExpr) -> bool {
        matches!(&target.expr, Expr::Ident(name) if name == "cel") && self.env.knows(decls::BIND)
    }

    /// `cel.bind(name, value, body)`: the body of an optional that has the value.
    fn check_bind(&mut self, variable: &str, value: &IdedExpr, body: &IdedExpr) -> (Node, Type) {
        let (value, kind) = self.check(value);
        self.locals.push((variable.to_string(), kind));
        let (body, result) = self.check(body);
        self.locals.pop();
        let node = Node::OptionalMap {
            operand: Box::new(Node::Call("optional.of".into(), vec![value])),
            body: Box::new(body),
            wraps: false,
        };
        (node, result)
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
