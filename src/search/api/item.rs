//! One event as an AuditEvent: its metadata, its labels, and its own text with another head.

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::api::selector::label_value_problems;
use crate::base::tree::{Map, Value, json};
use crate::search::Hit;

/// How every event in the log begins.
const EVENT_START: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#;
/// How every item begins.
const ITEM_START: &[u8] =
    br#"{"kind":"AuditEvent","apiVersion":"audit.verbatim.dev/v1alpha1","metadata":"#;

/// What an item is made of.
#[derive(Clone, Debug)]
pub struct Item {
    /// `metadata.resourceVersion`.
    pub resource_version: u64,
    /// The event's JSON text.
    pub event: Bytes,
}

impl Item {
    /// Of a search's answer. The version is that of the time of the event, so that a watch from it
    /// misses nothing that was recorded later.
    pub fn of(hit: &Hit) -> Self {
        Item {
            resource_version: hit.key & !0xfff,
            event: hit.event.clone(),
        }
    }

    /// The facts that metadata and labels are made of.
    pub fn shown(&self) -> Shown<'_> {
        serde_json::from_slice(&self.event).unwrap_or_default()
    }

    /// Writes the item as JSON.
    pub fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(ITEM_START);
        let metadata = self.metadata();
        out.extend_from_slice(metadata.to_string().as_bytes());
        out.push(b',');
        match self.event.strip_prefix(EVENT_START) {
            Some(rest) => out.extend_from_slice(rest),
            None => {
                let mut tree: Value = serde_json::from_slice(&self.event).unwrap_or_default();
                if let Some(members) = tree.as_object_mut() {
                    for member in ["kind", "apiVersion", "metadata"] {
                        members.remove(member);
                    }
                }
                out.extend_from_slice(&tree.to_string().as_bytes()[1..]);
            }
        }
    }

    /// The item as a tree.
    pub fn tree(&self) -> Value {
        let mut out = Vec::with_capacity(self.event.len() + 512);
        self.push(&mut out);
        serde_json::from_slice(&out).unwrap_or_default()
    }

    /// `metadata`.
    pub fn metadata(&self) -> Value {
        let shown = self.shown();
        let mut metadata = json!({
            "name": shown.name(),
            "resourceVersion": self.resource_version.to_string(),
            "labels": shown.labels(),
        });
        if let Some(time) = shown.time() {
            metadata["creationTimestamp"] = json!(time.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
        if !shown.object_ref.namespace.is_empty() {
            metadata["namespace"] = json!(shown.object_ref.namespace);
        }
        metadata
    }
}

/// The few facts that an item's metadata is made of.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Shown<'a> {
    #[serde(borrow, rename = "auditID")]
    audit_id: Cow<'a, str>,
    #[serde(borrow)]
    stage: Cow<'a, str>,
    #[serde(borrow)]
    verb: Cow<'a, str>,
    #[serde(borrow)]
    stage_timestamp: Cow<'a, str>,
    #[serde(borrow)]
    request_received_timestamp: Cow<'a, str>,
    #[serde(borrow)]
    user: ShownUser<'a>,
    #[serde(borrow)]
    object_ref: ShownObject<'a>,
    response_status: ShownStatus,
    #[serde(borrow)]
    annotations: ShownAnnotations<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShownUser<'a> {
    #[serde(borrow)]
    username: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ShownObject<'a> {
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    resource: Cow<'a, str>,
    #[serde(borrow)]
    api_group: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShownStatus {
    code: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShownAnnotations<'a> {
    #[serde(borrow, rename = "authorization.k8s.io/decision")]
    decision: Cow<'a, str>,
    // The constant cannot be named in an attribute; a test compares them.
    #[serde(borrow, rename = "audit.verbatim.dev/stages")]
    trace: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ShownTrace<'a> {
    #[serde(borrow)]
    by: Cow<'a, str>,
    dry_run: bool,
}

impl Shown<'_> {
    /// Audit ID and stage.
    pub fn name(&self) -> String {
        format!("{}-{}", self.audit_id, self.stage.to_ascii_lowercase())
    }

    /// Namespace of the object.
    pub fn namespace(&self) -> &str {
        &self.object_ref.namespace
    }

    /// When the stage was reached.
    pub fn time(&self) -> Option<DateTime<Utc>> {
        [&self.stage_timestamp, &self.request_received_timestamp]
            .into_iter()
            .find_map(|text| DateTime::parse_from_rfc3339(text).ok())
            .map(|time| time.to_utc())
    }

    /// The labels, as `own.yaml` documents them.
    pub fn labels(&self) -> Map {
        let trace: ShownTrace<'_> =
            serde_json::from_str(&self.annotations.trace).unwrap_or_default();
        let (code, class) = match self.response_status.code {
            0 => (String::new(), String::new()),
            code => (code.to_string(), format!("{}xx", code / 100)),
        };
        let resource = match (&*self.object_ref.resource, &*self.object_ref.api_group) {
            (resource, "") => resource.to_string(),
            (resource, group) => format!("{resource}.{group}"),
        };
        let user = match &*self.user.username {
            "" => String::new(),
            name => user_hash(name),
        };
        let dry_run = if trace.dry_run { "true" } else { "" };
        [
            ("authenticated-by", &*trace.by),
            ("code", &code),
            ("code-class", &class),
            ("decision", &self.annotations.decision),
            ("dry-run", dry_run),
            ("resource", &resource),
            ("stage", &self.stage),
            ("user-hash", &user),
            ("verb", &self.verb),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty() && label_value_problems(value).is_empty())
        .map(|(key, value)| (key.to_string(), json!(value)))
        .collect()
    }
}

/// The first 12 hex digits of the SHA-256 of a user name.
pub fn user_hash(name: &str) -> String {
    let digest = Sha256::digest(name);
    digest[..6].iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::event::TRACE_ANNOTATION;

    #[test]
    fn metadata_and_labels() {
        let trace = r#"{\"by\":\"x509\",\"dryRun\":true,\"stages\":[]}"#;
        let event = format!(
            "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"auditID\":\"i\",\"stage\":\"ResponseComplete\",\"verb\":\"delete\",\"user\":{{\"username\":\"system:admin\"}},\"objectRef\":{{\"resource\":\"deployments\",\"namespace\":\"n\",\"apiGroup\":\"apps\"}},\"responseStatus\":{{\"metadata\":{{}},\"code\":403}},\"stageTimestamp\":\"2026-01-01T00:00:01.000000Z\",\"annotations\":{{\"{TRACE_ANNOTATION}\":\"{trace}\"}}}}"
        );
        let item = Item {
            resource_version: 7,
            event: event.into(),
        };
        let tree = item.tree();
        assert_eq!(
            tree["metadata"],
            json!({
                "name": "i-responsecomplete", "namespace": "n", "resourceVersion": "7",
                "creationTimestamp": "2026-01-01T00:00:01Z",
                "labels": {
                    "authenticated-by": "x509", "code": "403", "code-class": "4xx", "dry-run": "true",
                    "resource": "deployments.apps", "stage": "ResponseComplete", "verb": "delete",
                    "user-hash": user_hash("system:admin"),
                },
            })
        );
        assert_eq!(tree["kind"], "AuditEvent");
        assert_eq!(tree["auditID"], "i");
    }
}
