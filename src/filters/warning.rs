//! Warning recorder: the texts that stages left in the context become `Warning` headers.

use http::HeaderValue;
use http::header::WARNING;

use super::Filter;
use crate::request::{ApiRequest, ApiResponse};

/// Longest sum of all texts, in characters; beyond it each is cut to [`CUT`].
const TOTAL_MAX: usize = 4 * 1024;
/// Length of a cut text, in characters.
const CUT: usize = 256;

/// The filter.
pub struct WarningRecorder;

impl Filter for WarningRecorder {
    fn name(&self) -> &'static str {
        "warning-recorder"
    }

    fn after(&self, request: &mut ApiRequest, response: &mut ApiResponse) {
        if !request.ctx.warnings.is_empty() {
            for value in headers(&request.ctx.warnings) {
                response.headers.append(WARNING, value);
            }
        }
    }
}

/// The header values, `299 - "text"`.
fn headers(texts: &[String]) -> Vec<HeaderValue> {
    let total: usize = texts.iter().map(|t| t.chars().count()).sum();
    let cut = total > TOTAL_MAX;
    texts
        .iter()
        .filter_map(|text| {
            let text: String = match cut {
                true => text.chars().take(CUT).collect(),
                false => text.clone(),
            };
            HeaderValue::from_bytes(quoted(&text)?.as_bytes()).ok()
        })
        .collect()
}

/// `None` for a text with control characters, which no header may carry.
fn quoted(text: &str) -> Option<String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return None;
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    Some(format!("299 - \"{escaped}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_and_cut() {
        let one = headers(&["unknown field \"spec.foo\"".into(), "bad\n".into()]);
        assert_eq!(one, ["299 - \"unknown field \\\"spec.foo\\\"\""]);
        let long = headers(&["x".repeat(5000)]);
        assert_eq!(long[0].len(), CUT + 8);
    }
}
