//! An expression to a tantivy query.

use std::ops::Bound;

use tantivy::Term;
use tantivy::query::{
    AllQuery, BooleanQuery, ConstScoreQuery, Occur, Query, RangeQuery, RegexQuery, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::tokenizer::TokenStream;

use crate::search::fields::{self, FIELDS, FieldKind, Fields};
use crate::search::query::{Condition, Expression, Limit, QueryError};
use crate::search::window::parse_duration;

type Compiled = Result<Box<dyn Query>, QueryError>;

pub(super) fn compile(expression: &Expression, fields: &Fields) -> Compiled {
    match expression {
        Expression::All => Ok(Box::new(AllQuery)),
        Expression::And(parts) => many(parts, Occur::Must, fields),
        Expression::Or(parts) => many(parts, Occur::Should, fields),
        Expression::Not(inner) => Ok(not(compile(inner, fields)?)),
        Expression::Match(row, condition, at) => {
            let row = match row {
                Some(row) if FIELDS[*row].name != "text" => *row,
                _ => return free_text(condition, *at, fields),
            };
            match FIELDS[row].kind {
                FieldKind::Number | FieldKind::Duration => number(row, condition, *at, fields),
                FieldKind::Keyword | FieldKind::Name => keyword(row, condition, fields),
            }
        }
    }
}

fn many(parts: &[Expression], occur: Occur, fields: &Fields) -> Compiled {
    let clauses: Result<Vec<_>, _> = parts
        .iter()
        .map(|p| compile(p, fields).map(|q| (occur, q)))
        .collect();
    Ok(Box::new(BooleanQuery::new(clauses?)))
}

fn not(inner: Box<dyn Query>) -> Box<dyn Query> {
    Box::new(BooleanQuery::new(vec![
        (Occur::Must, Box::new(AllQuery)),
        (Occur::MustNot, inner),
    ]))
}

fn term(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn keyword(row: usize, condition: &Condition, fields: &Fields) -> Compiled {
    let field = fields.at(row);
    match condition {
        Condition::Text(text) => Ok(term(Term::from_field_text(field, &in_case(row, text)))),
        Condition::Word(word) => match wildcard(&in_case(row, word)) {
            Pattern::Plain(text) => Ok(term(Term::from_field_text(field, &text))),
            Pattern::Regex(regex) => regex_query(field, &regex),
        },
        Condition::Range(lower, upper) => {
            let bound = |l: &Option<Limit>| bound(l, |l| Ok(Term::from_field_text(field, &l.text)));
            Ok(Box::new(RangeQuery::new(bound(lower)?, bound(upper)?)))
        }
    }
}

/// Values of closed sets may be written in any case.
pub(super) fn in_case(row: usize, text: &str) -> String {
    const NAMES: [&str; 9] = [
        "RequestReceived",
        "ResponseStarted",
        "ResponseComplete",
        "Panic",
        "None",
        "Metadata",
        "Request",
        "RequestResponse",
        "request",
    ];
    if FIELDS[row].kind != FieldKind::Name {
        return text.to_string();
    }
    if FIELDS[row].name == "type" {
        return text.to_lowercase();
    }
    match NAMES.iter().find(|n| n.eq_ignore_ascii_case(text)) {
        Some(name) => (*name).to_string(),
        None => text.to_lowercase(),
    }
}

pub(super) enum Pattern {
    Plain(String),
    Regex(String),
}

/// `*` and `?` are wildcards unless a backslash stands before them.
pub(super) fn wildcard(word: &str) -> Pattern {
    let (mut plain, mut pattern) = (String::new(), String::new());
    let mut is_pattern = false;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            '*' | '?' => {
                is_pattern = true;
                pattern.push_str(if c == '*' { ".*" } else { "." });
                continue;
            }
            '\\' => chars.next().unwrap_or('\\'),
            c => c,
        };
        plain.push(literal);
        pattern.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
    }
    match is_pattern {
        true => Pattern::Regex(pattern),
        false => Pattern::Plain(plain),
    }
}

fn regex_query(field: Field, pattern: &str) -> Compiled {
    let query = RegexQuery::from_pattern(pattern, field)
        .map_err(|e| QueryError::new(0, format!("the pattern cannot be used: {e}")))?;
    Ok(Box::new(ConstScoreQuery::new(Box::new(query), 1.0)))
}

fn number(row: usize, condition: &Condition, at: usize, fields: &Fields) -> Compiled {
    let field = fields.at(row);
    let parse = |text: &str, at: usize| -> Result<Term, QueryError> {
        Ok(Term::from_field_u64(field, number_of(row, text, at)?))
    };
    match condition {
        Condition::Word(word) if word == "*" => Ok(Box::new(RangeQuery::new(
            Bound::Included(Term::from_field_u64(field, 0)),
            Bound::Unbounded,
        ))),
        Condition::Word(text) | Condition::Text(text) => {
            let (low, high) = match wildcard_hundred(row, text) {
                Some(span) => span,
                None => {
                    let exact = parse(text, at)?;
                    let same = exact.clone();
                    return Ok(Box::new(RangeQuery::new(
                        Bound::Included(exact),
                        Bound::Included(same),
                    )));
                }
            };
            Ok(Box::new(RangeQuery::new(
                Bound::Included(Term::from_field_u64(field, low)),
                Bound::Excluded(Term::from_field_u64(field, high)),
            )))
        }
        Condition::Range(lower, upper) => {
            let mut lower = bound(lower, |l| parse(&l.text, l.at))?;
            let upper = bound(upper, |l| parse(&l.text, l.at))?;
            if matches!((&lower, &upper), (Bound::Unbounded, Bound::Unbounded)) {
                lower = Bound::Included(Term::from_field_u64(field, 0));
            }
            Ok(Box::new(RangeQuery::new(lower, upper)))
        }
    }
}

/// A number, or a duration in microseconds, as the row has it.
pub(super) fn number_of(row: usize, text: &str, at: usize) -> Result<u64, QueryError> {
    match FIELDS[row].kind {
        FieldKind::Duration => duration(text, at),
        _ => text
            .parse::<u64>()
            .map_err(|_| QueryError::new(at, format!("{text:?} is not a number"))),
    }
}

/// `4xx` and `4*` for status codes.
pub(super) fn wildcard_hundred(row: usize, text: &str) -> Option<(u64, u64)> {
    if FIELDS[row].name != "code" {
        return None;
    }
    let rest = text.strip_suffix("xx").or_else(|| text.strip_suffix('*'))?;
    let hundred: u64 = rest.parse().ok().filter(|h| *h < 10)?;
    Some((hundred * 100, (hundred + 1) * 100))
}

fn duration(text: &str, at: usize) -> Result<u64, QueryError> {
    let parsed = parse_duration(text).and_then(|d| u64::try_from(d.num_microseconds()?).ok());
    parsed.ok_or_else(|| {
        QueryError::new(
            at,
            format!("{text:?} is not a duration: add a unit, as in 500ms, 2s or 1m"),
        )
    })
}

fn bound(
    limit: &Option<Limit>,
    term: impl Fn(&Limit) -> Result<Term, QueryError>,
) -> Result<Bound<Term>, QueryError> {
    Ok(match limit {
        None => Bound::Unbounded,
        Some(limit) if limit.is_inclusive => Bound::Included(term(limit)?),
        Some(limit) => Bound::Excluded(term(limit)?),
    })
}

/// All words must be in the event; a word with wildcards is a pattern for one word.
fn free_text(condition: &Condition, at: usize, fields: &Fields) -> Compiled {
    let field = fields.get("text");
    let text = match condition {
        Condition::Text(text) => text,
        Condition::Word(word) => match wildcard(&word.to_lowercase()) {
            Pattern::Regex(_) if word == "*" => return Ok(Box::new(AllQuery)),
            Pattern::Regex(regex) => return regex_query(field, &regex),
            Pattern::Plain(_) => word,
        },
        Condition::Range(..) => {
            return Err(QueryError::new(
                at,
                "a range needs a field, as in code:[400 TO 499]",
            ));
        }
    };
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
    let mut analyzer = fields::words();
    let mut stream = analyzer.token_stream(text);
    while stream.advance() {
        let word = Term::from_field_text(field, &stream.token().text);
        clauses.push((Occur::Must, term(word)));
    }
    if clauses.is_empty() {
        return Err(QueryError::new(at, "there is no word to look for"));
    }
    Ok(Box::new(BooleanQuery::new(clauses)))
}
