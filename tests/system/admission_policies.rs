//! ValidatingAdmissionPolicy, with kubectl in front.

use serde_json::{Value, json};

use crate::server::Server;
use crate::webhooks::{apply, config_map, create, create_until, event, metric, server, stage};

/// A policy for config maps, and its binding to the namespace `tour`.
fn policy(server: &Server, name: &str, spec: &Value, binding: &Value) {
    let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    let mut policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules}},
    });
    let mut bound = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {
                "namespaceSelector": {"matchLabels": {"hooked": "yes"}},
                "objectSelector": {"matchLabels": {"policy": name}},
            },
        },
    });
    for (object, more) in [(&mut policy, spec), (&mut bound, binding)] {
        for (key, value) in more.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        apply(server, object);
    }
}

/// A config map that only the policy of that name is about.
fn subject(name: &str, policy: &str) -> Value {
    let mut object = config_map(name);
    object["metadata"]["labels"] = json!({"policy": policy});
    object
}

#[test]
fn denials_with_variables_parameters_and_the_authorizer() {
    let server = server();
    let mut limits = config_map("limits");
    limits["data"] = json!({"max": "1"});
    apply(&server, &limits);
    policy(
        &server,
        "limit",
        &json!({
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "variables": [
                {"name": "size", "expression": "has(object.data) ? size(object.data) : 0"},
                {"name": "broken", "expression": "object.nope"},
            ],
            "validations": [
                {
                    "expression": "variables.size <= int(params.data.max)",
                    "messageExpression": "'%d keys, at most %s'.format([variables.size, params.data.max])",
                    "reason": "Forbidden",
                },
                {"expression": "authorizer.requestResource.check('create').allowed()"},
                {"expression": "namespaceObject.metadata.labels.hooked == 'yes'"},
                {"expression": "namespaceObject.metadata.creationTimestamp > timestamp('2020-01-01T00:00:00Z')"},
            ],
        }),
        &json!({"paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}}),
    );
    let mut large = subject("large", "limit");
    large["data"] = json!({"a": "1", "b": "2"});
    let text =
        "ValidatingAdmissionPolicy 'limit' with binding 'limit' denied request: 2 keys, at most 1";
    let said = create_until(&server, &large, |success, stderr| {
        !success && stderr.contains(text)
    });
    let whole = format!("configmaps \"large\" is forbidden: {text}");
    assert!(said.contains(&whole), "{said}");
    let found = event(&server, "large", |e| {
        e["responseStatus"]["message"] == whole.as_str()
    });
    assert_eq!(found["responseStatus"]["code"], 403, "{found}");
    let (outcome, reason) = stage(&found, "validating-policy/limit");
    assert_eq!(
        (outcome.as_str(), reason.as_str()),
        ("denied", "2 keys, at most 1")
    );
    assert!(metric(
        &server,
        r#"apiserver_validating_admission_policy_check_total{enforcement_action="deny",error_type="no_error",policy="limit",policy_binding="limit"}"#
    ));
    let (success, _, stderr) = create(&server, &subject("small", "limit"));
    assert!(success, "{stderr}");
}

#[test]
fn warnings_and_annotations() {
    let server = server();
    policy(
        &server,
        "watchful",
        &json!({
            "validations": [{"expression": "false", "message": "just so you know"}],
            "auditAnnotations": [
                {"key": "who", "valueExpression": "'made by ' + request.userInfo.username"},
                {"key": "never", "valueExpression": "null"},
            ],
        }),
        &json!({"validationActions": ["Warn", "Audit"]}),
    );
    let warning = "Warning: Validation failed for ValidatingAdmissionPolicy 'watchful' with binding 'watchful': just so you know";
    create_until(&server, &subject("noted", "watchful"), |success, stderr| {
        success && stderr.contains(warning)
    });
    let found = event(&server, "noted", |e| {
        e["annotations"]["watchful/who"].is_string()
    });
    let annotations = &found["annotations"];
    assert_eq!(annotations["watchful/who"], "made by kubernetes-admin");
    assert!(annotations["watchful/never"].is_null());
    assert_eq!(
        annotations["validation.policy.admission.k8s.io/validation_failure"],
        r#"[{"message":"just so you know","policy":"watchful","binding":"watchful","expressionIndex":0,"validationActions":["Warn","Audit"]}]"#
    );
}
