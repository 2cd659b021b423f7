//! `verbatim verify`: is the audit log what the server wrote, whole and in order?

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::audit::chain::checkpoint::PublicKey;
use crate::audit::chain::format::checkpoints_path;
use crate::audit::chain::notary;
use crate::audit::chain::verify::{
    LogReport, Problem, Progress, Question, Report, Statement, verify,
};
use crate::cli::print::{Style, has_colour, paint, print};

/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);
/// Width of the bar.
const BAR: u64 = 40;
/// Problems and gaps that are printed in words; JSON has all.
const SHOWN_MAX: usize = 20;

/// The subcommand.
pub fn command() -> Command {
    let paths = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("FILE")
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf))
    };
    Command::new("verify")
        .about("Prove that the audit log is what the server wrote, or name the first place where it is not")
        .after_help(
            "Of a folder the logs in it must be complete, from their beginning (or where a signed\n\
             statement says that retention deleted what was before) to the last checkpoint. Of files\n\
             only these are looked at. Chain files (.chain) and checkpoints are found beside the log.\n\n\
             Whoever may write the log may also cut it back together with its chain and checkpoints;\n\
             a copy of the checkpoints kept elsewhere (--audit-checkpoint-copy) finds that:\n\
             \x20 verbatim verify /var/log/kubernetes --checkpoints copy/server.audit.log.checkpoints \\\n\
             \x20   --public-key audit-checkpoint.pub\n\n\
             Exit codes: 0 whole, 1 broken, 2 could not read.",
        )
        .arg(
            Arg::new("paths")
                .value_name("DIR|FILE")
                .required(true)
                .num_args(1..)
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(paths("checkpoints").help("Copy of the checkpoints that was kept elsewhere"))
        .arg(paths("public-key").help(
            "Key that may sign checkpoints (PEM). Without it those are believed that the checkpoints name",
        ))
        .arg(
            Arg::new("print-key")
                .long("print-key")
                .action(ArgAction::SetTrue)
                .help("Print the public key in PEM and do nothing else; DIR|FILE is a folder with a log, a file of checkpoints or a key"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_parser(["text", "json"])
                .default_value("text")
                .help("Print words or JSON"),
        )
}

/// Runs it.
pub fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let paths = |name: &str| -> Vec<PathBuf> {
        let values = matches.get_many::<PathBuf>(name);
        values.into_iter().flatten().cloned().collect()
    };
    if matches.get_flag("print-key") {
        return print_key(&paths("paths"));
    }
    let keys = paths("public-key");
    let keys = keys.iter().map(|path| PublicKey::load(path));
    let question = Question {
        paths: paths("paths"),
        checkpoints: paths("checkpoints"),
        keys: keys.collect::<Result<_, _>>()?,
    };
    let report = with_bar(&question)?;
    match matches.get_one::<String>("output").map(String::as_str) {
        Some("json") => print(&format!("{}\n", serde_json::to_string_pretty(&report)?)),
        _ => print(&in_words(&report, &question, has_colour())),
    }
    Ok(match report.whole {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

fn print_key(paths: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut keys = Vec::new();
    for path in paths {
        if path.is_file()
            && let Ok(key) = PublicKey::load(path)
        {
            keys.push(key);
            continue;
        }
        let mut files = vec![path.clone(), checkpoints_path(path)];
        if path.is_dir() {
            files = std::fs::read_dir(path)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|p| p.extension().is_some_and(|e| e == "checkpoints"))
                .collect();
        }
        for file in files.iter().filter(|f| f.is_file()) {
            keys.extend(notary::read(file)?.into_iter().map(|c| c.key));
        }
    }
    let mut printed = Vec::new();
    for key in keys {
        if !printed.contains(&key) {
            print(&key.pem());
            printed.push(key);
        }
    }
    if printed.is_empty() {
        bail!("there is neither a key nor a signed checkpoint");
    }
    Ok(ExitCode::SUCCESS)
}

/// Verifies, with a progress bar on a terminal.
fn with_bar(question: &Question) -> anyhow::Result<Report> {
    let progress = Progress::default();
    if !std::io::stderr().is_terminal() {
        return Ok(verify(question, &progress)?);
    }
    let is_done = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                draw(&progress);
                std::thread::park_timeout(TICK);
            }
            eprint!("\r\x1b[K");
        });
        let outcome = verify(question, &progress);
        is_done.store(true, Ordering::Release);
        outcome
    });
    Ok(outcome?)
}

fn draw(progress: &Progress) {
    let total = progress.total.load(Ordering::Relaxed).max(1);
    let done = progress.done.load(Ordering::Relaxed).min(total);
    let full = usize::try_from(done * BAR / total).unwrap_or(0);
    let rest = usize::try_from(BAR).unwrap_or(0) - full;
    let megabytes = |bytes: u64| bytes / 1_000_000;
    eprint!(
        "\r[{}{}] {}/{} MB",
        "#".repeat(full),
        ".".repeat(rest),
        megabytes(done),
        megabytes(total)
    );
}

fn in_words(report: &Report, question: &Question, has_colour: bool) -> String {
    let mut out = String::new();
    for log in &report.logs {
        out.push_str(&heading(log, question));
        for problem in log.problems.iter().take(1) {
            let first = paint("BROKEN", Style::Red, has_colour);
            out.push_str(&format!("{first} first at {}", problem_in_words(problem)));
        }
        for problem in log.problems.iter().skip(1).take(SHOWN_MAX) {
            out.push_str(&format!("also broken at {}", problem_in_words(problem)));
        }
        if log.problems.len() > SHOWN_MAX + 1 {
            out.push_str(&format!(
                "and {} places more\n",
                log.problems.len() - SHOWN_MAX - 1
            ));
        }
        for gap in log.gaps.iter().take(SHOWN_MAX) {
            let word = paint("gap", Style::Yellow, has_colour);
            out.push_str(&format!("{word} at {}", statement_in_words(gap)));
        }
        if log.gaps.len() > SHOWN_MAX {
            out.push_str(&format!("and {} gaps more\n", log.gaps.len() - SHOWN_MAX));
        }
        for note in &log.notes {
            out.push_str(&format!("note: {note}\n"));
        }
    }
    let lost: u64 = report
        .logs
        .iter()
        .flat_map(|l| &l.gaps)
        .map(|g| g.lost)
        .sum();
    let verdict = match (report.whole, lost) {
        (true, 0) => paint(
            "whole: nothing is altered, missing or out of order\n",
            Style::Green,
            has_colour,
        ),
        (true, n) => format!(
            "{}, but {n} events were lost as the server itself says\n",
            paint("whole", Style::Green, has_colour)
        ),
        (false, _) => paint(
            "broken; see runbooks/audit-chain-broken.md\n",
            Style::Red,
            has_colour,
        ),
    };
    out.push_str(&verdict);
    out
}

fn heading(log: &LogReport, question: &Question) -> String {
    let signed = match (&log.last_checkpoint, log.checkpoints) {
        (Some(time), n) => format!("{n} checkpoints hold, the last of {time}"),
        (None, _) => "no checkpoint holds".into(),
    };
    let by = match (question.keys.is_empty(), log.keys.is_empty()) {
        (_, true) => String::new(),
        (true, false) => format!(
            ", signed by {} (believed, as no --public-key was given)",
            log.keys.join(", ")
        ),
        (false, false) => format!(", signed by {}", log.keys.join(", ")),
    };
    format!(
        "{} of {}: events {} to {}, {} files, {:.1} MB; {signed}{by}\n",
        log.name,
        log.server,
        log.first,
        log.last,
        log.files,
        log.bytes as f64 / 1e6
    )
}

fn problem_in_words(problem: &Problem) -> String {
    let mut text = problem.file.display().to_string();
    if let Some(line) = problem.line {
        text.push_str(&format!(":{line}"));
    }
    text.push_str(&format!(": {}\n", problem.message));
    if let Some(event) = problem.event {
        text.push_str(&format!("  event {event} of the log"));
        if let Some(id) = &problem.audit_id {
            text.push_str(&format!(", at audit ID {id}"));
        }
        text.push('\n');
    }
    let good = problem.last_good_checkpoint.as_deref();
    text.push_str(&format!(
        "  last good checkpoint before it: {}\n",
        good.unwrap_or("none")
    ));
    text
}

fn statement_in_words(gap: &Statement) -> String {
    format!(
        "{}:{}: {} ({})\n",
        gap.file.display(),
        gap.line,
        gap.message,
        gap.time
    )
}
