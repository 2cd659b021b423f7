//! Image references, `host:port/path/name:tag@digest`, by the grammar that container runtimes share.
//!
//! Read by hand: every container of every write has one, and a regular expression with the grammar's
//! repetitions costs more than the rest of a pod's defaults.

/// Digits that a digest has at least.
const DIGEST_HEX_MIN: usize = 32;
/// Bytes of a tag.
const TAG_BYTES_MAX: usize = 128;

/// Tag and digest of a well-formed reference.
pub(super) fn parse(image: &str) -> Option<(Option<&str>, Option<&str>)> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let (path, last) = match name.rsplit_once('/') {
        Some((path, last)) => (Some(path), last),
        None => (None, name),
    };
    let (last, tag) = match last.split_once(':') {
        Some((last, tag)) => (last, Some(tag)),
        None => (last, None),
    };
    let mut steps = path.into_iter().flat_map(|path| path.split('/'));
    let is_well_formed = steps
        .next()
        .is_none_or(|step| is_host(step) || is_part(step))
        && steps.all(is_part)
        && is_part(last)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    is_well_formed.then_some((tag, digest))
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Runs of lower case letters and digits with `.`, `_`, `__` or dashes between them.
fn is_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut runs = bytes.chunk_by(|a, b| lower(*a) == lower(*b));
    let is_separator =
        |run: &[u8]| matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-');
    bytes.first().is_some_and(|b| lower(*b))
        && bytes.last().is_some_and(|b| lower(*b))
        && runs.all(|run| lower(run[0]) || is_separator(run))
}

/// A domain or an IPv6 address in brackets, maybe with a port.
fn is_host(text: &str) -> bool {
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        let is_address = |b: u8| b.is_ascii_hexdigit() || b == b':';
        return !address.is_empty()
            && address.bytes().all(is_address)
            && (port.is_empty() || port.strip_prefix(':').is_some_and(digits));
    }
    let (domain, port) = match text.split_once(':') {
        Some((domain, port)) => (domain, Some(port)),
        None => (text, None),
    };
    domain.split('.').all(is_label) && port.is_none_or(digits)
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_BYTES_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let is_component = |part: &str| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(is_component)
        && hex.len() >= DIGEST_HEX_MIN
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    fn grammar() -> Regex {
        let label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
        let host = format!(r"(?:{label}(?:\.{label})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?");
        let part = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
        let digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
        let tag = "[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}";
        let whole = format!(
            r"^(?:{host}/)?{part}(?:/{part})*(?::(?P<tag>{tag}))?(?:@(?P<digest>{digest}))?$"
        );
        Regex::new(&whole).expect("the pattern is constant")
    }

    fn check(grammar: &Regex, image: &str) {
        let want = grammar.captures(image).map(|found| {
            let group = |name| found.name(name).map(|found| found.as_str().to_string());
            (group("tag"), group("digest"))
        });
        let own = |text: Option<&str>| text.map(str::to_string);
        let got = parse(image).map(|(tag, digest)| (own(tag), own(digest)));
        assert_eq!(got, want, "{image}");
    }

    #[test]
    fn as_the_grammar_says() {
        let grammar = grammar();
        let digest = "a".repeat(32);
        for image in [
            "a",
            "a:",
            "a:latest",
            "A",
            "A/a",
            "a/A",
            "a/",
            "/a",
            "a//b",
            "a:b:c",
            "a:5000/b",
            "a:x/b",
            "[::1]/a",
            "[::1]:5/a:t",
            "[]/a",
            "[::1/a",
            "a__b",
            "a___b",
            "a-----b",
            "a-_b",
            "a..b",
            "-a",
            "a-",
            "a@b",
            "a:t@b",
            " a",
            "a ",
            "",
            "é",
            "a:é",
            "h.-x/a",
        ] {
            check(&grammar, image);
        }
        check(&grammar, &format!("a@sha256:{digest}"));
        check(&grammar, &format!("a:latest@sha256+x.y:{digest}"));
        check(&grammar, &format!("a@sha256+:{digest}"));
        check(&grammar, &format!("a@sha256:{digest}g"));
        check(&grammar, &format!("a:{}", "t".repeat(129)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_the_grammar_says(
            image in "([aA0.:/@_\\[\\]+-]|__|h[.]x|[:]5/|/a|@sha256:|[0-9a-f]{32}){0,7}",
        ) {
            check(&grammar(), &image);
        }
    }
}
