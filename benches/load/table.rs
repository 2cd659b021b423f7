//! The table: ratios with their goals first, then every row as measured.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::cluster::AuditSetting::{Metadata, Off, RequestResponse};
use crate::cluster::Store::{Embedded, Etcd};
use crate::options::Options;
use crate::processes;
use crate::rows::{Row, Sample, Variant};
use crate::start::{Start, Started};

/// Everything measured so far.
pub(crate) struct Table {
    samples: BTreeMap<(Row, Variant), Vec<Sample>>,
    starts: Vec<Started>,
    head: String,
}

/// A goal: which number, and what it must and should be.
struct Goal {
    what: &'static str,
    value: Option<f64>,
    must: f64,
    aim: f64,
    direction: Direction,
    unit: &'static str,
}

#[derive(PartialEq, Eq)]
enum Direction {
    AtMost,
    AtLeast,
}

const SERVER: Variant = Variant::Server(Embedded, Metadata);

impl Table {
    /// An empty one.
    pub(crate) fn new(options: &Options) -> Self {
        let date = chrono::Utc::now().format("%Y-%m-%d %H:%M UTC");
        Table {
            samples: BTreeMap::new(),
            starts: Vec::new(),
            head: format!(
                "{date}; {}; medians of {} rounds of {:.1} s each.",
                processes::machine(),
                options.rounds,
                options.duration.as_secs_f64()
            ),
        }
    }

    /// Takes a sample in.
    pub(crate) fn add(&mut self, row: Row, variant: Variant, sample: Sample) {
        self.samples.entry((row, variant)).or_default().push(sample);
    }

    /// Takes starts in.
    pub(crate) fn start(&mut self, started: Started) {
        self.starts.push(started);
    }

    /// As text, in Markdown.
    pub(crate) fn render(&self) -> String {
        let mut out = format!("# `make bench`\n\n{}\n\n", self.head);
        self.render_goals(&mut out);
        self.render_rows(&mut out);
        self.render_starts(&mut out);
        out
    }

    fn render_goals(&self, out: &mut String) {
        out.push_str("| goal | measured | must | aim | |\n|---|---:|---:|---:|---|\n");
        for goal in self.goals() {
            let Some(value) = goal.value else { continue };
            let keeps = |limit: f64| match goal.direction {
                Direction::AtMost => value <= limit,
                Direction::AtLeast => value >= limit,
            };
            let verdict = match (keeps(goal.must), keeps(goal.aim)) {
                (_, true) => "aim met",
                (true, _) => "met",
                _ => "**missed**",
            };
            let sign = match goal.direction {
                Direction::AtMost => "≤",
                Direction::AtLeast => "≥",
            };
            let Goal {
                what,
                must,
                aim,
                unit,
                ..
            } = goal;
            line(
                out,
                format_args!(
                    "| {what} | {value:.2}{unit} | {sign} {must}{unit} | {aim}{unit} | {verdict} |"
                ),
            );
        }
        out.push('\n');
    }

    fn goals(&self) -> Vec<Goal> {
        let at_most = |what, value, must, aim, unit| Goal {
            what,
            value,
            must,
            aim,
            direction: Direction::AtMost,
            unit,
        };
        let at_least = |what, value, must, aim| Goal {
            what,
            value,
            must,
            aim,
            direction: Direction::AtLeast,
            unit: "",
        };
        let cpu = |s: Sample| s.cpu_us;
        let rate = |s: Sample| s.per_second;
        let etcd = Variant::Server(Etcd, Metadata);
        let off = Variant::Server(Embedded, Off);
        let whole = Variant::Server(Embedded, RequestResponse);
        let bare = Variant::BareServer;
        let ratio = |row, a, b, of: fn(Sample) -> f64| {
            Some(self.median(row, a, of)? / self.median(row, b, of)?)
        };
        let lost = |row, with| Some((1.0 - ratio(row, with, off, rate)?) * 100.0);
        vec![
            at_most(
                "GET: server CPU ÷ bare server's",
                ratio(Row::Get, SERVER, bare, cpu),
                2.0,
                1.5,
                "",
            ),
            at_most(
                "LIST 1,000: server CPU ÷ bare server's",
                ratio(Row::List, SERVER, bare, cpu),
                1.5,
                1.2,
                "",
            ),
            at_most(
                "WATCH, 300 watchers: CPU per delivered event",
                self.median(Row::Watch300, SERVER, cpu),
                5.0,
                3.0,
                " µs",
            ),
            at_least(
                "CREATE on etcd: requests/s ÷ raw etcd puts/s",
                ratio(Row::Create, etcd, Variant::BareStore(Etcd), rate),
                0.45,
                0.7,
            ),
            at_least(
                "CREATE on the embedded store ÷ CREATE on etcd",
                ratio(Row::Create, SERVER, etcd, rate),
                2.5,
                4.0,
            ),
            at_most(
                "merge PATCH: CPU per request",
                self.median(Row::MergePatch, SERVER, cpu).map(|us| us / 1e3),
                0.35,
                0.2,
                " ms",
            ),
            at_most(
                "audit Metadata vs off, GET: throughput lost",
                lost(Row::Get, SERVER),
                8.0,
                3.0,
                " %",
            ),
            at_most(
                "audit Metadata vs off, CREATE: throughput lost",
                lost(Row::Create, SERVER),
                8.0,
                3.0,
                " %",
            ),
            at_most(
                "audit RequestResponse vs off, CREATE: throughput lost",
                lost(Row::Create, whole),
                20.0,
                10.0,
                " %",
            ),
            at_most(
                "resident memory, 50,000 pods cached",
                self.started(Start::Full, |s| &s.resident_mb),
                350.0,
                220.0,
                " MB",
            ),
            at_most(
                "start to ready, empty embedded store",
                self.started(Start::Empty, |s| &s.ready_ms),
                250.0,
                100.0,
                " ms",
            ),
            at_most(
                "start to ready, 50,000 pods in etcd",
                self.started(Start::Full, |s| &s.cached_ms)
                    .map(|ms| ms / 1e3),
                3.0,
                1.5,
                " s",
            ),
        ]
    }

    fn render_rows(&self, out: &mut String) {
        if self.samples.is_empty() {
            return;
        }
        out.push_str(
            "CPU is user and system time of the server's process per request (WATCH: per delivered \
             event, with the writes that cause them), until it has indexed what it logged; `÷` is \
             that of the bare server for reads, and requests/s of the bare store for writes. WATCH \
             shows the mean and the longest delay of a delivery instead of p50 and p99.\n\n\
             | row | server | ÷ floor | requests/s | p50 ms | p99 ms | CPU µs | of which index | resident MB |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for &(row, variant) in self.samples.keys() {
            let of = |of: fn(Sample) -> f64| self.median(row, variant, of).unwrap_or_default();
            let ratio = self.ratio_to_floor(row, variant);
            let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
            let cpu = match variant {
                Variant::BareStore(_) => " | ".to_string(),
                _ => format!("{:.1} | {:.1}", of(|s| s.cpu_us), of(|s| s.index_us)),
            };
            let resident = match variant {
                Variant::BareStore(_) => String::new(),
                _ => format!("{:.0}", of(|s| s.resident_mb)),
            };
            line(
                out,
                format_args!(
                    "| {} | {variant} | {ratio} | {:.0} | {:.2} | {:.2} | {cpu} | {resident} |",
                    row.title(),
                    of(|s| s.per_second),
                    of(|s| s.p50_us) / 1e3,
                    of(|s| s.p99_us) / 1e3,
                ),
            );
        }
        out.push('\n');
    }

    fn ratio_to_floor(&self, row: Row, variant: Variant) -> Option<f64> {
        let Variant::Server(store, _) = variant else {
            return None;
        };
        if let Some(bare) = self.median(row, Variant::BareServer, |s| s.cpu_us) {
            return Some(self.median(row, variant, |s| s.cpu_us)? / bare);
        }
        let bare = self.median(row, Variant::BareStore(store), |s| s.per_second)?;
        Some(self.median(row, variant, |s| s.per_second)? / bare)
    }

    fn render_starts(&self, out: &mut String) {
        if self.starts.is_empty() {
            return;
        }
        out.push_str("| start | ready ms | pods cached ms | resident MB |\n|---|---:|---:|---:|\n");
        for started in &self.starts {
            line(
                out,
                format_args!(
                    "| {} | {:.0} | {:.0} | {:.0} |",
                    started.start.name(),
                    median(&started.ready_ms).unwrap_or_default(),
                    median(&started.cached_ms).unwrap_or_default(),
                    median(&started.resident_mb).unwrap_or_default()
                ),
            );
        }
    }

    fn median(&self, row: Row, variant: Variant, of: fn(Sample) -> f64) -> Option<f64> {
        let samples = self.samples.get(&(row, variant))?;
        median(&samples.iter().map(|s| of(*s)).collect::<Vec<f64>>())
    }

    fn started(&self, start: Start, of: fn(&Started) -> &Vec<f64>) -> Option<f64> {
        let started = self.starts.iter().find(|s| s.start == start)?;
        median(of(started))
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
