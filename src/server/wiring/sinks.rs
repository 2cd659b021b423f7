//! The audit sinks: those of the flags, made once, and those of the configuration, which come and go
//! with it; and how they form the recorder's groups.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::record;
use crate::audit::chain::NotaryOptions;
use crate::audit::config::{
    Configuration, LogTarget, Mode, Redaction, SinkConfiguration, SinkSettings, SinkTarget, View,
    WebhookTarget,
};
use crate::audit::metrics::Metrics;
use crate::audit::recorder::{Group, Route};
use crate::audit::redact::{KEY_MIN_BYTES, Redactor};
use crate::audit::sampling::Sampler;
use crate::audit::sink::buffered::BufferedSink;
use crate::audit::sink::webhook::{Poster, WebhookOptions, WebhookSink};
use crate::audit::{Recorder, Sink};
use crate::server::client::{HttpsClient, kubeconfig};
use crate::server::life::StartError;
use crate::server::options::AuditChainOptions;
use crate::server::pki::host_name;

/// A sink of the flags.
pub(super) struct OwnSink {
    /// `log`, `webhook` or `journal`.
    pub(super) name: &'static str,
    /// The sink.
    pub(super) route: Route,
    /// The file it writes, if it is a file.
    pub(super) path: Option<PathBuf>,
}

/// Makes sinks and groups.
pub(super) struct Sinks {
    own: Vec<OwnSink>,
    /// Who signs checkpoints of log files.
    notary: Option<NotaryOptions>,
    /// What the configuration in force has opened.
    open: Mutex<Vec<OpenSink>>,
    /// File with the server's own key for redaction and sampling.
    key_file: PathBuf,
    metrics: Metrics,
}

#[derive(Clone)]
struct OpenSink {
    name: String,
    settings: SinkSettings,
    route: Route,
}

/// What a recorder takes, and what else changes when it does.
pub(super) struct Change {
    groups: Vec<Group>,
    sampler: Sampler,
    open: Vec<OpenSink>,
}

impl Sinks {
    /// Starts with the flags' sinks.
    pub(super) fn new(
        own: Vec<OwnSink>,
        notary: Option<NotaryOptions>,
        data_dir: &Path,
        metrics: Metrics,
    ) -> Self {
        Sinks {
            own,
            notary,
            open: Mutex::default(),
            key_file: data_dir.join("audit").join("redaction.key"),
            metrics,
        }
    }

    /// Opens what a configuration needs that is not open yet. Nothing is in force before
    /// [`Sinks::apply`], and nothing stays open of a change that fails.
    pub(super) fn prepare(&self, configuration: &Configuration) -> Result<Change, StartError> {
        let before = self.open.lock().clone();
        let mut open = Vec::new();
        for sink in &configuration.sinks {
            let same = before
                .iter()
                .find(|o| o.name == sink.name && o.settings == sink.settings);
            open.push(match same {
                Some(same) => same.clone(),
                None => OpenSink {
                    name: sink.name.clone(),
                    settings: sink.settings.clone(),
                    route: self.open(sink, &before)?,
                },
            });
        }
        let mut groups = vec![(
            configuration.view.clone(),
            self.group(
                self.own.first().map_or("none", |own| own.name),
                &configuration.view,
                self.own.iter().map(|own| own.route.clone()).collect(),
            )?,
        )];
        for (sink, opened) in configuration.sinks.iter().zip(&open) {
            match groups.iter_mut().find(|(view, _)| *view == sink.view) {
                Some((_, group)) => group.routes.push(opened.route.clone()),
                None => {
                    let routes = vec![opened.route.clone()];
                    let group = self.group(&sink.name, &sink.view, routes)?;
                    groups.push((sink.view.clone(), group));
                }
            }
        }
        Ok(Change {
            groups: groups.into_iter().map(|(_, group)| group).collect(),
            sampler: self.sampler(configuration)?,
            open,
        })
    }

    /// The first change: makes the recorder.
    pub(super) fn recorder(&self, change: Change) -> Arc<Recorder> {
        *self.open.lock() = change.open;
        Recorder::with_groups(change.groups, change.sampler, self.metrics.clone())
    }

    /// Puts a change in force. Sinks that are no longer named empty their queues in the background.
    pub(super) fn apply(&self, change: Change, recorder: &Recorder) {
        recorder.set_groups(change.groups, change.sampler);
        let before = std::mem::replace(&mut *self.open.lock(), change.open.clone());
        let is_kept = |old: &OpenSink| {
            let mut kept = change.open.iter();
            kept.any(|new| Arc::ptr_eq(&new.route.sink, &old.route.sink))
        };
        for old in before.into_iter().filter(|old| !is_kept(old)) {
            tokio::spawn(async move { old.route.sink.flush().await });
        }
    }

    fn group(&self, name: &str, view: &View, routes: Vec<Route>) -> Result<Group, StartError> {
        Ok(Group {
            name: name.to_string(),
            policy: Some(view.policy.clone()),
            redactor: self.redactor(&view.redaction)?,
            routes,
        })
    }

    fn redactor(&self, redaction: &Redaction) -> Result<Option<Arc<Redactor>>, StartError> {
        if redaction.rules.is_empty() {
            return Ok(None);
        }
        let key = match &redaction.key_file {
            Some(file) => read_key(file)?,
            None => own_key(&self.key_file)?,
        };
        let rules = redaction.rules.clone();
        Ok(Some(Arc::new(Redactor::new(rules, &key))))
    }

    /// Servers that share a key of redaction sample alike.
    fn sampler(&self, configuration: &Configuration) -> Result<Sampler, StartError> {
        let views = configuration.sinks.iter().map(|sink| &sink.view);
        let mut views = std::iter::once(&configuration.view).chain(views);
        let samples = |view: &View| {
            let mut rules = view.policy.rules.iter();
            rules.any(|rule| rule.sampled_percent.is_some())
        };
        if !views.any(samples) {
            return Ok(Sampler::random());
        }
        let key = match &configuration.view.redaction.key_file {
            Some(file) => read_key(file)?,
            None => own_key(&self.key_file)?,
        };
        Ok(Sampler::new(&key))
    }

    fn open(&self, sink: &SinkConfiguration, before: &[OpenSink]) -> Result<Route, StartError> {
        let settings = &sink.settings;
        let metrics = self.metrics.for_sink(&sink.name);
        let made: Arc<dyn Sink> = match &settings.target {
            SinkTarget::Log(log) => {
                self.refuse_shared_file(log, before)?;
                let truncation = settings.truncation;
                record::open_log(log, truncation, self.notary.clone(), &metrics)?
            }
            SinkTarget::Webhook(webhook) => open_webhook(&sink.name, webhook, settings, &metrics)?,
        };
        let is_log = matches!(settings.target, SinkTarget::Log(_));
        let sink = match settings.mode {
            // A webhook has a queue of its own.
            Mode::Batch if is_log => BufferedSink::start(made, settings.batch, metrics),
            _ => made,
        };
        Ok(Route {
            sink,
            strict: settings.mode == Mode::BlockingStrict,
        })
    }

    /// Two writers of one file would lose each other's place in it.
    fn refuse_shared_file(&self, log: &LogTarget, before: &[OpenSink]) -> Result<(), StartError> {
        if log.is_stdout() {
            return Ok(());
        }
        let refuse = |reason: &str| {
            Err(StartError::Part {
                part: "the audit sinks",
                reason: format!("{}: {reason}", log.path.display()),
            })
        };
        if self
            .own
            .iter()
            .any(|own| own.path.as_ref() == Some(&log.path))
        {
            return refuse("the server's own log is here");
        }
        let is_open = before.iter().any(|open| match &open.settings.target {
            SinkTarget::Log(other) => other.path == log.path,
            SinkTarget::Webhook(_) => false,
        });
        if is_open {
            return refuse("other settings of an open log need a restart, or another path");
        }
        Ok(())
    }
}

/// Who signs checkpoints of log files, and where these go.
pub(super) fn notary(options: &AuditChainOptions) -> Result<NotaryOptions, StartError> {
    let poster: Option<Arc<dyn Poster>> = match &options.webhook_config_file {
        Some(file) => Some(client(file, "the receiver of audit checkpoints")?),
        None => None,
    };
    Ok(NotaryOptions {
        server: host_name().unwrap_or_else(|| "verbatim".into()),
        key_file: options.key_file.clone(),
        interval: options.interval,
        events: options.events.into(),
        copy: options.copy.clone(),
        poster,
    })
}

/// A client of the server that a kubeconfig names.
fn client(file: &Path, part: &'static str) -> Result<Arc<HttpsClient>, StartError> {
    let failed = |reason: String| StartError::Part {
        part,
        reason: format!("kubeconfig {}: {reason}", file.display()),
    };
    let read = kubeconfig::read(file, None).map_err(|e| failed(causes(&e)))?;
    HttpsClient::new(&read).map_err(|e| failed(causes(&e)))
}

/// Opens a webhook.
pub(super) fn open_webhook(
    name: &str,
    target: &WebhookTarget,
    settings: &SinkSettings,
    metrics: &Metrics,
) -> Result<Arc<WebhookSink>, StartError> {
    let client = client(&target.kubeconfig, "the audit webhook")?;
    tracing::info!(sink = name, url = %client.url(), "audit events go to a webhook");
    let options = WebhookOptions {
        name: name.to_string(),
        is_blocking: settings.mode != Mode::Batch,
        batch: settings.batch,
        initial_backoff: target.initial_backoff,
        truncation: settings.truncation,
    };
    Ok(WebhookSink::start(client, options, metrics.clone()))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn key_error(path: &Path, reason: impl std::fmt::Display) -> StartError {
    StartError::Part {
        part: "the audit log's redaction",
        reason: format!("key file {}: {reason}", path.display()),
    }
}

/// A key that somebody gave.
fn read_key(path: &Path) -> Result<Vec<u8>, StartError> {
    let mut key = std::fs::read(path).map_err(|e| key_error(path, e))?;
    key.truncate(key.trim_ascii_end().len());
    if key.len() < KEY_MIN_BYTES {
        let reason = format!("must have at least {KEY_MIN_BYTES} bytes");
        return Err(key_error(path, reason));
    }
    Ok(key)
}

/// The server's own key, made when it is needed first.
fn own_key(path: &Path) -> Result<Vec<u8>, StartError> {
    if path.exists() {
        return read_key(path);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(|e| key_error(path, e))?;
    let key: String = rand::random::<[u8; 32]>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(|e| key_error(path, e))?;
    let written = file
        .write_all(key.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|e| key_error(path, e))?;
    Ok(key.into_bytes())
}
