//! Causes by code and trace.

use crate::base::tree::json;

use super::*;
use crate::diagnose::cause::Certainty;

/// Status, trace, and what is expected: class, detail, certainty, part of the text.
type Case<'a> = (Value, Value, Class, &'a str, Certainty, &'a str);

fn check(cases: &[Case<'_>]) {
    for (status, trace, class, detail, certainty, text) in cases {
        let event = json!({
            "stage": "ResponseComplete",
            "verb": "create",
            "requestURI": "/x",
            "responseStatus": status,
            "objectRef": {"resource": "pods", "namespace": "n", "name": "p"},
        });
        let cause = cause(&event, &Trace::parse(trace));
        assert_eq!(
            (cause.class, cause.detail.as_str(), cause.certainty),
            (*class, *detail, *certainty),
            "{status} {trace}: {cause:?}"
        );
        assert!(cause.text.contains(text), "{cause:?} lacks {text:?}");
        let is_answered = matches!(class, Class::Unknown | Class::Success);
        assert!(
            is_answered || !cause.fix.is_empty(),
            "{cause:?} says not what to do"
        );
    }
}

#[test]
fn thread_27_refused_credentials() {
    use Certainty::{Certain, Unknown};
    let denied = |reason: &str| json!({"stages": [["authentication", 0, 1, "denied", reason]]});
    let code = || json!({"code": 401, "message": "Unauthorized"});
    check(&[
        (
            code(),
            denied("expired: service account token has expired"),
            Class::Unauthorized,
            "expired",
            Certain,
            "has expired",
        ),
        (
            code(),
            denied("certificate-unknown-authority: [a, b]"),
            Class::Unauthorized,
            "certificate-unknown-authority",
            Certain,
            "unknown authority",
        ),
        (
            code(),
            json!({}),
            Class::Unknown,
            "",
            Unknown,
            "does not say why",
        ),
    ]);
}

#[test]
fn thread_34_refusals() {
    use Certainty::{Certain, Unknown};
    let stage = |name: &str, outcome: &str, reason: &str| json!({"stages": [["authorization", 0, 1, "allow"], [name, 0, 1, outcome, reason]]});
    let status = |code: u64| json!({"code": code, "message": "no"});
    check(&[
        (
            status(403),
            stage("admission/PodSecurity", "denied", "x"),
            Class::AdmissionDenied,
            "PodSecurity",
            Certain,
            "PodSecurity",
        ),
        (
            status(422),
            stage("admission/ValidatingAdmissionPolicy", "denied", "x"),
            Class::PolicyDenied,
            "ValidatingAdmissionPolicy",
            Certain,
            "policy",
        ),
        (
            status(403),
            stage("admission/RoleEscalation", "denied", "x"),
            Class::EscalationRefused,
            "RoleEscalation",
            Certain,
            "more than its author has",
        ),
        (
            status(400),
            json!({"stages": [
                ["validating-webhook/w.example", 0, 1, "denied", "no"],
                ["admission/ValidatingAdmissionWebhook", 0, 2, "denied", "no"],
            ]}),
            Class::WebhookDenied,
            "w.example",
            Certain,
            "w.example refused it",
        ),
        (
            status(403),
            stage("impersonation", "forbid", "as carol: no"),
            Class::ImpersonationRefused,
            "carol",
            Certain,
            "may not act as carol",
        ),
        (
            status(403),
            json!({"stages": []}),
            Class::Unknown,
            "",
            Unknown,
            "unknown",
        ),
    ]);
}

#[test]
fn thread_34_refusals_by_authorizers_that_cannot_be_looked_into() {
    for (asked, detail, text) in [
        (
            json!(["authorizer/Webhook/w", 0, 1, "denied", "not on Fridays"]),
            "Webhook w",
            "Webhook w denied it: not on Fridays",
        ),
        (
            json!(["authorizer/ABAC", 0, 1, "no-opinion", "No policy matched."]),
            "",
            "no authorizer allowed it (had nothing to say: ABAC)",
        ),
    ] {
        let event = json!({
            "stage": "ResponseComplete", "verb": "get", "requestURI": "/x",
            "responseStatus": {"code": 403, "message": "no"},
            "annotations": {"authorization.k8s.io/decision": "forbid"},
        });
        let trace = json!({"stages": [asked, ["authorization", 0, 2, "forbid", "x"]]});
        let cause = cause(&event, &Trace::parse(&trace));
        assert_eq!(cause.class, Class::Forbidden);
        assert_eq!(cause.detail, detail);
        assert_eq!(cause.text, text);
        assert!(!cause.fix.is_empty());
    }
}

#[test]
fn client_errors() {
    use Certainty::Certain;
    check(&[
        (
            json!({"code": 404, "message": "pods \"p\" not found", "details": {"name": "p", "kind": "pods"}}),
            json!({}),
            Class::NotFound,
            "pods",
            Certain,
            "no such object",
        ),
        (
            json!({"code": 404, "message": "namespaces \"n\" not found", "details": {"name": "n", "kind": "namespaces"}}),
            json!({}),
            Class::NotFound,
            "namespaces",
            Certain,
            "refers to",
        ),
        (
            json!({"code": 404, "details": {}}),
            json!({}),
            Class::UnknownResource,
            "",
            Certain,
            "/x",
        ),
        (
            json!({"code": 409, "reason": "AlreadyExists"}),
            json!({}),
            Class::AlreadyExists,
            "",
            Certain,
            "exists",
        ),
        (
            json!({"code": 409, "reason": "Conflict", "message": "…: the object has been modified; please …"}),
            json!({}),
            Class::Conflict,
            "",
            Certain,
            "somebody else",
        ),
        (
            json!({"code": 409, "reason": "Conflict", "details": {"causes": [{"reason": "FieldManagerConflict"}]}}),
            json!({}),
            Class::ApplyConflict,
            "",
            Certain,
            "field manager",
        ),
        (
            json!({"code": 410}),
            json!({"because": "store/compacted"}),
            Class::Gone,
            "store/compacted",
            Certain,
            "older than",
        ),
        (
            json!({"code": 413}),
            json!({"because": "too-large: 4000000 bytes, at most 3145728 are read"}),
            Class::TooLarge,
            "",
            Certain,
            "4000000 bytes",
        ),
        (
            json!({"code": 415}),
            json!({"because": "media-type: \"text/plain\" was sent"}),
            Class::MediaType,
            "content-type",
            Certain,
            "text/plain",
        ),
        (
            json!({"code": 422, "message": "m", "details": {"causes": [{"field": "spec.x"}]}}),
            json!({}),
            Class::Invalid,
            "spec.x",
            Certain,
            "invalid",
        ),
        (
            json!({"code": 429}),
            json!({"stages": [["flow-control", 0, 1, "rejected", "concurrency-limit: readOnly requests in flight: 3 of at most 2"]]}),
            Class::Throttled,
            "readOnly",
            Certain,
            "3 of at most 2",
        ),
    ]);
}

#[test]
fn store_failures() {
    use Certainty::{Certain, Likely, Unknown};
    let because = |text: &str| json!({"because": text, "stages": []});
    for (failure, class) in [
        ("unreachable", Class::StoreUnreachable),
        ("no-leader", Class::StoreNoLeader),
        ("timeout", Class::StoreTimeout),
        ("overloaded", Class::StoreOverloaded),
        ("no-space", Class::StoreNoSpace),
        ("too-large", Class::StoreTooLarge),
        ("permission-denied", Class::StorePermissionDenied),
        ("corrupt", Class::StoreCorrupt),
    ] {
        let trace = because(&format!("store/{failure}: details"));
        check(&[(
            json!({"code": 500}),
            trace,
            class,
            failure,
            Certain,
            "details",
        )]);
    }
    check(&[
        (
            json!({"code": 500, "message": "etcdserver: no leader"}),
            json!({}),
            Class::Unknown,
            "",
            Unknown,
            "unknown",
        ),
        (
            json!({"code": 500}),
            json!({"stages": [["decode", 0, 1, "error", "r"]]}),
            Class::Internal,
            "decode",
            Likely,
            "decode failed",
        ),
        (
            json!({"code": 500}),
            json!({"stages": [["authorization", 0, 1, "error", "webhook"]]}),
            Class::AuthorizerFailed,
            "",
            Certain,
            "webhook",
        ),
        (
            json!({"code": 500}),
            json!({"stages": [
                ["mutating-webhook/w", 0, 5000, "error", "connection refused"],
                ["admission/MutatingAdmissionWebhook", 0, 6000, "error", "…"],
            ]}),
            Class::WebhookFailed,
            "w",
            Certain,
            "connection refused",
        ),
    ]);
}

#[test]
fn thread_36_timeouts_name_the_stage() {
    use Certainty::{Certain, Likely, Unknown};
    check(&[
        (
            json!({"code": 504}),
            json!({"running": ["validating-webhook/w", 9_000_000, "validating-webhook/v", 9_000_000, "admission/V", 9_000_001]}),
            Class::WebhookTimeout,
            "w",
            Certain,
            "for 9000 ms by then; so were validating-webhook/v",
        ),
        (
            json!({"code": 504}),
            json!({"running": ["store/create", 2_000_000]}),
            Class::StoreTimeout,
            "store/create",
            Certain,
            "2000 ms",
        ),
        (
            json!({"code": 504}),
            json!({"stages": [["store/get", 0, 5_000_000, "ok"]]}),
            Class::StoreTimeout,
            "store/get",
            Likely,
            "5000 ms",
        ),
        (
            json!({"code": 504}),
            json!({}),
            Class::Unknown,
            "",
            Unknown,
            "unknown",
        ),
        (
            json!({"code": 504, "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}}),
            json!({}),
            Class::FutureVersion,
            "",
            Certain,
            "has not seen",
        ),
        (
            json!({"code": 200}),
            json!({"us": 900_000, "stages": [["store/get", 0, 800_000, "ok"], ["response-write", 0, 90_000, "ok", "9 bytes"]]}),
            Class::Slow,
            "store/get",
            Likely,
            "Writing the answer (9 bytes) took 90 ms of 900 ms",
        ),
        (
            json!({"code": 200}),
            json!({}),
            Class::Success,
            "",
            Certain,
            "succeeded",
        ),
    ]);
}

/// An event of another API server: no stages.
fn foreign(status: &Value, decision: Option<&str>) -> Value {
    let mut event = json!({
        "stage": "ResponseComplete", "verb": "create", "requestURI": "/x",
        "user": {"username": "u"}, "responseStatus": status,
        "objectRef": {"resource": "pods", "namespace": "n", "name": "p"},
    });
    if let Some(decision) = decision {
        event["annotations"] = json!({"authorization.k8s.io/decision": decision});
    }
    event
}

#[test]
fn thread_32_what_another_api_server_wrote_is_told_by_its_words_and_never_for_certain() {
    use Certainty::{Certain, Likely, Unknown};
    const ALLOW: Option<&str> = Some("allow");
    for (code, message, decision, class, detail, certainty) in [
        (
            403,
            "pods \"p\" is forbidden: exceeded quota: q, requested: pods=1",
            ALLOW,
            Class::QuotaExceeded,
            "ResourceQuota",
            Likely,
        ),
        (
            403,
            "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": hostPort",
            ALLOW,
            Class::AdmissionDenied,
            "PodSecurity",
            Likely,
        ),
        (
            403,
            "pods \"p\" is forbidden: [maximum cpu usage per Pod is 1, but limit is 2]",
            ALLOW,
            Class::AdmissionDenied,
            "LimitRanger",
            Likely,
        ),
        (
            403,
            "pods \"p\" is forbidden: unable to create new content in namespace n because it is being terminated",
            ALLOW,
            Class::NamespaceGone,
            "NamespaceLifecycle",
            Likely,
        ),
        (
            413,
            "configmaps \"c\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            ALLOW,
            Class::PolicyDenied,
            "ValidatingAdmissionPolicy",
            Likely,
        ),
        (
            403,
            "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"u\" (groups=[\"g\"]) is attempting to grant RBAC permissions not currently held:\n{}",
            ALLOW,
            Class::EscalationRefused,
            "RoleEscalation",
            Likely,
        ),
        (
            422,
            "admission webhook \"w.example\" denied the request: exceeded quota: mine",
            ALLOW,
            Class::WebhookDenied,
            "w.example",
            Likely,
        ),
        (
            500,
            "Internal error occurred: failed calling webhook \"w.example\": failed to call webhook: Post \"https://x\": context deadline exceeded",
            ALLOW,
            Class::WebhookTimeout,
            "w.example",
            Likely,
        ),
        (
            500,
            "Internal error occurred: failed calling webhook \"w.example\": failed to call webhook: Post \"https://x\": dial tcp: connect: connection refused",
            ALLOW,
            Class::WebhookFailed,
            "w.example",
            Likely,
        ),
        (
            500,
            "etcdserver: mvcc: database space exceeded",
            ALLOW,
            Class::StoreNoSpace,
            "no-space",
            Likely,
        ),
        (
            500,
            "etcdserver: request timed out",
            ALLOW,
            Class::StoreTimeout,
            "timeout",
            Likely,
        ),
        (
            429,
            "storage is (re)initializing",
            ALLOW,
            Class::Initializing,
            "",
            Likely,
        ),
        (
            429,
            "Too many requests, please try again later.",
            None,
            Class::Throttled,
            "",
            Likely,
        ),
        (
            403,
            "pods is forbidden: User \"carol\" cannot impersonate-on:user-info:list resource \"pods\"",
            None,
            Class::ImpersonationRefused,
            "",
            Likely,
        ),
        (
            403,
            "pods \"p\" is forbidden: something new",
            ALLOW,
            Class::Unknown,
            "",
            Unknown,
        ),
        (500, "something new", ALLOW, Class::Unknown, "", Unknown),
        (
            504,
            "Timeout: request did not complete within the requested timeout",
            ALLOW,
            Class::Unknown,
            "",
            Unknown,
        ),
        (401, "Unauthorized", None, Class::Unknown, "", Unknown),
        // What authorization refused nothing else has seen, whatever the names hold.
        (
            403,
            "pods \"p\" is forbidden: User \"exceeded quota: \" cannot get resource \"pods\"",
            Some("forbid"),
            Class::Forbidden,
            "",
            Certain,
        ),
    ] {
        let event = foreign(&json!({"code": code, "message": message}), decision);
        let cause = cause(&event, &Trace::of(&event));
        assert_eq!(
            (cause.class, cause.detail.as_str(), cause.certainty),
            (class, detail, certainty),
            "{message}: {cause:?}"
        );
    }
}

#[test]
fn thread_36_a_slow_request_of_another_api_server_says_what_took_the_time() {
    let mut event = foreign(&json!({"code": 504, "message": "Timeout: "}), Some("allow"));
    event["annotations"]["apiserver.latency.k8s.io/total"] = json!("10.2s");
    event["annotations"]["apiserver.latency.k8s.io/etcd"] = json!("12.5ms");
    event["annotations"]["apiserver.latency.k8s.io/validating-webhook"] = json!("10.0012s");
    let found = cause(&event, &Trace::of(&event));
    assert_eq!(
        (found.class, found.certainty),
        (Class::WebhookTimeout, Certainty::Likely),
        "{found:?}"
    );
    assert!(found.text.contains("10001 ms"), "{found:?}");
}

/// Every refusal that kube-apiserver was recorded to answer with, as an event of another server.
#[test]
fn no_recorded_refusal_is_told_wrong_for_certain() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recorded");
    let mut statuses = Vec::new();
    for file in std::fs::read_dir(folder).expect("recordings").flatten() {
        let text = std::fs::read_to_string(file.path()).expect("a recording");
        gather(&serde_json::from_str(&text).expect("JSON"), &mut statuses);
    }
    assert!(statuses.len() > 1000, "{}", statuses.len());
    for status in &statuses {
        let message = status["message"].as_str().unwrap_or_default();
        let is_by_authorizer = status["code"] == 403
            && message.contains("\" cannot ")
            && !message.contains("impersonate");
        let decision = if is_by_authorizer { "forbid" } else { "allow" };
        let event = foreign(status, Some(decision));
        let cause = cause(&event, &Trace::of(&event));
        if cause.certainty != Certainty::Certain {
            continue;
        }
        let is_right = match status["code"].as_u64() {
            Some(400) => cause.class == Class::BadRequest,
            Some(403) => is_by_authorizer && cause.class == Class::Forbidden,
            Some(404) => matches!(cause.class, Class::NotFound | Class::UnknownResource),
            Some(405) => cause.class == Class::MethodNotAllowed,
            Some(406 | 415) => cause.class == Class::MediaType,
            Some(409) => match status["reason"].as_str() {
                Some("AlreadyExists") => cause.class == Class::AlreadyExists,
                _ if message.starts_with("Apply failed") => cause.class == Class::ApplyConflict,
                _ if message.contains("has been modified") => cause.class == Class::Conflict,
                _ => cause.class == Class::PreconditionFailed,
            },
            Some(410) => cause.class == Class::Gone,
            Some(413) => cause.class == Class::TooLarge,
            Some(422) => cause.class == Class::Invalid,
            Some(429) => cause.class == Class::DisruptionBudget,
            Some(504) => cause.class == Class::FutureVersion,
            _ => false,
        };
        assert!(is_right, "{status}: {cause:?}");
    }
}

/// Failures anywhere in a recording.
fn gather(tree: &Value, found: &mut Vec<Value>) {
    match tree {
        Value::Object(members) => {
            let is_failure = tree["kind"] == "Status" && tree["code"].as_u64() >= Some(400);
            if is_failure {
                found.push(tree.clone());
            }
            members.values().for_each(|v| gather(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| gather(v, found)),
        _ => {}
    }
}
