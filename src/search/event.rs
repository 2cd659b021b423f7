//! What the index reads of one audit event: borrowed from the line, no tree.
//!
//! Lenient on purpose: members of another shape are left out where the event can do without them,
//! because the index holds what others wrote, too (kube-apiserver, exports).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::tree::{Value, json};

/// Which cluster an event comes from, where several are collected.
pub const CLUSTER_ANNOTATION: &str = "audit.verbatim.dev/cluster";
/// Stages of the pipeline that are read of one request.
const STAGES_MAX: usize = 64;

/// A list of strings.
pub(super) type Texts<'a> = Vec<Cow<'a, str>>;

/// An `audit.k8s.io/v1` Event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    #[serde(borrow, default, rename = "auditID")]
    pub(super) audit_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) level: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) stage: Cow<'a, str>,
    #[serde(borrow, default, rename = "requestURI")]
    pub(super) request_uri: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) verb: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) user: Option<User<'a>>,
    #[serde(borrow)]
    pub(super) impersonated_user: Option<User<'a>>,
    #[serde(borrow, default, rename = "sourceIPs", deserialize_with = "texts")]
    pub(super) source_ips: Texts<'a>,
    #[serde(borrow, default)]
    pub(super) user_agent: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) object_ref: Option<ObjectRef<'a>>,
    #[serde(borrow)]
    pub(super) response_status: Option<ResponseStatus<'a>>,
    #[serde(borrow)]
    pub(super) request_object: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) response_object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) request_received_timestamp: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) stage_timestamp: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "annotations")]
    pub(super) annotations: Annotations<'a>,
}

/// Key and value pairs in the order of the text.
pub(super) type Annotations<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Who asked.
#[derive(Default, Deserialize)]
pub(super) struct User<'a> {
    #[serde(borrow, default)]
    pub(super) username: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) uid: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "texts")]
    pub(super) groups: Texts<'a>,
}

/// What was asked for.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectRef<'a> {
    #[serde(borrow, default)]
    pub(super) resource: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) uid: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) api_group: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) subresource: Cow<'a, str>,
}

/// What was answered.
#[derive(Default, Deserialize)]
pub(super) struct ResponseStatus<'a> {
    #[serde(default)]
    pub(super) code: Option<u64>,
    #[serde(borrow, default)]
    pub(super) message: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) reason: Cow<'a, str>,
}

/// What the value of [`crate::audit::event::TRACE_ANNOTATION`] holds.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Trace<'a> {
    #[serde(borrow)]
    pub(super) by: Cow<'a, str>,
    pub(super) rule: Option<Rule<'a>>,
    #[serde(borrow)]
    pub(super) rule_name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) because: Cow<'a, str>,
    pub(super) sampled_percent: Option<u64>,
    #[serde(rename = "clientAuditID")]
    pub(super) client_audit_id: bool,
    #[serde(borrow, rename = "requestID")]
    pub(super) request_id: Cow<'a, str>,
    pub(super) dry_run: bool,
    pub(super) no_op: bool,
    #[serde(borrow)]
    pub(super) field_manager: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "stage_rows")]
    pub(super) stages: Vec<StageRow<'a>>,
    #[serde(borrow)]
    pub(super) running: Option<Running<'a>>,
    pub(super) lost: Option<u64>,
    #[serde(borrow)]
    pub(super) sink: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) reason: Cow<'a, str>,
}

/// A policy rule, by its place or by its name.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Rule<'a> {
    /// Place in the policy, from zero.
    Index(u64),
    /// Name in our extension of Policy.
    Name(#[serde(borrow)] Cow<'a, str>),
}

/// `[name, offset µs, duration µs, outcome, reason]`; what is behind is not read.
#[derive(Default)]
pub(super) struct StageRow<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) micros: u64,
    pub(super) outcome: Cow<'a, str>,
    pub(super) reason: Cow<'a, str>,
}

/// The stage that was running when time was up: `[name, for µs]`, or several of these.
pub(super) struct Running<'a>(pub(super) Vec<(Cow<'a, str>, u64)>);

/// A string of any spelling, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Texts<'de>, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Texts<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of strings")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Texts::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut out = Texts::new();
            while let Some(Text(text)) = seq.next_element()? {
                out.push(text);
            }
            Ok(out)
        }
    }
    deserializer.deserialize_any(List)
}

fn annotations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Annotations<'de>, D::Error> {
    struct Map;
    impl<'de> Visitor<'de> for Map {
        type Value = Annotations<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of strings")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Annotations::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut out = Annotations::new();
            while let Some((Text(key), Text(value))) = map.next_entry()? {
                out.push((key, value));
            }
            Ok(out)
        }
    }
    deserializer.deserialize_any(Map)
}

fn stage_rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StageRow<'de>>, D::Error> {
    struct Rows;
    impl<'de> Visitor<'de> for Rows {
        type Value = Vec<StageRow<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of stages")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut out = Vec::with_capacity(16);
            while let Some(row) = seq.next_element::<StageRow<'de>>()? {
                if out.len() < STAGES_MAX {
                    out.push(row);
                }
            }
            Ok(out)
        }
    }
    deserializer.deserialize_seq(Rows)
}

impl<'de> Deserialize<'de> for StageRow<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Row;
        impl<'de> Visitor<'de> for Row {
            type Value = StageRow<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[name, offset, duration, outcome, reason]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut row = StageRow::default();
                let text = |t: Option<Text<'de>>| t.map(|Text(t)| t).unwrap_or_default();
                row.name = text(seq.next_element()?);
                seq.next_element::<u64>()?;
                row.micros = seq.next_element()?.unwrap_or_default();
                row.outcome = text(seq.next_element()?);
                row.reason = text(seq.next_element()?);
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(row)
            }
        }
        deserializer.deserialize_seq(Row)
    }
}

impl<'a, 'de: 'a> Deserialize<'de> for Running<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Element<'a> {
            Name(#[serde(borrow)] Cow<'a, str>),
            Micros(u64),
            Pair(#[serde(borrow)] Cow<'a, str>, u64),
            Other(IgnoredAny),
        }
        let elements: Vec<Element<'a>> = Vec::deserialize(deserializer)?;
        let mut out = Vec::new();
        let mut name = Cow::Borrowed("");
        for element in elements {
            match element {
                Element::Name(text) => name = text,
                Element::Micros(micros) => out.push((std::mem::take(&mut name), micros)),
                Element::Pair(name, micros) => out.push((name, micros)),
                Element::Other(_) => {}
            }
        }
        Ok(Running(out))
    }
}

/// The line with [`CLUSTER_ANNOTATION`] set, replacing what its sender may have put there; `None` for
/// what is no JSON object.
pub fn with_cluster(line: &[u8], cluster: &str) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Annotated<'a> {
        #[serde(borrow)]
        annotations: Option<&'a RawValue>,
    }
    let text = std::str::from_utf8(line).ok()?;
    let text = text.trim_end();
    let found: Annotated<'_> = serde_json::from_str(text).ok()?;
    let pair = format!(
        "\"{CLUSTER_ANNOTATION}\":{}",
        serde_json::to_string(cluster).ok()?
    );
    let Some(raw) = found.annotations else {
        if text.contains("\"annotations\"") {
            // Null, or only in a body: a tree tells.
            return with_cluster_in_tree(text, cluster);
        }
        let head = text.strip_suffix('}')?;
        return Some(format!("{head},\"annotations\":{{{pair}}}}}").into_bytes());
    };
    if raw.get().contains(CLUSTER_ANNOTATION) || !raw.get().starts_with('{') {
        return with_cluster_in_tree(text, cluster);
    }
    let at = (raw.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)? + 1;
    let comma = match raw.get()[1..].trim_start().starts_with('}') {
        true => "",
        false => ",",
    };
    let mut out = Vec::with_capacity(text.len() + pair.len() + 1);
    out.extend_from_slice(&text.as_bytes()[..at]);
    out.extend_from_slice(pair.as_bytes());
    out.extend_from_slice(comma.as_bytes());
    out.extend_from_slice(&text.as_bytes()[at..]);
    Some(out)
}

fn with_cluster_in_tree(text: &str, cluster: &str) -> Option<Vec<u8>> {
    let mut tree: Value = serde_json::from_str(text).ok()?;
    if !tree["annotations"].is_object() {
        tree["annotations"] = json!({});
    }
    tree["annotations"][CLUSTER_ANNOTATION] = cluster.into();
    serde_json::to_vec(&tree).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_told_apart() {
        for (line, expected) in [
            (
                r#"{"a":1}"#,
                r#"{"a":1,"annotations":{"audit.verbatim.dev/cluster":"p\"q"}}"#,
            ),
            (
                r#"{"annotations":{"x":"y"},"a":1}"#,
                r#"{"annotations":{"audit.verbatim.dev/cluster":"p\"q","x":"y"},"a":1}"#,
            ),
            (
                r#"{"annotations":{},"a":1}"#,
                r#"{"annotations":{"audit.verbatim.dev/cluster":"p\"q"},"a":1}"#,
            ),
            (
                r#"{"annotations":{"audit.verbatim.dev/cluster":"forged"}}"#,
                r#"{"annotations":{"audit.verbatim.dev/cluster":"p\"q"}}"#,
            ),
            (
                r#"{"annotations":null}"#,
                r#"{"annotations":{"audit.verbatim.dev/cluster":"p\"q"}}"#,
            ),
        ] {
            let marked = with_cluster(line.as_bytes(), "p\"q").expect("is an object");
            assert_eq!(String::from_utf8_lossy(&marked), expected);
        }
        assert!(with_cluster(b"no event", "c").is_none());
    }

    #[test]
    fn traces_of_all_shapes() {
        let text = r#"{"us":10,"by":"x509","rule":3,"stages":[["authentication",1,2,"ok"],["authorization",1,5,"forbid","no \"rule\"","more"]],"running":["validating-webhook/a",7],"new":{}}"#;
        let trace: Trace<'_> = serde_json::from_str(text).expect("reads");
        assert!(matches!(trace.rule, Some(Rule::Index(3))));
        let rows: Vec<_> = trace
            .stages
            .iter()
            .map(|s| (&*s.name, s.micros, &*s.outcome, &*s.reason))
            .collect();
        assert_eq!(
            rows,
            [
                ("authentication", 2, "ok", ""),
                ("authorization", 5, "forbid", "no \"rule\"")
            ]
        );
        let running = trace.running.expect("is there").0;
        assert_eq!(running[0], ("validating-webhook/a".into(), 7));
        let text = r#"{"rule":"secrets","running":[["a",1],["b",2]]}"#;
        let trace: Trace<'_> = serde_json::from_str(text).expect("reads");
        assert!(matches!(trace.rule, Some(Rule::Name(name)) if name == "secrets"));
        assert_eq!(trace.running.expect("is there").0.len(), 2);
    }

    #[test]
    fn nulls_are_absent() {
        let text = r#"{"auditID":"a","user":null,"sourceIPs":null,"annotations":null,"objectRef":null,"responseStatus":{"metadata":{}}}"#;
        let event: Event<'_> = serde_json::from_str(text).expect("reads");
        assert!(event.user.is_none() && event.annotations.is_empty());
    }
}
