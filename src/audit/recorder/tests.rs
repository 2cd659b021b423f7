//! The recorder with sinks in memory.

use super::*;
use crate::audit::event::TRACE_ANNOTATION;
use crate::audit::policy_file;
use crate::audit::redact::{Action, DefaultSet, Rules};
use crate::audit::sink::Loss;
use crate::audit::sink::memory::MemorySink;
use crate::base::tree::{Value, from_value, json};
use crate::request::RequestInfo;

const ALL: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]";

fn recorder(sink: Arc<MemorySink>, strict: bool) -> Arc<Recorder> {
    let policy = policy_file::parse(ALL).expect("loads");
    Recorder::new(Some(policy), vec![Route { sink, strict }], Metrics::new())
}

fn context() -> RequestContext {
    let uri = http::Uri::from_static("/api/v1/namespaces/n/pods/p");
    let mut ctx = RequestContext::new(http::Method::GET, uri, http::HeaderMap::new(), None);
    ctx.info = RequestInfo::parse(&ctx.method, ctx.uri.path(), "").expect("a path");
    ctx
}

#[tokio::test]
async fn failed_authentication_is_one_event_with_its_reason() {
    // users.md threads 26 and 27: 401s say why, in the record only.
    let sink = Arc::new(MemorySink::default());
    let recorder = recorder(sink.clone(), false);
    let mut ctx = context();
    let began = ctx.stages.begin("authentication");
    ctx.stages
        .end("authentication", began, "refused", "token is expired");
    recorder.record_failed_authentication(&mut ctx).await;
    let events = sink.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["stage"], "ResponseStarted");
    assert_eq!(events[0]["user"], json!({}));
    assert_eq!(events[0]["responseStatus"]["message"], "Unauthorized");
    assert_eq!(events[0]["responseObject"]["code"], 401);
    let trace = events[0]["annotations"][TRACE_ANNOTATION].as_str();
    assert!(trace.expect("a trace").contains("token is expired"));
}

#[tokio::test]
async fn strict_sinks_refuse() {
    for (strict, expected) in [(true, Err(Refused)), (false, Ok(()))] {
        let sink = Arc::new(MemorySink::failing(Loss::WriteFailed));
        let recorder = recorder(sink, strict);
        let mut ctx = context();
        let recording = recorder.evaluate(&mut ctx);
        let receipts = recorder.emit(&ctx, &recording, Stage::RequestReceived, None);
        assert_eq!(receipts.settle().await, expected);
    }
}

#[test]
fn a_bad_timeout_is_one_event() {
    let sink = Arc::new(MemorySink::default());
    let recorder = recorder(sink.clone(), false);
    let mut ctx = context();
    recorder.record_refused_early(&mut ctx);
    assert!(sink.events().is_empty());
    ctx.audit.refused_early = Some(400);
    ctx.audit.response_status = Some(Status::bad_request("invalid timeout").to_json());
    recorder.record_refused_early(&mut ctx);
    let events = sink.events();
    assert_eq!(events[0]["stage"], "ResponseStarted");
    assert_eq!(events[0]["responseObject"]["message"], "invalid timeout");
}

#[test]
fn timeouts_name_the_stage_that_ate_the_time() {
    // users.md threads 36 and 37.
    let sink = Arc::new(MemorySink::default());
    let recorder = recorder(sink.clone(), false);
    let mut ctx = context();
    recorder.evaluate(&mut ctx);
    ctx.audit.open = true;
    ctx.deadline = Some(std::time::Instant::now());
    ctx.stages.begin("validating-webhook");
    recorder.record_abandoned(&mut ctx);
    recorder.record_abandoned(&mut ctx);
    let events = sink.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["responseStatus"]["code"], 504);
    let trace = events[0]["annotations"][TRACE_ANNOTATION].as_str();
    assert!(
        trace
            .expect("a trace")
            .contains(r#""running":["validating-webhook""#)
    );
}

const SECRET: &str = "/api/v1/namespaces/n/secrets/s";

fn secret_context() -> RequestContext {
    let mut ctx = context();
    ctx.method = http::Method::PUT;
    ctx.uri = http::Uri::from_static(SECRET);
    ctx.info = RequestInfo::parse(&ctx.method, SECRET, "").expect("a path");
    ctx
}

fn group(policy: &str, redactor: Option<Redactor>, sink: &Arc<MemorySink>, strict: bool) -> Group {
    let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{policy}]");
    Group {
        name: "group".into(),
        policy: Some(Arc::new(policy_file::parse(&text).expect("loads"))),
        redactor: redactor.map(Arc::new),
        routes: vec![Route {
            sink: sink.clone(),
            strict,
        }],
    }
}

fn redactor() -> Redactor {
    Redactor::new(
        Rules::of(&DefaultSet::ALL, Action::Hash),
        b"a key of the test's own",
    )
}

#[tokio::test]
async fn thread_05_groups_see_what_their_policies_and_redaction_say() {
    let sinks: Vec<Arc<MemorySink>> = (0..3).map(|_| Arc::default()).collect();
    let groups = vec![
        group("{level: Metadata}", None, &sinks[0], false),
        group(
            "{level: RequestResponse}",
            Some(redactor()),
            &sinks[1],
            false,
        ),
        group("{level: Request, users: [nobody]}", None, &sinks[2], false),
    ];
    let recorder = Recorder::with_groups(groups, Sampler::random(), Metrics::new());
    let mut ctx = secret_context();
    let recording = recorder.evaluate(&mut ctx);
    assert_eq!(recording.level(), AuditLevel::RequestResponse);
    assert_eq!(
        ctx.audit.level,
        AuditLevel::RequestResponse,
        "what is to be captured"
    );
    let body = br#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s"},"data":{"p":"aHVudGVyMg=="}}"#;
    ctx.audit.request_object = Some(bytes::Bytes::from_static(body));
    ctx.audit.response_object = ctx.audit.request_object.clone();
    let response = Response {
        code: 200,
        object: ResponseObject::Context,
        message: None,
    };
    let receipts = recorder.emit(&ctx, &recording, Stage::ResponseComplete, Some(response));
    receipts.settle().await.expect("kept");

    let metadata = &sinks[0].events()[0];
    assert_eq!(
        (&metadata["level"], &metadata["requestObject"]),
        (&"Metadata".into(), &Value::Null)
    );
    let full = &sinks[1].events()[0];
    assert_eq!(full["level"], "RequestResponse");
    // users.md thread 19; and the event stays one that typed readers take.
    for object in ["requestObject", "responseObject"] {
        let secret: k8s_openapi::api::core::v1::Secret =
            from_value(full[object].clone()).expect("a Secret");
        let value = secret.data.expect("data")["p"].clone();
        assert_ne!(value.0, b"hunter2");
        let text = full[object]["data"]["p"].as_str().expect("text");
        assert!(text.starts_with("redacted/hmacsha256/"), "{text}");
    }
    assert!(sinks[2].events().is_empty());
    assert_eq!(
        recorder.metrics().events.get(),
        1,
        "one event, however many sinks"
    );
}

#[tokio::test]
async fn only_strict_sinks_that_want_the_event_refuse() {
    for (policy, expected) in [
        ("{level: Metadata}", Err(Refused)),
        ("{level: None}", Ok(())),
    ] {
        let good = Arc::new(MemorySink::default());
        let bad = Arc::new(MemorySink::failing(Loss::WriteFailed));
        let groups = vec![
            group("{level: Metadata}", None, &good, false),
            group(policy, None, &bad, true),
        ];
        let recorder = Recorder::with_groups(groups, Sampler::random(), Metrics::new());
        let mut ctx = context();
        let recording = recorder.evaluate(&mut ctx);
        let receipts = recorder.emit(&ctx, &recording, Stage::RequestReceived, None);
        assert_eq!(receipts.settle().await, expected);
        assert_eq!(good.events().len(), 1);
    }
}

#[tokio::test]
async fn thread_01_requests_under_way_end_as_they_began() {
    let before = Arc::new(MemorySink::default());
    let after = Arc::new(MemorySink::default());
    let groups = vec![group("{level: Request}", None, &before, false)];
    let recorder = Recorder::with_groups(groups, Sampler::random(), Metrics::new());
    let mut ctx = context();
    let recording = recorder.evaluate(&mut ctx);
    let groups = vec![group("{level: Metadata}", None, &after, false)];
    recorder.set_groups(groups, Sampler::random());
    let response = Some(Response::default());
    let receipts = recorder.emit(&ctx, &recording, Stage::ResponseComplete, response);
    receipts.settle().await.expect("kept");
    assert_eq!(before.events()[0]["level"], "Request");
    assert!(after.events().is_empty());
    // One that is dropped later is recorded by what is in force then.
    ctx.audit.open = true;
    recorder.record_abandoned(&mut ctx);
    assert_eq!(after.events()[0]["level"], "Metadata");
}

#[test]
fn a_patch_that_says_a_name_twice_hides_nothing() {
    let sink = Arc::new(MemorySink::default());
    let groups = vec![group("{level: Request}", Some(redactor()), &sink, false)];
    let recorder = Recorder::with_groups(groups, Sampler::random(), Metrics::new());
    let mut ctx = secret_context();
    ctx.info.verb = "patch".into();
    let recording = recorder.evaluate(&mut ctx);
    let patch = br#"{"data":{"p":"aHVudGVyMg=="},"data":{}}"#;
    ctx.audit.request_object = Some(bytes::Bytes::from_static(patch));
    drop(recorder.emit(&ctx, &recording, Stage::ResponseComplete, None));
    let event = sink.events()[0].to_string();
    assert!(!event.contains("aHVudGVyMg"), "{event}");
}
