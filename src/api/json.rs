//! Printing objects as JSON for people.
//!
//! Compact JSON needs no code here: `serde_json` prints it, and readers get stored bytes anyway.
//! Strings are not HTML-escaped (Go escapes `<`, `>` and `&` as `\u003c` …; both mean the same).

use serde_json::Value;

/// JSON indented by two spaces, as `?pretty=true` asks for, without a final line break.
pub fn to_pretty(value: &Value) -> Vec<u8> {
    // A Value always serializes.
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pretty_json() {
        let value = json!({"a": [], "b": {"c": "<"}});
        let want = "{\n  \"a\": [],\n  \"b\": {\n    \"c\": \"<\"\n  }\n}";
        assert_eq!(to_pretty(&value), want.as_bytes());
    }
}
