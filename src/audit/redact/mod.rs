//! Redaction: values that the record must not show, replaced before an event is rendered.
//!
//! A [`Redactor`] is what an `AuditConfiguration` asks for, compiled, with its key. The recorder's
//! groups own one each and `event` calls it for URIs, bodies and the annotation in which admission
//! webhooks leave their patches. Events that other API servers send are redacted by the rules of the
//! server's own log before they are kept ([`Redactor::event`]). A plain `Policy` has none, as upstream (kubernetes/kubernetes#96319).
//!
//! # Invariants
//! - What is put in a value's place is a string of base64's alphabet and of a length that base64
//!   allows, so that an event with a Secret in it stays one that typed readers take.
//! - Equal values have equal hashes, whether they stand in `data` (decoded first), in `stringData`, in
//!   a patch or in a URL, so that an auditor can tell where one value was used without knowing it.
//! - Keys and the shape of objects stay; only values go.
//!
//! # Decisions
//! - HMAC with a key of the server's own rather than a plain hash: passwords are short, and a plain
//!   hash of a short text is the text. Cut to 128 bits: nothing is signed by it.
//! - Bodies are looked into only when a rule is about the resource and a name of its path stands in
//!   the text. Those that a server wrote are rewritten while their text is scanned ([`rewrite`]): lists
//!   are long, and hardly anything in them changes. A client's patch is parsed: it is short, and may
//!   repeat names and put an operation's value before its path.

mod defaults;
mod event;
mod path;
mod scan;
mod walk;

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

pub use defaults::DefaultSet;
pub use path::{JsonPath, PathError};

use crate::audit::policy::GroupResources;
use crate::base::tree::Value;
use crate::request::RequestInfo;

/// What stands in the place of a hashed value, before 32 hexadecimal digits.
pub const HASH_PREFIX: &str = "redacted/hmacsha256/";
/// What stands in the place of a masked value.
pub const MASK: &str = "redacted";
/// Shortest key that is taken.
pub const KEY_MIN_BYTES: usize = 16;

/// Whether a value can be recognised again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// A keyed hash: equal values stay equal.
    #[default]
    Hash,
    /// One word for all values.
    Mask,
}

/// What happens at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The value is replaced, whatever it is.
    Value,
    /// Every value below is replaced; keys and lists stay.
    Leaves,
    /// As `Leaves`, and texts are base64 of what is hashed.
    Base64Leaves,
}

/// Paths, where they count, and what to do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// The places.
    pub paths: Vec<JsonPath>,
    /// Resources whose bodies it is about; empty for all.
    pub resources: Vec<GroupResources>,
    /// What to do.
    pub action: Action,
    /// How far down.
    pub target: Target,
}

/// What is to be redacted.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rules {
    /// Of bodies.
    pub fields: Vec<FieldRule>,
    /// Query parameters of any URL.
    pub parameters: Vec<String>,
    /// Arguments of commands that run in containers.
    pub exec_arguments: bool,
    /// Query parameters that carry or look like tokens.
    pub url_tokens: bool,
    /// For URLs.
    pub uri_action: Action,
}

impl Rules {
    /// The default sets, each with `action`.
    pub fn of(sets: &[DefaultSet], action: Action) -> Self {
        defaults::rules(sets, action)
    }

    /// Whether nothing is to be redacted.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
            && self.parameters.is_empty()
            && !self.exec_arguments
            && !self.url_tokens
    }
}

/// Who wrote a JSON text. Names in ours are spelled as they are; a client may escape any letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A server: ours, or the one that stored the object.
    Server,
    /// Whoever sent the patch.
    Client,
}

/// Rules and a key.
#[derive(Debug)]
pub struct Redactor {
    rules: Rules,
    key: hmac::Key,
}

impl Redactor {
    /// Redacts by `rules`, hashing with `key`.
    pub fn new(rules: Rules, key: &[u8]) -> Self {
        Redactor {
            rules,
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// The request URI as it may be shown.
    pub fn uri<'a>(&self, info: &RequestInfo, uri: &'a str) -> Cow<'a, str> {
        let Some((path, query)) = uri.split_once('?') else {
            return Cow::Borrowed(uri);
        };
        let mut out: Option<String> = None;
        let mut done = 0;
        let offset = path.len() + 1;
        let mut at = offset;
        for pair in query.split('&') {
            if let Some((name, value)) = pair.split_once('=')
                && self.hides_parameter(info, &unescape(name), &unescape(value))
            {
                let text = out.get_or_insert_with(String::new);
                text.push_str(&uri[done..at + name.len() + 1]);
                let shown = self.replacement(unescape(value).as_bytes(), self.rules.uri_action);
                text.push_str(&shown);
                done = at + pair.len();
            }
            at += pair.len() + 1;
        }
        match out {
            None => Cow::Borrowed(uri),
            Some(mut text) => {
                text.push_str(&uri[done..]);
                Cow::Owned(text)
            }
        }
    }

    /// Whether a body of this request may hold something that is to be redacted. Cheap: looks at the
    /// resource and for a word of each path.
    pub fn concerns(&self, info: &RequestInfo, body: &[u8], writer: Writer) -> bool {
        let has_escapes = writer == Writer::Client && memchr::memchr(b'\\', body).is_some();
        self.rules_for(info).any(|rule| {
            rule.paths.iter().any(|path| match path.needle() {
                Some(needle) if !has_escapes => {
                    memchr::memmem::find(body, needle.as_bytes()).is_some()
                }
                _ => true,
            })
        })
    }

    /// Redacts a body: an object, a list, a table or a patch of any kind. Answers how many values
    /// were replaced.
    pub fn body(&self, info: &RequestInfo, tree: &mut Value) -> usize {
        walk::document(tree, self.rules_for(info), &|bytes, action| {
            self.replacement(bytes, action)
        })
    }

    /// What is shown of a body that is not JSON and cannot be looked into.
    pub fn opaque(&self, body: &[u8]) -> String {
        self.replacement(body, Action::Hash)
    }

    /// The value of an admission webhook's `patch.webhook.admission.k8s.io/…` annotation.
    pub fn webhook_patch<'a>(&self, info: &RequestInfo, text: &'a str) -> Cow<'a, str> {
        if !self.concerns(info, text.as_bytes(), Writer::Client) {
            return Cow::Borrowed(text);
        }
        let Ok(mut tree) = serde_json::from_str::<Value>(text) else {
            return Cow::Owned(self.opaque(text.as_bytes()));
        };
        match self.body(info, &mut tree["patch"]) {
            0 => Cow::Borrowed(text),
            _ => Cow::Owned(tree.to_string()),
        }
    }

    fn rules_for<'a>(&'a self, info: &'a RequestInfo) -> impl Iterator<Item = &'a FieldRule> {
        self.rules.fields.iter().filter(|rule| {
            rule.resources.is_empty() || rule.resources.iter().any(|r| r.matches(info))
        })
    }

    fn hides_parameter(&self, info: &RequestInfo, name: &str, value: &str) -> bool {
        let rules = &self.rules;
        if value.is_empty() {
            return false;
        }
        rules.parameters.iter().any(|p| p == name)
            || (rules.exec_arguments && defaults::is_argument(info, name))
            || (rules.url_tokens && defaults::is_token(name, value))
    }

    fn replacement(&self, bytes: &[u8], action: Action) -> String {
        if action == Action::Mask {
            return MASK.to_string();
        }
        let tag = hmac::sign(&self.key, bytes);
        let mut out = String::with_capacity(HASH_PREFIX.len() + 32);
        out.push_str(HASH_PREFIX);
        for byte in &tag.as_ref()[..16] {
            // Writing into a String does not fail.
            let _ = write!(out, "{byte:02x}");
        }
        out
    }
}

/// Appends a body that a server wrote, without managedFields where they are to be left out and
/// redacted where there is a redactor, as one line. Answers whether it was understood; if not, nothing
/// was appended.
pub fn rewrite(
    out: &mut Vec<u8>,
    body: &[u8],
    info: &RequestInfo,
    redactor: Option<&Redactor>,
    omit_managed_fields: bool,
) -> bool {
    let replace = |bytes: &[u8], action| {
        redactor.map_or_else(String::new, |redactor| redactor.replacement(bytes, action))
    };
    let rules = redactor.into_iter().flat_map(|r| r.rules_for(info));
    let changes = scan::Changes {
        start: walk::start(rules),
        replace: &replace,
        omit_managed_fields,
    };
    scan::rewrite(body, &changes, out).is_ok()
}

fn unescape(text: &str) -> String {
    let spaces = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaces)
        .decode_utf8_lossy()
        .into_owned()
}

/// What a base64 text stands for; the text itself where it is none.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    match STANDARD.decode(text) {
        Ok(bytes) => Cow::Owned(bytes),
        Err(_) => Cow::Borrowed(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests;
