//! OpenAPI: `/openapi/v3` (an index and a document per group version) and `/openapi/v2` (one document)
//! (contract/discovery_openapi.md §4-6). kubectl validates, explains and applies by them.
//!
//! Called by the router. Documents are made of the resource table (paths) and the schemas' definitions
//! (components), on first request, never at start.
//!
//! # Invariants
//! - A document's hash is that of its JSON bytes; a URL with a hash answers these bytes or redirects.
//!
//! # Decisions
//! - Documents whose rows did not change survive a new table, so that a new custom resource costs one
//!   document, not sixty.
//! - The protobuf forms are generated from the JSON trees (`gnostic.rs`).

mod gnostic;
mod names;
mod parameters;
mod paths;
mod v2;
mod v3;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use sha2::{Digest, Sha512};

use crate::api::resource::Resource;
use crate::base::tree::{Map, Value, json};
use crate::registry::table::ResourceTable;
use crate::request::negotiate::clauses;
use crate::request::{ApiResponse, Body, RequestContext};

use v3::{Definitions, Subject};

/// Media types of the protobuf forms, old and new spelling.
const PROTOBUF_V2: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];
const PROTOBUF_V3: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
];

/// Answers OpenAPI requests.
pub struct OpenApi {
    definitions: fn() -> &'static Map,
    current: ArcSwapOption<Documents>,
    /// Held while documents are made, so that a herd of first requests makes them once.
    making: Mutex<()>,
}

/// The documents of one table.
struct Documents {
    generation: u64,
    made: DateTime<Utc>,
    v3: BTreeMap<String, Arc<Document>>,
    index: Bytes,
    /// Made on first request: few clients ask for v2.
    v2: OnceLock<Document>,
}

/// One document in all its forms.
struct Document {
    /// Rows it was made of; the same rows need no new document.
    rows: Vec<Arc<Resource>>,
    json: Bytes,
    hash: String,
    gzip: OnceLock<Bytes>,
    protobuf: OnceLock<Bytes>,
}

impl Document {
    fn new(value: &Value, rows: Vec<Arc<Resource>>) -> Self {
        let json: Bytes = serde_json::to_vec(value).unwrap_or_default().into();
        let mut hash = String::with_capacity(128);
        for byte in Sha512::digest(&json) {
            // Writing to a string cannot fail.
            let _ = write!(hash, "{byte:02X}");
        }
        Document {
            rows,
            json,
            hash,
            gzip: OnceLock::new(),
            protobuf: OnceLock::new(),
        }
    }

    fn etag(&self) -> HeaderValue {
        HeaderValue::try_from(format!("\"{}\"", self.hash))
            .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
    }

    fn gzip(&self) -> Bytes {
        let made = self.gzip.get_or_init(|| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            // Writing to a Vec cannot fail.
            let _ = encoder.write_all(&self.json);
            encoder.finish().unwrap_or_default().into()
        });
        made.clone()
    }

    fn protobuf(&self, encode: fn(&Value) -> Vec<u8>) -> Bytes {
        let made = self.protobuf.get_or_init(|| {
            let tree: Value = serde_json::from_slice(&self.json).unwrap_or_default();
            encode(&tree).into()
        });
        made.clone()
    }
}

impl Documents {
    fn new(table: &ResourceTable, definitions: &Definitions, old: Option<&Documents>) -> Self {
        let mut v3 = BTreeMap::new();
        for (name, subject) in v3::subjects(table) {
            let rows = match &subject {
                Subject::Version(_, version) => version.rows.clone(),
                _ => Vec::new(),
            };
            let kept = old
                .and_then(|old| old.v3.get(&name))
                .filter(|document| same(&document.rows, &rows));
            let document = kept.cloned().unwrap_or_else(|| {
                Arc::new(Document::new(&v3::document(&subject, definitions), rows))
            });
            v3.insert(name, document);
        }
        let paths: Map = v3
            .iter()
            .map(|(name, document)| {
                let url = format!("/openapi/v3/{name}?hash={}", document.hash);
                (name.clone(), json!({"serverRelativeURL": url}))
            })
            .collect();
        let index = serde_json::to_vec(&json!({"paths": paths})).unwrap_or_default();
        Documents {
            generation: table.generation(),
            made: Utc::now(),
            v3,
            index: index.into(),
            v2: OnceLock::new(),
        }
    }

    fn last_modified(&self) -> HeaderValue {
        http_date(self.made)
    }
}

fn same(a: &[Arc<Resource>], b: &[Arc<Resource>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

fn http_date(time: DateTime<Utc>) -> HeaderValue {
    HeaderValue::try_from(time.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

impl OpenApi {
    /// `definitions` are the component schemas; they are asked for on the first request.
    pub fn new(definitions: fn() -> &'static Map) -> Self {
        OpenApi {
            definitions,
            current: ArcSwapOption::empty(),
            making: Mutex::new(()),
        }
    }

    /// The answer, or `None` when the path is not one of OpenAPI.
    pub fn handle(&self, ctx: &RequestContext, table: &ResourceTable) -> Option<ApiResponse> {
        match ctx.info.path.as_str() {
            "/openapi/v2" => Some(self.v2(ctx, table)),
            "/openapi/v3" => Some(self.index(table)),
            path => Some(self.v3(ctx, table, path.strip_prefix("/openapi/v3/")?)),
        }
    }

    fn documents(&self, table: &ResourceTable) -> Arc<Documents> {
        let kept = || {
            let current = self.current.load_full()?;
            (current.generation == table.generation()).then_some(current)
        };
        if let Some(documents) = kept() {
            return documents;
        }
        let _making = self.making.lock();
        if let Some(documents) = kept() {
            return documents;
        }
        let old = self.current.load_full();
        let made = Arc::new(Documents::new(table, (self.definitions)(), old.as_deref()));
        self.current.store(Some(made.clone()));
        made
    }

    /// The index. Its content type is what Go makes of a body without one.
    fn index(&self, table: &ResourceTable) -> ApiResponse {
        let documents = self.documents(table);
        let mut response = ApiResponse::new(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            documents.index.clone(),
        );
        response
            .headers
            .insert(header::LAST_MODIFIED, documents.last_modified());
        response
    }

    fn v3(&self, ctx: &RequestContext, table: &ResourceTable, name: &str) -> ApiResponse {
        let documents = self.documents(table);
        let Some(document) = documents.v3.get(name) else {
            return empty(StatusCode::NOT_FOUND, HeaderMap::new());
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        let Some(form) = form(ctx, &PROTOBUF_V3) else {
            return empty(StatusCode::NOT_ACCEPTABLE, headers);
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
        headers.insert(header::ETAG, document.etag());
        if let Some(hash) = ctx.query_value("hash").filter(|hash| !hash.is_empty()) {
            if *hash != *document.hash {
                let url = format!("/openapi/v3/{name}?hash={}", document.hash);
                if let Ok(url) = HeaderValue::try_from(url) {
                    headers.insert(header::LOCATION, url);
                }
                return empty(StatusCode::MOVED_PERMANENTLY, headers);
            }
            headers.insert(
                header::CACHE_CONTROL,
                HeaderValue::from_static("public, immutable"),
            );
            let expires = Utc::now() + chrono::Duration::days(365);
            headers.insert(header::EXPIRES, http_date(expires));
        }
        headers.insert(header::LAST_MODIFIED, documents.last_modified());
        let body = if form == PROTOBUF_V3[0] {
            document.protobuf(gnostic::encode_v3)
        } else {
            document.json.clone()
        };
        conditional(ctx, document, headers, body)
    }

    fn v2(&self, ctx: &RequestContext, table: &ResourceTable) -> ApiResponse {
        let documents = self.documents(table);
        let mut headers = HeaderMap::new();
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.append(header::VARY, HeaderValue::from_static("Accept"));
        let Some(form) = form(ctx, &PROTOBUF_V2) else {
            return empty(StatusCode::NOT_ACCEPTABLE, headers);
        };
        let document = documents
            .v2
            .get_or_init(|| Document::new(&v2::document(table, (self.definitions)()), Vec::new()));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
        headers.insert(header::ETAG, document.etag());
        headers.insert(header::LAST_MODIFIED, documents.last_modified());
        if form == PROTOBUF_V2[0] {
            let body = document.protobuf(gnostic::encode_v2);
            return conditional(ctx, document, headers, body);
        }
        if accepts_gzip(ctx) {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return conditional(ctx, document, headers, document.gzip());
        }
        conditional(ctx, document, headers, document.json.clone())
    }
}

/// The media type to answer with: JSON, or protobuf in its new spelling.
fn form(ctx: &RequestContext, protobuf: &[&'static str; 2]) -> Option<&'static str> {
    let accept = ctx.header("accept").unwrap_or("");
    if accept.trim().is_empty() {
        return Some("application/json");
    }
    clauses(accept)
        .iter()
        .find_map(|clause| match clause.media_type() {
            "*/*" | "application/*" | "application/json" => Some("application/json"),
            other => protobuf.contains(&other).then_some(protobuf[0]),
        })
}

fn accepts_gzip(ctx: &RequestContext) -> bool {
    let accepted = ctx.header("accept-encoding").unwrap_or("");
    accepted
        .split(',')
        .any(|coding| coding.split(';').next().unwrap_or("").trim() == "gzip")
}

fn conditional(
    ctx: &RequestContext,
    document: &Document,
    mut headers: HeaderMap,
    body: Bytes,
) -> ApiResponse {
    let known = ctx.header("if-none-match").is_some_and(|tags| {
        tags.split(',')
            .any(|tag| tag.trim().trim_start_matches("W/").trim_matches('"') == document.hash)
    });
    if known {
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_ENCODING);
        return empty(StatusCode::NOT_MODIFIED, headers);
    }
    ApiResponse {
        status: StatusCode::OK,
        headers,
        body: Body::Segments(vec![body]),
    }
}

fn empty(status: StatusCode, headers: HeaderMap) -> ApiResponse {
    ApiResponse {
        status,
        headers,
        body: Body::Empty,
    }
}

#[cfg(test)]
mod tests;
