//! Priority levels and flow schemas (contract/flow_control.md §2).

use super::{now, object};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::base::tree::{Value, json};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";
/// Who writes levels and schemas, as upstream names its field managers.
const PRODUCER: &str = "api-priority-and-fairness-config-producer-v1";
/// Who writes their statuses.
const CONSUMER: &str = "api-priority-and-fairness-config-consumer-v1";
const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// Always forced to their specs; the others only while nobody else has edited them.
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// Name, shares, lendable percent and queues, hand size, queue length (`None`: reject).
type Level = (&'static str, u32, u32, Option<(u32, u32, u32)>);

const LEVELS: [Level; 7] = [
    ("catch-all", 5, 0, None),
    ("system", 30, 33, Some((64, 6, 50))),
    ("node-high", 40, 25, Some((64, 6, 50))),
    ("leader-election", 10, 0, Some((16, 4, 50))),
    ("workload-high", 40, 50, Some((128, 6, 50))),
    ("workload-low", 100, 90, Some((128, 6, 50))),
    ("global-default", 20, 50, Some((128, 6, 50))),
];

/// Creates what is missing and restores specs that are ours to restore.
pub(super) async fn ensure(objects: &dyn Objects) -> Result<(), Status> {
    let levels = GroupResource::new(GROUP, "prioritylevelconfigurations");
    for level in priority_levels() {
        ensure_spec(objects, &levels, level).await?;
    }
    let schemas = GroupResource::new(GROUP, "flowschemas");
    for schema in flow_schemas() {
        ensure_spec(objects, &schemas, schema).await?;
    }
    mark_dangling(objects, &schemas, &levels).await
}

async fn ensure_spec(
    objects: &dyn Objects,
    resource: &GroupResource,
    wanted: Value,
) -> Result<(), Status> {
    let name = wanted["metadata"]["name"]
        .as_str()
        .unwrap_or("")
        .to_string();
    let Some(stored) = objects.get_cached(resource, "", &name).await? else {
        return super::ensure_as(objects, PRODUCER, resource, wanted).await;
    };
    let is_ours = MANDATORY.contains(&name.as_str())
        || match stored["metadata"]["annotations"][AUTOUPDATE].as_str() {
            Some(text) => text == "true",
            None => stored["metadata"]["generation"].as_i64() == Some(1),
        };
    if !is_ours || stored["spec"] == wanted["spec"] {
        return Ok(());
    }
    let mut changed = (*stored).clone();
    changed["spec"] = wanted["spec"].clone();
    match objects.update(resource, "", changed).await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == "Conflict" => Ok(()),
        Err(status) => Err(status),
    }
}

/// Says in every flow schema's status whether its priority level exists.
async fn mark_dangling(
    objects: &dyn Objects,
    schemas: &GroupResource,
    levels: &GroupResource,
) -> Result<(), Status> {
    for wanted in flow_schemas() {
        let name = wanted["metadata"]["name"].as_str().unwrap_or("");
        // The cache may not show yet what was created a moment ago.
        let Some(stored) = objects.get(schemas, "", name).await? else {
            continue;
        };
        let level = stored["spec"]["priorityLevelConfiguration"]["name"]
            .as_str()
            .unwrap_or("")
            .to_string();
        let exists = objects.get(levels, "", &level).await?.is_some();
        let (status, reason, message) = match exists {
            true => ("False", "Found", "and it exists"),
            false => ("True", "NotFound", "but there is no such object"),
        };
        let conditions = stored["status"]["conditions"].as_array();
        let known = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Dangling" && condition["status"] == status);
        if known {
            continue;
        }
        let mut config = json!({"metadata": {"name": name}});
        config["status"] = json!({"conditions": [{
            "type": "Dangling",
            "status": status,
            "lastTransitionTime": now(),
            "reason": reason,
            "message": format!(
                "This FlowSchema references the PriorityLevelConfiguration object named \"{level}\" {message}"
            ),
        }]});
        match objects.apply_status(CONSUMER, schemas, "", config).await {
            Ok(_) => {}
            Err(status) if status.reason == "Conflict" => {}
            Err(status) => return Err(status),
        }
    }
    Ok(())
}

fn priority_levels() -> Vec<Value> {
    let mut all = vec![with_spec(
        "PriorityLevelConfiguration",
        "exempt",
        json!({"type": "Exempt", "exempt": {"lendablePercent": 0, "nominalConcurrencyShares": 0}}),
    )];
    for (name, shares, lendable, queuing) in LEVELS {
        let limit_response = match queuing {
            None => json!({"type": "Reject"}),
            Some((queues, hand, length)) => json!({"type": "Queue", "queuing": {
                "queues": queues, "handSize": hand, "queueLengthLimit": length}}),
        };
        let spec = json!({"type": "Limited", "limited": {
            "lendablePercent": lendable,
            "limitResponse": limit_response,
            "nominalConcurrencyShares": shares,
        }});
        all.push(with_spec("PriorityLevelConfiguration", name, spec));
    }
    all
}

fn flow_schemas() -> Vec<Value> {
    let group = |name: &str| json!({"kind": "Group", "group": {"name": name}});
    let user = |name: &str| json!({"kind": "User", "user": {"name": name}});
    let accounts = || json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}});
    let everybody = || {
        vec![
            group("system:unauthenticated"),
            group("system:authenticated"),
        ]
    };
    let anything = |subjects: Vec<Value>| {
        json!({
            "subjects": subjects,
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
                "clusterScope": true, "namespaces": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        })
    };
    let probes = json!({
        "subjects": everybody(),
        "nonResourceRules": [{"verbs": ["get"],
            "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
    });
    let leader_election = json!({
        "subjects": [user("system:kube-controller-manager"), user("system:kube-scheduler"), accounts()],
        "resourceRules": [{"verbs": ["get", "create", "update"],
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]}],
    });
    let node_high = json!({
        "subjects": [group("system:nodes")],
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"],
                "clusterScope": true, "namespaces": ["*"]},
            {"verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                "namespaces": ["*"]},
        ],
    });
    let by_user = Some("ByUser");
    let by_namespace = Some("ByNamespace");
    let rows = [
        (
            "exempt",
            "exempt",
            1,
            None,
            anything(vec![group("system:masters")]),
        ),
        ("probes", "exempt", 2, None, probes),
        (
            "system-leader-election",
            "leader-election",
            100,
            by_user,
            leader_election,
        ),
        ("system-node-high", "node-high", 400, by_user, node_high),
        (
            "system-nodes",
            "system",
            500,
            by_user,
            anything(vec![group("system:nodes")]),
        ),
        (
            "kube-controller-manager",
            "workload-high",
            800,
            by_namespace,
            anything(vec![user("system:kube-controller-manager")]),
        ),
        (
            "kube-scheduler",
            "workload-high",
            800,
            by_namespace,
            anything(vec![user("system:kube-scheduler")]),
        ),
        (
            "kube-system-service-accounts",
            "workload-high",
            900,
            by_namespace,
            anything(vec![accounts()]),
        ),
        (
            "service-accounts",
            "workload-low",
            9000,
            by_user,
            anything(vec![group("system:serviceaccounts")]),
        ),
        (
            "global-default",
            "global-default",
            9900,
            by_user,
            anything(everybody()),
        ),
        (
            "catch-all",
            "catch-all",
            10000,
            by_user,
            anything(everybody()),
        ),
    ];
    rows.into_iter()
        .map(|(name, level, precedence, distinguisher, rule)| {
            let mut spec = json!({
                "priorityLevelConfiguration": {"name": level},
                "matchingPrecedence": precedence,
                "rules": [rule],
            });
            if let Some(kind) = distinguisher {
                spec["distinguisherMethod"] = json!({"type": kind});
            }
            with_spec("FlowSchema", name, spec)
        })
        .collect()
}

fn with_spec(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = object(API_VERSION, kind, "", name);
    object["metadata"]["annotations"] = json!({AUTOUPDATE: "true"});
    object["spec"] = spec;
    object["status"] = json!({});
    object
}
