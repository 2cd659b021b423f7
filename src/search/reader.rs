//! Reads audit lines as a server writes them, in one pass and without copies.
//!
//! Every request of a live server is read here once more, for the index. Serde costs several times as
//! much, most of all for the trace, which is JSON within a string of JSON: here its texts are found
//! between their `\"` where they stand. Answers nothing for whatever is not as usual (a repeated member,
//! another shape, deep nesting); then serde reads the line, and what it says counts.

use std::borrow::Cow;

use crate::api::bytes::plain_len;
use crate::audit::event::TRACE_ANNOTATION;
use crate::search::event::{
    Annotations, Event, ObjectRef, ResponseStatus, Rule, STAGES_MAX, StageRow, Texts, Trace, User,
};

/// Deepest nesting that is gone into.
const DEPTH_MAX: usize = 100;

/// Reads members into places, each with a function; a repeated one is not as usual. Others are skipped.
macro_rules! members {
    ($reader:expr; $($bit:literal: $name:literal => $place:expr, $read:expr;)*) => {{
        let mut seen = 0_u32;
        $reader.members(|reader, name| {
            let bit = match name {
                $($name => {
                    $place = $read(reader)?;
                    1 << $bit
                })*
                _ => {
                    reader.skip(0)?;
                    0
                }
            };
            let is_first = seen & bit == 0;
            seen |= bit;
            is_first.then_some(())
        })
    }};
}

/// JSON as it stands.
type Plain<'a> = Reader<'a, false>;
/// JSON within a string.
type Deep<'a> = Reader<'a, true>;

/// Reads an event, and its trace, which is then not among the annotations.
pub(super) fn event(line: &str) -> Option<(Event<'_>, Option<Trace<'_>>)> {
    let mut reader = Plain { text: line, at: 0 };
    let mut event = Event::default();
    let mut trace = None;
    members! { reader;
        0: "auditID" => event.audit_id, Plain::text;
        1: "level" => event.level, Plain::text;
        2: "stage" => event.stage, Plain::text;
        3: "requestURI" => event.request_uri, Plain::text;
        4: "verb" => event.verb, Plain::text;
        5: "user" => event.user, user;
        6: "impersonatedUser" => event.impersonated_user, user;
        7: "sourceIPs" => event.source_ips, texts;
        8: "userAgent" => event.user_agent, Plain::text;
        9: "objectRef" => event.object_ref, object;
        10: "responseStatus" => event.response_status, status;
        11: "requestObject" => event.request_object, body;
        12: "responseObject" => event.response_object, body;
        13: "requestReceivedTimestamp" => event.request_received_timestamp, Plain::text;
        14: "stageTimestamp" => event.stage_timestamp, Plain::text;
        15: "annotations" => event.annotations, |reader| annotations(reader, &mut trace);
    }?;
    reader.white();
    reader.is_at_end().then_some((event, trace))
}

fn user<'a>(reader: &mut Plain<'a>) -> Option<Option<User<'a>>> {
    let mut user = User::default();
    members! { reader;
        0: "username" => user.username, Plain::text;
        1: "uid" => user.uid, Plain::text;
        2: "groups" => user.groups, texts;
    }?;
    Some(Some(user))
}

fn object<'a>(reader: &mut Plain<'a>) -> Option<Option<ObjectRef<'a>>> {
    let mut object = ObjectRef::default();
    members! { reader;
        0: "resource" => object.resource, Plain::text;
        1: "namespace" => object.namespace, Plain::text;
        2: "name" => object.name, Plain::text;
        3: "uid" => object.uid, Plain::text;
        4: "apiGroup" => object.api_group, Plain::text;
        5: "apiVersion" => object.api_version, Plain::text;
        6: "subresource" => object.subresource, Plain::text;
    }?;
    Some(Some(object))
}

fn status<'a>(reader: &mut Plain<'a>) -> Option<Option<ResponseStatus<'a>>> {
    let mut status = ResponseStatus::default();
    members! { reader;
        0: "code" => status.code, number;
        1: "message" => status.message, Plain::text;
        2: "reason" => status.reason, Plain::text;
    }?;
    Some(Some(status))
}

fn texts<'a>(reader: &mut Plain<'a>) -> Option<Texts<'a>> {
    let mut texts = Texts::new();
    reader.items(|reader| {
        texts.push(reader.text()?);
        Some(())
    })?;
    Some(texts)
}

fn body<'a>(reader: &mut Plain<'a>) -> Option<&'a str> {
    // Null is not as usual.
    let is_there = reader.peek()? != b'n';
    let from = reader.at;
    reader.skip(0)?;
    is_there.then(|| &reader.text[from..reader.at])
}

fn annotations<'a>(
    reader: &mut Plain<'a>,
    trace: &mut Option<Trace<'a>>,
) -> Option<Annotations<'a>> {
    let mut annotations = Annotations::new();
    reader.members(|reader, name| {
        if name == TRACE_ANNOTATION {
            let text = reader.string()?.text;
            let read = self::trace(&mut Deep { text, at: 0 })?;
            return trace.replace(read).is_none().then_some(());
        }
        annotations.push((Cow::Borrowed(name), reader.text()?));
        Some(())
    })?;
    Some(annotations)
}

fn trace<'a>(reader: &mut Deep<'a>) -> Option<Trace<'a>> {
    let mut trace = Trace::default();
    members! { reader;
        0: "by" => trace.by, Deep::text;
        1: "rule" => trace.rule, rule;
        2: "ruleName" => trace.rule_name, Deep::text;
        3: "because" => trace.because, Deep::text;
        4: "sampledPercent" => trace.sampled_percent, number;
        5: "clientAuditID" => trace.client_audit_id, Deep::boolean;
        6: "requestID" => trace.request_id, Deep::text;
        7: "dryRun" => trace.dry_run, Deep::boolean;
        8: "noOp" => trace.no_op, Deep::boolean;
        9: "fieldManager" => trace.field_manager, Deep::text;
        10: "stages" => trace.stages, stages;
        11: "lost" => trace.lost, number;
        12: "sink" => trace.sink, Deep::text;
        13: "reason" => trace.reason, Deep::text;
        // What was running when time was up is rare.
        14: "running" => trace.running, |_| None;
    }?;
    reader.is_at_end().then_some(trace)
}

fn rule<'a>(reader: &mut Deep<'a>) -> Option<Option<Rule<'a>>> {
    Some(Some(match reader.peek()?.is_ascii_digit() {
        true => Rule::Index(reader.number()?),
        false => Rule::Name(reader.text()?),
    }))
}

fn stages<'a>(reader: &mut Deep<'a>) -> Option<Vec<StageRow<'a>>> {
    let mut stages = Vec::with_capacity(16);
    reader.items(|reader| {
        let (mut row, mut at) = (StageRow::default(), 0);
        reader.items(|reader| {
            match at {
                0 => row.name = reader.text()?,
                1 => _ = reader.number()?,
                2 => row.micros = reader.number()?,
                3 => row.outcome = reader.text()?,
                4 => row.reason = reader.text()?,
                _ => reader.skip(0)?,
            }
            at += 1;
            Some(())
        })?;
        if stages.len() < STAGES_MAX {
            stages.push(row);
        }
        Some(())
    })?;
    Some(stages)
}

fn number<const DEEP: bool>(reader: &mut Reader<'_, DEEP>) -> Option<Option<u64>> {
    reader.number().map(Some)
}

/// Reads from front to back. `DEEP`: the text is that of a string, whose escapes were left in it.
struct Reader<'a, const DEEP: bool> {
    text: &'a str,
    at: usize,
}

/// A string between its quotes, escapes and all.
struct Raw<'a> {
    text: &'a str,
    is_escaped: bool,
}

impl<'a, const DEEP: bool> Reader<'a, DEEP> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there.then_some(())
    }

    fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn white(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Calls `read` behind each `"name":`. Names are not escaped.
    fn members(&mut self, mut read: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.list(b'{', b'}', |reader| {
            let name = reader.string().filter(|name| !name.is_escaped)?;
            reader.white();
            reader.take(b':')?;
            reader.white();
            read(reader, name.text)
        })
    }

    fn items(&mut self, read: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.list(b'[', b']', read)
    }

    fn list(
        &mut self,
        open: u8,
        close: u8,
        mut read: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.white();
        self.take(open)?;
        self.white();
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            read(self)?;
            self.white();
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(b',')?;
            self.white();
        }
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        let raw = self.string()?;
        match raw.is_escaped {
            false => Some(Cow::Borrowed(raw.text)),
            true if DEEP => unescaped(&unescaped(raw.text)?).map(Cow::Owned),
            true => unescaped(raw.text).map(Cow::Owned),
        }
    }

    fn number(&mut self) -> Option<u64> {
        let from = self.at;
        self.digits()?;
        let digits = &self.text[from..self.at];
        let is_whole = !matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        let has_zeros = digits.len() > 1 && digits.starts_with('0');
        (is_whole && !has_zeros).then(|| digits.parse().ok())?
    }

    fn boolean(&mut self) -> Option<bool> {
        let is_true = self.peek()? == b't';
        self.word(if is_true { "true" } else { "false" })?;
        Some(is_true)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let is_there = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        is_there.then_some(())
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    /// Goes past a value of any shape.
    fn skip(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.peek()? {
            b'{' => self.list(b'{', b'}', |reader| {
                reader.string()?;
                reader.white();
                reader.take(b':')?;
                reader.white();
                reader.skip(depth + 1)
            }),
            b'[' => self.items(|reader| reader.skip(depth + 1)),
            b'"' | b'\\' => self.string().map(|_| ()),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.skip_number(),
        }
    }

    fn skip_number(&mut self) -> Option<()> {
        _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if self.take(b'e').or_else(|| self.take(b'E')).is_some() {
            _ = self.take(b'+').or_else(|| self.take(b'-'));
            self.digits()?;
        }
        Some(())
    }

    /// At a quote.
    fn string(&mut self) -> Option<Raw<'a>> {
        if DEEP {
            self.take(b'\\')?;
        }
        self.take(b'"')?;
        let bytes = self.text.as_bytes();
        let (from, mut is_escaped) = (self.at, false);
        loop {
            self.at += plain_len(&bytes[self.at..]);
            let to = self.at;
            let is_end = match DEEP {
                true => self.take(b'\\').and_then(|()| self.take(b'"')).is_some(),
                false => self.take(b'"').is_some(),
            };
            if is_end {
                let text = &self.text[from..to];
                return Some(Raw { text, is_escaped });
            }
            // In a string within a string each backslash is two.
            self.take(b'\\')?;
            is_escaped = true;
            match self.peek()? {
                b'"' if !DEEP => self.at += 1,
                b'\\' if DEEP => {
                    self.at += 1;
                    self.take(b'"').or_else(|| self.take(b'\\'))?;
                }
                b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                b'u' => {
                    let digits = bytes.get(self.at + 1..self.at + 5)?;
                    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                    self.at += 5;
                }
                _ => return None,
            }
        }
    }
}

/// The text without one level of escapes; nothing for half a character.
fn unescaped(text: &str) -> Option<String> {
    let quoted = ["\"", text, "\""].concat();
    serde_json::from_str(&quoted).ok()
}
