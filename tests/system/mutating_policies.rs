//! MutatingAdmissionPolicy, with kubectl in front.

use serde_json::{Value, json};

use crate::kubectl::run;
use crate::server::Server;
use crate::webhooks::{apply, config_map, create_until, event, metric, server, stage};

/// A policy for config maps and deployments that carry its name as a label, and its binding.
fn policy(server: &Server, name: &str, spec: &Value) {
    let rules = json!([{"operations": ["CREATE"], "apiGroups": ["", "apps"], "apiVersions": ["v1"],
        "resources": ["configmaps", "deployments"]}]);
    let mut policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": rules}},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        policy["spec"][key] = value.clone();
    }
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name,
            "matchResources": {"objectSelector": {"matchLabels": {name: "yes"}}}},
    });
    apply(server, &policy);
    apply(server, &binding);
}

fn merge(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

/// A config map that policies of these names are about.
fn subject(name: &str, policies: &[&str]) -> Value {
    let mut object = config_map(name);
    for policy in policies {
        object["metadata"]["labels"][*policy] = json!("yes");
    }
    object
}

/// What an object becomes.
fn made(server: &Server, object: &Value) -> Value {
    let mut kubectl = server.kubectl();
    kubectl.args(["create", "--dry-run=server", "-o", "json", "-f", "-"]);
    let (success, stdout, stderr) = run(&mut kubectl, &object.to_string());
    assert!(success, "{stderr}");
    serde_json::from_str(&stdout).expect("JSON")
}

/// What an object becomes once the policies are in force.
fn made_until(server: &Server, object: &Value, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..200 {
        let made = made(server, object);
        if holds(&made) {
            return made;
        }
    }
    panic!("the policies never took effect: {}", made(server, object));
}

#[test]
fn configurations_are_merged() {
    let server = server();
    policy(
        &server,
        "sidecar",
        &json!({
            "matchConditions": [{"name": "unlabelled", "expression": "!('skip' in object.metadata.labels)"}],
            "variables": [{"name": "image", "expression": "'side/' + request.userInfo.username"}],
            "mutations": [
                merge("Object{spec: Object.spec{replicas: object.spec.replicas + 2, template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'side', image: variables.image}]}}}}"),
                merge("Object{metadata: Object.metadata{annotations: {'replicas': string(object.spec.replicas)}}}"),
            ],
        }),
    );
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "tour", "labels": {"sidecar": "yes"}},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "main", "image": "main"}]}}}});
    let found = made_until(&server, &deployment, |made| made["spec"]["replicas"] == 3);
    // The second mutation sees what the first one made.
    assert_eq!(found["metadata"]["annotations"]["replicas"], "3");
    let containers = &found["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[1]["name"], "side");
    assert_eq!(containers[1]["image"], "side/kubernetes-admin");
    // What was merged is defaulted as what is sent.
    assert_eq!(
        containers[1]["terminationMessagePath"],
        "/dev/termination-log"
    );
    let mut skipped = deployment.clone();
    skipped["metadata"]["labels"]["skip"] = json!("yes");
    assert_eq!(made(&server, &skipped)["spec"]["replicas"], 1);
}

#[test]
fn patches_and_refusals() {
    let server = server();
    policy(
        &server,
        "patched",
        &json!({"mutations": [patch("[JSONPatch{op: 'test', path: '/metadata/labels/patched', value: 'yes'}, JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x/y'), value: 'z'}]")]}),
    );
    made_until(&server, &subject("a", &["patched"]), |made| {
        made["metadata"]["labels"]["x/y"] == "z"
    });
    assert!(metric(
        &server,
        r#"apiserver_mutating_admission_policy_check_total{error_type="no_error",policy="patched",policy_binding="patched"}"#
    ));
    policy(
        &server,
        "broken",
        &json!({"mutations": [patch("[JSONPatch{op: 'remove', path: '/metadata/nope'}]")]}),
    );
    let text = "policy 'broken' with binding 'broken' denied request: JSON Patch: error in remove for path: '/metadata/nope': Unable to remove nonexistent key: nope: missing value";
    create_until(&server, &subject("b", &["broken"]), |success, stderr| {
        !success && stderr.contains(text)
    });
    let found = event(&server, "b", |e| e["responseStatus"]["message"] == text);
    assert_eq!(found["responseStatus"]["code"], 403, "{found}");
    assert_eq!(found["responseStatus"]["reason"], "Invalid", "{found}");
    let (outcome, _) = stage(&found, "mutating-policy/broken");
    assert_eq!(outcome, "failed");
}

#[test]
fn later_changes_are_seen_by_those_who_ask() {
    let server = server();
    // By name, `early` runs before `late`.
    policy(
        &server,
        "early",
        &json!({"reinvocationPolicy": "IfNeeded", "mutations": [merge(
            "Object{metadata: Object.metadata{annotations: {'seen': string('late' in object.?metadata.annotations.orValue({}))}}}")]}),
    );
    policy(
        &server,
        "late",
        &json!({"mutations": [merge("Object{metadata: Object.metadata{annotations: {'late': 'yes'}}}")]}),
    );
    made_until(&server, &subject("c", &["early", "late"]), |made| {
        let annotations = &made["metadata"]["annotations"];
        annotations["late"] == "yes" && annotations["seen"] == "true"
    });
}
