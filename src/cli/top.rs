//! `verbatim top`: who does how much, of what, and how long it takes.
//!
//! The server counts (an AuditSummary); this prints.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::base::tree::{Value, json};
use crate::cli::events::{EventQuery, limit_arg, query_arg, summarize, value, window_args};
use crate::cli::found;
use crate::cli::print::{Row, Style, colour_arg, csv, duration, output, wants_colour};
use crate::cli::print::{output_arg, print, print_tree, table};
use crate::cli::source::{self, Source};
use crate::search::summary::BY;

/// The subcommand.
pub fn command() -> Command {
    let mut keys = BY.to_vec();
    keys.push("stage");
    Command::new("top")
        .about("Count requests by what they have in common")
        .after_help(
            "Examples:\n  verbatim top\n  verbatim top --by client --from -1h\n  verbatim top 'code:403' --by user,resource,verb\n  verbatim top 'verb:list' --by stage\n\n\
             --by stage shows where the time goes on the way through the server; the longest total comes first.\n\
             Every request counts once. Watches and streams do not count for latencies.\n\n\
             Exit codes: 0 something was counted, 1 nothing was, 2 it failed.",
        )
        .arg(query_arg())
        .args(window_args())
        .arg(
            value("by", "What to count by; several make groups of combinations")
                .value_delimiter(',')
                .value_parser(keys)
                .default_value("user"),
        )
        .arg(limit_arg("20", "How many groups; 0 for all"))
        .arg(output_arg(&["table", "wide", "json", "yaml", "csv"]))
        .arg(colour_arg())
        .args(source::args())
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let query = EventQuery::of(matches)?;
    let by: Vec<&str> = matches
        .get_many::<String>("by")
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let is_stage = by == ["stage"];
    if !is_stage && by.contains(&"stage") {
        anyhow::bail!("--by stage cannot be combined: one request passes many stages");
    }
    let limit = matches.get_one::<usize>("limit").copied().unwrap_or(20);
    let spec = match is_stage {
        true => json!({}),
        false => json!({"by": by, "limit": limit, "skipStages": true}),
    };
    let source = Source::of(matches).await?;
    let status = summarize(&source, &query, spec).await?;
    let (mut groups, headings) = match is_stage {
        true => (status["stages"].clone(), vec!["stage"]),
        false => (status["groups"].clone(), by.clone()),
    };
    if let Some(groups) = groups.as_array_mut().filter(|_| limit > 0) {
        groups.truncate(limit);
    }
    let groups = groups.as_array().cloned().unwrap_or_default();
    let format = output(matches);
    if format == "csv" {
        print(&csv_of(&groups, &headings));
    } else if !print_tree(format, &status) {
        if groups.is_empty() {
            eprintln!("nothing found");
            return Ok(found(false));
        }
        let rows: Vec<Row> = groups
            .iter()
            .map(|group| row(group, &headings, format == "wide"))
            .collect();
        let mut names = headings;
        names.extend(NUMBERS);
        if format == "wide" && !is_stage {
            names.extend(["first", "last", "example"]);
        }
        print(&table(&names, &rows, wants_colour(matches)));
        let more = status["groupsTotal"].as_u64().unwrap_or_default();
        let shown = rows.len() as u64;
        if more > shown {
            eprintln!("{} more groups; --limit 0 shows all", more - shown);
        }
    }
    Ok(found(!groups.is_empty()))
}

/// Headings behind what the groups have in common.
pub const NUMBERS: [&str; 8] = [
    "requests", "failed", "min", "p50", "p90", "p99", "max", "total",
];

/// Cells of a group's numbers, in the order of [`NUMBERS`].
pub fn numbers(group: &Value) -> Row {
    let mut row = vec![(group["requests"].to_string(), Style::Plain)];
    row.push(match group["failures"].as_u64().unwrap_or_default() {
        0 => (String::new(), Style::Plain),
        n => (n.to_string(), Style::Yellow),
    });
    let latency = &group["latency"];
    let of = &latency["percentiles"];
    for micros in [
        &latency["min"],
        &of["50"],
        &of["90"],
        &of["99"],
        &latency["max"],
        &latency["total"],
    ] {
        let text = micros.as_u64().map(duration).unwrap_or_default();
        row.push((text, Style::Plain));
    }
    row
}

fn common(group: &Value, name: &str) -> String {
    let value = match name {
        "stage" => &group["stage"],
        name => &group["key"][name],
    };
    value.as_str().unwrap_or_default().to_string()
}

fn row(group: &Value, headings: &[&str], is_wide: bool) -> Row {
    let mut row: Row = headings
        .iter()
        .map(|name| match common(group, name) {
            text if text.is_empty() => ("<none>".to_string(), Style::Dim),
            text => (text, Style::Plain),
        })
        .collect();
    row.extend(numbers(group));
    if is_wide {
        for name in ["first", "last", "example"] {
            let text = group[name].as_str().unwrap_or_default();
            row.push((text.to_string(), Style::Dim));
        }
    }
    row
}

fn csv_of(groups: &[Value], headings: &[&str]) -> String {
    let mut out = headings.join(",");
    out.push_str(",requests,failures,min_us,p50_us,p90_us,p99_us,max_us,total_us\n");
    for group in groups {
        let mut cells: Vec<String> = headings.iter().map(|n| csv(&common(group, n))).collect();
        let latency = &group["latency"];
        let of = &latency["percentiles"];
        for value in [
            &group["requests"],
            &group["failures"],
            &latency["min"],
            &of["50"],
            &of["90"],
            &of["99"],
            &latency["max"],
            &latency["total"],
        ] {
            cells.push(value.as_u64().map(|n| n.to_string()).unwrap_or_default());
        }
        out.push_str(&cells.join(","));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_as_rows_and_csv() {
        let group = json!({
            "key": {"user": "a,b", "verb": ""}, "requests": 3, "failures": 1,
            "latency": {"min": 1, "max": 2000, "total": 3000, "percentiles": {"50": 999, "90": 1500, "99": 2000}},
        });
        let groups = [group];
        let cells: Vec<String> = row(&groups[0], &["user", "verb"], false)
            .into_iter()
            .map(|(text, _)| text)
            .collect();
        assert_eq!(
            cells,
            [
                "a,b", "<none>", "3", "1", "1µs", "999µs", "1.5ms", "2.0ms", "2.0ms", "3.0ms"
            ]
        );
        assert_eq!(
            csv_of(&groups, &["user", "verb"]),
            "user,verb,requests,failures,min_us,p50_us,p90_us,p99_us,max_us,total_us\n\"a,b\",,3,1,1,999,1500,2000,2000,3000\n"
        );
    }
}
