//! `verbatim policy check|explain`: audit policies before they are in force.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::audit::policy::{Mismatch, Policy, ResourcePattern, Rule};
use crate::audit::policy_file;
use crate::cli::print::{Style, has_colour, paint, print};
use crate::request::{AuditLevel, RequestInfo, UserInfo};

/// Verbs that upstream ever matches.
const VERBS: [&str; 16] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "proxy",
    "post",
    "put",
    "head",
    "options",
    "connect",
    "trace",
    "",
];

/// The subcommand.
pub fn command() -> Command {
    let file = || {
        Arg::new("file")
            .value_name("FILE")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help("Policy file")
    };
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    Command::new("policy")
        .about("Check and explain audit policies")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("check")
                .about("Find what kube-apiserver refuses, and the mistakes that it accepts in silence")
                .after_help("Exit codes: 0 clean, 1 warnings, 2 refused.")
                .arg(file()),
        )
        .subcommand(
            Command::new("explain")
                .about("Tell which rule matches a request, and why the earlier ones do not")
                .after_help("Example: verbatim policy explain policy.yaml --as alice delete secrets -n prod")
                .arg(file())
                .arg(Arg::new("verb").value_name("VERB").required(true))
                .arg(
                    Arg::new("what")
                        .value_name("RESOURCE[.GROUP][/SUBRESOURCE] or /PATH")
                        .required(true),
                )
                .arg(flag("as", "User").default_value("system:anonymous"))
                .arg(flag("as-group", "Groups of the user").action(ArgAction::Append))
                .arg(flag("namespace", "Namespace").short('n').default_value(""))
                .arg(flag("name", "Name of the object").default_value("")),
        )
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match matches.subcommand() {
        Some(("check", matches)) => check(matches),
        Some(("explain", matches)) => explain(matches),
        _ => bail!("write: verbatim policy check FILE"),
    }
}

fn load(matches: &ArgMatches) -> anyhow::Result<Policy> {
    let Some(file) = matches.get_one::<PathBuf>("file") else {
        bail!("no file is given");
    };
    Ok(policy_file::load(file)?)
}

fn check(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let policy = load(matches)?;
    let mut warnings = policy.warnings.clone();
    warnings.extend(mistakes(&policy));
    for warning in &warnings {
        print(&format!(
            "{} {warning}\n",
            paint("warning:", Style::Yellow, has_colour())
        ));
    }
    print(&format!(
        "{} rules, {} warnings\n",
        policy.rules.len(),
        warnings.len()
    ));
    Ok(match warnings.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

/// What upstream accepts although it cannot be meant (kubernetes/kubernetes#107759).
pub fn mistakes(policy: &Policy) -> Vec<String> {
    let mut out = Vec::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        let mut warn = |text: String| out.push(format!("rules[{index}]: {text}"));
        for verb in &rule.verbs {
            if verb == "*" {
                warn("verbs: \"*\" never matches; leave verbs out to match all".into());
            } else if !VERBS.contains(&verb.as_str()) {
                warn(format!("verbs: {verb:?} is no verb of any request"));
            }
        }
        for entry in &rule.resources {
            let has_any = entry.resources.contains(&ResourcePattern::All);
            if has_any && entry.resources.len() > 1 {
                warn("resources: \"*\" matches everything; the other entries do nothing".into());
            }
            if !entry.names.is_empty() && rule.verbs.iter().any(|v| v == "create") {
                warn("resourceNames: creates have no name in the URL, so this rule never matches them".into());
            }
            for pattern in &entry.resources {
                if let ResourcePattern::Resource(name) = pattern
                    && name.chars().any(|c| c.is_ascii_uppercase())
                {
                    warn(format!(
                        "resources: {name:?} is a kind; write the plural resource, lower case"
                    ));
                }
            }
            if entry.group == "v1" || entry.group == "core" {
                warn(format!(
                    "resources: group {:?} does not exist; the core group is \"\"",
                    entry.group
                ));
            }
        }
        if rule.level >= AuditLevel::Request && shows_secrets(rule) {
            warn("records bodies of secrets; give secrets, configmaps and tokenreviews a rule at Metadata before this one".into());
        }
        if let Some(earlier) = policy.rules[..index].iter().position(matches_everything) {
            warn(format!(
                "is never reached: rules[{earlier}] matches everything"
            ));
        }
    }
    let has_secret_rule = |before: usize| {
        policy.rules[..before].iter().any(|r| {
            r.level <= AuditLevel::Metadata
                && r.users.is_empty()
                && r.groups.is_empty()
                && r.verbs.is_empty()
                && shows_secrets(r)
        })
    };
    out.retain(|text| {
        let index = text
            .strip_prefix("rules[")
            .and_then(|t| t.split(']').next()?.parse().ok());
        !(text.contains("records bodies of secrets") && index.is_some_and(has_secret_rule))
    });
    out
}

fn matches_everything(rule: &Rule) -> bool {
    rule.users.is_empty()
        && rule.groups.is_empty()
        && rule.verbs.is_empty()
        && rule.resources.is_empty()
        && rule.namespaces.is_empty()
        && rule.non_resource_urls.is_empty()
}

/// Whether a rule matches requests for secrets.
fn shows_secrets(rule: &Rule) -> bool {
    if !rule.non_resource_urls.is_empty() {
        return false;
    }
    rule.resources.is_empty()
        || rule.resources.iter().any(|entry| {
            (entry.group.is_empty() || entry.group == "*")
                && entry.names.is_empty()
                && (entry.resources.is_empty()
                    || entry.resources.iter().any(|p| match p {
                        ResourcePattern::All => true,
                        ResourcePattern::Resource(r) | ResourcePattern::WithSubresources(r) => {
                            r == "secrets"
                        }
                        _ => false,
                    }))
        })
}

fn explain(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let policy = load(matches)?;
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let groups = matches.get_many::<String>("as-group");
    let user = UserInfo {
        username: text("as"),
        groups: groups.into_iter().flatten().cloned().collect(),
        ..UserInfo::default()
    };
    let info = asked(text("verb"), &text("what"), text("namespace"), text("name"));
    for (index, rule) in policy.rules.iter().enumerate() {
        match rule.mismatch(&info, Some(&user)) {
            Some(mismatch) => print(&format!(
                "rules[{index}] does not match: {}\n",
                in_words(mismatch)
            )),
            None => {
                let level = paint(rule.level.as_str(), Style::Bold, has_colour());
                print(&format!("rules[{index}] matches: level {level}\n"));
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    print("no rule matches: nothing is recorded\n");
    Ok(ExitCode::SUCCESS)
}

fn asked(verb: String, what: &str, namespace: String, name: String) -> RequestInfo {
    if what.starts_with('/') {
        return RequestInfo {
            path: what.into(),
            verb,
            ..RequestInfo::default()
        };
    }
    let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    RequestInfo {
        is_resource: true,
        verb,
        group: group.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace,
        name,
        ..RequestInfo::default()
    }
}

fn in_words(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::User => "it is for other users",
        Mismatch::Group => "it is for other groups",
        Mismatch::Verb => "it is for other verbs",
        Mismatch::Kind => "it is about resources and the request is not, or the reverse",
        Mismatch::Namespace => "it is for other namespaces",
        Mismatch::Resource => "it is for other resources",
        Mismatch::Path => "it is for other paths",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_mistakes_are_found() {
        // users.md thread 4.
        for (rules, expected) in [
            ("- {level: Metadata, verbs: ['*']}", "never matches"),
            ("- {level: Metadata, verbs: [read]}", "is no verb"),
            (
                "- {level: None, resources: [{group: core, resources: [pods]}]}",
                "the core group is",
            ),
            (
                "- {level: None, resources: [{resources: [Pod]}]}",
                "is a kind",
            ),
            ("- {level: Request}", "records bodies of secrets"),
            (
                "- {level: None}\n- {level: Metadata, verbs: [get]}",
                "is never reached",
            ),
            (
                "- {level: None, verbs: [create], resources: [{resources: [pods], resourceNames: [a]}]}",
                "creates have no name",
            ),
        ] {
            let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}\n");
            let found = mistakes(&policy_file::parse(&text).expect("loads"));
            assert!(
                found.iter().any(|f| f.contains(expected)),
                "{rules}: {found:?}"
            );
        }
        let clean = crate::audit::config_file::default().view.policy;
        assert_eq!(mistakes(&clean), Vec::<String>::new());
    }
}
