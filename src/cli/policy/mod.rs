//! `verbatim policy check|explain|test`: audit policies before they are in force.
//!
//! All three take a plain `Policy`, as kube-apiserver does, or an `AuditConfiguration`; of the latter
//! every sink's view is looked at. None of them needs a server.

mod cases;
mod check;
mod cover;
mod explain;
mod lint;
mod question;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::api::yaml;
use crate::audit::config::{Configuration, View};
use crate::audit::config_file;
use crate::audit::lines::Lines;
use crate::base::tree::Value;
use crate::cli::print::print;

/// The subcommand.
pub fn command() -> Command {
    Command::new("policy")
        .about("Check, explain and test audit policies")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("check")
                .about("Find what is refused, and the mistakes that kube-apiserver accepts in silence")
                .after_help("Examples:\n  verbatim policy check policy.yaml\n  verbatim policy check audit-policies/pci-dss.yaml -o json\n\nExit codes: 0 clean, 1 warnings, 2 refused.")
                .args([file(), output()]),
        )
        .subcommand(
            Command::new("explain")
                .about("Tell which rule decides about a request, and why the earlier ones do not")
                .after_help("Examples:\n  verbatim policy explain policy.yaml --as alice delete secrets/db -n prod\n  verbatim policy explain policy.yaml --as system:node:a --as-group system:nodes update nodes/a --subresource status\n  verbatim policy explain policy.yaml get /healthz\n  verbatim search 'code:403' -o jsonl | verbatim policy explain policy.yaml --event -\n\nExit codes: 0 explained, 2 the file is refused or the question cannot be understood.")
                .args([file(), output(), sink()])
                .args(question::args()),
        )
        .subcommand(
            Command::new("test")
                .about("Hold a policy to the decisions that are expected of it")
                .after_help(cases::HELP)
                .args([file(), output()])
                .arg(
                    Arg::new("cases")
                        .value_name("CASES")
                        .value_parser(value_parser!(PathBuf))
                        .help("File of cases; FILE's name with .cases.yaml if left out"),
                ),
        )
}

fn file() -> Arg {
    Arg::new("file")
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("Policy or AuditConfiguration, YAML or JSON")
}

fn output() -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_name("FORMAT")
        .value_parser(["table", "json", "yaml"])
        .default_value("table")
        .help("How to print")
}

fn sink() -> Arg {
    Arg::new("sink")
        .long("sink")
        .value_name("NAME")
        .action(ArgAction::Set)
        .help("Only what this sink of an AuditConfiguration sees; `default` for the sinks of the flags")
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match matches.subcommand() {
        Some(("check", matches)) => check::run(matches),
        Some(("explain", matches)) => explain::run(matches),
        Some(("test", matches)) => cases::run(matches),
        _ => bail!("write: verbatim policy check FILE"),
    }
}

/// A file that has been read, whatever its kind.
struct Loaded {
    path: PathBuf,
    lines: Lines,
    outcome: Result<Configuration, Vec<String>>,
}

impl Loaded {
    fn read(matches: &ArgMatches) -> anyhow::Result<Self> {
        let Some(path) = matches.get_one::<PathBuf>("file") else {
            bail!("no file is given");
        };
        Self::read_file(path)
    }

    fn read_file(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        Ok(Loaded {
            path: path.into(),
            lines: Lines::of(&text),
            outcome: config_file::parse(&text, base).map_err(|e| e.located(&text)),
        })
    }

    /// The configuration; an error that says everything that is wrong with it.
    fn configuration(&self) -> anyhow::Result<&Configuration> {
        match &self.outcome {
            Ok(configuration) => Ok(configuration),
            Err(mistakes) => bail!("{}:\n  {}", self.path.display(), mistakes.join("\n  ")),
        }
    }

    /// What there is to see, by whom, and where its policy stands in the file.
    fn views(&self) -> anyhow::Result<Vec<Seen<'_>>> {
        let configuration = self.configuration()?;
        let is_ours = self.lines.at("kind").is_some() && self.lines.at("rules").is_none();
        let mut views = vec![Seen {
            sink: "default",
            view: &configuration.view,
            at: match (is_ours, self.lines.has("policy")) {
                (false, _) => Some(String::new()),
                (true, true) => Some("policy.".to_string()),
                (true, false) => None,
            },
        }];
        for (index, sink) in configuration.sinks.iter().enumerate() {
            let own = format!("sinks[{index}].policy");
            let inherits = views[0].view.policy == sink.view.policy;
            views.push(Seen {
                sink: &sink.name,
                view: &sink.view,
                at: match (self.lines.has(&own), inherits) {
                    (true, _) => Some(format!("{own}.")),
                    (false, true) => views[0].at.clone(),
                    (false, false) => None,
                },
            });
        }
        Ok(views)
    }
}

/// What one sink sees.
struct Seen<'a> {
    /// The sink; `default` for those of the flags.
    sink: &'a str,
    view: &'a View,
    /// Path of the policy in the file, with a dot behind it; `None` for one in another file.
    at: Option<String>,
}

impl Seen<'_> {
    fn line(&self, lines: &Lines, path: &str) -> Option<usize> {
        lines.at(&format!("{}{path}", self.at.as_deref()?))
    }
}

/// Prints JSON or YAML if that is asked for. Answers whether it did.
fn print_tree(matches: &ArgMatches, tree: &Value) -> bool {
    match matches.get_one::<String>("output").map(String::as_str) {
        Some("json") => print(&format!("{tree:#}\n")),
        Some("yaml") => print(&yaml::to_yaml(tree)),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests;
