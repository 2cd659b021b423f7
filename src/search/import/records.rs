//! Splits a file into JSON texts: a line each, or documents that span lines.

use std::fmt;
use std::io::{self, BufRead, Read};

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::tree::Value;

/// Lines longer than this cannot be events.
const LINE_MAX_BYTES: usize = 64 << 20;
/// Lines that are looked at to tell lines from documents.
const PROBE_LINES: usize = 3;

/// Where in a file something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// Line, from one.
    Line(u64),
    /// Event of a document, from one.
    Event(u64),
}

/// Why a file was not read to its end, and where.
pub(super) type Ended = Result<(), (Option<Place>, String)>;

/// Calls `take` with each JSON text and its place until it answers false.
pub(super) fn scan(reader: &mut dyn BufRead, take: &mut dyn FnMut(Place, &[u8]) -> bool) -> Ended {
    let read_error = |line| move |e: io::Error| (Some(Place::Line(line)), e.to_string());
    let mut probe: Vec<Vec<u8>> = Vec::new();
    while probe.len() < PROBE_LINES {
        let mut line = Vec::new();
        if !read_line(reader, &mut line).map_err(read_error(probe.len() as u64 + 1))? {
            break;
        }
        probe.push(line);
    }
    if has_documents(&probe) {
        let start = probe.concat();
        return documents(start.chain(reader), take);
    }
    let mut number = 0;
    let mut next = probe.into_iter();
    let mut line = Vec::new();
    loop {
        match next.next() {
            Some(probed) => line = probed,
            None => {
                line.clear();
                if !read_line(reader, &mut line).map_err(read_error(number + 1))? {
                    return Ok(());
                }
            }
        }
        number += 1;
        let text = line.trim_ascii();
        if !text.is_empty() && !take(Place::Line(number), text) {
            return Ok(());
        }
    }
}

/// Reads a line with its break; of one that is too long only the start. Answers whether there was
/// one.
fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(!line.is_empty());
        }
        let (length, is_whole) = match memchr::memchr(b'\n', buffer) {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        let room = LINE_MAX_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&buffer[..length.min(room)]);
        reader.consume(length);
        if is_whole {
            return Ok(true);
        }
    }
}

/// Whether the first lines belong to documents that span lines. A torn first line (a log that was cut
/// at its start) does not make documents of the rest.
fn has_documents(probe: &[Vec<u8>]) -> bool {
    let is_whole = |line: &[u8]| serde_json::from_slice::<IgnoredAny>(line).is_ok();
    let lines: Vec<&[u8]> = probe.iter().map(|l| l.trim_ascii()).collect();
    let mut lines = lines.into_iter().filter(|l| !l.is_empty());
    let Some(first) = lines.next() else {
        return false;
    };
    match first[0] {
        b'[' => true,
        b'{' if is_whole(first) => false,
        b'{' => !lines.any(|l| l[0] == b'{' && is_whole(l)),
        _ => false,
    }
}

/// Reads documents one after the other; of lists and arrays, one item after the other.
fn documents(reader: impl Read, take: &mut dyn FnMut(Place, &[u8]) -> bool) -> Ended {
    let mut deserializer = serde_json::Deserializer::from_reader(io::BufReader::new(reader));
    let mut items = Items {
        count: 0,
        is_inside: false,
        is_stopped: false,
        take,
    };
    loop {
        items.is_inside = false;
        match (&mut items).deserialize(&mut deserializer) {
            Ok(()) if items.is_stopped => return Ok(()),
            Ok(()) => {}
            Err(_) if items.is_stopped => return Ok(()),
            // Between documents rather than in one.
            Err(error) if error.is_eof() && !items.is_inside => return Ok(()),
            Err(error) => {
                let place = Some(Place::Line(error.line() as u64));
                return Err((place, format!("is not JSON: {error}")));
            }
        }
    }
}

struct Items<'t> {
    count: u64,
    is_inside: bool,
    is_stopped: bool,
    take: &'t mut dyn FnMut(Place, &[u8]) -> bool,
}

impl Items<'_> {
    fn one(&mut self, text: &str) {
        self.count += 1;
        if !self.is_stopped {
            self.is_stopped = !(self.take)(Place::Event(self.count), text.as_bytes());
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, a list or an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.is_inside = true;
        while let Some(item) = seq.next_element::<Box<RawValue>>()? {
            self.one(item.get());
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.is_inside = true;
        let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
        let mut is_list = false;
        while let Some(key) = map.next_key::<String>()? {
            if matches!(key.as_str(), "items" | "events" | "entries") {
                is_list = true;
                map.next_value_seed(&mut *self)?;
            } else {
                members.push((key, map.next_value()?));
            }
        }
        if is_list {
            return Ok(());
        }
        let mut text = String::from("{");
        for (index, (key, value)) in members.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&Value::from(key.as_str()).to_string());
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        self.one(&text);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        let ended = scan(&mut text.as_bytes(), &mut |place, text| {
            let text: Value = serde_json::from_slice(text).unwrap_or_default();
            out.push(format!("{place:?} {text}"));
            true
        });
        if let Err((place, reason)) = ended {
            out.push(format!("{place:?} {reason}"));
        }
        out
    }

    #[test]
    fn lines_and_documents() {
        for (text, expected) in [
            ("", ""),
            (
                "{\"a\":1}\n\n{\"a\":2}",
                "Line(1) {\"a\":1}|Line(3) {\"a\":2}",
            ),
            ("torn\"}\n{\"a\":1}\n", "Line(1) null|Line(2) {\"a\":1}"),
            ("{\"torn\":\n{\"a\":1}\n", "Line(1) null|Line(2) {\"a\":1}"),
            (
                "{\n \"a\": 1\n}\n{\n \"a\": 2}",
                "Event(1) {\"a\":1}|Event(2) {\"a\":2}",
            ),
            (
                "[\n{\"a\":1},\n{\"a\":2}\n]\n",
                "Event(1) {\"a\":1}|Event(2) {\"a\":2}",
            ),
            (
                "{\n\"kind\": \"EventList\",\n\"items\": [\n{\"a\":1},\n{\"a\":2}]}",
                "Event(1) {\"a\":1}|Event(2) {\"a\":2}",
            ),
            (
                "{\n\"items\": [\n{\"a\":1},\n{\"a\":",
                "Event(1) {\"a\":1}|Some(Line(4)) is not JSON: EOF while parsing an object at line 4 column 5",
            ),
        ] {
            let found = scanned(text).join("|");
            let head: String = expected.chars().take(found.len().min(60)).collect();
            assert!(found.starts_with(&head), "{text}: {found}");
            assert_eq!(
                found.matches('|').count(),
                expected.matches('|').count(),
                "{text}"
            );
        }
    }
}
