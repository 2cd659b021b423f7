//! Events against upstream's shape.

use std::sync::Arc;

use http::{HeaderMap, Method, Uri};

use super::*;
use crate::base::tree::json;
use crate::request::{RequestInfo, UserInfo};

fn context(method: Method, uri: &'static str) -> RequestContext {
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", "replay/1".parse().expect("a header"));
    let peer = Some("127.0.0.1:4711".parse().expect("an address"));
    let mut ctx = RequestContext::new(method, Uri::from_static(uri), headers, peer);
    let query = ctx.uri.query().unwrap_or("").to_string();
    ctx.info = RequestInfo::parse(&ctx.method, ctx.uri.path(), &query).expect("a path");
    ctx.audit_id = "id-1".into();
    ctx.user = Some(Arc::new(UserInfo {
        username: "alice".into(),
        groups: vec!["dev".into()],
        ..UserInfo::default()
    }));
    ctx
}

fn decision(level: AuditLevel) -> Decision {
    Decision {
        level,
        ..Decision::default()
    }
}

fn render(
    ctx: &RequestContext,
    level: AuditLevel,
    stage: Stage,
    response: Option<Response<'_>>,
) -> Value {
    let event = Head::render(ctx, level, None).event(ctx, &decision(level), None, stage, response);
    assert!(event.line().ends_with(b"}\n"));
    serde_json::from_slice(event.json()).expect("one JSON object")
}

#[test]
fn a_create_at_full_level() {
    let mut ctx = context(Method::POST, "/api/v1/namespaces/n/configmaps?dryRun=All");
    ctx.audit.request_object = Some(Bytes::from_static(b"{\n\"data\":{\"k\":\"v\\n\"}}"));
    ctx.audit.object_name = Some("a".into());
    ctx.audit.dry_run = true;
    ctx.audit.annotate("authorization.k8s.io/decision", "allow");
    ctx.audit.annotate("authorization.k8s.io/reason", "RBAC");
    let began = ctx.stages.begin("authorization");
    ctx.stages.end("authorization", began, "allow", "RBAC");
    let body = [
        Bytes::from_static(b"{\"kind\":"),
        Bytes::from_static(b"\"ConfigMap\"}"),
    ];
    let response = Response {
        code: 201,
        object: ResponseObject::Segments(&body),
        message: None,
    };
    let event = render(
        &ctx,
        AuditLevel::RequestResponse,
        Stage::ResponseComplete,
        Some(response),
    );
    assert_eq!(
        event["requestURI"],
        "/api/v1/namespaces/n/configmaps?dryRun=All"
    );
    assert_eq!(
        event["user"],
        json!({"username": "alice", "groups": ["dev"]})
    );
    assert_eq!(
        event["objectRef"],
        json!({"resource": "configmaps", "namespace": "n", "name": "a", "apiVersion": "v1"})
    );
    assert_eq!(
        event["responseStatus"],
        json!({"metadata": {}, "code": 201})
    );
    assert_eq!(event["requestObject"], json!({"data": {"k": "v\n"}}));
    assert_eq!(event["responseObject"], json!({"kind": "ConfigMap"}));
    assert_eq!(event["sourceIPs"], json!(["127.0.0.1"]));
    let trace: Value = serde_json::from_str(
        event["annotations"][TRACE_ANNOTATION]
            .as_str()
            .expect("a text"),
    )
    .expect("JSON");
    assert_eq!(trace["dryRun"], true, "users.md thread 24");
    assert_eq!(trace["stages"][0][0], "authorization");
    assert_eq!(trace["stages"][0][3], "allow");
    assert!(
        trace["stages"][0].get(4).is_none(),
        "the annotation has the reason"
    );
}

#[test]
fn thread_25_requests_with_the_same_client_chosen_id_can_be_told_apart() {
    let mut ids = std::collections::HashSet::new();
    for own in ["own-1", "own-2"] {
        let mut ctx = context(Method::GET, "/api/v1/namespaces/n/pods/p");
        ctx.audit_id = "chosen".into();
        ctx.audit.request_id = Some(own.into());
        for stage in [Stage::RequestReceived, Stage::ResponseComplete] {
            let event = render(&ctx, AuditLevel::Metadata, stage, Some(Response::default()));
            assert_eq!(event["auditID"], "chosen", "the client's ID is kept");
            let trace = event["annotations"][TRACE_ANNOTATION].as_str();
            let trace: Value = serde_json::from_str(trace.expect("a trace")).expect("JSON");
            assert_eq!(trace["clientAuditID"], true);
            ids.insert(trace["requestID"].as_str().map(str::to_string));
        }
    }
    assert_eq!(ids.len(), 2);
}

#[test]
fn thread_26_the_record_says_how_the_caller_was_authenticated() {
    let mut ctx = context(Method::GET, "/api/v1/namespaces/n/pods/p");
    ctx.authenticated_by = Some("service-account");
    let event = render(
        &ctx,
        AuditLevel::Metadata,
        Stage::ResponseComplete,
        Some(Response::default()),
    );
    let trace = event["annotations"][TRACE_ANNOTATION].as_str();
    let trace: Value = serde_json::from_str(trace.expect("a trace")).expect("JSON");
    assert_eq!(trace["by"], "service-account");
}

#[test]
fn thread_38_slow_requests_have_upstreams_latency_annotations() {
    let mut ctx = context(Method::POST, "/api/v1/namespaces/n/pods");
    ctx.stages = crate::request::StageTrace::started_before(Duration::from_millis(2500));
    let long_ago = ctx.stages.started();
    for stage in ["flow-control", "validating-webhook/w", "store/create"] {
        ctx.stages.end(stage, long_ago, "ok", "");
    }
    let response = Response {
        code: 201,
        ..Response::default()
    };
    let event = render(
        &ctx,
        AuditLevel::Metadata,
        Stage::ResponseComplete,
        Some(response),
    );
    for key in ["total", "apf-queue-wait", "validating-webhook", "etcd"] {
        let value = &event["annotations"][format!("apiserver.latency.k8s.io/{key}")];
        assert!(
            value.as_str().is_some_and(|v| v.starts_with("2.5")),
            "{key}: {value}"
        );
    }
    let absent = &event["annotations"]["apiserver.latency.k8s.io/mutating-webhook"];
    assert!(absent.is_null(), "{absent}");
}

#[test]
fn order_of_fields() {
    let ctx = context(Method::GET, "/api/v1/namespaces/n/pods/p");
    let response = Response {
        code: 200,
        ..Response::default()
    };
    let event = Head::render(&ctx, AuditLevel::Metadata, None).event(
        &ctx,
        &decision(AuditLevel::Metadata),
        None,
        Stage::ResponseComplete,
        Some(response),
    );
    let text = String::from_utf8(event.line().to_vec()).expect("text");
    let mut last = 0;
    for key in [
        "kind",
        "apiVersion",
        "level",
        "auditID",
        "stage",
        "requestURI",
        "verb",
        "user",
        "sourceIPs",
        "userAgent",
        "objectRef",
        "responseStatus",
        "requestReceivedTimestamp",
        "stageTimestamp",
        "annotations",
    ] {
        let at = text.find(&format!("\"{key}\":")).expect(key);
        assert!(at >= last, "{key}");
        last = at;
    }
}

#[test]
fn what_is_not_shown() {
    let mut ctx = context(Method::GET, "/healthz");
    ctx.impersonator = ctx.user.clone();
    ctx.user = Some(Arc::new(UserInfo::anonymous()));
    let event = render(&ctx, AuditLevel::Metadata, Stage::RequestReceived, None);
    assert!(event.get("objectRef").is_none() && event.get("responseStatus").is_none());
    assert!(event.get("impersonatedUser").is_none() && event.get("annotations").is_none());
    assert_eq!(event["user"]["username"], "alice");
    assert_eq!(event["requestReceivedTimestamp"], event["stageTimestamp"]);
    let closed = render(
        &ctx,
        AuditLevel::Metadata,
        Stage::ResponseComplete,
        Some(Response::default()),
    );
    assert_eq!(closed["impersonatedUser"]["username"], "system:anonymous");
    assert_eq!(
        closed["responseStatus"],
        json!({"metadata": {}, "status": "Success", "message": "Connection closed early", "code": 200})
    );
}

#[test]
fn managed_fields_and_truncation() {
    let mut ctx = context(Method::GET, "/api/v1/namespaces/n/pods");
    ctx.audit.response_object = Some(Bytes::from_static(
        br#"{"items":[{"metadata":{"name":"p","managedFields":[{}]}}]}"#,
    ));
    let mut decision = decision(AuditLevel::RequestResponse);
    decision.omit_managed_fields = true;
    let response = Response {
        code: 200,
        object: ResponseObject::Context,
        message: None,
    };
    let event = Head::render(&ctx, decision.level, None).event(
        &ctx,
        &decision,
        None,
        Stage::ResponseComplete,
        Some(response),
    );
    let tree: Value = serde_json::from_slice(event.json()).expect("JSON");
    assert_eq!(
        tree["responseObject"]["items"][0],
        json!({"metadata": {"name": "p"}})
    );
    let cut: Value = serde_json::from_slice(&event.truncated().expect("has a body")).expect("JSON");
    assert!(cut.get("responseObject").is_none());
    assert_eq!(cut["annotations"]["audit.k8s.io/truncated"], "true");
}

#[test]
fn addresses_and_agents() {
    let mut ctx = context(Method::GET, "/version");
    for (key, value) in [
        ("x-forwarded-for", "192.0.2.77, bad, 192.0.2.78"),
        ("x-real-ip", "192.0.2.79"),
    ] {
        ctx.headers.insert(key, value.parse().expect("a header"));
    }
    ctx.headers
        .insert("user-agent", "x".repeat(2000).parse().expect("a header"));
    let event = render(&ctx, AuditLevel::Metadata, Stage::RequestReceived, None);
    assert_eq!(
        event["sourceIPs"],
        json!(["192.0.2.77", "192.0.2.78", "192.0.2.79", "127.0.0.1"])
    );
    let agent = event["userAgent"].as_str().expect("a text");
    assert_eq!(agent.len(), 1024 + "...TRUNCATED".len());
}
