//! Events of the server's own: what happened to the record itself (gaps, policy changes).

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::audit::event::TRACE_ANNOTATION;
use crate::audit::json::{push, push_key, push_micro_time};
use crate::audit::sink::Loss;
use crate::audit::{EventBytes, Stage};

/// An event that an upstream reader sees as a non-resource request by `system:apiserver`. `value` is
/// the JSON text of [`TRACE_ANNOTATION`].
pub fn own_event(verb: &str, value: &str) -> EventBytes {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(
        br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"#,
    );
    push(&mut out, &uuid::Uuid::new_v4().to_string());
    out.extend_from_slice(br#","stage":"ResponseComplete","requestURI":"/audit.verbatim.dev/"#);
    out.extend_from_slice(verb.as_bytes());
    out.extend_from_slice(br#"","verb":"#);
    push(&mut out, verb);
    out.extend_from_slice(br#","user":{"username":"system:apiserver","groups":["system:authenticated","system:masters"]},"responseStatus":{"metadata":{},"code":200}"#);
    let now = Utc::now();
    for key in ["requestReceivedTimestamp", "stageTimestamp"] {
        push_key(&mut out, key);
        push_micro_time(&mut out, now);
    }
    out.extend_from_slice(br#","annotations":{"#);
    push(&mut out, TRACE_ANNOTATION);
    out.push(b':');
    push(&mut out, value);
    out.extend_from_slice(b"}}\n");
    EventBytes::from_line(out, Stage::ResponseComplete)
}

/// Remembers what a sink lost until it can write that down: the gap record stands in the log where
/// the events are missing.
#[derive(Debug, Default)]
pub struct Gap(Mutex<Option<Missing>>);

#[derive(Clone, Copy, Debug)]
struct Missing {
    events: u64,
    loss: Loss,
    since: DateTime<Utc>,
}

impl Gap {
    /// Notes lost events.
    pub fn note(&self, loss: Loss, events: u64) {
        let mut missing = self.0.lock();
        let entry = missing.get_or_insert(Missing {
            events: 0,
            loss,
            since: Utc::now(),
        });
        entry.events += events;
    }

    /// The gap record, if there is something to write down. Whoever takes it must write it, or put
    /// it back with [`Gap::note`].
    pub fn take(&self, sink: &str) -> Option<(EventBytes, u64)> {
        let missing = self.0.lock().take()?;
        let value = format!(
            r#"{{"lost":{},"sink":"{sink}","reason":"{}","since":"{}"}}"#,
            missing.events,
            missing.loss.as_str(),
            missing.since.format("%Y-%m-%dT%H:%M:%S%.6fZ"),
        );
        Some((own_event("gap", &value), missing.events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_add_up_and_are_told_once() {
        let gap = Gap::default();
        assert!(gap.take("log").is_none());
        gap.note(Loss::WriteFailed, 2);
        gap.note(Loss::WriteFailed, 3);
        let (event, events) = gap.take("log").expect("a gap");
        assert_eq!(events, 5);
        let tree: serde_json::Value = serde_json::from_slice(event.json()).expect("JSON");
        let value = tree["annotations"][TRACE_ANNOTATION]
            .as_str()
            .expect("text");
        assert!(value.starts_with(r#"{"lost":5,"sink":"log","reason":"write_failed","since":""#));
        assert!(gap.take("log").is_none());
    }
}
