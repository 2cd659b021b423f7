//! `verbatim timeline KIND/NAME`: the life of an object: who did what to it, when and from where,
//! with what each write changed, also those that were refused, tried with dryRun or changed nothing.

pub mod diff;
pub mod life;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::base::tree::{Value, json};
use crate::cli::events::window_args;
use crate::cli::events::{EventQuery, LAST_EVENT, fetch, limit_arg, limit_of, value};
use crate::cli::found;
use crate::cli::kinds::{self, Kind};
use crate::cli::print::{Row, Style, colour_arg, output, output_arg, wants_colour};
use crate::cli::print::{paint, print, print_tree, table};
use crate::cli::search::code_style;
use crate::cli::source::{self, Source};
use crate::search::query;

use life::{Outcome, Step, steps};

/// Changes shown of one step, without `--full`.
const CHANGES_SHOWN: usize = 12;

/// The subcommand.
pub fn command() -> Command {
    Command::new("timeline")
        .about("Show the life of an object: who did what, and what each write changed")
        .after_help(
            "Examples:\n  verbatim timeline deployment/web -n shop\n  verbatim timeline secret/db -n shop --from -7d --full\n  verbatim timeline node/worker-1 --status\n  verbatim timeline --uid 6a1e0f0c-… \n\n\
             Marks: + created  ~ changed  = changed nothing  - deleted  ! rejected  ? dry run, or not sure\n\
             Changes are shown where the audit policy records bodies (level RequestResponse; Request shows what was sent).\n\n\
             Exit codes: 0 something was found, 1 nothing was, 2 the search failed.",
        )
        .arg(
            Arg::new("object")
                .value_name("KIND/NAME")
                .num_args(1..=2)
                .help("The object: deployment/web, or deployment web"),
        )
        .arg(
            value("uid", "Find the object by its UID; shows its namesakes before and after too")
                .conflicts_with("object"),
        )
        .args(window_args())
        .arg(limit_arg("1000", "How many requests, the newest; 0 for all"))
        .arg(flag("status", "Show writes of the status too"))
        .arg(flag("full", "Show all changes of a write, not the first 12"))
        .arg(output_arg(&["text", "json", "yaml"]))
        .arg(colour_arg())
        .args(source::args())
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

/// Which object.
struct Object {
    kind: Kind,
    name: String,
    namespace: Option<String>,
    uid: Option<String>,
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let base = EventQuery::of(matches)?;
    let source = Source::of(matches).await?;
    let object = match matches.get_one::<String>("uid") {
        Some(uid) => match by_uid(&source, &base, uid).await? {
            Some(object) => object,
            None => {
                eprintln!("nothing in the record shows the UID {uid}");
                return Ok(found(false));
            }
        },
        None => by_name(&source, &base, matches).await?,
    };
    let query = about(&base, &object, matches.get_flag("status"));
    let mut events = fetch(&source, &query, limit_of(matches)).await?;
    events.reverse();
    let steps = steps(&events, &object.name);
    let tree = json!({
        "resource": object.kind.full_name(), "name": object.name, "namespace": object.namespace,
        "steps": steps,
    });
    if !print_tree(output(matches), &tree) {
        if steps.is_empty() {
            eprintln!("nothing in the record is about {}", title(&object));
            return Ok(found(false));
        }
        let shown = match matches.get_flag("full") {
            true => usize::MAX,
            false => CHANGES_SHOWN,
        };
        print(&picture(&object, &steps, shown, wants_colour(matches)));
    }
    Ok(found(!steps.is_empty()))
}

async fn by_name(
    source: &Source,
    base: &EventQuery,
    matches: &ArgMatches,
) -> anyhow::Result<Object> {
    let words: Vec<&str> = matches
        .get_many::<String>("object")
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let (kind, name) = match words.as_slice() {
        [one] => one.split_once('/').unwrap_or((one, "")),
        [kind, name] => (*kind, *name),
        _ => bail!("which object? give KIND/NAME or --uid"),
    };
    if name.is_empty() {
        bail!("which {kind}? give KIND/NAME");
    }
    let kind = kinds::find(source, kind).await;
    let namespace = match (&base.namespace, kind.namespaced) {
        (_, Some(false)) => None,
        (Some(namespace), _) => Some(namespace.clone()),
        (None, Some(true)) => source.namespace().map(str::to_string),
        (None, None) => None,
    };
    Ok(Object {
        kind,
        name: name.to_string(),
        namespace,
        uid: None,
    })
}

/// The object that some recorded write shows with this UID: in its reference, or in a body.
async fn by_uid(source: &Source, base: &EventQuery, uid: &str) -> anyhow::Result<Option<Object>> {
    let quoted = query::quote(uid);
    let writes = "verb:(create OR update OR patch OR delete)";
    for condition in [format!("uid:{quoted}"), quoted] {
        let events = fetch(source, &base.and(&format!("{condition} {writes}")), 100).await?;
        for event in events {
            let (reference, answered) = (&event["objectRef"], &event["responseObject"]);
            let metadata = &answered["metadata"];
            let is_it = reference["uid"] == uid
                || metadata["uid"] == uid
                || answered["details"]["uid"] == uid;
            let name = reference["name"].as_str().or(metadata["name"].as_str());
            if let (true, Some(name)) = (is_it, name) {
                let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
                return Ok(Some(Object {
                    kind: Kind {
                        group: text(&reference["apiGroup"]),
                        plural: text(&reference["resource"]),
                        namespaced: Some(!reference["namespace"].is_null()),
                    },
                    name: name.to_string(),
                    namespace: reference["namespace"].as_str().map(str::to_string),
                    uid: Some(uid.to_string()),
                }));
            }
        }
    }
    Ok(None)
}

/// All writes that are, or may be, about the object.
fn about(base: &EventQuery, object: &Object, with_status: bool) -> EventQuery {
    let quote = query::quote;
    let group = match object.kind.group.as_str() {
        "" => "-group:*".to_string(),
        group => format!("group:{}", quote(group)),
    };
    let namespace = match &object.namespace {
        Some(namespace) => format!("namespace:{}", quote(namespace)),
        None => String::new(),
    };
    let status = if with_status {
        ""
    } else {
        "-subresource:status"
    };
    let name = quote(&object.name);
    // A generated name stands in the answer only; a collection names nobody.
    base.and(&format!(
        "resource:{} {group} {namespace} {status} ((name:{name} verb:(create OR update OR patch OR delete)) OR (verb:create -name:* {name}) OR verb:deletecollection) {LAST_EVENT}",
        quote(&object.kind.plural),
    ))
}

fn title(object: &Object) -> String {
    let place = match &object.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => String::new(),
    };
    format!("{}/{}{place}", object.kind.full_name(), object.name)
}

/// The picture of a life: a line per request, what it changed below it, a rule between lives.
fn picture(object: &Object, steps: &[Step], shown: usize, colour: bool) -> String {
    let mut out = format!("{}\n", paint(&title(object), Style::Bold, colour));
    let heads: Vec<Row> = steps.iter().map(head).collect();
    let headings = [
        "", "time", "verb", "code", "user", "client", "from", "audit-id",
    ];
    let lines = table(&headings, &heads, colour);
    let mut lines = lines.lines();
    out.push_str(&format!("{}\n", lines.next().unwrap_or_default()));
    let mut uid = "";
    for (step, line) in steps.iter().zip(lines) {
        if !step.uid.is_empty() && step.uid != uid {
            let asked = match object.uid.as_deref() == Some(step.uid.as_str()) {
                true => "  ← asked for",
                false => "",
            };
            let rule = format!("── uid {}{asked}", step.uid);
            out.push_str(&format!("{}\n", paint(&rule, Style::Dim, colour)));
            uid = &step.uid;
        }
        out.push_str(&format!("{line}\n"));
        out.push_str(&details(step, shown, colour));
    }
    out
}

fn mark_style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Created => Style::Green,
        Outcome::Deleted | Outcome::DeletionBegun | Outcome::Rejected => Style::Red,
        Outcome::Changed | Outcome::Written => Style::Yellow,
        _ => Style::Dim,
    }
}

fn head(step: &Step) -> Row {
    vec![
        (step.outcome.mark().to_string(), mark_style(step.outcome)),
        (step.time.clone(), Style::Dim),
        (step.verb.clone(), Style::Plain),
        (step.code.to_string(), code_style(step.code)),
        (step.user.clone(), Style::Bold),
        (step.client.clone(), Style::Plain),
        (step.ip.clone(), Style::Plain),
        (step.audit_id.clone(), Style::Dim),
    ]
}

fn details(step: &Step, shown: usize, colour: bool) -> String {
    let mut out = String::new();
    let mut line = |text: &str, style: Style| {
        out.push_str(&format!("      {}\n", paint(text, style, colour)));
    };
    let words = [step.outcome.words(), &step.message];
    let words: Vec<&str> = words.into_iter().filter(|w| !w.is_empty()).collect();
    if !words.is_empty() {
        line(&words.join(": "), mark_style(step.outcome));
    }
    for change in step.changes.iter().take(shown) {
        let path = &change.path;
        match (&change.before, &change.after) {
            (Some(before), Some(after)) => {
                line(&format!("- {path}: {before}"), Style::Red);
                line(&format!("+ {path}: {after}"), Style::Green);
            }
            (Some(before), None) => line(&format!("- {path}: {before}"), Style::Red),
            (_, after) => {
                let after = after.as_deref().unwrap_or_default();
                line(&format!("+ {path}: {after}"), Style::Green);
            }
        }
    }
    if step.changes.len() > shown {
        let more = step.changes.len() - shown;
        line(
            &format!("… {more} more changes; --full shows all"),
            Style::Dim,
        );
    }
    if !step.bodies {
        line("what it wrote was not recorded", Style::Dim);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture() {
        let event = |verb: &str, code: u64, value: &str, uid: &str| {
            json!({
                "auditID": "i", "stage": "ResponseComplete", "verb": verb, "user": {"username": "alice"},
                "objectRef": {"resource": "configmaps", "namespace": "n", "name": "c"},
                "responseStatus": {"code": code}, "stageTimestamp": "2026-01-01T00:00:00.000000Z",
                "responseObject": {"metadata": {"uid": uid}, "data": {"a": value}},
            })
        };
        let events = [
            event("create", 201, "1", "u1"),
            event("update", 200, "2", "u1"),
        ];
        let object = Object {
            kind: Kind {
                group: String::new(),
                plural: "configmaps".into(),
                namespaced: Some(true),
            },
            name: "c".into(),
            namespace: Some("n".into()),
            uid: None,
        };
        let text = picture(&object, &steps(&events, "c"), 12, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "configmaps/c in namespace n");
        assert_eq!(lines[2], "── uid u1");
        assert!(
            lines[3].starts_with("+   2026-01-01T00:00:00.000Z   create   201    alice"),
            "{text}"
        );
        assert_eq!(lines[4], "      + data.a: 1");
        assert_eq!(lines[6..], ["      - data.a: 1", "      + data.a: 2"]);
        assert!(!text.contains('\x1b'));
        assert!(picture(&object, &steps(&events, "c"), 12, true).contains("\x1b[32m"));
    }
}
