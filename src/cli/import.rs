//! `verbatim import FILE…`: audit events from files into a running server or collector, or, with
//! `--data-dir`, into the index of one that is not running.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::sync::mpsc;

use crate::base::tree::{Value, from_value};
use crate::cli::client::Client;
use crate::cli::kubeconfig;
use crate::cli::print::print;
use crate::search::import::{
    self, ImportError, ImportOptions, Input, Progress, Summary, import, read,
};
use crate::search::ingest::{LISTS_PATH, Received};

/// Bytes of events in one request.
const BATCH_BYTES: usize = 4 << 20;
/// Batches that wait for the server.
const BATCHES_WAITING: usize = 2;
/// How often the progress is drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Width of the bar.
const BAR_WIDTH: usize = 30;
/// Problems that are printed.
const PROBLEMS_SHOWN: usize = 20;

/// The subcommand.
pub fn command() -> Command {
    Command::new("import")
        .about("Import audit logs into the searchable record")
        .long_about(
            "Import audit logs into the searchable record of a running server or collector, or, with\n\
             --data-dir, of one that is not running. Events that are there already are not added again.\n\n\
             Takes kube-apiserver's JSON lines, EventLists, JSON arrays and pretty-printed documents, exports\n\
             of `verbatim search -o json|jsonl`, entries that log collectors wrapped around events (jsonPayload,\n\
             message, log, …) and GKE's Cloud Logging entries; plain or gzipped; folders are searched for\n\
             *.log, *.json, *.jsonl, *.ndjson, *.txt and *.audit.",
        )
        .after_help(
            "Examples:\n  verbatim import /var/log/kubernetes/audit/\n  zcat old/*.gz | verbatim import -\n  verbatim import --of-cluster prod audit.log.gz\n\n\
             Exit codes: 0 everything was taken, 1 some lines are no audit events, 2 the import failed.",
        )
        .arg(
            Arg::new("files")
                .required(true)
                .num_args(1..)
                .value_name("FILE")
                .help("Files and folders; - is standard input"),
        )
        .arg(
            Arg::new("of-cluster")
                .long("of-cluster")
                .value_name("NAME")
                .help("Cluster that the events are of; searched for as cluster:NAME"),
        )
        .arg(
            Arg::new("data-dir")
                .long("data-dir")
                .value_name("DIR")
                .help("Write the index below this folder; no server may be running on it"),
        )
        .arg(
            Arg::new("output")
                .long("output")
                .short('o')
                .value_parser(["text", "json"])
                .default_value("text")
                .help("How to print the summary"),
        )
        .arg(
            Arg::new("quiet")
                .long("quiet")
                .short('q')
                .action(ArgAction::SetTrue)
                .help("No progress bar"),
        )
        .args(kubeconfig::args())
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let files = matches.get_many::<String>("files").into_iter().flatten();
    let inputs: Vec<Input> = files.map(|f| Input::of(f)).collect();
    let cluster = matches.get_one::<String>("of-cluster").cloned();
    let mut bar = Bar::new(!matches.get_flag("quiet") && std::io::stderr().is_terminal());
    let began = Instant::now();
    let outcome = match matches.get_one::<String>("data-dir") {
        Some(dir) => {
            let root = PathBuf::from(dir).join("index");
            let options = ImportOptions {
                cluster,
                ..ImportOptions::default()
            };
            tokio::task::block_in_place(|| import(&root, &inputs, options, &mut |p| bar.draw(p)))
                .map_err(anyhow::Error::from)
        }
        None => {
            let client = Client::new(kubeconfig::target(matches)?)?;
            send(client, inputs, cluster, &mut bar).await
        }
    };
    bar.end();
    let summary = outcome?;
    match matches.get_one::<String>("output").map(String::as_str) {
        Some("json") => print(&format!("{}\n", serde_json::to_string_pretty(&summary)?)),
        _ => print(&text(&summary, began.elapsed())),
    }
    Ok(match summary.bad {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    })
}

/// Reads on a thread of its own and sends batches as they fill.
async fn send(
    client: Client,
    inputs: Vec<Input>,
    cluster: Option<String>,
    bar: &mut Bar,
) -> anyhow::Result<Summary> {
    let (batches, mut waiting) = mpsc::channel::<Batch>(BATCHES_WAITING);
    let (progress, mut told) = mpsc::channel::<Progress>(16);
    let reader = tokio::task::spawn_blocking(move || {
        let mut batch = Batch::default();
        let gone = || ImportError::Taker("the server does not take the events".into());
        let summary = read(
            &inputs,
            &mut |p| drop(progress.try_send(p.clone())),
            &mut |file, place, event| {
                batch.add(file, place, event);
                if batch.body.len() < BATCH_BYTES {
                    return Ok(());
                }
                let full = std::mem::take(&mut batch);
                batches.blocking_send(full).map_err(|_| gone())
            },
        )?;
        if !batch.places.is_empty() {
            batches.blocking_send(batch).map_err(|_| gone())?;
        }
        Ok::<_, ImportError>(summary)
    });
    let path = match &cluster {
        Some(cluster) => format!("{LISTS_PATH}/{}", crate::cli::client::encode(cluster)),
        None => LISTS_PATH.to_string(),
    };
    let mut total = Summary::default();
    loop {
        tokio::select! {
            Some(progress) = told.recv() => bar.draw(&progress),
            batch = waiting.recv() => match batch {
                Some(batch) => batch.send(&client, &path, &mut total).await?,
                None => break,
            },
        }
    }
    let read = reader.await.context("reading was aborted")??;
    total.files = read.files;
    total.bytes = read.bytes;
    for problem in read.problems {
        total.bad(&problem.file, problem.place, problem.reason);
    }
    Ok(total)
}

/// Events on their way, and where each came from.
#[derive(Default)]
struct Batch {
    body: Vec<u8>,
    places: Vec<(String, import::Place)>,
}

impl Batch {
    fn add(&mut self, file: &str, place: import::Place, event: &[u8]) {
        match self.body.is_empty() {
            true => self.body.extend_from_slice(
                br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#,
            ),
            false => self.body.push(b','),
        }
        self.body.extend_from_slice(event);
        self.places.push((file.to_string(), place));
    }

    async fn send(
        mut self,
        client: &Client,
        path: &str,
        total: &mut Summary,
    ) -> anyhow::Result<()> {
        self.body.extend_from_slice(b"]}");
        let answer: Value = client.post_bytes(path, Bytes::from(self.body)).await?;
        let received: Received = from_value(answer["received"].clone())
            .map_err(|_| anyhow!("the server's answer says nothing about the events: {answer}"))?;
        total.events += received.events;
        total.duplicates += received.duplicates;
        total.too_old += received.too_old;
        for bad in received.bad {
            let (file, place) = match self.places.get(bad.index) {
                Some((file, place)) => (file.as_str(), Some(*place)),
                None => ("-", None),
            };
            total.bad(file, place, bad.reason);
        }
        Ok(())
    }
}

/// What a person reads.
fn text(summary: &Summary, took: Duration) -> String {
    let mut out = format!(
        "{} events imported from {} files ({}) in {:.1} s\n",
        grouped(summary.events),
        grouped(summary.files),
        size(summary.bytes),
        took.as_secs_f64(),
    );
    if summary.duplicates > 0 {
        out.push_str(&format!(
            "{} were there already\n",
            grouped(summary.duplicates)
        ));
    }
    if summary.too_old > 0 {
        out.push_str(&format!(
            "{} are older than what the index keeps\n",
            grouped(summary.too_old)
        ));
    }
    if let (Some(first), Some(last)) = (summary.first, summary.last) {
        out.push_str(&format!(
            "from {} to {}\n",
            first.format("%Y-%m-%d %H:%M:%S"),
            last.format("%Y-%m-%d %H:%M:%S UTC")
        ));
    }
    if summary.bad > 0 {
        out.push_str(&format!("{} are no audit events:\n", grouped(summary.bad)));
        for problem in summary.problems.iter().take(PROBLEMS_SHOWN) {
            out.push_str(&format!("  {problem}\n"));
        }
        let more = summary.bad.saturating_sub(PROBLEMS_SHOWN as u64);
        if more > 0 {
            out.push_str(&format!("  and {} more\n", grouped(more)));
        }
    }
    out
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bytes = bytes as f64;
    match bytes {
        b if b < 1e6 => format!("{:.1} kB", b / 1e3),
        b if b < 1e9 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.2} GB", b / 1e9),
    }
}

/// The bar on a terminal.
struct Bar {
    is_shown: bool,
    began: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    fn new(is_shown: bool) -> Self {
        Bar {
            is_shown,
            began: Instant::now(),
            drawn: None,
        }
    }

    fn draw(&mut self, progress: &Progress) {
        if !self.is_shown || self.drawn.is_some_and(|d| d.elapsed() < DRAW_INTERVAL) {
            return;
        }
        self.drawn = Some(Instant::now());
        let line = line(progress, self.began.elapsed());
        write!(std::io::stderr().lock(), "\r{line}\x1b[K").ok();
    }

    fn end(&mut self) {
        if self.drawn.is_some() {
            write!(std::io::stderr().lock(), "\r\x1b[K").ok();
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for people"
)]
fn line(progress: &Progress, took: Duration) -> String {
    let per_second = progress.events as f64 / took.as_secs_f64().max(0.001);
    let numbers = format!(
        "{} events, {}/s",
        grouped(progress.events),
        grouped(per_second as u64)
    );
    let Some(total) = progress.bytes_total.filter(|t| *t > 0) else {
        return format!("{} {numbers}", size(progress.bytes));
    };
    let share = (progress.bytes as f64 / total as f64).clamp(0.0, 1.0);
    let full = (share * BAR_WIDTH as f64) as usize;
    let left = took.as_secs_f64() * (1.0 - share) / share.max(0.001);
    format!(
        "[{}{}] {:3.0}% {numbers}, {:.0} s left",
        "#".repeat(full),
        "·".repeat(BAR_WIDTH - full),
        share * 100.0,
        left,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_how_far_it_is() {
        let progress = Progress {
            bytes: 500,
            bytes_total: Some(1000),
            events: 12_000,
            file: "a".into(),
        };
        let shown = line(&progress, Duration::from_secs(2));
        assert!(
            shown.starts_with(
                "[###############···············]  50% 12,000 events, 6,000/s, 2 s left"
            ),
            "{shown}"
        );
        let unknown = Progress {
            bytes_total: None,
            ..progress
        };
        assert_eq!(
            line(&unknown, Duration::from_secs(2)),
            "0.5 kB 12,000 events, 6,000/s"
        );
    }

    #[test]
    fn the_summary_names_the_line() {
        let mut summary = Summary {
            files: 2,
            events: 1_234_567,
            duplicates: 3,
            bytes: 2_500_000,
            ..Summary::default()
        };
        summary.bad("a.log", Some(import::Place::Line(7)), "is not JSON");
        assert_eq!(
            text(&summary, Duration::from_secs(10)),
            "1,234,567 events imported from 2 files (2.5 MB) in 10.0 s\n3 were there already\n1 are no audit events:\n  a.log:7: is not JSON\n"
        );
    }
}
