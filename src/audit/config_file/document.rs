//! `AuditConfiguration` as it stands in a file: field names, and nothing that is not one of them.

use std::path::PathBuf;

use serde::Deserialize;

use crate::base::tree::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Document {
    pub(super) api_version: String,
    pub(super) kind: String,
    #[serde(default)]
    #[expect(dead_code, reason = "accepted, as in every Kubernetes object")]
    metadata: Option<Value>,
    pub(super) policy: Option<Value>,
    pub(super) policy_file: Option<PathBuf>,
    pub(super) redaction: Option<RedactionDocument>,
    #[serde(default)]
    pub(super) sinks: Vec<SinkDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RedactionDocument {
    pub(super) key_file: Option<PathBuf>,
    pub(super) action: Option<ActionDocument>,
    pub(super) defaults: Option<Vec<String>>,
    #[serde(default)]
    pub(super) fields: Vec<FieldDocument>,
    #[serde(default)]
    pub(super) uri_parameters: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum ActionDocument {
    Hash,
    Mask,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FieldDocument {
    pub(super) paths: Vec<String>,
    pub(super) action: Option<ActionDocument>,
    #[serde(default)]
    pub(super) resources: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SinkDocument {
    pub(super) name: String,
    pub(super) log: Option<LogDocument>,
    pub(super) stdout: Option<StdoutDocument>,
    pub(super) webhook: Option<WebhookDocument>,
    pub(super) mode: Option<ModeDocument>,
    pub(super) batch: Option<BatchDocument>,
    pub(super) truncation: Option<TruncationDocument>,
    pub(super) policy: Option<Value>,
    pub(super) policy_file: Option<PathBuf>,
    pub(super) redaction: Option<RedactionDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LogDocument {
    pub(super) path: PathBuf,
    pub(super) format: Option<FormatDocument>,
    #[serde(rename = "maxSizeMB")]
    pub(super) max_size_mb: Option<u32>,
    pub(super) max_age_days: Option<u32>,
    pub(super) max_backups: Option<u32>,
    pub(super) compress: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StdoutDocument {
    pub(super) format: Option<FormatDocument>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum FormatDocument {
    #[serde(rename = "json")]
    Json,
    #[serde(rename = "legacy")]
    Legacy,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WebhookDocument {
    pub(super) kubeconfig: PathBuf,
    pub(super) initial_backoff: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum ModeDocument {
    Batch,
    Blocking,
    BlockingStrict,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BatchDocument {
    pub(super) buffer_size: Option<usize>,
    pub(super) max_size: Option<usize>,
    pub(super) max_wait: Option<String>,
    pub(super) throttle: Option<ThrottleDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ThrottleDocument {
    pub(super) qps: f32,
    pub(super) burst: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TruncationDocument {
    pub(super) max_event_bytes: Option<usize>,
    pub(super) max_batch_bytes: Option<usize>,
}
