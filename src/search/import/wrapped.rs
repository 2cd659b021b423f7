//! From one JSON text to the events in it: unpacks lists and what collectors wrapped around events,
//! and gives every event the form it has in a log.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::tree::Value;
use crate::search::import::cloud;

/// How events in a log begin.
const EVENT_START: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#;
/// Members under which collectors keep what they collected.
const WRAPPERS: [&str; 9] = [
    "jsonPayload",
    "message",
    "@message",
    "log",
    "MESSAGE",
    "_raw",
    "_source",
    "line",
    "properties",
];
/// Wrappers within wrappers.
const DEPTH_MAX: usize = 4;

/// Takes an event as one line, or why something is no event; answers whether to go on.
pub type TakeEvent<'t> = dyn FnMut(Result<&[u8], String>) -> bool + 't;

/// Calls `take` with each event in a JSON text until it answers false.
pub fn events_of(text: &[u8], take: &mut TakeEvent<'_>) {
    match std::str::from_utf8(text) {
        Ok(text) => whole(text, DEPTH_MAX, take),
        Err(_) => take(Err("is not UTF-8".into())),
    };
}

/// One text, whatever is wrong with it. Answers whether to go on.
fn whole(text: &str, depth: usize, take: &mut TakeEvent<'_>) -> bool {
    unpack(text, depth, take).unwrap_or_else(|reason| take(Err(reason)))
}

/// Answers whether to go on.
fn unpack(text: &str, depth: usize, take: &mut TakeEvent<'_>) -> Result<bool, String> {
    if text.starts_with(EVENT_START) && memchr::memchr(b'\n', text.as_bytes()).is_none() {
        return Ok(take(Ok(text.as_bytes())));
    }
    let Members(members) = serde_json::from_str(text).map_err(|e| format!("is not JSON: {e}"))?;
    let find = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, v)| *v);
    if find("auditID").is_some() {
        return Ok(take(Ok(&in_log_form(&members))));
    }
    if let Some(items) = find("items") {
        let items: Vec<&RawValue> =
            serde_json::from_str(items.get()).map_err(|e| format!("items is no list: {e}"))?;
        for item in items {
            if !whole(item.get(), depth.saturating_sub(1), take) {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if find("protoPayload").is_some() {
        let event = cloud::event(text)?;
        return Ok(take(Ok(event.as_bytes())));
    }
    let wrapped = WRAPPERS.iter().find_map(|name| find(name));
    match wrapped {
        Some(inner) if depth > 0 => {
            let inner: Cow<'_, str> = match inner.get().as_bytes().first() {
                Some(b'"') => serde_json::from_str::<String>(inner.get())
                    .map_err(|e| e.to_string())?
                    .into(),
                _ => inner.get().into(),
            };
            unpack(inner.trim(), depth - 1, take)
        }
        _ => Err("is not an audit event: it has no auditID".into()),
    }
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut out = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    out.push((key, value));
                }
                Ok(Members(out))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Kind and version first, no line breaks, without what our own exports add.
fn in_log_form(members: &[(Cow<'_, str>, &RawValue)]) -> Vec<u8> {
    let mut out = EVENT_START.as_bytes().to_vec();
    out.pop();
    for (key, value) in members {
        if matches!(&**key, "kind" | "apiVersion" | "metadata") {
            continue;
        }
        out.push(b',');
        out.extend_from_slice(Value::from(&**key).to_string().as_bytes());
        out.push(b':');
        push_on_one_line(&mut out, value.get());
    }
    out.push(b'}');
    out
}

/// Leaves blanks outside of strings away, if there are line breaks.
fn push_on_one_line(out: &mut Vec<u8>, json: &str) {
    let bytes = json.as_bytes();
    if memchr::memchr2(b'\n', b'\r', bytes).is_none() {
        out.extend_from_slice(bytes);
        return;
    }
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in bytes {
        if in_string {
            out.push(*byte);
            in_string = is_escaped || *byte != b'"';
            is_escaped = !is_escaped && *byte == b'\\';
        } else if !byte.is_ascii_whitespace() {
            out.push(*byte);
            in_string = *byte == b'"';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Result<Vec<String>, String> {
        let (mut out, mut problem) = (Vec::new(), None);
        events_of(text.as_bytes(), &mut |event| {
            match event {
                Ok(event) => out.push(String::from_utf8_lossy(event).into_owned()),
                Err(reason) => problem = Some(reason),
            }
            true
        });
        problem.map_or(Ok(out), Err)
    }

    #[test]
    fn what_people_have_becomes_lines() {
        let plain =
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","x":{"y":"1 \" 2"}}"#;
        for text in [
            plain,
            r#"{"auditID":"a","x":{"y":"1 \" 2"}}"#,
            "{\"auditID\":\"a\",\"x\":{\n  \"y\": \"1 \\\" 2\"\n}}",
            r#"{"kind":"AuditEvent","apiVersion":"audit.verbatim.dev/v1alpha1","metadata":{"name":"n"},"auditID":"a","x":{"y":"1 \" 2"}}"#,
            r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[{"auditID":"a","x":{"y":"1 \" 2"}}]}"#,
            r#"{"jsonPayload":{"auditID":"a","x":{"y":"1 \" 2"}}}"#,
            r#"{"log":"{\"auditID\":\"a\",\"x\":{\"y\":\"1 \\\" 2\"}}\n","stream":"stdout"}"#,
        ] {
            assert_eq!(events(text).expect(text), [plain], "{text}");
        }
        for (text, reason) in [
            ("nothing", "is not JSON: "),
            ("[1]", "is not JSON: "),
            ("{}", "is not an audit event: it has no auditID"),
            (r#"{"items":1}"#, "items is no list: "),
        ] {
            let error = events(text).expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }
}
