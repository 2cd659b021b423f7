//! `requestObject.spec.replicas:3`, `uri:/api/v1/*`: a value at a path in a body, a long text. These are
//! not indexed as such; events that hold all the words are read and looked into.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use tantivy::schema::{Field, Value as _};
use tantivy::{SegmentReader, TantivyDocument};

use crate::audit::event::REASON_ANNOTATION;
use crate::base::tree::Value;
use crate::search::query::compile::{Pattern, wildcard};
use crate::search::query::filtered::{Check, Look};
use crate::search::query::glob::Glob;
use crate::search::query::{Condition, Limit, QueryError};

/// Blocks of stored events that are kept unpacked.
const CACHED_BLOCKS: usize = 4;

/// Whether an event has a value at a path.
#[derive(Clone, Debug)]
pub(super) struct BodyCheck {
    event: Field,
    member: &'static str,
    path: Vec<String>,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Text(String),
    Pattern(Glob),
    Between(Option<Limit>, Option<Limit>),
}

impl Check for BodyCheck {
    fn open(&self, reader: &SegmentReader) -> tantivy::Result<Option<Look>> {
        let check = self.clone();
        look_into(reader, self.event, move |event| check.matches(event))
    }
}

/// Looks into each stored event.
fn look_into(
    reader: &SegmentReader,
    field: Field,
    matches: impl Fn(&[u8]) -> bool + Send + 'static,
) -> tantivy::Result<Option<Look>> {
    let store = reader.get_store_reader(CACHED_BLOCKS)?;
    Ok(Some(Box::new(move |doc| {
        let Ok(document) = store.get::<TantivyDocument>(doc) else {
            // What cannot be read is found and shown when the event itself is.
            return true;
        };
        let event = document.get_first(field);
        let event = event.as_ref().and_then(|v| v.as_str());
        matches(event.unwrap_or_default().as_bytes())
    })))
}

/// Whether a long text of an event is one.
#[derive(Clone, Debug)]
pub(super) struct PhraseCheck {
    event: Field,
    text: for<'a> fn(Phrases<'a>) -> Option<Cow<'a, str>>,
    wanted: Wanted,
}

/// The long texts of an event.
#[derive(Deserialize)]
pub(super) struct Phrases<'a> {
    #[serde(borrow, default, rename = "requestURI")]
    uri: Cow<'a, str>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

impl PhraseCheck {
    /// Looks at the text of the field called `name`.
    pub(super) fn new(event: Field, name: &str, condition: &Condition) -> Result<Self, QueryError> {
        Ok(PhraseCheck {
            event,
            text: match name {
                "reason" => |phrases| {
                    let text = phrases.annotations?.get();
                    let mut all: HashMap<Cow<'_, str>, Cow<'_, str>> =
                        serde_json::from_str(text).ok()?;
                    all.remove(REASON_ANNOTATION)
                },
                _ => |phrases| Some(phrases.uri),
            },
            wanted: Wanted::of(condition)?,
        })
    }

    /// Looks into an event's JSON text.
    pub(super) fn matches(&self, event: &[u8]) -> bool {
        serde_json::from_slice::<Phrases<'_>>(event).is_ok_and(|phrases| {
            (self.text)(phrases).is_some_and(|text| !text.is_empty() && self.wanted.is_text(&text))
        })
    }
}

impl Check for PhraseCheck {
    fn open(&self, reader: &SegmentReader) -> tantivy::Result<Option<Look>> {
        let check = self.clone();
        look_into(reader, self.event, move |event| check.matches(event))
    }
}

impl BodyCheck {
    pub(super) fn new(
        event: Field,
        member: &'static str,
        path: &[String],
        condition: &Condition,
    ) -> Result<Self, QueryError> {
        Ok(BodyCheck {
            event,
            member,
            path: path.to_vec(),
            wanted: Wanted::of(condition)?,
        })
    }

    /// Looks into an event's JSON text.
    pub(super) fn matches(&self, event: &[u8]) -> bool {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Bodies<'a> {
            #[serde(borrow)]
            request_object: Option<&'a RawValue>,
            #[serde(borrow)]
            response_object: Option<&'a RawValue>,
        }
        let Ok(bodies) = serde_json::from_slice::<Bodies<'_>>(event) else {
            return false;
        };
        let body = match self.member {
            "requestObject" => bodies.request_object,
            _ => bodies.response_object,
        };
        let tree = body.and_then(|b| serde_json::from_str::<Value>(b.get()).ok());
        tree.is_some_and(|tree| self.wanted.is_at(&tree, &self.path))
    }
}

impl Wanted {
    fn of(condition: &Condition) -> Result<Self, QueryError> {
        Ok(match condition {
            Condition::Text(text) => Wanted::Text(text.clone()),
            Condition::Range(lower, upper) => Wanted::Between(lower.clone(), upper.clone()),
            Condition::Word(word) => match wildcard(word) {
                Pattern::Plain(text) => Wanted::Text(text),
                Pattern::Glob(glob) => Wanted::Pattern(glob),
            },
        })
    }

    /// Whether it is at a path. Lists are entered: any of their items will do. A name with dots in it
    /// may be part of the path.
    fn is_at(&self, tree: &Value, path: &[String]) -> bool {
        match tree {
            Value::Array(items) => items.iter().any(|item| self.is_at(item, path)),
            Value::Object(members) => (1..=path.len()).any(|length| {
                let (name, rest) = path.split_at(length);
                let member = members.get(&name.join("."));
                member.is_some_and(|member| self.is_at(member, rest))
            }),
            leaf if path.is_empty() => self.is(leaf),
            _ => false,
        }
    }

    fn is(&self, leaf: &Value) -> bool {
        match leaf {
            Value::String(text) => self.is_text(text),
            other => self.is_text(&other.to_string()),
        }
    }

    fn is_text(&self, text: &str) -> bool {
        match self {
            Wanted::Text(wanted) => text == *wanted,
            Wanted::Pattern(glob) => glob.fits(text),
            Wanted::Between(lower, upper) => {
                let above = lower.as_ref().is_none_or(|l| {
                    let order = compare(text, &l.text);
                    order.is_gt() || (l.is_inclusive && order.is_eq())
                });
                let below = upper.as_ref().is_none_or(|l| {
                    let order = compare(text, &l.text);
                    order.is_lt() || (l.is_inclusive && order.is_eq())
                });
                above && below
            }
        }
    }
}

/// As numbers where both are, else as texts.
fn compare(a: &str, b: &str) -> std::cmp::Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => x.total_cmp(&y),
        _ => a.cmp(b),
    }
}
