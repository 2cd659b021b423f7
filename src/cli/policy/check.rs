//! `verbatim policy check`.

use std::process::ExitCode;

use clap::ArgMatches;

use super::{Loaded, lint, print_tree};
use crate::base::tree::{Value, json};
use crate::cli::print::{Style, has_colour, paint, print};

/// One thing to say about a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) line: Option<usize>,
    pub(super) message: String,
}

impl Finding {
    fn tree(&self) -> Value {
        json!({"line": self.line, "message": self.message})
    }
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let loaded = Loaded::read(matches)?;
    let mut findings = Vec::new();
    let mut rules = 0;
    let errors: Vec<Finding> = match &loaded.outcome {
        Err(mistakes) => mistakes.iter().map(|text| located(text)).collect(),
        Ok(_) => Vec::new(),
    };
    if let Ok(configuration) = &loaded.outcome {
        rules = configuration.view.policy.rules.len();
        findings = warnings(&loaded)?;
    }
    let code = match (errors.is_empty(), findings.is_empty()) {
        (false, _) => 2,
        (true, false) => 1,
        (true, true) => 0,
    };
    let trees = |findings: &[Finding]| findings.iter().map(Finding::tree).collect::<Vec<_>>();
    let tree = json!({
        "file": loaded.path.display().to_string(),
        "rules": rules,
        "errors": trees(&errors),
        "warnings": trees(&findings),
    });
    if !print_tree(matches, &tree) {
        show(&loaded, "error:", Style::Red, &errors);
        show(&loaded, "warning:", Style::Yellow, &findings);
        match errors.is_empty() {
            true => print(&format!("{rules} rules, {} warnings\n", findings.len())),
            false => print("refused\n"),
        }
    }
    Ok(ExitCode::from(code))
}

/// Everything that is accepted although it cannot be meant.
pub(super) fn warnings(loaded: &Loaded) -> anyhow::Result<Vec<Finding>> {
    let mut out: Vec<Finding> = Vec::new();
    let configuration = loaded.configuration()?;
    for warning in &configuration.warnings {
        let field = warning.split('"').nth(1).unwrap_or_default();
        out.push(Finding {
            line: loaded.lines.at(field),
            message: warning.clone(),
        });
    }
    let views = loaded.views()?;
    for (index, seen) in views.iter().enumerate() {
        // A policy that several sinks share is looked at once.
        let is_known = views[..index].iter().any(|other| other.view == seen.view);
        if is_known {
            continue;
        }
        for mistake in lint::mistakes(seen.view) {
            let finding = Finding {
                line: seen.line(&loaded.lines, &mistake.path),
                message: match seen.sink {
                    "default" => mistake.text(&seen.view.policy),
                    sink => format!("sink {sink}: {}", mistake.text(&seen.view.policy)),
                },
            };
            if !out.contains(&finding) {
                out.push(finding);
            }
        }
    }
    out.sort_by_key(|finding| finding.line);
    Ok(out)
}

/// `line 3: message`, taken apart.
fn located(text: &str) -> Finding {
    let parts = text.strip_prefix("line ").and_then(|t| t.split_once(": "));
    let parsed = parts.and_then(|(line, rest)| Some((line.parse().ok()?, rest)));
    match parsed {
        Some((line, rest)) => Finding {
            line: Some(line),
            message: rest.to_string(),
        },
        None => Finding {
            line: None,
            message: text.to_string(),
        },
    }
}

fn show(loaded: &Loaded, word: &str, style: Style, findings: &[Finding]) {
    for finding in findings {
        let file = loaded.path.display();
        let place = match finding.line {
            Some(line) => format!("{file}:{line}:"),
            None => format!("{file}:"),
        };
        let word = paint(word, style, has_colour());
        print(&format!("{place} {word} {}\n", finding.message));
    }
}
