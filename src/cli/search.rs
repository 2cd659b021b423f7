//! `verbatim search QUERY`: what happened, newest first.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use crate::api::yaml;
use crate::cli::client::{BASE, Client, encode};
use crate::cli::kubeconfig;
use crate::cli::print::{Row, Style, has_colour, print, table};
use crate::search::fields;
use crate::search::table::{COLUMNS, cells};

/// Events per request.
const PAGE: usize = 5000;

/// The subcommand.
pub fn command() -> Command {
    Command::new("search")
        .about("Search the record of a running server, newest first")
        .long_about(
            "Search the record of a running server, newest first.\n\n\
             A query is words and field:value pairs, ANDed; OR, NOT (or -) and parentheses work, and so do\n\
             quotes, * and ?, comparisons (latency:>500ms, code:>=400) and ranges (code:[400 TO 499]).",
        )
        .after_help(after_help())
        .args(query_args("50"))
        .arg(
            value("output", "How to print")
                .short('o')
                .value_parser(["table", "wide", "json", "jsonl", "yaml"])
                .default_value("table"),
        )
        .arg(
            Arg::new("no-headers")
                .long("no-headers")
                .action(ArgAction::SetTrue)
                .help("Leave the headings of the table out"),
        )
        .args(kubeconfig::args())
}

/// Query, window, namespace and limit, for all tools that look at many events.
pub fn query_args(limit: &'static str) -> Vec<Arg> {
    vec![
        Arg::new("query")
            .num_args(0..)
            .help("What to look for; nothing finds everything"),
        value("from", "Earliest time: -2h, 2026-01-31, RFC 3339").allow_hyphen_values(true),
        value("to", "Latest time; default now").allow_hyphen_values(true),
        value("limit", "How many events; 0 for all")
            .default_value(limit)
            .value_parser(value_parser!(usize)),
        value(
            "namespace",
            "Only events of this namespace, for those who may read no others",
        )
        .short('n'),
    ]
}

fn value(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help)
}

fn after_help() -> String {
    let mut out = String::from(
        "Examples:\n  verbatim search 'user:alice verb:delete resource:secrets'\n  verbatim search 'code:403 -user:system:*' --from -1h\n  verbatim search 'latency:>1s verb:(create OR update)' -o wide\n\nFields:\n",
    );
    out.push_str(&fields::help());
    out.push_str("\nExit codes: 0 something was found, 1 nothing was, 2 the search failed.");
    out
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let client = Client::new(kubeconfig::target(matches)?)?;
    let limit = match matches.get_one::<usize>("limit") {
        Some(0) | None => usize::MAX,
        Some(limit) => *limit,
    };
    let events = fetch(&client, matches, limit).await?;
    let output = matches
        .get_one::<String>("output")
        .map_or("table", String::as_str);
    match output {
        "jsonl" => events.iter().for_each(|e| print(&format!("{e}\n"))),
        "json" | "yaml" => {
            let list = json!({
                "kind": "AuditEventList",
                "apiVersion": "audit.verbatim.dev/v1alpha1",
                "metadata": {},
                "items": events,
            });
            match output {
                "yaml" => print(&yaml::to_yaml(&list)),
                _ => print(&format!("{list:#}\n")),
            }
        }
        _ => print_table(&events, output == "wide", matches.get_flag("no-headers")),
    }
    Ok(match events.is_empty() {
        true => ExitCode::from(1),
        false => ExitCode::SUCCESS,
    })
}

/// Follows pages until there are enough events.
pub async fn fetch(
    client: &Client,
    matches: &ArgMatches,
    limit: usize,
) -> anyhow::Result<Vec<Value>> {
    let words: Vec<&str> = matches
        .get_many::<String>("query")
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let namespace = match matches.get_one::<String>("namespace") {
        Some(namespace) => format!("/namespaces/{}", encode(namespace)),
        None => String::new(),
    };
    let mut base = format!(
        "{BASE}{namespace}/auditevents?query={}",
        encode(&words.join(" "))
    );
    for name in ["from", "to"] {
        if let Some(time) = matches.get_one::<String>(name) {
            base.push_str(&format!("&{name}={}", encode(time)));
        }
    }
    let mut events = Vec::new();
    let mut next = String::new();
    loop {
        let page = PAGE.min(limit - events.len());
        let list = client
            .get(&format!("{base}&limit={page}&continue={next}"))
            .await?;
        if let Value::Array(items) = &list["items"] {
            events.extend_from_slice(items);
        }
        next = list["metadata"]["continue"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        if next.is_empty() || events.len() >= limit {
            return Ok(events);
        }
    }
}

fn print_table(events: &[Value], is_wide: bool, no_headings: bool) {
    if events.is_empty() {
        eprintln!("nothing found");
        return;
    }
    let shown: Vec<usize> = (0..COLUMNS.len())
        .filter(|i| is_wide || !COLUMNS[*i].is_wide)
        .collect();
    let headings: Vec<&str> = shown.iter().map(|i| COLUMNS[*i].name).collect();
    let rows: Vec<Row> = events
        .iter()
        .map(|event| {
            let cells = cells(event);
            let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
            shown
                .iter()
                .map(|i| (cells[*i].clone(), style(COLUMNS[*i].name, code)))
                .collect()
        })
        .collect();
    let text = table(&headings, &rows, has_colour());
    match (no_headings, text.split_once('\n')) {
        (true, Some((_, rest))) => print(rest),
        _ => print(&text),
    }
}

fn style(column: &str, code: u64) -> Style {
    match (column, code) {
        ("Code", 0..400) => Style::Green,
        ("Code", 400..500) => Style::Yellow,
        ("Code", _) => Style::Red,
        ("Time" | "Audit-ID", _) => Style::Dim,
        _ => Style::Plain,
    }
}
