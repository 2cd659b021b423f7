//! Name and format rules with upstream's messages (contract/validation.md §A3).
//!
//! Every rule returns its messages; none (an unallocated `Vec`) means valid.

use crate::api::field::{FieldErrors, Path};

/// The messages of a rule; empty when the text is valid.
pub type Messages = Vec<String>;

const LABEL_RE: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_1035_RE: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_RE: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const SUBDOMAIN_UNDERSCORE_RE: &str =
    r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
const QUALIFIED_RE: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_TEXT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// What a kind demands of `metadata.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// DNS-1123 subdomain, the most common.
    Subdomain,
    /// DNS-1123 label.
    Label,
    /// DNS-1035 label.
    Label1035,
    /// Only what a URL path segment demands (RBAC kinds).
    PathSegment,
    /// A config map key.
    ConfigKey,
    /// Anything; the strategy looks itself.
    Any,
}

impl NameRule {
    /// The messages for `name`; with `prefix` a trailing `-` is allowed (generateName).
    pub fn check(self, name: &str, prefix: bool) -> Messages {
        let masked;
        let name = match (prefix, self) {
            (true, NameRule::PathSegment) => return path_segment_prefix(name),
            (true, _) if name.len() > 1 && name.ends_with('-') && name.is_ascii() => {
                masked = format!("{}a", &name[..name.len() - 2]);
                masked.as_str()
            }
            _ => name,
        };
        match self {
            NameRule::Subdomain => dns1123_subdomain(name),
            NameRule::Label => dns1123_label(name),
            NameRule::Label1035 => dns1035_label(name),
            NameRule::PathSegment => path_segment(name),
            NameRule::ConfigKey => config_map_key(name),
            NameRule::Any => Messages::new(),
        }
    }
}

/// Reports each message of a rule as an invalid value at `path`.
pub fn invalid_each(errors: &mut FieldErrors, path: &Path<'_>, text: &str, messages: Messages) {
    for message in messages {
        errors.invalid_str(path, text, message);
    }
}

fn regex_error(text: &str, re: &str, examples: &[&str]) -> String {
    let mut out = format!("{text} (e.g. ");
    for (i, example) in examples.iter().enumerate() {
        if i > 0 {
            out.push_str(" or ");
        }
        out.push_str(&format!("'{example}', "));
    }
    out.push_str(&format!("regex used for validation is '{re}')"));
    out
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn label_shape(s: &[u8]) -> bool {
    let (Some(first), Some(last)) = (s.first(), s.last()) else {
        return false;
    };
    lower_alnum(*first) && lower_alnum(*last) && s.iter().all(|b| lower_alnum(*b) || *b == b'-')
}

fn subdomain_shape(s: &str) -> bool {
    s.split('.').all(|part| label_shape(part.as_bytes()))
}

/// DNS-1123 label: at most 63 characters, no dots.
pub fn dns1123_label(s: &str) -> Messages {
    let mut out = Messages::new();
    if s.len() > 63 {
        out.push("must be no more than 63 characters".into());
    }
    if !label_shape(s.as_bytes()) {
        out.push(if subdomain_shape(s) {
            "must not contain dots".into()
        } else {
            regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL_RE,
                &["my-name", "123-abc"],
            )
        });
    }
    out
}

/// DNS-1123 subdomain: at most 253 characters.
pub fn dns1123_subdomain(s: &str) -> Messages {
    let mut out = Messages::new();
    if s.len() > 253 {
        out.push("must be no more than 253 characters".into());
    }
    if !subdomain_shape(s) {
        out.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_RE,
            &["example.com"],
        ));
    }
    out
}

/// DNS-1123 subdomain whose labels may hold `_` (DNS search paths).
pub fn dns1123_subdomain_with_underscore(s: &str) -> Messages {
    let shape = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part).as_bytes();
        let (Some(first), Some(last)) = (part.first(), part.last()) else {
            return false;
        };
        lower_alnum(*first)
            && lower_alnum(*last)
            && part
                .iter()
                .all(|b| lower_alnum(*b) || *b == b'-' || *b == b'_')
    };
    let mut out = Messages::new();
    if s.len() > 253 {
        out.push("must be no more than 253 characters".into());
    }
    if !s.split('.').all(shape) {
        out.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_UNDERSCORE_RE,
            &["example.com"],
        ));
    }
    out
}

/// DNS-1035 label: as DNS-1123, but starts with a letter.
pub fn dns1035_label(s: &str) -> Messages {
    let mut out = Messages::new();
    if s.len() > 63 {
        out.push("must be no more than 63 characters".into());
    }
    if !label_shape(s.as_bytes()) || !s.as_bytes()[0].is_ascii_lowercase() {
        out.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            LABEL_1035_RE,
            &["my-name", "abc-123"],
        ));
    }
    out
}

/// `*.` followed by a DNS subdomain.
pub fn wildcard_dns1123_subdomain(s: &str) -> Messages {
    let mut out = Messages::new();
    if s.len() > 253 {
        out.push("must be no more than 253 characters".into());
    }
    if !s.strip_prefix("*.").is_some_and(subdomain_shape) {
        out.push(regex_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!(r"\*\.{SUBDOMAIN_RE}"),
            &["*.example.com"],
        ));
    }
    out
}

/// A name usable as one segment of a URL path.
pub fn path_segment(s: &str) -> Messages {
    match s {
        "." | ".." => vec![format!("may not be '{s}'")],
        _ => path_segment_prefix(s),
    }
}

/// As [`path_segment`], for a prefix of a name.
pub fn path_segment_prefix(s: &str) -> Messages {
    ["/", "%"]
        .iter()
        .filter(|c| s.contains(**c))
        .map(|c| format!("may not contain '{c}'"))
        .collect()
}

fn qualified_shape(s: &[u8]) -> bool {
    let (Some(first), Some(last)) = (s.first(), s.last()) else {
        return false;
    };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && s.iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// `[prefix/]name`: label keys, annotation keys, finalizers, resource names.
pub fn qualified_name(s: &str) -> Messages {
    let mut out = Messages::new();
    let mut parts = s.split('/');
    let first = parts.next().unwrap_or_default();
    let name = match (parts.next(), parts.next()) {
        (None, _) => first,
        (Some(name), None) => {
            if first.is_empty() {
                out.push("prefix part must be non-empty".into());
            } else {
                let messages = dns1123_subdomain(first);
                out.extend(messages.into_iter().map(|m| format!("prefix part {m}")));
            }
            name
        }
        _ => {
            let text = regex_error(
                &format!("a valid label key {QUALIFIED_TEXT}"),
                QUALIFIED_RE,
                &["MyName", "my.name", "123-abc"],
            );
            out.push(format!(
                "{text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return out;
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 bytes".into());
    }
    if !qualified_shape(name.as_bytes()) {
        out.push(regex_error(
            &format!("name part {QUALIFIED_TEXT}"),
            QUALIFIED_RE,
            &["MyName", "my.name", "123-abc"],
        ));
    }
    out
}

/// A label value: empty, or as the name part of a qualified name.
pub fn label_value(s: &str) -> Messages {
    let mut out = Messages::new();
    if s.len() > 63 {
        out.push("must be no more than 63 bytes".into());
    }
    if !s.is_empty() && !qualified_shape(s.as_bytes()) {
        out.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!("({QUALIFIED_RE})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    out
}

/// An environment variable name (relaxed rule: printable ASCII without `=`).
pub fn env_var_name(s: &str) -> Messages {
    if s.is_empty() {
        return vec!["environment variable name must be non-empty".into()];
    }
    let printable = |b: u8| (0x20..0x7f).contains(&b) && b != b'=';
    if s.bytes().all(printable) {
        return Messages::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".into()]
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(s: &str) -> Messages {
    let mut out = Messages::new();
    if s.len() > 253 {
        out.push("must be no more than 253 characters".into());
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if s.is_empty() || !s.bytes().all(allowed) {
        out.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match s {
        "." => out.push("must not be '.'".into()),
        ".." => out.push("must not be '..'".into()),
        _ if s.starts_with("..") => out.push("must not start with '..'".into()),
        _ => {}
    }
    out
}

/// A port name: IANA service name syntax.
pub fn port_name(s: &str) -> Messages {
    let mut out = Messages::new();
    if s.len() > 15 {
        out.push("must be no more than 15 characters".into());
    }
    if s.is_empty() || !s.bytes().all(|b| lower_alnum(b) || b == b'-') {
        out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !s.bytes().any(|b| b.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".into());
    }
    if s.contains("--") {
        out.push("must not contain consecutive hyphens".into());
    }
    if s.starts_with('-') || s.ends_with('-') {
        out.push("must not begin or end with a hyphen".into());
    }
    out
}

/// A port number.
pub fn port_number(port: i64) -> Messages {
    if (1..=65535).contains(&port) {
        return Messages::new();
    }
    vec!["must be between 1 and 65535, inclusive".into()]
}

/// A user or group ID.
pub fn user_id(id: i64) -> Messages {
    if (0..=2_147_483_647).contains(&id) {
        return Messages::new();
    }
    vec!["must be between 0 and 2147483647, inclusive".into()]
}

/// A percentage such as `25%`.
pub fn percent(s: &str) -> Messages {
    let digits = s.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Messages::new();
    }
    vec![regex_error(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

/// An HTTP header name.
pub fn http_header_name(s: &str) -> Messages {
    if !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Messages::new();
    }
    vec![regex_error(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// A C identifier.
pub fn c_identifier(s: &str) -> Messages {
    let start = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let rest = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if s.as_bytes().first().is_some_and(|b| start(*b)) && s.bytes().all(rest) {
        return Messages::new();
    }
    vec![regex_error(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// Checks `text` as a domain-prefixed path such as `acme.io/foo`.
pub fn domain_prefixed_path(path: &Path<'_>, text: &str, errors: &mut FieldErrors) {
    const CHARS: &str = "-._~%!$&'()*+,;=:/";
    if text.is_empty() {
        return errors.required(path, "");
    }
    let Some((host, rest)) = text
        .split_once('/')
        .filter(|(host, rest)| !host.is_empty() && !rest.is_empty())
    else {
        return errors.invalid_str(
            path,
            text,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        );
    };
    for message in dns1123_subdomain(host) {
        errors.invalid_str(path, host, message);
    }
    if !rest
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || CHARS.as_bytes().contains(&b))
    {
        errors.invalid_str(
            path,
            rest,
            r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')",
        );
    }
}

/// A fully qualified name with at least three segments (webhook names).
pub fn fully_qualified_name(path: &Path<'_>, text: &str, errors: &mut FieldErrors) {
    if text.is_empty() {
        return errors.required(path, "");
    }
    let messages = dns1123_subdomain(text);
    if !messages.is_empty() {
        return invalid_each(errors, path, text, messages);
    }
    if text.split('.').count() < 3 {
        errors.invalid_str(
            path,
            text,
            "should be a domain with at least three segments separated by dots",
        );
    }
}

/// A fully qualified domain name with at least two segments.
pub fn fully_qualified_domain_name(path: &Path<'_>, text: &str, errors: &mut FieldErrors) {
    if text.is_empty() {
        return errors.required(path, "");
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let messages = dns1123_subdomain(name);
    if !messages.is_empty() {
        return invalid_each(errors, path, name, messages);
    }
    if name.split('.').count() < 2 {
        errors.invalid_str(
            path,
            name,
            "should be a domain with at least two segments separated by dots",
        );
        return;
    }
    for label in name.split('.') {
        invalid_each(errors, path, label, dns1123_label(label));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        type Rule = fn(&str) -> Messages;
        let cases: [(Rule, &str, &[&str]); 16] = [
            (dns1123_label, "a-1", &[]),
            (dns1123_label, "a.b", &["must not contain dots"]),
            (dns1123_subdomain, "a.b-c", &[]),
            (dns1123_subdomain, "1", &[]),
            (dns1035_label, "a1", &[]),
            (qualified_name, "example.com/A_b", &[]),
            (qualified_name, "/a", &["prefix part must be non-empty"]),
            (label_value, "", &[]),
            (label_value, "A.b", &[]),
            (env_var_name, "a b", &[]),
            (config_map_key, "..x", &["must not start with '..'"]),
            (port_name, "a-b", &[]),
            (
                port_name,
                "UPPER",
                &[
                    "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                    "must contain at least one letter (a-z)",
                ],
            ),
            (path_segment, "..", &["may not be '..'"]),
            (
                path_segment,
                "a/b%",
                &["may not contain '/'", "may not contain '%'"],
            ),
            (percent, "10%", &[]),
        ];
        for (rule, text, want) in cases {
            assert_eq!(rule(text), want, "{text}");
        }
    }

    #[test]
    fn texts_with_examples() {
        assert_eq!(
            dns1123_label("Bad"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(qualified_name("").len(), 2);
    }

    #[test]
    fn generate_name_may_end_in_a_dash() {
        assert!(NameRule::Subdomain.check("a-", true).is_empty());
        assert_eq!(NameRule::Subdomain.check("a-", false).len(), 1);
        assert_eq!(NameRule::Subdomain.check("Bad_", true).len(), 1);
    }
}
