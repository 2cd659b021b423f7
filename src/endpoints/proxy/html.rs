//! Links of proxied pages: absolute paths get the proxy's prefix, in `Location` headers and in those
//! attributes of HTML elements that hold URLs. Nothing else of a page is touched.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;

/// Largest page that is rewritten.
pub(super) const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Elements and their attributes that hold URLs (HTML 4 and 5).
const URL_ATTRIBUTES: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// How links are rewritten.
pub(super) struct Links {
    /// What the proxy's URLs begin with, without a slash at the end.
    pub(super) prefix: String,
    /// `host:port` of the backend.
    pub(super) backend: String,
    /// The host that the client asked.
    pub(super) client: String,
}

impl Links {
    /// A link as the client must follow it: paths of the backend's own host get the prefix.
    pub(super) fn rewrite(&self, link: &str) -> String {
        let (host, path) = split_host(link);
        let foreign = host.is_some_and(|h| h != self.backend && h != self.client);
        if foreign || !path.starts_with('/') {
            return link.to_string();
        }
        let kept_host = host.filter(|h| *h == self.client);
        let before = match kept_host {
            Some(_) => &link[..link.len() - path.len()],
            None => "",
        };
        if path.starts_with(&self.prefix) {
            return format!("{before}{path}");
        }
        format!("{before}{}{path}", self.prefix)
    }
}

/// Host, if the link has one, and the rest.
fn split_host(link: &str) -> (Option<&str>, &str) {
    let after = match link.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ => match link.strip_prefix("//") {
            Some(rest) => rest,
            None => return (None, link),
        },
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    (Some(&after[..end]), &after[end..])
}

fn is_scheme(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Whether a page of this content encoding can be rewritten.
pub(super) fn understands(encoding: &str) -> bool {
    matches!(encoding, "" | "gzip" | "deflate")
}

/// Rewrites the links of a page, in its encoding.
pub(super) fn rewrite_page(page: &[u8], encoding: &str, links: &Links) -> Result<Bytes, String> {
    let limit = PAGE_BYTES_MAX as u64;
    let mut plain = Vec::new();
    let read = match encoding {
        "gzip" => flate2::read::GzDecoder::new(page)
            .take(limit)
            .read_to_end(&mut plain),
        "deflate" => flate2::read::DeflateDecoder::new(page)
            .take(limit)
            .read_to_end(&mut plain),
        _ => {
            plain.extend_from_slice(page);
            Ok(plain.len())
        }
    };
    read.map_err(|error| format!("error reading the page of the backend: {error}"))?;
    let text = String::from_utf8_lossy(&plain);
    let rewritten = rewrite_html(&text, |link| links.rewrite(link)).into_bytes();
    let packed = match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
            encoder
                .write_all(&rewritten)
                .and_then(|()| encoder.finish())
        }
        "deflate" => {
            let mut encoder =
                flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
            encoder
                .write_all(&rewritten)
                .and_then(|()| encoder.finish())
        }
        _ => Ok(rewritten),
    };
    packed
        .map(Bytes::from)
        .map_err(|error| format!("error packing the page of the backend: {error}"))
}

/// Applies `rewrite` to every URL attribute of the start tags of a document.
fn rewrite_html(page: &str, rewrite: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(page.len() + 256);
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            let end = comment.find("-->").map_or(rest.len(), |at| at + 7);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let name_end = rest[1..]
            .find(|c: char| !c.is_ascii_alphanumeric())
            .map_or(rest.len(), |at| at + 1);
        let name = rest[1..name_end].to_ascii_lowercase();
        let Some(tag_end) = tag_end(rest) else { break };
        let tag = &rest[..tag_end];
        let known = URL_ATTRIBUTES.iter().find(|(element, _)| *element == name);
        match known {
            Some((_, attributes)) => {
                out.push_str(&rest[..name_end]);
                rewrite_attributes(&tag[name_end..], attributes, &rewrite, &mut out);
            }
            None => out.push_str(tag),
        }
        rest = &rest[tag_end..];
        if matches!(name.as_str(), "script" | "style") && !tag.ends_with("/>") {
            let end = find_close(rest, &name);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    out
}

/// Index behind the `>` of a tag; quoted values may hold one.
fn tag_end(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in tag.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(at + 1),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

/// Where a raw text element ends.
fn find_close(text: &str, name: &str) -> usize {
    let close = format!("</{name}");
    let bytes = text.as_bytes();
    let found = memchr::memchr_iter(b'<', bytes).find(|&at| {
        let candidate = bytes.get(at..at + close.len());
        candidate.is_some_and(|c| c.eq_ignore_ascii_case(close.as_bytes()))
    });
    found.unwrap_or(text.len())
}

/// Copies the inside of a tag, with the values of `wanted` attributes rewritten.
fn rewrite_attributes(
    inside: &str,
    wanted: &[&str],
    rewrite: &impl Fn(&str) -> String,
    out: &mut String,
) {
    let mut rest = inside;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/'))
            .unwrap_or(rest.len());
        let name = rest[..end].to_ascii_lowercase();
        out.push_str(&rest[..end]);
        rest = &rest[end..];
        let Some(value) = rest.trim_start().strip_prefix('=').map(str::trim_start) else {
            continue;
        };
        out.push_str(&rest[..rest.len() - value.len()]);
        let (open, text, length) = attribute_value(value);
        out.push_str(open);
        match wanted.contains(&name.as_str()) {
            true => out.push_str(&rewrite(text)),
            false => out.push_str(text),
        }
        let behind_text = open.len() + text.len();
        out.push_str(&value[behind_text..length]);
        rest = &value[length..];
    }
    out.push_str(rest);
}

/// The opening quote, the text, and the length of the whole.
fn attribute_value(value: &str) -> (&str, &str, usize) {
    for quote in ["\"", "'"] {
        if let Some(inside) = value.strip_prefix(quote) {
            let end = inside.find(quote);
            let text = &inside[..end.unwrap_or(inside.len())];
            let length = 1 + text.len() + usize::from(end.is_some());
            return (quote, text, length);
        }
    }
    let end = value
        .find(|c: char| c.is_whitespace() || c == '>')
        .unwrap_or(value.len());
    ("", &value[..end], end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links {
            prefix: "/api/v1/namespaces/n/services/s/proxy".into(),
            backend: "10.0.0.5:8080".into(),
            client: "localhost:8001".into(),
        }
    }

    #[test]
    fn links_stay_below_the_proxy() {
        let links = links();
        for (link, want) in [
            ("/a", "/api/v1/namespaces/n/services/s/proxy/a"),
            ("/a/?q=/x", "/api/v1/namespaces/n/services/s/proxy/a/?q=/x"),
            ("a/b", "a/b"),
            (
                "http://10.0.0.5:8080/a",
                "/api/v1/namespaces/n/services/s/proxy/a",
            ),
            ("http://elsewhere.test/a", "http://elsewhere.test/a"),
            ("//elsewhere.test/a", "//elsewhere.test/a"),
            (
                "http://localhost:8001/a",
                "http://localhost:8001/api/v1/namespaces/n/services/s/proxy/a",
            ),
            (
                "/api/v1/namespaces/n/services/s/proxy/a",
                "/api/v1/namespaces/n/services/s/proxy/a",
            ),
            ("#top", "#top"),
            ("", ""),
        ] {
            assert_eq!(links.rewrite(link), want, "{link}");
        }
    }

    #[test]
    fn only_url_attributes_change() {
        let page = r#"<!DOCTYPE html><html><head><link rel=x href='/s.css'><script>if (a < b) { x = "<a href='/no'>" }</script></head>
<body title="/no"><!-- <a href="/no"> --><A HREF="/yes" data-href="/no">/no</A><img alt="a > b" src=/i.png><p href="/no"><form action = "/f"/></body></html>"#;
        let rewritten = rewrite_html(page, |link| format!("+{link}"));
        let want = r#"<!DOCTYPE html><html><head><link rel=x href='+/s.css'><script>if (a < b) { x = "<a href='/no'>" }</script></head>
<body title="/no"><!-- <a href="/no"> --><A HREF="+/yes" data-href="/no">/no</A><img alt="a > b" src=+/i.png><p href="/no"><form action = "+/f"/></body></html>"#;
        assert_eq!(rewritten, want);
    }

    fn pack(encoding: &str, page: &[u8]) -> Vec<u8> {
        let level = Compression::fast();
        match encoding {
            "gzip" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(page).expect("memory");
                encoder.finish().expect("memory")
            }
            "deflate" => {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(page).expect("memory");
                encoder.finish().expect("memory")
            }
            _ => page.to_vec(),
        }
    }

    fn unpack(encoding: &str, page: &[u8]) -> String {
        let mut plain = String::new();
        match encoding {
            "gzip" => flate2::read::GzDecoder::new(page).read_to_string(&mut plain),
            "deflate" => flate2::read::DeflateDecoder::new(page).read_to_string(&mut plain),
            _ => std::io::Cursor::new(page).read_to_string(&mut plain),
        }
        .expect("a page");
        plain
    }

    #[test]
    fn packed_pages_stay_packed() {
        for encoding in ["", "gzip", "deflate"] {
            let page = pack(encoding, b"<a href=\"/a\">");
            let rewritten = rewrite_page(&page, encoding, &links()).expect("a page");
            let want = "<a href=\"/api/v1/namespaces/n/services/s/proxy/a\">";
            assert_eq!(unpack(encoding, &rewritten), want);
        }
    }

    proptest::proptest! {
        #[test]
        fn pages_without_rewriting_stay_as_they_are(page in r#"(<|>|a|href|script|style|</|=|"|'|!--|-->| |/|x|é){0,40}"#) {
            proptest::prop_assert_eq!(rewrite_html(&page, str::to_string), page);
        }
    }
}
