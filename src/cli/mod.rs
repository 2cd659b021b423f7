//! The command line: one file per subcommand. `serve` reads its own flags (pflag's syntax); all
//! others are clap's.
//!
//! What the hand tools share: `source` (who answers), `client` and `kubeconfig` (how to reach a
//! server), `events` (the query layer), `print` (tables, colours), `kinds`, `subject`.
//!
//! Called as `kubectl-verbatim`, the program is the plugin behind `kubectl verbatim`.

pub mod bench;
pub mod client;
pub mod collect;
pub mod completion;
pub mod diagnose;
pub mod events;
pub mod export;
pub mod import;
pub mod kinds;
pub mod kubeconfig;
pub mod policy;
pub mod print;
#[cfg(test)]
mod runbooks;
pub mod search;
pub mod serve;
pub mod source;
pub mod stats;
pub mod subject;
pub mod tail;
pub mod timeline;
pub mod top;
pub mod unused;
pub mod used_by;
pub mod verify;
pub mod why;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;

use crate::endpoints::version::KUBERNETES_VERSION;

/// The whole command line, for parsing, help and completion.
pub fn command() -> Command {
    Command::new("verbatim")
        .about("A Kubernetes API server that keeps the record")
        .version(concat!(env!("CARGO_PKG_VERSION"), " (Kubernetes v1.36)"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve::command())
        .subcommand(collect::command())
        .subcommand(import::command())
        .subcommand(bench::command())
        .subcommand(search::command())
        .subcommand(tail::command())
        .subcommand(why::command())
        .subcommand(top::command())
        .subcommand(stats::command())
        .subcommand(timeline::command())
        .subcommand(used_by::command())
        .subcommand(unused::command())
        .subcommand(diagnose::command())
        .subcommand(export::command())
        .subcommand(policy::command())
        .subcommand(verify::command())
        .subcommand(completion::command())
        .subcommand(Command::new("version").about("Print the versions of Verbatim and of the API"))
}

/// Parses the arguments, runs the subcommand, answers the exit code.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|arg| arg == "serve") {
        let flags = args[2..].iter();
        let flags: Vec<String> = flags.map(|a| a.to_string_lossy().into_owned()).collect();
        return serve::main(&flags);
    }
    if args.get(1).is_some_and(|arg| arg == "collect") {
        let flags = args[2..].iter();
        let flags: Vec<String> = flags.map(|a| a.to_string_lossy().into_owned()).collect();
        return collect::main(&flags);
    }
    let program = program(&args);
    if program == completion::COMPLETER {
        let typed = args.iter().skip(1);
        let typed: Vec<String> = typed.map(|a| a.to_string_lossy().into_owned()).collect();
        return completion::complete(command(), &typed);
    }
    let all = match program == completion::PLUGIN {
        true => command().bin_name("kubectl verbatim"),
        false => command(),
    };
    match all.try_get_matches_from(args) {
        Ok(matches) => run(&matches, program),
        Err(error) => {
            // Help and version are "errors" for clap; it knows the right stream and exit code.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
        }
    }
}

/// The name that the program was called by, where it is one that means something.
fn program(args: &[OsString]) -> &'static str {
    let called = args.first().map(Path::new).and_then(Path::file_name);
    [completion::PLUGIN, completion::COMPLETER]
        .into_iter()
        .find(|name| called.is_some_and(|c| c == *name))
        .unwrap_or("verbatim")
}

/// The exit code of a tool that looked for something.
pub(crate) fn found(is_found: bool) -> ExitCode {
    match is_found {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    }
}

fn run(matches: &clap::ArgMatches, program: &str) -> ExitCode {
    match matches.subcommand() {
        Some(("completion", args)) => completion::run(args, command(), program),
        Some(("version", _)) => {
            println!("verbatim {}", env!("CARGO_PKG_VERSION"));
            println!("Kubernetes API {KUBERNETES_VERSION}");
            ExitCode::SUCCESS
        }
        Some(("import", args)) => block_on_many(import::run(args)),
        Some(("bench-record", args)) => block_on_many(bench::run(args)),
        Some(("search", args)) => block_on(search::run(args)),
        Some(("why", args)) => block_on(why::run(args)),
        Some(("tail", args)) => block_on(tail::run(args)),
        Some(("top", args)) => block_on(top::run(args)),
        Some(("stats", args)) => block_on(stats::run(args)),
        Some(("timeline", args)) => block_on(timeline::run(args)),
        Some(("used-by", args)) => block_on(used_by::run(args)),
        Some(("unused", args)) => block_on(unused::run(args)),
        Some(("diagnose", args)) => block_on(diagnose::run(args)),
        Some(("export", args)) => block_on(export::run(args)),
        Some(("verify", args)) => block_on(async { verify::run(args) }),
        Some(("policy", args)) => block_on(policy::run(args)),
        _ => ExitCode::FAILURE,
    }
}

/// Runs a hand tool; its errors exit with 2, so that scripts can tell them from "nothing found".
fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(error.into()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

/// Runs a tool that works on several threads.
fn block_on_many(work: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(error.into()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

/// Prints an error with its causes, once, and answers the exit code of a failure.
pub(crate) fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  caused by: {cause}");
        source = cause.source();
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
