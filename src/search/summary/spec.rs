//! What a summary counts: `spec` of an AuditSummary.

use chrono::{Duration, Utc};

use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::search::query::{self, QueryError};
use crate::search::summary::GROUPS_MAX;
use crate::search::window::{Window, parse_duration, parse_time};

/// Groups when the spec does not say.
const DEFAULT_LIMIT: usize = 20;
/// Keys of one summary.
const KEYS_MAX: usize = 8;
/// Bars of a histogram.
const BARS_MAX: i64 = 1_000;

macro_rules! keys {
    ($($key:ident $name:literal,)*) => {
        /// What requests are grouped by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Key {
            $(#[doc = concat!("`", $name, "`")] $key,)*
        }

        /// The names of all keys.
        pub const BY: &[&str] = &[$($name,)*];

        impl Key {
            /// As the spec writes it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Key::$key => $name,)*
                }
            }

            fn parse(text: &str) -> Option<Self> {
                match text {
                    $($name => Some(Key::$key),)*
                    _ => None,
                }
            }
        }
    };
}

keys! {
    User "user",
    Authenticated "authenticated",
    Verb "verb",
    Resource "resource",
    Group "group",
    Plural "plural",
    Subresource "subresource",
    Name "name",
    Namespace "namespace",
    Client "client",
    Code "code",
    Class "class",
    Reason "reason",
    Ip "ip",
    Decision "decision",
    Path "path",
    DryRun "dryRun",
    Manager "manager",
    FailedStage "failedStage",
}

/// A parsed spec.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Which requests.
    pub query: String,
    /// When.
    pub window: Window,
    /// Grouped by what.
    pub by: Vec<Key>,
    /// Counted by each of these alone, too.
    pub facets: Vec<Key>,
    /// Whether the stages of the pipeline are counted.
    pub stages: bool,
    /// Groups that are answered, and values of each facet.
    pub limit: usize,
    /// Width of the bars of the histogram.
    pub interval: Option<Duration>,
    /// Percentiles of latency.
    pub percentiles: Vec<u64>,
}

/// Why a spec cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The query is wrong.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Other fields are.
    #[error("the spec is invalid")]
    Invalid(FieldErrors),
}

impl Spec {
    /// Reads `spec`.
    pub fn parse(spec: &Value) -> Result<Self, SpecError> {
        let mut errors = FieldErrors::default();
        let root = Path::ROOT.field("spec");
        let text = |name: &str| spec[name].as_str().unwrap_or_default();
        let query = text("query").to_string();
        query::parse(&query)?.matcher(&crate::search::fields::Fields::new())?;
        let window = window(spec, &root, &mut errors);
        let interval = match text("interval") {
            "" => None,
            text => {
                let parsed = parse_duration(text).filter(|d| *d >= Duration::milliseconds(1));
                if parsed.is_none() {
                    let why = "must be a duration of at least 1ms, as 30s, 5m or 1h";
                    errors.invalid_str(&root.field("interval"), text, why);
                }
                parsed
            }
        };
        if let Some(interval) = interval {
            let span = window.to.min(Utc::now()) - window.from;
            let bars = span.num_milliseconds() / interval.num_milliseconds().max(1);
            if bars > BARS_MAX && !text("from").is_empty() {
                let why = format!("must not make more than {BARS_MAX} bars of the time asked for");
                errors.invalid_str(&root.field("interval"), text("interval"), why);
            }
        }
        let spec = Spec {
            by: keys("by", spec, &root, &mut errors),
            facets: keys("facets", spec, &root, &mut errors),
            stages: spec["skipStages"] != true,
            limit: limit(spec, &root, &mut errors),
            percentiles: percentiles(spec, &root, &mut errors),
            query,
            window,
            interval,
        };
        match errors.is_empty() {
            true => Ok(spec),
            false => Err(SpecError::Invalid(errors)),
        }
    }
}

fn window(spec: &Value, root: &Path<'_>, errors: &mut FieldErrors) -> Window {
    let mut window = Window::all();
    for (name, end) in [("from", &mut window.from), ("to", &mut window.to)] {
        let text = spec[name].as_str().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        match parse_time(text, Utc::now()) {
            Ok(time) => *end = time,
            Err(why) => errors.invalid_str(&root.field(name), text, why),
        }
    }
    if errors.is_empty() && window.from >= window.to {
        let text = spec["from"].as_str().unwrap_or_default();
        errors.invalid_str(&root.field("from"), text, "must be before to");
    }
    window
}

fn keys(member: &str, spec: &Value, root: &Path<'_>, errors: &mut FieldErrors) -> Vec<Key> {
    let list = root.field(member);
    let names: Vec<&str> = strings(&spec[member]);
    if names.len() > KEYS_MAX {
        errors.too_many(&list, names.len(), KEYS_MAX);
    }
    let mut keys = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        match Key::parse(name) {
            Some(key) if keys.contains(&key) => errors.duplicate(&list.index(index), &json!(name)),
            Some(key) => keys.push(key),
            None => errors.not_supported(&list.index(index), &json!(name), BY),
        }
    }
    keys
}

fn strings(value: &Value) -> Vec<&str> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

fn limit(spec: &Value, root: &Path<'_>, errors: &mut FieldErrors) -> usize {
    match spec["limit"].as_i64() {
        None => DEFAULT_LIMIT,
        Some(0) => GROUPS_MAX,
        Some(limit) => match usize::try_from(limit) {
            Ok(limit) => limit.min(GROUPS_MAX),
            Err(_) => {
                let why = "must be greater than or equal to 0";
                errors.invalid(&root.field("limit"), &spec["limit"], why);
                DEFAULT_LIMIT
            }
        },
    }
}

fn percentiles(spec: &Value, root: &Path<'_>, errors: &mut FieldErrors) -> Vec<u64> {
    let Some(list) = spec["percentiles"].as_array().filter(|l| !l.is_empty()) else {
        return vec![50, 90, 99];
    };
    let field = root.field("percentiles");
    let mut out = Vec::new();
    for (index, value) in list.iter().enumerate() {
        match value.as_u64().filter(|p| (1..=100).contains(p)) {
            Some(percent) => out.push(percent),
            None => errors.invalid(&field.index(index), value, "must be between 1 and 100"),
        }
    }
    out
}
