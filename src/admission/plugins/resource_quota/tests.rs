//! What objects use, and what quotas say to it.

use std::sync::Arc;

use super::{ResourceQuota, pod};
use crate::admission::AdmissionPlugin;
use crate::admission::plugins::testing::Write;
use crate::api::fake_objects::FakeObjects;
use crate::api::names::GroupResource;
use crate::api::objects::Objects as _;
use crate::base::tree::{Value, json};

fn pod_of(spec: &Value) -> Value {
    json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec})
}

fn quota(spec: &Value, used: &Value) -> Value {
    json!({
        "metadata": {"name": "q", "namespace": "n"},
        "spec": spec,
        "status": {"hard": spec["hard"], "used": used},
    })
}

/// Runs a write against one quota; answers what is used then, or the refusal.
async fn charge(quota: Value, write: Write, object: Value) -> Result<Value, String> {
    let objects = FakeObjects::with(&[("", "resourcequotas", quota)]);
    let plugin: Arc<dyn AdmissionPlugin> = Arc::new(ResourceQuota::new(objects.clone()));
    write.run(&plugin, object).await.map_err(|s| s.message)?;
    let name = GroupResource::new("", "resourcequotas");
    let stored = objects.get(&name, "n", "q").await.expect("no failure");
    Ok(stored.expect("the quota")["status"]["used"].clone())
}

#[test]
fn pods_use_containers_or_init_containers() {
    let cpu = |amount: &str| json!({"requests": {"cpu": amount}, "limits": {"cpu": amount}});
    for (spec, want) in [
        (
            json!({"containers": [{"name": "a", "resources": cpu("100m")}, {"name": "b", "resources": cpu("200m")}]}),
            "300m",
        ),
        (
            json!({"containers": [{"name": "a", "resources": cpu("100m")}], "initContainers": [{"name": "i", "resources": cpu("1")}]}),
            "1",
        ),
        (
            json!({"containers": [{"name": "a", "resources": cpu("100m")}], "initContainers": [{"name": "s", "restartPolicy": "Always", "resources": cpu("1")}]}),
            "1100m",
        ),
        (
            json!({"containers": [{"name": "a", "resources": cpu("100m")}], "initContainers": [{"name": "s", "restartPolicy": "Always", "resources": cpu("1")}, {"name": "i", "resources": cpu("2")}]}),
            "3",
        ),
        (
            json!({"containers": [{"name": "a", "resources": cpu("100m")}], "overhead": {"cpu": "50m"}}),
            "150m",
        ),
        (
            json!({"containers": [{"name": "a", "resources": cpu("100m")}], "resources": cpu("2")}),
            "2",
        ),
    ] {
        let usage = pod::usage(&pod_of(&spec));
        for key in ["cpu", "requests.cpu", "limits.cpu"] {
            assert_eq!(usage[key].to_string(), want, "{key} of {spec}");
        }
    }
    let mut ended = pod_of(&json!({"containers": [{"name": "a", "resources": cpu("1")}]}));
    ended["status"]["phase"] = json!("Succeeded");
    assert!(pod::usage(&ended).is_empty());
}

#[tokio::test]
async fn charges_and_refusals() {
    let hard = json!({"hard": {"pods": "2", "requests.cpu": "1"}});
    let with_cpu =
        pod_of(&json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "600m"}}}]}));
    let without = pod_of(&json!({"containers": [{"name": "b"}, {"name": "a"}]}));
    let create = || Write::create("", "pods");
    let used = charge(
        quota(&hard, &json!({"pods": "0", "requests.cpu": "0"})),
        create(),
        with_cpu.clone(),
    )
    .await;
    assert_eq!(used, Ok(json!({"pods": "1", "requests.cpu": "600m"})));
    for (used, object, why) in [
        (
            json!({"pods": "1", "requests.cpu": "600m"}),
            &with_cpu,
            "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1",
        ),
        (
            json!({"pods": "2", "requests.cpu": "1"}),
            &with_cpu,
            "exceeded quota: q, requested: pods=1,requests.cpu=600m, used: pods=2,requests.cpu=1, limited: pods=2,requests.cpu=1",
        ),
        (
            json!({"pods": "0", "requests.cpu": "0"}),
            &without,
            "failed quota: q: must specify requests.cpu for: a,b",
        ),
        (
            json!({}),
            &with_cpu,
            "status unknown for quota: q, resources: pods,requests.cpu",
        ),
    ] {
        let refused = charge(quota(&hard, &used), create(), object.clone()).await;
        assert_eq!(refused, Err(format!("pods \"p\" is forbidden: {why}")));
    }
}

#[tokio::test]
async fn scopes() {
    let scoped = |scope: &Value, object: Value| {
        let mut spec = json!({"hard": {"pods": "0"}});
        for (key, value) in scope.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        charge(
            quota(&spec, &json!({"pods": "0"})),
            Write::create("", "pods"),
            object,
        )
    };
    let best_effort = json!({"containers": [{"name": "a"}]});
    let burstable = json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}]});
    let with = |spec: &Value, key: &str, value: Value| {
        let mut spec = spec.clone();
        spec[key] = value;
        spec
    };
    let high = |operator: &str| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}]}});
    let crossing = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"], "topologyKey": "k"}]}});
    for (scope, spec, concerned) in [
        (json!({"scopes": ["BestEffort"]}), best_effort.clone(), true),
        (json!({"scopes": ["BestEffort"]}), burstable.clone(), false),
        (
            json!({"scopes": ["NotBestEffort", "NotTerminating"]}),
            burstable.clone(),
            true,
        ),
        (
            json!({"scopes": ["Terminating"]}),
            with(&burstable, "activeDeadlineSeconds", json!(1)),
            true,
        ),
        (json!({"scopes": ["Terminating"]}), burstable.clone(), false),
        (
            high("In"),
            with(&burstable, "priorityClassName", json!("high")),
            true,
        ),
        (high("In"), burstable.clone(), false),
        (high("NotIn"), burstable.clone(), true),
        (
            json!({"scopes": ["CrossNamespacePodAffinity"]}),
            with(&burstable, "affinity", crossing),
            true,
        ),
        (
            json!({"scopes": ["CrossNamespacePodAffinity"]}),
            burstable.clone(),
            false,
        ),
    ] {
        let outcome = scoped(&scope, pod_of(&spec)).await;
        assert_eq!(outcome.is_err(), concerned, "{scope} {spec}: {outcome:?}");
    }
}

#[tokio::test]
async fn other_kinds_and_updates() {
    let service = |spec: Value| json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec});
    let ports = json!([{"port": 1}, {"port": 2}]);
    let hard = json!({"hard": {"services": "5", "services.nodeports": "5", "services.loadbalancers": "1"}});
    let used = json!({"services": "1", "services.nodeports": "0", "services.loadbalancers": "0"});
    let old = service(json!({"type": "ClusterIP", "ports": ports}));
    let new = service(json!({"type": "LoadBalancer", "ports": ports}));
    let update = Write::update("", "services", old);
    assert_eq!(
        charge(quota(&hard, &used), update, new).await,
        Ok(json!({"services": "1", "services.nodeports": "2", "services.loadbalancers": "1"}))
    );
    let claim = json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "2Gi"}}}});
    let hard = json!({"hard": {"requests.storage": "3Gi", "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1"}});
    let used = json!({"requests.storage": "1Gi", "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "0"});
    assert_eq!(
        charge(
            quota(&hard, &used),
            Write::create("", "persistentvolumeclaims"),
            claim
        )
        .await,
        Ok(
            json!({"requests.storage": "3Gi", "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1"})
        )
    );
    let job = json!({"metadata": {"name": "j", "namespace": "n"}});
    let hard = json!({"hard": {"count/jobs.batch": "0"}});
    let refused = charge(
        quota(&hard, &json!({"count/jobs.batch": "0"})),
        Write::create("batch", "jobs"),
        job,
    )
    .await;
    assert_eq!(
        refused,
        Err("jobs.batch \"j\" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=0, limited: count/jobs.batch=0".into())
    );
}
