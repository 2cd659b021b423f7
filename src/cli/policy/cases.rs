//! `verbatim policy test`: a file of requests and what a policy must decide about each.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ArgMatches;
use serde::Deserialize;

use super::explain::{explain, in_words, omitted};
use super::question::{Asked, Question, from_event};
use super::{Loaded, print_tree};
use crate::audit::config::View;
use crate::audit::redact::Redactor;
use crate::base::tree::{Value, json};
use crate::cli::print::{Row, Style, has_colour, print, table};

/// What a file of cases looks like.
pub(super) const HELP: &str = "Cases are YAML:

  cases:
  - name: secrets never with bodies        # shown in the table; optional
    request:
      user: alice
      groups: [dev]                        # system:authenticated and the like are added
      verb: get
      resource: secrets                    # or deployments.apps, pods/exec
      name: db
      namespace: prod
      # or path: /healthz                  # instead of a resource
      # or uri: /api/v1/pods?limit=1       # a whole request URI
    # or event: {...}                      # an audit event, instead of a request
    sink: archive                          # of an AuditConfiguration; the flags' sinks if left out
    requestObject: {...}                   # bodies, where redaction is tested
    responseObject: {...}
    expect:                                # only what is given is compared
      level: Metadata                      # None where no rule matches
      rule: secrets                        # a rule's name or number; null for no rule
      omitStages: [RequestReceived]
      omitManagedFields: true
      sampledPercent: 10
      redacted: [requestURI, requestObject.data.password]

Examples:
  verbatim policy test audit-policies/pci-dss.yaml
  verbatim policy test policy.yaml more.cases.yaml -o json

Exit codes: 0 all as expected, 1 some not, 2 a file is refused.";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: Option<String>,
    request: Option<Request>,
    event: Option<Value>,
    sink: Option<String>,
    request_object: Option<Value>,
    response_object: Option<Value>,
    expect: Expected,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    #[serde(default)]
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    verb: String,
    resource: Option<String>,
    subresource: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    path: Option<String>,
    uri: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expected {
    level: Option<String>,
    #[serde(default, deserialize_with = "given")]
    rule: Option<Value>,
    omit_stages: Option<Vec<String>>,
    omit_managed_fields: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    sampled_percent: Option<Value>,
    redacted: Option<Vec<String>>,
}

/// Tells `null` from nothing.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// How one case came out.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) name: String,
    /// What was expected and what is, field by field, where they differ.
    pub(super) differences: Vec<String>,
    decided: String,
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let loaded = Loaded::read(matches)?;
    let cases = match matches.get_one::<PathBuf>("cases") {
        Some(path) => path.clone(),
        None => beside(&loaded.path),
    };
    let outcomes = outcomes(&loaded, &cases)?;
    let failed = outcomes
        .iter()
        .filter(|o| !o.differences.is_empty())
        .count();
    let each = outcomes.iter().map(|outcome| {
        json!({
            "name": outcome.name,
            "ok": outcome.differences.is_empty(),
            "decided": outcome.decided,
            "differences": outcome.differences,
        })
    });
    let tree = json!({
        "policy": loaded.path.display().to_string(),
        "cases": each.collect::<Vec<_>>(),
        "failed": failed,
    });
    if !print_tree(matches, &tree) {
        show(&outcomes, failed);
    }
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    })
}

/// `policy.yaml` has its cases in `policy.cases.yaml`.
pub(super) fn beside(policy: &Path) -> PathBuf {
    policy.with_extension("cases.yaml")
}

/// Runs every case.
pub(super) fn outcomes(loaded: &Loaded, cases: &Path) -> anyhow::Result<Vec<Outcome>> {
    let text = std::fs::read_to_string(cases)
        .with_context(|| format!("reading the cases {}", cases.display()))?;
    let document: Document = serde_saphyr::from_str(&text)
        .map_err(|e| anyhow::anyhow!("{}: {}", cases.display(), e.without_snippet()))?;
    if document.cases.is_empty() {
        bail!("{}: there are no cases", cases.display());
    }
    let views = loaded.views()?;
    let mut out = Vec::new();
    for (index, case) in document.cases.iter().enumerate() {
        let place = || format!("{}: cases[{index}]", cases.display());
        let question = case.question().with_context(place)?;
        let sink = case.sink.as_deref().unwrap_or("default");
        let Some(seen) = views.iter().find(|seen| seen.sink == sink) else {
            bail!("{}: there is no sink {sink:?}", place());
        };
        let name = case.name.clone().unwrap_or_else(|| in_words(&question));
        out.push(case.outcome(name, seen.view, &question));
    }
    Ok(out)
}

impl Case {
    fn question(&self) -> anyhow::Result<Question> {
        match (&self.request, &self.event) {
            (Some(request), None) => request.clone().question(),
            (None, Some(event)) => from_event(event),
            _ => bail!("give a request or an event"),
        }
    }

    fn outcome(&self, name: String, view: &View, question: &Question) -> Outcome {
        let decision = explain(&view.policy, question).decision;
        let mut differences = Vec::new();
        let mut compare = |field: &str, expected: Value, got: Value| {
            if expected != got {
                differences.push(format!("{field} is {got}, not {expected}"));
            }
        };
        let expect = &self.expect;
        if let Some(level) = &expect.level {
            compare("level", json!(level), json!(decision.level.as_str()));
        }
        if let Some(rule) = &expect.rule {
            let got = match rule {
                Value::String(_) => json!(decision.rule.map(|i| view.policy.rules[i].label(i))),
                _ => json!(decision.rule),
            };
            compare("rule", rule.clone(), got);
        }
        if let Some(stages) = &expect.omit_stages {
            let mut wanted = stages.clone();
            wanted.sort();
            let mut got = omitted(&decision);
            got.sort_unstable();
            compare("omitStages", json!(wanted), json!(got));
        }
        if let Some(omits) = expect.omit_managed_fields {
            compare(
                "omitManagedFields",
                json!(omits),
                json!(decision.omit_managed_fields),
            );
        }
        if let Some(percent) = &expect.sampled_percent {
            let wanted = json!(percent.as_f64());
            compare("sampledPercent", wanted, json!(decision.sampled_percent));
        }
        if let Some(redacted) = &expect.redacted {
            let mut wanted = redacted.clone();
            wanted.sort();
            compare(
                "redacted",
                json!(wanted),
                json!(self.redacted(view, question)),
            );
        }
        let rule = decision.rule.map(|i| view.policy.rules[i].label(i));
        Outcome {
            name,
            differences,
            decided: match rule {
                Some(rule) => format!("{} by {rule}", decision.level.as_str()),
                None => "None: no rule matches".into(),
            },
        }
    }

    /// Paths of what redaction replaces, sorted.
    fn redacted(&self, view: &View, question: &Question) -> Vec<String> {
        let redactor = Redactor::new(view.redaction.rules.clone(), b"for comparison");
        let mut out = Vec::new();
        if let Some(uri) = &question.uri
            && *redactor.uri(&question.info, uri) != **uri
        {
            out.push("requestURI".to_string());
        }
        for (name, object) in [
            ("requestObject", &self.request_object),
            ("responseObject", &self.response_object),
        ] {
            if let Some(object) = object {
                let mut after = object.clone();
                redactor.body(&question.info, &mut after);
                changes(name, object, &after, &mut out);
            }
        }
        out.sort();
        out
    }
}

impl Request {
    fn question(self) -> anyhow::Result<Question> {
        let what = match (&self.resource, &self.path, &self.uri) {
            (Some(resource), None, None) => resource.clone(),
            (None, Some(path), None) => path.clone(),
            (None, None, Some(uri)) => uri.clone(),
            _ => bail!("give one of resource, path and uri"),
        };
        Asked {
            user: self.user,
            groups: self.groups,
            verb: self.verb,
            what,
            namespace: self.namespace,
            name: self.name,
            subresource: self.subresource,
        }
        .question()
    }
}

/// Where two trees differ.
fn changes(path: &str, before: &Value, after: &Value, out: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                if let Some(other) = b.get(key) {
                    changes(&format!("{path}.{key}"), value, other, out);
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for (index, (value, other)) in a.iter().zip(b).enumerate() {
                changes(&format!("{path}[{index}]"), value, other, out);
            }
        }
        (a, b) if a != b => out.push(path.to_string()),
        _ => {}
    }
}

fn show(outcomes: &[Outcome], failed: usize) {
    let rows: Vec<Row> = outcomes
        .iter()
        .map(|outcome| {
            let (result, style) = match outcome.differences.is_empty() {
                true => ("ok", Style::Green),
                false => ("FAILED", Style::Red),
            };
            let said = match outcome.differences.is_empty() {
                true => outcome.decided.clone(),
                false => outcome.differences.join("; "),
            };
            vec![
                (outcome.name.clone(), Style::Plain),
                (result.to_string(), style),
                (said, Style::Plain),
            ]
        })
        .collect();
    print(&table(&["case", "result", "decided"], &rows, has_colour()));
    print(&format!("\n{} cases, {failed} failed\n", outcomes.len()));
}
