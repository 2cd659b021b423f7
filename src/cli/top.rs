//! `verbatim top` and `verbatim stats`: who does how much, and how long it takes.
//!
//! Both count over the newest events that a query finds, page by page, and say when there were more.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::kubeconfig;
use crate::cli::print::{Row, Style, has_colour, print, table};
use crate::cli::search::{fetch, query_args};
use crate::search::table::trace;

/// What `top` counts by.
const BY: [&str; 9] = [
    "user",
    "verb",
    "resource",
    "namespace",
    "client",
    "code",
    "stage",
    "reason",
    "ip",
];

/// `verbatim top`.
pub fn top_command() -> Command {
    Command::new("top")
        .about("Count requests by user, verb, resource, namespace, client, code, stage, reason or address")
        .args(query_args("100000"))
        .arg(
            Arg::new("by")
                .long("by")
                .value_parser(BY)
                .default_value("user")
                .help("What to count by; stage shows where the time goes"),
        )
        .arg(
            Arg::new("rows")
                .long("rows")
                .value_parser(value_parser!(usize))
                .default_value("20")
                .help("How many rows"),
        )
        .args(kubeconfig::args())
}

/// `verbatim stats`.
pub fn stats_command() -> Command {
    Command::new("stats")
        .about("Latencies by verb and resource, and by pipeline stage")
        .args(query_args("100000"))
        .args(kubeconfig::args())
}

/// Numbers of one row.
#[derive(Default)]
struct Tally {
    requests: u64,
    failures: u64,
    micros: Vec<u64>,
}

impl Tally {
    fn add(&mut self, code: u64, micros: u64) {
        self.requests += 1;
        self.failures += u64::from(code >= 400);
        self.micros.push(micros);
    }

    /// The value below which `percent` of the requests are.
    fn percentile(&mut self, percent: usize) -> u64 {
        self.micros.sort_unstable();
        let last = self.micros.len().saturating_sub(1);
        self.micros
            .get(last * percent / 100)
            .copied()
            .unwrap_or_default()
    }

    fn row(mut self, name: String) -> Row {
        let failures = match self.failures {
            0 => (String::new(), Style::Plain),
            n => (n.to_string(), Style::Yellow),
        };
        let total: u64 = self.micros.iter().sum();
        let mut row = vec![
            (name, Style::Plain),
            (self.requests.to_string(), Style::Plain),
            failures,
        ];
        for micros in [
            self.percentile(50),
            self.percentile(90),
            self.percentile(99),
            self.percentile(100),
            total,
        ] {
            row.push((duration(micros), Style::Plain));
        }
        row
    }
}

/// Headings of a tally's row behind its name.
const HEADINGS: [&str; 7] = ["requests", "failed", "p50", "p90", "p99", "max", "total"];

fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{}.{}ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{:02}s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}

/// Runs `top`.
pub async fn run_top(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let events = events(matches).await?;
    let by = matches
        .get_one::<String>("by")
        .map_or("user", String::as_str);
    let rows = matches.get_one::<usize>("rows").copied().unwrap_or(20);
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for event in &events {
        let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
        if by == "stage" {
            for (stage, micros) in stages(event) {
                tallies.entry(stage).or_default().add(code, micros);
            }
        } else {
            let tally = tallies.entry(key(event, by)).or_default();
            tally.add(code, micros(event));
        }
    }
    show(by, tallies, rows);
    Ok(exit_code(&events))
}

/// Runs `stats`.
pub async fn run_stats(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let events = events(matches).await?;
    let (mut requests, mut pipeline) = (BTreeMap::new(), BTreeMap::new());
    for event in events.iter().filter(|e| e["verb"] != "watch") {
        let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
        let name = format!("{} {}", key(event, "verb"), key(event, "resource"));
        let tally: &mut Tally = requests.entry(name).or_default();
        tally.add(code, micros(event));
        for (stage, micros) in stages(event) {
            let tally: &mut Tally = pipeline.entry(stage).or_default();
            tally.add(code, micros);
        }
    }
    show("request", requests, usize::MAX);
    print("\n");
    show("stage", pipeline, usize::MAX);
    Ok(exit_code(&events))
}

/// One event per request: those that say how it ended.
async fn events(matches: &ArgMatches) -> anyhow::Result<Vec<Value>> {
    let client = Client::new(kubeconfig::target(matches)?)?;
    let limit = matches
        .get_one::<usize>("limit")
        .copied()
        .unwrap_or(100_000);
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut events = fetch(&client, matches, limit).await?;
    if events.len() == limit {
        eprintln!("counted over the newest {limit} events; --limit 0 counts all");
    }
    events.retain(|e| !trace(e).is_null());
    Ok(events)
}

fn exit_code(events: &[Value]) -> ExitCode {
    match events.is_empty() {
        true => ExitCode::from(1),
        false => ExitCode::SUCCESS,
    }
}

fn micros(event: &Value) -> u64 {
    trace(event)["us"].as_u64().unwrap_or_default()
}

fn stages(event: &Value) -> Vec<(String, u64)> {
    let trace = trace(event);
    let stages = trace["stages"].as_array().into_iter().flatten();
    stages
        .filter_map(|s| Some((s[0].as_str()?.to_string(), s[2].as_u64()?)))
        .collect()
}

fn key(event: &Value, by: &str) -> String {
    let object = &event["objectRef"];
    let value = match by {
        "user" => &event["user"]["username"],
        "verb" => &event["verb"],
        "namespace" => &object["namespace"],
        "client" => &event["userAgent"],
        "reason" => &event["responseStatus"]["reason"],
        "ip" => &event["sourceIPs"][0],
        "code" => return event["responseStatus"]["code"].to_string(),
        _ => {
            let part = |key: &str, before: &str| match object[key].as_str() {
                Some(text) if !text.is_empty() => format!("{before}{text}"),
                _ => String::new(),
            };
            let resource = part("resource", "");
            return match resource.is_empty() {
                true => "<none>".into(),
                false => resource + &part("apiGroup", ".") + &part("subresource", "/"),
            };
        }
    };
    match value.as_str() {
        Some(text) if !text.is_empty() => text.to_string(),
        _ => "<none>".into(),
    }
}

/// Prints the largest tallies first.
fn show(name: &str, tallies: BTreeMap<String, Tally>, rows: usize) {
    let mut tallies: Vec<(String, Tally)> = tallies.into_iter().collect();
    // Requests by how many there are, stages by the time that goes into them.
    tallies.sort_by_cached_key(|(_, tally)| {
        std::cmp::Reverse(match name {
            "stage" => tally.micros.iter().sum(),
            _ => tally.requests,
        })
    });
    tallies.truncate(rows);
    let mut headings = vec![name];
    headings.extend(HEADINGS);
    let rows: Vec<Row> = tallies.into_iter().map(|(n, t)| t.row(n)).collect();
    print(&table(&headings, &rows, has_colour()));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_and_percentiles() {
        let event = json!({"user": {"username": "a"}, "objectRef": {"resource": "deployments", "apiGroup": "apps", "subresource": "scale"}, "responseStatus": {"code": 200}});
        assert_eq!(key(&event, "user"), "a");
        assert_eq!(key(&event, "resource"), "deployments.apps/scale");
        assert_eq!(key(&event, "code"), "200");
        assert_eq!(key(&event, "namespace"), "<none>");
        let mut tally = Tally::default();
        (1..=100).for_each(|n| tally.add(200, n));
        assert_eq!((tally.percentile(50), tally.percentile(100)), (50, 100));
    }
}
