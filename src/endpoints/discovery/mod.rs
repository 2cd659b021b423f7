//! Discovery: `/api`, `/apis`, `/apis/<group>`, `/api/v1`, `/apis/<group>/<version>`, each as its
//! own document, and `/api` and `/apis` as one aggregated document (contract/discovery_openapi.md §1-3).
//!
//! Called by the router for paths above resources. Documents are made once per resource table and
//! kept as bytes.
//!
//! # Invariants
//! - A document never mixes two tables.
//!
//! # Decisions
//! - YAML and protobuf forms are made on request from the JSON bytes: hardly anybody asks for them.
//! - `/apis` and `/apis/<group>` answer every method, the others only GET, because upstream's
//!   aggregation layer serves the former without looking at the method.

mod documents;
mod protobuf;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::api::status::Status;
use crate::api::yaml::to_yaml;
use crate::base::tree::Value;
use crate::registry::table::{ResourceTable, is_builtin_group};
use crate::request::negotiate::{
    BUILT_IN, Clause, Encoding, clauses, not_acceptable, wants_pretty,
};
use crate::request::{ApiResponse, Body, RequestContext};

use documents::{Document, Documents};

/// Kind, group and version of the aggregated document.
const AGGREGATED: (&str, &str, &str) = ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2");

/// Answers discovery requests.
pub struct Discovery {
    server_address: String,
    documents: ArcSwapOption<Documents>,
}

/// Which form a client gets.
#[derive(Clone, Copy)]
enum Form {
    Legacy(Encoding),
    Aggregated(Encoding),
}

impl Discovery {
    /// `server_address` is `host:port` as clients should reach this server.
    pub fn new(server_address: impl Into<String>) -> Self {
        Discovery {
            server_address: server_address.into(),
            documents: ArcSwapOption::empty(),
        }
    }

    /// The answer, or `None` when the path is not one of discovery.
    pub fn handle(
        &self,
        ctx: &RequestContext,
        table: &ResourceTable,
    ) -> Option<Result<ApiResponse, Status>> {
        let path = ctx.info.path.as_str();
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut parts = path.strip_prefix('/')?.split('/');
        let prefix = parts.next()?;
        let rest: Vec<&str> = parts.collect();
        let known = match prefix {
            "api" => rest.len() < 2,
            "apis" => rest.len() < 3,
            _ => false,
        };
        if !known || rest.contains(&"") {
            return None;
        }
        let any_method = prefix == "apis" && rest.len() < 2;
        let Some(document) = self.documents(table).get(path) else {
            return Some(missing(table, prefix, &rest));
        };
        if !any_method && ctx.method != Method::GET {
            return Some(Err(Status::method_not_allowed()));
        }
        Some(negotiate(ctx, document.aggregated.is_some()).map(|form| {
            let pretty = wants_pretty(ctx);
            match (form, &document.aggregated) {
                (Form::Aggregated(encoding), Some((json, etag))) => {
                    aggregated(ctx, json, etag, encoding, pretty)
                }
                (Form::Legacy(encoding) | Form::Aggregated(encoding), _) => {
                    legacy(&document, encoding, pretty)
                }
            }
        }))
    }

    /// The documents of `table`, made now if an older table's are kept.
    fn documents(&self, table: &ResourceTable) -> Arc<Documents> {
        if let Some(kept) = &*self.documents.load()
            && kept.generation() == table.generation()
        {
            return kept.clone();
        }
        let made = Arc::new(Documents::new(table, &self.server_address));
        self.documents.store(Some(made.clone()));
        made
    }
}

/// An unknown version of a served built-in group is a Status, everything else plain text.
fn missing(table: &ResourceTable, prefix: &str, rest: &[&str]) -> Result<ApiResponse, Status> {
    let in_known_group = match rest {
        [_] => prefix == "api",
        [group, _] => is_builtin_group(group) && table.group(group).is_some(),
        _ => false,
    };
    if in_known_group {
        return Err(Status::no_such_resource());
    }
    Ok(ApiResponse::text(
        StatusCode::NOT_FOUND,
        "404 page not found\n",
    ))
}

fn negotiate(ctx: &RequestContext, may_aggregate: bool) -> Result<Form, Status> {
    let accept = ctx.header("accept").unwrap_or("");
    if accept.trim().is_empty() {
        return Ok(Form::Legacy(Encoding::Json));
    }
    clauses(accept)
        .iter()
        .find_map(|clause| form_of(clause, may_aggregate))
        .ok_or_else(|| not_acceptable(BUILT_IN))
}

fn form_of(clause: &Clause<'_>, may_aggregate: bool) -> Option<Form> {
    let encoding = clause.encoding(BUILT_IN)?;
    let asked = (
        clause.parameter("as"),
        clause.parameter("g"),
        clause.parameter("v"),
    );
    match asked {
        ("", "", "") => Some(Form::Legacy(encoding)),
        AGGREGATED if may_aggregate => Some(Form::Aggregated(encoding)),
        _ => None,
    }
}

fn legacy(document: &Document, encoding: Encoding, pretty: bool) -> ApiResponse {
    let body = render(&document.json, encoding, pretty);
    ApiResponse::new(StatusCode::OK, encoding.media_type(), body)
}

fn aggregated(
    ctx: &RequestContext,
    json: &Bytes,
    etag: &HeaderValue,
    encoding: Encoding,
    pretty: bool,
) -> ApiResponse {
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, etag.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    if ctx.headers.get(header::IF_NONE_MATCH) == Some(etag) {
        return ApiResponse {
            status: StatusCode::NOT_MODIFIED,
            headers,
            body: Body::Empty,
        };
    }
    let content_type = match encoding {
        Encoding::Json => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Encoding::Yaml => "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Encoding::Protobuf => {
            "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        }
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    ApiResponse {
        status: StatusCode::OK,
        headers,
        body: Body::Segments(vec![render(json, encoding, pretty)]),
    }
}

fn render(json: &Bytes, encoding: Encoding, pretty: bool) -> Bytes {
    if encoding == Encoding::Json && !pretty {
        return json.clone();
    }
    let tree: Value = serde_json::from_slice(json).unwrap_or_default();
    match encoding {
        Encoding::Json => serde_json::to_vec_pretty(&tree).unwrap_or_default().into(),
        Encoding::Yaml => to_yaml(&tree).into(),
        Encoding::Protobuf => protobuf::encode(&tree).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::table::RuntimeConfig;
    use http::Uri;

    fn get(path: &str, accept: &str) -> Option<Result<ApiResponse, Status>> {
        request(Method::GET, path, accept, None)
    }

    fn request(
        method: Method,
        path: &str,
        accept: &str,
        etag: Option<&HeaderValue>,
    ) -> Option<Result<ApiResponse, Status>> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert("accept", accept.parse().expect("a header value"));
        }
        if let Some(etag) = etag {
            headers.insert("if-none-match", etag.clone());
        }
        let uri: Uri = path.parse().expect("a path");
        let mut ctx = RequestContext::new(method, uri, headers, None);
        ctx.info.path = path.to_string();
        let table = ResourceTable::new(&RuntimeConfig::default());
        Discovery::new("192.0.2.2:6443").handle(&ctx, &table)
    }

    fn body(answer: Option<Result<ApiResponse, Status>>) -> String {
        let response = answer.expect("a discovery path").expect("an answer");
        let Body::Segments(segments) = response.body else {
            return String::new();
        };
        String::from_utf8_lossy(&segments.concat()).into_owned()
    }

    const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

    #[test]
    fn legacy_documents() {
        assert_eq!(
            body(get("/api", "")).trim(),
            r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"192.0.2.2:6443"}]}"#
        );
        assert_eq!(
            body(get("/api/", "application/yaml")),
            "kind: APIVersions\nserverAddressByClientCIDRs:\n- clientCIDR: 0.0.0.0/0\n  serverAddress: 192.0.2.2:6443\nversions:\n- v1\n"
        );
        assert_eq!(
            body(get("/apis/scheduling.k8s.io/v1", "")).trim(),
            r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"scheduling.k8s.io/v1","resources":[{"name":"priorityclasses","singularName":"priorityclass","namespaced":false,"kind":"PriorityClass","verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"shortNames":["pc"],"storageVersionHash":"1QwjyaZjj3Y="}]}"#
        );
        assert!(
            body(get("/apis/autoscaling", ""))
                .contains(r#""preferredVersion":{"groupVersion":"autoscaling/v2","version":"v2"}"#)
        );
        assert!(body(get("/api/v1", "")).contains(
            r#"{"name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1","kind":"Eviction","verbs":["create"]}"#
        ));
        assert!(!body(get("/api/v1", "")).contains("apiVersion"));
    }

    #[test]
    fn refusals() {
        let status = |answer: Option<Result<ApiResponse, Status>>| match answer {
            None => 0,
            Some(Ok(response)) => response.status.as_u16(),
            Some(Err(status)) => status.code,
        };
        for (path, accept, code) in [
            (
                "/api",
                "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList",
                406,
            ),
            ("/apis/apps", V2, 406),
            ("/apis", "text/html", 406),
            ("/apis", "application/json;as=Table;v=v1;g=meta.k8s.io", 406),
            ("/apis/nope.test", "", 404),
            ("/apis/apps/v2", "", 404),
            ("/api/v2", "", 404),
            ("/api/v1/pods", "", 0),
            ("/healthz", "", 0),
        ] {
            assert_eq!(status(get(path, accept)), code, "{path} {accept}");
        }
        assert!(matches!(get("/apis/apps/v2", ""), Some(Err(_))));
        assert!(matches!(get("/apis/nope.test/v1", ""), Some(Ok(_))));
        assert_eq!(status(request(Method::PUT, "/api/v1", "", None)), 405);
        assert_eq!(status(request(Method::DELETE, "/apis", "", None)), 200);
    }

    #[test]
    fn aggregated_documents() {
        let response = get("/apis", &format!("{V2},application/json"))
            .expect("a path")
            .expect("an answer");
        assert_eq!(response.headers["content-type"], V2);
        let etag = &response.headers["etag"];
        assert_eq!(etag.len(), 130);
        let again = request(Method::GET, "/apis", V2, Some(etag))
            .expect("a path")
            .expect("an answer");
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        let text = body(get("/apis", V2));
        assert!(text.starts_with(
            r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[{"metadata":{"name":"apiregistration.k8s.io"},"versions":[{"version":"v1","resources":[{"resource":"apiservices","responseKind":{"group":"","version":"","kind":"APIService"},"scope":"Cluster","singularResource":"apiservice","verbs":["#
        ));
        assert!(!text.contains("\"pods\""));
        let later = body(get("/api", &format!("application/json;v=v9;as=x,{V2}")));
        assert!(later.contains(r#""items":[{"metadata":{},"versions":[{"version":"v1""#));
    }
}
