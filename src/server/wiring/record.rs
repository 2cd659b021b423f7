//! The record: policy, log, recorder.

use std::sync::Arc;

use crate::audit::metrics::Metrics as AuditMetrics;
use crate::audit::recorder::Route;
use crate::audit::sink::buffered::{BatchOptions, BufferedSink};
use crate::audit::sink::file::Rotation;
use crate::audit::sink::log::{Format, LogOptions, LogSink};
use crate::audit::{Policy, Recorder, Sink, policy_file};
use crate::server::life::StartError;
use crate::server::options::{AuditOptions, ServerOptions};
use crate::telemetry::Metrics;

/// The policy of a server that is given none.
const DEFAULT_POLICY: &str = include_str!("../../../audit-policies/default.yaml");

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
