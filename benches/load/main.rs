//! `make bench`: measures a running release server next to floors taken in the same run.
//!
//! Starts `verbatim serve` as a user does, once per store and audit level, loads it with requests
//! over TLS and prints one table. Every row is taken several times, interleaved with its floor (a
//! bare axum server for reads, the bare store for writes), and medians are shown: on a shared
//! machine only ratios within one run and CPU per request mean anything.
//!
//! Not part of `make test`. `--smoke` runs every row for a moment, to see that the harness works.

mod client;
mod cluster;
mod floor;
mod objects;
mod options;
mod processes;
mod rows;
mod start;
mod table;
mod watchers;

#[expect(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../../tests/common/etcd.rs"]
mod etcd;

use anyhow::{Context, Result};

use cluster::{AuditSetting, Cluster, Store};
use options::Options;
use rows::{Row, Variant};
use table::Table;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [command, dir] = args.as_slice()
        && command == floor::COMMAND
    {
        return floor::serve(dir.as_ref());
    }
    let options = Options::parse(&args)?;
    processes::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> Result<()> {
    let mut table = Table::new(options);
    if !options.rows.is_empty() {
        measure_rows(options, &mut table).await?;
    }
    for start in &options.starts {
        table.start(start::measure(*start, options).await?);
    }
    let text = table.render();
    println!("{text}");
    if let Some(path) = &options.save {
        std::fs::write(path, &text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

async fn measure_rows(options: &Options, table: &mut Table) -> Result<()> {
    let variants = rows::variants(&options.rows);
    let mut cluster = Cluster::start(options, &variants).await?;
    for round in 1..=options.rounds {
        for &row in &options.rows {
            for variant in row.variants() {
                let sample = rows::measure(&mut cluster, row, variant, options)
                    .await
                    .with_context(|| format!("{} on {variant}", row.name()))?;
                eprintln!(
                    "round {round}: {} on {variant}: {:.0}/s, {:.1} us",
                    row.name(),
                    sample.per_second,
                    sample.cpu_us
                );
                table.add(row, variant, sample);
            }
        }
    }
    Ok(())
}

/// Whether a variant is served by a process of ours.
fn server_of(variant: Variant) -> Option<(Store, AuditSetting)> {
    match variant {
        Variant::Server(store, audit) => Some((store, audit)),
        Variant::BareServer | Variant::BareStore(_) => None,
    }
}

/// All rows, for help and checks.
fn all_rows() -> Vec<Row> {
    Row::ALL.to_vec()
}
