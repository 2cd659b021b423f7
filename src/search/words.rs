//! The words of free text: runs of letters and digits, lower-cased.
//!
//! Bodies are indexed as they stand in the log, so JSON's escapes are understood: `a\nb` is two
//! words and `\u00e9` is a letter. Called by tantivy while it indexes, and by the query compiler for
//! the words of a query.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// Words longer than this (base64, hashes of bodies) are not indexed.
const WORD_MAX_BYTES: usize = 80;

/// Words of a text that are remembered, as a power of two.
const SEEN_BITS: u32 = 10;

/// Splits JSON text into words, leaving out most of those that were there before in the same spelling:
/// bodies repeat theirs, and tantivy takes several times as long to find that it has a word.
#[derive(Clone, Debug, Default)]
pub struct Words {
    token: Token,
    seen: Seen,
}

/// Hashes of words of the running text; a later word takes the place of an earlier one.
#[derive(Clone, Debug)]
struct Seen {
    hashes: Box<[u64]>,
    hasher: RandomState,
    /// Differs from text to text, so that nothing needs to be cleared.
    text: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Seen {
            hashes: vec![0; 1 << SEEN_BITS].into(),
            hasher: RandomState::default(),
            text: 0,
        }
    }
}

impl Seen {
    /// Notes a word as it is spelled; false when it was noted before, or is too long.
    fn is_wanted(&mut self, word: &str) -> bool {
        if word.len() > WORD_MAX_BYTES {
            return false;
        }
        let hash = self.hasher.hash_one((self.text, word));
        let place = &mut self.hashes[(hash >> (u64::BITS - SEEN_BITS)) as usize];
        std::mem::replace(place, hash) != hash
    }
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        self.seen.text = self.seen.text.wrapping_add(1);
        WordStream {
            text,
            at: 0,
            token: &mut self.token,
            seen: &mut self.seen,
        }
    }
}

/// The words of one text.
#[derive(Debug)]
pub struct WordStream<'a> {
    text: &'a str,
    at: usize,
    token: &'a mut Token,
    seen: &'a mut Seen,
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let mut is_new = false;
        while !is_new {
            self.token.text.clear();
            if let Some((start, end)) = self.plain_word() {
                let word = &self.text[start..end];
                is_new = self.seen.is_wanted(word);
                if is_new {
                    self.token.text.push_str(word);
                    self.token.text.make_ascii_lowercase();
                    (self.token.offset_from, self.token.offset_to) = (start, end);
                }
            } else if self.next_word() {
                is_new = self.seen.is_wanted(&self.token.text);
            } else {
                return false;
            }
        }
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// What a byte is to a word: the lower-cased byte itself, or one of these.
const SEPARATOR: u8 = 0;
const ESCAPE: u8 = 1;
const WIDE: u8 = 2;

const fn classes() -> [u8; 256] {
    let mut table = [SEPARATOR; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = match b {
            b'0'..=b'9' | b'a'..=b'z' => b,
            b'A'..=b'Z' => b.to_ascii_lowercase(),
            b'\\' => ESCAPE,
            0x80.. => WIDE,
            _ => SEPARATOR,
        };
        byte += 1;
    }
    table
}

const CLASSES: [u8; 256] = classes();

impl WordStream<'_> {
    /// Steps over the next word if it is one of ASCII letters and digits only, as nearly all are, and
    /// answers where it is.
    fn plain_word(&mut self) -> Option<(usize, usize)> {
        let bytes = self.text.as_bytes();
        let class = |at: usize| bytes.get(at).map(|byte| CLASSES[usize::from(*byte)]);
        let mut start = self.at;
        while class(start) == Some(SEPARATOR) {
            start += 1;
        }
        self.at = start;
        let mut end = start;
        while class(end).is_some_and(|class| class > WIDE) {
            end += 1;
        }
        match class(end) {
            Some(SEPARATOR) | None if end > start => {
                self.at = end;
                Some((start, end))
            }
            // It may go on behind the escape; or there is no word any more.
            _ => None,
        }
    }

    /// Puts the next word into the token, whatever its length. Answers whether there was one.
    fn next_word(&mut self) -> bool {
        let bytes = self.text.as_bytes();
        let mut start = self.at;
        while let Some(byte) = bytes.get(self.at) {
            match CLASSES[usize::from(*byte)] {
                SEPARATOR => {
                    self.at += 1;
                    if !self.token.text.is_empty() {
                        return self.found(start);
                    }
                    start = self.at;
                }
                ESCAPE => {
                    let letter = self.escape();
                    match letter {
                        Some(letter) => self.token.text.extend(letter.to_lowercase()),
                        None if !self.token.text.is_empty() => return self.found(start),
                        None => start = self.at,
                    }
                }
                WIDE => {
                    let c = self.text[self.at..].chars().next().unwrap_or(' ');
                    self.at += c.len_utf8();
                    if c.is_alphanumeric() {
                        self.token.text.extend(c.to_lowercase());
                    } else if !self.token.text.is_empty() {
                        return self.found(start);
                    } else {
                        start = self.at;
                    }
                }
                _ => self.ascii_run(),
            }
        }
        !self.token.text.is_empty() && self.found(start)
    }

    fn found(&mut self, start: usize) -> bool {
        self.token.offset_from = start;
        self.token.offset_to = self.at;
        true
    }

    /// Takes the ASCII letters and digits from here on.
    fn ascii_run(&mut self) {
        let start = self.at;
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_alphanumeric) {
            self.at += 1;
        }
        let from = self.token.text.len();
        self.token.text.push_str(&self.text[start..self.at]);
        self.token.text[from..].make_ascii_lowercase();
    }

    /// Steps over an escape; answers the letter it stands for, if it is one.
    fn escape(&mut self) -> Option<char> {
        let bytes = self.text.as_bytes();
        match bytes.get(self.at + 1) {
            Some(b'u') => {
                let digits = self.text.get(self.at + 2..self.at + 6);
                let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
                self.at += if code.is_some() { 6 } else { 1 };
                code.and_then(char::from_u32)
                    .filter(|c| c.is_alphanumeric())
            }
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                None
            }
            _ => {
                self.at += 1;
                None
            }
        }
    }
}

/// The words of a query's text.
pub fn of(text: &str) -> Vec<String> {
    // A query is not JSON: a backslash in it only separates.
    of_json(&text.replace('\\', " "))
}

/// The words of a text as it is indexed.
pub fn of_json(text: &str) -> Vec<String> {
    let mut words = Words::default();
    let mut stream = words.token_stream(text);
    let mut out = Vec::new();
    while stream.advance() {
        out.push(stream.token().text.clone());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Words::default();
        let mut stream = words.token_stream(text);
        let mut out = Vec::new();
        while stream.advance() {
            let token = stream.token();
            assert!(token.offset_to <= text.len() && token.offset_from < token.offset_to);
            out.push(token.text.clone());
        }
        out
    }

    #[test]
    fn escapes_are_understood() {
        assert_eq!(
            words(r#"{"Image":"nginx:1.25","note":"a\nB\u00e9c \"quoted\" C:\\new"}"#),
            [
                "image", "nginx", "1", "25", "note", "a", "béc", "quoted", "c", "new"
            ]
        );
        assert_eq!(words("Häßlich-Straße"), ["häßlich", "straße"]);
        assert!(words(&"x".repeat(81)).is_empty());
        assert_eq!(words("a b A c b"), ["a", "b", "a", "c"]);
        assert_eq!(of(r"C:\new"), ["c", "new"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in r#"(\\|u|[0-9a-f]{1,4}|"|é|.){0,40}"#) {
            let _ = words(&text);
            let _ = of(&text);
        }
    }
}
