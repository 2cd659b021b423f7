//! `verbatim bench-record` (hidden; `make bench-record`): how fast the record is, through the product.
//!
//! Writes synthetic events into a folder of its own, imports them as `verbatim import` does, follows a
//! log as a server does, and asks what people ask. Prints a table with the targets; exits with 1 when
//! one is missed.

mod events;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Arg, ArgMatches, Command, value_parser};

use crate::base::tree::{Value, json};
use crate::cli::print::print;
use crate::search::import::{ImportOptions, Input, import};
use crate::search::summary::{self, Spec};
use crate::search::{Index, IndexOptions, Search, Window};
use events::Events;

/// Events that a log is followed for.
const FOLLOWED_EVENTS: u64 = 200_000;
/// Searches that are timed.
const SEARCHES: usize = 400;
/// Facet pages that are timed.
const FACET_PAGES: usize = 20;

/// The subcommand.
pub fn command() -> Command {
    Command::new("bench-record")
        .about("Measure indexing and search")
        .hide(true)
        .arg(
            Arg::new("events")
                .long("events")
                .default_value("2000000")
                .value_parser(value_parser!(u64))
                .help("How many events"),
        )
        .arg(
            Arg::new("dir")
                .long("dir")
                .help("Folder to work in; default: a temporary one"),
        )
}

/// One line of the table.
struct Row {
    what: String,
    found: String,
    target: &'static str,
    is_met: Option<bool>,
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let count = matches.get_one::<u64>("events").copied().unwrap_or(0);
    let base = match matches.get_one::<String>("dir") {
        Some(dir) => dir.into(),
        None => std::env::temp_dir(),
    };
    let dir = base.join(format!("verbatim-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let outcome = tokio::task::block_in_place(|| measure(&dir, count));
    fs::remove_dir_all(&dir).context("removing the bench's folder")?;
    let rows = outcome?;
    print(&table(&rows));
    Ok(match rows.iter().any(|r| r.is_met == Some(false)) {
        true => ExitCode::from(1),
        false => ExitCode::SUCCESS,
    })
}

fn measure(dir: &Path, count: u64) -> anyhow::Result<Vec<Row>> {
    let log = dir.join("audit.log");
    eprintln!("writing {count} events …");
    let mut events = Events::new(count);
    let raw = events.write(&log, count)?;
    let root = dir.join("index");
    let mut rows = vec![Row {
        what: "events".into(),
        found: format!("{count}, {} B each", raw / count.max(1)),
        target: "",
        is_met: None,
    }];
    eprintln!("importing …");
    rows.extend(importing(&root, &log, count, raw)?);
    eprintln!("searching …");
    let runtime = tokio::runtime::Handle::current();
    rows.extend(runtime.block_on(asking(&root, &events))?);
    fs::remove_dir_all(&root)?;
    eprintln!("following …");
    rows.extend(runtime.block_on(following(dir, &mut events))?);
    Ok(rows)
}

fn importing(root: &Path, log: &Path, count: u64, raw: u64) -> anyhow::Result<Vec<Row>> {
    let (began, cpu) = (Instant::now(), cpu_time()?);
    let inputs = [Input::Path(log.into())];
    let summary = import(root, &inputs, ImportOptions::default(), &mut |_| {})?;
    let (took, cpu) = (began.elapsed(), cpu_time()? - cpu);
    anyhow::ensure!(
        summary.events == count,
        "{} of {count} events were imported",
        summary.events
    );
    let per_second = rate(count, took);
    let disk = ratio(size(root), raw);
    Ok(vec![
        Row {
            what: "import from a file".into(),
            found: format!("{per_second:.0} events/s"),
            target: ">= 40,000",
            is_met: Some(per_second >= 40_000.0),
        },
        Row {
            what: "  CPU, merging included".into(),
            found: format!("{:.1} us/event", micros(cpu) / count as f64),
            target: "",
            is_met: None,
        },
        Row {
            what: "index on disk".into(),
            found: format!("{disk:.3} of raw JSON"),
            target: "<= 0.25",
            is_met: Some(disk <= 0.25),
        },
    ])
}

/// What a live server pays: one writer thread, a log that is followed.
async fn following(dir: &Path, events: &mut Events) -> anyhow::Result<Vec<Row>> {
    let log = dir.join("live.log");
    fs::write(&log, "")?;
    let index = Index::open(&dir.join("live"), &log, IndexOptions::default())?;
    events.write(&log, FOLLOWED_EVENTS)?;
    let (began, cpu) = (Instant::now(), cpu_time()?);
    while index.counts().0 < FOLLOWED_EVENTS {
        index.flush().await;
    }
    let (took, cpu) = (began.elapsed(), cpu_time()? - cpu);
    Ok(vec![Row {
        what: "following a log".into(),
        found: format!(
            "{:.0} events/s, {:.1} us CPU/event",
            rate(FOLLOWED_EVENTS, took),
            micros(cpu) / FOLLOWED_EVENTS as f64
        ),
        target: "",
        is_met: None,
    }])
}

async fn asking(root: &Path, events: &Events) -> anyhow::Result<Vec<Row>> {
    let index = Index::open_still(root, IndexOptions::default())?;
    let mut newest = Vec::with_capacity(SEARCHES);
    let mut found = 0;
    for n in 0..SEARCHES {
        let search = Search {
            query: events.query(n),
            window: events.window(n),
            limit: 20,
            ..Search::default()
        };
        let began = Instant::now();
        found += index.search(search).await?.hits.len();
        newest.push(began.elapsed());
    }
    anyhow::ensure!(found > SEARCHES, "the searches found only {found} events");
    let mut pages = Vec::with_capacity(FACET_PAGES);
    for n in 0..FACET_PAGES {
        pages.push(facet_page(&index, &events.broad_query(n)).await?);
    }
    let durations = durations(&index).await?;
    let (p50, p99) = (percentile(&mut newest, 50), percentile(&mut newest, 99));
    let (facets, worst) = (percentile(&mut pages, 50), percentile(&mut pages, 100));
    Ok(vec![
        Row {
            what: "filter + range + newest 20".into(),
            found: format!("p50 {:.1} ms, p99 {:.1} ms", millis(p50), millis(p99)),
            target: "p99 < 20 ms",
            is_met: Some(p99 < Duration::from_millis(20)),
        },
        Row {
            what: "facet page (users, verbs, codes)".into(),
            found: format!("p50 {:.0} ms, max {:.0} ms", millis(facets), millis(worst)),
            target: "< 150 ms",
            is_met: Some(worst < Duration::from_millis(150)),
        },
        Row {
            what: "durations by verb, and by stage, of all".into(),
            found: format!("{:.0} ms", millis(durations)),
            target: "",
            is_met: None,
        },
    ])
}

async fn facet_page(index: &Index, query: &str) -> anyhow::Result<Duration> {
    let facets = ["user", "verb", "code"];
    summary(
        index,
        json!({"query": query, "facets": facets, "skipStages": true, "limit": 10}),
    )
    .await
}

async fn durations(index: &Index) -> anyhow::Result<Duration> {
    summary(index, json!({"by": ["verb"]})).await
}

/// How long an AuditSummary takes.
async fn summary(index: &Index, spec: Value) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let status = summary::count(index, &Spec::parse(&spec)?, None).await?;
    let took = began.elapsed();
    anyhow::ensure!(status["requests"] != 0, "{spec} matched nothing");
    Ok(took)
}

/// CPU time of this process, from /proc: user and system, in hundredths of seconds.
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(m) if m.is_dir() => size(&entry.path()),
            Ok(m) => m.len(),
            Err(_) => 0,
        })
        .sum()
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).max(1) - 1;
    times.get(rank).copied().unwrap_or_default()
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn table(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        let verdict = match row.is_met {
            None => "",
            Some(true) => "ok",
            Some(false) => "MISSED",
        };
        let line = format!(
            "{:<42}{:<38}{:<14}{verdict}",
            row.what, row.found, row.target
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A point in time from microseconds.
fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// A window from microseconds.
fn window(from: i64, to: i64) -> Window {
    Window {
        from: time(from),
        to: time(to),
    }
}
