//! What the command line asks for.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::rows::Row;
use crate::start::Start;

/// Options of a run.
pub(crate) struct Options {
    /// Rows to take, in the table's order.
    pub(crate) rows: Vec<Row>,
    /// Starts to take.
    pub(crate) starts: Vec<Start>,
    /// How often each row is taken.
    pub(crate) rounds: usize,
    /// How long a row is loaded each time.
    pub(crate) duration: Duration,
    /// Pods in the namespace that most rows work on.
    pub(crate) pods: usize,
    /// Pods in the namespace of LIST 10,000.
    pub(crate) many_pods: usize,
    /// Pods of the starts with a full store.
    pub(crate) stored_pods: usize,
    /// Where the table is saved, too.
    pub(crate) save: Option<PathBuf>,
    /// For a look at whether the harness works.
    pub(crate) smoke: bool,
}

const USAGE: &str = "\
usage: load [--rows a,b,…] [--rounds N] [--seconds S] [--save FILE] [--smoke]
rows: get get-http2 list list-10000 list-500 create create-configmap update merge-patch apply-patch
      delete watch-300 watch-3000 start-empty start-full";

impl Options {
    /// Parses the arguments.
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut options = Options {
            rows: crate::all_rows(),
            starts: Start::ALL.to_vec(),
            rounds: 3,
            duration: Duration::from_millis(1500),
            pods: 1000,
            many_pods: 10_000,
            stored_pods: 50_000,
            save: None,
            smoke: false,
        };
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            let mut value = || args.next().map(str::to_string);
            match (arg, arg) {
                // Cargo says this to every benchmark.
                ("--bench", _) => {}
                ("--smoke", _) => options.be_quick(),
                ("--rows", _) => options.select(&value().unwrap_or_default())?,
                ("--rounds", _) => options.rounds = value().unwrap_or_default().parse()?,
                ("--seconds", _) => {
                    let seconds: f64 = value().unwrap_or_default().parse()?;
                    options.duration = Duration::from_secs_f64(seconds);
                }
                ("--save", _) => options.save = value().map(PathBuf::from),
                _ => bail!("{arg}: no such option\n{USAGE}"),
            }
        }
        Ok(options)
    }

    fn be_quick(&mut self) {
        self.smoke = true;
        self.rounds = 1;
        self.duration = Duration::from_millis(100);
        self.pods = 100;
        self.many_pods = 200;
        self.stored_pods = 500;
    }

    fn select(&mut self, names: &str) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let known = |name: &&str| {
            Row::ALL.iter().any(|r| r.name() == *name)
                || Start::ALL.iter().any(|s| s.name() == *name)
        };
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            bail!("{unknown}: no such row\n{USAGE}");
        }
        self.rows.retain(|row| names.contains(&row.name()));
        self.starts.retain(|start| names.contains(&start.name()));
        Ok(())
    }
}
