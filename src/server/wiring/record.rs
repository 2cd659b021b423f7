//! The record: policy, log, recorder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use crate::audit::metrics::Metrics as AuditMetrics;
use crate::audit::recorder::Route;
use crate::audit::sink::buffered::{BatchOptions, BufferedSink};
use crate::audit::sink::file::Rotation;
use crate::audit::sink::log::{Format, LogOptions, LogSink};
use crate::audit::{Policy, Recorder, Sink, policy_file};
use crate::authorization::rbac::Rbac;
use crate::base::Tasks;
use crate::diagnose::AccessExplainer;
use crate::diagnose::api::RecordApi;
use crate::endpoints::Mount;
use crate::request::{ApiRequest, ApiResponse, RequestInfo};
use crate::search::Index;
use crate::search::index::IndexOptions;
use crate::server::life::StartError;
use crate::server::options::{AuditOptions, ServerOptions};
use crate::telemetry::Metrics;

/// The policy of a server that is given none.
const DEFAULT_POLICY: &str = include_str!("../../../audit-policies/default.yaml");

/// Journals kept for the index where the audit log cannot serve (none, standard output, legacy
/// format): 1 GiB at most.
const JOURNAL: Rotation = Rotation {
    max_bytes: 100 * 1024 * 1024,
    max_age_days: 0,
    max_backups: 9,
    compress: false,
};

/// The audit group behind the endpoints.
struct RecordMount(RecordApi);

#[async_trait]
impl Mount for RecordMount {
    fn serves(&self, info: &RequestInfo) -> bool {
        self.0.serves(info)
    }

    async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
        self.0.handle(request).await
    }
}

/// The file that the index follows, and whether it is a journal of the index's own.
fn followed(options: &ServerOptions) -> (PathBuf, bool) {
    match &options.audit.log_path {
        Some(path) if path != Path::new("-") && options.audit.log_format == "json" => {
            (path.clone(), false)
        }
        _ => (options.data_dir.join("audit").join("journal.log"), true),
    }
}

/// Opens the index and makes what serves it. A server whose index cannot be opened serves without.
pub(super) fn mount(
    options: &ServerOptions,
    recorder: &Arc<Recorder>,
    rbac: &Arc<Rbac>,
) -> Option<Box<dyn Mount>> {
    let (log, _) = followed(options);
    let root = options.data_dir.join("index");
    match Index::open(&root, &log, IndexOptions::default()) {
        Ok(index) => {
            let access: Arc<dyn AccessExplainer> = rbac.clone();
            let api = RecordApi::new(index, recorder.clone(), Some(access));
            Some(Box::new(RecordMount(api)))
        }
        Err(error) => {
            tracing::error!(%error, root = %root.display(), "the index of the record cannot be opened; search and why are off");
            None
        }
    }
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

/// The journal's sink. A server that cannot write it serves without.
fn journal(options: &ServerOptions, metrics: &AuditMetrics) -> Option<Arc<dyn Sink>> {
    let (path, is_own) = followed(options);
    let log = LogOptions {
        path,
        rotation: JOURNAL,
        ..LogOptions::default()
    };
    if !is_own {
        return None;
    }
    match LogSink::open(&log, metrics.clone()) {
        Ok(sink) => Some(sink),
        Err(error) => {
            tracing::error!(%error, path = %log.path.display(), "the journal of the index cannot be opened");
            None
        }
    }
}

/// Makes the recorder with its sinks.
pub(super) fn recorder(
    options: &ServerOptions,
    metrics: &Arc<Metrics>,
) -> Result<Arc<Recorder>, StartError> {
    let audit = &options.audit;
    let counters = AuditMetrics::of(metrics);
    let mut routes = Vec::new();
    if let Some(sink) = log(audit, &counters)? {
        routes.push(Route {
            sink,
            strict: audit.log_mode == "blocking-strict",
        });
    }
    routes.extend(journal(options, &counters).map(|sink| Route {
        sink,
        strict: false,
    }));
    Ok(Recorder::new(Some(policy(audit)?), routes, counters))
}

fn policy(options: &AuditOptions) -> Result<Policy, StartError> {
    let policy = match &options.policy_file {
        Some(path) => policy_file::load(path),
        None => policy_file::parse(DEFAULT_POLICY),
    };
    policy.map_err(|e| StartError::part("the audit policy", &e))
}

fn log(
    options: &AuditOptions,
    metrics: &AuditMetrics,
) -> Result<Option<Arc<dyn Sink>>, StartError> {
    let Some(path) = &options.log_path else {
        return Ok(None);
    };
    let log = LogOptions {
        path: path.clone(),
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
        return Ok(Some(sink));
    }
    let batch = BatchOptions {
        buffer_size: options.batch.buffer,
        max_size: options.batch.max_size,
        max_wait: options.batch.max_wait,
        throttle_qps: options.batch.throttle.map(|(qps, _)| qps as f32),
    };
    Ok(Some(BufferedSink::start(sink, batch, metrics.clone())))
}
