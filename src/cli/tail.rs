//! `verbatim tail [QUERY]`: events as they are recorded.
//!
//! A watch; when it ends or breaks, another one goes on from the last event seen. Where the server
//! has let go of that place, it says that events may be missing.

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Command};

use crate::base::tree::Value;
use crate::cli::client::encode;
use crate::cli::events::{EventQuery, fetch, fields_help, limit_arg, limit_of};
use crate::cli::events::{query_arg, value, window_args};
use crate::cli::found;
use crate::cli::print::{Style, colour_arg, output, output_arg, paint, print, wants_colour};
use crate::cli::search::{headings, rows};
use crate::cli::source::{self, Source};

/// Wait before asking again after a broken connection, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// The subcommand.
pub fn command() -> Command {
    Command::new("tail")
        .about("Show events as they are recorded")
        .after_help(format!(
            "Examples:\n  verbatim tail\n  verbatim tail 'code:>=400 -user:system:*'\n  verbatim tail 'resource:secrets' --lines 20 -o jsonl | jq .user.username\n\n{}\n\
             Ends with Ctrl-C, or after --limit events.\n\
             Exit codes: 0 something was shown, 1 nothing was, 2 the watch failed.",
            fields_help()
        ))
        .arg(query_arg())
        .args(window_args().into_iter().filter(|a| a.get_id() == "namespace"))
        .arg(
            value("lines", "How many past events to begin with")
                .default_value("0")
                .value_parser(clap::value_parser!(usize)),
        )
        .arg(limit_arg("0", "End after so many events; 0 never ends"))
        .arg(output_arg(&["table", "wide", "jsonl"]))
        .arg(colour_arg())
        .args(source::args())
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    tokio::select! {
        outcome = follow(matches) => outcome,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
    }
}

async fn follow(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let words = matches.get_many::<String>("query");
    let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
    let query = EventQuery {
        text: words.join(" "),
        namespace: matches.get_one::<String>("namespace").cloned(),
        ..EventQuery::default()
    };
    query.check()?;
    let source = Source::of(matches).await?;
    let mut printer = Printer::new(matches);
    let lines = matches.get_one::<usize>("lines").copied().unwrap_or(0);
    // The version of an empty page is where "from now on" begins.
    let page = source.get(&format!("{}&limit=1", query.path())).await?;
    let mut version = page["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    if lines > 0 {
        let past = fetch(&source, &query, lines).await?;
        past.iter().rev().for_each(|event| printer.print(event));
    }
    let limit = limit_of(matches);
    if printer.printed >= limit {
        return Ok(found(true));
    }
    let mut wait = BACKOFF.0;
    loop {
        let before = version.clone();
        let outcome = watch(&source, &query, &mut version, limit, &mut printer).await;
        match outcome {
            Ok(End::Enough) => return Ok(found(true)),
            Ok(End::Closed) => {}
            Ok(End::Expired) => {
                eprintln!(
                    "the server has let go of the events since the last one shown: some may be missing"
                );
                version = "0".into();
            }
            Err(error) if error.is::<crate::cli::client::Refusal>() => return Err(error),
            Err(error) => eprintln!("{error:#}; asking again"),
        }
        wait = match before == version {
            true => (wait * 2).min(BACKOFF.1),
            false => BACKOFF.0,
        };
        tokio::time::sleep(wait).await;
    }
}

enum End {
    /// As many events as were wanted.
    Enough,
    /// The server ended the watch.
    Closed,
    /// The place to go on from is gone.
    Expired,
}

async fn watch(
    source: &Source,
    query: &EventQuery,
    version: &mut String,
    limit: usize,
    printer: &mut Printer,
) -> anyhow::Result<End> {
    let start = match version.as_str() {
        // Only what is recorded from now on.
        "" | "0" => "sendInitialEvents=false&resourceVersionMatch=NotOlderThan".to_string(),
        version => format!("resourceVersion={}", encode(version)),
    };
    let path = format!(
        "{}&watch=true&allowWatchBookmarks=true&{start}",
        query.path()
    );
    let mut frames = source.stream(&path).await?;
    while let Some(frame) = frames.next().await? {
        let object = &frame["object"];
        match frame["type"].as_str() {
            Some("ERROR") if object["code"] == 410 => return Ok(End::Expired),
            Some("ERROR") => anyhow::bail!("{}", object["message"].as_str().unwrap_or("unknown")),
            Some("ADDED") => printer.print(object),
            _ => {}
        }
        if let Some(seen) = object["metadata"]["resourceVersion"].as_str() {
            *version = seen.to_string();
        }
        if printer.printed >= limit {
            return Ok(End::Enough);
        }
    }
    Ok(End::Closed)
}

/// Prints events one at a time, in columns that only ever get wider.
struct Printer {
    format: String,
    has_colour: bool,
    widths: Vec<usize>,
    printed: usize,
}

/// Columns begin so wide; what is longer pushes the rest of the line.
const WIDTHS: [(&str, usize); 7] = [
    ("Time", 24),
    ("User", 20),
    ("Verb", 7),
    ("Object", 32),
    ("Namespace", 12),
    ("Code", 4),
    ("Took", 8),
];

impl Printer {
    fn new(matches: &ArgMatches) -> Self {
        let format = output(matches).to_string();
        let width = |name: &&str| {
            let known = WIDTHS.iter().find(|(n, _)| n == name);
            known.map_or(name.len(), |(_, width)| *width)
        };
        let widths = headings(format == "wide").iter().map(width).collect();
        Printer {
            format,
            has_colour: wants_colour(matches),
            widths,
            printed: 0,
        }
    }

    fn print(&mut self, event: &Value) {
        self.printed += 1;
        if self.format == "jsonl" {
            return print(&format!("{event}\n"));
        }
        let is_wide = self.format == "wide";
        if self.printed == 1 {
            let first = headings(is_wide)
                .iter()
                .map(|h| (h.to_uppercase(), Style::Bold))
                .collect::<Vec<_>>();
            self.line(&first);
        }
        for row in rows(std::slice::from_ref(event), is_wide) {
            self.line(&row);
        }
    }

    fn line(&mut self, cells: &[(String, Style)]) {
        let mut line = String::new();
        for ((cell, style), width) in cells.iter().zip(&mut self.widths) {
            let length = cell.chars().count();
            *width = (*width).max(length.min(*width + 12));
            line.push_str(&paint(cell, *style, self.has_colour));
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(length) + 2));
        }
        print(&format!("{}\n", line.trim_end()));
    }
}
