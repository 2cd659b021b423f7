//! The query language: `user:alice verb:delete code:>=400 "text"`.
//!
//! Words side by side are ANDed. `field:value`, quotes, `*` and `?`, `>`, `>=`, `<`, `<=`,
//! `[a TO b]` (inclusive), `{a TO b}` (exclusive), AND, OR, NOT (or `-`), parentheses, also after a
//! field. What has no field is looked for as words anywhere in the event, bodies included.
//! `latency.store:>100ms` asks for one stage of the pipeline, `requestObject.spec.replicas:3` for a
//! value in a body.

mod body;
mod column;
mod compile;
mod filtered;
mod glob;
mod lexer;
mod matches;
mod parser;
mod pipeline;

use std::fmt;

use tantivy::query::Query as TantivyQuery;

use crate::search::fields::Fields;

pub(super) use column::{Ords, ords_of};
pub use matches::Matcher;

/// What is wrong with a query, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct QueryError {
    /// Character (not byte) in the query, from zero.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

impl QueryError {
    /// The query and a caret under the character that is wrong, for a terminal.
    pub fn caret(&self, query: &str) -> String {
        let wide = |c: char| if c == '\t' { '\t' } else { ' ' };
        let blanks: String = query.chars().take(self.at).map(wide).collect();
        format!("{}\n{blanks}^ {}", query.replace('\n', " "), self.message)
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query: at character {}: {}", self.at + 1, self.message)
    }
}

impl QueryError {
    fn new(at: usize, message: impl Into<String>) -> Self {
        QueryError {
            at,
            message: message.into(),
        }
    }
}

/// A parsed query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query(Expression);

#[derive(Clone, Debug, PartialEq)]
enum Expression {
    All,
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    Match(Target, Condition, usize),
}

/// What a condition is about.
#[derive(Clone, Debug, PartialEq)]
enum Target {
    /// Words anywhere.
    Words,
    /// A row of the field table.
    Row(usize),
    /// The duration of a stage of the pipeline.
    Stage(String),
    /// A value in a body: the member of the event, and the way from there.
    Body(&'static str, Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
enum Condition {
    /// A bare word; may hold wildcards.
    Word(String),
    /// A quoted text.
    Text(String),
    /// Lower and upper bound, each inclusive or not.
    Range(Option<Limit>, Option<Limit>),
}

#[derive(Clone, Debug, PartialEq)]
struct Limit {
    text: String,
    is_inclusive: bool,
    at: usize,
}

/// Longest query that is taken.
const QUERY_CHARS_MAX: usize = 8_192;
/// Longest word with wildcards: each byte of each term is held against all of it.
const WILDCARD_CHARS_MAX: usize = 256;

/// Parses a query; the empty one finds everything.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    if text.chars().nth(QUERY_CHARS_MAX).is_some() {
        let why = format!("a query may have at most {QUERY_CHARS_MAX} characters");
        return Err(QueryError::new(QUERY_CHARS_MAX, why));
    }
    let tokens = lexer::tokens(text)?;
    if let Some(long) = tokens.iter().find(|token| token.is_costly()) {
        let why = format!("a word with wildcards may have at most {WILDCARD_CHARS_MAX} characters");
        return Err(QueryError::new(long.at, why));
    }
    parser::parse(&tokens, text.chars().count()).map(Query)
}

impl Query {
    /// Makes a tantivy query of it.
    pub fn compile(&self, fields: &Fields) -> Result<Box<dyn TantivyQuery>, QueryError> {
        compile::compile(&self.0, fields)
    }

    /// Makes something of it that can be asked of single documents.
    pub fn matcher(&self, fields: &Fields) -> Result<Matcher, QueryError> {
        Matcher::new(&self.0, fields)
    }
}

/// Finds what is wrong with a query without an index, compilation included.
pub fn check(text: &str) -> Result<(), QueryError> {
    parse(text)?.compile(&Fields::new()).map(drop)
}

/// A text as it stands in quotes.
pub fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_point_at_the_character() {
        let fields = Fields::new();
        for (text, at, message) in [
            (
                "usr:alice",
                0,
                "unknown field \"usr\", did you mean \"user\"?",
            ),
            ("user:alice AND", 14, "something must follow AND"),
            ("(user:alice", 0, "the parenthesis is never closed"),
            ("user:alice)", 10, "there is no parenthesis to close"),
            ("user:\"ali", 5, "the quote is never closed"),
            ("code:[400 499]", 10, "a range is written [400 TO 499]"),
            ("code:abc", 5, "\"abc\" is not a number"),
            (
                "latency:>500",
                8,
                "\"500\" is not a duration: add a unit, as in 500ms, 2s or 1m",
            ),
            ("user:", 5, "a value must follow user:"),
            ("verb:get OR OR x", 12, "something must stand before OR"),
            (
                "zzz:1",
                0,
                "unknown field \"zzz\"; fields are auditID, user, ",
            ),
            ("time:>yesterday", 5, "\"yesterday\" is not a time"),
            ("latency.store:>5", 14, "\"5\" is not a duration"),
            ("requestObject.:1", 0, "a path must follow requestObject."),
            ("user:[a* TO b] -code:4z", 21, "\"4z\" is not a number"),
        ] {
            let error = parse(text)
                .and_then(|q| q.compile(&fields).map(drop))
                .expect_err(text);
            assert_eq!(error.at, at, "{text}: {error}");
            assert!(error.message.starts_with(message), "{text}: {error}");
        }
    }

    #[test]
    fn carets() {
        let error = parse("user:alice AND").expect_err("is incomplete");
        assert_eq!(
            error.caret("user:alice AND"),
            "user:alice AND\n              ^ something must follow AND"
        );
    }

    #[test]
    fn precedence() {
        let fields = Fields::new();
        let print = |text: &str| {
            let query = parse(text).expect(text).compile(&fields).expect(text);
            format!("{query:?}")
        };
        assert_eq!(
            print("verb:a verb:b OR verb:c"),
            print("(verb:a AND verb:b) OR verb:c")
        );
        assert_eq!(print("verb:(a OR b)"), print("verb:a OR verb:b"));
        assert_eq!(print("-verb:a"), print("NOT verb:a"));
        assert_eq!(print("code:>=400"), print("code:[400 TO *]"));
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(text in r#"(user|verb|code|:|>=|<|\[|\]| TO |\(|\)|AND | OR |NOT |-|"|\\\\|\*|~|/|[a-z0-9é]|.){0,30}"#) {
            let _ = parse(&text);
        }

        #[test]
        fn quoted_words_are_one_word(text in ".{0,20}") {
            let quoted = parse(&format!("user:{}", quote(&text)));
            proptest::prop_assert!(quoted.is_ok() || text.trim().is_empty(), "{quoted:?}");
        }
    }
}
