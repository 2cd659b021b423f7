//! Content negotiation and the rendering of `Status` answers.
//!
//! Two stages, as upstream: the router accepts or refuses by bare media types (case-sensitive,
//! parameters ignored), then the handler picks the clause it can serve, with `as=` transforms
//! (contract/verbs.md §12, golden 19-negotiation).

use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::api::status::Status;
use crate::api::{protobuf, yaml};
use crate::base::tree::to_value;
use crate::request::{ApiResponse, RequestContext};

/// A wire encoding of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    #[default]
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

impl Encoding {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    fn of(media_type: &str) -> Option<Self> {
        [Encoding::Json, Encoding::Yaml, Encoding::Protobuf]
            .into_iter()
            .find(|e| e.media_type() == media_type)
    }
}

/// Encodings of built-in kinds.
pub const BUILT_IN: &[Encoding] = &[Encoding::Json, Encoding::Yaml, Encoding::Protobuf];
/// Encodings of custom resources.
pub const CUSTOM: &[Encoding] = &[Encoding::Json, Encoding::Yaml];

/// What an answer is transformed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransformKind {
    /// `as=Table`.
    Table,
    /// `as=PartialObjectMetadata`.
    PartialObjectMetadata,
    /// `as=PartialObjectMetadataList`.
    PartialObjectMetadataList,
}

/// A transform and the version of meta.k8s.io it is asked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transform {
    /// To what.
    pub kind: TransformKind,
    /// `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`.
    pub api_version: &'static str,
}

/// The outcome of negotiation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// Encoding of the answer.
    pub encoding: Encoding,
    /// Indented JSON.
    pub pretty: bool,
    /// Transform of the answer.
    pub transform: Option<Transform>,
}

/// One clause of an `Accept` header.
pub struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> Clause<'a> {
    /// A parameter, empty when absent.
    pub fn parameter(&self, name: &str) -> &'a str {
        self.parameters
            .iter()
            .find(|(k, _)| *k == name)
            .map_or("", |(_, v)| *v)
    }

    /// The first of `encodings` that the clause accepts.
    pub fn encoding(&self, encodings: &[Encoding]) -> Option<Encoding> {
        clause_encoding(self.media_type, encodings)
    }

    /// The media type, which may hold wildcards.
    pub fn media_type(&self) -> &'a str {
        self.media_type
    }
}

/// The clauses of an `Accept` header, best first.
pub fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept
        .split(',')
        .filter_map(|text| {
            let mut parts = text.split(';').map(str::trim);
            let media_type = parts.next().filter(|m| !m.is_empty())?;
            let mut clause = Clause {
                media_type,
                parameters: Vec::new(),
                quality: 1.0,
            };
            for part in parts {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                match name.trim() {
                    "q" => clause.quality = value.trim().parse().unwrap_or(1.0),
                    name => clause
                        .parameters
                        .push((name, value.trim().trim_matches('"'))),
                }
            }
            Some(clause)
        })
        .collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

/// Whether the router lets a request with this `Accept` through to a route that produces `produces`.
pub fn router_accepts(accept: &str, produces: &[&str]) -> bool {
    if accept.trim().is_empty() {
        return true;
    }
    accept.split(',').any(|text| {
        let media_type = text.split(';').next().unwrap_or("").trim();
        media_type == "*/*"
            || produces
                .iter()
                .any(|p| p.split(';').next() == Some(media_type))
    })
}

/// The router's 406.
pub fn router_not_acceptable(produces: &[&str]) -> Status {
    let list = produces.join(", ");
    let mut status = Status::not_acceptable(format!(
        "406: Not Acceptable\n\nAvailable representations: {list}"
    ));
    status.details = Some(Box::default());
    status
}

/// The handler's 406.
pub fn not_acceptable(encodings: &[Encoding]) -> Status {
    let list: Vec<&str> = encodings.iter().map(|e| e.media_type()).collect();
    Status::not_acceptable(format!(
        "only the following media types are accepted: {}",
        list.join(", ")
    ))
}

/// Picks encoding and transform for `accept`. `transforms` tells whether `as=` clauses may be served.
pub fn negotiate(
    ctx: &RequestContext,
    encodings: &[Encoding],
    transforms: bool,
) -> Result<Negotiated, Status> {
    let accept = ctx.header(ACCEPT).unwrap_or("");
    let pretty = wants_pretty(ctx);
    // What most clients say is told without taking it apart.
    let is_json = accept == "application/json" && encodings.contains(&Encoding::Json);
    if is_json || accept.trim().is_empty() {
        let encoding = Encoding::Json;
        return Ok(Negotiated {
            encoding,
            pretty,
            transform: None,
        });
    }
    for clause in clauses(accept) {
        let Some(encoding) = clause_encoding(clause.media_type, encodings) else {
            continue;
        };
        let Some((transform, asked_pretty)) = clause_transform(&clause, encoding, transforms)
        else {
            continue;
        };
        return Ok(Negotiated {
            encoding,
            pretty: pretty || asked_pretty,
            transform,
        });
    }
    Err(not_acceptable(encodings))
}

fn clause_encoding(media_type: &str, encodings: &[Encoding]) -> Option<Encoding> {
    match media_type {
        "*/*" | "application/*" => encodings.first().copied(),
        other => Encoding::of(other).filter(|e| encodings.contains(e)),
    }
}

/// `None` when the clause asks for something that cannot be served.
fn clause_transform(
    clause: &Clause<'_>,
    encoding: Encoding,
    transforms: bool,
) -> Option<(Option<Transform>, bool)> {
    let get = |name: &str| clause.parameter(name);
    let pretty = get("pretty") == "1";
    let kind = match get("as") {
        "" => return Some((None, pretty)),
        _ if !transforms => return None,
        "Table" if encoding != Encoding::Protobuf => TransformKind::Table,
        "PartialObjectMetadata" => TransformKind::PartialObjectMetadata,
        "PartialObjectMetadataList" => TransformKind::PartialObjectMetadataList,
        _ => return None,
    };
    let api_version = match (get("g"), get("v")) {
        ("meta.k8s.io", "v1") => "meta.k8s.io/v1",
        ("meta.k8s.io", "v1beta1") => "meta.k8s.io/v1beta1",
        _ => return None,
    };
    Some((Some(Transform { kind, api_version }), pretty))
}

/// `pretty` as asked by the query, or by default for browsers and curl.
pub fn wants_pretty(ctx: &RequestContext) -> bool {
    match ctx.query_value("pretty") {
        Some(value) => !matches!(&*value, "false" | "0"),
        None => {
            let agent = ctx.header(USER_AGENT).unwrap_or("");
            ["curl", "Wget", "Mozilla/5.0"]
                .iter()
                .any(|p| agent.starts_with(p))
        }
    }
}

/// An object in the negotiated encoding. What has no protobuf form is answered as JSON.
pub fn encode<T: Serialize>(value: &T, negotiated: Negotiated) -> Bytes {
    let tree = || to_value(value).unwrap_or_default();
    match negotiated.encoding {
        Encoding::Yaml => return Bytes::from(yaml::to_yaml(&tree())),
        Encoding::Protobuf => {
            if let Some(bytes) = protobuf::encode(&tree()) {
                return bytes;
            }
        }
        Encoding::Json => {}
    }
    if negotiated.pretty {
        return Bytes::from(serde_json::to_vec_pretty(value).unwrap_or_default());
    }
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    Bytes::from(bytes)
}

/// Renders a `Status` for the client and notes it for the audit event. An `Accept` that cannot be
/// served falls back to JSON.
pub fn status_response(ctx: &mut RequestContext, status: &Status) -> ApiResponse {
    let negotiated = negotiate(ctx, BUILT_IN, false).unwrap_or_else(|_| Negotiated {
        pretty: wants_pretty(ctx),
        ..Negotiated::default()
    });
    let bytes = encode(status, negotiated);
    ctx.audit.response_status = Some(status.to_json());
    ctx.audit.because.clone_from(&status.because);
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = ApiResponse::new(code, negotiated.encoding.media_type(), bytes);
    let retry_after = status.details.as_ref().map_or(0, |d| d.retry_after_seconds);
    if retry_after > 0 {
        response
            .headers
            .insert("retry-after", HeaderValue::from(retry_after));
    }
    response
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;

    proptest::proptest! {
        #[test]
        fn no_accept_header_panics(accept in r#"(application/|json|yaml|vnd\.kubernetes\.protobuf|\*/\*|\*|;|=|,|q|as|g|v|Table|PartialObjectMetadata|meta\.k8s\.io|v1|watch|stream|"|[0-9.]{1,20}| |é|.){0,20}"#) {
            let encodings = [Encoding::Json, Encoding::Yaml, Encoding::Protobuf];
            let _ = clauses(&accept);
            let _ = router_accepts(&accept, &["application/json"]);
            let Ok(value) = HeaderValue::from_str(&accept) else { return Ok(()) };
            let headers = HeaderMap::from_iter([(http::header::ACCEPT, value)]);
            let ctx = RequestContext::new(Method::GET, Uri::from_static("/api"), headers, None);
            let _ = negotiate(&ctx, &encodings, true);
            let _ = negotiate(&ctx, &encodings, false);
        }
    }
}
