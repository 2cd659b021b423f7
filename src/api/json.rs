//! Printing objects: pretty JSON and YAML.
//!
//! Compact JSON needs no code here: `serde_json` prints it, and readers get stored bytes anyway.
//! Strings are not HTML-escaped (Go escapes `<`, `>` and `&` as `\u003c` …; both mean the same).

use libyaml_safer::{Emitter, Encoding, Event, MappingStyle, ScalarStyle, SequenceStyle};

use crate::api::schema::yaml::{Scalar, is_base60, resolve, write_float};
use crate::base::tree::{Key, Value};

/// JSON indented by two spaces, as `?pretty=true` asks for, without a final line break.
pub fn to_pretty(value: &Value) -> Vec<u8> {
    // A Value always serializes.
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

/// YAML as sigs.k8s.io/yaml prints it: keys in yaml.v2's order, two spaces, lists not indented.
pub fn to_yaml(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut emitter = Emitter::new();
    emitter.set_output_string(&mut out);
    emitter.set_unicode(true);
    let mut events = YamlEvents { emitter };
    // Emitting fails only if writing does, and a Vec takes everything.
    let written = events.document(value);
    drop(events);
    debug_assert!(written.is_ok(), "{written:?}");
    out
}

struct YamlEvents<'w> {
    emitter: Emitter<'w>,
}

impl YamlEvents<'_> {
    fn document(&mut self, value: &Value) -> libyaml_safer::Result<()> {
        self.emitter.emit(Event::stream_start(Encoding::Utf8))?;
        self.emitter.emit(Event::document_start(None, &[], true))?;
        self.value(value)?;
        self.emitter.emit(Event::document_end(true))?;
        self.emitter.emit(Event::stream_end())?;
        self.emitter.flush()
    }

    fn value(&mut self, value: &Value) -> libyaml_safer::Result<()> {
        match value {
            Value::Null => self.scalar("null", ScalarStyle::Plain),
            Value::Bool(true) => self.scalar("true", ScalarStyle::Plain),
            Value::Bool(false) => self.scalar("false", ScalarStyle::Plain),
            Value::Number(number) => {
                let mut text = String::new();
                match number.as_f64().filter(|_| number.is_f64()) {
                    Some(float) => write_float(&mut text, float),
                    None => text = number.to_string(),
                }
                self.scalar(&text, ScalarStyle::Plain)
            }
            Value::String(text) => self.scalar(text, style(text)),
            Value::Array(items) => {
                let style = SequenceStyle::Block;
                self.emitter
                    .emit(Event::sequence_start(None, None, true, style))?;
                for item in items {
                    self.value(item)?;
                }
                self.emitter.emit(Event::sequence_end())
            }
            Value::Object(members) => {
                let style_of_map = MappingStyle::Block;
                self.emitter
                    .emit(Event::mapping_start(None, None, true, style_of_map))?;
                let mut keys: Vec<&Key> = members.keys().collect();
                keys.sort_by(|a, b| key_order(a, b));
                for key in keys {
                    self.scalar(key, style(key))?;
                    self.value(&members[key])?;
                }
                self.emitter.emit(Event::mapping_end())
            }
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle) -> libyaml_safer::Result<()> {
        self.emitter
            .emit(Event::scalar(None, None, text, true, true, style))
    }
}

/// Several lines are literal; what would be read as something else than text is quoted.
fn style(text: &str) -> ScalarStyle {
    if text.contains('\n') {
        return ScalarStyle::Literal;
    }
    match resolve(text) == Scalar::Text && !is_base60(text) {
        true => ScalarStyle::Plain,
        false => ScalarStyle::DoubleQuoted,
    }
}

/// yaml.v2's order of keys: digits by value, everything else before letters.
fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    let shared = a
        .char_indices()
        .zip(b.chars())
        .find(|((_, x), y)| x != y)
        .map(|((at, x), y)| (at, x, y));
    let Some((at, x, y)) = shared else {
        return a.len().cmp(&b.len());
    };
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return std::cmp::Ordering::Greater,
        (false, true) => return std::cmp::Ordering::Less,
        (false, false) => {}
    }
    // A zero inside a number counts as a digit of it, not as the start of a shorter one.
    let inside = (x == '0' || y == '0')
        && a[..at]
            .bytes()
            .rev()
            .take_while(u8::is_ascii_digit)
            .any(|digit| digit != b'0');
    let number = |text: &str| {
        let digits: Vec<u8> = text.bytes().take_while(u8::is_ascii_digit).collect();
        let start = u64::from(inside);
        let value = digits.iter().fold(start, |n, d| {
            n.wrapping_mul(10).wrapping_add(u64::from(d - b'0'))
        });
        (value, digits.len())
    };
    number(&a[at..]).cmp(&number(&b[at..])).then(x.cmp(&y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    fn yaml(value: &Value) -> String {
        String::from_utf8(to_yaml(value)).expect("UTF-8")
    }

    #[test]
    fn yaml_as_upstream_prints_it() {
        let value = json!({
            "b": ["x", {"c": 1, "a": []}, ["n"]], "a10": "5", "a2": "yes", "e": {}, "n": null, "t": true,
            "s": "a: b", "q": "", "m": "l1\nl2\n", "d": "2024-01-02T03:04:05Z", "f": 1.5, "big": 1e21,
            "w": "word word word word word word word word word word word word word word word word word: x",
            "p": "word word word word word word word word word word word word word word word word word",
            "star": "*", "dash": "- x", "uni": "é", "tab": "a\tb", "60": "1:30", "dot": ".", "f:x": {".": {}},
        });
        let want = "\
\"60\": \"1:30\"
a2: \"yes\"
a10: \"5\"
b:
- x
- a: []
  c: 1
- - \"n\"
big: 1e+21
d: \"2024-01-02T03:04:05Z\"
dash: '- x'
dot: .
e: {}
f: 1.5
f:x:
  .: {}
m: |
  l1
  l2
\"n\": null
p: word word word word word word word word word word word word word word word word
  word
q: \"\"
s: 'a: b'
star: '*'
t: true
tab: \"a\\tb\"
uni: é
w: 'word word word word word word word word word word word word word word word word
  word: x'
";
        assert_eq!(yaml(&value), want);
        assert_eq!(yaml(&json!([])), "[]\n");
    }

    #[test]
    fn pretty_json() {
        let value = json!({"a": [], "b": {"c": "<"}});
        let want = "{\n  \"a\": [],\n  \"b\": {\n    \"c\": \"<\"\n  }\n}";
        assert_eq!(to_pretty(&value), want.as_bytes());
    }
}
