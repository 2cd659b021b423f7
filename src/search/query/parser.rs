//! Tokens to an expression, by recursive descent: OR binds loosest, then AND, then NOT.

use crate::search::fields::{self, FIELDS};
use crate::search::query::lexer::{Kind, Token};
use crate::search::query::{Condition, Expression, Limit, QueryError, Target};

/// Deeper nesting is refused.
const DEPTH_MAX: usize = 100;

pub(super) fn parse(tokens: &[Token], end: usize) -> Result<Expression, QueryError> {
    if tokens.is_empty() {
        return Ok(Expression::All);
    }
    let mut parser = Parser {
        tokens,
        next: 0,
        end,
        depth: 0,
    };
    let expression = parser.or(&Target::Words)?;
    match parser.peek() {
        None => Ok(expression),
        Some(token) => Err(match token.kind {
            Kind::Close => QueryError::new(token.at, "there is no parenthesis to close"),
            _ => QueryError::new(token.at, "this does not belong here"),
        }),
    }
}

struct Parser<'t> {
    tokens: &'t [Token],
    next: usize,
    end: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<&'t Token> {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn eat(&mut self, kind: &Kind) -> bool {
        let is_there = self.peek().is_some_and(|t| t.kind == *kind);
        self.next += usize::from(is_there);
        is_there
    }

    fn or(&mut self, target: &Target) -> Result<Expression, QueryError> {
        let mut parts = vec![self.and(target)?];
        while self.eat(&Kind::Or) {
            self.needs_operand("OR")?;
            parts.push(self.and(target)?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Expression::Or(parts),
        })
    }

    fn and(&mut self, target: &Target) -> Result<Expression, QueryError> {
        let mut parts = vec![self.not(target)?];
        loop {
            if self.eat(&Kind::And) {
                self.needs_operand("AND")?;
            } else if self
                .peek()
                .is_none_or(|t| matches!(t.kind, Kind::Or | Kind::Close))
            {
                break;
            }
            parts.push(self.not(target)?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Expression::And(parts),
        })
    }

    fn needs_operand(&self, operator: &str) -> Result<(), QueryError> {
        match self.peek() {
            None => Err(QueryError::new(
                self.end,
                format!("something must follow {operator}"),
            )),
            Some(_) => Ok(()),
        }
    }

    fn not(&mut self, target: &Target) -> Result<Expression, QueryError> {
        if self.eat(&Kind::Not) {
            self.needs_operand("NOT")?;
            self.deeper(self.end)?;
            let inner = self.not(target)?;
            self.depth -= 1;
            return Ok(Expression::Not(Box::new(inner)));
        }
        self.clause(target)
    }

    fn deeper(&mut self, at: usize) -> Result<(), QueryError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(QueryError::new(at, "nested too deeply"));
        }
        Ok(())
    }

    fn clause(&mut self, target: &Target) -> Result<Expression, QueryError> {
        let Some(token) = self.take() else {
            return Err(QueryError::new(self.end, "something is missing here"));
        };
        match &token.kind {
            Kind::Open => {
                self.deeper(token.at)?;
                let inner = self.or(target)?;
                self.depth -= 1;
                if self.eat(&Kind::Close) {
                    return Ok(inner);
                }
                match self.peek() {
                    None => Err(QueryError::new(token.at, "the parenthesis is never closed")),
                    Some(t) => Err(QueryError::new(t.at, "this does not belong here")),
                }
            }
            Kind::Field(name) => {
                let found = target_of(name).map_err(|m| QueryError::new(token.at, m))?;
                let value = match self.peek() {
                    None => None,
                    Some(t) => match t.kind {
                        Kind::And | Kind::Or | Kind::Not | Kind::Close | Kind::Field(_) => None,
                        _ => Some(t),
                    },
                };
                if value.is_none() {
                    let at = self.peek().map_or(self.end, |t| t.at);
                    return Err(QueryError::new(at, format!("a value must follow {name}:")));
                }
                self.clause(&found)
            }
            Kind::Word(word) => Ok(Expression::Match(
                target.clone(),
                Condition::Word(word.clone()),
                token.at,
            )),
            Kind::Text(text) => Ok(Expression::Match(
                target.clone(),
                Condition::Text(text.clone()),
                token.at,
            )),
            Kind::Compare(operator) => self.comparison(target, operator, token.at),
            Kind::RangeOpen(is_inclusive) => self.range(target, *is_inclusive, token.at),
            Kind::RangeClose(_) => Err(QueryError::new(token.at, "there is no range to close")),
            Kind::Close => Err(QueryError::new(
                token.at,
                "there is no parenthesis to close",
            )),
            Kind::And => Err(QueryError::new(token.at, "something must stand before AND")),
            Kind::Or => Err(QueryError::new(token.at, "something must stand before OR")),
            Kind::Not => Err(QueryError::new(token.at, "this does not belong here")),
        }
    }

    fn comparison(
        &mut self,
        target: &Target,
        operator: &str,
        at: usize,
    ) -> Result<Expression, QueryError> {
        let text = match self.take().map(|t| &t.kind) {
            Some(Kind::Word(word)) => word.clone(),
            Some(Kind::Text(text)) => text.clone(),
            _ => {
                return Err(QueryError::new(
                    at,
                    format!("a value must follow {operator}"),
                ));
            }
        };
        let limit = Some(Limit {
            text,
            is_inclusive: operator.ends_with('='),
            at,
        });
        let condition = match operator.starts_with('>') {
            true => Condition::Range(limit, None),
            false => Condition::Range(None, limit),
        };
        Ok(Expression::Match(target.clone(), condition, at))
    }

    fn range(
        &mut self,
        target: &Target,
        is_inclusive: bool,
        at: usize,
    ) -> Result<Expression, QueryError> {
        const FORM: &str = "a range is written [400 TO 499]";
        let lower = self.limit(is_inclusive)?;
        let to = self.take();
        if !to.is_some_and(|t| t.kind == Kind::Word("TO".into())) {
            return Err(QueryError::new(to.map_or(self.end, |t| t.at), FORM));
        }
        let mut upper = self.limit(true)?;
        let close = self.take();
        match close.map(|t| &t.kind) {
            Some(Kind::RangeClose(is_inclusive)) => {
                if let Some(upper) = &mut upper {
                    upper.is_inclusive = *is_inclusive;
                }
            }
            _ => return Err(QueryError::new(close.map_or(self.end, |t| t.at), FORM)),
        }
        Ok(Expression::Match(
            target.clone(),
            Condition::Range(lower, upper),
            at,
        ))
    }

    /// A bound of a range; `*` is none.
    fn limit(&mut self, is_inclusive: bool) -> Result<Option<Limit>, QueryError> {
        let token = self.take();
        let at = token.map_or(self.end, |t| t.at);
        match token.map(|t| &t.kind) {
            Some(Kind::Word(word)) if word == "*" => Ok(None),
            Some(Kind::Word(text) | Kind::Text(text)) => Ok(Some(Limit {
                text: text.clone(),
                is_inclusive,
                at,
            })),
            _ => Err(QueryError::new(at, "a range is written [400 TO 499]")),
        }
    }
}

/// What a name before a colon stands for.
fn target_of(name: &str) -> Result<Target, String> {
    if let Some((row, _)) = fields::find(name) {
        return Ok(Target::Row(row));
    }
    let (head, rest) = name.split_once('.').unwrap_or((name, ""));
    for member in ["requestObject", "responseObject"] {
        if !head.eq_ignore_ascii_case(member) {
            continue;
        }
        let path: Vec<String> = rest.split('.').map(str::to_string).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!(
                "a path must follow {member}., as in {member}.spec.replicas"
            ));
        }
        return Ok(Target::Body(member, path));
    }
    match fields::find(head) {
        Some((_, row)) if row.name == "latency" && !rest.is_empty() => {
            Ok(Target::Stage(rest.to_string()))
        }
        _ => Err(unknown_field(name)),
    }
}

/// How far a name may be from the one that was meant.
const STEPS_MAX: usize = 2;

fn unknown_field(name: &str) -> String {
    let lower = name.to_lowercase();
    let length = lower.chars().count();
    let near = FIELDS
        .iter()
        .flat_map(|r| std::iter::once(&r.name).chain(r.aliases))
        .filter(|n| n.len().abs_diff(length) <= STEPS_MAX)
        .map(|n| (distance(&lower, &n.to_lowercase()), n))
        .min();
    match near {
        Some((steps, near)) if steps <= STEPS_MAX && steps < length => {
            format!("unknown field \"{name}\", did you mean \"{near}\"?")
        }
        _ => {
            let names: Vec<&str> = FIELDS.iter().map(|r| r.name).collect();
            format!("unknown field \"{name}\"; fields are {}", names.join(", "))
        }
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
