//! The filter with a sink in memory and scripted endpoints.

use futures::StreamExt;
use http::{HeaderMap, Method, Uri};

use super::*;
use crate::audit::metrics::Metrics;
use crate::audit::policy_file;
use crate::audit::recorder::Route;
use crate::audit::sink::memory::MemorySink;
use crate::filters::Endpoint;
use crate::request::{RequestInfo, UserInfo};

const ALL: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]";

type Answer = Box<dyn Fn() -> ApiResponse + Send + Sync>;

struct Scripted(Answer);

#[async_trait]
impl Endpoint for Scripted {
    async fn handle(&self, _: &mut ApiRequest) -> ApiResponse {
        tokio::task::yield_now().await;
        (self.0)()
    }
}

fn request(uri: &'static str) -> ApiRequest {
    let mut ctx = RequestContext::new(Method::GET, Uri::from_static(uri), HeaderMap::new(), None);
    let query = ctx.uri.query().unwrap_or("").to_string();
    ctx.info = RequestInfo::parse(&ctx.method, ctx.uri.path(), &query).expect("a path");
    ctx.user = Some(Arc::new(UserInfo::anonymous()));
    ApiRequest::new(ctx, axum::body::Body::empty())
}

fn recorder(sink: &Arc<MemorySink>) -> Arc<Recorder> {
    let policy = policy_file::parse(ALL).expect("loads");
    let route = Route {
        sink: sink.clone(),
        strict: true,
    };
    Recorder::new(Some(policy), vec![route], Metrics::new())
}

async fn run(uri: &'static str, answer: Answer) -> (Vec<Value>, ApiResponse) {
    let sink = Arc::new(MemorySink::default());
    let filters: Vec<Box<dyn Filter>> = vec![Box::new(Audit::new(recorder(&sink)))];
    let endpoint = Scripted(answer);
    let response = Next::new(&filters, &endpoint).run(&mut request(uri)).await;
    (sink.events(), response)
}

fn stages(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|e| e["stage"].as_str()).collect()
}

#[tokio::test]
async fn a_whole_answer_is_recorded_before_it_leaves() {
    let status = Status::unauthorized().to_json().to_string();
    for (uri, code, content_type, body, object, reason) in [
        (
            "/api/v1/pods",
            200,
            "application/json",
            r#"{"kind":"PodList"}"#,
            json!({"kind": "PodList"}),
            Value::Null,
        ),
        (
            "/api/v1/pods",
            401,
            "application/json",
            &status,
            Status::unauthorized().to_json(),
            json!("Unauthorized"),
        ),
        (
            "/api/v1/pods",
            406,
            "application/json",
            &status,
            Value::Null,
            Value::Null,
        ),
        (
            "/api/v1/pods",
            200,
            "application/yaml",
            "kind: PodList",
            Value::Null,
            Value::Null,
        ),
        (
            "/version",
            200,
            "application/json",
            r#"{"major":"1"}"#,
            Value::Null,
            Value::Null,
        ),
        (
            "/apis",
            200,
            "application/json",
            r#"{"kind":"APIGroupList"}"#,
            json!({"kind": "APIGroupList"}),
            Value::Null,
        ),
        (
            "/nothing",
            404,
            "text/plain",
            "404 page not found",
            Value::Null,
            Value::Null,
        ),
    ] {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let code = StatusCode::from_u16(code).expect("a code");
        let answer = move || ApiResponse::new(code, content_type, body.clone());
        let (events, _) = run(uri, Box::new(answer)).await;
        assert_eq!(
            stages(&events),
            ["RequestReceived", "ResponseComplete"],
            "{uri}"
        );
        assert_eq!(events[1]["responseStatus"]["code"], code.as_u16());
        assert_eq!(events[1]["responseObject"], object, "{uri} {content_type}");
        assert_eq!(events[1]["responseStatus"]["reason"], reason, "{uri}");
    }
}

#[tokio::test]
async fn a_success_status_is_shown() {
    const TEXT: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"name":"a"}}"#;
    let answer = || ApiResponse::new(StatusCode::OK, "application/json", TEXT);
    let (events, _) = run("/api/v1/namespaces/n/pods/a/eviction", Box::new(answer)).await;
    let expected =
        json!({"metadata": {}, "status": "Success", "details": {"name": "a"}, "code": 200});
    assert_eq!(events[1]["responseStatus"], expected);
}

#[tokio::test]
async fn streams_end_with_their_event() {
    for read_all in [true, false] {
        let sink = Arc::new(MemorySink::default());
        let filters: Vec<Box<dyn Filter>> = vec![Box::new(Audit::new(recorder(&sink)))];
        let endpoint = Scripted(Box::new(|| ApiResponse {
            body: Body::Stream(Box::pin(futures::stream::iter([
                Ok(Bytes::from_static(b"a").into()),
                Ok(Bytes::from_static(b"b").into()),
            ]))),
            ..ApiResponse::default()
        }));
        let mut request = request("/api/v1/pods?watch=1");
        let response = Next::new(&filters, &endpoint).run(&mut request).await;
        assert_eq!(
            stages(&sink.events()),
            ["RequestReceived", "ResponseStarted"]
        );
        let Body::Stream(mut stream) = response.body else {
            panic!("a stream stays a stream");
        };
        while read_all && stream.next().await.is_some() {}
        drop(stream);
        let events = sink.events();
        assert_eq!(events.len(), 3);
        assert_eq!(events[2]["stage"], "ResponseComplete");
        assert!(events[2].get("responseObject").is_none());
    }
}

#[tokio::test]
async fn thread_36_writing_a_large_answer_is_a_stage_of_its_own() {
    let size = 3 * SLOW_WRITE_BYTES;
    for read_all in [true, false] {
        let sink = Arc::new(MemorySink::default());
        let filters: Vec<Box<dyn Filter>> = vec![Box::new(Audit::new(recorder(&sink)))];
        let body = format!("{{\"kind\":\"PodList\",\"pad\":\"{}\"}}", "x".repeat(size));
        let length = body.len();
        let endpoint = Scripted(Box::new(move || {
            ApiResponse::new(StatusCode::OK, "application/json", body.clone())
        }));
        let mut request = request("/api/v1/pods");
        let response = Next::new(&filters, &endpoint).run(&mut request).await;
        assert_eq!(response.headers[CONTENT_LENGTH], length.to_string());
        assert_eq!(stages(&sink.events()), ["RequestReceived"]);
        let Body::Stream(mut stream) = response.body else {
            panic!("a large body is handed out in pieces");
        };
        let mut read = stream.next().await.expect("a piece").expect("bytes").len();
        while read_all && let Some(Ok(piece)) = stream.next().await {
            read += piece.len();
        }
        drop(stream);
        let events = sink.events();
        assert_eq!(stages(&events), ["RequestReceived", "ResponseComplete"]);
        assert_eq!(events[1]["responseObject"]["kind"], "PodList");
        let trace = events[1]["annotations"][crate::audit::event::TRACE_ANNOTATION].as_str();
        let trace: Value = serde_json::from_str(trace.expect("a trace")).expect("JSON");
        let last = trace["stages"].as_array().and_then(|s| s.last());
        let last = last.expect("a stage");
        assert_eq!(last[0], "response-write");
        let outcome = if read_all {
            "ok"
        } else {
            "closed by the client"
        };
        assert_eq!(last[3], outcome);
        assert_eq!(last[4], format!("{read} bytes"));
    }
}

#[tokio::test]
async fn panics_are_recorded_and_raised_again() {
    let sink = Arc::new(MemorySink::default());
    let filters: Vec<Box<dyn Filter>> = vec![Box::new(Audit::new(recorder(&sink)))];
    let endpoint = Scripted(Box::new(|| panic!("boom")));
    let mut request = request("/api/v1/pods");
    let run = Next::new(&filters, &endpoint).run(&mut request);
    assert!(AssertUnwindSafe(run).catch_unwind().await.is_err());
    let events = sink.events();
    assert_eq!(stages(&events), ["RequestReceived", "Panic"]);
    assert_eq!(
        events[1]["responseStatus"]["message"],
        "APIServer panic'd: boom"
    );
}

#[tokio::test]
async fn a_client_that_goes_away_is_recorded() {
    let sink = Arc::new(MemorySink::default());
    let recorder = recorder(&sink);
    let filters: Vec<Box<dyn Filter>> = vec![Box::new(Audit::new(recorder.clone()))];
    let endpoint = Scripted(Box::new(ApiResponse::default));
    {
        let mut guarded = Guarded::new(request("/api/v1/pods"), recorder);
        let mut run = Next::new(&filters, &endpoint)
            .run(&mut guarded.request)
            .boxed();
        assert!(futures::poll!(&mut run).is_pending());
    }
    let events = sink.events();
    assert_eq!(stages(&events), ["RequestReceived", "ResponseComplete"]);
    assert_eq!(
        events[1]["responseStatus"]["message"],
        "Connection closed early"
    );
}

#[tokio::test]
async fn strict_mode_refuses_what_it_cannot_record() {
    let sink = Arc::new(MemorySink::failing(crate::audit::sink::Loss::WriteFailed));
    let recorder = recorder(&sink);
    let filters: Vec<Box<dyn Filter>> = vec![Box::new(Audit::new(recorder.clone()))];
    let endpoint = Scripted(Box::new(ApiResponse::default));
    let response = Next::new(&filters, &endpoint)
        .run(&mut request("/api/v1/pods"))
        .await;
    assert_eq!(response.status, 500);
    assert_eq!(recorder.metrics().rejected.get(), 1);
}
