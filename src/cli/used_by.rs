//! `verbatim used-by SUBJECT`: which permissions somebody really used, and the least roles for them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::{ArgMatches, Command, value_parser};

use crate::api::yaml;
use crate::authorization::rbac::PolicyRule;
use crate::base::tree::{Value, json};
use crate::cli::events::{EventQuery, value, window_args};
use crate::cli::found;
use crate::cli::print::{Row, Style, colour_arg, output, output_arg, print, table, wants_colour};
use crate::cli::source::{self, Source};
use crate::cli::subject::{self, Subject, Use, uses};

/// What system:discovery, system:public-info-viewer and system:basic-user give to everybody.
const EVERYBODYS_PATHS: [&str; 8] = [
    "/api",
    "/apis",
    "/healthz",
    "/livez",
    "/openapi",
    "/readyz",
    "/version",
    "/.well-known",
];
const EVERYBODYS_RESOURCES: [&str; 3] = [
    "selfsubjectaccessreviews",
    "selfsubjectreviews",
    "selfsubjectrulesreviews",
];

/// The subcommand.
pub fn command() -> Command {
    Command::new("used-by")
        .about("Show which permissions somebody really used, and the least roles for them")
        .after_help(
            "Examples:\n  verbatim used-by alice --from -30d\n  verbatim used-by sa:shop:backend -o yaml > least.yaml\n  verbatim used-by sa:shop:backend -o yaml --names 0 | kubectl apply -f -\n  verbatim used-by group:dev -n shop\n\n\
             -o yaml prints a Role and RoleBinding per namespace, and a ClusterRole and ClusterRoleBinding for what is\n\
             asked of the whole cluster. What every user may do anyway (discovery, questions about oneself) is left out.\n\
             Objects are named where --names says so, never for create, list, watch and deletecollection.\n\n\
             Exit codes: 0 something was used, 1 nothing was, 2 it failed.",
        )
        .arg(subject::arg())
        .args(window_args())
        .arg(
            value("names", "Name the objects where so many or fewer were used; 0 never")
                .default_value("1")
                .value_parser(value_parser!(usize)),
        )
        .arg(output_arg(&["table", "yaml", "json"]))
        .arg(colour_arg())
        .args(source::args())
}

/// Runs it.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let query = EventQuery::of(matches)?;
    let text = matches.get_one::<String>("subject");
    let subject = Subject::parse(text.map_or("", String::as_str))?;
    let source = Source::of(matches).await?;
    let uses = uses(&source, &query, &subject).await?;
    let names = matches.get_one::<usize>("names").copied().unwrap_or(1);
    match output(matches) {
        "yaml" => {
            let documents = manifests(&subject, &uses, names);
            let documents: Vec<String> = documents.iter().map(yaml::to_yaml).collect();
            print(&documents.join("---\n"));
        }
        "json" => {
            let list = json!({
                "kind": "List", "apiVersion": "v1", "metadata": {},
                "items": manifests(&subject, &uses, names),
            });
            print(&format!("{list:#}\n"));
        }
        _ if uses.is_empty() => eprintln!("nothing in the record was done by them"),
        _ => {
            let headings = ["namespace", "what", "name", "verb", "requests", "last used"];
            let rows: Vec<Row> = uses.iter().map(row).collect();
            print(&table(&headings, &rows, wants_colour(matches)));
            eprintln!("-o yaml prints the least roles for this");
        }
    }
    Ok(found(!uses.is_empty()))
}

fn row(used: &Use) -> Row {
    let or = |text: &str, none: &str| match text {
        "" => (none.to_string(), Style::Dim),
        text => (text.to_string(), Style::Plain),
    };
    let style = match is_everybodys(used) {
        true => Style::Dim,
        false => Style::Plain,
    };
    vec![
        or(&used.namespace, "<cluster>"),
        (used.what(), style),
        or(&used.name, "*"),
        (used.verb.clone(), Style::Bold),
        (used.requests.to_string(), Style::Plain),
        (
            used.last.split('.').next().unwrap_or_default().to_string() + "Z",
            Style::Dim,
        ),
    ]
}

/// Whether every authenticated user may do it.
pub fn is_everybodys(used: &Use) -> bool {
    if used.resource.is_empty() {
        let path = used.path.as_str();
        return matches!(&*used.verb, "get" | "head")
            && EVERYBODYS_PATHS.iter().any(|p| {
                path.strip_prefix(p)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
    }
    used.verb == "create" && EVERYBODYS_RESOURCES.contains(&used.resource.as_str())
}

/// Roles and bindings, namespaces first by name, the cluster last.
fn manifests(subject: &Subject, uses: &[Use], names: usize) -> Vec<Value> {
    let mut by_namespace: BTreeMap<&str, Vec<&Use>> = BTreeMap::new();
    for used in uses.iter().filter(|u| !is_everybodys(u)) {
        by_namespace.entry(&used.namespace).or_default().push(used);
    }
    let mut out = Vec::new();
    let (cluster, namespaced): (Vec<_>, Vec<_>) =
        by_namespace.into_iter().partition(|(n, _)| n.is_empty());
    for (namespace, uses) in namespaced.into_iter().chain(cluster) {
        let rules = rules(&uses, names);
        out.extend(role_and_binding(subject, namespace, &rules));
    }
    out
}

fn role_and_binding(subject: &Subject, namespace: &str, rules: &[PolicyRule]) -> [Value; 2] {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let prefix = if namespace.is_empty() { "Cluster" } else { "" };
    let name = format!("{}-used", subject.slug());
    let mut metadata = json!({
        "name": name,
        "annotations": {"audit.verbatim.dev/made-by": "verbatim used-by"},
    });
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    let role = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": format!("{prefix}Role"),
        "metadata": metadata, "rules": rules,
    });
    let binding = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": format!("{prefix}RoleBinding"),
        "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": format!("{prefix}Role"), "name": name},
        "subjects": [subject.to_rbac()],
    });
    [role, binding]
}

/// The fewest rules that say neither more nor less: verbs of one resource together, resources with
/// the same verbs and names together.
fn rules(uses: &[&Use], names_max: usize) -> Vec<PolicyRule> {
    type Names = BTreeSet<String>;
    // Names of each thing that is done to named objects.
    let mut names: BTreeMap<(&str, String, &str), Names> = BTreeMap::new();
    for used in uses.iter().filter(|u| !u.resource.is_empty()) {
        let key = (&*used.group, used.full_resource(), &*used.verb);
        names.entry(key).or_default().insert(used.name.clone());
    }
    // Verbs by resource and names.
    let mut verbs: BTreeMap<(&str, Names, String), BTreeSet<&str>> = BTreeMap::new();
    for ((group, resource, verb), mut names) in names {
        // Once without a name is enough for all.
        if names.contains("") || names.len() > names_max {
            names.clear();
        }
        let key = (group, names, resource);
        verbs.entry(key).or_default().insert(verb);
    }
    let mut resources: BTreeMap<(&str, Names, BTreeSet<&str>), Vec<String>> = BTreeMap::new();
    for ((group, names, resource), verbs) in verbs {
        let key = (group, names, verbs);
        resources.entry(key).or_default().push(resource);
    }
    let owned = |set: &BTreeSet<&str>| set.iter().map(|v| v.to_string()).collect();
    let mut rules: Vec<PolicyRule> = resources
        .into_iter()
        .map(|((group, names, verbs), resources)| PolicyRule {
            verbs: owned(&verbs),
            api_groups: vec![group.to_string()],
            resources,
            resource_names: names.into_iter().collect(),
            ..PolicyRule::default()
        })
        .collect();
    let mut paths: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for used in uses.iter().filter(|u| u.resource.is_empty()) {
        paths.entry(&used.path).or_default().insert(&used.verb);
    }
    let mut by_verbs: BTreeMap<BTreeSet<&str>, Vec<String>> = BTreeMap::new();
    for (path, verbs) in paths {
        by_verbs.entry(verbs).or_default().push(path.to_string());
    }
    rules.extend(by_verbs.into_iter().map(|(verbs, paths)| PolicyRule {
        verbs: owned(&verbs),
        non_resource_urls: paths,
        ..PolicyRule::default()
    }));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::Verdict;
    use crate::authorization::rbac::Rbac;
    use crate::request::{Attributes, UserInfo};

    fn used(verb: &str, resource: &str, namespace: &str, name: &str) -> Use {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Use {
            verb: verb.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            requests: 1,
            ..Use::default()
        }
    }

    fn all() -> Vec<Use> {
        vec![
            used("get", "pods", "a", "one"),
            used("list", "pods", "a", ""),
            used("create", "pods", "a", ""),
            used("get", "pods/log", "a", "one"),
            used("get", "configmaps", "a", "settings"),
            used("get", "secrets", "a", "s1"),
            used("get", "secrets", "a", "s2"),
            used("list", "nodes", "", ""),
            Use {
                verb: "get".into(),
                path: "/metrics".into(),
                ..Use::default()
            },
            Use {
                verb: "get".into(),
                path: "/apis/apps".into(),
                ..Use::default()
            },
        ]
    }

    #[test]
    fn the_least_rules() {
        let uses = all();
        let here: Vec<&Use> = uses.iter().filter(|u| u.namespace == "a").collect();
        let shown: Vec<String> = rules(&here, 1)
            .iter()
            .map(|r| format!("{:?} {:?} {:?}", r.verbs, r.resources, r.resource_names))
            .collect();
        assert_eq!(
            shown,
            [
                r#"["create", "list"] ["pods"] []"#,
                r#"["get"] ["secrets"] []"#,
                r#"["get"] ["pods", "pods/log"] ["one"]"#,
                r#"["get"] ["configmaps"] ["settings"]"#,
            ]
        );
    }

    #[test]
    fn the_roles_allow_what_was_used_and_no_creation_by_name() {
        // liggitt/audit2rbac#24: resourceNames on create allow nothing.
        let subject = Subject::ServiceAccount("a".into(), "robot".into());
        let uses = all();
        let rbac = Rbac::new();
        for manifest in manifests(&subject, &uses, 5) {
            rbac.put_object(&manifest);
        }
        let user = UserInfo {
            username: "system:serviceaccount:a:robot".into(),
            ..UserInfo::default()
        };
        let allows = |u: &Use| {
            let mut asked =
                Attributes::resource(&user, &u.verb, "", &u.resource, &u.namespace, &u.name);
            asked.subresource = &u.subresource;
            asked.is_resource = !u.resource.is_empty();
            asked.path = &u.path;
            rbac.decide(&asked).verdict == Verdict::Allow
        };
        for used in uses.iter().filter(|u| !is_everybodys(u)) {
            assert!(allows(used), "{used:?}");
        }
        for other in [
            used("delete", "pods", "a", "one"),
            used("get", "pods", "a", "two"),
            used("get", "secrets", "a", "s3"),
            used("get", "pods", "b", "one"),
            used("list", "secrets", "a", ""),
        ] {
            assert!(!allows(&other), "{other:?}");
        }
    }
}
