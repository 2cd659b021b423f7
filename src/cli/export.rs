//! `verbatim export [QUERY]`: events for other tools, as upstream writes them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::audit::event::TRACE_ANNOTATION;
use crate::base::tree::Value;
use crate::cli::events::{EventQuery, each, fields_help, limit_arg, limit_of};
use crate::cli::events::{query_arg, value, window_args};
use crate::cli::found;
use crate::cli::print::csv;
use crate::cli::source::{self, Source};
use crate::search::table::{COLUMNS, cells};

/// The subcommand.
pub fn command() -> Command {
    Command::new("export")
        .about("Write events for other tools: JSON lines as kube-apiserver logs them, or CSV")
        .after_help(format!(
            "Examples:\n  verbatim export --from -1d > audit.jsonl\n  verbatim export --format khi --from -6h --out khi.jsonl\n  verbatim export 'code:>=400' --format csv --out failures.csv\n\n\
             Formats:\n  jsonl  audit.k8s.io/v1 events, one a line, without what Verbatim adds (--own keeps it)\n  khi    the same, only the stage that Kubernetes History Inspector reads (ResponseComplete)\n  csv    the columns of search -o wide\n\n\
             Events come newest first; sort by time afterwards where a tool needs that.\n\n{}\n\
             Exit codes: 0 something was written, 1 nothing was, 2 it failed.",
            fields_help()
        ))
        .arg(query_arg())
        .args(window_args())
        .arg(limit_arg("0", "How many events; 0 for all"))
        .arg(
            value("format", "What to write")
                .value_parser(["jsonl", "khi", "csv"])
                .default_value("jsonl"),
        )
        .arg(
            Arg::new("complete-only")
                .long("complete-only")
                .action(ArgAction::SetTrue)
                .help("Only the stage ResponseComplete, as --format khi does"),
        )
        .arg(
            Arg::new("own")
                .long("own")
                .action(ArgAction::SetTrue)
                .help("Keep the stage trace that Verbatim adds as an annotation"),
        )
        .arg(
            value("out", "File to write; - or nothing is standard output")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf)),
        )
        .args(source::args())
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let mut query = EventQuery::of(matches)?;
    let format = matches
        .get_one::<String>("format")
        .map_or("", String::as_str);
    if format == "khi" || matches.get_flag("complete-only") {
        query = query.and("stage:ResponseComplete");
    }
    let keeps_own = matches.get_flag("own");
    let source = Source::of(matches).await?;
    let path = matches.get_one::<PathBuf>("out");
    let path = path.filter(|p| p.as_os_str() != "-");
    let mut out: Box<dyn Write> = match path {
        Some(path) => {
            let file = File::create(path);
            let file = file.with_context(|| format!("creating {}", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    if format == "csv" {
        let names: Vec<String> = COLUMNS.iter().map(|c| csv(c.name)).collect();
        writeln!(out, "{}", names.join(","))?;
    }
    let count = each(&source, &query, limit_of(matches), |event| {
        match format {
            "csv" => {
                let cells: Vec<String> = cells(&event).iter().map(|c| csv(c)).collect();
                writeln!(out, "{}", cells.join(","))?;
            }
            _ => writeln!(out, "{}", upstream(event, keeps_own))?,
        }
        Ok(())
    });
    let count = count.await?;
    out.flush().context("writing")?;
    drop(out);
    eprintln!("{count} events");
    Ok(found(count > 0))
}

/// An item as kube-apiserver would have logged the event.
fn upstream(mut event: Value, keeps_own: bool) -> Value {
    let Some(members) = event.as_object_mut() else {
        return event;
    };
    members.remove("metadata");
    members.insert("kind".into(), "Event".into());
    members.insert("apiVersion".into(), "audit.k8s.io/v1".into());
    if !keeps_own
        && let Some(annotations) = members
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
    {
        annotations.remove(TRACE_ANNOTATION);
        if annotations.is_empty() {
            members.remove("annotations");
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use crate::base::tree::json;

    use super::*;

    #[test]
    fn upstreams_shape() {
        let item = json!({
            "kind": "AuditEvent", "apiVersion": "audit.verbatim.dev/v1alpha1", "metadata": {"name": "x"},
            "auditID": "i", "annotations": {TRACE_ANNOTATION: "{}"},
        });
        assert_eq!(
            upstream(item.clone(), false),
            json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": "i"})
        );
        assert!(upstream(item, true)["annotations"].is_object());
    }
}
