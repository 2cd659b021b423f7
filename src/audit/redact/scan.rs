//! Rewrites a JSON text along the paths of several rules at once: what [`super::walk`] does to a tree,
//! done to a text that a server wrote, without a tree.
//!
//! Called for bodies of events, which may be lists of thousands of objects. What no path leads to is
//! skipped and copied as it stands, members in their order.

use super::path::Segment;
use super::walk::{Replace, Tracks, advance, finished, is_directive_text, join};
use super::{FieldRule, Target, decoded};
use crate::audit::json;
use crate::base::tree::Value;

/// Deepest nesting that is looked into: what `serde_json` parses.
const DEPTH_MAX: usize = 127;

/// The text is no JSON object, or nested too deeply.
#[derive(Debug)]
pub(super) struct NotUnderstood;

type Scanned<T> = Result<T, NotUnderstood>;

/// What a value is, as far as its members are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The document: an object, a list or a table.
    Document,
    Items,
    Rows,
    Row,
    /// An object of its own, in which paths begin anew.
    Object,
    Metadata,
    Other,
}

/// What is done on the way.
pub(super) struct Changes<'a> {
    /// The paths at their start.
    pub(super) start: Tracks<'a>,
    pub(super) replace: &'a Replace<'a>,
    /// `metadata.managedFields` of every object are left out.
    pub(super) omit_managed_fields: bool,
}

/// Appends the changed text to `out`, as one line. After a failure `out` is as it was.
pub(super) fn rewrite(text: &[u8], changes: &Changes<'_>, out: &mut Vec<u8>) -> Scanned<()> {
    std::str::from_utf8(text).map_err(|_| NotUnderstood)?;
    let before = out.len();
    let mut scan = Scan {
        text,
        at: 0,
        copied: 0,
        out,
        changes,
    };
    let result = scan.document();
    if result.is_err() {
        out.truncate(before);
    }
    result
}

struct Scan<'t, 'r, 'o> {
    text: &'t [u8],
    at: usize,
    /// The text up to here is in `out`, or left out.
    copied: usize,
    out: &'o mut Vec<u8>,
    changes: &'o Changes<'r>,
}

impl<'t, 'r> Scan<'t, 'r, '_> {
    fn document(&mut self) -> Scanned<()> {
        self.white();
        if self.peek()? != b'{' {
            // The operations of a patch, or nothing that paths lead into.
            return Err(NotUnderstood);
        }
        let changes = self.changes;
        self.value(Place::Document, &changes.start, 0)?;
        self.white();
        if self.at < self.text.len() {
            return Err(NotUnderstood);
        }
        self.copy_to(self.at);
        Ok(())
    }

    /// At a value to which `tracks` lead.
    fn value(&mut self, place: Place, tracks: &Tracks<'r>, depth: usize) -> Scanned<()> {
        if depth > DEPTH_MAX {
            return Err(NotUnderstood);
        }
        if place == Place::Other && tracks.is_empty() {
            return self.skip();
        }
        match self.peek()? {
            b'{' => self.members(|scan, key| scan.member(place, tracks, key, depth)),
            b'[' => {
                let mut index = 0;
                self.items(|scan| {
                    let segment = Segment::Index(index);
                    index += 1;
                    let (inner, begins) = match place {
                        Place::Items => (Place::Object, true),
                        Place::Rows => (Place::Row, false),
                        _ => (Place::Other, false),
                    };
                    scan.below(inner, begins, tracks, segment, depth)
                })
            }
            _ => self.skip(),
        }
    }

    /// At the value of a member. Answers whether it stays.
    fn member(
        &mut self,
        place: Place,
        tracks: &Tracks<'r>,
        key: &str,
        depth: usize,
    ) -> Scanned<bool> {
        let is_list = self.peek()? == b'[';
        let (inner, begins) = match (place, key) {
            (Place::Metadata, "managedFields") if self.changes.omit_managed_fields => {
                self.skip()?;
                return Ok(false);
            }
            (Place::Document | Place::Object, "metadata") => (Place::Metadata, false),
            (Place::Document, "items") if is_list => (Place::Items, false),
            (Place::Document, "rows") if is_list => (Place::Rows, false),
            (Place::Row, "object") => (Place::Object, true),
            _ => (Place::Other, false),
        };
        self.below(inner, begins, tracks, Segment::Key(key), depth)?;
        Ok(true)
    }

    /// At a value below the one that `tracks` lead to. `begins`: all paths begin here, too.
    fn below(
        &mut self,
        place: Place,
        begins: bool,
        tracks: &Tracks<'r>,
        segment: Segment<'_>,
        depth: usize,
    ) -> Scanned<()> {
        let mut next = advance(tracks, segment);
        if begins {
            next = join(&self.changes.start, next);
        }
        match finished(&next) {
            Some(track) => self.apply(track.rule, depth + 1),
            None => self.value(place, &next, depth + 1),
        }
    }

    /// Replaces the value, or every value below.
    fn apply(&mut self, rule: &FieldRule, depth: usize) -> Scanned<()> {
        if depth > DEPTH_MAX {
            return Err(NotUnderstood);
        }
        match (rule.target, self.peek()?) {
            (_, b'n') => self.skip(),
            (Target::Leaves | Target::Base64Leaves, b'{') => self.members(|scan, key| {
                if key == "$patch" && scan.is_directive()? {
                    scan.skip()?;
                } else {
                    scan.apply(rule, depth + 1)?;
                }
                Ok(true)
            }),
            (Target::Leaves | Target::Base64Leaves, b'[') => {
                self.items(|scan| scan.apply(rule, depth + 1))
            }
            _ => self.put(rule),
        }
    }

    fn put(&mut self, rule: &FieldRule) -> Scanned<()> {
        let start = self.at;
        self.skip()?;
        let value: Value =
            serde_json::from_slice(&self.text[start..self.at]).map_err(|_| NotUnderstood)?;
        let shown = match &value {
            Value::String(text) if rule.target == Target::Base64Leaves => {
                (self.changes.replace)(&decoded(text), rule.action)
            }
            Value::String(text) => (self.changes.replace)(text.as_bytes(), rule.action),
            other => (self.changes.replace)(other.to_string().as_bytes(), rule.action),
        };
        self.copy_to(start);
        json::push(self.out, &shown);
        self.copied = self.at;
        Ok(())
    }

    /// At a value: whether it is a directive of a strategic merge patch.
    fn is_directive(&mut self) -> Scanned<bool> {
        let start = self.at;
        self.skip()?;
        let end = std::mem::replace(&mut self.at, start);
        let text = &self.text[start..end];
        let text: Value = serde_json::from_slice(text).map_err(|_| NotUnderstood)?;
        Ok(text.as_str().is_some_and(is_directive_text))
    }

    /// At a `{`: calls `member` at every value, with its name; leaves out those that do not stay.
    fn members(&mut self, mut member: impl FnMut(&mut Self, &str) -> Scanned<bool>) -> Scanned<()> {
        self.at += 1;
        self.white();
        if self.take(b'}') {
            return Ok(());
        }
        // Where a member begins that is left out: with the comma before it, if there is one left.
        let mut comma = None;
        loop {
            let start = self.at;
            let name = self.string()?;
            let decoded: String;
            let name = match memchr::memchr(b'\\', name) {
                None => std::str::from_utf8(&name[1..name.len() - 1]).map_err(|_| NotUnderstood)?,
                Some(_) => {
                    decoded = serde_json::from_slice(name).map_err(|_| NotUnderstood)?;
                    &decoded
                }
            };
            self.white();
            if !self.take(b':') {
                return Err(NotUnderstood);
            }
            self.white();
            let stays = member(self, name)?;
            if !stays {
                self.copy_to(comma.unwrap_or(start));
                self.copied = self.at;
            }
            self.white();
            let end = self.at;
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(NotUnderstood);
            }
            self.white();
            match (stays, comma) {
                (true, _) => comma = Some(end),
                // The first one that stays has no comma before it.
                (false, None) => self.copied = self.at,
                (false, Some(_)) => comma = Some(end),
            }
        }
    }

    /// At a `[`: calls `item` at every item.
    fn items(&mut self, mut item: impl FnMut(&mut Self) -> Scanned<()>) -> Scanned<()> {
        self.at += 1;
        self.white();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            self.white();
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(NotUnderstood);
            }
            self.white();
        }
    }

    /// Past a value.
    fn skip(&mut self) -> Scanned<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'{' | b'[' => self.skip_container(),
            _ => {
                let start = self.at;
                let rest = &self.text[start..];
                let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || is_white(*byte);
                self.at += rest.iter().position(is_end).unwrap_or(rest.len());
                if self.at == start {
                    return Err(NotUnderstood);
                }
                Ok(())
            }
        }
    }

    fn skip_container(&mut self) -> Scanned<()> {
        let mut open = 0_usize;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let next = rest.iter().position(|&byte| STOPS[usize::from(byte)]);
            self.at += next.ok_or(NotUnderstood)?;
            match self.text[self.at] {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                _ => open -= 1,
            }
            self.at += 1;
            if open == 0 {
                return Ok(());
            }
        }
    }

    /// At a `"`. Answers the string with its quotes.
    fn string(&mut self) -> Scanned<&'t [u8]> {
        let start = self.at;
        if self.peek()? != b'"' {
            return Err(NotUnderstood);
        }
        let text = self.text;
        let mut at = start + 1;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            at += memchr::memchr2(b'"', b'\\', rest).ok_or(NotUnderstood)?;
            if text[at] == b'"' {
                self.at = at + 1;
                return Ok(&text[start..self.at]);
            }
            at += 2;
        }
    }

    fn copy_to(&mut self, end: usize) {
        if end > self.copied {
            json::push_raw(self.out, &self.text[self.copied..end]);
            self.copied = end;
        }
    }

    fn white(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| is_white(*byte)) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Scanned<u8> {
        self.text.get(self.at).copied().ok_or(NotUnderstood)
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }
}

/// Where skipping a container stops.
static STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    stops[b'"' as usize] = true;
    stops[b'{' as usize] = true;
    stops[b'}' as usize] = true;
    stops[b'[' as usize] = true;
    stops[b']' as usize] = true;
    stops
};

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::redact::{Action, JsonPath, Redactor, Rules};
    use crate::base::tree::json;
    use crate::request::RequestInfo;

    fn rule(path: &str, target: Target) -> FieldRule {
        FieldRule {
            paths: vec![JsonPath::parse(path).expect("a path")],
            resources: Vec::new(),
            action: Action::Hash,
            target,
        }
    }

    fn redactor(fields: Vec<FieldRule>) -> Redactor {
        let rules = Rules {
            fields,
            ..Rules::default()
        };
        Redactor::new(rules, b"a key of the test's own")
    }

    /// What the tree comes to and what the text comes to.
    fn both(redactor: &Redactor, text: &str, omit: bool) -> (Value, Option<String>) {
        let info = RequestInfo::default();
        let mut tree: Value = serde_json::from_str(text).expect("JSON");
        if omit {
            json::remove_managed_fields(&mut tree);
        }
        redactor.body(&info, &mut tree);
        let mut out = b"before".to_vec();
        let done =
            crate::audit::redact::rewrite(&mut out, text.as_bytes(), &info, Some(redactor), omit);
        let out = String::from_utf8(out).expect("UTF-8");
        let written = out.strip_prefix("before").expect("kept").to_string();
        (tree, done.then_some(written))
    }

    #[test]
    fn everything_else_stays_as_it_stands() {
        let redactor = redactor(vec![rule("$.metadata.annotations.a", Target::Value)]);
        for (text, want) in [
            (
                r#"{"kind":"A","z":1.50,"metadata":{"managedFields":[{"}":"]"}],"name":"n","annotations":{"b":"\"","a":null}},"a":2}"#,
                r#"{"kind":"A","z":1.50,"metadata":{"name":"n","annotations":{"b":"\"","a":null}},"a":2}"#,
            ),
            (
                r#"{"items":[{"metadata":{"name":"n","managedFields":[]}},{"metadata":{"managedFields":[]}}]}"#,
                r#"{"items":[{"metadata":{"name":"n"}},{"metadata":{}}]}"#,
            ),
            (
                "{ \"metadata\" : { \"managedFields\" : [ ] ,\n \"x\" : 1 } }",
                "{ \"metadata\" : { \"x\" : 1 } }",
            ),
            (
                r#"{"metadata":{"a":1,"managedFields":[],"managedFields":[],"b":2}}"#,
                r#"{"metadata":{"a":1,"b":2}}"#,
            ),
        ] {
            assert_eq!(both(&redactor, text, true).1.as_deref(), Some(want));
        }
    }

    #[test]
    fn what_is_not_json_is_not_understood() {
        let redactor = redactor(vec![rule("$..a", Target::Leaves)]);
        let deep = format!("{}1{}", "{\"b\":".repeat(200), "}".repeat(200));
        for text in [
            "",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "{} x",
            "{\"a\" 1}",
            "{\"a\":1 2}",
            "{\"a\":tru}",
            "[1",
            "{\"a\":\"\\ud800\"}",
            &deep,
        ] {
            let mut out = Vec::new();
            let info = RequestInfo::default();
            let done = crate::audit::redact::rewrite(
                &mut out,
                text.as_bytes(),
                &info,
                Some(&redactor),
                true,
            );
            assert!(!done && out.is_empty(), "{text}");
        }
    }

    fn any_document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i16>().prop_map(Value::from),
            "[a\"\\\\\n{}\\[\\],:é]{0,6}".prop_map(Value::from),
            Just(json!("replace")),
            Just(json!("aHVudGVyMg==")),
        ];
        let key = prop_oneof![
            Just("metadata".to_string()),
            Just("managedFields".to_string()),
            Just("items".to_string()),
            Just("rows".to_string()),
            Just("object".to_string()),
            Just("$patch".to_string()),
            "[ab\"]{1}",
        ];
        leaf.prop_recursive(6, 48, 4, move |inner| {
            prop_oneof![
                1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                3 => prop::collection::btree_map(key.clone(), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn as_the_tree_is_changed(tree in any_document(), omit in any::<bool>(), is_pretty in any::<bool>()) {
            let redactor = redactor(vec![
                rule("$.metadata.a", Target::Leaves),
                rule("$.a.*[0]", Target::Value),
                rule("$.a", Target::Base64Leaves),
                rule("$..b", Target::Value),
            ]);
            let text = match is_pretty {
                true => serde_json::to_string_pretty(&tree).expect("a tree"),
                false => tree.to_string(),
            };
            prop_assume!(tree.is_object());
            let (tree, written) = both(&redactor, &text, omit);
            let written = written.expect("understood");
            prop_assert!(!written.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), tree);
        }
    }
}
