//! Strings: standard functions, the strings extension, regular expressions.

use std::sync::Arc;

use regex::Regex;

use super::super::eval::{EvalError, Outcome, no_overload};
use super::super::value::Val;
use super::convert::{print, print_double};
use crate::api::field::go_quote;

/// Bytes of compiled form that a regular expression may have.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Elements of a list that `format` prints.
const FORMAT_DEPTH_MAX: usize = 16;

fn regex(pattern: &str) -> Result<Regex, EvalError> {
    regex::RegexBuilder::new(&of_re2(pattern))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| {
            tracing::debug!(%error, pattern, "a regular expression of an expression");
            EvalError::failed(format!(
                "error parsing regexp: {}",
                error.to_string().lines().last().unwrap_or_default()
            ))
        })
}

/// A pattern of RE2 as our engine reads it: classes of one letter are ASCII there, and `[`, `&` and `~`
/// in a class are characters like any other.
fn of_re2(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut is_in_class = false;
    while let Some(c) = chars.next() {
        match (c, is_in_class) {
            ('\\', _) => match chars.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str(r"[\t\n\f\r ]"),
                Some('S') => out.push_str(r"[^\t\n\f\r ]"),
                Some(edge @ ('b' | 'B')) if !is_in_class => {
                    out.push_str(r"(?-u:\");
                    out.push(edge);
                    out.push(')');
                }
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            ('[', false) => {
                is_in_class = true;
                out.push('[');
                // A bracket right at the start is a member of the class.
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str(r"\]");
                }
            }
            ('[', true) if chars.peek() == Some(&':') => {
                out.push('[');
                // A named class, `[:alpha:]`.
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            ('[' | '&' | '~', true) => out.extend(['\\', c]),
            (']', true) => {
                is_in_class = false;
                out.push(']');
            }
            _ => out.push(c),
        }
    }
    out
}

/// What is wrong with a regular expression.
pub(in crate::api::cel) fn regex_problem(pattern: &str) -> Option<String> {
    regex(pattern).err().map(|error| error.to_string())
}

/// Calls a function of strings; `None` when it is none.
pub(super) fn call<'a>(name: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
    if name == "join" {
        return join(arguments);
    }
    let (first, rest) = arguments.split_first()?;
    let text = first.as_str()?;
    if let Some(found) = standard(name, text, rest) {
        return Some(found);
    }
    let strings = |list: Vec<String>| {
        let items = list.into_iter().map(Val::text);
        Ok(Val::List(Arc::new(items.collect())))
    };
    Some(match (name, rest) {
        ("jsonpatch.escapeKey", []) => Ok(Val::text(text.replace('~', "~0").replace('/', "~1"))),
        ("lowerAscii", []) => Ok(Val::text(text.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Val::text(text.to_ascii_uppercase())),
        ("trim", []) => Ok(Val::text(text.trim())),
        ("strings.quote", []) => Ok(Val::text(go_quote(text))),
        ("charAt", [Val::Int(at)]) => char_at(text, *at),
        ("indexOf", [Val::Str(part)]) => find_from(text, part.as_str(), 0),
        ("indexOf", [Val::Str(part), Val::Int(from)]) => find_from(text, part.as_str(), *from),
        ("lastIndexOf", [Val::Str(part)]) => find_last(text, part.as_str(), None),
        ("lastIndexOf", [Val::Str(part), Val::Int(from)]) => {
            find_last(text, part.as_str(), Some(*from))
        }
        ("substring", [Val::Int(from)]) => substring(text, *from, None),
        ("substring", [Val::Int(from), Val::Int(to)]) => substring(text, *from, Some(*to)),
        ("replace", [Val::Str(old), Val::Str(new)]) => {
            Ok(Val::text(text.replace(old.as_str(), new.as_str())))
        }
        ("replace", [Val::Str(old), Val::Str(new), Val::Int(n)]) => match usize::try_from(*n) {
            Ok(n) => Ok(Val::text(text.replacen(old.as_str(), new.as_str(), n))),
            Err(_) => Ok(Val::text(text.replace(old.as_str(), new.as_str()))),
        },
        ("split", [Val::Str(by)]) => strings(split(text, by.as_str(), -1)),
        ("split", [Val::Str(by), Val::Int(n)]) => strings(split(text, by.as_str(), *n)),
        ("find", [Val::Str(pattern)]) => regex(pattern.as_str())
            .map(|regex| Val::text(regex.find(text).map_or("", |found| found.as_str()))),
        ("findAll", [Val::Str(pattern)]) => {
            regex(pattern.as_str()).and_then(|regex| strings(find_all(&regex, text, -1)))
        }
        ("findAll", [Val::Str(pattern), Val::Int(n)]) => {
            regex(pattern.as_str()).and_then(|regex| strings(find_all(&regex, text, *n)))
        }
        ("format", [list]) => format_with(text, list).map(Val::text),
        _ => return None,
    })
}

fn standard<'a>(name: &str, text: &str, rest: &[Val<'a>]) -> Option<Outcome<'a>> {
    let [Val::Str(other)] = rest else {
        return None;
    };
    let other = other.as_str();
    Some(match name {
        "contains" => Ok(Val::Bool(text.contains(other))),
        "startsWith" => Ok(Val::Bool(text.starts_with(other))),
        "endsWith" => Ok(Val::Bool(text.ends_with(other))),
        "matches" => regex(other).map(|regex| Val::Bool(regex.is_match(text))),
        _ => return None,
    })
}

fn out_of_range(at: i64) -> EvalError {
    EvalError::failed(format!("index out of range: {at}"))
}

/// Byte offset of a character; the end is a place too.
fn byte_at(text: &str, at: i64) -> Result<usize, EvalError> {
    let wanted = usize::try_from(at).map_err(|_| out_of_range(at))?;
    let ends = text.char_indices().map(|(i, _)| i).chain([text.len()]);
    ends.into_iter().nth(wanted).ok_or_else(|| out_of_range(at))
}

fn char_at<'a>(text: &str, at: i64) -> Outcome<'a> {
    let start = byte_at(text, at)?;
    let found: String = text[start..].chars().take(1).collect();
    Ok(Val::text(found))
}

fn position<'a>(text: &str, found: Option<usize>) -> Outcome<'a> {
    let at = found.map(|byte| text[..byte].chars().count());
    let at = at.and_then(|n| i64::try_from(n).ok());
    Ok(Val::Int(at.unwrap_or(-1)))
}

fn find_from<'a>(text: &str, part: &str, from: i64) -> Outcome<'a> {
    let start = byte_at(text, from)?;
    position(text, text[start..].find(part).map(|at| at + start))
}

fn find_last<'a>(text: &str, part: &str, from: Option<i64>) -> Outcome<'a> {
    let limit = match from {
        Some(from) => byte_at(text, from)?,
        None => text.len(),
    };
    let end = (limit + part.len()).min(text.len());
    let found = text.get(..end).unwrap_or(text).rfind(part);
    position(text, found)
}

fn substring<'a>(text: &str, from: i64, to: Option<i64>) -> Outcome<'a> {
    let start = byte_at(text, from)?;
    let end = match to {
        Some(to) => byte_at(text, to)?,
        None => text.len(),
    };
    if start > end {
        let to = to.unwrap_or_default();
        return Err(EvalError::failed(format!(
            "invalid substring range. start: {from}, end: {to}"
        )));
    }
    Ok(Val::text(&text[start..end]))
}

/// Go's `strings.SplitN`: below zero all, zero none, else at most n.
fn split(text: &str, by: &str, n: i64) -> Vec<String> {
    let pieces = |limit: usize| -> Vec<String> {
        if by.is_empty() {
            let mut parts: Vec<String> = text.chars().map(String::from).collect();
            if parts.len() > limit {
                let rest = parts.split_off(limit - 1).concat();
                parts.push(rest);
            }
            return parts;
        }
        text.splitn(limit, by).map(String::from).collect()
    };
    match usize::try_from(n) {
        Ok(0) => Vec::new(),
        Ok(n) => pieces(n),
        Err(_) => pieces(usize::MAX),
    }
}

fn find_all(regex: &Regex, text: &str, n: i64) -> Vec<String> {
    let limit = usize::try_from(n).unwrap_or(usize::MAX);
    let found = regex.find_iter(text).take(limit);
    found.map(|m| m.as_str().to_string()).collect()
}

fn join<'a>(arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
    let (list, rest) = arguments.split_first()?;
    let separator = match rest {
        [] => "",
        [Val::Str(separator)] => separator.as_str(),
        _ => return None,
    };
    let items = list.elements()?;
    let texts: Option<Vec<&str>> = items.iter().map(Val::as_str).collect();
    Some(match texts {
        Some(texts) => Ok(Val::text(texts.join(separator))),
        None => Err(no_overload()),
    })
}

/// `'%s is %d'.format([…])`.
fn format_with(template: &str, list: &Val<'_>) -> Result<String, EvalError> {
    let arguments = list.elements().ok_or_else(no_overload)?;
    let mut arguments = arguments.iter().zip(0usize..);
    let mut out = String::new();
    let mut rest = template.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = rest.next();
        if verb == Some('%') {
            out.push('%');
            continue;
        }
        let mut precision = None;
        if verb == Some('.') {
            let mut digits = String::new();
            verb = rest.next();
            while let Some(digit) = verb.filter(char::is_ascii_digit) {
                digits.push(digit);
                verb = rest.next();
            }
            precision = digits.parse::<usize>().ok().filter(|p| *p <= 64);
        }
        let verb = verb.ok_or_else(|| EvalError::failed("unexpected end of format string"))?;
        let (argument, _) = arguments.next().ok_or_else(|| {
            EvalError::failed("index out of range: not enough arguments to format")
        })?;
        out.push_str(&format_one(verb, precision, argument)?);
    }
    Ok(out)
}

fn format_one(verb: char, precision: Option<usize>, value: &Val<'_>) -> Result<String, EvalError> {
    let digits = precision.unwrap_or(6);
    let unfit = || {
        EvalError::failed(format!(
            "error during formatting: no formatting function for type {} and clause %{verb}",
            value.type_name()
        ))
    };
    Ok(match (verb, value) {
        ('s', value) => format_string(value, 0).ok_or_else(unfit)?,
        ('d', Val::Int(_) | Val::Uint(_)) => print(value).unwrap_or_default(),
        ('f', Val::Double(d)) => format!("{d:.digits$}"),
        ('f', Val::Int(i)) => format!("{i}.{}", "0".repeat(digits)),
        ('e', Val::Double(d)) => {
            let text = format!("{d:.digits$e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        ('b', Val::Int(i)) if *i < 0 => format!("-{:b}", i.unsigned_abs()),
        ('b', Val::Int(i)) => format!("{i:b}"),
        ('b', Val::Uint(u)) => format!("{u:b}"),
        ('b', Val::Bool(b)) => u8::from(*b).to_string(),
        ('o', Val::Int(i)) if *i < 0 => format!("-{:o}", i.unsigned_abs()),
        ('o', Val::Int(i)) => format!("{i:o}"),
        ('o', Val::Uint(u)) => format!("{u:o}"),
        ('x', value) => hexadecimal(value).ok_or_else(unfit)?,
        ('X', value) => hexadecimal(value).ok_or_else(unfit)?.to_ascii_uppercase(),
        _ => return Err(unfit()),
    })
}

fn hexadecimal(value: &Val<'_>) -> Option<String> {
    let of_bytes = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
    Some(match value {
        Val::Int(i) if *i < 0 => format!("-{:x}", i.unsigned_abs()),
        Val::Int(i) => format!("{i:x}"),
        Val::Uint(u) => format!("{u:x}"),
        Val::Str(text) => of_bytes(text.as_str().as_bytes()),
        Val::Bytes(bytes) => of_bytes(bytes),
        _ => return None,
    })
}

/// `%s` prints anything, lists and maps as literals.
fn format_string(value: &Val<'_>, depth: usize) -> Option<String> {
    if depth > FORMAT_DEPTH_MAX {
        return None;
    }
    if let Some(items) = value.elements() {
        let items: Option<Vec<String>> =
            items.iter().map(|i| format_string(i, depth + 1)).collect();
        return Some(format!("[{}]", items?.join(", ")));
    }
    if let Some(entries) = value.entries() {
        let mut parts = Vec::with_capacity(entries.len());
        for (key, value) in &entries {
            let key = format_string(key, depth + 1)?;
            parts.push(format!("{key}: {}", format_string(value, depth + 1)?));
        }
        parts.sort();
        return Some(format!("{{{}}}", parts.join(", ")));
    }
    match value {
        Val::Null => Some("null".into()),
        Val::Double(d) => Some(print_double(*d)),
        other => print(other),
    }
}
