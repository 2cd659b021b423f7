//! The evaluator.

use std::sync::Arc;

use super::authz::{Decisions, Query};
use super::functions;
use super::node::{Fold, FoldKind, Literal, Node, Program};
use super::object::Constructed;
use super::value::Val;
use crate::base::tree::Value;

/// Why an evaluation has no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// The expression failed, in cel-go's words.
    #[error("{0}")]
    Failed(String),
    /// It took more steps than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    TooCostly,
    /// The authorizer must be asked first.
    #[error("authorization has not been decided")]
    Undecided(Box<Query>),
}

impl EvalError {
    pub(super) fn failed(text: impl Into<String>) -> Self {
        EvalError::Failed(text.into())
    }
}

pub(super) type Outcome<'a> = Result<Val<'a>, EvalError>;

/// Steps that are left.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    left: u64,
}

impl Budget {
    /// So many steps.
    pub fn new(steps: u64) -> Self {
        Budget { left: steps }
    }

    /// Takes steps.
    ///
    /// # Errors
    /// There are not so many.
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), EvalError> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvalError::TooCostly)
            }
        }
    }

    /// The same, but no more than `most`: what one expression may take.
    #[must_use]
    pub fn at_most(&self, most: u64) -> Self {
        Budget {
            left: self.left.min(most),
        }
    }

    /// Takes what was spent of a part that was given out with [`Budget::at_most`].
    pub fn settle(&mut self, part: Budget, most: u64) {
        let spent = self.left.min(most).saturating_sub(part.left);
        self.left = self.left.saturating_sub(spent);
    }

    /// How many are left.
    pub fn left(&self) -> u64 {
        self.left
    }
}

/// The values of an environment's variables, by their position there.
pub trait Bindings<'a> {
    /// The value of a variable. One that has to be computed takes from the budget.
    ///
    /// # Errors
    /// It cannot be computed.
    fn value(&self, at: usize, budget: &mut Budget) -> Result<Val<'a>, EvalError>;
}

impl<'a, const N: usize> Bindings<'a> for [Val<'a>; N] {
    fn value(&self, at: usize, _budget: &mut Budget) -> Result<Val<'a>, EvalError> {
        Ok(self.get(at).cloned().unwrap_or(Val::Null))
    }
}

impl Program {
    /// Evaluates with the values of the environment's variables.
    ///
    /// # Errors
    /// See [`EvalError`].
    pub fn evaluate<'a>(
        &'a self,
        bindings: &dyn Bindings<'a>,
        decisions: &Decisions,
        budget: &mut Budget,
    ) -> Outcome<'a> {
        let mut machine = Machine {
            bindings,
            decisions,
            budget,
            locals: Vec::new(),
        };
        machine.eval(&self.root)
    }
}

struct Machine<'m, 'a> {
    bindings: &'m dyn Bindings<'a>,
    decisions: &'m Decisions,
    budget: &'m mut Budget,
    locals: Vec<Val<'a>>,
}

impl<'a> Machine<'_, 'a> {
    fn eval(&mut self, node: &'a Node) -> Outcome<'a> {
        if !matches!(node, Node::Literal(_)) {
            self.budget.spend(1)?;
        }
        match node {
            Node::Literal(literal) => Ok(literal_value(literal)),
            Node::Global(at) => self.bindings.value(*at, self.budget),
            Node::Local(at) => Ok(self.locals[*at].clone()),
            Node::Select(operand, field) => {
                let operand = self.eval(operand)?;
                select(&operand, field)
            }
            Node::OptionalSelect(operand, field) => {
                let operand = self.eval(operand)?;
                Ok(optional_field(&operand, field)?)
            }
            Node::Has(operand, field) => {
                let operand = self.eval(operand)?;
                has(&operand, field)
            }
            Node::And(left, right) => self.logic(left, right, false),
            Node::Or(left, right) => self.logic(left, right, true),
            Node::Conditional(parts) => {
                let (condition, then, otherwise) = &**parts;
                match self.eval(condition)? {
                    Val::Bool(true) => self.eval(then),
                    Val::Bool(false) => self.eval(otherwise),
                    _ => Err(no_overload()),
                }
            }
            Node::Call(name, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.eval(argument)?);
                }
                functions::call(name, &values, self.decisions, self.budget)
            }
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Object(name, fields) => self.object(name, fields),
            Node::Fold(fold) => self.fold(fold),
            Node::OptionalMap {
                operand,
                body,
                wraps,
            } => self.optional_map(operand, body, *wraps),
        }
    }

    /// `&&` (decided by false) and `||` (decided by true): what decides wins over an error on the
    /// other side.
    fn logic(&mut self, left: &'a Node, right: &'a Node, decides: bool) -> Outcome<'a> {
        let first = as_bool(self.eval(left));
        match &first {
            Ok(value) if *value == decides => return Ok(Val::Bool(decides)),
            Err(EvalError::TooCostly) => return Err(EvalError::TooCostly),
            _ => {}
        }
        let second = as_bool(self.eval(right));
        match (first, second) {
            (_, Ok(value)) if value == decides => Ok(Val::Bool(decides)),
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(_), Ok(_)) => Ok(Val::Bool(!decides)),
        }
    }

    fn list(&mut self, items: &'a [(Node, bool)]) -> Outcome<'a> {
        let mut list = Vec::with_capacity(items.len());
        for (item, optional) in items {
            let value = self.eval(item)?;
            match (optional, value) {
                (true, Val::Optional(inner)) => list.extend(inner.map(|v| (*v).clone())),
                (true, _) => return Err(no_overload()),
                (false, value) => list.push(value),
            }
        }
        Ok(Val::List(Arc::new(list)))
    }

    fn map(&mut self, entries: &'a [(Node, Node, bool)]) -> Outcome<'a> {
        let mut map: Vec<(Val<'a>, Val<'a>)> = Vec::with_capacity(entries.len());
        for (key, value, optional) in entries {
            let key = self.eval(key)?;
            let value = self.eval(value)?;
            let value = match (optional, value) {
                (true, Val::Optional(Some(inner))) => (*inner).clone(),
                (true, Val::Optional(None)) => continue,
                (true, _) => return Err(no_overload()),
                (false, value) => value,
            };
            self.insert(&mut map, key, value)?;
        }
        Ok(Val::Map(Arc::new(map)))
    }

    fn object(&mut self, name: &'a str, fields: &'a [(String, Node, bool)]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(fields.len());
        for (field, node, optional) in fields {
            match (optional, self.eval(node)?) {
                (true, Val::Optional(None)) => {}
                (true, Val::Optional(Some(inner))) => {
                    values.push((field.as_str(), (*inner).clone()))
                }
                (true, _) => return Err(no_overload()),
                (false, value) => values.push((field.as_str(), value)),
            }
        }
        Ok(Val::Object(Arc::new(Constructed {
            name,
            fields: values,
        })))
    }

    fn insert(
        &mut self,
        map: &mut Vec<(Val<'a>, Val<'a>)>,
        key: Val<'a>,
        value: Val<'a>,
    ) -> Result<(), EvalError> {
        self.budget.spend(map.len() as u64)?;
        if map.iter().any(|(k, _)| k.equals(&key)) {
            return Err(EvalError::failed(format!(
                "Failed with repeated key {}",
                functions::print(&key).unwrap_or_default()
            )));
        }
        map.push((key, value));
        Ok(())
    }

    fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.eval(&fold.range)?;
        let visits = visits(&range, fold.is_two)?;
        self.budget.spend(visits.len() as u64)?;
        let outer = self.locals.len();
        let mut state = State::default();
        for (first, second) in visits {
            self.locals.truncate(outer);
            let element = second.clone().unwrap_or_else(|| first.clone());
            let key = first.clone();
            self.locals.push(first);
            self.locals.extend(second);
            let done = self.visit(fold, &mut state, key, element);
            match done {
                Ok(false) => {}
                Ok(true) => break,
                Err(error) => {
                    self.locals.truncate(outer);
                    return Err(error);
                }
            }
        }
        self.locals.truncate(outer);
        state.finish(fold.kind)
    }

    /// One element; answers whether the fold is decided.
    fn visit(
        &mut self,
        fold: &'a Fold,
        state: &mut State<'a>,
        key: Val<'a>,
        element: Val<'a>,
    ) -> Result<bool, EvalError> {
        if let Some(filter) = &fold.filter
            && !as_bool(self.eval(filter))?
        {
            return Ok(false);
        }
        let value = self.eval(&fold.body);
        match fold.kind {
            FoldKind::All | FoldKind::Exists => match as_bool(value) {
                Ok(value) if value == (fold.kind == FoldKind::Exists) => {
                    state.decided = true;
                    return Ok(true);
                }
                Ok(_) => {}
                Err(EvalError::TooCostly) => return Err(EvalError::TooCostly),
                Err(error) => state.error = state.error.take().or(Some(error)),
            },
            FoldKind::ExistsOne => state.count += u64::from(as_bool(value)?),
            FoldKind::List => state.list.push(value?),
            FoldKind::Map => {
                let value = value?;
                self.insert(&mut state.map, key, value)?;
            }
            FoldKind::MapEntry => {
                let value = value?;
                for (key, value) in value.entries().ok_or_else(no_overload)? {
                    self.insert(&mut state.map, key, value)?;
                }
            }
            FoldKind::SortBy => state.map.push((value?, element)),
        }
        Ok(false)
    }

    fn optional_map(&mut self, operand: &'a Node, body: &'a Node, wraps: bool) -> Outcome<'a> {
        let inner = match self.eval(operand)? {
            Val::Optional(Some(inner)) => inner,
            Val::Optional(None) => return Ok(Val::Optional(None)),
            _ => return Err(no_overload()),
        };
        self.locals.push((*inner).clone());
        let value = self.eval(body);
        self.locals.pop();
        let value = value?;
        Ok(match wraps {
            true => Val::Optional(Some(Arc::new(value))),
            false => value,
        })
    }
}

/// What a fold has gathered.
#[derive(Default)]
struct State<'a> {
    decided: bool,
    error: Option<EvalError>,
    count: u64,
    list: Vec<Val<'a>>,
    map: Vec<(Val<'a>, Val<'a>)>,
}

impl<'a> State<'a> {
    fn finish(self, kind: FoldKind) -> Outcome<'a> {
        Ok(match kind {
            FoldKind::All | FoldKind::Exists if self.decided => Val::Bool(kind == FoldKind::Exists),
            FoldKind::All | FoldKind::Exists => match self.error {
                Some(error) => return Err(error),
                None => Val::Bool(kind == FoldKind::All),
            },
            FoldKind::ExistsOne => Val::Bool(self.count == 1),
            FoldKind::List => Val::List(Arc::new(self.list)),
            FoldKind::Map | FoldKind::MapEntry => Val::Map(Arc::new(self.map)),
            FoldKind::SortBy => {
                let sorted = functions::sort_by_key(self.map)?;
                Val::List(Arc::new(sorted))
            }
        })
    }
}

type Visits<'a> = Vec<(Val<'a>, Option<Val<'a>>)>;

/// What a fold visits: elements or keys; with two variables, index and element, key and value.
fn visits<'a>(range: &Val<'a>, is_two: bool) -> Result<Visits<'a>, EvalError> {
    if let Some(elements) = range.elements() {
        let numbered = elements.into_iter().zip(0i64..);
        return Ok(match is_two {
            true => numbered.map(|(e, i)| (Val::Int(i), Some(e))).collect(),
            false => numbered.map(|(e, _)| (e, None)).collect(),
        });
    }
    let entries = range.entries().ok_or_else(no_overload)?;
    let entries = entries.into_iter();
    Ok(entries
        .map(|(key, value)| (key, is_two.then_some(value)))
        .collect())
}

fn literal_value(literal: &Literal) -> Val<'_> {
    match literal {
        Literal::Json(value) => Val::json(value),
        Literal::Uint(u) => Val::Uint(*u),
        Literal::Double(d) => Val::Double(*d),
        Literal::Bytes(bytes) => Val::Bytes(bytes.as_slice().into()),
    }
}

pub(super) fn no_overload() -> EvalError {
    EvalError::failed("no such overload")
}

fn as_bool(value: Outcome<'_>) -> Result<bool, EvalError> {
    match value? {
        Val::Bool(b) => Ok(b),
        _ => Err(no_overload()),
    }
}

fn field_key(field: &str) -> Val<'_> {
    Val::Str(super::value::Text::Borrowed(field))
}

fn select<'a>(operand: &Val<'a>, field: &str) -> Outcome<'a> {
    match operand {
        Val::Optional(_) => optional_field(operand, field),
        Val::Map(_) | Val::Json(Value::Object(_)) => operand
            .at(&field_key(field))
            .ok()
            .flatten()
            .ok_or_else(|| EvalError::failed(format!("no such key: {field}"))),
        _ => Err(no_overload()),
    }
}

fn optional_field<'a>(operand: &Val<'a>, field: &str) -> Outcome<'a> {
    let inner = match operand {
        Val::Optional(None) => return Ok(Val::Optional(None)),
        Val::Optional(Some(inner)) => inner,
        other => other,
    };
    match inner {
        Val::Map(_) | Val::Json(Value::Object(_)) => {
            let found = inner.at(&field_key(field)).ok().flatten();
            Ok(Val::Optional(found.map(Arc::new)))
        }
        _ => Err(no_overload()),
    }
}

fn has<'a>(operand: &Val<'a>, field: &str) -> Outcome<'a> {
    let inner = match operand {
        Val::Optional(None) => return Ok(Val::Bool(false)),
        Val::Optional(Some(inner)) => inner,
        other => other,
    };
    match inner {
        Val::Map(_) | Val::Json(Value::Object(_)) => {
            let found = inner.at(&field_key(field)).ok().flatten();
            Ok(Val::Bool(found.is_some()))
        }
        _ => Err(no_overload()),
    }
}
