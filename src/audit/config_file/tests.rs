//! Configurations that load, and mistakes with their lines.

use super::*;
use crate::request::AuditLevel;

fn load(text: &str) -> Result<Configuration, Error> {
    parse(text, FilePath::new("/etc/verbatim"))
}

fn ours(text: &str) -> String {
    format!("apiVersion: {API_VERSION}\nkind: {KIND}\n{text}")
}

#[test]
fn the_built_in_configuration_is_clean() {
    let built_in = default();
    assert!(built_in.warnings.is_empty(), "{:?}", built_in.warnings);
    let rules = &built_in.view.policy.rules;
    assert!(rules.iter().all(|rule| rule.name.is_some()));
    let redaction = &built_in.view.redaction;
    assert_eq!(redaction.rules, Rules::of(&DefaultSet::ALL, Action::Hash));
}

#[test]
fn a_plain_policy_redacts_nothing_and_samples_nothing() {
    let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Request\n  sampling: {percent: 1}\n";
    let loaded = load(text).expect("loads");
    assert!(loaded.view.redaction.rules.is_empty() && loaded.sinks.is_empty());
    assert_eq!(loaded.view.policy.rules[0].sampled_percent, None);
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
}

#[test]
fn thread_05_several_sinks_each_with_its_own_policy() {
    let loaded = load(&ours(
        "redaction: {}
policy: {rules: [{level: Metadata}]}
sinks:
- name: archive
  log: {path: archive/audit.log, maxSizeMB: 500, compress: true}
  mode: BlockingStrict
  policy: {rules: [{level: RequestResponse, name: all}]}
  redaction: {defaults: []}
- name: siem
  webhook: {kubeconfig: /run/siem.kubeconfig, initialBackoff: 1s}
  batch: {maxSize: 100, throttle: {qps: 5, burst: 2}}
  truncation: {maxEventBytes: 32768}
- name: console
  stdout: {format: legacy}
",
    ))
    .expect("loads");
    let [archive, siem, console] = &loaded.sinks[..] else {
        panic!("three sinks");
    };
    assert_eq!(
        archive.view.policy.rules[0].level,
        AuditLevel::RequestResponse
    );
    assert!(archive.view.redaction.rules.is_empty());
    assert_eq!(archive.settings.mode, Mode::BlockingStrict);
    let SinkTarget::Log(log) = &archive.settings.target else {
        panic!("a log");
    };
    assert_eq!(log.path, FilePath::new("/etc/verbatim/archive/audit.log"));
    assert_eq!((log.max_bytes, log.max_backups), (500 * 1024 * 1024, 100));
    assert_eq!(siem.view, loaded.view, "what is not said is shared");
    assert_eq!(siem.settings.mode, Mode::Batch);
    assert_eq!(siem.settings.batch.throttle, Some((5.0, 2)));
    assert_eq!(siem.settings.batch.max_wait, Duration::from_secs(30));
    assert!(matches!(&console.settings.target, SinkTarget::Log(log) if log.is_stdout()));
}

#[test]
fn a_policy_may_be_a_file_of_its_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let policy = dir.path().join("policy.yaml");
    std::fs::write(
        &policy,
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Request}]\n",
    )
    .expect("writes");
    let path = dir.path().join("configuration.yaml");
    std::fs::write(&path, ours("policyFile: policy.yaml\n")).expect("writes");
    let loaded = super::load(&path).expect("loads");
    assert_eq!(loaded.view.policy.rules[0].level, AuditLevel::Request);
    assert_eq!(loaded.files, [path.clone(), policy.clone()]);
    std::fs::write(&policy, "apiVersion: v1\nkind: Policy\n").expect("writes");
    let error = super::load(&path).expect_err("another version").to_string();
    assert!(error.starts_with("line 3: policyFile: "), "{error}");
}

#[test]
fn mistakes_have_lines() {
    for (text, expected) in [
        ("polcy: {}", "unknown field `polcy`"),
        (
            "policy: {rules: []}",
            "line 3: policy: loaded illegal policy with 0 rules",
        ),
        (
            "policy:\n  rules:\n  - level: Metadata\n    verb: [get]",
            "line 6: policy.rules[0].verb: unknown field",
        ),
        (
            "policy:\n  rules:\n  - level: Some",
            "line 5: policy.rules[0].level: Unsupported value: \"Some\"",
        ),
        (
            "policy:\n  rules:\n  - level: Metadata\n    users: [1]",
            "line 6: failed decoding: json: cannot unmarshal number",
        ),
        (
            "redaction:\n  defaults: [Secret]",
            "line 4: redaction.defaults[0]: \"Secret\" is none of Secrets, ",
        ),
        (
            "redaction:\n  fields:\n  - paths: ['$.a[?(@.b)]']",
            "line 5: redaction.fields[0].paths[0]: cannot be read from",
        ),
        (
            "redaction:\n  fields:\n  - paths: [$.a]\n    resources: [{group: apps/v1}]",
            "line 6: redaction.fields[0].resources.group: Invalid value: \"apps/v1\"",
        ),
        (
            "sinks:\n- name: a",
            "line 4: sinks[0]: give exactly one of log, stdout and webhook",
        ),
        (
            "sinks:\n- name: log\n  stdout: {}",
            "line 4: sinks[0].name: this is the name of a sink",
        ),
        (
            "sinks:\n- {name: a, stdout: {}}\n- {name: a, stdout: {}}",
            "line 5: sinks[1].name: another sink has this name",
        ),
        (
            "sinks:\n- name: a\n  webhook: {kubeconfig: k, initialBackoff: soon}",
            "line 5: sinks[0].webhook.initialBackoff: time: invalid duration",
        ),
        (
            "sinks:\n- name: a\n  stdout: {}\n  mode: Sometimes",
            "unknown variant `Sometimes`",
        ),
        (
            "policy: {rules: [{level: None}]}\npolicyFile: p",
            "line 4: policyFile: give policy or",
        ),
    ] {
        let error = load(&ours(text)).expect_err(text).to_string();
        assert!(
            error.contains(expected),
            "{text}\n{error}\nlacks\n{expected}"
        );
        assert!(error.contains("line "), "{error}");
    }
}
