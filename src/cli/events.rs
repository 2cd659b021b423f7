//! The query layer of the hand tools: which events, page by page, and summaries of them.

use anyhow::bail;
use clap::{Arg, ArgMatches, value_parser};

use crate::base::tree::{Value, json};
use crate::cli::client::encode;
use crate::cli::source::{Source, path};
use crate::search::api::{GROUP, VERSION};
use crate::search::fields::{self, Fields};
use crate::search::query;

/// Events per request.
const PAGE: usize = 5000;
/// The one event of each request that says how it ended.
pub const LAST_EVENT: &str =
    "(stage:ResponseComplete OR stage:Panic OR (stage:ResponseStarted -user:*))";

/// The positional query.
pub fn query_arg() -> Arg {
    Arg::new("query")
        .num_args(0..)
        .help("What to look for; nothing finds everything")
}

/// Window and namespace, for all tools that look at events.
pub fn window_args() -> Vec<Arg> {
    vec![
        value("from", "Earliest time: -2h, 2026-01-31, RFC 3339")
            .visible_alias("since")
            .value_name("TIME")
            .allow_hyphen_values(true),
        value("to", "Latest time; default now")
            .visible_alias("until")
            .value_name("TIME")
            .allow_hyphen_values(true),
        value(
            "namespace",
            "Only events of this namespace, for those who may read no others",
        )
        .short('n'),
    ]
}

/// How many events.
pub fn limit_arg(default: &'static str, help: &'static str) -> Arg {
    value("limit", help)
        .default_value(default)
        .value_parser(value_parser!(usize))
}

/// A long flag with a value.
pub fn value(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help)
}

/// The fields of the query language, for help texts.
pub fn fields_help() -> String {
    format!("Fields:\n{}", fields::help())
}

/// What the flags ask for.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// In the query language.
    pub text: String,
    /// `--from`.
    pub from: Option<String>,
    /// `--to`.
    pub to: Option<String>,
    /// `--namespace`.
    pub namespace: Option<String>,
}

impl EventQuery {
    /// Reads the flags. A wrong query is shown with a mark under the place.
    pub fn of(matches: &ArgMatches) -> anyhow::Result<Self> {
        let words = matches.try_get_many::<String>("query").ok().flatten();
        let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
        let get = |name: &str| matches.get_one::<String>(name).cloned();
        // `--since 1h` says the same as `--from -1h`.
        let ago = |time: String| match time.chars().next() {
            Some(first)
                if first.is_ascii_digit()
                    && crate::search::window::parse_duration(&time).is_some() =>
            {
                format!("-{time}")
            }
            _ => time,
        };
        let query = EventQuery {
            text: words.join(" "),
            from: get("from").map(ago),
            to: get("to").map(ago),
            namespace: get("namespace"),
        };
        query.check()?;
        Ok(query)
    }

    /// The same with another condition.
    pub fn and(&self, condition: &str) -> Self {
        EventQuery {
            text: match self.text.trim() {
                "" => condition.to_string(),
                text => format!("({text}) {condition}"),
            },
            ..self.clone()
        }
    }

    /// Refuses a wrong query.
    pub fn check(&self) -> anyhow::Result<()> {
        let checked = query::parse(&self.text).and_then(|q| q.compile(&Fields::new()).map(drop));
        let Err(error) = checked else {
            return Ok(());
        };
        let blanks = " ".repeat(error.at);
        bail!("{}\n  {}\n  {blanks}^", error.message, self.text)
    }

    /// Path and parameters of a request for events.
    pub fn path(&self) -> String {
        let mut out = path(self.namespace.as_deref(), "auditevents");
        out.push_str(&format!("?query={}", encode(&self.text)));
        for (name, time) in [("from", &self.from), ("to", &self.to)] {
            if let Some(time) = time {
                out.push_str(&format!("&{name}={}", encode(time)));
            }
        }
        out
    }
}

/// Takes the events page by page, newest first, until there are `limit` or `take` has enough.
/// Answers how many there were.
pub async fn each(
    source: &Source,
    query: &EventQuery,
    limit: usize,
    mut take: impl FnMut(Value) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let base = query.path();
    let (mut count, mut next) = (0, String::new());
    loop {
        let page = PAGE.min(limit - count);
        let path = format!("{base}&limit={page}&continue={next}");
        let mut list = source.get(&path).await?;
        if let Value::Array(items) = list["items"].take() {
            for item in items {
                count += 1;
                take(item)?;
            }
        }
        next = match list["metadata"]["continue"].as_str() {
            Some(token) if !token.is_empty() && count < limit => encode(token),
            _ => return Ok(count),
        };
    }
}

/// The events, newest first.
pub async fn fetch(
    source: &Source,
    query: &EventQuery,
    limit: usize,
) -> anyhow::Result<Vec<Value>> {
    let mut events = Vec::new();
    each(source, query, limit, |event| {
        events.push(event);
        Ok(())
    })
    .await?;
    Ok(events)
}

/// Counts: answers the `status` of an AuditSummary of the query with the rest of its spec.
pub async fn summarize(
    source: &Source,
    query: &EventQuery,
    mut spec: Value,
) -> anyhow::Result<Value> {
    spec["query"] = json!(query.text);
    for (name, time) in [("from", &query.from), ("to", &query.to)] {
        if let Some(time) = time {
            spec[name] = json!(time);
        }
    }
    let (kind, resource) = match query.namespace {
        Some(_) => ("LocalAuditSummary", "localauditsummaries"),
        None => ("AuditSummary", "auditsummaries"),
    };
    let summary = json!({
        "kind": kind,
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": {},
        "spec": spec,
    });
    let path = path(query.namespace.as_deref(), resource);
    let mut summary = source.post(&path, &summary).await?;
    let status = summary["status"].take();
    if status["complete"] == false {
        eprintln!("the index is behind the log or being built anew: requests may be missing");
    }
    Ok(status)
}

/// Zero means all.
pub fn limit_of(matches: &ArgMatches) -> usize {
    match matches.get_one::<usize>("limit") {
        Some(0) | None => usize::MAX,
        Some(limit) => *limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    fn query(args: &[&str]) -> anyhow::Result<EventQuery> {
        let command = Command::new("x").arg(query_arg()).args(window_args());
        EventQuery::of(&command.get_matches_from([&["x"], args].concat()))
    }

    #[test]
    fn errors_are_marked() {
        let error = query(&["user:alice", "usr:x"]).expect_err("unknown field");
        let text = error.to_string();
        assert!(text.starts_with("unknown field \"usr\""), "{text}");
        assert!(
            text.ends_with("\n  user:alice usr:x\n             ^"),
            "{text}"
        );
    }

    #[test]
    fn windows_and_paths() {
        let query = query(&["-n", "x", "--since", "1h", "verb:get"]).expect("a query");
        assert_eq!(
            query.path(),
            "/apis/audit.verbatim.dev/v1alpha1/namespaces/x/auditevents?query=verb%3Aget&from=-1h"
        );
        assert_eq!(query.and("code:403").text, "(verb:get) code:403");
    }
}
