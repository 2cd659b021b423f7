//! The record: policy, log, recorder, index.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::sinks::{self, OwnSink, Sinks};
use crate::api::status::Status;
use crate::audit::chain::NotaryOptions;
use crate::audit::config::{Configuration, LogTarget, Mode, SinkTarget, Truncation};
use crate::audit::metrics::Metrics as AuditMetrics;
use crate::audit::recorder::Route;
use crate::audit::sink::buffered::{BatchOptions, BufferedSink};
use crate::audit::sink::file::Rotation;
use crate::audit::sink::log::{Format, LogOptions, LogSink};
use crate::audit::{Recorder, Sink, config_file};
use crate::base::Tasks;
use crate::base::tree::Value;
use crate::diagnose::api::{self, RecordApi};
use crate::endpoints::Mount;
use crate::request::{ApiRequest, ApiResponse, RequestContext, RequestInfo};
use crate::search::api::{EventsApi, WatchLimits};
use crate::search::{Hub, Index, IndexOptions, Ingest, Source};
use crate::server::health::{Asked, Health};
use crate::server::life::StartError;
use crate::server::options::{AuditOptions, Role, ServerOptions};
use crate::telemetry::Metrics;

/// Rotated files that are kept of the journal.
const JOURNAL_BACKUPS: u32 = 10;

/// How often the sinks look after themselves.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The record's parts.
pub(super) struct Record {
    pub(super) recorder: Arc<Recorder>,
    pub(super) index: Option<Arc<Index>>,
    /// Takes audit events of other API servers.
    pub(super) ingest: Option<Arc<Ingest>>,
    /// The newest events, of the log that the index follows.
    pub(super) hub: Option<Arc<Hub>>,
    pub(super) sinks: Arc<Sinks>,
    /// The files that say what is recorded.
    pub(super) policy_files: Vec<PathBuf>,
}

/// Makes the recorder with its sinks, and the index that follows the log.
pub(super) fn record(
    options: &ServerOptions,
    metrics: &Arc<Metrics>,
) -> Result<Record, StartError> {
    let configuration = configuration(&options.audit)?;
    let followed = followed_log(options);
    let counters = AuditMetrics::of(metrics);
    let notary = match &options.audit.chain {
        Some(chain) => Some(sinks::notary(chain)?),
        None => None,
    };
    let own = own_sinks(options, notary.clone(), followed.as_deref(), &counters)?;
    let collected = match &followed {
        Some(log) => Some(collected(options, log, &own, &counters)?),
        None => None,
    };
    let sinks = Sinks::new(own, notary, &options.data_dir, counters);
    let recorder = sinks.recorder(sinks.prepare(&configuration)?);
    let index = match &followed {
        Some(log) => {
            let root = options.data_dir.join("index");
            // A server whose index cannot be opened serves without it.
            Index::follow(
                &root,
                sources(options, log),
                index_options(options, metrics),
            )
            .inspect_err(|error| {
                tracing::error!(%error, root = %root.display(), "search and why are off");
            })
            .ok()
        }
        None => None,
    };
    let ingest = index.clone().zip(collected);
    let ingest = ingest.map(|(index, (sink, log))| Ingest::new(sink, log, index, recorder.clone()));
    let hub = followed.map(|log| Hub::new(&log, metrics));
    Ok(Record {
        recorder,
        index,
        ingest,
        hub,
        sinks: Arc::new(sinks),
        policy_files: configuration.files,
    })
}

/// Where events of other API servers are kept. A collector has them in its own log, a server of a
/// cluster in one beside its own.
fn collected(
    options: &ServerOptions,
    followed: &Path,
    own: &[OwnSink],
    metrics: &AuditMetrics,
) -> Result<(Arc<dyn Sink>, PathBuf), StartError> {
    let mut own = own.iter().filter(|_| options.role == Role::Collector);
    match own.find(|sink| sink.path.as_deref() == Some(followed)) {
        Some(sink) => Ok((sink.route.sink.clone(), followed.into())),
        None => {
            let log = imported_log(options);
            Ok((journal(&log, metrics)?, log))
        }
    }
}

fn imported_log(options: &ServerOptions) -> PathBuf {
    options.data_dir.join("imported").join("imported.log")
}

/// The logs that the index follows.
fn sources(options: &ServerOptions, log: &Path) -> Vec<Source> {
    let source = |name: &str, path: PathBuf, may_repeat: bool| Source {
        name: name.into(),
        path,
        cluster: None,
        may_repeat,
    };
    match options.role {
        Role::Collector => vec![source("log", log.into(), true)],
        Role::ApiServer => vec![
            source("log", log.into(), false),
            source("imported", imported_log(options), true),
        ],
    }
}

fn index_options(options: &ServerOptions, metrics: &Metrics) -> IndexOptions {
    IndexOptions {
        max_age_days: options.audit.index_max_age_days,
        max_bytes: options.audit.index_max_bytes,
        metrics: crate::search::Metrics::of(metrics),
        ..IndexOptions::default()
    }
}

/// The sinks of the flags, and the journal where the index needs one. They see what the
/// configuration says for all.
fn own_sinks(
    options: &ServerOptions,
    notary: Option<NotaryOptions>,
    followed: Option<&Path>,
    metrics: &AuditMetrics,
) -> Result<Vec<OwnSink>, StartError> {
    let audit = &options.audit;
    let mut own = Vec::new();
    if let Some(path) = &audit.log_path {
        own.push(OwnSink {
            name: "log",
            route: Route {
                sink: log(audit, path, notary, metrics)?,
                strict: audit.log_mode == "blocking-strict",
            },
            path: Some(path.clone()),
        });
    }
    if let Some(webhook) = &audit.webhook
        && let SinkTarget::Webhook(target) = &webhook.target
    {
        own.push(OwnSink {
            name: "webhook",
            route: Route {
                sink: sinks::open_webhook("webhook", target, webhook, metrics)?,
                strict: webhook.mode == Mode::BlockingStrict,
            },
            path: None,
        });
    }
    if let Some(path) = followed
        && audit.log_path.as_deref() != Some(path)
    {
        own.push(OwnSink {
            name: "journal",
            route: Route {
                sink: journal(path, metrics)?,
                strict: false,
            },
            path: Some(path.into()),
        });
    }
    Ok(own)
}

/// Has the sinks look after themselves: a log that is deleted or cannot be written is noticed within
/// a second, also when nothing happens. `/readyz/audit-log` tells; `/readyz` as `--audit-log-readyz`
/// says.
pub(super) fn watch_sinks(
    options: &AuditOptions,
    recorder: &Arc<Recorder>,
    health: &Health,
    tasks: &Tasks,
) {
    let problems: Arc<ArcSwap<Vec<String>>> = Arc::default();
    let asked = match options.fails_readyz {
        true => Asked::Ready,
        false => Asked::ByName,
    };
    let told = problems.clone();
    health.add("audit-log", asked, move || {
        let problems = told.load_full();
        Box::pin(async move {
            match problems.is_empty() {
                true => Ok(()),
                false => Err(problems.join("; ")),
            }
        })
    });
    let recorder = recorder.clone();
    tasks.spawn_until_stopped(async move {
        let mut every = tokio::time::interval(CHECK_INTERVAL);
        loop {
            every.tick().await;
            let found = recorder.check();
            let known = problems.load();
            for problem in found.iter().filter(|p| !known.contains(p)) {
                tracing::error!(%problem, "the record is in danger");
            }
            if found != **known {
                problems.store(Arc::new(found));
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

fn configuration(options: &AuditOptions) -> Result<Configuration, StartError> {
    let Some(path) = &options.policy_file else {
        return Ok(config_file::default());
    };
    let loaded = config_file::load(path).map_err(|e| StartError::part("the audit policy", &e))?;
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "the audit policy");
    }
    Ok(loaded)
}

fn log(
    options: &AuditOptions,
    path: &Path,
    notary: Option<NotaryOptions>,
    metrics: &AuditMetrics,
) -> Result<Arc<dyn Sink>, StartError> {
    let target = LogTarget {
        format: match options.log_format.as_str() {
            "legacy" => Format::Legacy,
            _ => Format::Json,
        },
        max_bytes: u64::from(options.max_size_mb) * 1024 * 1024,
        max_age_days: options.max_age_days,
        max_backups: options.max_backups,
        compress: options.compress,
        path: path.into(),
    };
    let truncation = options.truncate.map(|(event, batch)| Truncation {
        max_event_bytes: event,
        max_batch_bytes: batch,
    });
    let sink = open_log(&target, truncation, notary, metrics)?;
    if options.log_mode != "batch" {
        return Ok(sink);
    }
    let batch = BatchOptions {
        buffer_size: options.batch.buffer,
        max_size: options.batch.max_size,
        max_wait: options.batch.max_wait,
        throttle: options
            .batch
            .throttle
            .map(|(qps, burst)| (qps as f32, burst)),
    };
    Ok(BufferedSink::start(sink, batch, metrics.clone()))
}

/// A log that nobody asked for but the index.
fn journal(path: &Path, metrics: &AuditMetrics) -> Result<Arc<dyn Sink>, StartError> {
    let target = LogTarget {
        max_backups: JOURNAL_BACKUPS,
        ..LogTarget::file(path.into())
    };
    Ok(open_log(&target, None, None, metrics)?)
}

/// Opens a log file, chained where there is a notary, or standard output.
pub(super) fn open_log(
    target: &LogTarget,
    truncation: Option<Truncation>,
    notary: Option<NotaryOptions>,
    metrics: &AuditMetrics,
) -> Result<Arc<LogSink>, StartError> {
    let options = LogOptions {
        path: target.path.clone(),
        rotation: Rotation {
            max_bytes: target.max_bytes,
            max_age_days: target.max_age_days,
            max_backups: target.max_backups as usize,
            compress: target.compress,
        },
        format: target.format,
        max_event_bytes: truncation.map(|t| t.max_event_bytes),
        chain: notary,
    };
    LogSink::open(&options, metrics.clone()).map_err(|e| StartError::part("the audit log", &e))
}

/// `audit.verbatim.dev`, beside the API.
pub(super) struct RecordMount(pub(super) RecordApi);

impl RecordMount {
    pub(super) fn new(record: &Record, asked: api::Asked, limits: WatchLimits) -> Option<Self> {
        let (index, hub) = (record.index.clone()?, record.hub.clone()?);
        let events = EventsApi::new(index, hub, record.recorder.clone(), limits);
        Some(RecordMount(RecordApi::new(events, asked)))
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
