//! `verbatim policy explain`: each rule in turn, why it does not match or that it does.

use std::process::ExitCode;

use clap::ArgMatches;

use super::question::{self, Question};
use super::{Loaded, Seen, print_tree};
use crate::audit::policy::{Decision, Mismatch, Policy, Rule};
use crate::audit::redact::{Redactor, Rules};
use crate::audit::{STAGES, Stage};
use crate::base::tree::{Value, json};
use crate::cli::print::{Row, Style, has_colour, paint, print, table};
use crate::request::AuditLevel;

/// What a policy does with one request: the rules that do not match and why, then the one that does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Explained {
    pub(super) earlier: Vec<Mismatch>,
    pub(super) decision: Decision,
}

/// Tries the rules in order.
pub(super) fn explain(policy: &Policy, question: &Question) -> Explained {
    let mut earlier = Vec::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        match rule.mismatch(&question.info, Some(&question.user)) {
            Some(mismatch) => earlier.push(mismatch),
            None => {
                let decision = Decision {
                    level: rule.level,
                    omit_stages: rule.omit_stages,
                    omit_managed_fields: rule.omit_managed_fields,
                    rule: Some(index),
                    rule_name: rule.name.clone(),
                    sampled_percent: rule.sampled_percent,
                };
                return Explained { earlier, decision };
            }
        }
    }
    Explained {
        earlier,
        decision: Decision::default(),
    }
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let loaded = Loaded::read(matches)?;
    let views = selected(&loaded, matches)?;
    let questions = question::read(matches)?;
    let mut trees = Vec::new();
    for question in &questions {
        for seen in &views {
            trees.push(tree(&loaded, seen, question));
        }
    }
    let is_one = trees.len() == 1;
    let all = match is_one {
        true => trees.remove(0),
        false => Value::Array(trees),
    };
    if print_tree(matches, &all) {
        return Ok(ExitCode::SUCCESS);
    }
    for question in &questions {
        if questions.len() > 1 {
            let heading = format!("{}\n", in_words(question));
            print(&paint(&heading, Style::Bold, has_colour()));
        }
        for seen in &views {
            if views.len() > 1 {
                print(&paint(
                    &format!("sink {}\n", seen.sink),
                    Style::Bold,
                    has_colour(),
                ));
            }
            show(&loaded, seen, question);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The views that `--sink` asks for; without it, those that differ.
fn selected<'a>(loaded: &'a Loaded, matches: &ArgMatches) -> anyhow::Result<Vec<Seen<'a>>> {
    let views = loaded.views()?;
    let names: Vec<&str> = views.iter().map(|v| v.sink).collect();
    let names = names.join(", ");
    let wanted = matches.get_one::<String>("sink");
    let mut out: Vec<Seen<'a>> = Vec::new();
    for seen in views {
        let is_wanted = match wanted {
            Some(name) => seen.sink == name,
            None => !out.iter().any(|other| other.view == seen.view),
        };
        if is_wanted {
            out.push(seen);
        }
    }
    match out.is_empty() {
        true => anyhow::bail!("there is no such sink; there are: {names}"),
        false => Ok(out),
    }
}

fn tree(loaded: &Loaded, seen: &Seen<'_>, question: &Question) -> Value {
    let policy = &seen.view.policy;
    let explained = explain(policy, question);
    let line = |index: usize| seen.line(&loaded.lines, &format!("rules[{index}]"));
    let earlier = explained.earlier.iter().enumerate();
    let earlier = earlier.map(|(index, mismatch)| {
        let rule = &policy.rules[index];
        json!({
            "rule": index,
            "name": rule.name.as_deref(),
            "line": line(index),
            "reason": reason(*mismatch, rule, question),
        })
    });
    let decision = &explained.decision;
    let matched = decision.rule.map(
        |index| json!({"rule": index, "name": decision.rule_name.as_deref(), "line": line(index)}),
    );
    json!({
        "request": in_words(question),
        "sink": seen.sink,
        "level": decision.level.as_str(),
        "matched": matched,
        "earlier": earlier.collect::<Vec<_>>(),
        "omitStages": omitted(decision),
        "omitManagedFields": decision.omit_managed_fields,
        "sampledPercent": decision.sampled_percent,
        "redacted": redacted(&seen.view.redaction.rules, question, decision.level),
    })
}

fn show(loaded: &Loaded, seen: &Seen<'_>, question: &Question) {
    let policy = &seen.view.policy;
    let explained = explain(policy, question);
    let place = |index: usize| match seen.line(&loaded.lines, &format!("rules[{index}]")) {
        Some(line) => line.to_string(),
        None => String::new(),
    };
    let row = |index: usize, result: &str, style: Style, why: String| -> Row {
        let label = policy.rules[index].label(index).to_string();
        vec![
            (label, Style::Plain),
            (place(index), Style::Dim),
            (result.to_string(), style),
            (why, Style::Plain),
        ]
    };
    let earlier = explained.earlier.iter().enumerate();
    let mut rows: Vec<Row> = earlier
        .map(|(index, mismatch)| {
            let why = reason(*mismatch, &policy.rules[index], question);
            row(index, "no", Style::Dim, why)
        })
        .collect();
    let decision = &explained.decision;
    if let Some(index) = decision.rule {
        let why = format!("level {}", decision.level.as_str());
        rows.push(row(index, "matches", Style::Green, why));
    }
    print(&table(
        &["rule", "line", "result", "why"],
        &rows,
        has_colour(),
    ));
    print(&summary(&seen.view.redaction.rules, question, decision));
}

fn summary(rules: &Rules, question: &Question, decision: &Decision) -> String {
    let Some(_) = decision.rule else {
        return "\nno rule matches: nothing is recorded\n".into();
    };
    if decision.level == AuditLevel::None {
        return "\nnothing is recorded\n".into();
    }
    let what = match decision.level {
        AuditLevel::Metadata => "no bodies",
        AuditLevel::Request => "the request's body",
        _ => "the bodies of request and answer",
    };
    let mut out = format!("\nrecorded at {}: {what}", decision.level.as_str());
    let omitted = omitted(decision);
    if !omitted.is_empty() {
        out.push_str(&format!(", without stage {}", omitted.join(", ")));
    }
    if decision.omit_managed_fields && decision.level > AuditLevel::Metadata {
        out.push_str(", without managedFields");
    }
    if let Some(percent) = decision.sampled_percent {
        out.push_str(&format!("; {percent}% of such requests"));
    }
    out.push('\n');
    let redacted = redacted(rules, question, decision.level);
    if !redacted.is_empty() {
        out.push_str(&format!("redacted: {}\n", redacted.join(", ")));
    }
    out
}

pub(super) fn omitted(decision: &Decision) -> Vec<&'static str> {
    let is_omitted = |stage: &Stage| decision.omit_stages & stage.bit() != 0;
    let stages = STAGES.into_iter().filter(is_omitted);
    stages.map(Stage::as_str).collect()
}

/// Paths that would be replaced in bodies of this request, and whether its URI would.
fn redacted(rules: &Rules, question: &Question, level: AuditLevel) -> Vec<String> {
    let mut out = Vec::new();
    if level == AuditLevel::None {
        return out;
    }
    if let Some(uri) = &question.uri
        && *Redactor::new(rules.clone(), b"for comparison").uri(&question.info, uri) != **uri
    {
        out.push("requestURI".to_string());
    }
    if level == AuditLevel::Metadata {
        return out;
    }
    for field in &rules.fields {
        let is_about =
            field.resources.is_empty() || field.resources.iter().any(|r| r.matches(&question.info));
        if is_about && question.info.is_resource {
            out.extend(field.paths.iter().map(|p| p.as_str().to_string()));
        }
    }
    out
}

/// Why a rule does not match, with what it wants and what was asked.
pub(super) fn reason(mismatch: Mismatch, rule: &Rule, question: &Question) -> String {
    let info = &question.info;
    match mismatch {
        Mismatch::User => format!(
            "for users {}; this is {}",
            some_of(&rule.users),
            question.user.username
        ),
        Mismatch::Group => format!(
            "for groups {}; the user is in {}",
            some_of(&rule.groups),
            some_of(&question.user.groups)
        ),
        Mismatch::Verb => format!("for verbs {}; this is {}", some_of(&rule.verbs), info.verb),
        Mismatch::Kind => match info.is_resource {
            true => "for paths; this is a resource".into(),
            false => "for resources; this is a path".into(),
        },
        Mismatch::Namespace => format!(
            "for namespaces {}; this is in {}",
            some_of(&rule.namespaces),
            quoted(&info.namespace)
        ),
        Mismatch::Resource => format!(
            "for {}; this is {}",
            wanted_resources(rule, info.name.as_str()),
            resource_text(question)
        ),
        Mismatch::Path => format!(
            "for paths {}; this is {}",
            some_of(&rule.non_resource_urls),
            info.path
        ),
    }
}

/// The first few of a list.
fn some_of(items: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<String> = items.iter().take(SHOWN).map(|i| quoted(i)).collect();
    match items.len() > SHOWN {
        true => format!("{} and {} more", shown.join(", "), items.len() - SHOWN),
        false => shown.join(", "),
    }
}

fn quoted(text: &str) -> String {
    match text.is_empty() || text.contains(' ') {
        true => format!("{text:?}"),
        false => text.to_string(),
    }
}

fn wanted_resources(rule: &Rule, name: &str) -> String {
    let entries = rule.resources.iter().map(|entry| {
        let group = match entry.group.as_str() {
            "" => String::new(),
            group => format!(".{group}"),
        };
        let patterns: Vec<String> = entry.resources.iter().map(|p| p.to_string()).collect();
        let names = match entry.names.is_empty() {
            true => String::new(),
            false if name.is_empty() => format!(
                " named {} (this request has no name)",
                some_of(&entry.names)
            ),
            false => format!(" named {}", some_of(&entry.names)),
        };
        match patterns.is_empty() {
            true => format!("everything in group {}", quoted(&entry.group)),
            false => format!("{}{group}{names}", some_of(&patterns)),
        }
    });
    entries.collect::<Vec<_>>().join("; ")
}

fn resource_text(question: &Question) -> String {
    let info = &question.info;
    let mut out = info.resource.clone();
    if !info.subresource.is_empty() {
        out.push_str(&format!("/{}", info.subresource));
    }
    if !info.group.is_empty() {
        out.push_str(&format!(".{}", info.group));
    }
    if !info.name.is_empty() {
        out.push_str(&format!(" {}", quoted(&info.name)));
    }
    out
}

/// The request as a sentence.
pub(super) fn in_words(question: &Question) -> String {
    let info = &question.info;
    let user = match question.user.username.is_empty() {
        true => "nobody",
        false => &question.user.username,
    };
    if !info.is_resource {
        return format!("{user}: {} {}", info.verb, info.path);
    }
    let place = match info.namespace.is_empty() {
        true => String::new(),
        false => format!(" in {}", info.namespace),
    };
    format!("{user}: {} {}{place}", info.verb, resource_text(question))
}
