//! `verbatim search QUERY`: what happened, newest first.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::base::tree::{Value, json};
use crate::cli::events::{EventQuery, each, fetch, fields_help, limit_arg, limit_of};
use crate::cli::events::{query_arg, window_args};
use crate::cli::found;
use crate::cli::print::{Row, Style, colour_arg, output, output_arg, wants_colour};
use crate::cli::print::{print, print_tree, table};
use crate::cli::source::{self, Source};
use crate::search::table::{COLUMNS, cells};

/// The subcommand.
pub fn command() -> Command {
    Command::new("search")
        .about("Search the record, newest first")
        .long_about(
            "Search the record, newest first.\n\n\
             A query is words and field:value pairs, ANDed; OR, NOT (or -) and parentheses work, and so do\n\
             quotes, * and ?, comparisons (latency:>500ms, code:>=400) and ranges (code:[400 TO 499]).",
        )
        .after_help(format!(
            "Examples:\n  verbatim search 'user:alice verb:delete resource:secrets'\n  verbatim search 'code:403 -user:system:*' --from -1h\n  verbatim search 'latency:>1s verb:(create OR update)' -o wide\n  verbatim search 'as:*' --from 2026-01-31 --to 2026-02-01 -o jsonl\n\n{}\n\
             Exit codes: 0 something was found, 1 nothing was, 2 the search failed.",
            fields_help()
        ))
        .arg(query_arg())
        .args(window_args())
        .arg(limit_arg("50", "How many events; 0 for all"))
        .arg(output_arg(&["table", "wide", "json", "jsonl", "yaml"]))
        .arg(
            Arg::new("reverse")
                .short('r')
                .long("reverse")
                .action(ArgAction::SetTrue)
                .help("Print the newest last"),
        )
        .arg(
            Arg::new("no-headers")
                .long("no-headers")
                .action(ArgAction::SetTrue)
                .help("Leave the headings of the table out"),
        )
        .arg(colour_arg())
        .args(source::args())
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let query = EventQuery::of(matches)?;
    let source = Source::of(matches).await?;
    let limit = limit_of(matches);
    let is_reverse = matches.get_flag("reverse");
    if output(matches) == "jsonl" && !is_reverse {
        // Printed as they come: there may be more than fit into memory.
        let count = each(&source, &query, limit, |event| {
            print(&format!("{event}\n"));
            Ok(())
        });
        return Ok(found(count.await? > 0));
    }
    let mut events = fetch(&source, &query, limit).await?;
    if is_reverse {
        events.reverse();
    }
    let is_empty = events.is_empty();
    match output(matches) {
        "jsonl" => events.iter().for_each(|e| print(&format!("{e}\n"))),
        format @ ("json" | "yaml") => {
            let list = json!({
                "kind": "AuditEventList",
                "apiVersion": "audit.verbatim.dev/v1alpha1",
                "metadata": {},
                "items": events,
            });
            print_tree(format, &list);
        }
        _ if is_empty => eprintln!("nothing found"),
        format => {
            let rows = rows(&events, format == "wide");
            let text = table(&headings(format == "wide"), &rows, wants_colour(matches));
            match (matches.get_flag("no-headers"), text.split_once('\n')) {
                (true, Some((_, rest))) => print(rest),
                _ => print(&text),
            }
        }
    }
    Ok(found(!is_empty))
}

/// Headings of a table of events.
pub fn headings(is_wide: bool) -> Vec<&'static str> {
    let shown = COLUMNS.iter().filter(|c| is_wide || !c.is_wide);
    shown.map(|c| c.name).collect()
}

/// Rows of a table of events.
pub fn rows(events: &[Value], is_wide: bool) -> Vec<Row> {
    events
        .iter()
        .map(|event| {
            let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
            COLUMNS
                .iter()
                .zip(cells(event))
                .filter(|(column, _)| is_wide || !column.is_wide)
                .map(|(column, cell)| (cell, style(column.name, code)))
                .collect()
        })
        .collect()
}

fn style(column: &str, code: u64) -> Style {
    match (column, code) {
        ("Code", code) => code_style(code),
        ("Time" | "Audit-ID", _) => Style::Dim,
        _ => Style::Plain,
    }
}

/// How a status code is shown.
pub fn code_style(code: u64) -> Style {
    match code {
        0..400 => Style::Green,
        400..500 => Style::Yellow,
        _ => Style::Red,
    }
}
