//! `verbatim serve`: the API server of a cluster.

use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::fail;
use crate::server::options::{FLAGS, Flag, Kind, ServerOptions, Status, Values};
use crate::server::{Running, Server};
use crate::telemetry::logging;

/// What differs between the commands that serve.
pub(super) struct Wording {
    /// Tells a person what to do next.
    pub(super) announce: fn(&Running),
}

/// For help and completion; the flags themselves are parsed in pflag's way.
pub fn command() -> Command {
    Command::new("serve")
        .about("Serve the Kubernetes API (takes kube-apiserver's flags)")
        .args(args())
}

/// The flags as clap has them.
pub(super) fn args() -> Vec<Arg> {
    let flags = FLAGS.iter().map(|flag| {
        let action = match flag.kind {
            Kind::Bool => ArgAction::SetTrue,
            _ => ArgAction::Append,
        };
        let arg = Arg::new(flag.name)
            .help(flag.help)
            .help_heading(flag.section.title())
            .action(action);
        match flag.name {
            "v" => arg.short('v'),
            name => arg.long(name),
        }
    });
    flags.collect()
}

/// Serves until SIGTERM or SIGINT. A second signal ends the process at once.
pub fn main(args: &[String]) -> ExitCode {
    if args.iter().any(|a| a == "--help" || a == "-h") {
        print!("{}", help(HELP));
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|a| a.starts_with("--version")) {
        println!(
            "Kubernetes {}",
            crate::endpoints::version::KUBERNETES_VERSION
        );
        return ExitCode::SUCCESS;
    }
    let (options, values) = match ServerOptions::parse(args) {
        Ok(parsed) => parsed,
        Err(error) => return fail(&error),
    };
    run(options, &values, &Wording { announce })
}

/// Serves with options until SIGTERM or SIGINT.
pub(super) fn run(options: ServerOptions, values: &Values, wording: &Wording) -> ExitCode {
    let log = &options.logging;
    let _flush_at_end = logging::install(log.format, log.verbosity, &log.vmodule);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(options, values, wording)),
        Err(error) => fail(&error),
    }
}

async fn serve(options: ServerOptions, values: &Values, wording: &Wording) -> ExitCode {
    for flag in values.without_effect() {
        if let Some(line) = without_effect(flag) {
            eprintln!("{line}");
        }
    }
    let (mut terminate, mut interrupt) = match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => return fail(&error),
    };
    let running = tokio::select! {
        started = Server::start(options) => match started {
            Ok(running) => running,
            Err(error) => return fail(&error),
        },
        _ = terminate.recv() => return ExitCode::SUCCESS,
        _ = interrupt.recv() => return ExitCode::SUCCESS,
    };
    (wording.announce)(&running);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::select! {
        () = running.shutdown() => ExitCode::SUCCESS,
        _ = terminate.recv() => ExitCode::FAILURE,
        _ = interrupt.recv() => ExitCode::FAILURE,
    }
}

/// What a person types next.
fn announce(running: &Running) {
    eprintln!("verbatim serves the Kubernetes API at {}", running.url());
    if let Some(kubeconfig) = &running.kubeconfig {
        eprintln!(
            "try:  kubectl --kubeconfig {} get namespaces",
            kubeconfig.display()
        );
    }
}

/// The line about a flag that does nothing.
fn without_effect(flag: &Flag) -> Option<String> {
    match flag.status {
        Status::Works => None,
        Status::Ignored(why) => Some(format!("note: --{} has no effect: {why}", flag.name)),
        Status::Later(version) => Some(format!(
            "note: --{} has no effect yet; it comes with version {version}",
            flag.name
        )),
    }
}

const HELP: &str = "Serve the Kubernetes API.\n\nWithout flags: data in ./verbatim-data, an embedded store, \
     an own CA, port 6443,\naudit and search on. All of kube-apiserver's flags are accepted.\n";

/// An introduction, and every flag.
pub(super) fn help(introduction: &str) -> String {
    let mut out = String::from(introduction);
    let mut section = None;
    for flag in FLAGS {
        if section != Some(flag.section) {
            section = Some(flag.section);
            out.push_str(&format!("\n{}:\n", flag.section.title()));
        }
        let dashes = if flag.name.len() == 1 { "-" } else { "--" };
        out.push_str(&format!("  {dashes}{}", flag.name));
        if !flag.default.is_empty() {
            out.push_str(&format!(" (default {})", flag.default));
        }
        out.push_str(&format!("\n      {}\n", flag.help));
        if let Some(note) = without_effect(flag) {
            let note = note.split_once(" has ").map_or("", |(_, rest)| rest);
            out.push_str(&format!("      (Has {note}.)\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_flag() {
        let help = help(HELP);
        for flag in FLAGS {
            assert!(help.contains(flag.name));
        }
        assert!(help.contains("Has no effect yet; it comes with version 0.2"));
    }
}
