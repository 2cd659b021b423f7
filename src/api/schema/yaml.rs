//! YAML 1.1 to JSON as sigs.k8s.io/yaml does it, and which plain scalars are not strings.
//!
//! Scanning and its error texts are libyaml's (the `libyaml-safer` crate, a port of it); resolving
//! scalars, keys, aliases and merge keys is Go's yaml.v2. Only the first document counts.

use std::collections::HashMap;
use std::fmt::Write as _;

use libyaml_safer::{Error, ErrorKind, Event, EventData, ScalarStyle};

use super::go_json::quote;
use super::yaml_events::{Events, Problem, ended};
use crate::base::tree::{Map, Number, Value};

/// Deepest nesting that is converted.
const DEPTH_MAX: usize = super::decode::DEPTH_MAX;

/// Values that aliases may expand to in all.
const EXPANDED_MAX: usize = 400_000;
/// What yaml.v2 says of a tag that something sticks to.
const UNFINISHED_TAG: &str = "yaml: did not find expected whitespace or line break";

/// YAML as JSON.
#[derive(Debug)]
pub struct Converted {
    /// The document; keys keep their order, the last of several equal ones wins.
    pub json: String,
    /// What strict decoding has to say about repeated keys.
    pub duplicates: Option<String>,
}

/// What a plain scalar is.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `~`, `null`, nothing.
    Null,
    /// `yes`, `on`, `true` …
    Bool(bool),
    /// A whole number.
    Int(Number),
    /// Any other number, infinities included.
    Float(f64),
    /// A date or time; kept as text, but not written plain.
    Timestamp,
    /// `<<`.
    Merge,
    /// Everything else.
    Text,
}

/// Converts the first document.
///
/// # Errors
/// In yaml.v2's words: `yaml: line 3: …`.
pub fn to_json(bytes: &[u8]) -> Result<Converted, String> {
    let bytes = ended(bytes);
    let tree = Reader::read(&bytes)?;
    let mut writer = Writer::default();
    let value = match &tree {
        Some(node) => writer.value(node, 0)?,
        None => Value::Null,
    };
    let duplicates = (!writer.duplicates.is_empty()).then(|| {
        let lines: Vec<String> = writer
            .duplicates
            .iter()
            .map(|d| format!("\n  {d}"))
            .collect();
        format!("yaml: unmarshal errors:{}", lines.concat())
    });
    Ok(Converted {
        json: value.to_string(),
        duplicates,
    })
}

struct Node {
    line: u64,
    content: Content,
}

enum Content {
    Scalar {
        text: String,
        tag: Option<String>,
        plain: bool,
    },
    Sequence(Vec<std::rc::Rc<Node>>),
    Mapping(Vec<(std::rc::Rc<Node>, std::rc::Rc<Node>)>),
}

/// Builds the node tree from parser events.
struct Reader<'r> {
    events: Events<'r>,
    anchors: HashMap<String, std::rc::Rc<Node>>,
}

impl Reader<'_> {
    fn read(bytes: &[u8]) -> Result<Option<std::rc::Rc<Node>>, String> {
        let mut input = bytes;
        let mut reader = Reader {
            events: Events::of(&mut input),
            anchors: HashMap::new(),
        };
        loop {
            match reader.next()?.data {
                EventData::StreamStart { .. } => {}
                EventData::DocumentStart { .. } => {
                    let first = reader.next()?;
                    return reader.node(first, 0).map(Some);
                }
                _ => return Ok(None),
            }
        }
    }

    fn next(&mut self) -> Result<Event, String> {
        self.events.read().map_err(|problem| match problem {
            Problem::Syntax(error) => describe(&error),
            Problem::UnfinishedTag => UNFINISHED_TAG.to_string(),
        })
    }

    fn node(&mut self, event: Event, depth: usize) -> Result<std::rc::Rc<Node>, String> {
        if depth > DEPTH_MAX {
            return Err("yaml: exceeded max depth of 10000".into());
        }
        let line = event.start_mark.line + 1;
        let (anchor, content) = match event.data {
            EventData::Alias { anchor } => {
                return self
                    .anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or_else(|| format!("yaml: unknown anchor '{anchor}' referenced"));
            }
            EventData::Scalar {
                anchor,
                tag,
                value,
                style,
                ..
            } => {
                let plain = style == ScalarStyle::Plain;
                (
                    anchor,
                    Content::Scalar {
                        text: value,
                        tag,
                        plain,
                    },
                )
            }
            EventData::SequenceStart { anchor, .. } => {
                let mut items = Vec::new();
                loop {
                    let event = self.next()?;
                    if event.data == EventData::SequenceEnd {
                        break;
                    }
                    items.push(self.node(event, depth + 1)?);
                }
                (anchor, Content::Sequence(items))
            }
            EventData::MappingStart { anchor, .. } => {
                let mut entries = Vec::new();
                loop {
                    let event = self.next()?;
                    if event.data == EventData::MappingEnd {
                        break;
                    }
                    let key = self.node(event, depth + 1)?;
                    let event = self.next()?;
                    entries.push((key, self.node(event, depth + 1)?));
                }
                (anchor, Content::Mapping(entries))
            }
            _ => return Err("yaml: unexpected event".into()),
        };
        let node = std::rc::Rc::new(Node { line, content });
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }
}

/// yaml.v2's text for a scanner's or parser's error.
fn describe(error: &Error) -> String {
    let problem_line = error.problem_mark().map_or(0, |mark| mark.line);
    let context_line = error.context_mark().map_or(0, |mark| mark.line);
    let line = match (problem_line, error.kind()) {
        (0, _) => context_line,
        // Scanner errors stand on the line itself, parser errors already on the next.
        (line, ErrorKind::Scanner) => line + 1,
        (line, _) => line,
    };
    let problem = match error.problem() {
        // yaml.v2 has no special words for tabs.
        "found a tab character that violates indentation" => {
            "found character that cannot start any token"
        }
        problem => problem,
    };
    match line {
        0 => format!("yaml: {problem}"),
        line => format!("yaml: line {line}: {problem}"),
    }
}

/// Turns nodes into JSON values.
#[derive(Default)]
struct Writer {
    duplicates: Vec<String>,
    expanded: usize,
}

impl Writer {
    fn value(&mut self, node: &Node, depth: usize) -> Result<Value, String> {
        self.expanded += 1;
        if self.expanded > EXPANDED_MAX {
            return Err("yaml: document contains excessive aliasing".into());
        }
        if depth > DEPTH_MAX {
            return Err("yaml: exceeded max depth of 10000".into());
        }
        match &node.content {
            Content::Scalar { text, tag, plain } => scalar(text, tag.as_deref(), *plain),
            Content::Sequence(items) => {
                let values: Result<Vec<Value>, String> = items
                    .iter()
                    .map(|item| self.value(item, depth + 1))
                    .collect();
                values.map(Value::Array)
            }
            Content::Mapping(entries) => {
                let mut members = Map::new();
                for (key, value) in entries {
                    if is_merge(key) {
                        self.merge(value, &mut members, depth)?;
                        continue;
                    }
                    let name = self.key(key)?;
                    let value = self.value(value, depth + 1)?;
                    if members.contains_key(&name) {
                        let key = quote(&name);
                        self.duplicates.push(format!(
                            "line {}: key {key} already set in map",
                            node_line(entries, &name, key_text)
                        ));
                    }
                    members.insert(name.into(), value);
                }
                Ok(Value::Object(members))
            }
        }
    }

    /// `<<`: what is already there stays.
    fn merge(&mut self, node: &Node, members: &mut Map, depth: usize) -> Result<(), String> {
        match &node.content {
            Content::Mapping(_) => {
                if let Value::Object(merged) = self.value(node, depth + 1)? {
                    for (name, value) in merged {
                        members.entry(name).or_insert(value);
                    }
                }
                Ok(())
            }
            Content::Sequence(items) => {
                for item in items {
                    match item.content {
                        Content::Mapping(_) => self.merge(item, members, depth + 1)?,
                        _ => return Err(MERGE_ERROR.into()),
                    }
                }
                Ok(())
            }
            Content::Scalar { .. } => Err(MERGE_ERROR.into()),
        }
    }

    fn key(&mut self, node: &Node) -> Result<String, String> {
        key_text(node).ok_or_else(|| "yaml: unsupported map key".to_string())
    }
}

const MERGE_ERROR: &str = "yaml: map merge requires map or sequence of maps as the value";

/// The line of the last key called `name`.
fn node_line(
    entries: &[(std::rc::Rc<Node>, std::rc::Rc<Node>)],
    name: &str,
    text: fn(&Node) -> Option<String>,
) -> u64 {
    entries
        .iter()
        .rev()
        .find(|(key, _)| text(key).as_deref() == Some(name))
        .map_or(0, |(key, _)| key.line)
}

fn is_merge(node: &Node) -> bool {
    match &node.content {
        Content::Scalar { text, tag, plain } => match tag.as_deref() {
            Some(tag) => tag == "tag:yaml.org,2002:merge",
            None => *plain && text == "<<",
        },
        _ => false,
    }
}

/// A key as JSON has it: always a string.
fn key_text(node: &Node) -> Option<String> {
    let Content::Scalar { text, tag, plain } = &node.content else {
        return None;
    };
    match scalar(text, tag.as_deref(), *plain).ok()? {
        Value::String(text) => Some(text),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn scalar(text: &str, tag: Option<&str>, plain: bool) -> Result<Value, String> {
    let kind = tag.and_then(|tag| tag.strip_prefix("tag:yaml.org,2002:"));
    let resolved = match kind {
        Some("str") => Scalar::Text,
        Some("binary") => return binary(text),
        Some("int" | "float" | "bool" | "null") => resolve(text),
        _ if !plain => Scalar::Text,
        _ => resolve(text),
    };
    Ok(match (resolved, kind) {
        (Scalar::Null, _) => Value::Null,
        (Scalar::Bool(flag), _) => Value::Bool(flag),
        (Scalar::Int(number), Some("float")) => float(number.as_f64().unwrap_or_default())?,
        (Scalar::Int(number), _) => Value::Number(number),
        (Scalar::Float(number), _) => float(number)?,
        (_, Some(kind @ ("int" | "float" | "bool" | "null"))) => {
            return Err(format!("yaml: cannot decode !!str `{text}` as a !!{kind}"));
        }
        _ => Value::String(text.to_string()),
    })
}

fn float(number: f64) -> Result<Value, String> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        // Go prints whole floats without a point.
        return Ok(Value::Number(Number::from(number as i64)));
    }
    match Number::from_f64(number) {
        Some(number) => Ok(Value::Number(number)),
        None if number.is_nan() => Err("json: unsupported value: NaN".into()),
        None if number > 0.0 => Err("json: unsupported value: +Inf".into()),
        None => Err("json: unsupported value: -Inf".into()),
    }
}

fn binary(text: &str) -> Result<Value, String> {
    use base64::Engine as _;
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    base64::engine::general_purpose::STANDARD
        .decode(compact)
        .map(|bytes| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        .map_err(|_| "yaml: !!binary value contains invalid base64 data".into())
}

/// What yaml.v2 takes a plain scalar for.
pub fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Scalar::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        "<<" => return Scalar::Merge,
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' => match is_go_float(text)
            .then(|| text.parse::<f64>().ok())
            .flatten()
        {
            Some(number) => Scalar::Float(number),
            None => Scalar::Text,
        },
        b'0'..=b'9' | b'+' | b'-' => number(text),
        _ => Scalar::Text,
    }
}

fn number(text: &str) -> Scalar {
    if is_timestamp(text) {
        return Scalar::Timestamp;
    }
    let plain = text.replace('_', "");
    if let Some(integer) = integer(&plain) {
        return Scalar::Int(integer);
    }
    match is_yaml_float(&plain)
        .then(|| plain.parse::<f64>().ok())
        .flatten()
    {
        Some(number) => Scalar::Float(number),
        None => Scalar::Text,
    }
}

/// Go's `ParseInt` with base 0: prefixes 0x, 0o, 0b and a bare leading zero for octal.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let prefix = digits.get(..2).unwrap_or_default().to_ascii_lowercase();
    let (radix, digits) = match prefix.as_str() {
        "0x" => (16, &digits[2..]),
        "0o" => (8, &digits[2..]),
        "0b" => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match negative {
        true => i64::try_from(-i128::from(magnitude)).ok().map(Number::from),
        false => Some(Number::from(magnitude)),
    }
}

/// `[-+]?[0-9]*\.?[0-9]+([eE][-+][0-9]+)?`
fn is_yaml_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        exponent
            .strip_prefix(['-', '+'])
            .is_some_and(|exponent| !exponent.is_empty() && digits(exponent))
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or(("", mantissa));
    exponent_fits && digits(whole) && !fraction.is_empty() && digits(fraction)
}

fn is_go_float(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
}

/// Dates and times in the forms that YAML 1.1 knows.
fn is_timestamp(text: &str) -> bool {
    fn digits(text: &str, max: usize) -> Option<&str> {
        let count = text
            .bytes()
            .take(max)
            .take_while(u8::is_ascii_digit)
            .count();
        (count > 0).then(|| &text[count..])
    }
    let date = || {
        let year = text.get(..4)?;
        year.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(())?;
        let month = digits(text[4..].strip_prefix('-')?, 2)?;
        digits(month.strip_prefix('-')?, 2)
    };
    let Some(rest) = date() else {
        return false;
    };
    if rest.is_empty() {
        return true;
    }
    let zoned = rest.starts_with(['T', 't']);
    let time = || {
        let hour = digits(rest.strip_prefix(['T', 't', ' '])?, 2)?;
        let minute = digits(hour.strip_prefix(':')?, 2)?;
        let second = digits(minute.strip_prefix(':')?, 2)?;
        match second.strip_prefix('.') {
            Some(fraction) => digits(fraction, 9),
            None => Some(second),
        }
    };
    match time() {
        Some(zone) if zoned => {
            zone == "Z"
                || (zone.len() == 6 && zone.starts_with(['+', '-']) && zone.as_bytes()[3] == b':')
        }
        Some(rest) => rest.is_empty(),
        None => false,
    }
}

/// Base 60 numbers of YAML 1.1: Go reads them as text but never writes them plain.
pub fn is_base60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let Some((head, tail)) = unsigned.split_once(':') else {
        return false;
    };
    let digits = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    let head_fits = head.starts_with(|c: char| c.is_ascii_digit()) && digits(head);
    let (groups, fraction) = tail.split_once('.').unwrap_or((tail, ""));
    let group_fits = |group: &str| match group.as_bytes() {
        [unit] => unit.is_ascii_digit(),
        [ten, unit] => (b'0'..=b'5').contains(ten) && unit.is_ascii_digit(),
        _ => false,
    };
    head_fits && groups.split(':').all(group_fits) && digits(fraction)
}

/// Appends a float as Go's yaml.v2 prints it.
pub(crate) fn write_float(out: &mut String, number: f64) {
    // %g: exponents below -4 and from 21 on.
    let exponent = if number == 0.0 {
        0.0
    } else {
        number.abs().log10().floor()
    };
    if (-4.0..21.0).contains(&exponent) {
        let _ = write!(out, "{number}");
        return;
    }
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    let _ = write!(out, "{mantissa}e{sign}{digits:0>2}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(text: &str) -> Result<String, String> {
        to_json(text.as_bytes()).map(|converted| converted.json)
    }

    #[test]
    fn scalars_resolve_as_yaml_1_1() {
        for (text, want) in [
            ("yes", "true"),
            ("Off", "false"),
            ("~", "null"),
            ("", "null"),
            ("null", "null"),
            ("0777", "511"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0b11", "3"),
            ("08", "8"),
            ("1_000", "1000"),
            ("1.5", "1.5"),
            ("1.0", "1"),
            ("1e3", "\"1e3\""),
            ("1e+3", "1000"),
            (".5", "0.5"),
            ("-7", "-7"),
            ("2001-01-01", "\"2001-01-01\""),
            ("1:30", "\"1:30\""),
            ("1.2.3", "\"1.2.3\""),
            ("'5'", "\"5\""),
            ("\"yes\"", "\"yes\""),
            ("!!str 5", "\"5\""),
            ("!!float 5", "5"),
            ("yEs", "\"yEs\""),
            ("1: a\ntrue: b\n1.5: c", r#"{"1":"a","1.5":"c","true":"b"}"#),
            (
                "a: &x {b: 1}\nc: {<<: *x, d: 2}\ne: *x",
                r#"{"a":{"b":1},"c":{"b":1,"d":2},"e":{"b":1}}"#,
            ),
            (
                "a: |\n  x\n  y\nb: >-\n  x\n  y\n",
                r#"{"a":"x\ny\n","b":"x y"}"#,
            ),
            ("a: 1\n---\nb: [", r#"{"a":1}"#),
        ] {
            assert_eq!(convert(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn errors_in_libyamls_words() {
        for (text, want) in [
            ("{", "yaml: line 1: did not find expected node content"),
            ("a: [", "yaml: line 1: did not find expected node content"),
            ("%bad", "yaml: found unknown directive name"),
            ("a: *x", "yaml: unknown anchor 'x' referenced"),
            (
                "a: 1\nb: 2\nc: 3\n\t@",
                "yaml: line 4: found character that cannot start any token",
            ),
        ] {
            assert_eq!(convert(text), Err(want.into()), "{text}");
        }
        let deep = "[".repeat(5000);
        assert!(convert(&deep).is_err());
    }

    #[test]
    fn repeated_keys_are_reported() {
        let converted = to_json(b"a: 1\nb:\n  c: 1\n  c: 2\na: 3\n").expect("lenient");
        assert_eq!(converted.json, r#"{"a":3,"b":{"c":2}}"#);
        assert_eq!(
            converted.duplicates.as_deref(),
            Some(
                "yaml: unmarshal errors:\n  line 4: key \"c\" already set in map\n  line 5: key \"a\" already set in map"
            )
        );
    }

    #[test]
    fn bombs_are_refused() {
        let mut text = String::from("a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n");
        for level in 1..9 {
            let items = vec![format!("*a{}", level - 1); 10].join(",");
            let _ = writeln!(text, "a{level}: &a{level} [{items}]");
        }
        assert_eq!(
            convert(&text),
            Err("yaml: document contains excessive aliasing".into())
        );
    }
}
