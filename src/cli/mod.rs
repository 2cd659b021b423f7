//! The command line: one file per subcommand. `serve` reads its own flags (pflag's syntax); all
//! others are clap's.

pub mod bench;
pub mod client;
pub mod collect;
pub mod import;
pub mod kubeconfig;
pub mod policy;
pub mod print;
#[cfg(test)]
mod runbooks;
pub mod search;
pub mod serve;
pub mod top;
pub mod why;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, Command, value_parser};
use clap_complete::Shell;

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
        .subcommand(why::command())
        .subcommand(top::top_command())
        .subcommand(top::stats_command())
        .subcommand(policy::command())
        .subcommand(
            Command::new("completion")
                .about("Print a completion script for a shell")
                .arg(
                    Arg::new("shell")
                        .required(true)
                        .value_parser(value_parser!(Shell)),
                ),
        )
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
    match command().try_get_matches_from(args) {
        Ok(matches) => run(&matches),
        Err(error) => {
            // Help and version are "errors" for clap; it knows the right stream and exit code.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
        }
    }
}

fn run(matches: &clap::ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("completion", args)) => {
            if let Some(shell) = args.get_one::<Shell>("shell") {
                clap_complete::generate(*shell, &mut command(), "verbatim", &mut std::io::stdout());
            }
            ExitCode::SUCCESS
        }
        Some(("version", _)) => {
            println!("verbatim {}", env!("CARGO_PKG_VERSION"));
            println!("Kubernetes API {KUBERNETES_VERSION}");
            ExitCode::SUCCESS
        }
        Some(("import", args)) => block_on_many(import::run(args)),
        Some(("bench-record", args)) => block_on_many(bench::run(args)),
        Some(("search", args)) => block_on(search::run(args)),
        Some(("why", args)) => block_on(why::run(args)),
        Some(("top", args)) => block_on(top::run_top(args)),
        Some(("stats", args)) => block_on(top::run_stats(args)),
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
