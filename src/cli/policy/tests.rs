//! The three commands, on texts and on the policies that are shipped.

use std::sync::Arc;

use proptest::prelude::*;

use super::explain::{explain, reason};
use super::question::{Asked, Question};
use super::*;
use crate::audit::policy::{GroupResources, Policy, ResourcePattern, Rule};
use crate::audit::policy_file;
use crate::request::{AuditLevel, RequestInfo, UserInfo};

fn loaded(text: &str) -> Loaded {
    Loaded {
        path: "policy.yaml".into(),
        lines: Lines::of(text),
        outcome: config_file::parse(text, Path::new(".")).map_err(|e| e.located(text)),
    }
}

fn warnings(rules: &str) -> Vec<String> {
    let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}\n");
    let found = check::warnings(&loaded(&text)).expect("loads");
    found
        .into_iter()
        .map(|f| format!("{}: {}", f.line.unwrap_or_default(), f.message))
        .collect()
}

#[test]
fn thread_04_silent_mistakes_are_found_with_their_lines() {
    for (rules, expected) in [
        (
            "- {level: Metadata, verbs: ['*']}",
            "4: rules[0].verbs[0]: \"*\" never matches",
        ),
        (
            "- {level: Metadata, verbs: [read]}",
            "is no verb of any request",
        ),
        ("- {level: Metadata, verbs: [GET]}", "write \"get\""),
        (
            "- {level: Metadata, verbs: [impersonate]}",
            "a permission in RBAC",
        ),
        (
            "- {level: Metadata, verb: [get]}",
            "4: strict decoding error: unknown field \"rules[0].verb\"",
        ),
        (
            "- level: Metadata\n  verbs: [post]\n  resources: [{resources: [pods]}]",
            "5: rules[0].verbs[0]: \"post\" is an HTTP method; requests for resources have verbs like create",
        ),
        (
            "- {level: None, verbs: [list], nonResourceURLs: [/x]}",
            "are never \"list\"",
        ),
        (
            "- {level: None, resources: [{group: core, resources: [pods]}]}",
            "the core group is \"\"",
        ),
        (
            "- {level: None, resources: [{group: rbac}]}",
            "is \"rbac.authorization.k8s.io\" meant?",
        ),
        (
            "- {level: None, resources: [{resources: [Pod]}]}",
            "plural and in lower case: \"pods\"",
        ),
        (
            "- {level: None, resources: [{group: apps, resources: [deploy]}]}",
            "\"deployments\"",
        ),
        (
            "- {level: None, resources: [{resources: [deployments]}]}",
            "is in group \"apps\"",
        ),
        (
            "- {level: None, resources: [{resources: [deployments.apps]}]}",
            "under group \"apps\"",
        ),
        (
            "- {level: None, resources: [{resources: [podz]}]}",
            "has no resource \"podz\"",
        ),
        (
            "- {level: None, resources: [{resources: ['pod*']}]}",
            "wildcards stand alone",
        ),
        (
            "- {level: None, resources: [{resources: [pods/logs]}]}",
            "they have ",
        ),
        (
            "- {level: None, resources: [{resources: ['*/stats']}]}",
            "no built-in resource has",
        ),
        (
            "- {level: None, resources: [{resources: ['*', pods]}]}",
            "the other entries do nothing",
        ),
        (
            "- {level: None, verbs: [create], resources: [{resources: [pods], resourceNames: [a]}]}",
            "creates have no name",
        ),
        (
            "- {level: None, verbs: [list], resources: [{resources: [pods], resourceNames: [a]}]}",
            "fieldSelector=metadata.name",
        ),
        (
            "- {level: None, namespaces: [a], resources: [{resources: [nodes]}]}",
            "nodes are in no namespace",
        ),
        (
            "- {level: None, namespaces: ['kube-*']}",
            "namespaces have no wildcards",
        ),
        (
            "- {level: None, users: ['system:*']}",
            "user names have no wildcards",
        ),
        (
            "- {level: None, users: ['system:serviceaccount:a']}",
            "system:serviceaccount:NAMESPACE:NAME",
        ),
        ("- {level: None, users: ['system:nodes']}", "is a group"),
        (
            "- {level: None, userGroups: ['system:serviceaccount:a:b']}",
            "is a user",
        ),
        (
            "- {level: None, nonResourceURLs: ['/api/v1/pods*']}",
            "is the path of a resource",
        ),
        (
            "- {level: Metadata, verbs: [create], resources: [{resources: [pods/exec]}]}",
            "\"get\" is missing",
        ),
        (
            "- {level: Metadata, omitStages: [RequestReceived, ResponseStarted, ResponseComplete]}",
            "nothing is recorded",
        ),
        (
            "- {level: None}\n- {level: Metadata, verbs: [get]}",
            "5: rules[1]: is never reached: rules[0]",
        ),
        (
            "- {level: None, resources: [{resources: ['pods/*', services]}]}\n- {level: Metadata, verbs: [get], resources: [{resources: [pods/log, services]}]}",
            "is never reached: rules[0] before it matches all that this rule does",
        ),
        ("- {level: Request}", "records bodies of secrets"),
        (
            "- {level: RequestResponse, verbs: [create]}",
            "records bodies of serviceaccounts/token",
        ),
        (
            "- {level: Metadata, verbs: [get]}",
            "3: rules: no rule matches everything that is left",
        ),
    ] {
        let found = warnings(rules);
        assert!(
            found.iter().any(|f| f.contains(expected)),
            "{rules}\n{found:#?}\nlack\n{expected}"
        );
    }
}

#[test]
fn what_is_right_is_not_complained_about() {
    for rules in [
        "- {level: Metadata}",
        "- {level: Metadata, resources: [{resources: [secrets, configmaps, serviceaccounts/token]}, {group: authentication.k8s.io, resources: [tokenreviews]}]}\n- {level: RequestResponse}",
        "- {level: None, namespaces: [a], resources: [{resources: [namespaces]}]}\n- {level: Metadata}",
        "- {level: None, namespaces: ['', a], resources: [{resources: [nodes, pods]}]}\n- {level: Metadata}",
        "- {level: None, verbs: [get, head], nonResourceURLs: ['/healthz*', '/api*']}\n- {level: Metadata}",
        "- {level: None, resources: [{group: example.com, resources: [widgets]}]}\n- {level: Metadata}",
        "- {level: Metadata, verbs: [get, create], resources: [{resources: [pods/exec, pods/attach]}]}\n- {level: Metadata}",
    ] {
        assert_eq!(warnings(rules), Vec::<String>::new(), "{rules}");
    }
}

#[test]
fn sinks_and_refusals() {
    let text = "apiVersion: audit.verbatim.dev/v1alpha1\nkind: AuditConfiguration\nsinks:\n- name: a\n  stdout: {}\n  policy:\n    rules:\n    - {level: Metadata, name: all, verbs: ['*']}\n    - {level: None}\n";
    let found = check::warnings(&loaded(text)).expect("loads");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].line, Some(8));
    assert!(
        found[0]
            .message
            .starts_with("sink a: rules[0].verbs[0] (all): "),
        "{found:?}"
    );
    let refused = loaded("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Some\n");
    let mistakes = refused.outcome.expect_err("no such level");
    assert!(
        mistakes[0].starts_with("line 4: rules[0].level: Unsupported value"),
        "{mistakes:?}"
    );
}

fn ask(user: &str, verb: &str, what: &str, namespace: Option<&str>) -> Question {
    let asked = Asked {
        user: user.into(),
        verb: verb.into(),
        what: what.into(),
        namespace: namespace.map(str::to_string),
        ..Asked::default()
    };
    asked.question().expect("a question")
}

#[test]
fn questions_are_understood() {
    for (what, expected) in [
        ("secrets/db", ("", "secrets", "", "db", "default")),
        ("deploy", ("apps", "deployments", "", "", "")),
        (
            "deployments.apps/web",
            ("apps", "deployments", "", "web", "default"),
        ),
        ("pods/exec", ("", "pods", "exec", "", "")),
        ("nodes/a", ("", "nodes", "", "a", "")),
        ("ns/prod", ("", "namespaces", "", "prod", "prod")),
        (
            "widgets.example.com/a",
            ("example.com", "widgets", "", "a", "default"),
        ),
        ("events", ("", "events", "", "", "")),
    ] {
        let info = ask("alice", "get", what, None).info;
        let got = (
            info.group.as_str(),
            info.resource.as_str(),
            info.subresource.as_str(),
            info.name.as_str(),
            info.namespace.as_str(),
        );
        assert_eq!(got, expected, "{what}");
    }
    let user = ask("system:serviceaccount:ns:sa", "get", "pods", None).user;
    let groups = [
        "system:serviceaccounts",
        "system:serviceaccounts:ns",
        "system:authenticated",
    ];
    assert_eq!(user.groups, groups);
    assert!(!ask("a", "get", "/healthz", None).info.is_resource);
}

#[test]
fn reasons_say_what_is_wanted_and_what_is_there() {
    let policy = policy_file::parse(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {level: None, users: [bob]}\n- {level: None, userGroups: [ops]}\n- {level: None, verbs: [list, watch]}\n- {level: None, nonResourceURLs: ['/healthz*']}\n- {level: None, namespaces: [kube-system]}\n- {level: None, resources: [{group: apps, resources: [deployments]}, {resources: [secrets], resourceNames: [x]}]}\n- {level: Metadata}\n",
    )
    .expect("loads");
    let question = ask("alice", "get", "secrets/db", Some("prod"));
    let explained = explain(&policy, &question);
    assert_eq!(explained.decision.rule, Some(6));
    let reasons: Vec<String> = explained
        .earlier
        .iter()
        .zip(&policy.rules)
        .map(|(mismatch, rule)| reason(*mismatch, rule, &question))
        .collect();
    assert_eq!(
        reasons,
        [
            "for users bob; this is alice",
            "for groups ops; the user is in system:authenticated",
            "for verbs list, watch; this is get",
            "for paths; this is a resource",
            "for namespaces kube-system; this is in prod",
            "for deployments.apps; secrets named x; this is secrets db",
        ]
    );
}

/// Every shipped policy is clean and decides as its cases say.
#[test]
fn shipped_policies_decide_as_their_cases_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("audit-policies");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if !name.ends_with(".yaml") || name.ends_with(".cases.yaml") {
            continue;
        }
        seen += 1;
        let loaded = Loaded::read_file(&path).expect("reads");
        let found = check::warnings(&loaded).expect("loads");
        assert!(found.is_empty(), "{name}: {found:#?}");
        let outcomes = cases::outcomes(&loaded, &cases::beside(&path)).expect("cases");
        for outcome in outcomes {
            assert!(
                outcome.differences.is_empty(),
                "{name}: {}: {:?}",
                outcome.name,
                outcome.differences
            );
        }
    }
    assert!(seen >= 9, "{seen} policies");
}

fn one_of(items: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(items).prop_map(str::to_string)
}

fn few(items: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(one_of(items), 0..3)
}

const PATTERNS: &[&str] = &[
    "*",
    "pods",
    "pods/log",
    "pods/*",
    "*/status",
    "nodes",
    "pods/status",
];

fn rule() -> impl Strategy<Value = Rule> {
    let entry = (one_of(&["", "apps", "*"]), few(PATTERNS), few(&["a", "b"]));
    let entry = entry.prop_map(|(group, patterns, names)| GroupResources {
        group,
        // As upstream validates: names need resources.
        names: if patterns.is_empty() {
            Vec::new()
        } else {
            names
        },
        resources: patterns.iter().map(|p| ResourcePattern::parse(p)).collect(),
    });
    (
        few(&["u", "v"]),
        few(&["g", "h"]),
        few(&["get", "create", "list"]),
        few(&["", "n", "m"]),
        proptest::collection::vec(entry, 0..3),
        few(&["/healthz", "/healthz*", "*", "/api"]),
        any::<bool>(),
    )
        .prop_map(
            |(users, groups, verbs, namespaces, resources, urls, is_path)| Rule {
                level: AuditLevel::Metadata,
                users,
                groups,
                verbs,
                namespaces: if is_path { Vec::new() } else { namespaces },
                resources: if is_path { Vec::new() } else { resources },
                non_resource_urls: if is_path { urls } else { Vec::new() },
                ..Rule::default()
            },
        )
}

fn question() -> impl Strategy<Value = Question> {
    (
        (one_of(&["u", "v", "w"]), few(&["g", "h", "i"])),
        one_of(&["get", "create", "list", "watch"]),
        (
            one_of(&["", "apps", "x.y"]),
            one_of(&["pods", "nodes", "other"]),
        ),
        one_of(&["", "log", "status", "exec"]),
        (one_of(&["", "n", "m", "o"]), one_of(&["", "a", "b", "c"])),
        (
            one_of(&["/healthz", "/healthz/x", "/api", "/"]),
            any::<bool>(),
        ),
    )
        .prop_map(
            |((user, groups), verb, (group, resource), sub, (namespace, name), (path, is_path))| {
                let info = match is_path {
                    true => RequestInfo {
                        verb,
                        path,
                        ..RequestInfo::default()
                    },
                    false => RequestInfo {
                        is_resource: true,
                        verb,
                        group,
                        resource,
                        subresource: sub,
                        namespace,
                        name,
                        ..RequestInfo::default()
                    },
                };
                let user = UserInfo {
                    username: user,
                    groups,
                    ..UserInfo::default()
                };
                Question {
                    user,
                    info,
                    uri: None,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn explain_agrees_with_evaluate(
        rules in proptest::collection::vec(rule(), 1..6),
        question in question(),
    ) {
        let policy = Policy { rules, warnings: Vec::new() };
        let explained = explain(&policy, &question);
        let decision = policy.evaluate(&question.info, Some(&question.user));
        prop_assert_eq!(&explained.decision, &decision);
        let earlier = decision.rule.unwrap_or(policy.rules.len());
        prop_assert_eq!(explained.earlier.len(), earlier);
    }

    /// What `check` calls unreachable never decides.
    #[test]
    fn covered_rules_never_decide(
        earlier in rule(),
        later in rule(),
        questions in proptest::collection::vec(question(), 40),
    ) {
        if !cover::covers(&earlier, &later) {
            return Ok(());
        }
        let policy = Arc::new(Policy { rules: vec![earlier, later], warnings: Vec::new() });
        for question in questions {
            let decision = policy.evaluate(&question.info, Some(&question.user));
            prop_assert_ne!(decision.rule, Some(1));
        }
    }
}
