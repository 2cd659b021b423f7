//! Loading of `AuditConfiguration`s, and of plain `Policy` files as configurations.
//!
//! Ours is strict where upstream is lenient: an unknown field, a duplicate key or a value that cannot
//! be meant is an error, with its line. Relative paths in a file start at the file's folder.

mod document;

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use self::document::{
    ActionDocument, BatchDocument, Document, FieldDocument, FormatDocument, LogDocument,
    ModeDocument, RedactionDocument, SinkDocument, TruncationDocument,
};
use crate::api::field::{FieldErrors, Path};
use crate::audit::Policy;
use crate::audit::config::{
    Configuration, LogTarget, Mode, Redaction, SinkConfiguration, SinkSettings, SinkTarget,
    Truncation, View, WebhookTarget,
};
use crate::audit::lines::Lines;
use crate::audit::policy_file::{self, API_VERSION as POLICY_VERSION};
use crate::audit::redact::{Action, DefaultSet, FieldRule, JsonPath, Rules, Target};
use crate::audit::sink::buffered::BatchOptions;
use crate::audit::sink::log::Format;
use crate::base::duration;
use crate::base::tree::{Value, json};

/// Group and version of our kind.
pub const API_VERSION: &str = "audit.verbatim.dev/v1alpha1";
/// Our kind.
pub const KIND: &str = "AuditConfiguration";
/// The configuration of a server that is given none.
pub const DEFAULT: &str = include_str!("../../audit-policies/default.yaml");
/// Names of the flags' sinks, and of all of them together in `verbatim policy`.
const OWN_SINKS: [&str; 4] = ["default", "journal", "log", "webhook"];
/// Most sinks of one file.
const SINKS_MAX: usize = 16;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("failed to read file path {path:?}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A plain policy is refused, in upstream's words.
    #[error(transparent)]
    Policy(#[from] policy_file::Error),
    /// Mistakes in an `AuditConfiguration`, each with its line.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
}

impl Error {
    /// One text per mistake, each with its line in `text` where that is known.
    pub fn located(&self, text: &str) -> Vec<String> {
        match self {
            Error::Policy(error) => error.located(&Lines::of(text)),
            Error::Invalid(mistakes) => mistakes.clone(),
            Error::Read { source, .. } => vec![format!("{self}: {source}")],
        }
    }
}

/// Loads a file of either kind.
pub fn load(path: &FilePath) -> Result<Configuration, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })?;
    let mut loaded = parse(&text, path.parent().unwrap_or(FilePath::new(".")))?;
    loaded.files.insert(0, path.into());
    Ok(loaded)
}

/// The built-in configuration.
pub fn default() -> Configuration {
    parse(DEFAULT, FilePath::new(".")).expect("a test loads the built-in configuration")
}

/// Loads a text of either kind; `base` is where relative paths start.
pub fn parse(text: &str, base: &FilePath) -> Result<Configuration, Error> {
    if !is_own_kind(text) {
        let policy = policy_file::parse(text)?;
        return Ok(Configuration {
            warnings: policy.warnings.clone(),
            view: View {
                policy: Arc::new(policy),
                redaction: Redaction::default(),
            },
            sinks: Vec::new(),
            files: Vec::new(),
        });
    }
    let document: Document =
        serde_saphyr::from_str(text).map_err(|e| Error::Invalid(vec![decode_error(&e)]))?;
    let mut loader = Loader {
        base,
        lines: Lines::of(text),
        mistakes: Vec::new(),
        files: Vec::new(),
        warnings: Vec::new(),
    };
    let loaded = loader.configuration(&document);
    match loaded {
        Some(mut loaded) if loader.mistakes.is_empty() => {
            loaded.files = loader.files;
            loaded.warnings = loader.warnings;
            Ok(loaded)
        }
        _ => Err(Error::Invalid(loader.mistakes)),
    }
}

/// Whether a text says that it is of our group. What cannot be read is left to upstream's reader.
fn is_own_kind(text: &str) -> bool {
    #[derive(Deserialize)]
    struct TypeMeta {
        #[serde(rename = "apiVersion", default)]
        api_version: String,
    }
    serde_saphyr::from_str::<TypeMeta>(text).map_or_else(
        |_| text.contains("audit.verbatim.dev/"),
        |meta| meta.api_version.starts_with("audit.verbatim.dev/"),
    )
}

/// The first line of a message that quotes the text, which may be secret or long.
fn decode_error(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    match error.location() {
        Some(at) if !text.contains("line ") => format!("line {}: {text}", at.line()),
        _ => text,
    }
}

/// Turns the document into what the server uses and gathers what is wrong on the way.
struct Loader<'a> {
    base: &'a FilePath,
    lines: Lines,
    mistakes: Vec<String>,
    files: Vec<PathBuf>,
    warnings: Vec<String>,
}

impl Loader<'_> {
    fn mistake(&mut self, path: &str, message: impl std::fmt::Display) {
        let line = self.lines.prefix(path);
        self.mistakes.push(format!("{line}{path}: {message}"));
    }

    fn configuration(&mut self, document: &Document) -> Option<Configuration> {
        if document.api_version != API_VERSION {
            let message = format!(
                "{:?} is not known; write {API_VERSION}",
                document.api_version
            );
            self.mistake("apiVersion", message);
        }
        if document.kind != KIND {
            self.mistake(
                "kind",
                format!("{:?} is not known; write {KIND}", document.kind),
            );
        }
        let policy = self.policy(
            "",
            document.policy.as_ref(),
            document.policy_file.as_deref(),
        );
        let policy = policy.unwrap_or_else(|| default_policy(document));
        let redaction = match &document.redaction {
            Some(redaction) => self.redaction("redaction", redaction),
            None => Redaction::default(),
        };
        let view = View { policy, redaction };
        if document.sinks.len() > SINKS_MAX {
            self.mistake("sinks", format!("at most {SINKS_MAX} are possible"));
        }
        let mut sinks: Vec<SinkConfiguration> = Vec::new();
        for (index, sink) in document.sinks.iter().enumerate() {
            let path = format!("sinks[{index}]");
            if sinks.iter().any(|s| s.name == sink.name) {
                self.mistake(&format!("{path}.name"), "another sink has this name");
            }
            if let Some(loaded) = self.sink(&path, sink, &view) {
                if let Some(log) = log_path(&loaded)
                    && sinks.iter().any(|s| log_path(s) == Some(log))
                {
                    let message = "another sink writes here";
                    self.mistake(&format!("{path}.log.path"), message);
                }
                sinks.push(loaded);
            }
        }
        Some(Configuration {
            view,
            sinks,
            warnings: Vec::new(),
            files: Vec::new(),
        })
    }

    fn resolve(&self, path: &FilePath) -> PathBuf {
        self.base.join(path)
    }

    /// A policy given in place or as a file, if either is given.
    fn policy(
        &mut self,
        at: &str,
        inline: Option<&Value>,
        file: Option<&FilePath>,
    ) -> Option<Arc<Policy>> {
        let dot = if at.is_empty() { "" } else { "." };
        let field = format!("{at}{dot}policy");
        let policy = match (inline, file) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.mistake(
                    &format!("{field}File"),
                    "give policy or policyFile, not both",
                );
                return Some(Arc::default());
            }
            (Some(tree), None) => self.inline_policy(&field, tree),
            (None, Some(file)) => self.policy_file(&format!("{field}File"), &self.resolve(file)),
        };
        Some(policy.map(Arc::new).unwrap_or_default())
    }

    fn inline_policy(&mut self, field: &str, tree: &Value) -> Option<Policy> {
        if !tree.is_object() {
            self.mistake(field, "must be an object with rules");
            return None;
        }
        for (key, expected) in [("apiVersion", POLICY_VERSION), ("kind", "Policy")] {
            if !tree[key].is_null() && tree[key] != expected {
                self.mistake(
                    &format!("{field}.{key}"),
                    format!("write {expected}, or nothing"),
                );
            }
        }
        match policy_file::from_configuration(tree, Path::ROOT.field(field)) {
            Ok(mut policy) => {
                for warning in std::mem::take(&mut policy.warnings) {
                    let name = warning.split('"').nth(1).unwrap_or_default().to_string();
                    self.mistake(&name, "unknown field");
                }
                Some(policy)
            }
            Err(error @ policy_file::Error::NoRules) => {
                self.mistake(field, error);
                None
            }
            Err(error) => {
                self.mistakes.extend(error.located(&self.lines));
                None
            }
        }
    }

    fn policy_file(&mut self, field: &str, file: &FilePath) -> Option<Policy> {
        self.files.push(file.into());
        match policy_file::load(file) {
            Ok(policy) => {
                let shown = file.display();
                let warnings = policy.warnings.iter();
                self.warnings
                    .extend(warnings.map(|w| format!("{shown}: {w}")));
                Some(policy)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error);
                let cause = cause.map_or(String::new(), |c| format!(": {c}"));
                self.mistake(field, format!("{}: {error}{cause}", file.display()));
                None
            }
        }
    }

    fn redaction(&mut self, at: &str, document: &RedactionDocument) -> Redaction {
        let default_action = action(document.action.unwrap_or(ActionDocument::Hash));
        let mut sets = Vec::new();
        match &document.defaults {
            None => sets.extend(DefaultSet::ALL),
            Some(names) => {
                for (index, name) in names.iter().enumerate() {
                    match DefaultSet::parse(name) {
                        Some(set) => sets.push(set),
                        None => self.mistake(
                            &format!("{at}.defaults[{index}]"),
                            format!("{name:?} is none of {}", DefaultSet::names().join(", ")),
                        ),
                    }
                }
            }
        }
        let mut rules = Rules::of(&sets, default_action);
        rules.parameters = document.uri_parameters.clone();
        for (index, field) in document.fields.iter().enumerate() {
            let path = format!("{at}.fields[{index}]");
            let rule = self.field_rule(&path, field, default_action);
            // What somebody wrote goes before what everybody gets.
            rules.fields.insert(index, rule);
        }
        let key_file = document.key_file.as_deref().map(|p| self.resolve(p));
        self.files.extend(key_file.clone());
        Redaction { rules, key_file }
    }

    fn field_rule(&mut self, at: &str, document: &FieldDocument, default: Action) -> FieldRule {
        let mut paths = Vec::new();
        if document.paths.is_empty() {
            self.mistake(&format!("{at}.paths"), "give at least one path");
        }
        for (index, text) in document.paths.iter().enumerate() {
            match JsonPath::parse(text) {
                Ok(path) => paths.push(path),
                Err(error) => self.mistake(&format!("{at}.paths[{index}]"), error),
            }
        }
        let tree = json!({"resources": document.resources});
        let mut errors = FieldErrors::default();
        let resources = policy_file::resources(&tree, &Path::ROOT.field(at), &mut errors);
        let resources = match resources {
            Ok(resources) if errors.is_empty() => resources,
            Ok(_) => {
                let error = policy_file::Error::Invalid(errors);
                self.mistakes.extend(error.located(&self.lines));
                Vec::new()
            }
            Err(error) => {
                self.mistakes.extend(error.located(&self.lines));
                Vec::new()
            }
        };
        for (index, entry) in document.resources.iter().enumerate() {
            let known = ["group", "resources", "resourceNames"];
            for key in entry.as_object().into_iter().flat_map(|o| o.keys()) {
                if !known.contains(&key.as_str()) {
                    self.mistake(&format!("{at}.resources[{index}].{key}"), "unknown field");
                }
            }
        }
        FieldRule {
            paths,
            resources,
            action: document.action.map_or(default, action),
            target: Target::Value,
        }
    }

    fn sink(&mut self, at: &str, sink: &SinkDocument, shared: &View) -> Option<SinkConfiguration> {
        if !is_name(&sink.name) {
            self.mistake(
                &format!("{at}.name"),
                "a name consists of at most 63 lower case letters, digits and '-', and begins and ends with a letter or digit",
            );
        }
        if OWN_SINKS.contains(&sink.name.as_str()) {
            self.mistake(
                &format!("{at}.name"),
                "this is the name of a sink of the server's own",
            );
        }
        let target = self.target(at, sink)?;
        let is_webhook = matches!(target, SinkTarget::Webhook(_));
        let mode = match sink.mode {
            Some(ModeDocument::Batch) => Mode::Batch,
            Some(ModeDocument::Blocking) => Mode::Blocking,
            Some(ModeDocument::BlockingStrict) => Mode::BlockingStrict,
            None if is_webhook => Mode::Batch,
            None => Mode::Blocking,
        };
        let defaults = match is_webhook {
            true => BatchOptions::webhook(),
            false => BatchOptions::log(),
        };
        let batch = self.batch(at, sink.batch.as_ref(), defaults);
        if sink.batch.is_some() && mode != Mode::Batch {
            self.mistake(&format!("{at}.batch"), "has a meaning in mode Batch only");
        }
        let policy = self.policy(at, sink.policy.as_ref(), sink.policy_file.as_deref());
        let redaction = match &sink.redaction {
            Some(redaction) => self.redaction(&format!("{at}.redaction"), redaction),
            None => shared.redaction.clone(),
        };
        Some(SinkConfiguration {
            name: sink.name.clone(),
            view: View {
                policy: policy.unwrap_or_else(|| shared.policy.clone()),
                redaction,
            },
            settings: SinkSettings {
                target,
                mode,
                batch,
                truncation: sink.truncation.as_ref().map(truncation),
            },
        })
    }

    fn target(&mut self, at: &str, sink: &SinkDocument) -> Option<SinkTarget> {
        match (&sink.log, &sink.stdout, &sink.webhook) {
            (Some(log), None, None) => {
                if log.path.as_os_str() == "-" {
                    self.mistake(&format!("{at}.log.path"), "write stdout: {} instead of log");
                }
                Some(SinkTarget::Log(log_target(log, self.resolve(&log.path))))
            }
            (None, Some(stdout), None) => Some(SinkTarget::Log(LogTarget {
                format: format(stdout.format),
                ..LogTarget::file("-".into())
            })),
            (None, None, Some(webhook)) => {
                let wait = webhook.initial_backoff.as_deref();
                let default = Duration::from_secs(10);
                Some(SinkTarget::Webhook(WebhookTarget {
                    kubeconfig: self.resolve(&webhook.kubeconfig),
                    initial_backoff: self.duration(
                        &format!("{at}.webhook.initialBackoff"),
                        wait,
                        default,
                    ),
                }))
            }
            _ => {
                self.mistake(at, "give exactly one of log, stdout and webhook");
                None
            }
        }
    }

    fn batch(
        &mut self,
        at: &str,
        document: Option<&BatchDocument>,
        defaults: BatchOptions,
    ) -> BatchOptions {
        let Some(document) = document else {
            return defaults;
        };
        for (name, value) in [
            ("bufferSize", document.buffer_size),
            ("maxSize", document.max_size),
        ] {
            if value == Some(0) {
                self.mistake(&format!("{at}.batch.{name}"), "must be at least 1");
            }
        }
        if let Some(throttle) = &document.throttle
            && (throttle.qps <= 0.0 || throttle.burst == 0)
        {
            self.mistake(
                &format!("{at}.batch.throttle"),
                "qps and burst must be more than 0",
            );
        }
        let wait = document.max_wait.as_deref();
        BatchOptions {
            buffer_size: document.buffer_size.unwrap_or(defaults.buffer_size),
            max_size: document.max_size.unwrap_or(defaults.max_size),
            max_wait: self.duration(&format!("{at}.batch.maxWait"), wait, defaults.max_wait),
            throttle: match &document.throttle {
                Some(throttle) => Some((throttle.qps, throttle.burst)),
                None => defaults.throttle,
            },
        }
    }

    fn duration(&mut self, at: &str, text: Option<&str>, default: Duration) -> Duration {
        let Some(text) = text else {
            return default;
        };
        match duration::parse(text) {
            Ok(Some(duration)) => duration,
            Ok(None) => {
                self.mistake(at, "must not be negative");
                default
            }
            Err(error) => {
                self.mistake(at, error);
                default
            }
        }
    }
}

/// The built-in policy, for a file that says nothing about policies. The built-in file itself does.
fn default_policy(document: &Document) -> Arc<Policy> {
    match document.policy {
        None => default().view.policy,
        Some(_) => Arc::default(),
    }
}

fn is_name(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn log_path(sink: &SinkConfiguration) -> Option<&FilePath> {
    match &sink.settings.target {
        SinkTarget::Log(log) => Some(&log.path),
        SinkTarget::Webhook(_) => None,
    }
}

fn action(document: ActionDocument) -> Action {
    match document {
        ActionDocument::Hash => Action::Hash,
        ActionDocument::Mask => Action::Mask,
    }
}

fn format(document: Option<FormatDocument>) -> Format {
    match document {
        Some(FormatDocument::Legacy) => Format::Legacy,
        Some(FormatDocument::Json) | None => Format::Json,
    }
}

fn log_target(document: &LogDocument, path: PathBuf) -> LogTarget {
    let defaults = LogTarget::file(path);
    LogTarget {
        format: format(document.format),
        max_bytes: document
            .max_size_mb
            .map_or(defaults.max_bytes, |mb| u64::from(mb) * 1024 * 1024),
        max_age_days: document.max_age_days.unwrap_or(defaults.max_age_days),
        max_backups: document.max_backups.unwrap_or(defaults.max_backups),
        compress: document.compress.unwrap_or(defaults.compress),
        path: defaults.path,
    }
}

fn truncation(document: &TruncationDocument) -> Truncation {
    let defaults = Truncation::default();
    Truncation {
        max_event_bytes: document.max_event_bytes.unwrap_or(defaults.max_event_bytes),
        max_batch_bytes: document.max_batch_bytes.unwrap_or(defaults.max_batch_bytes),
    }
}

#[cfg(test)]
mod tests;
