//! Small writers of JSON text, times and durations, for rendering events without trees.

use std::time::Duration;

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::Serialize;
use serde_json::Value;

/// Appends `value` as JSON. Writing into memory does not fail.
pub fn push<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.extend_from_slice(b"null");
    }
}

/// Appends `,"key":"value"` unless the value is empty. `key` needs no escapes.
pub fn push_member(out: &mut Vec<u8>, key: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    push_key(out, key);
    push(out, value);
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
    out.push(b'"');
    digits(out, time.year().unsigned_abs(), 4);
    for (separator, number) in [
        (b'-', time.month()),
        (b'-', time.day()),
        (b'T', time.hour()),
        (b':', time.minute()),
        (b':', time.second()),
    ] {
        out.push(separator);
        digits(out, number, 2);
    }
    out.push(b'.');
    digits(out, time.timestamp_subsec_micros().min(999_999), 6);
    out.extend_from_slice(b"Z\"");
}

fn digits(out: &mut Vec<u8>, number: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10u32.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or_default());
    }
}

/// Appends JSON text as one line. Line breaks can only stand between tokens, so they become spaces.
pub fn push_raw(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    out.extend_from_slice(text);
    if memchr::memchr2(b'\n', b'\r', text).is_some() {
        for byte in &mut out[start..] {
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
        let mut object = serde_json::json!({"metadata": {"name": "n", "managedFields": []}});
        remove_managed_fields(&mut object);
        assert_eq!(object, serde_json::json!({"metadata": {"name": "n"}}));
        let mut list = serde_json::json!({"items": [{"metadata": {"managedFields": []}}]});
        remove_managed_fields(&mut list);
        assert_eq!(list, serde_json::json!({"items": [{"metadata": {}}]}));
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

    #[test]
    fn times() {
        let time = DateTime::from_timestamp_micros(1_700_000_000_000_042).expect("in range");
        let mut out = Vec::new();
        push_micro_time(&mut out, time);
        assert_eq!(out, b"\"2023-11-14T22:13:20.000042Z\"");
    }
}
