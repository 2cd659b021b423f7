//! The record: policy, log, recorder, index.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::api::status::Status;
use crate::audit::metrics::Metrics as AuditMetrics;
use crate::audit::recorder::Route;
use crate::audit::sink::buffered::{BatchOptions, BufferedSink};
use crate::audit::sink::file::Rotation;
use crate::audit::sink::log::{Format, LogOptions, LogSink};
use crate::audit::{Policy, Recorder, Sink, policy_file};
use crate::base::Tasks;
use crate::diagnose::access::AccessExplainer;
use crate::diagnose::api::RecordApi;
use crate::endpoints::Mount;
use crate::request::{ApiRequest, ApiResponse, RequestContext, RequestInfo};
use crate::search::api::{EventsApi, WatchLimits};
use crate::search::{Hub, Index, IndexOptions};
use crate::server::life::StartError;
use crate::server::options::{AuditOptions, ServerOptions};
use crate::telemetry::Metrics;

/// The policy of a server that is given none.
const DEFAULT_POLICY: &str = include_str!("../../../audit-policies/default.yaml");

/// The record's parts.
pub(super) struct Record {
    pub(super) recorder: Arc<Recorder>,
    pub(super) index: Option<Arc<Index>>,
    /// The newest events, of the log that the index follows.
    pub(super) hub: Option<Arc<Hub>>,
}

/// Makes the recorder with its sinks, and the index that follows the log.
pub(super) fn record(
    options: &ServerOptions,
    metrics: &Arc<Metrics>,
) -> Result<Record, StartError> {
    let audit = &options.audit;
    let counters = AuditMetrics::of(metrics);
    let mut routes = Vec::new();
    if let Some(path) = &audit.log_path {
        routes.push(Route {
            sink: log(audit, path.clone(), &counters)?,
            strict: audit.log_mode == "blocking-strict",
        });
    }
    let followed = followed_log(options);
    if let Some(path) = &followed
        && audit.log_path.as_ref() != Some(path)
    {
        routes.push(Route {
            sink: journal(path.clone(), &counters)?,
            strict: false,
        });
    }
    let recorder = Recorder::new(Some(policy(audit)?), routes, counters);
    let index = match &followed {
        Some(log) => {
            let root = options.data_dir.join("index");
            // A server whose index cannot be opened serves without it.
            Index::open(&root, log, IndexOptions::default())
                .inspect_err(|error| {
                    tracing::error!(%error, root = %root.display(), "search and why are off");
                })
                .ok()
        }
        None => None,
    };
    let hub = followed.map(|log| Hub::new(&log, metrics));
    Ok(Record {
        recorder,
        index,
        hub,
    })
}

/// Has the sinks look after themselves: a log that is deleted or cannot be written is noticed within
/// a second, also when nothing happens.
pub(super) fn watch_sinks(recorder: &Arc<Recorder>, tasks: &Tasks) {
    let recorder = recorder.clone();
    tasks.spawn_until_stopped(async move {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(600));
        loop {
            every.tick().await;
            for problem in recorder.check() {
                tracing::error!(%problem, "the record is in danger");
            }
        }
    });
}

/// The log that the index follows: the audit log where it is a file of JSON lines, else a journal
/// of our own.
fn followed_log(options: &ServerOptions) -> Option<PathBuf> {
    if !options.audit.index {
        return None;
    }
    let log = options.audit.log_path.as_ref();
    let usable = log.filter(|p| p.as_os_str() != "-" && options.audit.log_format == "json");
    Some(match usable {
        Some(path) => path.clone(),
        None => options.data_dir.join("audit").join("journal.log"),
    })
}

fn policy(options: &AuditOptions) -> Result<Policy, StartError> {
    let policy = match &options.policy_file {
        Some(path) => policy_file::load(path),
        None => policy_file::parse(DEFAULT_POLICY),
    };
    let policy = policy.map_err(|e| StartError::part("the audit policy", &e))?;
    for warning in &policy.warnings {
        tracing::warn!(%warning, "the audit policy");
    }
    Ok(policy)
}

fn log(
    options: &AuditOptions,
    path: PathBuf,
    metrics: &AuditMetrics,
) -> Result<Arc<dyn Sink>, StartError> {
    let log = LogOptions {
        path,
        rotation: Rotation {
            max_bytes: u64::from(options.max_size_mb) * 1024 * 1024,
            max_age_days: options.max_age_days,
            max_backups: options.max_backups as usize,
            compress: options.compress,
        },
        format: match options.log_format.as_str() {
            "legacy" => Format::Legacy,
            _ => Format::Json,
        },
        max_event_bytes: options.truncate.map(|(event, _)| event),
    };
    let sink =
        LogSink::open(&log, metrics.clone()).map_err(|e| StartError::part("the audit log", &e))?;
    if options.log_mode != "batch" {
        return Ok(sink);
    }
    let batch = BatchOptions {
        buffer_size: options.batch.buffer,
        max_size: options.batch.max_size,
        max_wait: options.batch.max_wait,
        throttle_qps: options.batch.throttle.map(|(qps, _)| qps as f32),
    };
    Ok(BufferedSink::start(sink, batch, metrics.clone()))
}

/// A log that nobody asked for but the index.
fn journal(path: PathBuf, metrics: &AuditMetrics) -> Result<Arc<dyn Sink>, StartError> {
    let log = LogOptions {
        path,
        rotation: Rotation {
            max_bytes: 100 * 1024 * 1024,
            max_backups: 10,
            ..Rotation::default()
        },
        ..LogOptions::default()
    };
    let sink = LogSink::open(&log, metrics.clone());
    Ok(sink.map_err(|e| StartError::part("the audit journal", &e))?)
}

/// `audit.verbatim.dev`, beside the API.
pub(super) struct RecordMount(pub(super) RecordApi);

impl RecordMount {
    pub(super) fn new(
        record: &Record,
        access: Option<Arc<dyn AccessExplainer>>,
        limits: WatchLimits,
    ) -> Option<Self> {
        let (index, hub) = (record.index.clone()?, record.hub.clone()?);
        let events = EventsApi::new(index, hub, record.recorder.clone(), limits);
        Some(RecordMount(RecordApi::new(events, access)))
    }
}

#[async_trait]
impl Mount for RecordMount {
    fn serves(&self, info: &RequestInfo) -> bool {
        self.0.serves(info)
    }

    async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
        self.0.handle(request).await
    }

    async fn review(&self, ctx: &mut RequestContext, review: &mut Value) -> Result<(), Status> {
        self.0.summarize(ctx, review).await
    }
}
