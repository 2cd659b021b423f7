//! Field paths and field errors: what validation speaks.
//!
//! A [`Path`] is a linked list on the stack; it becomes text only when an error is reported,
//! so valid objects pay nothing. Error texts follow apimachinery's `util/validation/field`
//! (contract/handler_chain.md §8, contract/validation.md).

use std::fmt::{self, Write};

use crate::api::status::Cause;
use crate::base::tree::Value;

/// A path into an object: `spec.containers[0].env[1].name`, `data[key]`.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// The object itself.
    pub const ROOT: Path<'static> = Path {
        parent: None,
        step: Step::Root,
    };

    /// `self.name`. `name` may itself contain dots (`"spec.template"`).
    pub fn field(&'a self, name: &'a str) -> Path<'a> {
        Path {
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    /// `self[index]`.
    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    /// `self[key]`.
    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path {
            parent: Some(self),
            step: Step::Key(key),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at_root = true;
        if let Some(parent) = self.parent {
            fmt::Display::fmt(parent, f)?;
            at_root = matches!(parent.step, Step::Root);
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if at_root => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// The kinds of field errors; [`ErrorType::reason`] and `Display` give the wire forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// A referred object is missing.
    NotFound,
    /// A value is missing.
    Required,
    /// A value clashes with another.
    Duplicate,
    /// A value is malformed or not allowed.
    Invalid,
    /// A value is not one of an enumeration.
    NotSupported,
    /// A value may not be set here.
    Forbidden,
    /// A value is too long in bytes.
    TooLong,
    /// A value is too short.
    TooShort,
    /// A list is too long.
    TooMany,
    /// A list is too short.
    TooFew,
    /// A value has the wrong type.
    TypeInvalid,
    /// Validation itself failed.
    Internal,
}

impl ErrorType {
    /// The `reason` of the cause, for example `FieldValueInvalid`.
    pub fn reason(self) -> &'static str {
        match self {
            ErrorType::NotFound => "FieldValueNotFound",
            ErrorType::Required => "FieldValueRequired",
            ErrorType::Duplicate => "FieldValueDuplicate",
            ErrorType::Invalid => "FieldValueInvalid",
            ErrorType::NotSupported => "FieldValueNotSupported",
            ErrorType::Forbidden => "FieldValueForbidden",
            ErrorType::TooLong => "FieldValueTooLong",
            ErrorType::TooShort => "FieldValueTooShort",
            ErrorType::TooMany => "FieldValueTooMany",
            ErrorType::TooFew => "FieldValueTooFew",
            ErrorType::TypeInvalid => "FieldValueTypeInvalid",
            ErrorType::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            ErrorType::NotFound => "Not found",
            ErrorType::Required => "Required value",
            ErrorType::Duplicate => "Duplicate value",
            ErrorType::Invalid | ErrorType::TypeInvalid => "Invalid value",
            ErrorType::NotSupported => "Unsupported value",
            ErrorType::Forbidden => "Forbidden",
            ErrorType::TooLong => "Too long",
            ErrorType::TooShort => "Too short",
            ErrorType::TooMany => "Too many",
            ErrorType::TooFew => "Too few",
            ErrorType::Internal => "Internal error",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(
            self,
            ErrorType::Required
                | ErrorType::Forbidden
                | ErrorType::TooLong
                | ErrorType::TooShort
                | ErrorType::Internal
        )
    }
}

/// One field error.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: ErrorType,
    /// Where, as text.
    pub field: String,
    /// The bad value as it should be printed (see [`print_value`]); empty to leave it out.
    pub bad_value: String,
    /// Why.
    pub detail: String,
}

/// A list of field errors in the order found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldErrors(pub Vec<FieldError>);

/// Prints a bad value as Go's `field.Error` does: strings quoted as Go quotes, numbers and
/// booleans bare, everything else as JSON with Go's HTML escapes.
pub fn print_value(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::String(text) => go_quote(text),
        other => escape_html(other.to_string()),
    }
}

/// Replaces `<`, `>`, `&` and the line separators as Go's encoding/json does.
pub fn escape_html(text: String) -> String {
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Quotes a string as Go's `%q` does.
pub fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if (0x80..0xa0).contains(&(c as u32)) || c as u32 == 0xad || c as u32 == 0xfeff => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl FieldErrors {
    /// No error was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an error whose bad value is already printed.
    pub fn push(
        &mut self,
        kind: ErrorType,
        path: &Path<'_>,
        bad_value: String,
        detail: impl Into<String>,
    ) {
        self.0.push(FieldError {
            kind,
            field: path.to_string(),
            bad_value,
            detail: detail.into(),
        });
    }

    /// `Required value[: detail]`.
    pub fn required(&mut self, path: &Path<'_>, detail: impl Into<String>) {
        self.push(ErrorType::Required, path, String::new(), detail);
    }

    /// `Invalid value: <value>: detail`.
    pub fn invalid(&mut self, path: &Path<'_>, value: &Value, detail: impl Into<String>) {
        self.push(ErrorType::Invalid, path, print_value(value), detail);
    }

    /// `Invalid value: "<text>": detail`.
    pub fn invalid_str(&mut self, path: &Path<'_>, text: &str, detail: impl Into<String>) {
        self.push(ErrorType::Invalid, path, go_quote(text), detail);
    }

    /// `Unsupported value: <value>: supported values: "a", "b"`. Values are printed in the order given.
    pub fn not_supported(&mut self, path: &Path<'_>, value: &Value, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| go_quote(s)).collect();
        let detail = if list.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", list.join(", "))
        };
        self.push(ErrorType::NotSupported, path, print_value(value), detail);
    }

    /// `Forbidden: detail`.
    pub fn forbidden(&mut self, path: &Path<'_>, detail: impl Into<String>) {
        self.push(ErrorType::Forbidden, path, String::new(), detail);
    }

    /// `Duplicate value: <value>`.
    pub fn duplicate(&mut self, path: &Path<'_>, value: &Value) {
        self.push(ErrorType::Duplicate, path, print_value(value), "");
    }

    /// `Not found: <value>`.
    pub fn not_found(&mut self, path: &Path<'_>, value: &Value) {
        self.push(ErrorType::NotFound, path, print_value(value), "");
    }

    /// `Too long: may not be more than N bytes`.
    pub fn too_long(&mut self, path: &Path<'_>, max_bytes: usize) {
        let noun = if max_bytes == 1 { "byte" } else { "bytes" };
        self.push(
            ErrorType::TooLong,
            path,
            String::new(),
            format!("may not be more than {max_bytes} {noun}"),
        );
    }

    /// `Invalid value: detail`: without the value (upstream's omitted values).
    pub fn invalid_omitted(&mut self, path: &Path<'_>, detail: impl Into<String>) {
        self.push(ErrorType::Invalid, path, String::new(), detail);
    }

    /// `Too few: <actual>: must have at least N items`.
    pub fn too_few(&mut self, path: &Path<'_>, actual: usize, min: usize) {
        let noun = if min == 1 { "item" } else { "items" };
        self.push(
            ErrorType::TooFew,
            path,
            actual.to_string(),
            format!("must have at least {min} {noun}"),
        );
    }

    /// `Too many: <actual>: must have at most N items`.
    pub fn too_many(&mut self, path: &Path<'_>, actual: usize, max: usize) {
        let noun = if max == 1 { "item" } else { "items" };
        self.push(
            ErrorType::TooMany,
            path,
            actual.to_string(),
            format!("must have at most {max} {noun}"),
        );
    }

    /// `Internal error: detail`.
    pub fn internal(&mut self, path: &Path<'_>, detail: impl Into<String>) {
        self.push(ErrorType::Internal, path, String::new(), detail);
    }

    /// Moves all errors of `other` to the end of this list.
    pub fn extend(&mut self, other: FieldErrors) {
        self.0.extend(other.0);
    }

    /// The message of an `Invalid` status: one error bare, several as `[a, b]`, duplicates dropped.
    pub fn to_aggregate(&self) -> String {
        let mut texts: Vec<String> = Vec::with_capacity(self.0.len());
        for error in &self.0 {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        match texts.len() {
            1 => texts.remove(0),
            _ => format!("[{}]", texts.join(", ")),
        }
    }

    /// The causes of an `Invalid` status, one per error.
    pub fn causes(&self) -> Vec<Cause> {
        self.0
            .iter()
            .map(|error| Cause {
                reason: error.kind.reason().into(),
                message: error.body(),
                field: error.field.clone(),
            })
            .collect()
    }
}

impl FieldError {
    /// The text without the field: `Invalid value: "x": must be y`.
    pub fn body(&self) -> String {
        let mut out = self.kind.text().to_string();
        if self.kind.shows_value() && !self.bad_value.is_empty() {
            out.push_str(": ");
            out.push_str(&self.bad_value);
        }
        if !self.detail.is_empty() {
            out.push_str(": ");
            out.push_str(&self.detail);
        }
        out
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}
