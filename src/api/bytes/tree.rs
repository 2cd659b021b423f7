//! Trees of stored texts, as `serde_json` makes them, for less: names come sorted, so that a map is
//! built in one piece, and hardly any string has an escape.

use super::plain::plain_len;
use crate::base::tree::{Map, Number, Value};

/// Deepest nesting taken here; `serde_json` judges what is deeper.
const DEPTH_MAX: usize = 64;
/// Digits that surely fit a number.
const DIGITS_MAX: usize = 18;
/// Members that there is room for at first.
const MEMBERS: usize = 8;

/// The tree of a JSON text.
///
/// # Errors
/// As `serde_json` has them.
pub fn tree(text: &str) -> serde_json::Result<Value> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0);
    match value.filter(|_| parser.at == text.len()) {
        Some(value) => Ok(value),
        None => serde_json::from_str(text),
    }
}

/// Takes what this server writes; answers `None` at anything else.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.peek()? {
            b'"' => self.string().map(Value::String),
            b'{' => self.object(depth).map(Value::Object),
            b'[' => self.array(depth).map(Value::Array),
            b't' => self.literal("true", Value::Bool(true)),
            b'f' => self.literal("false", Value::Bool(false)),
            b'n' => self.literal("null", Value::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Map> {
        self.at += 1;
        if self.take(b'}') {
            return Some(Map::new());
        }
        let mut members = Vec::with_capacity(MEMBERS);
        loop {
            if self.peek()? != b'"' {
                return None;
            }
            let name = self.string()?;
            if !self.take(b':') {
                return None;
            }
            members.push((name, self.value(depth + 1)?));
            if self.take(b'}') {
                return Some(members.into_iter().collect());
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Vec<Value>> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Some(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Some(items);
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// At a `"`.
    fn string(&mut self) -> Option<String> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = start + 1;
        loop {
            end += plain_len(bytes.get(end..)?);
            match bytes.get(end)? {
                b'"' => break,
                // Also behind the backslash stands no control character.
                b'\\' => end += 2,
                _ => return None,
            }
        }
        self.at = end + 1;
        let inner = self.text.get(start + 1..end)?;
        if memchr::memchr(b'\\', inner.as_bytes()).is_some() {
            return serde_json::from_str(self.text.get(start..self.at)?).ok();
        }
        Some(inner.to_owned())
    }

    fn number(&mut self) -> Option<Value> {
        let rest = &self.text.as_bytes()[self.at..];
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = rest.iter().take_while(|byte| is_part(byte)).count();
        let text = self.text.get(self.at..self.at + len)?;
        self.at += len;
        let is_plain = len <= DIGITS_MAX
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (len == 1 || !text.starts_with('0'));
        let number = match text.parse::<u64>() {
            Ok(number) if is_plain => Number::from(number),
            _ => serde_json::from_str(text).ok()?,
        };
        Some(Value::Number(number))
    }

    fn literal(&mut self, word: &str, value: Value) -> Option<Value> {
        let found = self.text.get(self.at..)?.starts_with(word);
        self.at += word.len();
        found.then_some(value)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_serde_json_reads() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for text in [
            r#"{"a":1,"b":{"c":[null,true,false,"x","\u00e9\n\"é",{}]},"a":-2}"#,
            r#"{"b":0,"a":1.50,"c":-0,"d":1e3,"e":18446744073709551615,"f":-9223372036854775808,"g":1e400}"#,
            " { \"a\" : [ 1 , 2 ] } ",
            "",
            "{",
            "[1,]",
            "[01]",
            "[1-2]",
            "[tru]",
            "{\"a\"}",
            "{\"a\":1}}",
            "\"\\ud800\"",
            "\"a",
            "\"a\\",
            "\"\\\n\"",
            "\"\n\"",
            &deep(100),
            &deep(200),
        ] {
            let want = serde_json::from_str::<Value>(text);
            match (tree(text), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{text}"),
                (got, want) => assert_eq!(got.is_ok(), want.is_ok(), "{text}"),
            }
        }
    }

    proptest! {
        #[test]
        fn of_any_text(text in "[\\[\\]{},:\"\\\\ 0-9eE.+a\u{e9}\n-]{0,24}") {
            prop_assert_eq!(tree(&text).ok(), serde_json::from_str::<Value>(&text).ok());
        }
    }
}
