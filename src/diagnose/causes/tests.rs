//! Causes by code and trace.

use serde_json::json;

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
