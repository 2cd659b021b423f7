//! Where in a YAML or JSON text each value stands, so that errors and warnings can name the line.
//!
//! Read by `verbatim policy` and by the loader of `AuditConfiguration`. A text that is not YAML has
//! no lines; whoever decodes it says what is wrong with it.

use std::collections::HashMap;

use libyaml_safer::{Event, EventData};

use crate::api::schema::yaml_events::{Events, ended};

/// Deepest nesting that is looked into.
const DEPTH_MAX: usize = 64;

/// Lines by field path (`rules[0].level`), counted from one.
#[derive(Clone, Debug, Default)]
pub struct Lines(HashMap<String, usize>);

impl Lines {
    /// Reads a text.
    pub fn of(text: &str) -> Self {
        let text = ended(text.as_bytes());
        let mut bytes = &*text;
        let mut reader = Reader {
            events: Events::of(&mut bytes),
            lines: HashMap::new(),
        };
        // The rest of a broken text has no lines.
        let _ = reader.document();
        Lines(reader.lines)
    }

    /// The line of a field, or of the nearest one above it that stands in the text.
    pub fn at(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// Whether a field stands in the text.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// `line 3: ` before a message about a field, or nothing.
    pub fn prefix(&self, path: &str) -> String {
        match self.at(path) {
            Some(line) => format!("line {line}: "),
            None => String::new(),
        }
    }
}

struct Reader<'r> {
    events: Events<'r>,
    lines: HashMap<String, usize>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Event> {
        self.events.read().ok()
    }

    fn document(&mut self) -> Option<()> {
        loop {
            match self.next()?.data {
                EventData::StreamEnd => return None,
                EventData::DocumentStart { .. } => return self.value("", 0),
                _ => {}
            }
        }
    }

    /// Reads one value. `None` at the end of what can be read.
    fn value(&mut self, path: &str, depth: usize) -> Option<()> {
        let event = self.next()?;
        let line = usize::try_from(event.start_mark.line).ok()? + 1;
        self.lines.entry(path.to_string()).or_insert(line);
        match event.data {
            EventData::MappingStart { .. } => self.mapping(path, depth),
            EventData::SequenceStart { .. } => self.sequence(path, depth),
            _ => Some(()),
        }
    }

    fn mapping(&mut self, path: &str, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        loop {
            let event = self.next()?;
            let line = usize::try_from(event.start_mark.line).ok()? + 1;
            let key = match event.data {
                EventData::MappingEnd => return Some(()),
                EventData::Scalar { value, .. } => value,
                _ => return None,
            };
            let child = match path {
                "" => key,
                path => format!("{path}.{key}"),
            };
            // The key's line is where a reader looks; its value may begin below.
            self.lines.insert(child.clone(), line);
            self.value(&child, depth + 1)?;
        }
    }

    fn sequence(&mut self, path: &str, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        for index in 0.. {
            let child = format!("{path}[{index}]");
            let event = self.next()?;
            let line = usize::try_from(event.start_mark.line).ok()? + 1;
            if event.data == EventData::SequenceEnd {
                break;
            }
            self.lines.insert(child.clone(), line);
            match event.data {
                EventData::MappingStart { .. } => self.mapping(&child, depth + 1)?,
                EventData::SequenceStart { .. } => self.sequence(&child, depth + 1)?,
                _ => {}
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_lines() {
        let lines = Lines::of(
            "kind: Policy\nrules:\n- level: None\n  verbs: [get,\n    list]\n-\n  level: x",
        );
        for (path, line) in [
            ("kind", Some(1)),
            ("rules[0].level", Some(3)),
            ("rules[0].verbs[1]", Some(5)),
            ("rules[1].level", Some(7)),
            ("rules[0].users[3]", Some(3)),
            ("omitStages", None),
        ] {
            assert_eq!(lines.at(path), line, "{path}");
        }
        assert_eq!(lines.prefix("kind"), "line 1: ");
    }

    #[test]
    fn a_broken_text_has_the_lines_before_the_break() {
        let lines = Lines::of("kind: Policy\nrules:\n- {level: \"Metadata\"!!str,}\n- level: x");
        assert_eq!(lines.at("rules"), Some(2));
        assert!(!lines.has("rules[1]"));
        assert_eq!(Lines::of("a: [").at("b"), None);
    }
}
