//! Events that another API server wrote: redacted as our own are, after the fact.
//!
//! What does not change stays as it was written, byte for byte.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Redactor, Writer};
use crate::audit::event::WEBHOOK_PATCH_ANNOTATION;
use crate::base::tree::Value;
use crate::request::RequestInfo;

/// What rules look at, where it stands in the line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts<'a> {
    #[serde(borrow)]
    verb: Option<&'a RawValue>,
    #[serde(borrow, rename = "requestURI")]
    request_uri: Option<&'a RawValue>,
    #[serde(borrow)]
    object_ref: Option<&'a RawValue>,
    #[serde(borrow)]
    request_object: Option<&'a RawValue>,
    #[serde(borrow)]
    response_object: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

impl Redactor {
    /// A line with an event as it may be shown. What is no event, or says a field twice, is not
    /// understood and shown as one opaque text: nobody can tell what a reader would see in it.
    pub fn event<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let Ok(parts) = serde_json::from_str::<Parts<'_>>(line) else {
            return Cow::Owned(Value::String(self.opaque(line.as_bytes())).to_string());
        };
        let info = parts.info();
        let mut changes: Vec<(&str, String)> = Vec::new();
        if let Some(raw) = parts.request_uri
            && let Ok(uri) = serde_json::from_str::<String>(raw.get())
            && let Cow::Owned(shown) = self.uri(&info, &uri)
        {
            changes.push((raw.get(), Value::String(shown).to_string()));
        }
        for raw in [parts.request_object, parts.response_object] {
            let raw = raw.map_or("", RawValue::get);
            changes.extend(self.shown_body(&info, raw).map(|shown| (raw, shown)));
        }
        if let Some(raw) = parts.annotations {
            let shown = self.shown_annotations(&info, raw.get());
            changes.extend(shown.map(|shown| (raw.get(), shown)));
        }
        spliced(line, changes)
    }

    /// `None` where nothing changes.
    fn shown_body(&self, info: &RequestInfo, raw: &str) -> Option<String> {
        if !self.concerns(info, raw.as_bytes(), Writer::Client) {
            return None;
        }
        let mut tree: Value = serde_json::from_str(raw).ok()?;
        (self.body(info, &mut tree) > 0).then(|| tree.to_string())
    }

    fn shown_annotations(&self, info: &RequestInfo, raw: &str) -> Option<String> {
        let mut tree: Value = serde_json::from_str(raw).ok()?;
        let mut has_changed = false;
        for (key, value) in tree.as_object_mut()? {
            let Some(text) = value
                .as_str()
                .filter(|_| key.starts_with(WEBHOOK_PATCH_ANNOTATION))
            else {
                continue;
            };
            let shown = match self.webhook_patch(info, text) {
                Cow::Owned(shown) => shown,
                Cow::Borrowed(_) => continue,
            };
            *value = Value::String(shown);
            has_changed = true;
        }
        has_changed.then(|| tree.to_string())
    }
}

impl Parts<'_> {
    /// The request, as far as rules ask.
    fn info(&self) -> RequestInfo {
        let read = |raw: Option<&RawValue>| -> Value {
            let tree = raw.and_then(|raw| serde_json::from_str(raw.get()).ok());
            tree.unwrap_or_default()
        };
        let object = read(self.object_ref);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        RequestInfo {
            is_resource: object.is_object(),
            verb: text(&read(self.verb)),
            group: text(&object["apiGroup"]),
            version: text(&object["apiVersion"]),
            namespace: text(&object["namespace"]),
            resource: text(&object["resource"]),
            subresource: text(&object["subresource"]),
            name: text(&object["name"]),
            ..RequestInfo::default()
        }
    }
}

/// The line with parts of it replaced.
fn spliced<'a>(line: &'a str, mut changes: Vec<(&str, String)>) -> Cow<'a, str> {
    if changes.is_empty() {
        return Cow::Borrowed(line);
    }
    changes.sort_by_key(|(part, _)| start_of(line, part));
    let mut out = String::with_capacity(line.len());
    let mut done = 0;
    for (part, shown) in changes {
        let start = start_of(line, part);
        out.push_str(&line[done..start]);
        out.push_str(&shown);
        done = start + part.len();
    }
    out.push_str(&line[done..]);
    Cow::Owned(out)
}

/// Where a part begins that was borrowed from the line.
fn start_of(line: &str, part: &str) -> usize {
    part.as_ptr().addr() - line.as_ptr().addr()
}
