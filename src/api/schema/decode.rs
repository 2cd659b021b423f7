//! Decoding request bodies: one pass from bytes to a tree that fits the schema.
//!
//! [`decode`] drops unknown fields and remembers them, checks types as Go does, in Go's words, and
//! brings scalars into canonical form (quantities, times, base64). Without a schema it builds the
//! tree as it stands (custom resources). YAML goes through JSON, as upstream's does.
//!
//! Called for every body that becomes an object. Knows nothing of media types or Status.

use std::borrow::Cow;

use super::go_json::{self, SyntaxError, quote, skip_space, skip_string, skip_value};
use super::{Field, Node, Object, Schema, normalise, yaml};
use crate::base::tree::{Key, Map, Number, Value};

/// Deepest tree that is built. Go accepts 10,000 levels, but stored bytes are read by `serde_json`,
/// which stops at 128, and a few levels are added around an object (lists, watch events, reviews).
/// Nothing that people write comes near this.
pub const DEPTH_MAX: usize = 120;

/// Strict errors that are reported at most.
const STRICT_ERRORS_MAX: usize = 100;

/// Bytes of the body that error texts quote.
const SUMMARY_BYTES: usize = 30;

/// How the bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/yaml`; JSON is YAML as well.
    Yaml,
}

/// A decoded body.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The tree, without unknown fields and nulls.
    pub value: Value,
    /// What strict decoding would refuse, in order, in upstream's words: `unknown field "spec.x"`.
    pub unknown_fields: Vec<String>,
}

/// Why a body could not be decoded. Displays upstream's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is no JSON or YAML.
    #[error("{0}")]
    Syntax(String),
    /// A value does not fit its field's type.
    #[error("{0}")]
    Type(String),
}

/// What a body says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeMeta {
    /// `apiVersion`, empty where absent.
    pub api_version: String,
    /// `kind`, empty where absent.
    pub kind: String,
}

/// Decodes a body.
///
/// # Errors
/// Syntax errors first, else the first value that does not fit.
pub fn decode(
    bytes: &[u8],
    format: Format,
    schema: Option<&Schema>,
) -> Result<Decoded, DecodeError> {
    match format {
        Format::Json => decode_json(bytes, schema),
        Format::Yaml => {
            let converted = yaml::to_json(bytes).map_err(DecodeError::Syntax)?;
            let mut decoded = decode_json(converted.json.as_bytes(), schema)?;
            if let Some(duplicates) = converted.duplicates {
                decoded.unknown_fields.insert(0, duplicates);
            }
            Ok(decoded)
        }
    }
}

/// Reads only `apiVersion` and `kind`, checking the syntax of the whole body.
///
/// # Errors
/// The text that follows `the object provided is unrecognized (must be of type X): `, without the
/// [`summarize`]d body in parentheses.
pub fn type_meta(bytes: &[u8], format: Format) -> Result<TypeMeta, String> {
    match format {
        Format::Json => json_type_meta(bytes),
        Format::Yaml => json_type_meta(yaml::to_json(bytes)?.json.as_bytes()),
    }
}

/// The start of a body as error texts show it: JSON as text, anything else in hex.
pub fn summarize(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let start = &bytes[..bytes.len().min(SUMMARY_BYTES)];
    let more = if bytes.len() > SUMMARY_BYTES {
        " ..."
    } else {
        ""
    };
    match bytes.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(start)),
        Some(_) => {
            let mut text = String::with_capacity(2 * SUMMARY_BYTES + 4);
            for byte in start {
                let _ = write!(text, "{byte:02x}");
            }
            text + more
        }
    }
}

const FIND_KIND: &str = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";

fn json_type_meta(bytes: &[u8]) -> Result<TypeMeta, String> {
    let failed = |text: String| format!("couldn't get version/kind; json parse error: {text}");
    go_json::validate(bytes).map_err(|error| failed(error.0))?;
    let text = String::from_utf8_lossy(bytes);
    let mut parser = Parser::new(&text);
    parser.at = skip_space(parser.bytes, 0);
    match parser.bytes[parser.at] {
        b'{' => parser.find_kind(),
        b'n' => Ok(TypeMeta::default()),
        byte => Err(Fault::Type(format!(
            "json: cannot unmarshal {} into Go value of type {FIND_KIND}",
            json_type(byte)
        ))),
    }
    .map_err(|fault| failed(fault.text()))
}

fn decode_json(bytes: &[u8], schema: Option<&Schema>) -> Result<Decoded, DecodeError> {
    // Go replaces invalid UTF-8 in strings; the syntax around it is judged on the bytes.
    let text = String::from_utf8_lossy(bytes);
    let mut parser = Parser::new(&text);
    let outcome = parser.document(schema);
    match outcome {
        Ok(value) => Ok(Decoded {
            value,
            unknown_fields: parser.strict,
        }),
        // The syntax of the whole body is judged before any type.
        Err(fault) => {
            go_json::validate(bytes).map_err(|error| DecodeError::Syntax(error.0))?;
            Err(DecodeError::Type(fault.text()))
        }
    }
}

enum Fault {
    Syntax(SyntaxError),
    Type(String),
}

impl Fault {
    fn text(self) -> String {
        match self {
            Fault::Syntax(error) => error.0,
            Fault::Type(text) => text,
        }
    }
}

impl From<SyntaxError> for Fault {
    fn from(error: SyntaxError) -> Self {
        Fault::Syntax(error)
    }
}

/// One step of the path to the value being read.
enum Step<'a> {
    /// A struct's field; the struct names the error's context.
    Field(&'a Object, usize),
    /// A key of a map or of an untyped object.
    Key(Cow<'a, str>),
    /// A list's item.
    Index(usize),
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    path: Vec<Step<'a>>,
    strict: Vec<String>,
    /// Inside types that decode themselves upstream, strictness does not reach.
    lenient: bool,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Parser {
            text,
            bytes: text.as_bytes(),
            at: 0,
            path: Vec::with_capacity(16),
            strict: Vec::new(),
            lenient: false,
        }
    }

    fn document(&mut self, schema: Option<&'a Schema>) -> Result<Value, Fault> {
        let value = match schema {
            Some(schema) => self.typed(schema)?.unwrap_or(Value::Null),
            None => self.untyped()?,
        };
        self.at = skip_space(self.bytes, self.at);
        match self.at == self.bytes.len() {
            true => Ok(value),
            false => Err(SyntaxError("trailing data".into()).into()),
        }
    }

    fn find_kind(&mut self) -> Result<TypeMeta, Fault> {
        let mut meta = TypeMeta::default();
        let mut first = true;
        while let Some(key) = self.next_key(&mut first)? {
            // Unlike everything else this is matched without regard to case.
            let (name, target) = if key.eq_ignore_ascii_case("apiVersion") {
                ("apiVersion", &mut meta.api_version)
            } else if key.eq_ignore_ascii_case("kind") {
                ("kind", &mut meta.kind)
            } else {
                self.at = skip_value(self.bytes, self.at)?;
                continue;
            };
            self.at = skip_space(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => *target = self.string()?.into_owned(),
                Some(b'n') => self.at = skip_value(self.bytes, self.at)?,
                byte => {
                    let found = json_type(byte.copied().unwrap_or_default());
                    return Err(Fault::Type(format!(
                        "json: cannot unmarshal {found} into Go struct field .{name} of type string"
                    )));
                }
            }
        }
        Ok(meta)
    }

    /// Reads the value at the cursor as `schema`; `None` for null.
    fn typed(&mut self, schema: &'a Schema) -> Result<Option<Value>, Fault> {
        self.at = skip_space(self.bytes, self.at);
        let Some(&byte) = self.bytes.get(self.at) else {
            return Err(SyntaxError("unexpected end of JSON input".into()).into());
        };
        if self.path.len() > DEPTH_MAX {
            return Err(Fault::Type("exceeded max depth".into()));
        }
        if byte == b'n' {
            self.at = skip_value(self.bytes, self.at)?;
            return Ok(None);
        }
        match (&schema.node, byte) {
            (Node::Object(object), b'{') => self.object(object).map(Some),
            (Node::Map(map), b'{') => self.map(&map.values, is_resource_list(schema)).map(Some),
            (Node::List(list), b'[') => self.list(&list.items).map(Some),
            (Node::Any, _) => {
                let outer = std::mem::replace(&mut self.lenient, true);
                let value = self.untyped();
                self.lenient = outer;
                value.map(Some)
            }
            (Node::Either(options), byte) => {
                let fits = options.iter().find(|option| accepts(option, byte));
                let Some(option) = fits.or(options.last()) else {
                    return Err(self.mismatch(schema, byte));
                };
                let outer = std::mem::replace(&mut self.lenient, true);
                let value = self.typed(option);
                self.lenient = outer;
                value
            }
            (_, b'{' | b'[') if !matches!(schema.node, Node::Quantity) => {
                Err(self.mismatch(schema, byte))
            }
            _ => self.scalar(schema, byte).map(Some),
        }
    }

    fn object(&mut self, object: &'a Object) -> Result<Value, Fault> {
        let mut members = Map::new();
        let mut seen = 0_u128;
        let mut first = true;
        while let Some(key) = self.next_key(&mut first)? {
            let Some(index) = object.field_index(&key) else {
                self.unknown(object, key, &mut members)?;
                continue;
            };
            self.path.push(Step::Field(object, index));
            let bit = 1_u128 << (index & 127);
            if seen & bit != 0 {
                self.note("duplicate");
            }
            let repeated = seen & bit != 0;
            seen |= bit;
            let field = &object.fields[index];
            let value = self.typed(&field.schema)?;
            self.path.pop();
            insert(&mut members, field, value, repeated);
        }
        Ok(Value::Object(members))
    }

    fn unknown(
        &mut self,
        object: &Object,
        key: Cow<'a, str>,
        members: &mut Map,
    ) -> Result<(), Fault> {
        let name = key.clone();
        self.path.push(Step::Key(key));
        if object.preserve_unknown {
            let value = self.untyped()?;
            members.insert(name.into(), value);
        } else {
            self.note("unknown");
            self.at = skip_value(self.bytes, self.at)?;
        }
        self.path.pop();
        Ok(())
    }

    fn map(&mut self, values: &'a Schema, resources: bool) -> Result<Value, Fault> {
        let mut members = Map::new();
        let mut first = true;
        while let Some(key) = self.next_key(&mut first)? {
            let name = Key::from(&*key);
            self.path.push(Step::Key(key));
            if members.contains_key(&name) {
                self.note("duplicate");
            }
            let value = self.typed(values)?;
            self.path.pop();
            let value = value.unwrap_or_else(|| normalise::zero(values));
            let value = match resources {
                true => normalise::resource_amount(value),
                false => value,
            };
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }

    fn list(&mut self, items: &'a Schema) -> Result<Value, Fault> {
        let mut values = Vec::new();
        self.at += 1;
        loop {
            self.at = skip_space(self.bytes, self.at);
            match (self.bytes.get(self.at), values.is_empty()) {
                (Some(b']'), true) => break,
                (_, true) => {}
                (Some(b','), false) => self.at += 1,
                (Some(b']'), false) => break,
                _ => return Err(SyntaxError("after array element".into()).into()),
            }
            self.path.push(Step::Index(values.len()));
            let value = self.typed(items)?;
            self.path.pop();
            values.push(value.unwrap_or_else(|| normalise::zero(items)));
        }
        self.at += 1;
        Ok(Value::Array(values))
    }

    fn scalar(&mut self, schema: &'a Schema, byte: u8) -> Result<Value, Fault> {
        match (&schema.node, byte) {
            (Node::String, b'"') => Ok(Value::String(self.string()?.into_owned())),
            (Node::IntOrString, b'"') => Ok(Value::String(self.string()?.into_owned())),
            (Node::Bool, b't' | b'f') => {
                self.at = skip_value(self.bytes, self.at)?;
                Ok(Value::Bool(byte == b't'))
            }
            (Node::Bytes, b'"') => {
                let text = self.string()?;
                normalise::base64(&text)
                    .map(Value::String)
                    .map_err(Fault::Type)
            }
            (Node::Time, b'"') => {
                let text = self.string()?;
                normalise::time(&text).map_err(Fault::Type)
            }
            (Node::MicroTime, b'"') => {
                let text = self.string()?;
                normalise::micro_time(&text).map_err(Fault::Type)
            }
            (Node::Quantity, _) => {
                let text = match byte {
                    b'"' => self.string()?,
                    _ => Cow::Borrowed(self.raw()?),
                };
                normalise::quantity(&text)
                    .map(Value::String)
                    .map_err(Fault::Type)
            }
            (Node::Int32 | Node::Int64 | Node::IntOrString | Node::Number, b'-' | b'0'..=b'9') => {
                self.number(schema)
            }
            _ => Err(self.mismatch(schema, byte)),
        }
    }

    fn number(&mut self, schema: &'a Schema) -> Result<Value, Fault> {
        let literal = self.raw()?;
        let number = match schema.node {
            Node::Int64 => literal.parse::<i64>().ok().map(Number::from),
            Node::Number => literal.parse::<f64>().ok().and_then(float),
            _ => literal.parse::<i32>().ok().map(Number::from),
        };
        number
            .map(Value::Number)
            .ok_or_else(|| self.mismatch_text(&format!("number {literal}"), number_type(schema)))
    }

    /// Reads any value, keeping nulls.
    fn untyped(&mut self) -> Result<Value, Fault> {
        self.at = skip_space(self.bytes, self.at);
        if self.path.len() > DEPTH_MAX {
            return Err(Fault::Type("exceeded max depth".into()));
        }
        match self.bytes.get(self.at) {
            Some(b'{') => {
                let mut members = Map::new();
                let mut first = true;
                while let Some(key) = self.next_key(&mut first)? {
                    let name = Key::from(&*key);
                    self.path.push(Step::Key(key));
                    if members.contains_key(&name) {
                        self.note("duplicate");
                    }
                    let value = self.untyped()?;
                    self.path.pop();
                    members.insert(name, value);
                }
                Ok(Value::Object(members))
            }
            Some(b'[') => self.untyped_list(),
            Some(b'"') => Ok(Value::String(self.string()?.into_owned())),
            Some(b'-' | b'0'..=b'9') => {
                let literal = self.raw()?;
                untyped_number(literal)
                    .map(Value::Number)
                    .ok_or_else(|| self.mismatch_text(&format!("number {literal}"), "float64"))
            }
            byte => {
                let byte = byte.copied();
                self.at = skip_value(self.bytes, self.at)?;
                Ok(match byte {
                    Some(b't') => Value::Bool(true),
                    Some(b'f') => Value::Bool(false),
                    _ => Value::Null,
                })
            }
        }
    }

    fn untyped_list(&mut self) -> Result<Value, Fault> {
        let mut values = Vec::new();
        self.at += 1;
        loop {
            self.at = skip_space(self.bytes, self.at);
            match (self.bytes.get(self.at), values.is_empty()) {
                (Some(b']'), _) => break,
                (_, true) => {}
                (Some(b','), false) => self.at += 1,
                _ => return Err(SyntaxError("after array element".into()).into()),
            }
            self.path.push(Step::Index(values.len()));
            values.push(self.untyped()?);
            self.path.pop();
        }
        self.at += 1;
        Ok(Value::Array(values))
    }

    /// Moves past the next key and its colon; `None` past the object's end. The cursor stands on the
    /// opening brace when `first`.
    fn next_key(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, Fault> {
        self.at = skip_space(self.bytes, self.at + usize::from(*first));
        match (self.bytes.get(self.at), *first) {
            (Some(b'}'), _) => {
                self.at += 1;
                return Ok(None);
            }
            (Some(b','), false) => self.at = skip_space(self.bytes, self.at + 1),
            (_, true) => {}
            _ => return Err(SyntaxError("after object key:value pair".into()).into()),
        }
        *first = false;
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(SyntaxError("object key".into()).into());
        }
        let key = self.string()?;
        self.at = skip_space(self.bytes, self.at);
        match self.bytes.get(self.at) {
            Some(b':') => self.at += 1,
            _ => return Err(SyntaxError("after object key".into()).into()),
        }
        Ok(Some(key))
    }

    /// The scalar's text as it stands.
    fn raw(&mut self) -> Result<&'a str, Fault> {
        let end = skip_value(self.bytes, self.at)?;
        let raw = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        Ok(raw)
    }

    /// Reads the string whose quote the cursor stands on.
    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at;
        let end = skip_string(self.bytes, start)?;
        self.at = end;
        let inner = self.text.get(start + 1..end - 1).unwrap_or_default();
        match memchr::memchr(b'\\', inner.as_bytes()) {
            None => Ok(Cow::Borrowed(inner)),
            Some(_) => Ok(Cow::Owned(unescape(inner))),
        }
    }

    fn note(&mut self, what: &str) {
        if self.lenient || self.strict.len() >= STRICT_ERRORS_MAX {
            return;
        }
        let text = format!("{what} field {}", quote(&self.strict_path()));
        if !self.strict.contains(&text) {
            self.strict.push(text);
        }
    }

    /// `spec.containers[0].image`.
    fn strict_path(&self) -> String {
        use std::fmt::Write as _;
        let mut path = String::new();
        for step in &self.path {
            let name: &str = match step {
                Step::Field(object, index) => &object.fields[*index].name,
                Step::Key(key) => key,
                Step::Index(index) => {
                    let _ = write!(path, "[{index}]");
                    continue;
                }
            };
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
        }
        path
    }

    fn mismatch(&self, schema: &Schema, byte: u8) -> Fault {
        let go_type = match schema.node {
            Node::Time | Node::MicroTime => "string",
            Node::IntOrString => "int32",
            _ => &schema.go_type,
        };
        self.mismatch_text(json_type(byte), go_type)
    }

    /// `cannot unmarshal X into Go struct field Struct.a.b of type T`: the innermost struct and the
    /// names of all fields on the way, without map keys and indexes.
    fn mismatch_text(&self, found: &str, go_type: &str) -> Fault {
        let mut fields = String::new();
        let mut context = None;
        for step in &self.path {
            if let Step::Field(object, index) = step {
                if !fields.is_empty() {
                    fields.push('.');
                }
                fields.push_str(&object.fields[*index].name);
                context = Some(object.short_name());
            }
        }
        Fault::Type(match context {
            Some(context) => format!(
                "json: cannot unmarshal {found} into Go struct field {context}.{fields} of type {go_type}"
            ),
            None => format!("json: cannot unmarshal {found} into Go value of type {go_type}"),
        })
    }
}

/// Null is as good as absent. A repeated struct or map field adds to what is there, as in Go.
fn insert(members: &mut Map, field: &Field, value: Option<Value>, repeated: bool) {
    let Some(value) = value else {
        return;
    };
    if repeated
        && let (Some(Value::Object(old)), Value::Object(new)) =
            (members.get_mut(&field.name), &value)
    {
        old.extend(new.clone());
        return;
    }
    members.insert(field.key(), value);
}

fn is_resource_list(schema: &Schema) -> bool {
    schema.go_type == "v1.ResourceList"
}

fn accepts(schema: &Schema, byte: u8) -> bool {
    match schema.node {
        Node::Object(_) | Node::Map(_) => byte == b'{',
        Node::List(_) => byte == b'[',
        Node::Bool => matches!(byte, b't' | b'f'),
        _ => false,
    }
}

fn number_type(schema: &Schema) -> &str {
    match schema.node {
        Node::IntOrString => "int32",
        _ => &schema.go_type,
    }
}

/// Go's name for the JSON type that starts with `byte`.
fn json_type(byte: u8) -> &'static str {
    match byte {
        b'{' => "object",
        b'[' => "array",
        b'"' => "string",
        b't' | b'f' => "bool",
        b'n' => "null",
        _ => "number",
    }
}

/// Whole floats are kept as integers, so that they print without `.0`, as Go's do.
fn float(value: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value.fract() == 0.0 && value.abs() < EXACT {
        true => Some(Number::from(value as i64)),
        false => Number::from_f64(value),
    }
}

/// Integers stay integers where they fit; everything else is a float.
pub(crate) fn untyped_number(literal: &str) -> Option<Number> {
    match literal.parse::<i64>() {
        Ok(integer) => Some(Number::from(integer)),
        Err(_) => literal.parse::<f64>().ok().and_then(Number::from_f64),
    }
}

/// Resolves the escapes of a string that the scanner has accepted. Lone surrogates become U+FFFD.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let code = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or_default();
        match code {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => rest = unescape_unicode(rest, &mut out),
            other => out.push(char::from(other)),
        }
    }
    out.push_str(rest);
    out
}

/// Reads four hex digits, and a second escape where they are a high surrogate; the rest.
fn unescape_unicode<'t>(text: &'t str, out: &mut String) -> &'t str {
    let unit = |text: &str| {
        text.get(..4)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
    };
    let first = unit(text).unwrap_or(0xfffd);
    let rest = text.get(4..).unwrap_or_default();
    if (0xd800..0xdc00).contains(&first)
        && let Some(tail) = rest.strip_prefix("\\u")
        && let Some(second @ 0xdc00..0xe000) = unit(tail)
    {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        return tail.get(4..).unwrap_or_default();
    }
    out.push(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::GroupVersionKind;
    use crate::api::schema::builtin;
    use crate::base::tree::json;
    use proptest::prelude::*;

    fn schema(group: &'static str, kind: &'static str) -> &'static Schema {
        builtin(&GroupVersionKind::new(group, "v1", kind)).expect("built-in kind")
    }

    fn json_of(kind: &'static str, group: &'static str, text: &str) -> Result<Decoded, String> {
        decode(text.as_bytes(), Format::Json, Some(schema(group, kind))).map_err(|e| e.to_string())
    }

    #[test]
    fn type_errors_in_gos_words() {
        for (group, kind, text, want) in [
            (
                "",
                "ConfigMap",
                r#"{"data":{"a":1}}"#,
                "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
            ),
            (
                "",
                "ConfigMap",
                r#"{"data":{"a":{}}}"#,
                "json: cannot unmarshal object into Go struct field ConfigMap.data of type string",
            ),
            (
                "",
                "ConfigMap",
                r#"{"data":[]}"#,
                "json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string",
            ),
            (
                "",
                "ConfigMap",
                r#"{"immutable":"x"}"#,
                "json: cannot unmarshal string into Go struct field ConfigMap.immutable of type bool",
            ),
            (
                "",
                "ConfigMap",
                r#"{"metadata":{"name":true}}"#,
                "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.name of type string",
            ),
            (
                "",
                "ConfigMap",
                r#"{"metadata":{"labels":{"a":5}}}"#,
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                "",
                "ConfigMap",
                r#"{"metadata":[]}"#,
                "json: cannot unmarshal array into Go struct field ConfigMap.metadata of type v1.ObjectMeta",
            ),
            (
                "apps",
                "Deployment",
                r#"{"spec":{"replicas":"1"}}"#,
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                "apps",
                "Deployment",
                r#"{"spec":{"replicas":1.5}}"#,
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                "apps",
                "Deployment",
                r#"{"spec":{"replicas":3000000000}}"#,
                "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                "apps",
                "Deployment",
                r#"{"spec":{"selector":"x"}}"#,
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.selector of type v1.LabelSelector",
            ),
            (
                "",
                "Pod",
                r#"{"spec":{"containers":[{"image":5}]}}"#,
                "json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string",
            ),
            (
                "",
                "Pod",
                r#"{"spec":{"containers":{}}}"#,
                "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
            ),
            (
                "",
                "Pod",
                r#"{"spec":{"dnsPolicy":5}}"#,
                "json: cannot unmarshal number into Go struct field PodSpec.spec.dnsPolicy of type v1.DNSPolicy",
            ),
            (
                "",
                "Secret",
                r#"{"data":{"a":"!"}}"#,
                "illegal base64 data at input byte 0",
            ),
            (
                "",
                "Secret",
                r#"{"data":{"a":"abc"}}"#,
                "illegal base64 data at input byte 0",
            ),
            (
                "",
                "Secret",
                r#"{"data":{"a":"abc!"}}"#,
                "illegal base64 data at input byte 3",
            ),
            (
                "",
                "ResourceQuota",
                r#"{"spec":{"hard":{"cpu":"x"}}}"#,
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            (
                "",
                "ConfigMap",
                r#"{"data":{"a":1},"#,
                "unexpected end of JSON input",
            ),
            (
                "",
                "ConfigMap",
                "{}}",
                "invalid character '}' after top-level value",
            ),
        ] {
            assert_eq!(
                json_of(kind, group, text).map(|d| d.value),
                Err(want.into()),
                "{text}"
            );
        }
    }

    #[test]
    fn strict_errors_come_in_document_order() {
        let text = r#"{"kind":"Pod","metadata":{"lables":{"x":[1,{}]},"name":"a","name":"b"},
            "spec":{"containers":[{"imagePull":1,"ports":[{"hostport":1}]}],"nodeNam":"x","NodeName":"y"},
            "metadata":{"namespace":"n"}}"#;
        let decoded = json_of("Pod", "", text).expect("lenient");
        assert_eq!(
            decoded.unknown_fields,
            [
                "unknown field \"metadata.lables\"",
                "duplicate field \"metadata.name\"",
                "unknown field \"spec.containers[0].imagePull\"",
                "unknown field \"spec.containers[0].ports[0].hostport\"",
                "unknown field \"spec.nodeNam\"",
                "unknown field \"spec.NodeName\"",
                "duplicate field \"metadata\"",
            ]
        );
        assert_eq!(
            decoded.value,
            json!({
                "kind": "Pod", "metadata": {"name": "b", "namespace": "n"},
                "spec": {"containers": [{"ports": [{}]}]},
            })
        );
    }

    #[test]
    fn scalars_become_canonical() {
        let text = r#"{"metadata":{"creationTimestamp":null,"deletionTimestamp":"2024-01-02T03:04:05.5+01:00"},
            "spec":{"containers":[{"name":"\u00e9\ud83d\ude00\ud800x","resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}},
            "ports":[{"containerPort":80}],"livenessProbe":{"httpGet":{"port":"http"}}}]}}"#;
        let decoded = json_of("Pod", "", text).expect("valid");
        assert_eq!(
            decoded.value,
            json!({
                "metadata": {"deletionTimestamp": "2024-01-02T02:04:05Z"},
                "spec": {"containers": [{"name": "é😀\u{fffd}x", "ports": [{"containerPort": 80}],
                    "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                    "livenessProbe": {"httpGet": {"port": "http"}}}]},
            })
        );
    }

    #[test]
    fn schemas_of_custom_resources_decode() {
        let text = r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"bogusKey":1,"properties":{"a":{
            "type":"array","items":{"type":"string","bogus":1},"default":[1.5,null],
            "additionalProperties":false}}}}}]}}"#;
        let decoded =
            json_of("CustomResourceDefinition", "apiextensions.k8s.io", text).expect("valid");
        assert_eq!(
            decoded.unknown_fields,
            ["unknown field \"spec.versions[0].schema.openAPIV3Schema.bogusKey\""]
        );
        let a =
            &decoded.value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["a"];
        assert_eq!(
            a,
            &json!({"type": "array", "items": {"type": "string"}, "default": [1.5, null], "additionalProperties": false})
        );
    }

    #[test]
    fn depth_is_limited() {
        let nested = |open: &str, close: &str, levels: usize| {
            format!("{}1{}", open.repeat(levels), close.repeat(levels))
        };
        for schema in [None, Some(schema("", "Pod"))] {
            let decode = |text: &str| decode(text.as_bytes(), Format::Json, schema);
            let refused = Err(DecodeError::Type("exceeded max depth".into()));
            let managed = |levels| {
                let fields = nested("{\"a\":[", "]}", levels);
                format!(r#"{{"metadata":{{"managedFields":[{{"fieldsV1":{fields}}}]}}}}"#)
            };
            assert!(decode(&managed(50)).is_ok());
            assert_eq!(decode(&managed(100)), refused);
        }
        // What is dropped may be deeper.
        let text = format!(r#"{{"unknown":{}}}"#, nested("[", "]", 5000));
        let decoded = json_of("Pod", "", &text).expect("dropped");
        assert_eq!(decoded.unknown_fields, ["unknown field \"unknown\""]);
        let yaml = decode(nested("[", "]", 1000).as_bytes(), Format::Yaml, None);
        assert!(yaml.is_err());
    }

    #[test]
    fn without_schema_everything_stays() {
        let text =
            r#"{"a":null,"b":[1,2.0,1e3,18446744073709551615],"a":1,"c":{"d":{"e":1,"e":2}}}"#;
        let decoded = decode(text.as_bytes(), Format::Json, None).expect("valid");
        assert_eq!(
            decoded.unknown_fields,
            ["duplicate field \"a\"", "duplicate field \"c.d.e\""]
        );
        assert_eq!(
            decoded.value,
            json!({"a": 1, "b": [1, 2.0, 1000.0, 18446744073709551615.0], "c": {"d": {"e": 2}}})
        );
    }

    #[test]
    fn type_meta_and_its_errors() {
        let meta = |text: &str, format| type_meta(text.as_bytes(), format);
        let known = TypeMeta {
            api_version: "v1".into(),
            kind: "Pod".into(),
        };
        assert_eq!(
            meta(
                r#"{"apiVersion":"v1","spec":{},"kind":"Pod"}"#,
                Format::Json
            ),
            Ok(known.clone())
        );
        assert_eq!(meta("apiVersion: v1\nkind: Pod\n", Format::Yaml), Ok(known));
        for (text, format, want) in [
            ("{", Format::Json, "couldn't get version/kind; json parse error: unexpected end of JSON input".to_string()),
            ("\"x\"", Format::Json, format!("couldn't get version/kind; json parse error: json: cannot unmarshal string into Go value of type {FIND_KIND}")),
            ("- a", Format::Yaml, format!("couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type {FIND_KIND}")),
            (r#"{"apiVersion":5}"#, Format::Json, "couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .apiVersion of type string".to_string()),
            ("a: [", Format::Yaml, "yaml: line 1: did not find expected node content".to_string()),
        ] {
            assert_eq!(meta(text, format), Err(want), "{text}");
        }
        assert_eq!(summarize(b""), "<empty>");
        assert_eq!(summarize(b"a: b"), "613a2062");
        assert_eq!(
            summarize(br#"{"apiVersion":5,"kind":"ConfigMap"}"#),
            r#"{"apiVersion":5,"kind":"Config ..."#
        );
    }

    #[test]
    fn block_scalars_may_end_with_the_input() {
        // Found by a property below.
        for text in [
            "|\n  metadata",
            "data:\n  a: |\n    b",
            "data:\n  a: >-\n    b",
        ] {
            let _ = decode(text.as_bytes(), Format::Yaml, Some(schema("", "ConfigMap")));
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, Format::Json, Some(schema("", "Pod")));
            let _ = decode(&bytes, Format::Yaml, Some(schema("", "Pod")));
            let _ = type_meta(&bytes, Format::Json);
        }

        #[test]
        fn no_yaml_like_input_panics(text in "(metadata|spec|data|binaryData|: |:|- |\n|\n  |\\{|\\}|\\[|\\]|,|&a|\\*a|<<|!!binary|\\||>|'|\"|#|---|~|0x1|1e9|é| |.){0,24}") {
            for kind in ["Pod", "ConfigMap"] {
                let _ = decode(text.as_bytes(), Format::Yaml, Some(schema("", kind)));
                let _ = decode(text.as_bytes(), Format::Json, Some(schema("", kind)));
            }
        }

        #[test]
        fn no_json_like_input_panics(text in r#"(\{|\}|\[|\]|:|,|"|\\u|1|-|e|null|"metadata"|"spec"| ){0,40}"#) {
            let _ = decode(text.as_bytes(), Format::Json, Some(schema("", "Pod")));
            let _ = decode(text.as_bytes(), Format::Json, None);
            let _ = decode(text.as_bytes(), Format::Yaml, None);
        }
    }
}
