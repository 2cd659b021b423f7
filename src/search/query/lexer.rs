//! Query text to tokens.

use crate::search::query::QueryError;

/// A token and the character it begins at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// `name:`, directly before a value.
    Field(String),
    Word(String),
    Text(String),
    Compare(&'static str),
    Open,
    Close,
    RangeOpen(bool),
    RangeClose(bool),
    And,
    Or,
    Not,
}

impl Token {
    /// Whether it is a word with wildcards that is too long to look for.
    pub(super) fn is_costly(&self) -> bool {
        let Kind::Word(word) = &self.kind else {
            return false;
        };
        word.contains(['*', '?']) && word.chars().nth(super::WILDCARD_CHARS_MAX).is_some()
    }
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut in_range = false;
    while at < chars.len() {
        let start = at;
        let after_field = matches!(
            tokens.last(),
            Some(Token {
                kind: Kind::Field(_) | Kind::Compare(_),
                at: _
            })
        ) && !chars[at].is_whitespace();
        let kind = match chars[at] {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '(' => single(&mut at, Kind::Open),
            ')' => single(&mut at, Kind::Close),
            '[' | '{' => {
                in_range = true;
                let is_inclusive = chars[at] == '[';
                single(&mut at, Kind::RangeOpen(is_inclusive))
            }
            ']' | '}' if in_range => {
                in_range = false;
                let is_inclusive = chars[at] == ']';
                single(&mut at, Kind::RangeClose(is_inclusive))
            }
            '"' => Kind::Text(quoted(&chars, &mut at)?),
            '>' | '<' if after_field => {
                let is_or_equal = chars.get(at + 1) == Some(&'=');
                let kind = match (chars[at], is_or_equal) {
                    ('>', true) => ">=",
                    ('>', false) => ">",
                    (_, true) => "<=",
                    (_, false) => "<",
                };
                at += kind.len();
                Kind::Compare(kind)
            }
            '-' | '!'
                if !after_field
                    && !in_range
                    && chars.get(at + 1).is_some_and(|c| !c.is_whitespace()) =>
            {
                single(&mut at, Kind::Not)
            }
            _ => word(&chars, &mut at, after_field || in_range, in_range),
        };
        tokens.push(Token { kind, at: start });
    }
    Ok(tokens)
}

fn single(at: &mut usize, kind: Kind) -> Kind {
    *at += 1;
    kind
}

fn quoted(chars: &[char], at: &mut usize) -> Result<String, QueryError> {
    let start = *at;
    let mut out = String::new();
    *at += 1;
    loop {
        match chars.get(*at) {
            None => return Err(QueryError::new(start, "the quote is never closed")),
            Some('"') => {
                *at += 1;
                return Ok(out);
            }
            Some('\\') if chars.get(*at + 1).is_some_and(|c| matches!(c, '"' | '\\')) => {
                out.push(chars[*at + 1]);
                *at += 2;
            }
            Some(c) => {
                out.push(*c);
                *at += 1;
            }
        }
    }
}

/// A word, which ends at white space or a parenthesis. Before a value a `name:` is split off; a
/// value itself may hold colons (`system:serviceaccount:ns:name`).
fn word(chars: &[char], at: &mut usize, is_value: bool, in_range: bool) -> Kind {
    let mut out = String::new();
    while let Some(&c) = chars.get(*at) {
        let ends_range = in_range && matches!(c, ']' | '}');
        if c.is_whitespace() || matches!(c, '(' | ')') || ends_range {
            break;
        }
        *at += 1;
        if c == ':' && !is_value && is_name(&out) {
            return Kind::Field(out);
        }
        if c == '\\' && chars.get(*at).is_some() {
            out.push('\\');
            out.push(chars[*at]);
            *at += 1;
            continue;
        }
        out.push(c);
    }
    match out.as_str() {
        "AND" | "&&" if !is_value => Kind::And,
        "OR" | "||" if !is_value => Kind::Or,
        "NOT" if !is_value => Kind::Not,
        _ => Kind::Word(out),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(char::is_alphanumeric)
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'))
}
