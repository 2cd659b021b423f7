//! `verbatim why AUDIT_ID`: why a request was refused, failed or was slow.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::base::tree::Value;
use crate::cli::client::{Refusal, encode_segment};
use crate::cli::print::{Style, colour_arg, output, output_arg, wants_colour};
use crate::cli::print::{paint, print, print_tree};
use crate::cli::source::{self, Source, path};

/// The subcommand.
pub fn command() -> Command {
    Command::new("why")
        .about("Explain what became of a request: who asked, what was decided where, what to do")
        .after_help(
            "The audit ID stands in the Audit-Id header of every answer (kubectl -v=8) and in verbatim search.\n\n\
             Exit codes: 0 explained, 1 explained as unknown, 2 no explanation.",
        )
        .arg(Arg::new("audit-id").value_name("AUDIT_ID").required_unless_present("last"))
        .arg(
            Arg::new("last")
                .long("last")
                .action(ArgAction::SetTrue)
                .conflicts_with("audit-id")
                .help("The newest request that was refused or failed"),
        )
        .arg(
            Arg::new("namespace")
                .short('n')
                .long("namespace")
                .help("Look in this namespace only, for those who may read no others"),
        )
        .arg(output_arg(&["text", "json", "yaml"]))
        .arg(colour_arg())
        .args(source::args())
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let source = Source::of(matches).await?;
    let id = match matches.get_one::<String>("audit-id") {
        Some(id) => id.as_str(),
        None => "last",
    };
    if id.is_empty() {
        bail!("the audit ID is empty; verbatim search 'code:>=400' lists failures with their IDs");
    }
    let namespace = matches.get_one::<String>("namespace").map(String::as_str);
    let resource = match namespace {
        Some(_) => "localexplanations",
        None => "explanations",
    };
    let path = format!("{}/{}", path(namespace, resource), encode_segment(id));
    let explanation = match source.get(&path).await {
        Ok(explanation) => explanation,
        Err(error) if is_missing(&error, id) => bail!(
            "no request with audit ID {id} is in the record\n  verbatim search 'code:>=400' --from -1h lists failures with their IDs;\n  the audit policy may leave such requests out"
        ),
        Err(error) => return Err(error),
    };
    if !print_tree(output(matches), &explanation) {
        print(&text(&explanation, wants_colour(matches)));
    }
    Ok(match explanation["certainty"] == "unknown" {
        true => ExitCode::from(1),
        false => ExitCode::SUCCESS,
    })
}

fn is_missing(error: &anyhow::Error, id: &str) -> bool {
    let refusal = error.downcast_ref::<Refusal>();
    refusal.is_some_and(|r| r.code == 404 && r.message.contains(&format!("{id:?} not found")))
}

/// The explanation for people.
fn text(explanation: &Value, has_colour: bool) -> String {
    let get = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let join = |v: &Value| -> String {
        let texts: Vec<String> = v.as_array().into_iter().flatten().map(get).collect();
        texts.join(", ")
    };
    let caller = &explanation["caller"];
    let style = match explanation["code"].as_u64().unwrap_or_default() {
        0..400 => Style::Green,
        400..500 => Style::Yellow,
        _ => Style::Red,
    };
    let mut out = String::new();
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            let label = paint(&format!("{label:<10}"), Style::Bold, has_colour);
            out.push_str(&format!("{label} {value}\n"));
        }
    };
    line("Request", get(&explanation["metadata"]["name"]));
    line("Cluster", get(&explanation["cluster"]));
    line("When", get(&explanation["metadata"]["creationTimestamp"]));
    line("Asked", get(&explanation["asked"]));
    line(
        "Answer",
        paint(&get(&explanation["outcome"]), style, has_colour),
    );
    let user = match get(&caller["username"]) {
        name if name.is_empty() && explanation["code"] == 401 => {
            "nobody that the server knows".to_string()
        }
        name if name.is_empty() => "not yet known when it was answered".to_string(),
        name => name,
    };
    let how = match get(&caller["authenticatedBy"]) {
        how if how.is_empty() => String::new(),
        how => format!(", authenticated by {how}"),
    };
    line("Caller", format!("{user}{how}"));
    line("Groups", join(&caller["groups"]));
    line("Acting as", get(&caller["impersonating"]));
    line(
        "From",
        format!(
            "{} {}",
            join(&caller["addresses"]),
            get(&caller["userAgent"])
        )
        .trim()
        .to_string(),
    );
    line("Where", get(&explanation["stage"]));
    let cause = match explanation["certainty"].as_str() {
        Some("likely") => format!("probably: {}", get(&explanation["cause"])),
        _ => get(&explanation["cause"]),
    };
    line("Why", paint(&cause, style, has_colour));
    line("Runbook", get(&explanation["runbook"]));
    let mut list = |title: &str, items: Vec<String>| {
        if !items.is_empty() {
            out.push_str(&format!("\n{}\n", paint(title, Style::Bold, has_colour)));
            for item in items {
                out.push_str(&format!("  - {item}\n"));
            }
        }
    };
    let texts =
        |v: &Value| -> Vec<String> { v.as_array().into_iter().flatten().map(get).collect() };
    let nearest = explanation["nearest"].as_array();
    let nearest = nearest
        .into_iter()
        .flatten()
        .map(|n| get(&n["text"]))
        .collect();
    list("Nearest bindings", nearest);
    list("What to do", texts(&explanation["fix"]));
    let evidence = explanation["evidence"].as_array().into_iter().flatten();
    list("Evidence", evidence.map(|e| get(&e["text"])).collect());
    let others = explanation["sameAuditId"].as_array().into_iter().flatten();
    let others = others.map(|o| {
        let code = o["code"].as_u64().unwrap_or_default();
        format!(
            "{} {} {}: {code}",
            get(&o["time"]),
            get(&o["username"]),
            get(&o["asked"])
        )
    });
    list("Other requests with this audit ID", others.collect());
    let manifests = get(&explanation["manifests"]);
    if !manifests.is_empty() {
        let title = "The smallest grant (save it and kubectl apply -f it)";
        out.push_str(&format!(
            "\n{}\n{manifests}",
            paint(title, Style::Bold, has_colour)
        ));
    }
    let commands = texts(&explanation["commands"]);
    if !commands.is_empty() {
        let title = "The same as commands";
        out.push_str(&format!("\n{}\n", paint(title, Style::Bold, has_colour)));
        for command in commands {
            out.push_str(&format!("  {command}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::base::tree::json;

    use super::*;

    #[test]
    fn a_refusal_for_people() {
        let explanation = json!({
            "metadata": {"name": "i"}, "code": 403, "outcome": "403 Forbidden", "certainty": "certain",
            "asked": "list secrets in namespace n", "cause": "no RBAC rule allows it",
            "caller": {"username": "alice", "authenticatedBy": "x509", "groups": ["dev"]},
            "nearest": [{"text": "RoleBinding b gives …"}], "fix": ["apply it"],
            "manifests": "kind: Role\n", "commands": ["kubectl create role …"],
        });
        let text = text(&explanation, false);
        for part in [
            "Caller     alice, authenticated by x509\n",
            "Asked      list secrets in namespace n\n",
            "Nearest bindings\n  - RoleBinding b gives …\n",
            "kind: Role\n",
        ] {
            assert!(text.contains(part), "{text}\nlacks\n{part}");
        }
    }
}
