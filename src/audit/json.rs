//! Small writers of JSON text, times and durations, for rendering events without trees.

use std::time::Duration;

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::Serialize;

use crate::api::bytes::push_string;
use crate::base::tree::Value;

/// Appends `value` as JSON. Writing into memory does not fail.
pub fn push<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.extend_from_slice(b"null");
    }
}

/// Appends a number.
pub fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends `,"key":"value"` unless the value is empty. `key` needs no escapes.
pub fn push_member(out: &mut Vec<u8>, key: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    push_key(out, key);
    push_string(out, value);
}

/// Appends `,"key":`, without the comma at the start of an object.
pub fn push_key(out: &mut Vec<u8>, key: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a time as `2006-01-02T15:04:05.000000Z`, in quotes.
pub fn push_micro_time(out: &mut Vec<u8>, time: DateTime<Utc>) {
    let (date, clock) = (time.date_naive(), time.time());
    let year = date.year().unsigned_abs();
    let micros = (clock.nanosecond() / 1000).min(999_999);
    let seconds = clock.num_seconds_from_midnight();
    let mut text = *b"\"0000-00-00T00:00:00.000000Z\"";
    for (at, number) in [
        (1, year / 100),
        (3, year % 100),
        (6, date.month()),
        (9, date.day()),
        (12, seconds / 3600),
        (15, seconds / 60 % 60),
        (18, seconds % 60),
        (21, micros / 10_000),
        (23, micros / 100 % 100),
        (25, micros % 100),
    ] {
        text[at..at + 2].copy_from_slice(&two_digits(number));
    }
    out.extend_from_slice(&text);
}

fn two_digits(number: u32) -> [u8; 2] {
    let digit = |n: u32| b'0' + u8::try_from(n % 10).unwrap_or_default();
    [digit(number / 10), digit(number)]
}

/// JSON text within a JSON string: what [`push_key`] and the others append, escaped once more as it is
/// written, which costs less than to write it and to escape it then.
pub mod nested {
    use crate::api::bytes::needs_escapes;

    /// Appends `,"key":`, without the comma at the start of an object. `key` needs no escapes.
    pub fn push_key(out: &mut Vec<u8>, key: &str) {
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        out.extend_from_slice(b"\\\"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\\\":");
    }

    /// Appends a quoted string.
    pub fn push_string(out: &mut Vec<u8>, text: &str) {
        out.extend_from_slice(b"\\\"");
        match needs_escapes(text) {
            false => out.extend_from_slice(text.as_bytes()),
            true => push_escaped(out, text.as_bytes()),
        }
        out.extend_from_slice(b"\\\"");
    }

    /// Appends `,"key":"value"` unless the value is empty. `key` needs no escapes.
    pub fn push_member(out: &mut Vec<u8>, key: &str, value: &str) {
        if !value.is_empty() {
            push_key(out, key);
            push_string(out, value);
        }
    }

    fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
        let mut done = 0;
        for (at, &byte) in text.iter().enumerate() {
            let escape: &[u8] = match byte {
                b'"' => br#"\\\""#,
                b'\\' => br"\\\\",
                b'\n' => br"\\n",
                b'\r' => br"\\r",
                b'\t' => br"\\t",
                0x08 => br"\\b",
                0x0c => br"\\f",
                0..0x20 => br"\\u00",
                _ => continue,
            };
            out.extend_from_slice(&text[done..at]);
            out.extend_from_slice(escape);
            if escape.ends_with(b"u00") {
                let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            done = at + 1;
        }
        out.extend_from_slice(&text[done..]);
    }
}

/// Appends JSON text as one line. Line breaks can only stand between tokens, so they become spaces.
pub fn push_raw(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    out.extend_from_slice(text);
    if let Some(first) = memchr::memchr2(b'\n', b'\r', text) {
        for byte in &mut out[start + first..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

/// Removes `metadata.managedFields` from an object, from the items of a list and from the objects
/// of a table's rows.
pub fn remove_managed_fields(object: &mut Value) {
    remove_own(object);
    for item in members(object, "items") {
        remove_own(item);
    }
    for row in members(object, "rows") {
        if let Some(object) = row.get_mut("object") {
            remove_own(object);
        }
    }
}

/// The members of a list in an object; does not make one where there is none.
fn members<'a>(object: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = object.get_mut(list).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

fn remove_own(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// A duration as Go prints it: `1.2038s`, `850.5ms`, `12µs`, `1m0.5s`.
pub fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    if nanos < 1_000 {
        return format!("{nanos}ns");
    }
    if nanos < 1_000_000 {
        return format!("{}µs", decimal(nanos, 1_000));
    }
    if nanos < 1_000_000_000 {
        return format!("{}ms", decimal(nanos, 1_000_000));
    }
    let minutes = duration.as_secs() / 60;
    let seconds = decimal(nanos - u128::from(minutes) * 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m{seconds}s"),
        (h, m) => format!("{h}h{m}m{seconds}s"),
    }
}

fn decimal(value: u128, unit: u128) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let text = format!("{whole}.{rest:0width$}");
    text.trim_end_matches('0').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_go_and_nothing_comes() {
        let mut object = crate::base::tree::json!({"metadata": {"name": "n", "managedFields": []}});
        remove_managed_fields(&mut object);
        assert_eq!(
            object,
            crate::base::tree::json!({"metadata": {"name": "n"}})
        );
        let mut list = crate::base::tree::json!({"items": [{"metadata": {"managedFields": []}}]});
        remove_managed_fields(&mut list);
        assert_eq!(
            list,
            crate::base::tree::json!({"items": [{"metadata": {}}]})
        );
    }

    #[test]
    fn durations() {
        for (nanos, expected) in [
            (0, "0s"),
            (12_000, "12µs"),
            (850_500_000, "850.5ms"),
            (1_203_800_000, "1.2038s"),
            (60_500_000_000, "1m0.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn nested_text_is_escaped_twice(text in "([a-z]|\"|\\\\|[\\x00-\\x1f]|\\x7f|é|.){0,12}") {
            let mut out = Vec::new();
            nested::push_string(&mut out, &text);
            let once = serde_json::to_string(&text).expect("a text");
            let twice = serde_json::to_string(&once).expect("a text");
            proptest::prop_assert_eq!(String::from_utf8(out).expect("text"), &twice[1..twice.len() - 1]);
        }
    }

    #[test]
    fn times() {
        let time = DateTime::from_timestamp_micros(1_700_000_000_000_042).expect("in range");
        let mut out = Vec::new();
        push_micro_time(&mut out, time);
        assert_eq!(out, b"\"2023-11-14T22:13:20.000042Z\"");
    }
}
