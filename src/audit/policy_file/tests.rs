//! Policies that load, and refusals in upstream's words.

use super::*;

const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

#[test]
fn unknown_and_duplicate_fields_are_warnings() {
    // users.md thread 4: silent policy mistakes.
    let policy = parse(&format!("{HEAD}rules:\n- {{level: None, verb: [get]}}")).expect("loads");
    assert_eq!(
        policy.warnings,
        ["strict decoding error: unknown field \"rules[0].verb\""]
    );
    let policy = parse(&format!("{HEAD}rules:\n- level: None\n  level: Metadata\n"))
        .expect("loads leniently");
    assert_eq!(policy.warnings.len(), 1);
    assert_eq!(policy.rules[0].level, AuditLevel::Metadata);
    let ours = parse(&format!("{HEAD}rules:\n- {{level: None, name: a}}")).expect("loads");
    assert_eq!(
        ours.rules[0].name, None,
        "a plain policy is upstream's to the letter"
    );
    assert_eq!(ours.warnings.len(), 1);
}

#[test]
fn mistakes_have_lines() {
    let text = format!("{HEAD}rules:\n- level: Some\n- level: None\n  omitStages: [Done]\n");
    let error = parse(&text).expect_err("two mistakes");
    let located = error.located(&Lines::of(&text));
    assert!(
        located[0].starts_with("line 4: rules[0].level: Unsupported value"),
        "{located:?}"
    );
    assert!(
        located[1].starts_with("line 6: rules[1].omitStages[0]: Invalid"),
        "{located:?}"
    );
    let text = format!("{HEAD}rules:\n- level: None\n  users: [10]\n");
    let error = parse(&text).expect_err("a wrong type");
    assert_eq!(
        error.located(&Lines::of(&text)),
        [
            "line 5: failed decoding: json: cannot unmarshal number into Go struct field Policy.rules.users of type string"
        ]
    );
}

#[test]
fn names_and_sampling_in_a_configuration() {
    let load = |rules: &str| {
        let tree: Value = serde_saphyr::from_str(&format!("rules:\n{rules}")).expect("YAML");
        from_configuration(&tree, Path::ROOT.field("policy"))
    };
    let policy = load("- {level: None, name: a.b, sampling: {percent: 2.5}}").expect("loads");
    assert_eq!(policy.rules[0].name.as_deref(), Some("a.b"));
    assert_eq!(policy.rules[0].sampled_percent, Some(2.5));
    for (rules, expected) in [
        (
            "- {level: None, name: a}\n- {level: None, name: a}",
            "policy.rules[1].name: Duplicate value",
        ),
        (
            "- {level: None, name: 'a b'}",
            "policy.rules[0].name: Invalid value",
        ),
        (
            "- {level: None, sampling: {percent: 0}}",
            "policy.rules[0].sampling.percent: Invalid value",
        ),
        (
            "- {level: None, sampling: {}}",
            "policy.rules[0].sampling.percent: Required value",
        ),
    ] {
        let error = load(rules).expect_err(rules).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn refusals() {
    for (text, expected) in [
        (HEAD.to_string(), "loaded illegal policy with 0 rules"),
        (
            "apiVersion: audit.k8s.io/v1beta1\nkind: Policy\n".into(),
            "unknown group version",
        ),
        (
            format!("{HEAD}rules: [{{}}]"),
            "rules[0].level: Required value",
        ),
        (
            format!("{HEAD}rules: [{{level: Some}}]"),
            "rules[0].level: Unsupported value: \"Some\"",
        ),
        (
            format!("{HEAD}rules: [{{level: None, namespaces: [a], nonResourceURLs: [/a]}}]"),
            "rules cannot apply to both regular resources and non-resource URLs",
        ),
        (
            format!("{HEAD}rules: [{{level: None, nonResourceURLs: [/a*b]}}]"),
            "must be the final character",
        ),
        (
            format!("{HEAD}rules: [{{level: None, resources: [{{group: apps/v1}}]}}]"),
            "rules[0].resources.group: Invalid value: \"apps/v1\"",
        ),
        (
            format!("{HEAD}rules: [{{level: None, resources: [{{resourceNames: [a]}}]}}]"),
            "using resourceNames requires at least one resource",
        ),
        (
            format!("{HEAD}rules: [{{level: None, omitStages: [Done]}}]"),
            "rules[0].omitStages[0]: Invalid value: \"Done\"",
        ),
    ] {
        let error = parse(&text).expect_err(&text).to_string();
        assert!(error.contains(expected), "{error}\nlacks\n{expected}");
    }
}
