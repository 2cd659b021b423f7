//! Label and field selectors: parsing with upstream's error texts, and matching.
//!
//! Grammar and texts are apimachinery's `labels.Parse` and `fields.ParseSelector`
//! (contract/verbs.md §11). Matching works on borrowed strings; nothing is allocated.

use std::borrow::Cow;

use crate::api::field::go_quote;
use crate::base::tree::Value;

/// Operator of a label requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `k=v`, `k==v`, `k in (…)`.
    In,
    /// `k!=v`, `k notin (…)`; also matches objects without the key.
    NotIn,
    /// `k`.
    Exists,
    /// `!k`.
    DoesNotExist,
    /// `k>1`.
    GreaterThan,
    /// `k<1`.
    LessThan,
}

/// One label requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// Operator.
    pub operator: Operator,
    /// Values; one integer for `>` and `<`.
    pub values: Vec<String>,
}

/// A conjunction of label requirements; empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// The requirements.
    pub requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Parses a `labelSelector` query value.
    pub fn parse(text: &str) -> Result<Self, String> {
        Parser {
            tokens: lex(text),
            at: 0,
        }
        .selector()
    }

    /// The selector of a `LabelSelector` object (`matchLabels`, `matchExpressions`).
    ///
    /// # Errors
    /// An operator is unknown; validation lets none through.
    pub fn from_object(object: &Value) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for (key, value) in object["matchLabels"].as_object().into_iter().flatten() {
            requirements.push(Requirement {
                key: key.to_string(),
                operator: Operator::In,
                values: vec![value.as_str().unwrap_or_default().to_string()],
            });
        }
        let expressions = object["matchExpressions"].as_array();
        for expression in expressions.into_iter().flatten() {
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(format!(
                        "{} is not a valid label selector operator",
                        go_quote(other)
                    ));
                }
            };
            let values = expression["values"].as_array().into_iter().flatten();
            requirements.push(Requirement {
                key: expression["key"].as_str().unwrap_or_default().to_string(),
                operator,
                values: values
                    .filter_map(|v| v.as_str().map(str::to_string))
                    .collect(),
            });
        }
        Ok(LabelSelector { requirements })
    }

    /// Whether an object with these `metadata.labels` matches.
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.matches(|key| labels.get(key).and_then(Value::as_str))
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object whose label values `get` answers matches.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|r| r.matches(get(&r.key)))
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        match self.operator {
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::In => value.is_some_and(|v| self.values.iter().any(|w| w == v)),
            Operator::NotIn => value.is_none_or(|v| self.values.iter().all(|w| w != v)),
            Operator::GreaterThan => self.compare(value, |have, want| have > want),
            Operator::LessThan => self.compare(value, |have, want| have < want),
        }
    }

    fn compare(&self, value: Option<&str>, test: fn(i64, i64) -> bool) -> bool {
        let have = value.and_then(|v| v.parse().ok());
        let want = self.values.first().and_then(|v| v.parse().ok());
        matches!((have, want), (Some(have), Some(want)) if test(have, want))
    }

    fn check(&self) -> Result<(), String> {
        if matches!(self.operator, Operator::GreaterThan | Operator::LessThan) {
            for value in &self.values {
                if value.parse::<i64>().is_err() {
                    return Err(format!(
                        "values[0]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer",
                        go_quote(value)
                    ));
                }
            }
        }
        for (index, value) in self.values.iter().enumerate() {
            let problems = label_value_problems(value);
            if !problems.is_empty() {
                return Err(format!(
                    "values[{index}][{}]: Invalid value: {}: {}",
                    self.key,
                    go_quote(value),
                    problems.join("; ")
                ));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Identifier,
    OpenParenthesis,
    ClosedParenthesis,
    Comma,
    Not,
    NotEquals,
    Equals,
    DoubleEquals,
    GreaterThan,
    LessThan,
    End,
}

fn lex(text: &str) -> Vec<(Token, &str)> {
    let special = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = rest.chars().next() else {
            break;
        };
        let (token, length) = if special(first) {
            match (first, rest.as_bytes().get(1)) {
                ('=', Some(b'=')) => (Token::DoubleEquals, 2),
                ('!', Some(b'=')) => (Token::NotEquals, 2),
                ('=', _) => (Token::Equals, 1),
                ('!', _) => (Token::Not, 1),
                ('(', _) => (Token::OpenParenthesis, 1),
                (')', _) => (Token::ClosedParenthesis, 1),
                (',', _) => (Token::Comma, 1),
                ('>', _) => (Token::GreaterThan, 1),
                _ => (Token::LessThan, 1),
            }
        } else {
            let end = rest.find(|c: char| special(c) || matches!(c, ' ' | '\t' | '\r' | '\n'));
            (Token::Identifier, end.unwrap_or(rest.len()))
        };
        tokens.push((token, &rest[..length]));
        rest = &rest[length..];
    }
    tokens.push((Token::End, ""));
    tokens
}

struct Parser<'a> {
    tokens: Vec<(Token, &'a str)>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> (Token, &'a str) {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> (Token, &'a str) {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn selector(mut self) -> Result<LabelSelector, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                (Token::Identifier | Token::Not, _) => {
                    let requirement = self
                        .requirement()
                        .map_err(|e| format!("unable to parse requirement: {e}"))?;
                    requirements.push(requirement);
                    match self.next() {
                        (Token::End, _) => break,
                        (Token::Comma, _) => {
                            let (token, literal) = self.peek();
                            if !matches!(token, Token::Identifier | Token::Not) {
                                return Err(format!(
                                    "found '{literal}', expected: identifier after ','"
                                ));
                            }
                        }
                        (_, literal) => {
                            return Err(format!(
                                "found '{literal}', expected: ',' or 'end of string'"
                            ));
                        }
                    }
                }
                (Token::End, _) => break,
                (_, literal) => {
                    return Err(format!(
                        "found '{literal}', expected: !, identifier, or 'end of string'"
                    ));
                }
            }
        }
        Ok(LabelSelector { requirements })
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut operator = None;
        let (mut token, mut literal) = self.next();
        if token == Token::Not {
            operator = Some(Operator::DoesNotExist);
            (token, literal) = self.next();
        }
        if token != Token::Identifier {
            return Err(format!("found '{literal}', expected: identifier"));
        }
        let problems = qualified_name_problems(literal);
        if !problems.is_empty() {
            return Err(format!(
                "<nil>: Invalid value: {}: {}",
                go_quote(literal),
                problems.join("; ")
            ));
        }
        if operator.is_none() && matches!(self.peek().0, Token::End | Token::Comma) {
            operator = Some(Operator::Exists);
        }
        let key = literal.to_string();
        if let Some(operator) = operator {
            return Ok(Requirement {
                key,
                operator,
                values: Vec::new(),
            });
        }
        let (operator, exact) = self.operator()?;
        let values = if exact {
            self.exact_value()?
        } else {
            self.values()?
        };
        let requirement = Requirement {
            key,
            operator,
            values,
        };
        requirement.check()?;
        Ok(requirement)
    }

    fn operator(&mut self) -> Result<(Operator, bool), String> {
        Ok(match self.next() {
            (Token::Identifier, "in") => (Operator::In, false),
            (Token::Identifier, "notin") => (Operator::NotIn, false),
            (Token::Equals | Token::DoubleEquals, _) => (Operator::In, true),
            (Token::NotEquals, _) => (Operator::NotIn, true),
            (Token::GreaterThan, _) => (Operator::GreaterThan, true),
            (Token::LessThan, _) => (Operator::LessThan, true),
            (_, literal) => {
                return Err(format!(
                    "found '{literal}', expected: in, notin, =, ==, !=, gt, lt"
                ));
            }
        })
    }

    fn exact_value(&mut self) -> Result<Vec<String>, String> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(vec![String::new()]);
        }
        match self.next() {
            (Token::Identifier, literal) => Ok(vec![literal.to_string()]),
            (_, literal) => Err(format!("found '{literal}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let (token, literal) = self.next();
        if token != Token::OpenParenthesis {
            return Err(format!("found '{literal}' expected: '('"));
        }
        match self.peek() {
            (Token::ClosedParenthesis, _) => {
                self.next();
                Ok(vec![String::new()])
            }
            (Token::Identifier | Token::Comma, _) => {
                let values = self.value_list()?;
                match self.next() {
                    (Token::ClosedParenthesis, _) => Ok(values),
                    (_, literal) => Err(format!("found '{literal}', expected: ')'")),
                }
            }
            (_, literal) => Err(format!(
                "found '{literal}', expected: ',', ')' or identifier"
            )),
        }
    }

    fn value_list(&mut self) -> Result<Vec<String>, String> {
        let mut values: Vec<String> = Vec::new();
        let add = |values: &mut Vec<String>, value: &str| {
            if !values.iter().any(|v| v == value) {
                values.push(value.to_string());
            }
        };
        loop {
            match self.next() {
                (Token::Identifier, literal) => {
                    add(&mut values, literal);
                    match self.peek() {
                        (Token::Comma, _) => {}
                        (Token::ClosedParenthesis, _) => return Ok(values),
                        (_, literal) => {
                            return Err(format!("found '{literal}', expected: ',' or ')'"));
                        }
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        add(&mut values, "");
                    }
                    match self.peek() {
                        (Token::ClosedParenthesis, _) => {
                            add(&mut values, "");
                            return Ok(values);
                        }
                        (Token::Comma, _) => {
                            self.next();
                            add(&mut values, "");
                        }
                        _ => {}
                    }
                }
                (_, literal) => {
                    return Err(format!("found '{literal}', expected: ',', or identifier"));
                }
            }
        }
    }
}

const QUALIFIED_NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter()
        .all(|b| b.is_some_and(u8::is_ascii_alphanumeric))
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_subdomain(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|label| {
            let bytes = label.as_bytes();
            let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            bytes.first().is_some_and(plain)
                && bytes.last().is_some_and(plain)
                && bytes.iter().all(|b| plain(b) || *b == b'-')
        })
}

/// What is wrong with a label key, in upstream's words; empty when it is valid.
pub fn qualified_name_problems(key: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_string());
            } else {
                if prefix.len() > 253 {
                    problems.push("prefix part must be no more than 253 bytes".to_string());
                }
                if !is_subdomain(prefix) {
                    problems.push(format!("prefix part {SUBDOMAIN}"));
                }
            }
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {QUALIFIED_NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_string());
    } else if name.len() > 63 {
        problems.push("name part must be no more than 63 bytes".to_string());
    }
    if !is_name_part(name) {
        problems.push(format!("name part {QUALIFIED_NAME}"));
    }
    problems
}

/// What is wrong with a label value, in upstream's words; empty when it is valid.
pub fn label_value_problems(value: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if value.len() > 63 {
        problems.push("must be no more than 63 bytes".to_string());
    }
    if !value.is_empty() && !is_name_part(value) {
        problems.push(LABEL_VALUE.to_string());
    }
    problems
}

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    /// Field label as the client wrote it.
    pub field: String,
    /// Value to compare with.
    pub value: String,
    /// `!=` instead of `=`.
    pub negated: bool,
}

/// A conjunction of field terms; empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The terms.
    pub terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// Parses a `fieldSelector` query value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for part in split_unescaped(text) {
            if part.is_empty() {
                continue;
            }
            let (field, value, negated) = split_term(part)
                .ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{part}'"))?;
            let value = unescape(value)?;
            if field.is_empty() && value.is_empty() {
                continue;
            }
            terms.push(FieldTerm {
                field: field.to_string(),
                value: value.into_owned(),
                negated,
            });
        }
        Ok(FieldSelector { terms })
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that `field` must equal, if the selector says so.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|t| !t.negated && t.field == field)
            .map(|t| t.value.as_str())
    }

    /// Whether an object whose field values `get` answers matches.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Cow<'a, str>) -> bool {
        self.terms
            .iter()
            .all(|t| (get(&t.field) == t.value) != t.negated)
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split_term(term: &str) -> Option<(&str, &str, bool)> {
    (0..term.len())
        .filter(|i| term.is_char_boundary(*i))
        .find_map(|i| {
            let rest = &term[i..];
            let found = [("!=", true), ("==", false), ("=", false)];
            let (operator, negated) = found
                .iter()
                .find(|(operator, _)| rest.starts_with(operator))?;
            Some((&term[..i], &rest[operator.len()..], *negated))
        })
}

fn unescape(value: &str) -> Result<Cow<'_, str>, String> {
    if !value.contains(['\\', ',', '=']) {
        return Ok(Cow::Borrowed(value));
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => {
                    return Err(format!(
                        "invalid field selector: invalid escape sequence: \\{c}"
                    ));
                }
                None => return Err("invalid field selector: invalid escape sequence: \\".into()),
            },
            ',' | '=' => {
                return Err(format!(
                    "invalid field selector: unescaped character in value: {c}"
                ));
            }
            c => out.push(c),
        }
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selector_errors() {
        for (text, error) in [
            (
                "==",
                "found '==', expected: !, identifier, or 'end of string'",
            ),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "app in (a",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            ("app=a,", "found '', expected: identifier after ','"),
            ("app=a b", "found 'b', expected: ',' or 'end of string'"),
            (
                "app===a",
                "unable to parse requirement: found '=', expected: identifier",
            ),
            (
                "app in a",
                "unable to parse requirement: found 'a' expected: '('",
            ),
            (
                "!",
                "unable to parse requirement: found '', expected: identifier",
            ),
        ] {
            assert_eq!(LabelSelector::parse(text), Err(error.to_string()), "{text}");
        }
    }

    #[test]
    fn label_selector_matches() {
        let labels = [("app", "a"), ("tier", "2")];
        let get = |key: &str| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        for (text, want) in [
            ("app=a", true),
            ("app!=a", false),
            ("zone!=x", true),
            ("app in (a,b),tier>1", true),
            ("tier<2", false),
            ("app notin ()", true),
            ("app in ()", false),
            ("!app", false),
            ("in", false),
            ("", true),
        ] {
            let selector = LabelSelector::parse(text).expect("a valid selector");
            assert_eq!(selector.matches(get), want, "{text}");
        }
    }

    #[test]
    fn field_selectors() {
        let selector =
            FieldSelector::parse("metadata.name=a,status.phase!=Running").expect("valid");
        assert_eq!(selector.required("metadata.name"), Some("a"));
        assert!(selector.matches(|f| Cow::Borrowed(if f == "metadata.name" { "a" } else { "" })));
        assert_eq!(
            FieldSelector::parse("a"),
            Err("invalid selector: 'a'; can't understand 'a'".to_string())
        );
        assert!(FieldSelector::parse("=").expect("valid").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_label_selector_panics(text in "([a-z]{1,3}|/|=|==|!=|!|<|>| in | notin |exists|\\(|\\)|,| |[0-9]|é|.){0,20}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                let _ = selector.matches(|key| (key == "a").then_some("1"));
            }
        }

        #[test]
        fn no_field_selector_panics(text in r"([a-z.]{1,3}|=|==|!=|,|\\| |é|.){0,20}") {
            if let Ok(selector) = FieldSelector::parse(&text) {
                let _ = selector.matches(|_| "1".into());
            }
        }
    }
}
