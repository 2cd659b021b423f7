//! Tests of scanning and splicing, against serde_json as the judge.

use proptest::prelude::*;

use super::*;
use crate::api::resource::SelectableField;
use crate::base::tree::{Map, Value, json};

fn shape() -> Shape {
    let field = |path: &'static str| SelectableField {
        label: path.into(),
        path: path.into(),
        default: "".into(),
    };
    Shape::new(&[
        field("spec.nodeName"),
        field("status.phase"),
        field("spec.hostNetwork"),
        field("type"),
    ])
}

fn check(text: &str, revision: u64) -> Ready {
    let ready = ready(text.as_bytes(), revision, &shape(), b"<", b">").expect("valid object");
    let json = &ready.frame[ready.json.clone()];
    let mut got: Value = serde_json::from_slice(json).expect("ready text is JSON");
    assert_eq!(got["metadata"]["resourceVersion"], revision.to_string());
    let mut item = b"{".to_vec();
    item.extend_from_slice(&json[ready.list_offset..]);
    let item: Value = serde_json::from_slice(&item).expect("a list item is JSON");
    assert!(item.get("kind").is_none() && item.get("apiVersion").is_none());
    assert_eq!(item["metadata"], got["metadata"]);
    let mut want: Value = serde_json::from_str(text).expect("input is JSON");
    for object in [&mut got, &mut want] {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
            metadata.remove("selfLink");
        } else {
            object["metadata"] = json!({});
        }
    }
    for key in ["kind", "apiVersion"] {
        if !want[key].is_string() {
            want[key] = json!("");
        }
    }
    assert_eq!(got, want);
    ready
}

fn fields(ready: &Ready) -> Vec<Option<&str>> {
    let json = &ready.frame[ready.json.clone()];
    ready.fields.iter().map(|field| field.get(json)).collect()
}

#[test]
fn layouts() {
    let texts = [
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","labels":{"app":"x","t":""}},"spec":{"nodeName":"n1","hostNetwork":true},"status":{"phase":"Running"}}"#,
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"app":"x","t":""},"name":"a"},"status":{"phase":"Running"},"spec":{"hostNetwork":true,"nodeName":"n1"}}"#,
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"7","selfLink":"/x","labels":{"app":"x","t":""}},"spec":{"nodeName":"n1","hostNetwork":true},"status":{"phase":"Running"}}"#,
        "{ \"kind\":\"Pod\",\"apiVersion\":\"v1\",\n\"metadata\":{\"labels\":{\"app\" : \"x\",\"t\":\"\"}},\"spec\":{\"node\\u004eame\":\"n1\",\"hostNetwork\":true},\"status\":{\"phase\":\"Runn\\u0069ng\"}}",
    ];
    for text in texts {
        let ready = check(text, 1234);
        let json = &ready.frame[ready.json.clone()];
        assert_eq!(ready.labels.get(json, "app"), Some("x"), "{text}");
        assert_eq!(ready.labels.get(json, "t"), Some(""));
        assert_eq!(ready.labels.get(json, "none"), None);
        assert_eq!(ready.labels.iter(json).count(), 2);
        assert_eq!(
            fields(&ready),
            [Some("n1"), Some("Running"), Some("true"), None]
        );
    }
    check(r#"{"kind":"Pod","apiVersion":"v1","metadata":{}}"#, 1);
    check(
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{},"spec":{}}"#,
        1,
    );
    check(r#"{"kind":"Pod","apiVersion":"v1"}"#, 1);
    check(r#"{"kind":"A","apiVersion":"v1","metadata":null}"#, 1);
    let odd = check(
        r#"{"kind":"A","apiVersion":"v1","metadata":{"labels":{"a\"b":"c","d":"\n"}},"type":"o\"p"}"#,
        1,
    );
    let json = &odd.frame[odd.json.clone()];
    assert_eq!(odd.labels.get(json, "a\"b"), Some("c"));
    assert_eq!(odd.labels.get(json, "d"), Some("\n"));
    assert_eq!(fields(&odd)[3], Some("o\"p"));
}

#[test]
fn refused() {
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let nested = format!(r#"{{"kind":"A","apiVersion":"v","metadata":{{}},"x":{deep}}}"#);
    let texts = [
        "",
        "{",
        "[]",
        "1",
        "nul",
        "{}x",
        "{\"a\"}",
        "{\"a\":1,}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":\"\u{1}\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":-}",
        &nested,
    ];
    for text in texts {
        assert!(
            ready(text.as_bytes(), 1, &shape(), b"", b"").is_err(),
            "{text}"
        );
    }
    assert!(ready(b"{\"a\":\"\xff\"}", 1, &shape(), b"", b"").is_err());
}

#[test]
fn moves_to_another_revision() {
    let text = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}"#;
    let ready = check(text, 99);
    let json = &ready.frame[ready.json.clone()];
    let moved = at_revision(json, ready.list_offset, 99, 12345, b"<<", b">");
    let value: Value =
        serde_json::from_slice(&moved.frame[moved.json.clone()]).expect("moved text is JSON");
    assert_eq!(value["metadata"]["resourceVersion"], "12345");
    assert_eq!(value["metadata"]["name"], "a");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "kind",
            "apiVersion",
            "metadata",
            "spec",
            "status",
            "labels",
            "nodeName",
            "phase",
            "resourceVersion",
            "selfLink",
            "name",
            "type",
            "hostNetwork",
        ])
        .prop_map(String::from),
        ".{0,6}",
    ]
}

fn any_object() -> impl Strategy<Value = Value> {
    (
        prop::collection::hash_map(key(), any_json(), 0..6),
        prop::collection::hash_map(key(), any_json(), 0..6),
        prop::collection::hash_map(key(), key(), 0..4),
    )
        .prop_map(|(top, metadata, labels)| {
            let mut top: Map = top.into_iter().collect();
            let mut metadata: Map = metadata.into_iter().collect();
            metadata.insert("labels".into(), json!(labels));
            top.insert("metadata".into(), Value::Object(metadata));
            Value::Object(top)
        })
}

/// What a dotted path reads in a tree.
fn lookup(value: &Value, path: &str) -> Option<String> {
    let mut at = value;
    for step in path.split('.') {
        at = at.as_object()?.get(step)?;
    }
    match at {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(at.to_string()),
        _ => None,
    }
}

proptest! {
    #[test]
    fn agrees_with_serde(value in any_object(), pretty in any::<bool>(), canonical in any::<bool>(), revision in any::<u64>()) {
        let text = if canonical {
            String::from_utf8(stored(&value, "K", "v1").to_vec()).expect("UTF-8")
        } else if pretty {
            serde_json::to_string_pretty(&value).expect("serialises")
        } else {
            value.to_string()
        };
        let ready = check(&text, revision);
        let json = &ready.frame[ready.json.clone()];
        let tree: Value = serde_json::from_slice(json).expect("ready text is JSON");
        for (field, value) in shape().fields().iter().zip(&ready.fields) {
            prop_assert_eq!(value.get(json).map(String::from), lookup(&tree, &field.path));
        }
        let labels = value["metadata"]["labels"].as_object().expect("made so");
        prop_assert_eq!(ready.labels.len(), labels.len());
        for (key, want) in labels {
            prop_assert_eq!(ready.labels.get(json, key), want.as_str());
        }
    }

    #[test]
    fn damage_never_panics(value in any_object(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut text = stored(&value, "K", "v1").to_vec();
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = byte }
        let ours = ready(&text, 1, &shape(), b"", b"");
        let parsed = serde_json::from_slice::<Value>(&text);
        if parsed.as_ref().is_err_and(|error| !error.to_string().contains("surrogate") && !error.to_string().contains("number out of range") && !error.to_string().contains("hex escape")) {
            prop_assert!(ours.is_err(), "{:?}", String::from_utf8_lossy(&text));
        }
        if parsed.is_ok_and(|value| value.is_object()) {
            prop_assert!(ours.is_ok(), "{:?} {:?}", ours.err(), String::from_utf8_lossy(&text));
        }
    }
}
