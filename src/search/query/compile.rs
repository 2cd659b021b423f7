//! An expression to a tantivy query.

use std::ops::Bound;

use chrono::Utc;
use tantivy::Term;
use tantivy::query::{
    AllQuery, BooleanQuery, ConstScoreQuery, ExistsQuery, Occur, Query, RangeQuery, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};

use crate::search::document::{first_key, unique};
use crate::search::fields::{FIELDS, FieldKind, Fields};
use crate::search::query::body::{BodyCheck, PhraseCheck};
use crate::search::query::column::{ColumnQuery, Wanted};
use crate::search::query::filtered::FilteredQuery;
use crate::search::query::glob::{Glob, GlobQuery};
use crate::search::query::pipeline::StageQuery;
use crate::search::query::{Condition, Expression, Limit, QueryError, Target};
use crate::search::window::{parse_duration, parse_time};
use crate::search::words;

type Compiled = Result<Box<dyn Query>, QueryError>;

pub(super) fn compile(expression: &Expression, fields: &Fields) -> Compiled {
    match expression {
        Expression::All => Ok(Box::new(AllQuery)),
        Expression::And(parts) => many(parts, Occur::Must, fields),
        Expression::Or(parts) => many(parts, Occur::Should, fields),
        Expression::Not(inner) => Ok(not(compile(inner, fields)?)),
        Expression::Match(target, condition, at) => match target {
            Target::Words => free_text(condition, *at, fields),
            Target::Row(row) => match FIELDS[*row].kind {
                FieldKind::Text => free_text(condition, *at, fields),
                FieldKind::Number | FieldKind::Duration => number(*row, condition, *at, fields),
                FieldKind::Unique => unique_id(*row, condition, *at, fields),
                FieldKind::Phrase => phrase(*row, condition, fields),
                FieldKind::Time => time(*row, condition, *at, fields),
                FieldKind::Keyword | FieldKind::Name => keyword(*row, condition, fields),
            },
            Target::Stage(name) => stage(name, condition, *at),
            Target::Body(member, path) => body(member, path, condition, fields),
        },
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
    let (field, kept) = (fields.at(row), &FIELDS[row]);
    let exists = || Box::new(ExistsQuery::new(kept.name.to_string(), false));
    match condition {
        Condition::Text(text) if text.is_empty() && kept.has_column() => return Ok(not(exists())),
        Condition::Word(word) if word == "*" && kept.has_column() => return Ok(exists()),
        _ => {}
    }
    let wanted = Wanted::of(row, condition);
    if !kept.has_terms() {
        return Ok(Box::new(ColumnQuery::new(kept, wanted)));
    }
    Ok(match wanted {
        Wanted::Text(text) => term(Term::from_field_text(field, &text)),
        Wanted::Pattern(glob) => glob_query(field, glob),
        Wanted::Range(lower, upper) => {
            let bound =
                |bound: Bound<String>| bound.map(|text| Term::from_field_text(field, &text));
            Box::new(RangeQuery::new(bound(lower), bound(upper)))
        }
    })
}

/// Values of closed sets may be written in any case.
pub(super) fn in_case(row: usize, text: &str) -> String {
    const NAMES: [&str; 8] = [
        "RequestReceived",
        "ResponseStarted",
        "ResponseComplete",
        "Panic",
        "None",
        "Metadata",
        "Request",
        "RequestResponse",
    ];
    if FIELDS[row].kind != FieldKind::Name {
        return text.to_string();
    }
    if !matches!(FIELDS[row].name, "stage" | "level") {
        return text.to_lowercase();
    }
    match NAMES.iter().find(|n| n.eq_ignore_ascii_case(text)) {
        Some(name) => (*name).to_string(),
        None => text.to_lowercase(),
    }
}

/// A word, with its wildcards read.
pub(super) enum Pattern {
    /// There are none.
    Plain(String),
    /// A pattern for the whole.
    Glob(Glob),
}

/// `*` and `?` are wildcards unless a backslash stands before them.
pub(super) fn wildcard(word: &str) -> Pattern {
    let (mut plain, mut glob) = (String::new(), Glob::new());
    let mut is_pattern = false;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            '*' | '?' => {
                is_pattern = true;
                glob = match c {
                    '*' => glob.any_text(),
                    _ => glob.any_char(),
                };
                continue;
            }
            '\\' => chars.next().unwrap_or('\\'),
            c => c,
        };
        plain.push(literal);
        glob = glob.text(literal.encode_utf8(&mut [0; 4]));
    }
    match is_pattern {
        true => Pattern::Glob(glob),
        false => Pattern::Plain(plain),
    }
}

fn glob_query(field: Field, glob: Glob) -> Box<dyn Query> {
    let query = GlobQuery::new(field, glob);
    Box::new(ConstScoreQuery::new(Box::new(query), 1.0))
}

fn number(row: usize, condition: &Condition, at: usize, fields: &Fields) -> Compiled {
    let field = fields.at(row);
    let parse = |text: &str, at: usize| -> Result<Term, QueryError> {
        Ok(Term::from_field_u64(field, number_of(row, text, at)?))
    };
    match condition {
        Condition::Word(word) if word == "*" => Ok(Box::new(ExistsQuery::new(
            FIELDS[row].name.to_string(),
            false,
        ))),
        Condition::Word(text) | Condition::Text(text) => {
            let (low, high) = match wildcard_hundred(row, text) {
                Some(span) => span,
                None => {
                    let exact = parse(text, at)?;
                    if FIELDS[row].has_terms() {
                        return Ok(term(exact));
                    }
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
            let lower = bound(lower, |l| parse(&l.text, l.at))?;
            let upper = bound(upper, |l| parse(&l.text, l.at))?;
            Ok(between(field, lower, upper))
        }
    }
}

/// A range of numbers, either end of which may be open.
fn between(field: Field, lower: Bound<Term>, upper: Bound<Term>) -> Box<dyn Query> {
    let lower = match (lower, &upper) {
        (Bound::Unbounded, Bound::Unbounded) => Bound::Included(Term::from_field_u64(field, 0)),
        (lower, _) => lower,
    };
    Box::new(RangeQuery::new(lower, upper))
}

fn time(row: usize, condition: &Condition, at: usize, fields: &Fields) -> Compiled {
    let field = fields.at(row);
    let (from, to) = key_span(condition, at)?;
    Ok(between(
        field,
        Bound::Included(Term::from_field_u64(field, from)),
        Bound::Excluded(Term::from_field_u64(field, to)),
    ))
}

/// The sort keys of a time, from and to; `to` is not in it. A point in time is one microsecond, so
/// people write ranges.
pub(super) fn key_span(condition: &Condition, at: usize) -> Result<(u64, u64), QueryError> {
    let now = Utc::now();
    let micros = |text: &str, at: usize| -> Result<u64, QueryError> {
        let time = parse_time(text, now).map_err(|m| QueryError::new(at, m))?;
        Ok(u64::try_from(time.timestamp_micros()).unwrap_or_default())
    };
    Ok(match condition {
        Condition::Word(word) if word == "*" => (0, u64::MAX),
        Condition::Word(text) | Condition::Text(text) => {
            let micros = micros(text, at)?;
            (first_key(micros), first_key(micros + 1))
        }
        Condition::Range(lower, upper) => {
            let from = match lower {
                None => 0,
                Some(l) => first_key(micros(&l.text, l.at)? + u64::from(!l.is_inclusive)),
            };
            let to = match upper {
                None => u64::MAX,
                Some(l) => first_key(micros(&l.text, l.at)? + u64::from(l.is_inclusive)),
            };
            (from, to)
        }
    })
}

/// `latency.store:>100ms`: stages called `store` or `store/…`.
fn stage(name: &str, condition: &Condition, at: usize) -> Compiled {
    let (least, most) = micros_span(condition, at)?;
    Ok(Box::new(StageQuery::new(name, least, most)))
}

/// Durations in microseconds, both ends included.
pub(super) fn micros_span(condition: &Condition, at: usize) -> Result<(u64, u64), QueryError> {
    Ok(match condition {
        Condition::Word(word) if word == "*" => (0, u64::MAX),
        Condition::Word(text) | Condition::Text(text) => {
            let micros = duration(text, at)?;
            (micros, micros)
        }
        Condition::Range(lower, upper) => {
            let least = match lower {
                None => 0,
                Some(l) => duration(&l.text, l.at)?.saturating_add(u64::from(!l.is_inclusive)),
            };
            let most = match upper {
                None => u64::MAX,
                Some(l) => duration(&l.text, l.at)?.saturating_sub(u64::from(!l.is_inclusive)),
            };
            (least, most)
        }
    })
}

/// An identifier that is indexed by its hash.
fn unique_id(row: usize, condition: &Condition, at: usize, fields: &Fields) -> Compiled {
    let text = whole_text(condition, at)?;
    Ok(term(Term::from_field_u64(fields.at(row), unique(&text))))
}

/// The text of a condition that must have no wildcards.
pub(super) fn whole_text(condition: &Condition, at: usize) -> Result<String, QueryError> {
    let problem = || QueryError::new(at, "an audit ID is looked for whole, without wildcards");
    match condition {
        Condition::Text(text) => Ok(text.clone()),
        Condition::Word(word) => match wildcard(word) {
            Pattern::Plain(text) => Ok(text),
            Pattern::Glob(_) => Err(problem()),
        },
        Condition::Range(..) => Err(problem()),
    }
}

/// `uri:/api/v1/*`: events that have the words, or words that hold their pieces, are looked at.
fn phrase(row: usize, condition: &Condition, fields: &Fields) -> Compiled {
    let pieces = match condition {
        Condition::Text(text) => words::of(text).into_iter().map(|w| (w, true)).collect(),
        Condition::Word(word) => pieces(word),
        Condition::Range(..) => Vec::new(),
    };
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
    for (piece, is_whole) in pieces {
        let clause = match is_whole {
            true => term(Term::from_field_text(fields.text, &piece)),
            false => glob_query(fields.text, Glob::new().any_text().text(&piece).any_text()),
        };
        clauses.push((Occur::Must, clause));
    }
    let candidates: Box<dyn Query> = match clauses.is_empty() {
        true => Box::new(AllQuery),
        false => Box::new(BooleanQuery::new(clauses)),
    };
    let check = PhraseCheck::new(fields.event, FIELDS[row].name, condition)?;
    Ok(Box::new(FilteredQuery { candidates, check }))
}

/// The runs of letters and digits in a pattern, and whether each is a whole word.
fn pieces(pattern: &str) -> Vec<(String, bool)> {
    let mut out = Vec::new();
    for part in pattern.split(|c: char| !c.is_alphanumeric() && !matches!(c, '*' | '?')) {
        let is_whole = !part.contains(['*', '?']);
        let runs = part.split(['*', '?']).filter(|run| !run.is_empty());
        out.extend(runs.map(|run| (run.to_lowercase(), is_whole)));
    }
    // Long words are not indexed.
    out.retain(|(piece, _)| piece.len() <= 80);
    out
}

/// A value in a body: events that have all the words are read to see whether it is there.
fn body(member: &'static str, path: &[String], condition: &Condition, fields: &Fields) -> Compiled {
    let mut needed: Vec<String> = path.iter().flat_map(|p| words::of(p)).collect();
    match condition {
        Condition::Text(text) => needed.extend(words::of(text)),
        Condition::Word(word) => {
            if let Pattern::Plain(text) = wildcard(word) {
                needed.extend(words::of(&text));
            }
        }
        Condition::Range(..) => {}
    }
    needed.sort();
    needed.dedup();
    let clauses = needed.iter().map(|word| {
        let term = term(Term::from_field_text(fields.text, word));
        (Occur::Must, term)
    });
    let clauses: Vec<(Occur, Box<dyn Query>)> = clauses.collect();
    let candidates: Box<dyn Query> = match clauses.is_empty() {
        true => Box::new(AllQuery),
        false => Box::new(BooleanQuery::new(clauses)),
    };
    let check = BodyCheck::new(fields.event, member, path, condition)?;
    Ok(Box::new(FilteredQuery { candidates, check }))
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
    let field = fields.text;
    let text = match condition {
        Condition::Text(text) => text,
        Condition::Word(word) => match wildcard(&word.to_lowercase()) {
            Pattern::Glob(_) if word == "*" => return Ok(Box::new(AllQuery)),
            Pattern::Glob(glob) => return Ok(glob_query(field, glob)),
            Pattern::Plain(_) => word,
        },
        Condition::Range(..) => {
            return Err(QueryError::new(
                at,
                "a range needs a field, as in code:[400 TO 499]",
            ));
        }
    };
    let found = words::of(text);
    if found.is_empty() {
        return Err(QueryError::new(at, "there is no word to look for"));
    }
    let clauses = found.iter().map(|word| {
        let word = term(Term::from_field_text(field, word));
        (Occur::Must, word)
    });
    Ok(Box::new(BooleanQuery::new(clauses.collect())))
}
