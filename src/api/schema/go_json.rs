//! JSON syntax as Go's `encoding/json` checks it: which byte is refused and in what words.
//!
//! The scan is iterative, so nothing that a client sends can overflow the stack; it also skips
//! values that nobody wants.

/// Deepest nesting that Go accepts.
const DEPTH_MAX: usize = 10_000;

/// A syntax error's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError(pub String);

/// Checks that `bytes` is exactly one JSON value.
pub fn validate(bytes: &[u8]) -> Result<(), SyntaxError> {
    let end = skip_value(bytes, 0)?;
    let end = skip_space(bytes, end);
    match bytes.get(end) {
        None => Ok(()),
        Some(byte) => Err(invalid(*byte, "after top-level value")),
    }
}

/// The index after the white space at `at`.
pub fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\r' | b'\n') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The index after the value that starts at or after `at`, checking its syntax.
pub fn skip_value(bytes: &[u8], mut at: usize) -> Result<usize, SyntaxError> {
    // Open containers, innermost last: whether it is an object.
    let mut open: Vec<bool> = Vec::new();
    loop {
        at = skip_space(bytes, at);
        match peek(bytes, at)? {
            b'{' => {
                deeper(&mut open, true)?;
                at = skip_space(bytes, at + 1);
                if peek(bytes, at)? != b'}' {
                    at = skip_key(bytes, at)?;
                    continue;
                }
                at += 1;
                open.pop();
            }
            b'[' => {
                deeper(&mut open, false)?;
                at = skip_space(bytes, at + 1);
                if peek(bytes, at)? != b']' {
                    continue;
                }
                at += 1;
                open.pop();
            }
            _ => at = skip_scalar(bytes, at)?,
        }
        // A value is complete: close what ends here, or go on to the next member.
        loop {
            let Some(object) = open.last() else {
                return Ok(at);
            };
            at = skip_space(bytes, at);
            match (peek(bytes, at)?, object) {
                (b',', true) => {
                    at = skip_key(bytes, skip_space(bytes, at + 1))?;
                    break;
                }
                (b',', false) => {
                    at += 1;
                    break;
                }
                (b'}', true) | (b']', false) => {
                    at += 1;
                    open.pop();
                }
                (byte, true) => return Err(invalid(byte, "after object key:value pair")),
                (byte, false) => return Err(invalid(byte, "after array element")),
            }
        }
    }
}

fn deeper(open: &mut Vec<bool>, object: bool) -> Result<(), SyntaxError> {
    if open.len() >= DEPTH_MAX {
        return Err(SyntaxError("exceeded max depth".into()));
    }
    open.push(object);
    Ok(())
}

/// Skips `"key" :`.
fn skip_key(bytes: &[u8], at: usize) -> Result<usize, SyntaxError> {
    let byte = peek(bytes, at)?;
    if byte != b'"' {
        return Err(invalid(byte, "looking for beginning of object key string"));
    }
    let at = skip_space(bytes, skip_string(bytes, at)?);
    match peek(bytes, at)? {
        b':' => Ok(at + 1),
        byte => Err(invalid(byte, "after object key")),
    }
}

/// Skips a string, number or literal.
pub fn skip_scalar(bytes: &[u8], at: usize) -> Result<usize, SyntaxError> {
    match peek(bytes, at)? {
        b'"' => skip_string(bytes, at),
        b't' => skip_literal(bytes, at, "true"),
        b'f' => skip_literal(bytes, at, "false"),
        b'n' => skip_literal(bytes, at, "null"),
        b'-' | b'0'..=b'9' => skip_number(bytes, at),
        byte => Err(invalid(byte, "looking for beginning of value")),
    }
}

fn skip_literal(bytes: &[u8], at: usize, literal: &str) -> Result<usize, SyntaxError> {
    for (offset, want) in literal.bytes().enumerate() {
        let byte = peek(bytes, at + offset)?;
        if byte != want {
            let context = format!("in literal {literal} (expecting {})", quote_byte(want));
            return Err(invalid(byte, &context));
        }
    }
    Ok(at + literal.len())
}

fn skip_number(bytes: &[u8], mut at: usize) -> Result<usize, SyntaxError> {
    if bytes[at] == b'-' {
        at += 1;
    }
    match peek(bytes, at)? {
        b'0' => at += 1,
        b'1'..=b'9' => at = skip_digits(bytes, at),
        byte => return Err(invalid(byte, "in numeric literal")),
    }
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        match peek(bytes, at)? {
            b'0'..=b'9' => at = skip_digits(bytes, at),
            byte => return Err(invalid(byte, "after decimal point in numeric literal")),
        }
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let b'+' | b'-' = peek(bytes, at)? {
            at += 1;
        }
        match peek(bytes, at)? {
            b'0'..=b'9' => at = skip_digits(bytes, at),
            byte => return Err(invalid(byte, "in exponent of numeric literal")),
        }
    }
    Ok(at)
}

fn skip_digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// Skips a string that starts with the quote at `at`.
pub fn skip_string(bytes: &[u8], at: usize) -> Result<usize, SyntaxError> {
    let mut at = at + 1;
    loop {
        match peek(bytes, at)? {
            b'"' => return Ok(at + 1),
            b'\\' => at = skip_escape(bytes, at + 1)?,
            byte if byte < 0x20 => return Err(invalid(byte, "in string literal")),
            _ => at += 1,
        }
    }
}

fn skip_escape(bytes: &[u8], at: usize) -> Result<usize, SyntaxError> {
    match peek(bytes, at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 1),
        b'u' => {
            for offset in 1..=4 {
                let byte = peek(bytes, at + offset)?;
                if !byte.is_ascii_hexdigit() {
                    return Err(invalid(byte, "in \\u hexadecimal character escape"));
                }
            }
            Ok(at + 5)
        }
        byte => Err(invalid(byte, "in string escape code")),
    }
}

fn peek(bytes: &[u8], at: usize) -> Result<u8, SyntaxError> {
    bytes
        .get(at)
        .copied()
        .ok_or_else(|| SyntaxError("unexpected end of JSON input".into()))
}

fn invalid(byte: u8, context: &str) -> SyntaxError {
    SyntaxError(format!("invalid character {} {context}", quote_byte(byte)))
}

/// A byte as Go's scanner quotes it in errors.
fn quote_byte(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".into(),
        b'"' => "'\"'".into(),
        _ => {
            let quoted = quote(char::from(byte).encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

/// Quotes text as Go's `%q` does.
pub fn quote(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c < ' ' || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if is_unprintable(c) && u32::from(c) < 0x10000 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if is_unprintable(c) => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Characters beyond ASCII that Go escapes; the common ones, not the whole Unicode table.
fn is_unprintable(c: char) -> bool {
    matches!(u32::from(c),
        0x80..=0xa0 | 0xad | 0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f
        | 0x3000 | 0xe000..=0xf8ff | 0xfeff | 0xfff0..=0xfffb | 0xf0000..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_gos_words() {
        for (text, want) in [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            (
                "a: b",
                "invalid character 'a' looking for beginning of value",
            ),
            (
                "not",
                "invalid character 'o' in literal null (expecting 'u')",
            ),
            ("{}t", "invalid character 't' after top-level value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 1}",
                "invalid character '1' after object key:value pair",
            ),
            (
                "{a}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            (
                "\"\\u12g4\"",
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            ("-x", "invalid character 'x' in numeric literal"),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            (
                "1ex",
                "invalid character 'x' in exponent of numeric literal",
            ),
            (
                "'",
                "invalid character '\\'' looking for beginning of value",
            ),
            (
                "\u{1}",
                "invalid character '\\x01' looking for beginning of value",
            ),
            ("01", "invalid character '1' after top-level value"),
        ] {
            let got = validate(text.as_bytes()).map_err(|e| e.0);
            assert_eq!(got, Err(want.to_string()), "{text:?}");
        }
        assert_eq!(
            validate(b" {\"a\":[{},[],null,-1.5e+3,\"\\u00e9\"]} "),
            Ok(())
        );
        assert!(validate("[".repeat(100_000).as_bytes()).is_err());
    }
}
