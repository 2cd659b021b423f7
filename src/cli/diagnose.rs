//! `verbatim diagnose TOPIC`: the causes of refusals and failures, grouped and counted.
//!
//! The causes are found here, from the events; nothing but searching is asked of the server.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use crate::base::tree::to_value;
use crate::cli::events::{EventQuery, each, limit_arg, limit_of, value, window_args};
use crate::cli::found;
use crate::cli::print::wants_colour;
use crate::cli::print::{Style, colour_arg, output, output_arg, paint, print, print_tree};
use crate::cli::source::{self, Source};
use crate::diagnose::cause::Certainty;
use crate::diagnose::summary::{Count, Group, Summarizer, Summary, TOPICS, Topic};

/// The subcommand.
pub fn command() -> Command {
    let topics = TOPICS.map(Topic::as_str);
    Command::new("diagnose")
        .about("Group and count the causes of refusals and failures, and say what to do")
        .after_help(
            "Topics:\n  forbidden     403: who may not do what, or which admission plugin, policy or webhook refused it\n  unauthorized  401: why credentials were refused\n  timeouts      deadlines that passed, and in which stage or webhook\n  etcd          failures of the store: unreachable, no leader, full, slow, compacted, too large\n  overload      429: who was turned away, and why\n\n\
             Examples:\n  verbatim diagnose forbidden --since 1h\n  verbatim diagnose timeouts --since 1d 'resource:pods'\n  verbatim diagnose etcd -o json\n  verbatim diagnose unauthorized --file audit.log\n\n\
             Exit codes: 0 something was found, 1 nothing was, 2 it failed.",
        )
        .arg(
            Arg::new("topic")
                .required(true)
                .value_name("TOPIC")
                .value_parser(topics.to_vec())
                .help("What to look at"),
        )
        .arg(
            Arg::new("query")
                .num_args(0..)
                .help("Only requests that this finds"),
        )
        .args(window_args().into_iter().map(|arg| match arg.get_id() == "from" {
            true => arg.default_value("-1h"),
            false => arg,
        }))
        .arg(limit_arg("100000", "How many events to look at, the newest; 0 for all"))
        .arg(
            value("groups", "How many causes to print")
                .default_value("10")
                .value_parser(clap::value_parser!(usize)),
        )
        .arg(output_arg(&["text", "json", "yaml"]))
        .arg(colour_arg())
        .args(source::args())
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let query = EventQuery::of(matches)?;
    let word = matches
        .get_one::<String>("topic")
        .map_or("", String::as_str);
    let Some(topic) = Topic::parse(word) else {
        anyhow::bail!("{word:?} is no topic");
    };
    let source = Source::of(matches).await?;
    let query = query.and(&format!("({})", topic.query()));
    let limit = limit_of(matches);
    let mut summarizer = Summarizer::new(topic);
    let count = each(&source, &query, limit, |event| {
        summarizer.add(&event);
        Ok(())
    });
    if count.await? >= limit {
        eprintln!("looked at the newest {limit} events; --limit 0 looks at all");
    }
    let summary = summarizer.finish();
    let is_found = !summary.groups.is_empty();
    let tree = to_value(&summary)?;
    if !print_tree(output(matches), &tree) {
        if !is_found {
            eprintln!("nothing found");
            return Ok(found(false));
        }
        let shown = matches.get_one::<usize>("groups").copied().unwrap_or(10);
        print(&text(&summary, shown, wants_colour(matches)));
    }
    Ok(found(is_found))
}

fn text(summary: &Summary, shown: usize, colour: bool) -> String {
    let mut out = format!(
        "{} requests, {} causes\n",
        summary.requests,
        summary.groups.len()
    );
    for group in summary.groups.iter().take(shown) {
        out.push_str(&group_text(group, colour));
    }
    if summary.groups.len() > shown {
        let more = summary.groups.len() - shown;
        out.push_str(&format!(
            "\n{more} more causes; --groups {} shows all\n",
            summary.groups.len()
        ));
    }
    out
}

fn group_text(group: &Group, colour: bool) -> String {
    let sure = match group.certainty {
        Certainty::Certain => "",
        Certainty::Likely => "probably: ",
        Certainty::Unknown => "unknown: ",
    };
    let title = format!("{}×  {sure}{}", group.count, group.cause);
    let mut out = format!("\n{}\n", paint(&title, Style::Bold, colour));
    let mut line = |label: &str, text: String| {
        if !text.is_empty() {
            let label = paint(&format!("{label:<9}"), Style::Dim, colour);
            out.push_str(&format!("  {label} {text}\n"));
        }
    };
    line("class", group.class.as_str().to_string());
    line("where", group.stage.clone());
    line("when", format!("{} to {}", group.first, group.last));
    line("who", counts(&group.users));
    line("what", counts(&group.asked));
    line("client", counts(&group.clients));
    for fix in &group.fix {
        line("fix", paint(fix, Style::Green, colour));
    }
    if !group.runbook.is_empty() {
        line("runbook", format!("runbooks/{}.md", group.runbook));
    }
    if let Some(example) = group.examples.first() {
        line("more", format!("verbatim why {example}"));
    }
    out
}

/// `alice (12), bob (3)`.
fn counts(counts: &[Count]) -> String {
    let shown: Vec<String> = counts
        .iter()
        .map(|c| format!("{} ({})", c.name, c.count))
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use crate::base::tree::json;

    use super::*;

    #[test]
    fn groups_with_what_to_do() {
        let mut summarizer = Summarizer::new(Topic::Overload);
        for second in 1..=3 {
            summarizer.add(&json!({
                "auditID": format!("id-{second}"), "stage": "ResponseComplete", "verb": "list",
                "requestURI": "/api/v1/pods", "user": {"username": "alice"}, "userAgent": "robot/1",
                "objectRef": {"resource": "pods"}, "responseStatus": {"code": 429, "message": "too many"},
                "requestReceivedTimestamp": format!("2026-01-01T00:00:0{second}.000000Z"),
            }));
        }
        let text = text(&summarizer.finish(), 10, false);
        for part in [
            "3 requests, 1 causes\n",
            "\n3×  ",
            "who       alice (3)\n",
            "what      list pods (3)\n",
            "client    robot/1 (3)\n",
            "runbook   runbooks/",
            "more      verbatim why id-3\n",
        ] {
            assert!(text.contains(part), "{text}\nlacks {part:?}");
        }
    }
}
