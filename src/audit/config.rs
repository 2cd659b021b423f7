//! `AuditConfiguration` (`audit.verbatim.dev/v1alpha1`), as the server uses it: policies with names
//! and samples, redaction, and sinks beside those of the flags.
//!
//! Read by [`super::config_file`]; `server` makes a recorder's groups of it. A plain `Policy` is the
//! same thing without redaction and without sinks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::Policy;
use crate::audit::redact::Rules;
use crate::audit::sink::buffered::BatchOptions;
use crate::audit::sink::log::Format;

/// What `--audit-policy-file` says, or the built-in default.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What the sinks of the flags see, and those of `sinks` that bring no policy.
    pub view: View,
    /// Sinks beside those of the flags.
    pub sinks: Vec<SinkConfiguration>,
    /// What was wrong with the file but not fatal.
    pub warnings: Vec<String>,
    /// Every file it was read from, for hot reload.
    pub files: Vec<PathBuf>,
}

/// What a sink sees of the requests.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Which requests, and how much of them.
    pub policy: Arc<Policy>,
    /// What is not shown.
    pub redaction: Redaction,
}

/// Redaction and where its key is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    /// What is redacted; nothing when empty.
    pub rules: Rules,
    /// File with the key; `None` for the server's own.
    pub key_file: Option<PathBuf>,
}

/// One sink.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkConfiguration {
    /// Name, for metrics and messages.
    pub name: String,
    /// What it sees.
    pub view: View,
    /// What of it can change only together with the sink.
    pub settings: SinkSettings,
}

/// Where a sink writes and what it promises.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkSettings {
    /// Where events go.
    pub target: SinkTarget,
    /// What requests wait for.
    pub mode: Mode,
    /// Batch mode, and a webhook's batches.
    pub batch: BatchOptions,
    /// Limits of large events; `None` for none.
    pub truncation: Option<Truncation>,
}

/// Where events go.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkTarget {
    /// A file that is rotated, or standard output.
    Log(LogTarget),
    /// An HTTP server.
    Webhook(WebhookTarget),
}

/// A log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget {
    /// File; `-` for standard output.
    pub path: PathBuf,
    /// Format of the lines.
    pub format: Format,
    /// Bytes before the file is rotated; 0 is never.
    pub max_bytes: u64,
    /// Days that rotated files are kept; 0 is forever.
    pub max_age_days: u32,
    /// Rotated files kept; 0 is all.
    pub max_backups: u32,
    /// Compress rotated files.
    pub compress: bool,
}

impl LogTarget {
    /// A file with upstream's limits.
    pub fn file(path: PathBuf) -> Self {
        LogTarget {
            path,
            format: Format::Json,
            max_bytes: 100 * 1024 * 1024,
            max_age_days: 366,
            max_backups: 100,
            compress: false,
        }
    }

    /// Whether this is standard output.
    pub fn is_stdout(&self) -> bool {
        self.path.as_os_str() == "-"
    }
}

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookTarget {
    /// Kubeconfig with the server and our credentials.
    pub kubeconfig: PathBuf,
    /// Wait before the second try.
    pub initial_backoff: Duration,
}

/// `batch`, `blocking` or `blocking-strict` (contract/audit.md §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A queue; requests never wait.
    Batch,
    /// Requests wait until their events are written.
    Blocking,
    /// And are refused when the first one cannot be.
    BlockingStrict,
}

impl Mode {
    /// The mode as flags spell it.
    pub fn parse(flag: &str) -> Option<Self> {
        match flag {
            "batch" => Some(Mode::Batch),
            "blocking" => Some(Mode::Blocking),
            "blocking-strict" => Some(Mode::BlockingStrict),
            _ => None,
        }
    }
}

/// Limits of one event and of one batch, in bytes of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// Larger events lose their bodies.
    pub max_event_bytes: usize,
    /// Larger batches are split.
    pub max_batch_bytes: usize,
}

impl Default for Truncation {
    fn default() -> Self {
        Truncation {
            max_event_bytes: 102_400,
            max_batch_bytes: 10_485_760,
        }
    }
}
