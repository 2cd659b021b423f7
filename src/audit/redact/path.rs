//! JSON paths: the subset of RFC 9535 (and of kubectl's JSONPath) that names places in an object.
//!
//! `$.spec.containers[*].env[*].value`, `.metadata.annotations['example.com/key']`, `$..password`,
//! `{.data}`. No filters, slices or unions. A path is matched step by step while a tree is walked, so
//! that a JSON Patch's pointer can take the first steps and the patch's value the rest.

use smallvec::SmallVec;

/// Why a text is not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It names the whole object.
    #[error("names nothing; write for example $.spec.containers[*].env[*].value")]
    Empty,
    /// The text from here on cannot be read.
    #[error("cannot be read from {0:?} on; use .name, ['name'], [*], [0] and ..name")]
    Syntax(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(Box<str>),
    Index(usize),
    Any,
    /// Any number of steps, also none.
    Deep,
}

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    steps: Vec<Step>,
    text: String,
}

/// One step down a tree.
#[derive(Clone, Copy, Debug)]
pub(super) enum Segment<'a> {
    /// A member of an object.
    Key(&'a str),
    /// An item of a list.
    Index(usize),
    /// A part of a JSON pointer, which may be either.
    Pointer(&'a str),
}

/// How far a path has been matched: positions in its steps.
pub(super) type Positions = SmallVec<[usize; 2]>;

impl JsonPath {
    /// Parses a path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
        let mut rest = inner.unwrap_or(text);
        rest = rest.strip_prefix('$').unwrap_or(rest);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let syntax = || PathError::Syntax(rest.to_string());
            if let Some(after) = rest.strip_prefix("..") {
                steps.push(Step::Deep);
                rest = match after.starts_with('[') {
                    true => after,
                    false => dotted(after, &mut steps).ok_or_else(syntax)?,
                };
            } else if let Some(after) = rest.strip_prefix('.') {
                rest = dotted(after, &mut steps).ok_or_else(syntax)?;
            } else if let Some(after) = rest.strip_prefix('[') {
                rest = bracketed(after, &mut steps).ok_or_else(syntax)?;
            } else {
                return Err(syntax());
            }
        }
        if !steps.iter().any(|s| *s != Step::Deep) {
            return Err(PathError::Empty);
        }
        Ok(JsonPath {
            steps,
            text: text.to_string(),
        })
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The positions before the first step.
    pub(super) fn start(&self) -> Positions {
        smallvec::smallvec![0]
    }

    /// Takes one step down.
    pub(super) fn advance(&self, from: &Positions, segment: Segment<'_>) -> Positions {
        let mut out = Positions::new();
        for position in from {
            self.advance_one(*position, segment, &mut out);
        }
        out
    }

    /// Whether the path ends here.
    pub(super) fn is_match(&self, positions: &Positions) -> bool {
        positions.contains(&self.steps.len())
    }

    /// A text that stands in every JSON document in which the path names something, as long as the
    /// document has no escapes.
    pub(super) fn needle(&self) -> Option<&str> {
        let names = self.steps.iter().filter_map(|step| match step {
            Step::Name(name) => Some(name.split(['/', '~', '"', '\\'])),
            _ => None,
        });
        let needle = names.flatten().max_by_key(|piece| piece.len())?;
        (!needle.is_empty() && needle.chars().all(|c| c.is_ascii_graphic())).then_some(needle)
    }

    fn advance_one(&self, position: usize, segment: Segment<'_>, out: &mut Positions) {
        let mut push = |p: usize| {
            if !out.contains(&p) {
                out.push(p);
            }
        };
        match self.steps.get(position) {
            None => {}
            Some(Step::Any) => push(position + 1),
            Some(Step::Name(name)) => {
                if matches!(segment, Segment::Key(s) | Segment::Pointer(s) if *s == **name) {
                    push(position + 1);
                }
            }
            Some(Step::Index(index)) => {
                let fits = match segment {
                    Segment::Index(i) => i == *index,
                    // `-` appends: which index that will be is not known here.
                    Segment::Pointer(s) => s == "-" || s.parse() == Ok(*index),
                    Segment::Key(_) => false,
                };
                if fits {
                    push(position + 1);
                }
            }
            Some(Step::Deep) => {
                push(position);
                self.advance_one(position + 1, segment, out);
            }
        }
    }
}

/// `name` or `*`; answers the rest. A backslash takes the next character as it is, as in kubectl.
fn dotted<'a>(text: &'a str, steps: &mut Vec<Step>) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix('*') {
        steps.push(Step::Any);
        return Some(rest);
    }
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next()?.1),
            '.' | '[' => {
                end = at;
                break;
            }
            ']' | '{' | '}' | '\'' | '"' | '*' | '?' | '@' | '(' | ')' | ' ' => return None,
            c => name.push(c),
        }
    }
    if name.is_empty() {
        return None;
    }
    steps.push(Step::Name(name.into()));
    Some(&text[end..])
}

/// What stands behind `[`; answers the rest behind `]`.
fn bracketed<'a>(text: &'a str, steps: &mut Vec<Step>) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix("*]") {
        steps.push(Step::Any);
        return Some(rest);
    }
    for quote in ['\'', '"'] {
        if let Some(inner) = text.strip_prefix(quote) {
            let end = inner.find(quote)?;
            steps.push(Step::Name(inner[..end].into()));
            return inner[end + 1..].strip_prefix(']');
        }
    }
    let end = text.find(']')?;
    steps.push(Step::Index(text[..end].parse().ok()?));
    Some(&text[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(path: &str, segments: &[Segment<'_>]) -> bool {
        let path = JsonPath::parse(path).expect("a path");
        let mut positions = path.start();
        for segment in segments {
            positions = path.advance(&positions, *segment);
        }
        path.is_match(&positions)
    }

    #[test]
    fn steps() {
        use Segment::{Index, Key, Pointer};
        for (path, segments, expected) in [
            ("$.data.*", &[Key("data"), Key("a")][..], true),
            ("$.data.*", &[Key("data")], false),
            ("{.data}", &[Key("data")], true),
            ("$['a.b/c']", &[Key("a.b/c")], true),
            (".a\\.b", &[Key("a.b")], true),
            ("$.l[*].v", &[Key("l"), Index(3), Key("v")], true),
            ("$.l[1]", &[Key("l"), Index(3)], false),
            ("$.l[1]", &[Pointer("l"), Pointer("1")], true),
            ("$.l[1]", &[Pointer("l"), Pointer("-")], true),
            ("$..v", &[Key("a"), Index(0), Key("v")], true),
            ("$..v", &[Key("v")], true),
            ("$..v", &[Key("v"), Key("w")], false),
            ("$..v.w", &[Key("v"), Key("v"), Key("w")], true),
            ("$..[0]", &[Key("v"), Index(0)], true),
        ] {
            assert_eq!(matches(path, segments), expected, "{path} {segments:?}");
        }
    }

    #[test]
    fn refusals() {
        for path in [
            "",
            "$",
            "$..",
            "a",
            "$.a[",
            "$.a[b]",
            "$.a[?(@.b)]",
            "$.a b",
            "$['a]",
        ] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn needles_stand_in_every_document_that_matches() {
        for (path, needle) in [
            ("$.data.*", Some("data")),
            (
                "$.metadata.annotations['kubectl.kubernetes.io/last-applied-configuration']",
                Some("last-applied-configuration"),
            ),
            ("$[*][0]", None),
            ("$.größe", None),
        ] {
            assert_eq!(JsonPath::parse(path).expect("a path").needle(), needle);
        }
    }
}
