//! The forward scanner: checks a whole JSON text and reads layout, labels and fields off it.

use std::ops::Range;

use super::plain::plain_len;
use super::shape::Node;
use super::{Error, FieldValue, LabelSpan, Labels, Shape};

/// Deepest nesting taken; deeper values are left to the parser, which refuses them.
const DEPTH_MAX: usize = 200;

/// Where the pieces of a text in the canonical order are.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Just behind `"metadata":{`.
    pub(super) insert: usize,
    /// Whether `metadata` has no field.
    pub(super) metadata_empty: bool,
    /// End of the object.
    pub(super) end: usize,
}

/// What one scan found.
pub(super) struct Scan {
    /// Present when the text begins `{"kind":…,"apiVersion":…,"metadata":{`.
    pub(super) layout: Option<Layout>,
    /// No white space, no repeated or escaped key where it matters, nothing to leave out.
    pub(super) canonical: bool,
    pub(super) labels: Labels,
    pub(super) fields: Vec<FieldValue>,
}

/// Scans `text`.
pub(super) fn scan(text: &[u8], shape: &Shape) -> Result<Scan, Error> {
    if let Err(error) = std::str::from_utf8(text) {
        return Err(Error::Invalid {
            at: error.valid_up_to(),
            what: "UTF-8",
        });
    }
    if text.len() > u32::MAX as usize / 2 {
        return Err(Error::NotAnObject {
            what: "less than 2 GiB",
        });
    }
    let mut scanner = Scanner {
        text,
        at: 0,
        canonical: true,
        fields: vec![FieldValue::Missing; shape.fields().len()],
        spans: Vec::new(),
        odd: Vec::new(),
    };
    let layout = scanner.top(&shape.root)?;
    Ok(Scan {
        layout,
        canonical: scanner.canonical,
        labels: Labels::new(scanner.spans, scanner.odd),
        fields: scanner.fields,
    })
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    canonical: bool,
    fields: Vec<FieldValue>,
    spans: Vec<LabelSpan>,
    odd: Vec<(String, String)>,
}

/// A string's place, without quotes.
struct Text {
    range: Range<usize>,
    escaped: bool,
}

impl<'a> Scanner<'a> {
    fn top(&mut self, root: &Node) -> Result<Option<Layout>, Error> {
        self.white();
        if self.peek() != Some(b'{') {
            self.value(None, 0)?;
            self.end()?;
            return Err(Error::NotAnObject { what: "an object" });
        }
        self.at += 1;
        let mut position = 0;
        let mut in_order = true;
        let mut insert = None;
        let mut metadata_empty = false;
        self.members(|scanner, key| {
            let name = &scanner.text[key.range.clone()];
            scanner.canonical &= !key.escaped;
            let expected: &[u8] = match position {
                0 => b"kind",
                1 => b"apiVersion",
                2 => b"metadata",
                _ => b"",
            };
            match name {
                b"kind" | b"apiVersion" => {
                    in_order &= name == expected && scanner.peek() == Some(b'"');
                }
                b"metadata" => {
                    in_order &= name == expected && scanner.peek() == Some(b'{');
                }
                _ => in_order &= position > 2,
            }
            position += 1;
            let node = root.child(name);
            if name == b"metadata" && scanner.peek() == Some(b'{') {
                insert = Some(scanner.at + 1);
                metadata_empty = scanner.metadata(node)?;
                return Ok(());
            }
            scanner.value(node, 1)
        })?;
        let end = self.at;
        self.end()?;
        Ok(insert.filter(|_| in_order).map(|insert| Layout {
            insert,
            metadata_empty,
            end,
        }))
    }

    /// At the `{` of metadata. Answers whether it is empty.
    fn metadata(&mut self, node: Option<&Node>) -> Result<bool, Error> {
        self.at += 1;
        let mut empty = true;
        self.members(|scanner, key| {
            empty = false;
            scanner.canonical &= !key.escaped;
            let name = &scanner.text[key.range.clone()];
            match name {
                b"resourceVersion" | b"selfLink" => scanner.canonical = false,
                b"labels" if scanner.peek() == Some(b'{') => return scanner.labels(),
                _ => {}
            }
            scanner.value(node.and_then(|node| node.child(name)), 2)
        })?;
        Ok(empty)
    }

    /// At the `{` of labels. Entries that are no strings are no labels.
    fn labels(&mut self) -> Result<(), Error> {
        self.at += 1;
        self.canonical &= self.spans.is_empty() && self.odd.is_empty();
        self.spans.clear();
        self.odd.clear();
        self.members(|scanner, key| {
            if scanner.peek() != Some(b'"') {
                return scanner.value(None, 3);
            }
            let value = scanner.string()?;
            let lens = (
                u16::try_from(key.range.len()),
                u16::try_from(value.range.len()),
            );
            match lens {
                (Ok(key_len), Ok(value_len)) if !key.escaped && !value.escaped => {
                    scanner.spans.push(LabelSpan {
                        key: key.range.start as u32,
                        key_len,
                        value_len,
                    });
                }
                _ => {
                    let pair = (scanner.decode(&key), scanner.decode(&value));
                    scanner.odd.push(pair);
                }
            }
            Ok(())
        })
    }

    /// Behind a `{`: calls `member` behind every `"key":`, up to and with the `}`.
    fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, Text) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.white();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.invalid("a key"));
            }
            let key = self.string()?;
            self.white();
            if !self.take(b':') {
                return Err(self.invalid("a colon"));
            }
            self.white();
            member(self, key)?;
            self.white();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.invalid("a comma or the end of an object"));
            }
            self.white();
        }
    }

    fn value(&mut self, node: Option<&Node>, depth: usize) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(self.invalid("less nesting"));
        }
        let ends = node.map(|node| node.ends.as_slice()).unwrap_or_default();
        match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                self.keep(ends, |scanner| scanner.field(&text));
                Ok(())
            }
            Some(b'{') => {
                self.at += 1;
                self.keep(ends, |_| FieldValue::Missing);
                self.members(|scanner, key| match node {
                    None => scanner.value(None, depth + 1),
                    Some(node) => {
                        scanner.canonical &= !key.escaped;
                        let name = &scanner.text[key.range];
                        scanner.value(node.child(name), depth + 1)
                    }
                })
            }
            Some(b'[') => {
                self.keep(ends, |_| FieldValue::Missing);
                self.array(depth)
            }
            Some(b't') => self.literal(b"true", ends),
            Some(b'f') => self.literal(b"false", ends),
            Some(b'n') => {
                self.literal(b"null", &[])?;
                self.keep(ends, |_| FieldValue::Missing);
                Ok(())
            }
            _ => self.number(ends),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Error> {
        self.at += 1;
        self.white();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(None, depth + 1)?;
            self.white();
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.invalid("a comma or the end of an array"));
            }
            self.white();
        }
    }

    fn literal(&mut self, word: &[u8], ends: &[usize]) -> Result<(), Error> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.invalid("a value"));
        }
        let start = self.at;
        self.at += word.len();
        self.keep(ends, |_| span(start..start + word.len()));
        Ok(())
    }

    fn number(&mut self, ends: &[usize]) -> Result<(), Error> {
        let start = self.at;
        let _ = self.take(b'-');
        if !self.take(b'0') && !self.digits() {
            return Err(self.invalid("a value"));
        }
        if self.take(b'.') && !self.digits() {
            return Err(self.invalid("a digit"));
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            if !self.digits() {
                return Err(self.invalid("a digit"));
            }
        }
        let end = self.at;
        self.keep(ends, |_| span(start..end));
        Ok(())
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at > start
    }

    /// At a `"`.
    fn string(&mut self) -> Result<Text, Error> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_len(&self.text[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    let range = start..self.at - 1;
                    return Ok(Text { range, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.invalid("no control character")),
                None => return Err(self.invalid("the end of a string")),
            }
        }
    }

    /// At a `\`.
    fn escape(&mut self) -> Result<(), Error> {
        let rest = &self.text[self.at + 1..];
        match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') if rest.len() > 4 && rest[1..5].iter().all(u8::is_ascii_hexdigit) => {
                self.at += 6;
            }
            _ => return Err(self.invalid("an escape")),
        }
        Ok(())
    }

    fn keep(&mut self, ends: &[usize], value: impl Fn(&Self) -> FieldValue) {
        for &end in ends {
            self.fields[end] = value(self);
        }
    }

    fn field(&self, text: &Text) -> FieldValue {
        if text.escaped {
            return FieldValue::Decoded(self.decode(text).into_boxed_str());
        }
        span(text.range.clone())
    }

    /// A string without its escapes; one that names half a surrogate pair reads as empty.
    fn decode(&self, text: &Text) -> String {
        let quoted = &self.text[text.range.start - 1..text.range.end + 1];
        serde_json::from_slice(quoted).unwrap_or_default()
    }

    fn white(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.canonical = false;
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        self.white();
        if self.at < self.text.len() {
            return Err(self.invalid("the end"));
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn invalid(&self, what: &'static str) -> Error {
        Error::Invalid { at: self.at, what }
    }
}

fn span(range: Range<usize>) -> FieldValue {
    FieldValue::Span {
        start: range.start as u32,
        len: range.len() as u32,
    }
}
