//! The objects that the rows work on, as JSON text.

/// Namespace of most rows.
pub(crate) const NAMESPACE: &str = "bench";
/// Namespace of LIST 10,000.
pub(crate) const MANY: &str = "bench-many";
/// Namespace of what CREATE makes and DELETE takes away.
pub(crate) const SCRATCH: &str = "bench-scratch";
/// Size of a stored pod.
pub(crate) const POD_BYTES: usize = 2600;
/// Digits that an update counts up, so that no update is a no-op.
pub(crate) const COUNTER: &str = "0000000000";

/// A pod as a deployment's controller makes it; `padding` characters bring it to its size.
pub(crate) fn pod(name: &str, padding: usize) -> String {
    let padding = "x".repeat(padding);
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","labels":{{"app":"bench","tier":"backend","pod-template-hash":"6d4cf56db6"}},"annotations":{{"bench.example.com/counter":"{COUNTER}","bench.example.com/padding":"{padding}"}}}},"spec":{{"automountServiceAccountToken":false,"containers":[{{"name":"app","image":"registry.example.com/bench/app:v1.2.3","args":["--port=8080","--log-level=info"],"ports":[{{"name":"http","containerPort":8080,"protocol":"TCP"}}],"env":[{{"name":"REGION","value":"eu-west-1"}},{{"name":"POD_NAME","valueFrom":{{"fieldRef":{{"apiVersion":"v1","fieldPath":"metadata.name"}}}}}}],"resources":{{"limits":{{"cpu":"500m","memory":"256Mi"}},"requests":{{"cpu":"100m","memory":"128Mi"}}}},"readinessProbe":{{"httpGet":{{"path":"/ready","port":8080,"scheme":"HTTP"}},"periodSeconds":10}}}}]}}}}"#
    )
}

/// A config map of 1.5 KB.
pub(crate) fn config_map(name: &str) -> String {
    let value = "v".repeat(1300);
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"key":"{value}"}}}}"#
    )
}

/// What an administrator sets up before: namespaces with the account that pods run as, and the
/// right of the user `bench` to work in them.
pub(crate) fn setup() -> Vec<(String, String)> {
    let mut out = vec![
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles".to_string(),
            r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"bench"},"rules":[{"apiGroups":[""],"resources":["pods","configmaps"],"verbs":["get","list","watch","create","update","patch","delete"]}]}"#.to_string(),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".to_string(),
            r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"bench"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"bench"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"benchers"}]}"#.to_string(),
        ),
    ];
    for namespace in [NAMESPACE, MANY, SCRATCH] {
        out.push((
            "/api/v1/namespaces".to_string(),
            format!(
                r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{namespace}"}}}}"#
            ),
        ));
        out.push((
            format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            r#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}"#
                .to_string(),
        ));
    }
    out
}
