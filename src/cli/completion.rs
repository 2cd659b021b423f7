//! `verbatim completion SHELL`: completion scripts, and the helper that kubectl asks for completions
//! of its plugins.
//!
//! Installed as `kubectl-verbatim`, the program is `kubectl verbatim`; installed as
//! `kubectl_complete-verbatim`, it answers kubectl's question what may stand at the cursor, in the
//! form that kubectl (cobra) reads: a candidate a line with its description, then a directive.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::cli::print::print;

/// The name of the plugin's program.
pub const PLUGIN: &str = "kubectl-verbatim";
/// The program that kubectl runs for completions of the plugin.
pub const COMPLETER: &str = "kubectl_complete-verbatim";

/// cobra's directives: nothing special, and "do not offer files".
const DEFAULT: u8 = 0;
const NO_FILES: u8 = 4;

/// The subcommand.
pub fn command() -> Command {
    Command::new("completion")
        .about("Print a completion script for a shell")
        .after_help(format!(
            "Examples:\n  source <(verbatim completion bash)\n  verbatim completion zsh > \"${{fpath[1]}}/_verbatim\"\n  verbatim completion fish > ~/.config/fish/completions/verbatim.fish\n\n\
             For kubectl verbatim … link the program as {PLUGIN} and as {COMPLETER} into PATH;\n\
             kubectl's own completion does the rest.",
        ))
        .arg(
            Arg::new("shell")
                .required(true)
                .value_parser(value_parser!(Shell)),
        )
}

/// Prints the script for the program as it was called.
pub fn run(matches: &ArgMatches, mut all: Command, program: &str) -> ExitCode {
    if let Some(shell) = matches.get_one::<Shell>("shell") {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut all, program, &mut script);
        print(&String::from_utf8_lossy(&script));
    }
    ExitCode::SUCCESS
}

/// Answers what may follow `args`, the last of which is being typed.
pub fn complete(mut all: Command, args: &[String]) -> ExitCode {
    all.build();
    print(&candidates(&all, args));
    ExitCode::SUCCESS
}

fn candidates(all: &Command, args: &[String]) -> String {
    let (typed, before) = match args.split_last() {
        Some((typed, before)) => (typed.as_str(), before),
        None => ("", args),
    };
    let mut command = all;
    for arg in before.iter().filter(|a| !a.starts_with('-')) {
        command = command.find_subcommand(arg).unwrap_or(command);
    }
    let first_line = |text: Option<String>| {
        let text = text.unwrap_or_default();
        text.lines().next().unwrap_or_default().to_string()
    };
    // The value of a flag.
    let flag = before.last().and_then(|last| {
        let name = last.strip_prefix("--").or(last.strip_prefix('-'))?;
        let mut args = command
            .get_arguments()
            .filter(|a| a.get_action().takes_values());
        args.find(|a| {
            a.get_long() == Some(name)
                || a.get_short()
                    .is_some_and(|s| name.len() == 1 && name.starts_with(s))
        })
    });
    let mut found: Vec<(String, String)> = Vec::new();
    let mut directive = NO_FILES;
    if let Some(flag) = flag {
        let values = flag.get_possible_values();
        if values.is_empty() {
            directive = DEFAULT;
        }
        let values = values
            .iter()
            .map(|v| (v.get_name().to_string(), String::new()));
        found.extend(values);
    } else if typed.starts_with('-') {
        let flags = command.get_arguments().filter(|a| !a.is_hide_set());
        found.extend(flags.filter_map(|a| {
            let help = a.get_help().map(|h| h.to_string());
            Some((format!("--{}", a.get_long()?), first_line(help)))
        }));
    } else {
        let commands = command.get_subcommands().filter(|c| !c.is_hide_set());
        found.extend(commands.map(|c| {
            let about = c.get_about().map(|a| a.to_string());
            (c.get_name().to_string(), first_line(about))
        }));
        for positional in command.get_positionals() {
            let values = positional.get_possible_values();
            found.extend(
                values
                    .iter()
                    .map(|v| (v.get_name().to_string(), String::new())),
            );
        }
    }
    let mut out = String::new();
    for (name, about) in found.iter().filter(|(name, _)| name.starts_with(typed)) {
        match about.is_empty() {
            true => out.push_str(&format!("{name}\n")),
            false => out.push_str(&format!("{name}\t{about}\n")),
        }
    }
    out.push_str(&format!(":{directive}\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_follow() {
        let mut all = crate::cli::command();
        all.build();
        let ask = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
            candidates(&all, &args)
        };
        let first = ask(&["ti"]);
        assert!(first.starts_with("timeline\tShow the life"), "{first}");
        assert!(first.ends_with(":4\n"), "{first}");
        assert!(
            ask(&["top", "--b"]).starts_with("--by\t"),
            "{}",
            ask(&["top", "--b"])
        );
        assert_eq!(ask(&["top", "--by", "client"]), "client\n:4\n");
        assert_eq!(ask(&["search", "-o", "y"]), "yaml\n:4\n");
        assert_eq!(ask(&["completion", "fi"]), "fish\n:4\n");
        assert_eq!(ask(&["search", "--kubeconfig", ""]), ":0\n");
    }
}
