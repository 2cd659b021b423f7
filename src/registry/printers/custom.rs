//! Columns of custom resources, computed from `additionalPrinterColumns` (contract/crd.md §5).
//!
//! Definitions only admit simple paths: members, indexes, `[*]` and equality filters. The first value
//! a path finds is the cell.

use chrono::{DateTime, Utc};

use super::columns::{AGE, NAME};
use super::duration::translate_timestamp;
use super::fields::{age, name};
use super::{Column, Row};
use crate::base::tree::Value;

/// One declared column of a custom resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomColumn {
    /// Name.
    pub name: String,
    /// `string`, `integer`, `boolean`, `number` or `date`.
    pub kind: String,
    /// Format.
    pub format: String,
    /// Description; empty gives a text that names the path.
    pub description: String,
    /// Priority.
    pub priority: i32,
    /// JSONPath, starting with a dot.
    pub json_path: String,
}

/// A parsed path and the type its value must have.
pub(super) struct Path {
    kind: String,
    steps: Vec<Step>,
}

enum Step {
    Member(String),
    Index(i64),
    Every,
    /// `[?(@.a.b=="c")]`.
    Where(Vec<String>, Value),
}

/// Columns, and the paths of all after the name.
pub(super) fn columns(declared: &[CustomColumn]) -> (Vec<Column>, Vec<Path>) {
    if declared.is_empty() {
        return (vec![NAME, AGE], Vec::new());
    }
    let mut columns = vec![NAME];
    let mut paths = Vec::new();
    for column in declared {
        let description = if column.description.is_empty() {
            format!(
                "Custom resource definition column (in JSONPath format): {}",
                column.json_path
            )
        } else {
            column.description.clone()
        };
        columns.push(Column {
            name: column.name.clone().into(),
            kind: column.kind.clone().into(),
            format: column.format.clone().into(),
            description: description.into(),
            priority: column.priority,
        });
        paths.push(Path {
            kind: column.kind.clone(),
            steps: parse(&column.json_path),
        });
    }
    (columns, paths)
}

/// Cells of one object: the name and each column's value, or the age when no column is declared.
pub(super) fn cells(paths: &[Path], object: &Value, now: DateTime<Utc>) -> Row {
    let mut cells = vec![name(object)];
    if paths.is_empty() {
        cells.push(age(object, now));
    }
    cells.extend(paths.iter().map(|path| {
        find(object, &path.steps).map_or(Value::Null, |value| cell(value, &path.kind, now))
    }));
    cells.into()
}

/// A value as its column's type wants it; null where it is of another type.
fn cell(value: &Value, kind: &str, now: DateTime<Utc>) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(_)) => value.clone(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.into(),
            // Whole part, as Go's conversion cuts it.
            (None, Some(float)) => (float as i64).into(),
            _ => Value::Null,
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(time)) => match DateTime::parse_from_rfc3339(time) {
            Ok(time) => translate_timestamp(Some(time.with_timezone(&Utc)), now).into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

/// The first value the steps lead to.
fn find<'a>(value: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else {
        return Some(value);
    };
    match step {
        Step::Member(member) => find(value.get(member)?, rest),
        Step::Index(index) => {
            let items = value.as_array()?;
            let index = if *index < 0 {
                index + items.len() as i64
            } else {
                *index
            };
            find(items.get(usize::try_from(index).ok()?)?, rest)
        }
        Step::Every => match value {
            Value::Array(items) => items.iter().find_map(|item| find(item, rest)),
            Value::Object(map) => map.values().find_map(|item| find(item, rest)),
            _ => None,
        },
        Step::Where(path, wanted) => value.as_array()?.iter().find_map(|item| {
            let found = path.iter().try_fold(item, |at, name| at.get(name))?;
            (found == wanted).then(|| find(item, rest))?
        }),
    }
}

/// Steps of a path; what cannot be read leads nowhere.
fn parse(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}');
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let end = closing(after);
            steps.push(bracket(&after[..end]));
            rest = after.get(end + 1..).unwrap_or("");
        } else {
            let after = rest.strip_prefix('.').unwrap_or(rest);
            let (member, length) = member(after);
            match member.as_str() {
                "" => {}
                "*" => steps.push(Step::Every),
                _ => steps.push(Step::Member(member)),
            }
            rest = &after[length..];
        }
    }
    steps
}

/// Where a bracket ends, quotes skipped.
fn closing(text: &str) -> usize {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, ']') => return at,
            _ => {}
        }
    }
    text.len()
}

fn bracket(text: &str) -> Step {
    let text = text.trim();
    if text == "*" {
        return Step::Every;
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return filter_step(filter);
    }
    match text.parse() {
        Ok(index) => Step::Index(index),
        Err(_) => Step::Member(unquote(text).to_string()),
    }
}

fn filter_step(filter: &str) -> Step {
    let (left, right) = filter.split_once("==").unwrap_or((filter, ""));
    let left = left.trim().trim_start_matches('@');
    let path = parse(left)
        .into_iter()
        .map(|step| match step {
            Step::Member(member) => member,
            _ => String::new(),
        })
        .collect();
    let right = right.trim();
    let wanted = match unquote(right) {
        inner if inner.len() != right.len() => inner.into(),
        plain => serde_json::from_str(plain).unwrap_or_else(|_| plain.into()),
    };
    Step::Where(path, wanted)
}

fn unquote(text: &str) -> &str {
    ['\'', '"']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(text)
}

/// A member name up to the next dot or bracket, backslashes removed, and its length in the text.
fn member(text: &str) -> (String, usize) {
    let mut member = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '.' | '[' if !escaped => return (member, at),
            _ => {
                member.push(c);
                escaped = false;
            }
        }
    }
    (member, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn paths() {
        let object = json!({"metadata": {"name": "x", "annotations": {"a.b/c": "d"}},
            "spec": {"size": 3, "list": [{"n": 1}, {"n": 2, "t": "x"}], "on": true, "half": 1.5}});
        for (kind, path, value) in [
            ("integer", ".spec.size", json!(3)),
            ("string", ".spec.size", json!("3")),
            ("integer", ".spec.half", json!(1)),
            ("number", ".spec.half", json!(1.5)),
            ("boolean", ".spec.on", json!(true)),
            ("integer", ".spec.on", json!(null)),
            ("string", ".spec.none", json!(null)),
            ("integer", ".spec.list[1].n", json!(2)),
            ("integer", ".spec.list[*].n", json!(1)),
            ("integer", ".spec.list[-1].n", json!(2)),
            ("integer", ".spec.list[?(@.t==\"x\")].n", json!(2)),
            ("string", ".metadata.annotations.a\\.b/c", json!("d")),
            ("string", ".metadata.annotations['a.b/c']", json!("d")),
            (
                "string",
                ".spec.list",
                json!("[{\"n\":1},{\"n\":2,\"t\":\"x\"}]"),
            ),
        ] {
            let (_, paths) = columns(&[CustomColumn {
                kind: kind.into(),
                json_path: path.into(),
                ..CustomColumn::default()
            }]);
            assert_eq!(
                cells(&paths, &object, Utc::now()).cells,
                [json!("x"), value],
                "{path}"
            );
        }
    }
}
