//! Events as table rows, for kubectl's tables and for the command line.

use crate::audit::event::{REASON_ANNOTATION, TRACE_ANNOTATION};
use crate::base::tree::{Value, json};
use crate::search::window::parse_duration;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// What it shows.
    pub description: &'static str,
    /// Shown only by `-o wide`.
    pub is_wide: bool,
}

const fn column(name: &'static str, description: &'static str, is_wide: bool) -> Column {
    Column {
        name,
        description,
        is_wide,
    }
}

/// All columns, in the order of the cells.
pub const COLUMNS: [Column; 12] = [
    column("Time", "When the stage was reached", false),
    column(
        "User",
        "Who asked; behind the arrow whom they impersonated",
        false,
    ),
    column("Verb", "What was asked", false),
    column("Object", "Of what", false),
    column("Namespace", "Where", false),
    column("Code", "HTTP status code", false),
    column("Took", "Time from arrival", false),
    column("Audit-ID", "For verbatim why", false),
    column("Stage", "Audit stage", true),
    column("Client", "User agent", true),
    column("Source", "Address of the client", true),
    column("Reason", "Why it was allowed, or what went wrong", true),
];

/// The cells of one event, in the order of [`COLUMNS`].
pub fn cells(event: &Value) -> [String; 12] {
    [
        time(event),
        user(event),
        text(&event["verb"]),
        object(event),
        text(&event["objectRef"]["namespace"]),
        match event["responseStatus"]["code"].as_u64() {
            Some(code) => code.to_string(),
            None => String::new(),
        },
        took(event),
        text(&event["auditID"]),
        text(&event["stage"]),
        text(&event["userAgent"]),
        text(&event["sourceIPs"][0]),
        reason(event),
    ]
}

/// The columns as a Table declares them.
pub fn definitions() -> Value {
    COLUMNS
        .iter()
        .map(|c| {
            json!({
                "name": c.name, "type": "string", "format": "",
                "description": c.description, "priority": i32::from(c.is_wide),
            })
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

/// To the millisecond: `2026-01-31T12:00:00.123Z`.
fn time(event: &Value) -> String {
    let time = text(&event["stageTimestamp"]);
    match time.split_once('.') {
        Some((whole, rest)) if rest.len() > 3 && rest.is_char_boundary(3) => {
            format!("{whole}.{}Z", &rest[..3])
        }
        _ => time,
    }
}

fn user(event: &Value) -> String {
    let user = text(&event["user"]["username"]);
    match event["impersonatedUser"]["username"].as_str() {
        Some(impersonated) => format!("{user}→{impersonated}"),
        None if user.is_empty() => "<none>".into(),
        None => user,
    }
}

/// `deployments.apps/web/scale`, or the path of a non-resource request.
fn object(event: &Value) -> String {
    let object = &event["objectRef"];
    let resource = text(&object["resource"]);
    if resource.is_empty() {
        let uri = text(&event["requestURI"]);
        return uri.split('?').next().unwrap_or_default().to_string();
    }
    let mut out = resource;
    for (separator, key) in [(".", "apiGroup"), ("/", "name"), ("/", "subresource")] {
        if let Some(part) = object[key].as_str().filter(|p| !p.is_empty()) {
            out.push_str(separator);
            out.push_str(part);
        }
    }
    out
}

fn took(event: &Value) -> String {
    let parse = |key: &str| chrono::DateTime::parse_from_rfc3339(event[key].as_str()?).ok();
    let (Some(from), Some(to)) = (parse("requestReceivedTimestamp"), parse("stageTimestamp"))
    else {
        return String::new();
    };
    let micros = (to - from).num_microseconds().unwrap_or_default();
    match micros {
        0 => String::new(),
        1..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{}.{}ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{:02}s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}

fn reason(event: &Value) -> String {
    let status = &event["responseStatus"];
    if status["code"].as_u64().is_some_and(|c| c >= 400) {
        return text(&status["message"]);
    }
    text(&event["annotations"][REASON_ANNOTATION])
}

/// The stage trace of an event, parsed; null when it has none.
pub fn trace(event: &Value) -> Value {
    let text = event["annotations"][TRACE_ANNOTATION].as_str();
    text.and_then(|t| serde_json::from_str(t).ok())
        .unwrap_or_default()
}

/// The time from arrival to the event's stage, in microseconds.
pub fn latency_micros(event: &Value) -> Option<i64> {
    parse_duration(&took(event))?.num_microseconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row() {
        let event = json!({
            "stageTimestamp": "2026-01-31T12:00:01.234567Z",
            "requestReceivedTimestamp": "2026-01-31T12:00:00.000000Z",
            "user": {"username": "admin"}, "impersonatedUser": {"username": "alice"},
            "verb": "patch",
            "objectRef": {"resource": "deployments", "apiGroup": "apps", "name": "web", "subresource": "scale", "namespace": "n"},
            "responseStatus": {"code": 403, "message": "no"}, "auditID": "i",
        });
        let cells = cells(&event);
        assert_eq!(cells[0], "2026-01-31T12:00:01.234Z");
        assert_eq!(cells[1], "admin→alice");
        assert_eq!(cells[3], "deployments.apps/web/scale");
        assert_eq!(cells[6], "1.23s");
        assert_eq!(cells[11], "no");
        assert_eq!(latency_micros(&event), Some(1_230_000));
    }
}
