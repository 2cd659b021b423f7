//! Labels as spans into the object's text: eight bytes a label, no strings.

/// The labels of one object. Reading them needs the text they point into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    spans: Box<[LabelSpan]>,
    /// Labels no span can hold (escapes, or longer than 64 KiB): not valid labels, but stored.
    odd: Box<[(String, String)]>,
}

/// `"key":"value"` in compact text: the value begins three bytes after the key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LabelSpan {
    pub(super) key: u32,
    pub(super) key_len: u16,
    pub(super) value_len: u16,
}

impl LabelSpan {
    fn key<'a>(&self, json: &'a [u8]) -> &'a [u8] {
        let start = self.key as usize;
        json.get(start..start + usize::from(self.key_len))
            .unwrap_or_default()
    }

    fn value<'a>(&self, json: &'a [u8]) -> &'a str {
        let start = self.key as usize + usize::from(self.key_len) + 3;
        json.get(start..start + usize::from(self.value_len))
            .and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or_default()
    }
}

impl Labels {
    pub(super) fn new(spans: Vec<LabelSpan>, odd: Vec<(String, String)>) -> Self {
        Self {
            spans: spans.into_boxed_slice(),
            odd: odd.into_boxed_slice(),
        }
    }

    /// The value of label `key`.
    pub fn get<'a>(&'a self, json: &'a [u8], key: &str) -> Option<&'a str> {
        if let Some(span) = self.spans.iter().find(|s| s.key(json) == key.as_bytes()) {
            return Some(span.value(json));
        }
        self.odd
            .iter()
            .find_map(|(k, value)| (k == key).then_some(value.as_str()))
    }

    /// All labels, in the order they stand in the text.
    pub fn iter<'a>(&'a self, json: &'a [u8]) -> impl Iterator<Item = (&'a str, &'a str)> {
        let spans = self.spans.iter().map(move |span| {
            let key = std::str::from_utf8(span.key(json)).unwrap_or_default();
            (key, span.value(json))
        });
        spans.chain(self.odd.iter().map(|(k, v)| (k.as_str(), v.as_str())))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len() + self.odd.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Moves spans at or behind `from` by `by`, after text was put in or taken out there.
    pub(crate) fn shift(&mut self, from: usize, by: i64) {
        for span in &mut self.spans {
            span.key = super::shifted(span.key, from, by);
        }
    }
}
