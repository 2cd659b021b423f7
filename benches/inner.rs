//! Criterion benchmarks of the inner loops: what one request spends its time in, without HTTP.
//!
//! `cargo bench --bench inner`, or one of them with its name behind `--`.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, Method, Uri};
use verbatim::api::bytes::{Shape, stored};
use verbatim::api::field::FieldErrors;
use verbatim::api::managed_fields::{self, Filter, Type, Versions, Writer};
use verbatim::api::names::GroupVersionKind;
use verbatim::api::patch::{Patch, PatchType};
use verbatim::api::resource::Resource;
use verbatim::api::schema::{self, Format, Schema};
use verbatim::audit::{Decision, Head, Response, ResponseObject, Stage};
use verbatim::authorization::rbac::Rbac;
use verbatim::base::tree::{Value, json};
use verbatim::endpoints::handlers::list;
use verbatim::registry::Target;
use verbatim::registry::table;
use verbatim::request::{Attributes, AuditLevel, RequestContext, RequestInfo, UserInfo};
use verbatim::search::document;
use verbatim::search::fields::Fields;
use verbatim::storage::cacher::{CachedObject, EventType};

#[path = "load/objects.rs"]
#[expect(dead_code, reason = "shared with the other benchmark")]
mod objects;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PREFIX: &str = "/registry/pods/";

fn row() -> Arc<Resource> {
    let mut rows = table::builtin().iter();
    let pods = rows.find(|row| &*row.plural == "pods" && row.group.is_empty());
    pods.expect("pods are served").clone()
}

fn pod_schema() -> &'static Schema {
    let gvk = GroupVersionKind::new("", "v1", "Pod");
    schema::builtin(&gvk).expect("pods are known")
}

/// As a body, and as the registry has it before admission.
fn body() -> Bytes {
    Bytes::from(objects::pod("app-6d4cf56db6-00001", 300))
}

fn decoded() -> Value {
    let decoded = schema::decode(&body(), Format::Json, Some(pod_schema()));
    let mut pod = decoded.expect("a good pod").value;
    schema::normalise(&mut pod, pod_schema());
    pod["metadata"]["namespace"] = json!("bench");
    pod["metadata"]["uid"] = json!("5b4f6d2a-3f0e-4a43-8f55-1f8c2f0d8f10");
    pod["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    pod
}

fn target() -> Target {
    Target::new(row(), "bench", "app-6d4cf56db6-00001")
}

fn defaulted() -> Value {
    let mut pod = decoded();
    target().default(&mut pod);
    pod
}

fn cached(number: u64) -> CachedObject {
    let key = format!("{PREFIX}bench/app-6d4cf56db6-{number:05}");
    let shape = Arc::new(Shape::new(&row().selectable_fields));
    let bytes = stored(&defaulted(), "Pod", "v1");
    let event = EventType::Modified;
    CachedObject::from_json(&key, PREFIX.len(), &shape, &bytes, 1000 + number, event)
        .expect("our own text")
}

fn authorization(c: &mut Criterion) {
    let rbac = Rbac::new();
    for number in 0..100 {
        let verbs = if number == 99 { "get" } else { "list" };
        rbac.put_object(
            &json!({"kind": "ClusterRole", "metadata": {"name": format!("r{number}")},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verbs]}]}),
        );
        rbac.put_object(
            &json!({"kind": "ClusterRoleBinding", "metadata": {"name": format!("b{number}")},
            "roleRef": {"kind": "ClusterRole", "name": format!("r{number}")},
            "subjects": [{"kind": "Group", "name": format!("g{}", number / 10)}]}),
        );
    }
    let user = UserInfo {
        username: "bench".into(),
        groups: vec!["g9".into(), "system:authenticated".into()],
        ..UserInfo::default()
    };
    let asked = Attributes::resource(&user, "get", "", "pods", "bench", "p");
    c.bench_function("authorization/decide", |b| {
        b.iter(|| rbac.decide(black_box(&asked)))
    });
}

fn context() -> RequestContext {
    let uri = Uri::from_static("/api/v1/namespaces/bench/pods/app-6d4cf56db6-00001");
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", http::HeaderValue::from_static("bench/1"));
    let peer = Some(([127, 0, 0, 1], 4711).into());
    let mut ctx = RequestContext::new(Method::GET, uri, headers, peer);
    ctx.info = RequestInfo::parse(&Method::GET, ctx.uri.path(), "").expect("a path");
    ctx.audit_id = "5b4f6d2a-3f0e-4a43-8f55-1f8c2f0d8f10".into();
    ctx.user = Some(Arc::new(UserInfo {
        username: "bench".into(),
        groups: vec!["benchers".into(), "system:authenticated".into()],
        ..UserInfo::default()
    }));
    ctx.audit.annotate("authorization.k8s.io/decision", "allow");
    let reason = "RBAC: allowed by ClusterRoleBinding \"bench\" of ClusterRole \"bench\" to Group \"benchers\"";
    ctx.audit.annotate("authorization.k8s.io/reason", reason);
    for stage in [
        "authentication",
        "flow-control",
        "authorization",
        "cache/get",
    ] {
        let began = ctx.stages.begin("stage");
        ctx.stages.end(stage, began, "ok", "");
    }
    ctx
}

fn events(c: &mut Criterion) {
    let ctx = context();
    let decision = Decision {
        level: AuditLevel::Metadata,
        ..Decision::default()
    };
    let response = Response {
        code: 200,
        object: ResponseObject::None,
        message: None,
    };
    c.bench_function("audit/event", |b| {
        b.iter(|| {
            let head = Head::render(black_box(&ctx), AuditLevel::Metadata, None);
            head.event(
                &ctx,
                &decision,
                None,
                Stage::ResponseComplete,
                Some(response),
            )
        })
    });
    // As many stages as a write has, most of them plugins of admission.
    let mut write = context();
    for _ in 0..28 {
        let began = write.stages.begin("stage");
        write
            .stages
            .end("admission/StorageObjectInUseProtection", began, "ok", "");
    }
    let head = Head::render(&write, AuditLevel::Metadata, None);
    let stage = Stage::ResponseComplete;
    let event = head.event(&write, &decision, None, stage, Some(response));
    let fields = Fields::new();
    c.bench_function("index/prepare", |b| {
        b.iter(|| document::prepare(&fields, black_box(event.line())).expect("an event"))
    });
    c.bench_function("request/parse", |b| {
        b.iter(|| RequestInfo::parse(&Method::GET, black_box(ctx.uri.path()), ""))
    });
}

fn reads(c: &mut Criterion) {
    let items: Vec<Arc<CachedObject>> = (0..1000).map(|n| Arc::new(cached(n))).collect();
    let metadata = json!({"resourceVersion": "2000"});
    let row = row();
    let mut group = c.benchmark_group("reads");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("list/splice", |b| {
        b.iter(|| list::splice(&row, black_box(&items), &metadata))
    });
    group.finish();
    let shape = Arc::new(Shape::new(&row.selectable_fields));
    let bytes = stored(&defaulted(), "Pod", "v1");
    let key = format!("{PREFIX}bench/app-6d4cf56db6-00001");
    c.bench_function("watch/frame", |b| {
        b.iter(|| {
            let event = EventType::Modified;
            CachedObject::from_json(&key, PREFIX.len(), &shape, black_box(&bytes), 2000, event)
        })
    });
}

struct OneVersion;

impl Versions for OneVersion {
    fn type_of(&self, _: &str) -> Option<Type<'_>> {
        Some(Type::Known(pod_schema()))
    }

    fn convert<'a>(&self, object: &'a Value, _: &str) -> Option<std::borrow::Cow<'a, Value>> {
        Some(std::borrow::Cow::Borrowed(object))
    }
}

fn writes(c: &mut Criterion) {
    let bytes = body();
    c.bench_function("pod/decode", |b| {
        b.iter(|| {
            let decoded = schema::decode(black_box(&bytes), Format::Json, Some(pod_schema()));
            let mut pod = decoded.expect("a good pod").value;
            schema::normalise(&mut pod, pod_schema());
            pod
        })
    });
    let (target, bare, pod) = (target(), decoded(), defaulted());
    c.bench_function("pod/clone", |b| b.iter(|| black_box(&bare).clone()));
    c.bench_function("pod/clone and default", |b| {
        b.iter(|| {
            let mut pod = black_box(&bare).clone();
            target.default(&mut pod);
            pod
        })
    });
    let strategy = target.strategy();
    let write = target.write_context(None);
    c.bench_function("pod/validate", |b| {
        b.iter(|| {
            let mut errors = FieldErrors::default();
            strategy.validate(black_box(&pod), None, &write, &mut errors);
            errors
        })
    });
    c.bench_function("pod/store", |b| {
        b.iter(|| stored(black_box(&pod), "Pod", "v1"))
    });
    let zero = verbatim::registry::managed_fields::zero(&target.resource);
    let writer = Writer {
        manager: "bench",
        api_version: "v1",
        subresource: "",
        filter: &Filter::All,
        now: "2026-01-01T00:00:00Z",
        zero: &zero,
        versions: &OneVersion,
    };
    let mut owned = pod.clone();
    managed_fields::track(&zero, false, &mut owned, &writer);
    c.bench_function("managedFields/create", |b| {
        b.iter(|| {
            let mut new = black_box(&pod).clone();
            managed_fields::track(&zero, false, &mut new, &writer);
            new
        })
    });
    let patch = br#"{"metadata":{"annotations":{"bench.example.com/counter":"1"}}}"#;
    let parsed = Patch::parse(PatchType::Merge, patch).expect("a patch");
    let changed = parsed.apply(&owned, None).expect("it applies");
    c.bench_function("managedFields/update", |b| {
        b.iter(|| {
            let mut new = black_box(&changed).clone();
            managed_fields::track(&owned, true, &mut new, &writer);
            new
        })
    });
    c.bench_function("patch/merge", |b| {
        b.iter(|| {
            let parsed = Patch::parse(PatchType::Merge, black_box(patch)).expect("a patch");
            parsed.apply(&owned, None)
        })
    });
}

criterion_group!(benches, authorization, events, reads, writes);
criterion_main!(benches);
