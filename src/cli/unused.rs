//! `verbatim unused SUBJECT`: what RBAC allows somebody, but they have not used.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

use crate::authorization::rbac::PolicyRule;
use crate::base::tree::{Value, json};
use crate::cli::events::{EventQuery, window_args};
use crate::cli::found;
use crate::cli::print::{Row, Style, colour_arg, output, output_arg, wants_colour};
use crate::cli::print::{print, print_tree, table};
use crate::cli::source::{self, Source};
use crate::cli::subject::{self, Subject, Use, uses};
use crate::request::{Attributes, UserInfo};

/// Where bindings and roles are.
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
/// Objects per request.
const PAGE: usize = 500;

/// The subcommand.
pub fn command() -> Command {
    Command::new("unused")
        .about("Show what RBAC allows somebody, but they have not used")
        .after_help(
            "Examples:\n  verbatim unused alice --from -90d\n  verbatim unused sa:shop:backend\n  verbatim unused group:dev --since 30d -o json\n\n\
             Grants of groups that the subject is in count too; the groups are those of its newest request, and --group.\n\
             What is granted to everybody (system:authenticated) is left out.\n\
             The record knows only as far back as the index is kept; look at the time shown first.\n\n\
             Exit codes: 0 something is unused, 1 all is used, 2 it failed.",
        )
        .arg(subject::arg())
        .args(window_args())
        .arg(
            Arg::new("group")
                .long("group")
                .action(ArgAction::Append)
                .help("A group the subject is in; may be repeated"),
        )
        .arg(output_arg(&["table", "json", "yaml"]))
        .arg(colour_arg())
        .args(source::args())
}

/// One thing that one binding grants.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Grant {
    binding_kind: &'static str,
    binding: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    role_kind: String,
    role: String,
    /// `deployments.apps/scale` or a path.
    what: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    used: Vec<String>,
    unused: Vec<String>,
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let query = EventQuery::of(matches)?;
    let text = matches.get_one::<String>("subject");
    let subject = Subject::parse(text.map_or("", String::as_str))?;
    let source = Source::of(matches).await?;
    let uses = uses(&source, &query, &subject).await?;
    let mut groups = subject.groups(&source, &query).await?;
    groups.extend(matches.get_many("group").into_iter().flatten().cloned());
    groups.retain(|g| g != "system:authenticated");
    let user = UserInfo {
        username: subject.username().unwrap_or_default(),
        groups,
        ..UserInfo::default()
    };
    let roles = Roles::load(&source).await?;
    let grants = grants(&roles, &user, &uses);
    let unused: Vec<&Grant> = grants.iter().filter(|g| !g.unused.is_empty()).collect();
    let tree = json!({"user": user, "grants": unused});
    if !print_tree(output(matches), &tree) {
        if grants.is_empty() {
            eprintln!("RBAC grants nothing to them beyond what everybody has");
        } else if unused.is_empty() {
            eprintln!("everything that RBAC grants was used");
        } else {
            let headings = ["binding", "role", "what", "unused", "used"];
            let rows: Vec<Row> = unused.iter().map(|g| row(g)).collect();
            print(&table(&headings, &rows, wants_colour(matches)));
        }
        if let Some(first) = oldest(&source, &query).await? {
            eprintln!("the record begins at {first}");
        }
    }
    Ok(found(!unused.is_empty()))
}

fn row(grant: &Grant) -> Row {
    let place = match grant.namespace.as_str() {
        "" => String::new(),
        namespace => format!("{namespace}/"),
    };
    let names = match grant.names.is_empty() {
        true => String::new(),
        false => format!(" ({})", grant.names.join(", ")),
    };
    vec![
        (
            format!("{} {place}{}", grant.binding_kind, grant.binding),
            Style::Plain,
        ),
        (format!("{} {}", grant.role_kind, grant.role), Style::Plain),
        (format!("{}{names}", grant.what), Style::Bold),
        (grant.unused.join(","), Style::Yellow),
        (grant.used.join(","), Style::Dim),
    ]
}

/// Time of the oldest request that there is.
async fn oldest(source: &Source, query: &EventQuery) -> anyhow::Result<Option<String>> {
    let everything = EventQuery {
        text: String::new(),
        ..query.clone()
    };
    let spec = json!({"by": ["class"], "limit": 0});
    let status = crate::cli::events::summarize(source, &everything, spec).await?;
    let groups = status["groups"].as_array().into_iter().flatten();
    let first = groups.filter_map(|g| g["first"].as_str()).min();
    Ok(first.map(str::to_string))
}

/// All bindings and roles of a cluster.
struct Roles {
    bindings: Vec<(&'static str, Value)>,
    roles: Vec<Value>,
}

impl Roles {
    async fn load(source: &Source) -> anyhow::Result<Self> {
        let mut roles = list(source, "clusterroles").await?;
        roles.extend(list(source, "roles").await?);
        let mut bindings = Vec::new();
        for (kind, plural) in [
            ("ClusterRoleBinding", "clusterrolebindings"),
            ("RoleBinding", "rolebindings"),
        ] {
            let found = list(source, plural).await?;
            bindings.extend(found.into_iter().map(|b| (kind, b)));
        }
        Ok(Roles { bindings, roles })
    }

    fn rules(&self, binding: &Value) -> Vec<PolicyRule> {
        let reference = &binding["roleRef"];
        let namespace = match reference["kind"] == "Role" {
            true => &binding["metadata"]["namespace"],
            false => &Value::Null,
        };
        let role = self.roles.iter().find(|role| {
            let metadata = &role["metadata"];
            metadata["name"] == reference["name"] && metadata["namespace"] == *namespace
        });
        role.map(PolicyRule::of_role).unwrap_or_default()
    }
}

async fn list(source: &Source, plural: &str) -> anyhow::Result<Vec<Value>> {
    let (mut items, mut next) = (Vec::new(), String::new());
    loop {
        let path = format!("{RBAC}/{plural}?limit={PAGE}&continue={next}");
        let mut page = source.get(&path).await?;
        if let Value::Array(found) = page["items"].take() {
            items.extend(found);
        }
        next = page["metadata"]["continue"]
            .as_str()
            .map(crate::cli::client::encode)
            .unwrap_or_default();
        if next.is_empty() {
            return Ok(items);
        }
    }
}

fn is_for(binding: &Value, user: &UserInfo) -> bool {
    let subjects = binding["subjects"].as_array().into_iter().flatten();
    subjects.into_iter().any(|subject| {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["kind"].as_str().unwrap_or_default() {
            "User" => !name.is_empty() && name == user.username,
            "Group" => user.groups.iter().any(|g| g == name),
            "ServiceAccount" => {
                let namespace = subject["namespace"].as_str().unwrap_or_default();
                user.service_account() == Some((namespace, name))
            }
            _ => false,
        }
    })
}

/// Every resource and path of every rule that reaches the user, with the verbs that were used and
/// those that were not. A verb `*` counts as used when anything was.
fn grants(roles: &Roles, user: &UserInfo, uses: &[Use]) -> Vec<Grant> {
    let mut out = Vec::new();
    for (binding_kind, binding) in roles.bindings.iter().filter(|(_, b)| is_for(b, user)) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let namespace = text(&binding["metadata"]["namespace"]);
        let grant = Grant {
            binding_kind,
            binding: text(&binding["metadata"]["name"]),
            namespace: namespace.clone(),
            role_kind: text(&binding["roleRef"]["kind"]),
            role: text(&binding["roleRef"]["name"]),
            what: String::new(),
            names: Vec::new(),
            used: Vec::new(),
            unused: Vec::new(),
        };
        let here = |used: &&Use| namespace.is_empty() || used.namespace == namespace;
        for rule in roles.rules(binding) {
            for (what, part) in parts(&rule) {
                let mut grant = Grant {
                    what,
                    names: part.resource_names.clone(),
                    ..grant.clone()
                };
                for verb in &rule.verbs {
                    let single = PolicyRule {
                        verbs: vec![verb.clone()],
                        ..part.clone()
                    };
                    let is_used = uses
                        .iter()
                        .filter(here)
                        .any(|used| single.allows(&asked(user, used)));
                    match is_used {
                        true => grant.used.push(verb.clone()),
                        false => grant.unused.push(verb.clone()),
                    }
                }
                out.push(grant);
            }
        }
    }
    out
}

/// A rule for each group and resource, or for each path.
fn parts(rule: &PolicyRule) -> Vec<(String, PolicyRule)> {
    let mut out = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            let (plural, sub) = resource.split_once('/').unwrap_or((resource, ""));
            let mut what = plural.to_string();
            for (separator, part) in [(".", group.as_str()), ("/", sub)] {
                if !part.is_empty() {
                    what.push_str(separator);
                    what.push_str(part);
                }
            }
            let part = PolicyRule {
                api_groups: vec![group.clone()],
                resources: vec![resource.clone()],
                non_resource_urls: Vec::new(),
                ..rule.clone()
            };
            out.push((what, part));
        }
    }
    for path in &rule.non_resource_urls {
        let part = PolicyRule {
            verbs: rule.verbs.clone(),
            non_resource_urls: vec![path.clone()],
            ..PolicyRule::default()
        };
        out.push((path.clone(), part));
    }
    out
}

fn asked<'a>(user: &'a UserInfo, used: &'a Use) -> Attributes<'a> {
    let mut attributes = Attributes::resource(
        user,
        &used.verb,
        &used.group,
        &used.resource,
        &used.namespace,
        &used.name,
    );
    attributes.subresource = &used.subresource;
    attributes.is_resource = !used.resource.is_empty();
    attributes.path = &used.path;
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granted_but_not_used() {
        let roles = Roles {
            bindings: vec![
                (
                    "RoleBinding",
                    json!({"metadata": {"namespace": "a", "name": "edit"}, "roleRef": {"kind": "ClusterRole", "name": "edit"}, "subjects": [{"kind": "Group", "name": "dev"}]}),
                ),
                (
                    "ClusterRoleBinding",
                    json!({"metadata": {"name": "others"}, "roleRef": {"kind": "ClusterRole", "name": "edit"}, "subjects": [{"kind": "User", "name": "bob"}]}),
                ),
            ],
            roles: vec![json!({"metadata": {"name": "edit"}, "rules": [
                {"verbs": ["get", "delete"], "apiGroups": ["", "apps"], "resources": ["pods"]},
                {"verbs": ["get"], "nonResourceURLs": ["/metrics"]},
            ]})],
        };
        let user = UserInfo {
            username: "alice".into(),
            groups: vec!["dev".into()],
            ..UserInfo::default()
        };
        let used = |namespace: &str| Use {
            verb: "get".into(),
            resource: "pods".into(),
            namespace: namespace.into(),
            ..Use::default()
        };
        let show = |uses: &[Use]| -> Vec<String> {
            grants(&roles, &user, uses)
                .iter()
                .map(|g| format!("{} {:?} {:?}", g.what, g.used, g.unused))
                .collect()
        };
        assert_eq!(
            show(&[used("a")]),
            [
                r#"pods ["get"] ["delete"]"#,
                r#"pods.apps [] ["get", "delete"]"#,
                r#"/metrics [] ["get"]"#,
            ]
        );
        assert_eq!(show(&[used("b")])[0], r#"pods [] ["get", "delete"]"#);
    }
}
