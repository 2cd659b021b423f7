//! LimitRanger: fills in default requests and limits, and keeps pods and claims within bounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::admission::plugins::{forbidden, is_of, is_subresource_of, items, text};
use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::quantity::Quantity;
use crate::api::status::Status;
use crate::base::tree::{Map, Value, json};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// The plugin.
pub(super) struct LimitRanger(pub(super) Arc<dyn Objects>);

type Amounts = BTreeMap<String, Quantity>;

impl LimitRanger {
    async fn ranges(&self, namespace: &str) -> Result<Vec<Arc<Value>>, Status> {
        let resource = GroupResource::new("", "limitranges");
        self.0.list_cached(&resource, namespace).await
    }
}

#[async_trait]
impl AdmissionPlugin for LimitRanger {
    fn stage(&self) -> &'static str {
        "admission/LimitRanger"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    fn mutates(&self) -> bool {
        true
    }

    fn validates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if admission.operation != Operation::Create || !is_of(admission, "", "pods") {
            return Ok(());
        }
        for range in self.ranges(admission.namespace).await? {
            fill_defaults(admission.object, &range);
        }
        Ok(())
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let is_create = admission.operation == Operation::Create;
        let is_pod = is_create && is_of(admission, "", "pods")
            || !is_create && is_subresource_of(admission, "", "pods", "resize");
        let is_claim = is_of(admission, "", "persistentvolumeclaims");
        let is_going = !is_create
            && admission
                .old_object
                .is_some_and(|old| !text(old, "/metadata/deletionTimestamp").is_empty());
        if !(is_pod || is_claim) || is_going {
            return Ok(());
        }
        for range in self.ranges(admission.namespace).await? {
            let mut errors = Vec::new();
            for limit in items(&range, "/spec/limits") {
                match (text(limit, "/type"), is_pod) {
                    ("Container", true) => check_containers(admission.object, limit, &mut errors),
                    ("Pod", true) => check_pod(admission.object, limit, &mut errors),
                    ("PersistentVolumeClaim", false) => {
                        check_claim(admission.object, limit, &mut errors);
                    }
                    _ => {}
                }
            }
            let mut seen: Vec<String> = Vec::new();
            errors.retain(|error| {
                let is_new = !seen.contains(error);
                seen.push(error.clone());
                is_new
            });
            match errors.as_slice() {
                [] => {}
                [one] => return Err(forbidden(admission, one)),
                many => return Err(forbidden(admission, &format!("[{}]", many.join(", ")))),
            }
        }
        Ok(())
    }
}

fn fill_defaults(pod: &mut Value, range: &Value) {
    let mut requests = Map::new();
    let mut limits = Map::new();
    for limit in items(range, "/spec/limits").filter(|l| text(l, "/type") == "Container") {
        for (from, to) in [("defaultRequest", &mut requests), ("default", &mut limits)] {
            for (key, value) in limit[from].as_object().into_iter().flatten() {
                to.insert(key.clone(), value.clone());
            }
        }
    }
    let mut notes = Vec::new();
    for (list, word) in [
        ("containers", "container"),
        ("initContainers", "init container"),
    ] {
        let Some(containers) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        for container in containers {
            let name = text(container, "/name").to_string();
            for (part, defaults, label) in [
                ("requests", &requests, "request"),
                ("limits", &limits, "limit"),
            ] {
                let set = fill_missing(&mut container["resources"], part, defaults);
                if !set.is_empty() {
                    notes.push(format!("{} {label} for {word} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        pod["metadata"]["annotations"][ANNOTATION] = json!(note);
    }
}

/// Puts in what is missing; answers the keys, which come sorted.
fn fill_missing(resources: &mut Value, part: &str, defaults: &Map) -> Vec<String> {
    let mut set = Vec::new();
    if defaults.is_empty() {
        return set;
    }
    for (key, value) in defaults {
        if resources[part].get(key).is_none() {
            resources[part][key] = value.clone();
            set.push(key.to_string());
        }
    }
    if resources.get(part).is_some_and(Value::is_null)
        && let Some(members) = resources.as_object_mut()
    {
        members.remove(part);
    }
    set
}

fn amounts(value: &Value) -> Amounts {
    let members = value.as_object().into_iter().flatten();
    members
        .filter_map(|(key, value)| Some((key.to_string(), Quantity::parse(value.as_str()?).ok()?)))
        .collect()
}

fn check_containers(pod: &Value, limit: &Value, errors: &mut Vec<String>) {
    for list in ["/spec/containers", "/spec/initContainers"] {
        for container in items(pod, list) {
            let requests = amounts(&container["resources"]["requests"]);
            let limits = amounts(&container["resources"]["limits"]);
            check_bounds("Container", limit, &requests, &limits, errors);
        }
    }
}

fn check_pod(pod: &Value, limit: &Value, errors: &mut Vec<String>) {
    let requests = pod_amounts(pod, "requests");
    let limits = pod_amounts(pod, "limits");
    check_bounds("Pod", limit, &requests, &limits, errors);
}

/// What a pod needs: its containers and sidecars together, or its largest init container; what the
/// pod itself states goes before both.
fn pod_amounts(pod: &Value, part: &str) -> Amounts {
    let of = |container: &Value| amounts(&container["resources"][part]);
    let mut total = Amounts::new();
    for container in items(pod, "/spec/containers") {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut largest) = (Amounts::new(), Amounts::new());
    for container in items(pod, "/spec/initContainers") {
        let mut own = of(container);
        if text(container, "/restartPolicy") == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            own = sidecars.clone();
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut largest, &own);
    }
    raise(&mut total, &largest);
    for (key, value) in amounts(&pod["spec"]["resources"][part]) {
        if matches!(key.as_str(), "cpu" | "memory") {
            total.insert(key, value);
        }
    }
    total
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (key, value) in more {
        match total.get_mut(key) {
            Some(sum) => *sum = *sum + *value,
            None => {
                total.insert(key.clone(), *value);
            }
        }
    }
}

fn raise(total: &mut Amounts, at_least: &Amounts) {
    for (key, value) in at_least {
        if total.get(key).is_none_or(|sum| sum < value) {
            total.insert(key.clone(), *value);
        }
    }
}

fn check_bounds(
    kind: &str,
    limit: &Value,
    requests: &Amounts,
    limits: &Amounts,
    errors: &mut Vec<String>,
) {
    for (key, bound) in amounts(&limit["min"]) {
        let prefix = format!("minimum {key} usage per {kind} is {bound}");
        match (requests.get(&key), limits.get(&key)) {
            (None, _) => errors.push(format!("{prefix}.  No request is specified")),
            (Some(request), _) if *request < bound => {
                errors.push(format!("{prefix}, but request is {request}"));
            }
            (_, Some(limit)) if *limit < bound => {
                errors.push(format!("{prefix}, but limit is {limit}"));
            }
            _ => {}
        }
    }
    for (key, bound) in amounts(&limit["max"]) {
        let prefix = format!("maximum {key} usage per {kind} is {bound}");
        match (limits.get(&key), requests.get(&key)) {
            (None, _) => errors.push(format!("{prefix}.  No limit is specified")),
            (Some(limit), _) if *limit > bound => {
                errors.push(format!("{prefix}, but limit is {limit}"));
            }
            (_, Some(request)) if *request > bound => {
                errors.push(format!("{prefix}, but request is {request}"));
            }
            _ => {}
        }
    }
    for (key, bound) in amounts(&limit["maxLimitRequestRatio"]) {
        let prefix = format!("{key} max limit to request ratio per {kind} is {bound}");
        let set = |amounts: &Amounts| amounts.get(&key).copied().filter(|q| !q.is_zero());
        match (set(requests), set(limits)) {
            (None, _) => errors.push(format!(
                "{prefix}, but no request is specified or request is 0"
            )),
            (_, None) => errors.push(format!("{prefix}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let ratio = limit.milli_value() as f64 / request.milli_value() as f64;
                if ratio * 1000.0 > bound.milli_value() as f64 {
                    errors.push(format!("{prefix}, but provided ratio is {ratio:.6}"));
                }
            }
        }
    }
}

fn check_claim(claim: &Value, limit: &Value, errors: &mut Vec<String>) {
    let requests = amounts(&claim["spec"]["resources"]["requests"]);
    for (key, bound) in amounts(&limit["min"]) {
        let prefix = format!("minimum {key} usage per PersistentVolumeClaim is {bound}");
        match requests.get(&key) {
            None => errors.push(format!("{prefix}.  No request is specified")),
            Some(request) if *request < bound => {
                errors.push(format!("{prefix}, but request is {request}"));
            }
            _ => {}
        }
    }
    for (key, bound) in amounts(&limit["max"]) {
        let prefix = format!("maximum {key} usage per PersistentVolumeClaim is {bound}");
        match requests.get(&key) {
            None => errors.push(format!("{prefix}.  No request is specified")),
            Some(request) if *request > bound => {
                errors.push(format!("{prefix}, but request is {request}"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::plugins::testing::Write;
    use crate::api::fake_objects::FakeObjects;

    async fn run(limits: Value, containers: Value) -> Result<Value, String> {
        let range =
            json!({"metadata": {"namespace": "lim", "name": "c"}, "spec": {"limits": limits}});
        let plugin: Arc<dyn AdmissionPlugin> = Arc::new(LimitRanger(FakeObjects::with(&[(
            "",
            "limitranges",
            range,
        )])));
        let pod = json!({"metadata": {"namespace": "lim", "name": "p"}, "spec": {"containers": containers}});
        let done = Write::create("", "pods").run(&plugin, pod).await;
        done.map_err(|s| s.message.replace("pods \"p\" is forbidden: ", ""))
    }

    fn container_limits() -> Value {
        json!([{"type": "Container", "default": {"cpu": "500m", "memory": "256Mi"},
            "defaultRequest": {"cpu": "250m", "memory": "256Mi"}, "min": {"cpu": "100m"},
            "max": {"cpu": "2", "memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "4"}}])
    }

    #[tokio::test]
    async fn defaults() {
        let pod = run(container_limits(), json!([{"name": "c"}]))
            .await
            .expect("admitted");
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"
        );
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "250m", "memory": "256Mi"}})
        );
    }

    #[tokio::test]
    async fn bounds() {
        let container = |resources: Value| json!([{"name": "c", "resources": resources}]);
        let cases = [
            (
                json!({"requests": {"cpu": "50m"}}),
                "[minimum cpu usage per Container is 100m, but request is 50m, cpu max limit to request ratio per Container is 4, but provided ratio is 10.000000]",
            ),
            (
                json!({"limits": {"cpu": "3"}, "requests": {"cpu": "3"}}),
                "maximum cpu usage per Container is 2, but limit is 3",
            ),
            (
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "200m"}}),
                "cpu max limit to request ratio per Container is 4, but provided ratio is 5.000000",
            ),
        ];
        for (resources, message) in cases {
            let refused = run(container_limits(), container(resources)).await;
            assert_eq!(refused, Err(message.to_string()));
        }
        let of_pod = json!([{"type": "Pod", "max": {"cpu": "1", "memory": "300Mi"}}]);
        let resources = json!({"limits": {"cpu": "500m", "memory": "256Mi"}});
        let three = json!([{"name": "a", "resources": resources}, {"name": "b", "resources": resources}, {"name": "c", "resources": resources}]);
        assert_eq!(
            run(of_pod, three).await,
            Err("[maximum cpu usage per Pod is 1, but limit is 1500m, maximum memory usage per Pod is 300Mi, but limit is 768Mi]".into())
        );
    }
}
