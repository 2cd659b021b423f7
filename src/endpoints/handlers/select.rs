//! Selectors, resource versions and continue tokens of list requests (contract/verbs.md §8-11).

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

use crate::api::options::{ListOptions, ResourceVersionMatch};
use crate::api::resource::Resource;
use crate::api::selector::{FieldSelector, LabelSelector};
use crate::api::status::Status;
use crate::registry::read::{invalid_version, parse_revision};
use crate::registry::{Page, ReadVersion, Selection, Target};
use crate::storage::Revision;

/// Parses and checks the selectors.
pub fn selection(target: &Target, options: &ListOptions) -> Result<Selection, Status> {
    let labels = LabelSelector::parse(&options.label_selector).map_err(Status::bad_request)?;
    let mut fields = FieldSelector::parse(&options.field_selector).map_err(Status::bad_request)?;
    for term in &mut fields.terms {
        term.field = known_field(&target.resource, &term.field)?.into_owned();
    }
    Ok(Selection { labels, fields })
}

/// The canonical name of a selectable field, or upstream's refusal.
fn known_field<'a>(resource: &Resource, field: &'a str) -> Result<Cow<'a, str>, Status> {
    let own = &resource.selectable_fields;
    if field == "metadata.name"
        || (field == "metadata.namespace" && (resource.namespaced || own.is_empty()))
    {
        return Ok(Cow::Borrowed(field));
    }
    if own.iter().any(|f| f.label == field) {
        return Ok(Cow::Borrowed(field));
    }
    let text = match (own.is_empty(), resource.quirks.field_error_names_kind) {
        (true, _) => format!(
            "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        ),
        (false, true) => format!(
            "field label \"{field}\" not supported for {}",
            resource.kind
        ),
        (false, false) => format!("field label not supported: {field}"),
    };
    Err(Status::bad_request(text))
}

/// What a continue token carries.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    #[serde(default)]
    v: String,
    #[serde(default)]
    rv: i64,
    #[serde(default)]
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

/// Go's raw URL encoding, which does not mind stray bits at the end.
const TOKEN_ENCODING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The token that continues behind `last` at `revision`; -1 continues at the newest revision.
pub fn continue_token(last: &str, revision: i64) -> String {
    let token = Token {
        v: TOKEN_VERSION.into(),
        rv: revision,
        start: format!("{last}\0"),
    };
    TOKEN_ENCODING.encode(serde_json::to_vec(&token).unwrap_or_default())
}

/// A parsed continue token.
pub struct Continue {
    /// First key, relative to the namespace or resource prefix.
    pub start: String,
    /// Revision to read at; `None` for the newest.
    pub revision: Option<Revision>,
}

/// Parses a continue token.
pub fn parse_continue(text: &str) -> Result<Continue, Status> {
    let bad = |why: String| {
        Status::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let bytes = TOKEN_ENCODING
        .decode(text)
        .map_err(|_| bad("illegal base64 data".to_string()))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| bad(not_json(&bytes)))?;
    if token.v != TOKEN_VERSION {
        return Err(bad(format!(
            "server does not recognize this encoded version {}",
            token.v
        )));
    }
    if token.rv == 0 {
        return Err(bad(format!(
            "incorrect encoded start resourceVersion (version {TOKEN_VERSION})"
        )));
    }
    if token.start.is_empty() {
        return Err(bad(format!(
            "encoded start key empty (version {TOKEN_VERSION})"
        )));
    }
    let cleaned = token.start.trim_start_matches('/');
    let climbs = cleaned.split('/').any(|part| part == ".." || part == ".");
    if climbs {
        return Err(bad(token.start));
    }
    Ok(Continue {
        start: token.start,
        revision: Revision::try_from(token.rv).ok(),
    })
}

/// Go's words for bytes that do not begin like JSON.
fn not_json(bytes: &[u8]) -> String {
    match bytes.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(byte) => format!(
            "invalid character {} looking for beginning of value",
            go_byte(*byte)
        ),
        None => "unexpected end of JSON input".into(),
    }
}

fn go_byte(byte: u8) -> String {
    format!("'{}'", char::from(byte))
}

/// Where a list reads and which page of it.
pub fn list_version(options: &ListOptions) -> Result<(ReadVersion, Page), Status> {
    let limit = usize::try_from(options.limit).unwrap_or(0);
    if !options.continue_token.is_empty() {
        if !matches!(options.resource_version.as_str(), "" | "0") {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = parse_continue(&options.continue_token)?;
        // As below: what the cache answers for version 0 is not cut.
        let limit = if options.resource_version == "0" {
            0
        } else {
            limit
        };
        let version = token
            .revision
            .map_or(ReadVersion::Latest, ReadVersion::Exact);
        let page = Page {
            start: Some(token.start),
            limit,
        };
        return Ok((version, page));
    }
    let page = Page { start: None, limit };
    if options.resource_version.is_empty() {
        return Ok((ReadVersion::Latest, page));
    }
    let text = &options.resource_version;
    let revision = parse_revision(text).ok_or_else(|| {
        Status::bad_request(format!(
            "invalid resource version: {}",
            invalid_version(text)
        ))
    })?;
    let version = match (revision, options.resource_version_match) {
        // From the cache the limit is not observed.
        (0, _) => return Ok((ReadVersion::Any, Page::all())),
        (n, Some(ResourceVersionMatch::Exact)) => ReadVersion::Exact(n),
        (n, Some(ResourceVersionMatch::NotOlderThan)) => ReadVersion::AtLeast(n),
        (n, None) if limit > 0 => ReadVersion::Exact(n),
        (n, None) => ReadVersion::AtLeast(n),
    };
    Ok((version, page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        let token = continue_token("default/a", 7);
        let parsed = parse_continue(&token).expect("our own token");
        assert_eq!(
            (parsed.start.as_str(), parsed.revision),
            ("default/a\0", Some(7))
        );
        let parsed = parse_continue(&continue_token("a", -1)).expect("our own token");
        assert_eq!(parsed.revision, None);
        for climbing in ["../a", "a/../../b", "./a"] {
            assert!(
                parse_continue(&continue_token(climbing, 7)).is_err(),
                "{climbing}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_token_panics(text in "[A-Za-z0-9_=/+-]{0,60}|.{0,20}") {
            let _ = parse_continue(&text);
        }

        #[test]
        fn no_content_panics(json in r#"\{?("v"|:|"meta\.k8s\.io/v1"|,|"rv"|-?[0-9]{1,20}|"start"|"\.\./a"|"/"|"a"|null|\}|.){0,16}"#) {
            let _ = parse_continue(&TOKEN_ENCODING.encode(json));
        }

        #[test]
        fn every_key_comes_back(key in "[a-z0-9]{1,8}(/[a-z0-9.-]{2,8}x)?", revision in 1i64..) {
            let parsed = parse_continue(&continue_token(&key, revision)).expect("our own token");
            proptest::prop_assert_eq!(parsed.start, format!("{key}\0"));
            proptest::prop_assert_eq!(parsed.revision, Revision::try_from(revision).ok());
        }

        #[test]
        fn no_list_options_panic(version in "[0-9]{0,22}|.{0,4}", limit in 0i64.., token in ".{0,4}") {
            let options = ListOptions { resource_version: version, limit, continue_token: token, ..ListOptions::default() };
            let _ = list_version(&options);
        }
    }
}
