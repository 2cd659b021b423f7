//! `verbatim stats`: how long requests take, by verb and resource, by stage, and over time.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::base::tree::{Value, json};
use crate::cli::events::{EventQuery, limit_arg, query_arg, summarize, value, window_args};
use crate::cli::found;
use crate::cli::print::{Row, Style, colour_arg, output, output_arg, wants_colour};
use crate::cli::print::{paint, print, print_tree, table};
use crate::cli::source::{self, Source};
use crate::cli::top::{NUMBERS, numbers};

/// Width of the longest bar of a histogram.
const BAR_MAX: u64 = 50;

/// The subcommand.
pub fn command() -> Command {
    Command::new("stats")
        .about("Latencies by verb and resource, and by stage of the way through the server")
        .after_help(
            "Examples:\n  verbatim stats --from -1h\n  verbatim stats 'resource:pods verb:list'\n  verbatim stats --from -1d --interval 1h\n\n\
             Every request counts once. Watches and streams do not count for latencies.\n\n\
             Exit codes: 0 something was counted, 1 nothing was, 2 it failed.",
        )
        .arg(query_arg())
        .args(window_args())
        .arg(limit_arg("30", "How many rows of verbs and resources; 0 for all"))
        .arg(value("interval", "Show a histogram with bars so wide: 5m, 1h").value_name("DURATION"))
        .arg(output_arg(&["table", "json", "yaml"]))
        .arg(colour_arg())
        .args(source::args())
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let query = EventQuery::of(matches)?;
    let limit = matches.get_one::<usize>("limit").copied().unwrap_or(30);
    let mut spec = json!({"by": ["verb", "resource"], "limit": limit});
    if let Some(interval) = matches.get_one::<String>("interval") {
        spec["interval"] = json!(interval);
    }
    let source = Source::of(matches).await?;
    let status = summarize(&source, &query, spec).await?;
    let is_empty = status["requests"] == 0;
    if print_tree(output(matches), &status) {
        return Ok(found(!is_empty));
    }
    if is_empty {
        eprintln!("nothing found");
        return Ok(found(false));
    }
    let colour = wants_colour(matches);
    let mut rows = vec![named("all requests".into(), &status)];
    rows.extend(list(&status["groups"]).iter().map(|group| {
        let text = |name: &str| group["key"][name].as_str().unwrap_or_default();
        let name = format!("{} {}", text("verb"), text("resource"));
        named(name.trim().to_string(), group)
    }));
    print_table("request", &rows, colour);
    let stages: Vec<Row> = list(&status["stages"])
        .iter()
        .map(|s| named(s["stage"].as_str().unwrap_or_default().into(), s))
        .collect();
    if !stages.is_empty() {
        print("\n");
        print_table("stage", &stages, colour);
    }
    print(&histogram(list(&status["histogram"]), colour));
    Ok(found(true))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn named(name: String, group: &Value) -> Row {
    let mut row = vec![(name, Style::Plain)];
    row.extend(numbers(group));
    row
}

fn print_table(name: &str, rows: &[Row], colour: bool) {
    let mut headings = vec![name];
    headings.extend(NUMBERS);
    print(&table(&headings, rows, colour));
}

/// A bar per interval; failures are the bar's end.
fn histogram(bars: &[Value], colour: bool) -> String {
    let count = |bar: &Value, name: &str| bar[name].as_u64().unwrap_or_default();
    let most = bars.iter().map(|b| count(b, "requests")).max();
    let most = most.unwrap_or_default().max(1);
    let mut out = String::new();
    if !bars.is_empty() {
        out.push('\n');
    }
    for bar in bars {
        let (requests, failures) = (count(bar, "requests"), count(bar, "failures"));
        let width = |n: u64| usize::try_from((n * BAR_MAX).div_ceil(most)).unwrap_or_default();
        let bad = width(failures).min(width(requests));
        let good = "█".repeat(width(requests) - bad);
        let bad = paint(&"▒".repeat(bad), Style::Yellow, colour);
        let from = bar["from"].as_str().unwrap_or_default();
        let from = from.split('.').next().unwrap_or_default();
        let failed = match failures {
            0 => String::new(),
            n => format!(", {n} failed"),
        };
        out.push_str(&format!("{from}Z  {good}{bad} {requests}{failed}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        let bars = [
            json!({"from": "2026-01-01T00:00:00.000000Z", "requests": 100, "failures": 50}),
            json!({"from": "2026-01-01T01:00:00.000000Z", "requests": 2, "failures": 0}),
        ];
        let text = histogram(&bars, false);
        let lines: Vec<&str> = text.trim().lines().collect();
        assert_eq!(
            lines[0],
            format!(
                "2026-01-01T00:00:00Z  {}{} 100, 50 failed",
                "█".repeat(25),
                "▒".repeat(25)
            )
        );
        assert_eq!(lines[1], "2026-01-01T01:00:00Z  █ 2");
    }
}
