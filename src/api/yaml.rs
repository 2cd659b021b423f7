//! YAML as kube-apiserver writes it: sorted keys, block style, long scalars folded at 80 columns.
//!
//! Called by whoever answers `Accept: application/yaml`. Reading YAML is the schema decoder's work.

use crate::base::tree::{Key, Map, Value};

/// Column after which a space in a scalar becomes a line break.
const BEST_WIDTH: usize = 80;

/// The document for `value`, ending in a newline.
pub fn to_yaml(value: &Value) -> String {
    let mut writer = Writer {
        out: String::with_capacity(256),
        column: 0,
    };
    writer.root(value);
    writer.out
}

struct Writer {
    out: String,
    column: usize,
}

impl Writer {
    fn root(&mut self, value: &Value) {
        match value {
            Value::Object(map) if !map.is_empty() => self.mapping(map, 0),
            Value::Array(items) if !items.is_empty() => self.sequence(items, 0),
            other => {
                self.inline(other, 0);
                self.newline(0);
            }
        }
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn newline(&mut self, indent: usize) {
        self.out.push('\n');
        self.column = 0;
        self.pad(indent);
    }

    fn pad(&mut self, indent: usize) {
        for _ in 0..indent {
            self.out.push(' ');
        }
        self.column += indent;
    }

    fn mapping(&mut self, map: &Map, indent: usize) {
        let mut keys: Vec<&Key> = map.keys().collect();
        keys.sort();
        for (number, key) in keys.into_iter().enumerate() {
            if number > 0 {
                self.pad(indent);
            }
            self.scalar(key, indent, true);
            self.put(":");
            match &map[key] {
                Value::Object(inner) if !inner.is_empty() => {
                    self.newline(indent + 2);
                    self.mapping(inner, indent + 2);
                }
                Value::Array(items) if !items.is_empty() => {
                    self.newline(indent);
                    self.sequence(items, indent);
                }
                other => {
                    self.put(" ");
                    self.inline(other, indent);
                    self.newline(0);
                }
            }
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize) {
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                self.pad(indent);
            }
            self.put("- ");
            match item {
                Value::Object(inner) if !inner.is_empty() => self.mapping(inner, indent + 2),
                Value::Array(inner) if !inner.is_empty() => self.sequence(inner, indent + 2),
                other => {
                    self.inline(other, indent);
                    self.newline(0);
                }
            }
        }
    }

    fn inline(&mut self, value: &Value, indent: usize) {
        match value {
            Value::String(text) => self.scalar(text, indent, false),
            Value::Object(_) => self.put("{}"),
            Value::Array(_) => self.put("[]"),
            other => self.put(&other.to_string()),
        }
    }

    fn scalar(&mut self, text: &str, indent: usize, is_key: bool) {
        let printable = text.chars().all(is_printable);
        if is_ambiguous(text) {
            return self.double_quoted(text, indent, is_key);
        }
        if text.contains('\n') && !is_key {
            let trailing_space = text.ends_with(' ') || text.contains(" \n");
            if printable && !trailing_space && !text.starts_with(' ') {
                return self.literal(text, indent);
            }
            return self.double_quoted(text, indent, is_key);
        }
        if !printable || text.contains('\n') {
            return self.double_quoted(text, indent, is_key);
        }
        if is_plain(text) {
            self.folded(text, indent, is_key);
        } else {
            self.put("'");
            self.folded(&text.replace('\'', "''"), indent, is_key);
            self.put("'");
        }
    }

    /// Writes words, breaking lines at single spaces behind the best width.
    fn folded(&mut self, text: &str, indent: usize, is_key: bool) {
        let mut previous_space = false;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            let next_is_word = chars.peek().is_some_and(|next| *next != ' ');
            if c == ' '
                && !is_key
                && !previous_space
                && !first
                && self.column > BEST_WIDTH
                && next_is_word
            {
                self.newline(indent + 2);
            } else {
                self.out.push(c);
                self.column += 1;
            }
            previous_space = c == ' ';
            first = false;
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        let body = text.trim_end_matches('\n');
        self.put(match text.len() - body.len() {
            0 => "|-",
            1 => "|",
            _ => "|+",
        });
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            self.newline(if line.is_empty() { 0 } else { indent + 2 });
            self.put(line);
        }
    }

    fn double_quoted(&mut self, text: &str, indent: usize, is_key: bool) {
        self.put("\"");
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            match c {
                '"' => self.put("\\\""),
                '\\' => self.put("\\\\"),
                '\n' => self.put("\\n"),
                '\t' => self.put("\\t"),
                '\r' => self.put("\\r"),
                '\0' => self.put("\\0"),
                ' ' if !is_key && !first && self.column > BEST_WIDTH && chars.peek().is_some() => {
                    self.newline(indent + 2);
                    if chars.peek() == Some(&' ') {
                        self.put("\\");
                    }
                }
                c if is_printable(c) => self.put(c.encode_utf8(&mut [0; 4])),
                c if (c as u32) <= 0xff => self.put(&format!("\\x{:02X}", c as u32)),
                c if (c as u32) <= 0xffff => self.put(&format!("\\u{:04X}", c as u32)),
                c => self.put(&format!("\\U{:08X}", c as u32)),
            }
            first = false;
        }
        self.put("\"");
    }
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && c != '\u{feff}'
        || c == '\u{85}'
}

/// Whether a one-line text needs no quotes.
fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let Some(first) = chars.next() else {
        return false;
    };
    let second = chars.next();
    if "#,[]{}&*!|>'\"%@`".contains(first) {
        return false;
    }
    if matches!(first, '-' | '?' | ':') && second.is_none_or(|c| c == ' ') {
        return false;
    }
    !(text.starts_with(' ')
        || text.ends_with(' ')
        || text.ends_with(':')
        || text.starts_with("---")
        || text.starts_with("...")
        || text.contains(": ")
        || text.contains(" #"))
}

/// Whether a plain `text` would be read as something else than a string.
fn is_ambiguous(text: &str) -> bool {
    match text {
        "" | "~" | "null" | "Null" | "NULL" | "<<" | "=" => return true,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" => return true,
        _ => {}
    }
    let lower = text.to_ascii_lowercase();
    let is_bool = matches!(
        lower.as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false"
    );
    if is_bool && (text == lower || text == text.to_ascii_uppercase() || is_title(text)) {
        return true;
    }
    let starts_like_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    starts_like_number && (is_number(text) || is_timestamp(text) || is_base60(text))
}

fn is_title(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_uppercase()) && chars.all(|c| c.is_ascii_lowercase())
}

fn is_number(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0b", 2), ("0o", 8)] {
        if let Some(digits) = unsigned.strip_prefix(prefix) {
            return u64::from_str_radix(digits, radix).is_ok();
        }
    }
    let is_float_text = unsigned
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    is_float_text && unsigned.parse::<f64>().is_ok()
}

fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_date = bytes.len() >= 8
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[5].is_ascii_digit();
    is_date
        && (chrono::DateTime::parse_from_rfc3339(text).is_ok()
            || chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
            || chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").is_ok())
}

/// YAML 1.1's base 60 numbers (`10:30:00`).
fn is_base60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let first = parts.next().unwrap_or("");
    let mut rest = parts.peekable();
    !first.is_empty()
        && first.chars().all(|c| c.is_ascii_digit() || c == '_')
        && rest.peek().is_some()
        && rest.all(|part| {
            let whole = part.split('.').next().unwrap_or("");
            (1..=2).contains(&whole.len()) && whole.chars().all(|c| c.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn documents() {
        let cases = [
            (json!({"b": 1, "a": {"x": []}}), "a:\n  x: []\nb: 1\n"),
            (
                json!({"a": ["x", {"y": 1, "z": 2}]}),
                "a:\n- x\n- \"y\": 1\n  z: 2\n",
            ),
            (
                json!({"m": "configmaps \"none\" not found"}),
                "m: configmaps \"none\" not found\n",
            ),
            (json!({"m": "a: b"}), "m: 'a: b'\n"),
            (json!({"m": "a\n\nb"}), "m: |-\n  a\n\n  b\n"),
            (json!({"m": "a\n"}), "m: |\n  a\n"),
            (
                json!({"t": "2001-01-01T00:00:00Z", "n": "12"}),
                "\"n\": \"12\"\nt: \"2001-01-01T00:00:00Z\"\n",
            ),
            (json!({"m": {}, "n": null}), "m: {}\n\"n\": null\n"),
        ];
        for (value, text) in cases {
            assert_eq!(to_yaml(&value), text);
        }
    }

    #[test]
    fn long_texts_fold() {
        let text = "configmaps \"c\" is forbidden: User \"alice\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"cneg\"";
        assert_eq!(
            to_yaml(&json!({"message": text})),
            "message: 'configmaps \"c\" is forbidden: User \"alice\" cannot get resource \"configmaps\"\n  in API group \"\" in the namespace \"cneg\"'\n"
        );
    }
}
