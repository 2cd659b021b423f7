//! Admission webhooks with a real HTTPS server behind them and kubectl in front.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::hook_server::{HookServer, Reply, allowed, patched};
use crate::kubectl::{ok, run};
use crate::server::{Server, Store, free_port};

/// How long something may take to be seen.
const PATIENCE: Duration = Duration::from_secs(20);
/// The stage trace of an audit event.
const TRACE: &str = "audit.verbatim.dev/stages";

/// A server with a full audit log and a namespace `tour` whose label webhooks select.
pub(crate) fn server() -> Server {
    let dir = tempfile::TempDir::new().expect("a temporary folder").keep();
    let policy = dir.join("policy.yaml");
    let rules = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: RequestResponse\n";
    std::fs::write(&policy, rules).expect("the policy to be written");
    let path = policy.display().to_string();
    let server = Server::start(Store::Embedded, &["--audit-policy-file", &path]);
    std::fs::remove_dir_all(dir).ok();
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "tour", "labels": {"hooked": "yes"}},
    });
    apply(&server, &namespace);
    server
}

pub(crate) fn apply(server: &Server, object: &Value) {
    ok(
        server.kubectl().args(["apply", "-f", "-"]),
        &object.to_string(),
    );
}

/// A webhook for config maps of the namespace `tour`.
fn hook(name: &str, client: &Value, more: &Value) -> Value {
    let mut hook = json!({
        "name": name,
        "clientConfig": client,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 10,
        "rules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "namespaceSelector": {"matchLabels": {"hooked": "yes"}},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        hook[key] = value.clone();
    }
    hook
}

fn configure(server: &Server, kind: &str, hooks: &[Value]) {
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": format!("{kind}WebhookConfiguration"),
        "metadata": {"name": "test"},
        "webhooks": hooks,
    });
    apply(server, &configuration);
}

pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "tour"}})
}

pub(crate) fn create(server: &Server, object: &Value) -> (bool, String, String) {
    let mut kubectl = server.kubectl();
    kubectl.args(["create", "-f", "-"]);
    run(&mut kubectl, &object.to_string())
}

/// Tries until the webhooks are in force: they reach the server a moment after kubectl is done.
pub(crate) fn create_until(
    server: &Server,
    object: &Value,
    wanted: impl Fn(bool, &str) -> bool,
) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut kubectl = server.kubectl();
        kubectl.args(["create", "--dry-run=server", "-f", "-"]);
        let (success, stdout, stderr) = run(&mut kubectl, &object.to_string());
        if wanted(success, &stderr) {
            return stderr;
        }
        assert!(Instant::now() < until, "{stdout}{stderr}");
        std::thread::yield_now();
    }
}

/// The last event of a write of a config map that fulfils something.
pub(crate) fn event(server: &Server, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    let log = server.data().join("audit/audit.log");
    loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let events = text
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str(line).ok());
        let found = events
            .filter(|e: &Value| e["objectRef"]["resource"] == "configmaps")
            .filter(|e| {
                e["objectRef"]["name"] == name || e["responseObject"]["metadata"]["name"] == name
            })
            .find(|e| wanted(e));
        if let Some(found) = found {
            return found;
        }
        assert!(
            Instant::now() < until,
            "no such event of {name} in {}:\n{text}",
            log.display()
        );
        std::thread::yield_now();
    }
}

/// Outcome and reason of a stage of an event.
pub(crate) fn stage(event: &Value, name: &str) -> (String, String) {
    let trace = event["annotations"][TRACE].as_str().unwrap_or_default();
    let trace: Value = serde_json::from_str(trace).unwrap_or_default();
    let stages = trace["stages"].as_array().cloned().unwrap_or_default();
    let found = stages.iter().rfind(|s| s[0] == name);
    let found = found.unwrap_or_else(|| panic!("{name} is no stage of {trace}"));
    let text = |at: usize| found[at].as_str().unwrap_or_default().to_string();
    (text(3), text(4))
}

pub(crate) fn metric(server: &Server, line: &str) -> bool {
    let metrics = ok(server.kubectl().args(["get", "--raw", "/metrics"]), "");
    metrics.lines().any(|l| l.starts_with(line))
}

#[test]
fn mutating_then_validating() {
    let hooks = HookServer::start(|path, review| match path {
        "/mutate" => {
            patched(&json!([{"op": "add", "path": "/metadata/labels", "value": {"added": "yes"}}]))
        }
        _ => Reply::Response(json!({
            "allowed": review["request"]["object"]["metadata"]["labels"]["added"] == "yes",
            "warnings": ["mind the gap"],
            "auditAnnotations": {"seen": "1"},
        })),
    });
    let server = server();
    let mutating = hook("mutate.hook.test", &hooks.at("/mutate"), &json!({}));
    configure(&server, "Mutating", &[mutating]);
    let validating = hook("validate.hook.test", &hooks.at("/validate"), &json!({}));
    configure(&server, "Validating", &[validating]);
    create_until(&server, &config_map("probe"), |_, stderr| {
        stderr.contains("mind the gap")
    });

    let (success, stdout, stderr) = create(&server, &config_map("a"));
    assert!(success, "{stdout}{stderr}");
    assert_eq!(stderr.trim(), "Warning: mind the gap");
    let labels = ok(
        server.kubectl().args([
            "-n",
            "tour",
            "get",
            "configmap",
            "a",
            "-o",
            "jsonpath={.metadata.labels}",
        ]),
        "",
    );
    assert_eq!(labels, r#"{"added":"yes"}"#);

    let request = hooks.requests("/validate").pop().expect("a call");
    assert_eq!(
        request["kind"],
        json!({"group": "", "version": "v1", "kind": "ConfigMap"})
    );
    assert_eq!(request["requestKind"], request["kind"]);
    assert_eq!(
        request["resource"],
        json!({"group": "", "version": "v1", "resource": "configmaps"})
    );
    assert_eq!(
        (&request["name"], &request["namespace"]),
        (&json!("a"), &json!("tour"))
    );
    assert_eq!(
        (&request["operation"], &request["dryRun"]),
        (&json!("CREATE"), &json!(false))
    );
    assert_eq!(request["userInfo"]["groups"][0], "system:masters");
    assert_eq!(request["options"]["kind"], "CreateOptions");
    assert_eq!(request["options"]["apiVersion"], "meta.k8s.io/v1");
    assert_eq!(request["oldObject"], Value::Null);
    assert!(
        request["object"]["metadata"]["uid"].is_string(),
        "{request}"
    );
    let request = hooks.requests("/mutate").pop().expect("a call");
    assert!(request["object"]["metadata"]["uid"].is_null(), "{request}");

    let event = event(&server, "a", |e| e["responseStatus"]["code"] == 201);
    let annotations = &event["annotations"];
    assert_eq!(annotations["validate.hook.test/seen"], "1");
    assert_eq!(
        annotations["mutation.webhook.admission.k8s.io/round_0_index_0"],
        r#"{"configuration":"test","webhook":"mutate.hook.test","mutated":true}"#
    );
    assert_eq!(
        annotations["patch.webhook.admission.k8s.io/round_0_index_0"],
        r#"{"configuration":"test","webhook":"mutate.hook.test","patch":[{"op":"add","path":"/metadata/labels","value":{"added":"yes"}}],"patchType":"JSONPatch"}"#
    );
    assert_eq!(
        stage(&event, "mutating-webhook/mutate.hook.test").0,
        "mutated"
    );
    assert_eq!(
        stage(&event, "validating-webhook/validate.hook.test").0,
        "ok"
    );
    assert!(metric(
        &server,
        r#"apiserver_admission_webhook_request_total{code="200",name="validate.hook.test",operation="CREATE",rejected="false",type="validating"}"#
    ));
    // Calls share a connection; the two kinds of webhook have one each.
    assert!(*hooks.connections.lock().expect("no panic") <= 4);
}

#[test]
fn denials_are_passed_on() {
    let hooks = HookServer::start(|path, _| {
        Reply::Response(match path {
            "/message" => {
                json!({"allowed": false, "status": {"message": "not on Fridays", "code": 429, "reason": "Odd"}})
            }
            "/reason" => json!({"allowed": false, "status": {"reason": "Friday"}}),
            _ => json!({"allowed": false}),
        })
    });
    let server = server();
    for (path, expected) in [
        (
            "/message",
            r#"admission webhook "deny.hook.test" denied the request: not on Fridays"#,
        ),
        (
            "/reason",
            r#"admission webhook "deny.hook.test" denied the request: Friday"#,
        ),
        (
            "/silent",
            r#"admission webhook "deny.hook.test" denied the request without explanation"#,
        ),
    ] {
        for kind in ["Validating", "Mutating"] {
            configure(
                &server,
                kind,
                &[hook("deny.hook.test", &hooks.at(path), &json!({}))],
            );
            create_until(&server, &config_map("denied"), |success, stderr| {
                !success && stderr.contains(expected)
            });
            let prefix = if kind == "Mutating" {
                "mutating"
            } else {
                "validating"
            };
            let event = event(&server, "denied", |e| {
                e["responseStatus"]["message"] == expected
            });
            let (outcome, reason) = stage(&event, &format!("{prefix}-webhook/deny.hook.test"));
            assert_eq!((outcome.as_str(), reason.as_str()), ("denied", expected));
            if path == "/message" {
                assert_eq!(event["responseStatus"]["code"], 429);
                assert_eq!(event["responseStatus"]["reason"], "Odd");
            }
            ok(
                server.kubectl().args([
                    "delete",
                    &format!("{}webhookconfigurations", prefix),
                    "test",
                ]),
                "",
            );
            create_until(&server, &config_map("denied"), |success, _| success);
        }
    }
}

/// What goes wrong on the way: text for the client, class in the record, open where it may be.
#[test]
fn failures_have_classes_users_36_37() {
    let hooks = HookServer::start(|path, _| match path {
        "/slow" => Reply::Late(Duration::from_secs(60)),
        "/uid" => Reply::Response(json!({"allowed": true, "uid": "other"})),
        "/absent" => Reply::Raw(
            200,
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#.into(),
        ),
        "/garbage" => Reply::Raw(200, "not json".into()),
        "/patch" => patched(&json!([])),
        "/500" => Reply::Raw(500, "oh no".into()),
        "/404" => Reply::Raw(404, String::new()),
        _ => allowed(),
    });
    let stranger = HookServer::start(|_, _| allowed());
    let closed = free_port();
    let (plain, plain_port) = plain_http();
    let mut wrong_ca = hooks.at("/");
    wrong_ca["caBundle"] = json!(stranger.ca());
    let nowhere = json!({"url": format!("https://127.0.0.1:{closed}/x")});
    let over_http =
        json!({"url": format!("https://127.0.0.1:{plain_port}/"), "caBundle": hooks.ca()});
    let no_service = json!({"service": {"namespace": "tour", "name": "none"}});
    let server = server();
    for (client, text, class) in [
        (nowhere, format!(r#"failed to call webhook: Post "https://127.0.0.1:{closed}/x?timeout=1s": dial tcp 127.0.0.1:{closed}: connect: connection refused"#), "connection-refused"),
        (hooks.at("/slow"), "/slow?timeout=1s\": context deadline exceeded".into(), "timeout"),
        (wrong_ca, "tls: failed to verify certificate: x509: certificate signed by unknown authority".into(), "tls"),
        (over_http, "http: server gave HTTP response to HTTPS client".into(), "tls"),
        (no_service, r#"Post "https://none.tour.svc:443/?timeout=1s": service "none" not found"#.into(), "resolve"),
        (hooks.at("/uid"), r#"received invalid webhook response: expected response.uid=""#.into(), "bad-answer"),
        (hooks.at("/absent"), "received invalid webhook response: webhook response was absent".into(), "bad-answer"),
        (hooks.at("/garbage"), "failed to call webhook: couldn't get version/kind; json parse error: invalid character 'o' in literal null (expecting 'u')".into(), "bad-answer"),
        (hooks.at("/patch"), "received invalid webhook response: validating webhook may not return response.patch".into(), "bad-answer"),
        (hooks.at("/500"), r#"failed to call webhook: an error on the server ("oh no") has prevented the request from succeeding"#.into(), "http-status"),
        (hooks.at("/404"), "failed to call webhook: the server could not find the requested resource".into(), "http-status"),
    ] {
        let name = "fails.hook.test";
        configure(&server, "Validating", &[hook(name, &client, &json!({"timeoutSeconds": 1}))]);
        let text = format!(r#"failed calling webhook "{name}": "#) .to_string() + &text;
        let tail = text.split_once(": ").map_or("", |(_, tail)| tail);
        create_until(&server, &config_map("fails"), |success, stderr| {
            !success && stderr.contains("Internal error occurred: failed calling webhook") && stderr.contains(tail)
        });
        let found = event(&server, "fails", |e| {
            e["responseStatus"]["message"].as_str().is_some_and(|m| m.contains(tail))
        });
        let (outcome, reason) = stage(&found, &format!("validating-webhook/{name}"));
        assert_eq!(outcome, "failed", "{reason}");
        assert!(reason.starts_with(&format!("{class}: ")), "{reason}");

        // The same webhook, failing open.
        let open = json!({"timeoutSeconds": 1, "failurePolicy": "Ignore"});
        configure(&server, "Validating", &[hook(name, &client, &open)]);
        create_until(&server, &config_map("open"), |success, _| success);
        let found = event(&server, "open", |e| {
            e["annotations"]["failed-open.validating.webhook.admission.k8s.io/round_0_index_0"] == name
        });
        let (outcome, reason) = stage(&found, &format!("validating-webhook/{name}"));
        assert_eq!(outcome, "failed-open", "{reason}");
        assert!(reason.starts_with(&format!("{class}: ")), "{reason}");
    }
    assert!(metric(
        &server,
        r#"apiserver_admission_webhook_fail_open_count{name="fails.hook.test",type="validating"}"#
    ));
    assert!(metric(
        &server,
        r#"apiserver_admission_webhook_rejection_count{error_type="calling_webhook_error",name="fails.hook.test",operation="CREATE",rejection_code="503",type="validating"}"#
    ));
    drop(plain);
}

/// A listener that speaks HTTP where TLS is expected.
fn plain_http() -> (std::net::TcpListener, u16) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let accepting = listener.try_clone().expect("the listener");
    std::thread::spawn(move || {
        for mut stream in accepting.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    (listener, port)
}

/// A request whose own time is over says which webhook ate it.
#[test]
fn a_timeout_names_the_webhook_users_36_37() {
    let hooks = HookServer::start(|path, _| match path {
        "/slow" => Reply::Late(Duration::from_secs(60)),
        _ => allowed(),
    });
    let server = server();
    let slow = hook(
        "slow.hook.test",
        &hooks.at("/slow"),
        &json!({"timeoutSeconds": 30}),
    );
    let quick = hook("quick.hook.test", &hooks.at("/quick"), &json!({}));
    configure(&server, "Validating", &[quick, slow]);
    let until = Instant::now() + PATIENCE;
    while hooks.requests("/slow").is_empty() {
        let mut kubectl = server.kubectl();
        kubectl.args([
            "create",
            "--request-timeout=1s",
            "--dry-run=server",
            "-f",
            "-",
        ]);
        run(&mut kubectl, &config_map("late").to_string());
        assert!(Instant::now() < until, "the webhook is never called");
    }
    let found = event(&server, "late", |e| e["responseStatus"]["code"] == 504);
    assert_eq!(
        stage(&found, "validating-webhook/slow.hook.test").0,
        "timeout"
    );
    assert_eq!(stage(&found, "validating-webhook/quick.hook.test").0, "ok");
}

#[test]
fn reinvocation_and_patches_that_do_not_apply() {
    let hooks = HookServer::start(|path, review| {
        let labels = &review["request"]["object"]["metadata"]["labels"];
        match path {
            "/first" if labels["second"] == "yes" => {
                patched(&json!([{"op": "add", "path": "/metadata/labels/again", "value": "yes"}]))
            }
            "/second" => {
                patched(&json!([{"op": "add", "path": "/metadata/labels/second", "value": "yes"}]))
            }
            "/bad" => patched(&json!([{"op": "remove", "path": "/metadata/nope"}])),
            _ => allowed(),
        }
    });
    let server = server();
    let first = hook(
        "first.hook.test",
        &hooks.at("/first"),
        &json!({"reinvocationPolicy": "IfNeeded"}),
    );
    let second = hook("second.hook.test", &hooks.at("/second"), &json!({}));
    configure(&server, "Mutating", &[first, second]);
    let mut object = config_map("twice");
    object["metadata"]["labels"] = json!({"own": "yes"});
    create_until(&server, &object, |success, _| {
        success && !hooks.requests("/second").is_empty()
    });
    let (success, _, stderr) = create(&server, &object);
    assert!(success, "{stderr}");
    let found = event(&server, "twice", |e| {
        e["objectRef"]["name"] == "twice"
            && e["requestURI"]
                .as_str()
                .is_some_and(|u| !u.contains("dryRun"))
    });
    let labels = &found["responseObject"]["metadata"]["labels"];
    assert_eq!(
        labels,
        &json!({"own": "yes", "second": "yes", "again": "yes"})
    );
    assert!(
        found["annotations"]["mutation.webhook.admission.k8s.io/round_1_index_0"].is_string(),
        "{found}"
    );
    assert!(
        found["annotations"]["mutation.webhook.admission.k8s.io/round_1_index_1"].is_null(),
        "{found}"
    );

    let open = json!({"failurePolicy": "Ignore"});
    configure(
        &server,
        "Mutating",
        &[hook("bad.hook.test", &hooks.at("/bad"), &open)],
    );
    let expected = "Internal error occurred: error in remove for path: '/metadata/nope': Unable to remove nonexistent key: nope: missing value";
    create_until(&server, &config_map("bad"), |success, stderr| {
        !success && stderr.contains(expected)
    });
}

#[test]
fn other_versions_conditions_and_services() {
    let hooks = HookServer::start(|_, _| allowed());
    let server = server();
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaler", "namespace": "tour"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    });
    let of_v1 = json!([{"operations": ["*"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["*"]}]);
    let conditions = |expression: &str| json!([{"name": "c", "expression": expression}]);
    let service = json!({"service": {"namespace": "tour", "name": "hook", "port": hooks.port(), "path": "/service"}, "caBundle": hooks.ca()});
    let allowed_to =
        "authorizer.group('').resource('secrets').namespace('tour').check('get').allowed()";
    apply(
        &server,
        &json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook", "namespace": "tour"},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }),
    );
    configure(
        &server,
        "Validating",
        &[
            hook(
                "equivalent.hook.test",
                &hooks.at("/equivalent"),
                &json!({"rules": of_v1}),
            ),
            hook(
                "exact.hook.test",
                &hooks.at("/exact"),
                &json!({"rules": of_v1, "matchPolicy": "Exact"}),
            ),
            hook(
                "yes.hook.test",
                &hooks.at("/yes"),
                &json!({"matchConditions": conditions(allowed_to)}),
            ),
            hook(
                "no.hook.test",
                &hooks.at("/no"),
                &json!({"matchConditions": conditions("request.userInfo.username == 'nobody'")}),
            ),
            hook(
                "object.hook.test",
                &hooks.at("/object"),
                &json!({"objectSelector": {"matchLabels": {"own": "yes"}}}),
            ),
            hook("service.hook.test", &service, &json!({})),
            hook(
                "old.hook.test",
                &hooks.at("/old"),
                &json!({"admissionReviewVersions": ["v2", "v1beta1"]}),
            ),
        ],
    );
    create_until(&server, &config_map("probe"), |_, _| {
        !hooks.requests("/old").is_empty()
    });
    create(&server, &scaler);
    let request = hooks.requests("/equivalent").pop().expect("a call");
    assert_eq!(request["kind"]["version"], "v1");
    assert_eq!(request["requestKind"]["version"], "v2");
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
    assert!(hooks.requests("/exact").is_empty());
    assert!(!hooks.requests("/yes").is_empty());
    assert!(hooks.requests("/no").is_empty());
    assert!(hooks.requests("/object").is_empty());
    assert!(!hooks.requests("/service").is_empty());
    let calls = hooks.calls.lock().expect("no panic");
    let (_, review) = calls
        .iter()
        .find(|(path, _)| path == "/old")
        .expect("a call");
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1beta1");
}

/// A webhook that refuses everything can be removed.
#[test]
fn configurations_are_never_sent_to_webhooks() {
    let hooks = HookServer::start(|_, _| Reply::Response(json!({"allowed": false})));
    let server = server();
    let everything = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    let all = json!({"rules": everything, "namespaceSelector": {}});
    configure(
        &server,
        "Validating",
        &[hook("all.hook.test", &hooks.at("/"), &all)],
    );
    create_until(&server, &config_map("x"), |success, _| !success);
    let (success, _, stderr) = run(
        server
            .kubectl()
            .args(["delete", "namespace", "tour", "--wait=false"]),
        "",
    );
    assert!(
        !success && stderr.contains("without explanation"),
        "{stderr}"
    );
    ok(
        server
            .kubectl()
            .args(["delete", "validatingwebhookconfigurations", "test"]),
        "",
    );
    create_until(&server, &config_map("x"), |success, _| success);
}
