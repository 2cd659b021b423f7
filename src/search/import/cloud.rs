//! GKE: a Cloud Logging entry (`protoPayload`, google.cloud.audit.AuditLog) as an audit event.
//!
//! The entry has no stage, level or groups; it stands for a finished request.

use crate::base::tree::{Map, Value, json};

/// Answers the event as one line of JSON.
pub(super) fn event(entry: &str) -> Result<String, String> {
    let entry: Value = serde_json::from_str(entry).map_err(|e| format!("is not JSON: {e}"))?;
    let payload = &entry["protoPayload"];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let method = text(&payload["methodName"]);
    let id = [&entry["operation"]["id"], &entry["insertId"]];
    let Some(id) = id.into_iter().find_map(Value::as_str) else {
        return Err(
            "is not an audit event: the entry has neither operation.id nor insertId".into(),
        );
    };
    if !method.starts_with("io.k8s.") && payload["serviceName"] != "k8s.io" {
        return Err("is not an audit event of Kubernetes".into());
    }
    let verb = method.rsplit('.').next().unwrap_or_default().to_string();
    let (uri, object) = object_ref(&text(&payload["resourceName"]));
    let mut out = Map::new();
    out.insert("level".into(), level(payload).into());
    out.insert("auditID".into(), id.into());
    out.insert("stage".into(), "ResponseComplete".into());
    out.insert("requestURI".into(), uri.into());
    out.insert("verb".into(), verb.into());
    let who = &payload["authenticationInfo"];
    let who = [&who["principalEmail"], &who["principalSubject"]];
    let who = who.into_iter().find_map(Value::as_str).unwrap_or_default();
    out.insert("user".into(), json!({"username": who}));
    let from = &payload["requestMetadata"];
    if let Some(ip) = from["callerIp"].as_str() {
        out.insert("sourceIPs".into(), json!([ip]));
    }
    if let Some(agent) = from["callerSuppliedUserAgent"].as_str() {
        out.insert("userAgent".into(), agent.into());
    }
    out.insert("objectRef".into(), object);
    out.insert("responseStatus".into(), response_status(payload));
    for (name, body) in [("requestObject", "request"), ("responseObject", "response")] {
        if payload[body].is_object() {
            out.insert(name.into(), payload[body].clone());
        }
    }
    for name in ["requestReceivedTimestamp", "stageTimestamp"] {
        out.insert(name.into(), entry["timestamp"].clone());
    }
    if let Value::Object(labels) = &entry["labels"] {
        out.insert("annotations".into(), Value::Object(labels.clone()));
    }
    let rest = Value::Object(out).to_string();
    Ok(format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1",{}"#,
        &rest[1..]
    ))
}

fn level(payload: &Value) -> &'static str {
    match (
        payload["request"].is_object(),
        payload["response"].is_object(),
    ) {
        (_, true) => "RequestResponse",
        (true, false) => "Request",
        (false, false) => "Metadata",
    }
}

/// From `core/v1/namespaces/n/pods/p/status`.
fn object_ref(name: &str) -> (String, Value) {
    let mut parts = name.split('/');
    let group = parts.next().unwrap_or_default();
    let version = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let (namespace, rest_of_object) = match rest.as_slice() {
        ["namespaces", namespace, object @ ..] if !object.is_empty() => (*namespace, object),
        object => ("", object),
    };
    let part = |at: usize| rest_of_object.get(at).copied().unwrap_or_default();
    let (group, base) = match group {
        "core" | "" => ("", "/api".to_string()),
        group => (group, format!("/apis/{group}")),
    };
    let mut object = Map::new();
    for (key, value) in [
        ("resource", part(0)),
        ("namespace", namespace),
        ("name", part(1)),
        ("apiGroup", group),
        ("apiVersion", version),
        ("subresource", part(2)),
    ] {
        if !value.is_empty() {
            object.insert(key.into(), value.into());
        }
    }
    let uri = format!("{base}/{version}/{}", rest.join("/"));
    (uri, Value::Object(object))
}

/// The HTTP status behind a google.rpc.Code, unless the response says it itself.
fn response_status(payload: &Value) -> Value {
    let response = &payload["response"];
    if response["kind"] == "Status" && response["code"].is_u64() {
        let mut status = json!({"metadata": {}});
        for key in ["status", "message", "reason", "code"] {
            if !response[key].is_null() {
                status[key] = response[key].clone();
            }
        }
        return status;
    }
    let status = &payload["status"];
    let code = match status["code"].as_u64().unwrap_or_default() {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    };
    let mut out = json!({"metadata": {}, "code": code});
    if let Some(message) = status["message"].as_str() {
        out["message"] = message.into();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_becomes_an_event() {
        let entry = r#"{"insertId":"i","operation":{"id":"op","first":true,"last":true},"timestamp":"2026-01-31T12:00:00.5Z","labels":{"authorization.k8s.io/decision":"forbid"},"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","serviceName":"k8s.io","methodName":"io.k8s.core.v1.pods.create","resourceName":"core/v1/namespaces/n/pods/p","authenticationInfo":{"principalEmail":"a@b.c"},"requestMetadata":{"callerIp":"10.0.0.1","callerSuppliedUserAgent":"kubectl"},"status":{"code":7,"message":"no"},"request":{"kind":"Pod"}}}"#;
        let event: Value = serde_json::from_str(&event(entry).expect("converts")).expect("JSON");
        assert_eq!(event["auditID"], "op");
        assert_eq!(event["verb"], "create");
        assert_eq!(event["level"], "Request");
        assert_eq!(event["requestURI"], "/api/v1/namespaces/n/pods/p");
        assert_eq!(event["objectRef"]["namespace"], "n");
        assert_eq!(event["responseStatus"]["code"], 403);
        assert_eq!(
            event["annotations"]["authorization.k8s.io/decision"],
            "forbid"
        );
        assert_eq!(
            object_ref("apps/v1/namespaces/n").1["resource"],
            "namespaces"
        );
    }
}
