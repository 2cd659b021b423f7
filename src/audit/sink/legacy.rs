//! The `legacy` log format: one line of `key="value"` pairs (contract/audit.md §9).

use crate::api::field::go_quote;
use crate::base::tree::Value;

/// Renders the line of an event from its JSON text. What is not JSON is passed on as it is.
pub fn line(json: &[u8]) -> Vec<u8> {
    let Ok(event) = serde_json::from_slice::<Value>(json) else {
        return json.to_vec();
    };
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let or = |v: &Value, other: &str| match v.as_str() {
        Some(t) if !t.is_empty() => t.to_string(),
        _ => other.to_string(),
    };
    let groups = |user: &Value| -> Option<String> {
        let groups = user["groups"].as_array()?;
        let quoted: Vec<String> = groups.iter().map(|g| go_quote(&text(g))).collect();
        Some(quoted.join(","))
    };
    let as_user = or(&event["impersonatedUser"]["username"], "<self>");
    let as_groups = groups(&event["impersonatedUser"]).unwrap_or_else(|| "<lookup>".into());
    let code = match event["responseStatus"]["code"].as_u64() {
        Some(code) => code.to_string(),
        None => "<deferred>".into(),
    };
    let mut out = text(&event["requestReceivedTimestamp"]);
    out.push_str(" AUDIT:");
    let pairs = [
        ("id", text(&event["auditID"])),
        ("stage", text(&event["stage"])),
        ("ip", text(&event["sourceIPs"][0])),
        ("method", text(&event["verb"])),
        ("user", or(&event["user"]["username"], "<none>")),
        (
            "groups",
            groups(&event["user"]).unwrap_or_else(|| "<none>".into()),
        ),
        ("as", as_user),
        ("asgroups", as_groups),
        ("user-agent", text(&event["userAgent"])),
        ("namespace", or(&event["objectRef"]["namespace"], "<none>")),
        ("uri", text(&event["requestURI"])),
        ("response", code),
    ];
    for (key, value) in pairs {
        out.push(' ');
        out.push_str(key);
        out.push('=');
        out.push_str(&go_quote(&value));
    }
    out.push('\n');
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line() {
        let event = br#"{"auditID":"i","stage":"RequestReceived","verb":"get","user":{"username":"u","groups":["a","b"]},"sourceIPs":["10.0.0.1"],"requestURI":"/x","requestReceivedTimestamp":"2023-11-14T22:13:20.000042Z"}"#;
        let line = String::from_utf8(super::line(event)).expect("text");
        assert_eq!(
            line,
            "2023-11-14T22:13:20.000042Z AUDIT: id=\"i\" stage=\"RequestReceived\" ip=\"10.0.0.1\" method=\"get\" user=\"u\" groups=\"\\\"a\\\",\\\"b\\\"\" as=\"<self>\" asgroups=\"<lookup>\" user-agent=\"\" namespace=\"<none>\" uri=\"/x\" response=\"<deferred>\"\n"
        );
    }
}
