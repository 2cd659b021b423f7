//! Words with wildcards: `*` is any text, `?` one character.
//!
//! A pattern is walked byte by byte with a set of its places, so making it costs nothing and each byte
//! costs at most the pattern's length. A regular expression over the dictionary had to become a
//! deterministic automaton first, which took seconds for a word full of wildcards.

use smallvec::{SmallVec, smallvec};
use tantivy::TantivyError;
use tantivy::query::{AutomatonWeight, EnableScoring, Query, Weight};
use tantivy::schema::Field;
use tantivy_fst::Automaton;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Byte(u8),
    AnyChar,
    AnyText,
}

/// The places of a pattern that a text has led to: bit `n` says that the first `n` steps are done.
#[derive(Clone, Debug)]
pub(super) struct Places(SmallVec<[u64; 2]>);

impl Places {
    fn none(steps: usize) -> Self {
        Places(smallvec![0; steps / 64 + 1])
    }

    fn add(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    fn has(&self, place: usize) -> bool {
        self.0[place / 64] & (1 << (place % 64)) != 0
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(word, bits)| {
            let mut rest = *bits;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(word * 64 + bit)
            })
        })
    }
}

/// Whether a byte goes on with a character that was begun before it.
fn continues(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

impl Glob {
    /// The pattern that fits the empty text only; the others are added to it.
    pub(super) fn new() -> Self {
        Glob { steps: Vec::new() }
    }

    /// Then exactly this.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.steps.extend(text.bytes().map(Step::Byte));
        self
    }

    /// Then any character.
    pub(super) fn any_char(mut self) -> Self {
        self.steps.push(Step::AnyChar);
        self
    }

    /// Then anything, also nothing.
    pub(super) fn any_text(mut self) -> Self {
        if self.steps.last() != Some(&Step::AnyText) {
            self.steps.push(Step::AnyText);
        }
        self
    }

    /// Whether it fits the whole of a text.
    pub(super) fn fits(&self, text: &str) -> bool {
        let mut places = self.start();
        for byte in text.bytes() {
            places = self.accept(&places, byte);
            if !self.can_match(&places) {
                return false;
            }
        }
        self.is_match(&places)
    }

    /// Adds a place, and the one behind it where the step between may be nothing.
    fn reach(&self, places: &mut Places, place: usize) {
        places.add(place);
        if self.steps.get(place) == Some(&Step::AnyText) {
            places.add(place + 1);
        }
    }
}

impl Automaton for Glob {
    type State = Places;

    fn start(&self) -> Places {
        let mut places = Places::none(self.steps.len());
        self.reach(&mut places, 0);
        places
    }

    fn is_match(&self, places: &Places) -> bool {
        places.has(self.steps.len())
    }

    fn can_match(&self, places: &Places) -> bool {
        places.0.iter().any(|bits| *bits != 0)
    }

    fn will_always_match(&self, places: &Places) -> bool {
        self.steps.last() == Some(&Step::AnyText) && places.has(self.steps.len())
    }

    fn accept(&self, places: &Places, byte: u8) -> Places {
        let mut next = Places::none(self.steps.len());
        for place in places.iter() {
            match self.steps.get(place) {
                Some(Step::Byte(wanted)) if *wanted == byte => self.reach(&mut next, place + 1),
                Some(Step::AnyChar) if !continues(byte) => self.reach(&mut next, place + 1),
                Some(Step::AnyText) => self.reach(&mut next, place),
                _ => {}
            }
            let in_char = place > 0 && self.steps[place - 1] == Step::AnyChar;
            if in_char && continues(byte) {
                self.reach(&mut next, place);
            }
        }
        next
    }
}

/// Finds the events with a term that fits.
#[derive(Clone, Debug)]
pub(super) struct GlobQuery {
    field: Field,
    glob: Glob,
}

impl GlobQuery {
    /// Looks for terms of the field.
    pub(super) fn new(field: Field, glob: Glob) -> Self {
        GlobQuery { field, glob }
    }
}

impl Query for GlobQuery {
    fn weight(&self, _: EnableScoring<'_>) -> Result<Box<dyn Weight>, TantivyError> {
        Ok(Box::new(AutomatonWeight::new(
            self.field,
            self.glob.clone(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(pattern: &str) -> Glob {
        pattern.chars().fold(Glob::new(), |glob, c| match c {
            '*' => glob.any_text(),
            '?' => glob.any_char(),
            c => glob.text(c.encode_utf8(&mut [0; 4])),
        })
    }

    #[test]
    fn patterns_fit_whole_texts() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbxa", false),
            ("?", "é", true),
            ("?", "é!", false),
            ("??", "é", false),
            ("?é", "éé", true),
            ("*?", "", false),
            ("*?*", "日", true),
            ("**", "x", true),
        ] {
            assert_eq!(glob(pattern).fits(text), fits, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn a_word_full_of_wildcards_is_walked_at_once() {
        let pattern = "*a?".repeat(80);
        assert!(!glob(&pattern).fits(&"ab".repeat(79)));
        assert!(glob(&pattern).fits(&"ab".repeat(80)));
    }

    proptest! {
        #[test]
        fn a_pattern_is_the_regular_expression(
            pattern in "[ab?*é]{0,8}",
            text in "[abé]{0,10}",
        ) {
            let regex = pattern.replace('?', ".").replace('*', ".*");
            let regex = regex::Regex::new(&format!("^(?s:{regex})$")).expect("a pattern");
            prop_assert_eq!(glob(&pattern).fits(&text), regex.is_match(&text));
        }
    }
}
