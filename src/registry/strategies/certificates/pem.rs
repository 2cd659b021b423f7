//! PEM blocks as Go's `encoding/pem` reads them: text before a block is skipped.

use base64::Engine;

/// One block.
pub struct Block {
    /// The label, for example `CERTIFICATE REQUEST`.
    pub label: String,
    /// Whether the block has headers.
    pub has_headers: bool,
    /// The DER bytes.
    pub der: Vec<u8>,
}

/// The first block of `text` and what follows it. `None` when there is none.
pub fn decode(text: &str) -> Option<(Block, &str)> {
    let mut rest = text;
    loop {
        let start = find_line(rest, "-----BEGIN ")?;
        let after = &rest[start + "-----BEGIN ".len()..];
        let (label, body) = after.split_once("-----")?;
        let end = format!("-----END {label}-----");
        let Some(length) = body.find(&end) else {
            rest = after;
            continue;
        };
        let (body, tail) = (&body[..length], &body[length + end.len()..]);
        if let Some((der, has_headers)) = decode_body(body) {
            let block = Block {
                label: label.to_owned(),
                has_headers,
                der,
            };
            return Some((block, tail.trim_start_matches(['\r', '\n'])));
        }
        rest = tail;
    }
}

/// Where a line starts with `prefix`.
fn find_line(text: &str, prefix: &str) -> Option<usize> {
    text.match_indices(prefix)
        .map(|(i, _)| i)
        .find(|&i| i == 0 || text.as_bytes()[i - 1] == b'\n')
}

fn decode_body(body: &str) -> Option<(Vec<u8>, bool)> {
    let mut has_headers = false;
    let mut encoded = String::with_capacity(body.len());
    for line in body.lines() {
        if line.contains(':') {
            has_headers = true;
        } else {
            encoded.extend(line.chars().filter(|c| !c.is_whitespace()));
        }
    }
    let der = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .ok()?;
    Some((der, has_headers))
}

/// Decodes a `[]byte` member.
pub fn bytes_of(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_default()
}
