//! `auditevents` of group `audit.verbatim.dev`: the record as a Kubernetes resource.
//!
//! Virtual: nothing is stored, every answer is a search. Requests come through the whole filter
//! chain, so who may `list auditevents` in a namespace sees the events of that namespace, and who may
//! in all namespaces sees everything (kubernetes/kubernetes#61766).

use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::names::{GroupVersion, Name};
use crate::api::resource::Resource;
use crate::api::status::Status;
use crate::audit::Recorder;
use crate::request::negotiate::{self, Encoding, Negotiated, TransformKind};
use crate::request::{ApiRequest, ApiResponse, RequestContext};
use crate::search::{Hit, Index, Page, Search, SearchError, Window, query, table};

/// API group.
pub const GROUP: &str = "audit.verbatim.dev";
/// Version of the group.
pub const VERSION: &str = "v1alpha1";
/// Events per page when the request does not say.
const DEFAULT_LIMIT: usize = 500;
/// How every event in the log begins.
const EVENT_START: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#;

/// The rows for the resource table.
pub fn rows() -> Vec<Resource> {
    vec![
        row(
            "auditevents",
            "auditevent",
            "AuditEvent",
            &["ae"],
            &["get", "list"],
        ),
        row(
            "explanations",
            "explanation",
            "Explanation",
            &["why"],
            &["get"],
        ),
    ]
}

fn row(
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    short_names: &[&'static str],
    verbs: &[&'static str],
) -> Resource {
    let names = |list: &[&'static str]| list.iter().map(|n| Name::Borrowed(*n)).collect();
    Resource {
        group: GROUP.into(),
        version: VERSION.into(),
        plural: plural.into(),
        singular: singular.into(),
        kind: kind.into(),
        list_kind: format!("{kind}List").into(),
        namespaced: true,
        short_names: names(short_names),
        categories: Vec::new(),
        verbs: names(verbs),
        subresources: Vec::new(),
        storage_prefix: "".into(),
        storage_version: GroupVersion::new(GROUP, VERSION),
        custom: false,
        on_by_default: true,
        allow_unconditional_update: false,
        allow_create_on_update: false,
        returns_deleted_object: false,
        tracks_generation: false,
        ttl_seconds: 0,
        selectable_fields: Vec::new(),
    }
}

/// Answers requests for `auditevents`.
pub struct EventsApi {
    index: Arc<Index>,
    recorder: Arc<Recorder>,
}

impl EventsApi {
    /// Over an index and the recorder that feeds its log.
    pub fn new(index: Arc<Index>, recorder: Arc<Recorder>) -> Self {
        EventsApi { index, recorder }
    }

    /// Answers one request that has passed the filter chain.
    pub async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
        let ctx = &mut request.ctx;
        let answer = match ctx.info.verb.as_str() {
            "list" => self.list(ctx).await,
            "get" => self.get(ctx).await,
            _ => Err(Status::method_not_allowed()),
        };
        answer.unwrap_or_else(|status| negotiate::status_response(ctx, &status))
    }

    /// Events of one audit ID that this request may see, newest first.
    pub async fn of_audit_id(&self, ctx: &RequestContext, id: &str) -> Result<Vec<Hit>, Status> {
        self.recorder.flush().await;
        let found = self.index.by_audit_id(id, scope(ctx)).await;
        found.map_err(status_of)
    }

    /// The newest events that match a query.
    pub async fn newest(
        &self,
        ctx: &RequestContext,
        query: String,
        limit: usize,
    ) -> Result<Vec<Hit>, Status> {
        self.recorder.flush().await;
        let search = Search {
            query,
            window: Window::all(),
            limit,
            after: None,
            namespace: scope(ctx).map(str::to_string),
        };
        Ok(self.index.search(search).await.map_err(status_of)?.hits)
    }

    async fn list(&self, ctx: &RequestContext) -> Result<ApiResponse, Status> {
        let negotiated = negotiated(ctx)?;
        let search = search_of(ctx)?;
        // Batch mode: what was recorded before this request must be in the log.
        self.recorder.flush().await;
        let page = self.index.search(search).await.map_err(status_of)?;
        Ok(match negotiated.transform.map(|t| t.kind) {
            Some(TransformKind::Table) => value_response(&table_of(&page), negotiated),
            _ if negotiated.encoding == Encoding::Yaml || negotiated.pretty => {
                let list = list_text(&page);
                let tree: Value = serde_json::from_slice(&list).unwrap_or_default();
                value_response(&tree, negotiated)
            }
            _ => ApiResponse::new(StatusCode::OK, "application/json", list_text(&page)),
        })
    }

    async fn get(&self, ctx: &RequestContext) -> Result<ApiResponse, Status> {
        let negotiated = negotiated(ctx)?;
        let name = ctx.info.name.as_str();
        let hits = match name.rsplit_once('-') {
            Some((id, _)) => self.of_audit_id(ctx, id).await?,
            None => Vec::new(),
        };
        let hit = hits.into_iter().find(|h| Shown::of(h).name() == name);
        let Some(hit) = hit else {
            let rows = rows();
            return Err(Status::not_found(&rows[0].group_resource(), name));
        };
        if negotiated.transform.is_some() {
            let page = Page {
                hits: vec![hit],
                next: None,
            };
            return Ok(value_response(&table_of(&page), negotiated));
        }
        let mut out = Vec::new();
        push_item(&mut out, &hit);
        let tree: Value = serde_json::from_slice(&out).unwrap_or_default();
        Ok(value_response(&tree, negotiated))
    }
}

/// Encoding of the answer; only tables are offered as transforms.
pub fn negotiated(ctx: &RequestContext) -> Result<Negotiated, Status> {
    const ENCODINGS: &[Encoding] = &[Encoding::Json, Encoding::Yaml];
    negotiate::negotiate(ctx, ENCODINGS, true)
}

/// An answer from a tree.
pub fn value_response(tree: &Value, negotiated: Negotiated) -> ApiResponse {
    let body = negotiate::encode(tree, negotiated);
    ApiResponse::new(StatusCode::OK, negotiated.encoding.media_type(), body)
}

fn scope(ctx: &RequestContext) -> Option<&str> {
    Some(ctx.info.namespace.as_str()).filter(|n| !n.is_empty())
}

fn status_of(error: SearchError) -> Status {
    match error {
        SearchError::Query(error) => Status::bad_request(error.to_string()),
        other => {
            tracing::error!(error = %other, source = ?std::error::Error::source(&other), "a search failed");
            Status::internal("the index of the record cannot be searched")
        }
    }
}

/// Reads `query`, `from`, `to`, `limit`, `continue` and the field selector.
fn search_of(ctx: &RequestContext) -> Result<Search, Status> {
    let get = |name: &str| ctx.query_value(name);
    let window = Window::parse(get("from").as_deref(), get("to").as_deref(), Utc::now())
        .map_err(Status::bad_request)?;
    let limit = match get("limit").as_deref() {
        None | Some("" | "0") => DEFAULT_LIMIT,
        Some(text) => text
            .parse()
            .map_err(|_| Status::bad_request(format!("limit: {text:?} is not a number")))?,
    };
    let after = match get("continue").as_deref() {
        None | Some("") => None,
        Some(text) => Some(u64::from_str_radix(text, 16).map_err(|_| {
            Status::bad_request("continue: this is not a token that the server gave out")
        })?),
    };
    let mut text = get("query").unwrap_or_default().into_owned();
    // Point at the character of what was sent, before the selector is added.
    query::parse(&text).map_err(|e| status_of(e.into()))?;
    if !ctx.info.field_selector.is_empty() {
        let selected = selector_query(&ctx.info.field_selector)?;
        text = match text.trim() {
            "" => selected,
            text => format!("({text}) {selected}"),
        };
    }
    Ok(Search {
        query: text,
        window,
        limit,
        after,
        namespace: scope(ctx).map(str::to_string),
    })
}

/// `user=alice,verb!=get` as a query.
fn selector_query(selector: &str) -> Result<String, Status> {
    let mut out = Vec::new();
    for term in selector.split(',').filter(|t| !t.is_empty()) {
        let (key, value, not) = match (term.split_once("!="), term.split_once('=')) {
            (Some((key, value)), _) => (key, value, "-"),
            (None, Some((key, value))) => (key, value.trim_start_matches('='), ""),
            (None, None) => {
                return Err(Status::bad_request(format!(
                    "invalid field selector {term:?}: write field=value"
                )));
            }
        };
        let field = match key {
            "metadata.namespace" => "namespace",
            key => key,
        };
        if key == "metadata.name" {
            let id = value.rsplit_once('-').map_or(value, |(id, _)| id);
            out.push(format!("{not}auditID:{}", query::quote(id)));
        } else {
            out.push(format!("{not}{field}:{}", query::quote(value)));
        }
    }
    Ok(out.join(" "))
}

/// The few facts that an item's metadata is made of.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Shown {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    #[serde(rename = "stageTimestamp")]
    stage_timestamp: String,
    #[serde(rename = "objectRef")]
    object_ref: ShownObject,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShownObject {
    namespace: String,
}

impl Shown {
    fn of(hit: &Hit) -> Self {
        serde_json::from_slice(&hit.event).unwrap_or_default()
    }

    fn name(&self) -> String {
        format!("{}-{}", self.audit_id, self.stage.to_ascii_lowercase())
    }

    fn metadata(&self, hit: &Hit) -> Value {
        let mut metadata = json!({
            "name": self.name(),
            "resourceVersion": hit.key.to_string(),
            "creationTimestamp": hit.time().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        if !self.object_ref.namespace.is_empty() {
            metadata["namespace"] = json!(self.object_ref.namespace);
        }
        metadata
    }
}

/// One event as an AuditEvent: its own text with another head.
fn push_item(out: &mut Vec<u8>, hit: &Hit) {
    let rest = match hit.event.strip_prefix(EVENT_START) {
        Some(rest) => Bytes::copy_from_slice(rest),
        None => {
            let mut tree: Value = serde_json::from_slice(&hit.event).unwrap_or_default();
            if let Some(members) = tree.as_object_mut() {
                members.remove("kind");
                members.remove("apiVersion");
            }
            Bytes::from(tree.to_string().split_off(1))
        }
    };
    out.extend_from_slice(
        br#"{"kind":"AuditEvent","apiVersion":"audit.verbatim.dev/v1alpha1","metadata":"#,
    );
    out.extend_from_slice(Shown::of(hit).metadata(hit).to_string().as_bytes());
    out.push(b',');
    out.extend_from_slice(&rest);
}

fn list_metadata(page: &Page) -> Value {
    let newest = page.hits.first().map_or(0, |h| h.key);
    let mut metadata = json!({"resourceVersion": newest.to_string()});
    if let Some(next) = page.next {
        metadata["continue"] = json!(format!("{next:x}"));
    }
    metadata
}

fn list_text(page: &Page) -> Vec<u8> {
    let size: usize = page.hits.iter().map(|h| h.event.len() + 256).sum();
    let mut out = Vec::with_capacity(size + 256);
    out.extend_from_slice(
        br#"{"kind":"AuditEventList","apiVersion":"audit.verbatim.dev/v1alpha1","metadata":"#,
    );
    out.extend_from_slice(list_metadata(page).to_string().as_bytes());
    out.extend_from_slice(br#","items":["#);
    for (index, hit) in page.hits.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_item(&mut out, hit);
    }
    out.extend_from_slice(b"]}\n");
    out
}

fn table_of(page: &Page) -> Value {
    let rows: Vec<Value> = page
        .hits
        .iter()
        .map(|hit| {
            let event: Value = serde_json::from_slice(&hit.event).unwrap_or_default();
            json!({
                "cells": table::cells(&event),
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": Shown::of(hit).metadata(hit),
                },
            })
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata(page),
        "columnDefinitions": table::definitions(),
        "rows": rows,
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;
    use crate::audit::metrics::Metrics;
    use crate::request::{Body, RequestInfo};
    use crate::search::index::IndexOptions;

    async fn ask(dir: &std::path::Path, uri: &str, accept: &'static str) -> (u16, Value) {
        let log = dir.join("audit.log");
        let index = Index::open(&dir.join("index"), &log, IndexOptions::default()).expect("opens");
        let api = EventsApi::new(index, Recorder::new(None, Vec::new(), Metrics::new()));
        let mut headers = HeaderMap::new();
        headers.insert("accept", accept.parse().expect("a header"));
        let uri: Uri = uri.parse().expect("a URI");
        let mut ctx = RequestContext::new(Method::GET, uri, headers, None);
        let query = ctx.uri.query().unwrap_or("").to_string();
        ctx.info = RequestInfo::parse(&ctx.method, ctx.uri.path(), &query).expect("a path");
        let mut request = ApiRequest {
            ctx,
            body: axum::body::Body::empty(),
            upgrade: None,
        };
        let response = api.handle(&mut request).await;
        let Body::Segments(body) = response.body else {
            panic!("a whole body");
        };
        let tree = serde_json::from_slice(&body.concat()).expect("JSON");
        (response.status.as_u16(), tree)
    }

    fn log_of_three() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        let line = |n: u32, ns: &str| {
            format!(
                "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"a-{n}\",\"stage\":\"ResponseComplete\",\"verb\":\"get\",\"user\":{{\"username\":\"u{n}\"}},\"objectRef\":{{\"resource\":\"pods\",\"namespace\":\"{ns}\"}},\"requestReceivedTimestamp\":\"2026-01-01T00:00:0{n}.000000Z\",\"stageTimestamp\":\"2026-01-01T00:00:0{n}.000000Z\"}}\n"
            )
        };
        let text = line(1, "x") + &line(2, "y") + &line(3, "x");
        std::fs::write(dir.path().join("audit.log"), text).expect("writes");
        dir
    }

    #[tokio::test]
    async fn lists_pages_and_tables() {
        const BASE: &str = "/apis/audit.verbatim.dev/v1alpha1";
        for (path, accept, code, check) in [
            (
                "/auditevents?limit=2",
                "application/json",
                200,
                json!(["u3", "u2"]),
            ),
            ("/namespaces/x/auditevents", "", 200, json!(["u3", "u1"])),
            (
                "/auditevents?fieldSelector=user%3Du2",
                "",
                200,
                json!(["u2"]),
            ),
            (
                "/namespaces/x/auditevents?fieldSelector=user%3Du2",
                "",
                200,
                json!([]),
            ),
            (
                "/auditevents?query=user:u1%20OR%20user:u2",
                "",
                200,
                json!(["u2", "u1"]),
            ),
            (
                "/auditevents?to=2026-01-01T00:00:02Z",
                "",
                200,
                json!(["u1"]),
            ),
            ("/auditevents?query=usr:x", "", 400, Value::Null),
            ("/auditevents?continue=zz", "", 400, Value::Null),
        ] {
            let dir = log_of_three();
            let (got, tree) = ask(dir.path(), &format!("{BASE}{path}"), accept).await;
            assert_eq!(got, code, "{path}: {tree}");
            if code == 200 {
                let users: Value = tree["items"]
                    .as_array()
                    .expect("items")
                    .iter()
                    .map(|i| i["user"]["username"].clone())
                    .collect();
                assert_eq!(users, check, "{path}");
            }
        }
        let dir = log_of_three();
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let (_, tree) = ask(dir.path(), &format!("{BASE}/auditevents"), table).await;
        assert_eq!(tree["kind"], "Table");
        assert_eq!(tree["rows"][0]["cells"][1], "u3");
    }

    #[tokio::test]
    async fn gets_one() {
        const BASE: &str = "/apis/audit.verbatim.dev/v1alpha1/namespaces";
        for (path, code) in [
            ("x/auditevents/a-1-responsecomplete", 200),
            ("y/auditevents/a-1-responsecomplete", 404),
            ("x/auditevents/a-1-panic", 404),
        ] {
            let dir = log_of_three();
            let (got, tree) = ask(dir.path(), &format!("{BASE}/{path}"), "").await;
            assert_eq!(got, code, "{path}: {tree}");
        }
    }
}
