//! Redaction of every shape in which a value can come.

use http::Method;

use super::*;
use crate::base::tree::json;

fn redactor() -> Redactor {
    Redactor::new(
        Rules::of(&DefaultSet::ALL, Action::Hash),
        b"a key of the test's own",
    )
}

fn info(method: Method, uri: &str) -> RequestInfo {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    RequestInfo::parse(&method, path, query).expect("a path")
}

fn body(uri: &str, mut tree: Value) -> Value {
    let info = info(Method::PATCH, uri);
    let text = tree.to_string();
    let redactor = redactor();
    let replaced = redactor.body(&info, &mut tree);
    assert!(
        replaced == 0 || redactor.concerns(&info, text.as_bytes(), Writer::Server),
        "{text}"
    );
    tree
}

fn hash(text: &str) -> String {
    redactor().replacement(text.as_bytes(), Action::Hash)
}

const SECRET: &str = "/api/v1/namespaces/n/secrets/s";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[test]
fn thread_19_secrets_in_every_shape_of_body() {
    let hunter2 = STANDARD.encode("hunter2");
    let h = hash("hunter2");
    let cases = [
        (
            json!({"data": {"p": hunter2}, "type": "Opaque"}),
            json!({"data": {"p": h}, "type": "Opaque"}),
        ),
        (
            json!({"stringData": {"p": "hunter2"}}),
            json!({"stringData": {"p": h}}),
        ),
        (
            json!({"kind": "SecretList", "items": [{"data": {"p": hunter2}}]}),
            json!({"kind": "SecretList", "items": [{"data": {"p": h}}]}),
        ),
        (
            json!({"kind": "Table", "rows": [{"cells": ["s"], "object": {"data": {"p": hunter2}}}]}),
            json!({"kind": "Table", "rows": [{"cells": ["s"], "object": {"data": {"p": h}}}]}),
        ),
        (
            json!([{"op": "add", "path": "/data/p", "value": hunter2}, {"op": "remove", "path": "/data/q"}]),
            json!([{"op": "add", "path": "/data/p", "value": h}, {"op": "remove", "path": "/data/q"}]),
        ),
        (
            json!([{"op": "add", "path": "/data", "value": {"p": hunter2}}]),
            json!([{"op": "add", "path": "/data", "value": {"p": h}}]),
        ),
        (
            json!([{"op": "replace", "path": "", "value": {"stringData": {"p": "hunter2"}}}]),
            json!([{"op": "replace", "path": "", "value": {"stringData": {"p": h}}}]),
        ),
        (
            json!({"data": {"$patch": "replace", "p": hunter2, "q": null}}),
            json!({"data": {"$patch": "replace", "p": h, "q": null}}),
        ),
    ];
    for (before, after) in cases {
        assert_eq!(body(SECRET, before), after);
    }
    let other = json!({"data": {"p": "plain"}});
    assert_eq!(
        body("/api/v1/namespaces/n/configmaps/c", other.clone()),
        other
    );
}

#[test]
fn thread_19_last_applied_annotations_of_every_resource() {
    let h = hash("{\"data\":1}");
    let deployment = "/apis/apps/v1/namespaces/n/deployments/d";
    let annotated =
        |value: &str| json!({"metadata": {"annotations": {LAST_APPLIED: value, "a": "b"}}});
    assert_eq!(body(deployment, annotated("{\"data\":1}")), annotated(&h));
    for (path, value, expected) in [
        (
            "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
            json!("{\"data\":1}"),
            json!(h),
        ),
        (
            "/metadata/annotations",
            json!({LAST_APPLIED: "{\"data\":1}"}),
            json!({LAST_APPLIED: h}),
        ),
        (
            "/metadata",
            json!({"annotations": {LAST_APPLIED: "{\"data\":1}"}}),
            json!({"annotations": {LAST_APPLIED: h}}),
        ),
    ] {
        let before = json!([{"op": "add", "path": path, "value": value}]);
        let after = json!([{"op": "add", "path": path, "value": expected}]);
        assert_eq!(body(deployment, before), after);
    }
}

#[test]
fn thread_19_escapes_do_not_hide_a_value() {
    let info = info(Method::PATCH, "/apis/apps/v1/namespaces/n/deployments/d");
    let text = br#"{"metadata":{"annotations":{"kubectl.kubernetes.io\/l\u0061st-applied-configuration":"x"}}}"#;
    let redactor = redactor();
    assert!(redactor.concerns(&info, text, Writer::Client));
    let mut tree: Value = serde_json::from_slice(text).expect("JSON");
    assert_eq!(redactor.body(&info, &mut tree), 1);
    assert!(!redactor.concerns(&info, br#"{"metadata":{"name":"d"}}"#, Writer::Client));
}

#[test]
fn thread_19_tokens_of_requests_and_reviews() {
    let request = json!({"spec": {"audiences": ["a"]}, "status": {"token": "eyJ.a.b"}});
    let shown = body("/api/v1/namespaces/n/serviceaccounts/s/token", request);
    assert_eq!(shown["status"]["token"], hash("eyJ.a.b"));
    let review = json!({"spec": {"token": "eyJ.a.b"}});
    let shown = body("/apis/authentication.k8s.io/v1/tokenreviews", review);
    assert_eq!(
        shown["spec"]["token"],
        hash("eyJ.a.b"),
        "the same value has the same hash"
    );
}

#[test]
fn thread_20_exec_arguments_and_tokens_in_urls() {
    let exec = "/api/v1/namespaces/n/pods/p/exec?command=mysql&command=-phunter2%21&container=c&stdin=true";
    let shown = redactor().uri(&info(Method::GET, exec), exec).into_owned();
    let expected = format!(
        "/api/v1/namespaces/n/pods/p/exec?command={}&command={}&container=c&stdin=true",
        hash("mysql"),
        hash("-phunter2!")
    );
    assert_eq!(shown, expected);
    for (uri, hidden) in [
        ("/api/v1/nodes/n:10250/proxy/run/ns/p/c?cmd=ls", true),
        ("/api/v1/pods?access_token=abc", true),
        ("/api/v1/pods?x=eyJhbGciOiJ.eyJpc3MiOi.c2ln", true),
        ("/api/v1/pods?x=abcdef.0123456789abcdef", true),
        ("/api/v1/pods?x=Bearer+abc", true),
        ("/api/v1/pods?labelSelector=command%3Dx&limit=500", false),
        (
            "/api/v1/pods?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ",
            false,
        ),
        ("/api/v1/configmaps?command=x", false),
        ("/api/v1/pods?token=", false),
    ] {
        let shown = redactor().uri(&info(Method::GET, uri), uri).into_owned();
        assert_eq!(shown != uri, hidden, "{uri}: {shown}");
    }
}

#[test]
fn patches_of_webhooks_are_looked_into() {
    let info = info(Method::POST, "/api/v1/namespaces/n/secrets");
    let text = r#"{"configuration":"c","patch":[{"op":"add","path":"/data/p","value":"aHVudGVyMg=="}],"patchType":"JSONPatch","webhook":"w"}"#;
    let shown = redactor().webhook_patch(&info, text).into_owned();
    assert!(
        shown.contains(&hash("hunter2")) && !shown.contains("aHVudGVyMg"),
        "{shown}"
    );
}

#[test]
fn rules_of_ones_own() {
    let rules = Rules {
        fields: vec![FieldRule {
            paths: vec![JsonPath::parse("$..env[*].value").expect("a path")],
            resources: Vec::new(),
            action: Action::Mask,
            target: Target::Value,
        }],
        parameters: vec!["q".into()],
        uri_action: Action::Mask,
        ..Rules::default()
    };
    let redactor = Redactor::new(rules, b"key");
    let uri = "/apis/apps/v1/namespaces/n/deployments?q=a";
    let info = info(Method::POST, uri);
    let mut tree = json!({"spec": {"template": {"spec": {"containers": [{"env": [{"name": "a", "value": "b"}]}]}}}});
    assert_eq!(redactor.body(&info, &mut tree), 1);
    let env = &tree["spec"]["template"]["spec"]["containers"][0]["env"][0];
    assert_eq!(*env, json!({"name": "a", "value": MASK}));
    assert!(redactor.uri(&info, uri).ends_with("?q=redacted"));
}

#[test]
fn replacements_are_base64() {
    for text in [hash("x"), MASK.to_string()] {
        assert!(STANDARD.decode(&text).is_ok(), "{text}");
    }
}

#[test]
fn thread_19_an_event_of_another_server_keeps_all_but_the_values() {
    let h = hash("hunter2");
    let b64 = STANDARD.encode("hunter2");
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
    let object =
        r#""objectRef":{"resource":"secrets","namespace":"n","name":"s","apiVersion":"v1"}"#;
    for (line, expected) in [
        (
            format!(
                r#"{{"z":1e2,"verb":"create",{object},"requestObject":{{"data":{{"p":"{b64}"}}}},"responseObject":{{"data":{{"p":"{b64}"}}}},"n":10000000000000000000001}}"#
            ),
            format!(
                r#"{{"z":1e2,"verb":"create",{object},"requestObject":{{"data":{{"p":"{h}"}}}},"responseObject":{{"data":{{"p":"{h}"}}}},"n":10000000000000000000001}}"#
            ),
        ),
        (
            format!(r#"{{"requestURI":"/x?token={token}","verb":"get"}}"#),
            format!(
                r#"{{"requestURI":"/x?token={}","verb":"get"}}"#,
                hash(token)
            ),
        ),
        (
            r#"{"objectRef":{"resource":"pods"},"requestObject":{"data":{"p":1}}}"#.to_string(),
            r#"{"objectRef":{"resource":"pods"},"requestObject":{"data":{"p":1}}}"#.to_string(),
        ),
    ] {
        assert_eq!(redactor().event(&line), expected);
    }
    // A field that stands there twice may be read either way.
    let twice =
        format!(r#"{{{object},"requestObject":{{"data":{{"p":"{b64}"}}}},"requestObject":{{}}}}"#);
    assert!(!redactor().event(&twice).contains(&b64));
}
