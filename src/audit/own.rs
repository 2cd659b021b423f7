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
/// the events are missing, one for each reason.
#[derive(Debug, Default)]
pub struct Gap(Mutex<Vec<Missing>>);

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
        match missing.iter_mut().find(|m| m.loss == loss) {
            Some(known) => known.events += events,
            None => missing.push(Missing {
                events,
                loss,
                since: Utc::now(),
            }),
        }
    }

    /// Whether there is something to write down.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// The gap record of one reason, if there is something to write down. Whoever takes it must write
    /// it, or put it back with [`Gap::note`].
    pub fn take(&self, sink: &str) -> Option<(EventBytes, u64)> {
        let (event, missing) = self.take_one(sink)?;
        Some((event, missing.events))
    }

    /// All gap records as lines.
    pub fn take_all(&self, sink: &str) -> (Vec<u8>, Taken) {
        let (mut lines, mut taken) = (Vec::new(), Vec::new());
        while let Some((event, missing)) = self.take_one(sink) {
            lines.extend_from_slice(event.line());
            taken.push(missing);
        }
        (lines, Taken(taken))
    }

    /// Puts back what could not be written down, all but the first `written` records.
    pub fn put_back(&self, taken: Taken, written: usize) {
        let mut missing = self.0.lock();
        for back in taken.0.into_iter().skip(written) {
            match missing.iter_mut().find(|m| m.loss == back.loss) {
                Some(known) => {
                    known.events += back.events;
                    known.since = back.since;
                }
                None => missing.push(back),
            }
        }
    }

    fn take_one(&self, sink: &str) -> Option<(EventBytes, Missing)> {
        let missing = {
            let mut all = self.0.lock();
            match all.is_empty() {
                true => return None,
                false => all.remove(0),
            }
        };
        let value = format!(
            r#"{{"lost":{},"sink":"{sink}","reason":"{}","since":"{}"}}"#,
            missing.events,
            missing.loss.as_str(),
            missing.since.format("%Y-%m-%dT%H:%M:%S%.6fZ"),
        );
        Some((own_event("gap", &value), missing))
    }
}

/// Gap records that were taken together.
#[derive(Debug, Default)]
pub struct Taken(Vec<Missing>);

impl Taken {
    /// How many records.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        gap.note(Loss::TooLarge, 1);
        gap.note(Loss::WriteFailed, 3);
        let (event, events) = gap.take("log").expect("a gap");
        assert_eq!(events, 5);
        let tree: crate::base::tree::Value = serde_json::from_slice(event.json()).expect("JSON");
        let value = tree["annotations"][TRACE_ANNOTATION]
            .as_str()
            .expect("text");
        assert!(value.starts_with(r#"{"lost":5,"sink":"log","reason":"write_failed","since":""#));
        let (lines, taken) = gap.take_all("log");
        assert!(String::from_utf8_lossy(&lines).contains("too_large"));
        assert_eq!((taken.len(), gap.is_empty()), (1, true));
        gap.put_back(taken, 0);
        assert!(gap.take("log").is_some());
        assert!(gap.take("log").is_none());
    }
}
